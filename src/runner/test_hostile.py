# What a job may do to its own folder while the runner reads it.
import hashlib
import mmap
import os
import shutil
import stat
import threading
import time
import unittest
from unittest import mock

import runner
from test_world import PREFIX, WorldTest

SECRET = b"not the job's"


class Hostile(WorldTest):
    def setUp(self):
        super().setUp()
        self.root = os.path.join(self.world.folder, "job/work")
        self.outside = os.path.join(self.world.folder, "outside")
        os.makedirs(self.root + "/data")
        os.makedirs(self.outside)
        self.write(self.outside + "/a", SECRET)
        self.sync = self.make_sync()
        self.soon = time.monotonic() + 20

    def make_sync(self, **more):
        ground = runner.Ground(self.world.folder, "job/work", **more)
        return runner.Sync(runner.Transfers(self.world.s3()), ground, ["data"], PREFIX)

    def write(self, path, content):
        with open(path, "wb") as file:
            file.write(content)

    def age(self, path):
        os.utime(path, (1, 1))
        # The time of the change itself cannot be set.
        time.sleep(0.06)

    def artifact(self):
        return self.world.artifact("data/a")


class Links(Hostile):
    def test_a_folder_on_the_way_that_is_a_link_now_leads_nowhere(self):
        self.write(self.root + "/data/a", b"own")
        for path in ("job/work/data", "job/work", "job"):
            listing = runner.Listing(self.sync.ground, ["data"])
            place = os.path.join(self.world.folder, path)
            os.rename(place, place + "-away")
            target = {"job/work/data": "outside", "job/work": "outside-2", "job": "outside-3"}[path]
            os.makedirs(os.path.join(self.world.folder, "outside-2"), exist_ok=True)
            os.makedirs(os.path.join(self.world.folder, "outside-3/work"), exist_ok=True)
            for folder in ("outside-2/data", "outside-3/work/data"):
                shutil.copytree(self.outside, os.path.join(self.world.folder, folder), dirs_exist_ok=True)
            os.symlink(os.path.join(self.world.folder, target), place)
            self.sync.send(listing, b"data/a", self.soon, True)
            listing = self.sync.run(self.soon, final=True)
            self.assertEqual((self.world.objects, listing.entries, listing.missing), ({}, {}, ["data"]), path)
            os.remove(place)
            os.rename(place + "-away", place)
        self.sync.run(self.soon, final=True)
        self.assertEqual(self.artifact(), b"own")

    def test_a_folder_that_changes_between_itself_and_a_link_gives_nothing_of_elsewhere(self):
        self.write(self.root + "/data/a", b"own")
        over = threading.Event()

        def swap():
            data, away = self.root + "/data", self.root + "/away"
            while not over.is_set():
                os.rename(data, away)
                os.symlink(self.outside, data)
                os.remove(data)
                os.rename(away, data)

        thread = threading.Thread(target=swap)
        thread.start()
        try:
            for _ in range(150):
                listing = self.sync.run(self.soon)
                for entry in listing.entries.values():
                    self.assertNotEqual(entry.get("size"), len(SECRET))
                self.sync.ledger.clear()
        finally:
            over.set()
            thread.join()
        self.assertIn(list(self.world.objects.values()), ([], [b"own"]))

    def test_globs_do_not_follow_links(self):
        os.symlink(self.outside, self.root + "/data/way")
        for pattern in ("data/way/a", "data/*/a", "**/a", "data/way/*"):
            self.assertEqual(runner.Listing(self.sync.ground, [pattern]).entries, {}, pattern)

    @unittest.skipUnless(os.getuid() == 0, "only root can make files of other users")
    def test_on_a_machine_what_is_not_the_jobs_own_is_left_out(self):
        self.write(self.root + "/data/a", b"own")
        os.link(self.outside + "/a", self.root + "/data/hard")
        for path in ("", "/data", "/data/a"):
            os.chown(self.root + path, 65534, 65534)
        sync = self.make_sync(owner=65534)
        listing = sync.run(self.soon, final=True)
        self.assertEqual(listing.notes, ["data/hard is not the job's own and is left out"])
        self.assertEqual([each["path"] for each in sync.entries(listing)], ["data", "data/a"])
        # As if it had become one after it was listed.
        sync.send(listing, b"data/hard", self.soon, True)
        self.assertEqual(list(self.world.objects), [PREFIX + "artifacts/data/a"])

    def test_a_pipe_or_a_folder_in_place_of_a_file_holds_nobody_up(self):
        listing = self.sync.run(self.soon)
        os.mkfifo(self.root + "/data/pipe")
        os.mkdir(self.root + "/data/folder")
        for name in (b"data/pipe", b"data/folder"):
            self.sync.send(listing, name, self.soon, True)
        self.assertEqual(self.world.objects, {})


    @unittest.skipUnless(os.getuid() == 0, "only root can make devices")
    def test_a_device_is_left_out_and_one_in_place_of_a_file_is_not_read(self):
        self.write(self.root + "/data/a", b"own")
        listing = self.sync.run(self.soon)
        os.remove(self.root + "/data/a")
        try:
            # /dev/zero, which has no end.
            os.mknod(self.root + "/data/a", stat.S_IFCHR | 0o666, os.makedev(1, 5))
        except PermissionError:
            self.skipTest("no devices can be made here")
        self.world.objects.clear()
        self.sync.send(listing, b"data/a", self.soon, True)
        found = runner.Listing(self.sync.ground, ["data"])
        self.assertEqual(self.world.objects, {})
        self.assertEqual(([*found.entries], found.notes), ([b"data"], ["data/a is no file, folder or link and is left out"]))


class Rewriting(Hostile):
    def rewrite_during(self, rewrite):
        put = self.sync.transfers.s3.put

        def put_and_rewrite(*words, **more):
            rewrite()
            return put(*words, **more)

        return mock.patch.object(self.sync.transfers.s3, "put", put_and_rewrite)

    def test_a_file_of_the_same_size_and_time_rewritten_during_its_upload_is_sent_again(self):
        path = self.root + "/data/a"
        self.write(path, b"old")
        self.age(path)

        def rewrite():
            self.write(path, b"new")
            os.utime(path, (1, 1))

        with self.rewrite_during(rewrite):
            self.sync.run(self.soon)
        self.assertEqual(self.artifact(), b"old")
        listing = self.sync.run(self.soon, final=True)
        self.assertEqual(self.artifact(), b"new")
        self.assertEqual(self.sync.entries(listing)[1]["sha256"], hashlib.sha256(b"new").hexdigest())

    def test_a_file_replaced_by_another_of_the_same_size_and_time_is_sent_again(self):
        path = self.root + "/data/a"
        self.write(path, b"old")
        self.age(path)
        self.sync.run(self.soon)
        self.write(path + "-2", b"new")
        self.age(path + "-2")
        os.rename(path + "-2", path)
        self.sync.run(self.soon, final=True)
        self.assertEqual(self.artifact(), b"new")

    def test_what_is_written_to_a_mapped_page_after_its_upload_is_sent_again(self):
        path = self.root + "/data/a"
        self.write(path, b"old-" * 1024)
        with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as pages:
            pages[0:3] = b"mid"
            self.age(path)
            os.fdatasync(file.fileno())
            before = os.stat(path).st_mtime_ns
            pages[0:3] = b"mid"
            if os.stat(path).st_mtime_ns == before:
                self.skipTest("this file system does not tell of writes to mapped pages")
            time.sleep(0.06)
            self.sync.run(self.soon)
            time.sleep(0.06)
            pages[0:3] = b"new"
        self.sync.run(self.soon, final=True)
        self.assertEqual(self.artifact()[:3], b"new")

    def test_a_large_file_that_changes_under_its_upload_is_left_for_the_next_round(self):
        path = self.root + "/data/a"
        with mock.patch.object(runner, "PART_BYTES", 1000):
            self.write(path, b"1" * 5000)
            self.age(path)
            sent = self.sync.transfers.s3.open

            def open_and_rewrite(method, key, query=None, *words, **more):
                if "partNumber" in (query or {}):
                    self.write(path, b"2" * 5000)
                return sent(method, key, query, *words, **more)

            self.sync.transfers.set_beside_job(True)
            with mock.patch.object(self.sync.transfers.s3, "open", open_and_rewrite):
                self.sync.run(self.soon)
            self.assertEqual((self.world.objects, self.world.uploads), ({}, {}))
            self.sync.run(self.soon, final=True)
        self.assertEqual(self.artifact(), b"2" * 5000)

    def test_what_is_still_waiting_when_the_job_ends_is_left_for_the_final_run(self):
        self.write(self.root + "/data/a", b"x")
        self.sync.is_last = True
        self.sync.run(self.soon)
        self.assertEqual(self.world.objects, {})
        self.sync.run(self.soon, final=True)
        self.assertEqual(self.artifact(), b"x")


class Names(Hostile):
    def test_a_name_too_long_for_a_key_and_one_that_xml_cannot_hold_have_keys_of_their_own(self):
        long = "/".join(["data"] + ["d" * 200] * 6)
        os.makedirs(os.path.dirname(os.path.join(self.root, long)))
        for path in (long, "data/\ufffe\x01"):
            self.write(os.path.join(self.root, path), path.encode())
        entries = self.sync.entries(self.sync.run(self.soon, final=True))
        for entry in entries:
            if entry["type"] == "file":
                self.assertEqual(self.world.artifact(entry["key"]), entry["path"].encode())
                self.assertLessEqual(len(PREFIX + "artifacts/" + entry["key"]), 1024)
        self.assertEqual([entry["key"][:6] for entry in entries if entry["type"] == "file"], ["%long/", "data/%"])


class Corpus(WorldTest):
    # What the daemon refuses or takes, of tests above this one: whatever it is, nothing is written outside, and a reason is one
    # for people.
    def test_each_archive_of_the_corpus_is_laid_out_inside_or_refused_with_a_reason(self):
        corpus = os.path.join(os.path.dirname(__file__), "../../test/hostile/corpus")
        if not os.path.isdir(corpus):
            self.skipTest("only in a checkout")
        refused = []
        for name in sorted(os.listdir(corpus)):
            root = os.path.join(self.world.folder, "in", name, "work")
            os.makedirs(root)
            tree = runner.Tree(root)
            path = os.path.join(self.world.folder, "bundle.zip" if name.endswith(".zip") else "bundle.tar.gz")
            shutil.copy(os.path.join(corpus, name), path)
            try:
                runner.unpack(path, tree)
                tree.finish()
            except runner.Failed as cause:
                self.assertRegex(str(cause), r"^(the (bundle|name|link) )")
                refused.append(name)
            self.assertEqual(os.listdir(os.path.dirname(root)), ["work"], name)
        self.assertFalse(os.path.lexists("/tmp/errand-evil"))
        for name in ("path-up.tgz", "device.tgz", "pipe.zip", "link-out.zip", "hard-link-out.tgz", "pax-as-large-as-memory.tgz"):
            self.assertIn(name, refused)
        for name in ("good.tgz", "good.zip", "link-chain.tgz", "name-not-utf-8.tgz"):
            self.assertNotIn(name, refused)
