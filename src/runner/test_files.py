import base64
import errno
import gzip
import io
import json
import os
import random
import re
import tarfile
import time
import unittest
import zipfile
import zlib
from unittest import mock

import runner
from test_world import PREFIX, WorldTest, sums_of



class Files(WorldTest):
    def setUp(self):
        super().setUp()
        self.root = os.path.join(self.world.folder, "work")
        os.mkdir(self.root)
        self.tree = runner.Tree(self.root)

    def write(self, path, content=b"x"):
        full = os.path.join(os.fsencode(self.root), os.fsencode(path))
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as file:
            file.write(content)

    def read(self, path):
        with open(os.path.join(os.fsencode(self.root), os.fsencode(path)), "rb") as file:
            return file.read()


class Unpacking(Files):
    def tar(self, *members):
        path = os.path.join(self.world.folder, "bundle.tar.gz")
        with tarfile.open(path, "w:gz") as archive:
            for name, kind, more in members:
                member = tarfile.TarInfo(name)
                member.type = kind
                member.mode = more.get("mode", 0o644)
                member.linkname = more.get("target", "")
                content = more.get("content", b"")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return path

    def outside(self):
        return [name for name in os.listdir(self.world.folder) if name not in ("work", "bundle.tar.gz", "bundle.zip")]

    def test_modes_links_and_empty_folders_survive(self):
        path = self.tar(
            ("run.sh", tarfile.REGTYPE, {"content": b"#!", "mode": 0o755}),
            ("./empty", tarfile.DIRTYPE, {"mode": 0o555}),
            ("a/link", tarfile.SYMTYPE, {"target": "../run.sh"}),
            ("a/hard", tarfile.LNKTYPE, {"target": "run.sh"}),
            ("ü\n-x", tarfile.REGTYPE, {"content": b"odd"}),
        )
        runner.unpack(path, self.tree)
        self.tree.finish()
        self.assertEqual(os.stat(self.root + "/run.sh").st_mode & 0o777, 0o755)
        self.assertEqual(os.stat(self.root + "/empty").st_mode & 0o777, 0o555)
        self.assertEqual(os.readlink(self.root + "/a/link"), "../run.sh")
        self.assertEqual(self.read("a/hard"), b"#!")
        self.assertEqual(self.read("ü\n-x"), b"odd")

    def test_what_points_out_is_refused(self):
        cases = [
            [("../evil", tarfile.REGTYPE, {})],
            [("/evil", tarfile.REGTYPE, {})],
            [("a/../../evil", tarfile.REGTYPE, {})],
            [("l", tarfile.SYMTYPE, {"target": "/etc"})],
            [("l", tarfile.SYMTYPE, {"target": "../.."})],
            [("l", tarfile.LNKTYPE, {"target": "../../../../etc/passwd"})],
            [("null", tarfile.CHRTYPE, {})],
            [("pipe", tarfile.FIFOTYPE, {})],
        ]
        for members in cases:
            with self.assertRaises(runner.Failed, msg=str(members)):
                runner.unpack(self.tar(*members), self.tree)
        self.assertEqual(self.outside(), [])

    def test_nothing_is_written_through_a_chain_of_links(self):
        path = self.tar(
            ("s", tarfile.SYMTYPE, {"target": "."}),
            ("l", tarfile.SYMTYPE, {"target": "s/.."}),
            ("l/evil", tarfile.REGTYPE, {"content": b"evil"}),
        )
        runner.unpack(path, self.tree)
        self.assertEqual(self.read("l/evil"), b"evil")
        self.assertFalse(os.path.islink(self.root + "/l"))
        self.assertEqual(self.outside(), [])

    def test_a_zip_keeps_modes_and_links(self):
        path = os.path.join(self.world.folder, "bundle.zip")
        with zipfile.ZipFile(path, "w") as archive:
            for name, mode, content in (("run.sh", 0o100755, "#!"), ("link", 0o120777, "run.sh")):
                member = zipfile.ZipInfo(name)
                member.external_attr = mode << 16
                archive.writestr(member, content)
            archive.writestr("empty/", "")
        runner.unpack(path, self.tree)
        self.assertEqual(os.stat(self.root + "/run.sh").st_mode & 0o777, 0o755)
        self.assertEqual(os.readlink(self.root + "/link"), "run.sh")
        self.assertTrue(os.path.isdir(self.root + "/empty"))

    def test_what_is_no_archive_is_a_reason(self):
        for name in ("bundle.tar.gz", "bundle.zip"):
            path = os.path.join(self.world.folder, name)
            with open(path, "wb") as file:
                file.write(b"not an archive")
            with self.assertRaisesRegex(runner.Failed, "the bundle cannot be unpacked"):
                runner.unpack(path, self.tree)


    def zip(self, *members, compression=zipfile.ZIP_DEFLATED):
        path = os.path.join(self.world.folder, "bundle.zip")
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, mode, content in members:
                member = zipfile.ZipInfo(name)
                member.compress_type = compression
                member.external_attr = mode << 16
                archive.writestr(member, content)
        return path

    def change(self, path, change):
        with open(path, "rb") as file:
            content = bytearray(file.read())
        content = change(content) or content
        with open(path, "wb") as file:
            file.write(content)
        return path

    def assert_refused(self, path, why):
        with self.assertRaisesRegex(runner.Failed, why, msg=path):
            runner.unpack(path, self.tree)
        self.assertEqual(self.outside(), [])

    def test_a_damaged_archive_is_a_reason_whatever_its_reader_throws(self):
        noise = random.Random(1).randbytes(20_000)

        def at(offset, value):
            return lambda content: content.__setitem__(slice(offset, offset + len(value)), value)

        def methods(value):
            def change(content):
                content[8:10] = value
                directory = content.index(b"PK\1\2")
                content[directory + 10 : directory + 12] = value

            return change

        def flags(content):
            content[6] |= 1
            content[content.index(b"PK\1\2") + 8] |= 1

        cannot = "^the bundle cannot be unpacked: "
        for change in (at(100, noise[:50]), methods(b"\x63\0"), methods(b"\x0e\0"), flags, lambda content: content[:-30]):
            self.assert_refused(self.change(self.zip(("a", 0o644, noise)), change), cannot)
        for share in (0.1, 0.5, 0.9):
            path = self.tar(("a", tarfile.REGTYPE, {"content": noise}))
            self.assert_refused(self.change(path, lambda content: content[: int(len(content) * share)]), cannot)

    def test_names_that_no_disk_takes_are_a_reason(self):
        long = "n" * 300
        deep = "/".join(["d"] * 3_000)
        for name in (long, deep, f"{long}/x", "."):
            self.assert_refused(self.tar((name, tarfile.REGTYPE, {})), "File name too long|is none of a file|more than 200 folders deep")
        self.assert_refused(self.zip((long, 0o100644, "")), "File name too long: nnn")

    def test_special_files_and_endless_links_of_a_zip_are_refused(self):
        self.assert_refused(self.zip(("pipe", 0o010644, "")), "holds pipe, which is no file, folder or link")
        self.assert_refused(self.zip(("l", 0o120777, b"a" * 200_000_000)), "cannot be unpacked: File name too long")

    def test_a_header_as_large_as_memory_is_not_read(self):
        member = tarfile.TarInfo("pax")
        member.type, member.size = tarfile.XHDTYPE, 1 << 40
        path = os.path.join(self.world.folder, "bundle.tar.gz")
        with gzip.open(path, "wb") as file:
            file.write(member.tobuf(tarfile.USTAR_FORMAT) if member.size < 8**11 else member.tobuf(tarfile.GNU_FORMAT))
        self.assert_refused(path, "a header is too large")

    def test_whoever_wants_it_to_end_is_heard_in_the_middle_of_a_file(self):
        calls = []

        def check():
            calls.append(None)
            if len(calls) > 5:
                raise runner.Stopped("cancelled")

        zeros = bytes(50 << 20)
        for path in (self.tar(("z", tarfile.REGTYPE, {"content": zeros})), self.zip(("z", 0o644, zeros))):
            calls.clear()
            with self.assertRaises(runner.Stopped):
                runner.unpack(path, self.tree, check)
            self.assertLess(os.path.getsize(self.root + "/z"), len(zeros))

    def test_names_of_any_bytes_are_laid_as_they_are(self):
        path = os.path.join(self.world.folder, "bundle.tar.gz")
        with tarfile.open(path, "w:gz", encoding="utf-8", errors="surrogateescape") as archive:
            archive.addfile(tarfile.TarInfo(os.fsdecode(b"\xff\xfe\x01")))
        runner.unpack(path, self.tree)
        self.assertEqual(os.listdir(os.fsencode(self.root)), [b"\xff\xfe\x01"])

    def test_a_disk_that_is_full_is_told_as_such(self):
        path = self.tar(("a", tarfile.REGTYPE, {"content": b"x"}))
        full = OSError(errno.ENOSPC, "No space left on device")
        with mock.patch.object(runner, "copy", side_effect=full), self.assertRaises(OSError) as caught:
            runner.unpack(path, self.tree)
        self.assertEqual(caught.exception.errno, errno.ENOSPC)


class Globs(Files):
    def test_patterns_name_what_a_user_expects(self):
        for path in ("a.txt", "out/b.txt", "out/c.csv", "out/deep/d.txt", "out/deep/er/e.txt", ".hidden"):
            self.write(path)
        os.symlink("out", self.root + "/way")
        table = {
            "a.txt": ["a.txt"],
            "*.txt": ["a.txt"],
            "out": ["out"],
            "./out/": ["out"],
            "out/*.txt": ["out/b.txt"],
            "out/?.csv": ["out/c.csv"],
            "**/*.txt": ["a.txt", "out/b.txt", "out/deep/d.txt", "out/deep/er/e.txt"],
            "out/**/e*": ["out/deep/er", "out/deep/er/e.txt"],
            "out/**": ["out"],
            ".h*": [".hidden"],
            ".": [""],
            "way/b.txt": [],
            "nothing*": [],
        }
        for pattern, paths in table.items():
            self.assertEqual([os.fsdecode(each) for each in runner.expand(runner.Ground(self.root), pattern)], paths, pattern)


class Listings(Files):
    def test_folders_empty_ones_links_and_modes_are_listed_and_outward_links_are_left_out(self):
        self.write("data/a.txt", b"12345")
        os.chmod(self.root + "/data/a.txt", 0o755)
        os.mkdir(self.root + "/data/empty")
        os.symlink("a.txt", self.root + "/data/in")
        os.symlink("../other", self.root + "/data/out")
        os.symlink("/etc/passwd", self.root + "/data/absolute")
        os.mkfifo(self.root + "/data/pipe")
        listing = runner.Listing(runner.Ground(self.root), ["data", "missing"])
        kinds = {os.fsdecode(path): each["type"] for path, each in listing.entries.items()}
        expected = {"data": "directory", "data/a.txt": "file", "data/empty": "directory", "data/in": "link"}
        self.assertEqual(kinds, expected)
        self.assertEqual(listing.sets, [{"path": "data", "bytes": 5, "files": 1}])
        self.assertEqual(listing.missing, ["missing"])
        self.assertEqual(len(listing.notes), 3)
        self.assertEqual(listing.entries[b"data/a.txt"]["mode"], 0o755)

    def test_an_artifact_inside_another_is_counted_in_both_and_listed_once(self):
        self.write("data/sub/a", b"123")
        listing = runner.Listing(runner.Ground(self.root), ["data", "data/sub"])
        self.assertEqual([each["bytes"] for each in listing.sets], [3, 3])
        self.assertEqual(sorted(listing.entries), [b"data", b"data/sub", b"data/sub/a"])

    def test_the_whole_working_directory_can_be_an_artifact(self):
        self.write("a")
        listing = runner.Listing(runner.Ground(self.root), ["."])
        self.assertEqual(sorted(listing.entries), [b"a"])

    def test_keys_keep_every_name_apart(self):
        self.assertEqual(runner.artifact_key("a b/ü".encode()), "a b/ü")
        self.assertEqual(runner.artifact_key(b"100%/\xff\n"), "100%25/%FF%0A")


class Syncing(Files):
    def setUp(self):
        super().setUp()
        self.sync = runner.Sync(runner.Transfers(self.world.s3()), runner.Ground(self.root), ["data"], PREFIX)
        self.soon = time.monotonic() + 20

    def puts(self):
        return [key for method, key in self.world.requests if method == "PUT"]

    def test_what_has_not_changed_is_not_sent_again(self):
        self.write("data/a", b"1")
        os.utime(self.root + "/data/a", (1, 1))
        self.sync.run(self.soon)
        self.sync.run(self.soon)
        self.sync.run(self.soon, final=True)
        self.assertEqual(self.puts(), [PREFIX + "artifacts/data/a"])
        os.utime(self.root + "/data/a", (2, 2))
        self.sync.run(self.soon, final=True)
        self.assertEqual(len(self.puts()), 2)
        self.assertEqual(self.sync.ledger[b"data/a"][0][1], 2_000_000_000)

    def test_what_was_written_just_now_is_sent_again_at_the_end(self):
        self.write("data/a", b"1")
        self.sync.run(self.soon)
        self.sync.run(self.soon, final=True)
        self.assertEqual(len(self.puts()), 2)

    def test_the_manifest_has_the_sums_of_what_was_sent(self):
        self.write("data/a", b"first")
        listing = self.sync.run(self.soon, final=True)
        self.write("data/a", b"later")
        entry = self.sync.entries(listing)[1]
        self.assertLessEqual(sums_of(b"first").items(), entry.items())
        self.assertEqual(self.world.artifact("data/a"), b"first")

    def test_names_that_are_not_utf_8_have_their_bytes_in_the_key(self):
        self.write(b"data/\xff%", b"odd")
        entry = self.sync.entries(self.sync.run(self.soon, final=True))[1]
        self.assertEqual(entry["key"], "data/%FF%25")
        self.assertEqual(os.fsencode(json.loads(json.dumps(entry))["path"]), b"data/\xff%")
        self.assertEqual(self.world.artifact("data/%FF%25"), b"odd")

    def test_a_link_put_in_place_of_a_file_is_not_followed(self):
        os.mkdir(self.root + "/data")
        os.symlink("/etc/passwd", self.root + "/data/a")
        listing = runner.Listing(runner.Ground(self.root), [])
        self.sync.send(listing, b"data/a", self.soon, True)
        self.assertEqual(self.puts(), [])
        self.assertEqual(len(listing.unreadable), 1)

    def test_a_download_that_is_not_finished_is_no_artifact(self):
        self.write("data/.input.txt.errand-part")
        self.assertEqual(self.sync.run(self.soon).sets, [{"path": "data", "bytes": 0, "files": 0}])


class Inputs(Files):
    def lay(self, source):
        return runner.lay_input(runner.Transfers(self.world.s3()), source, self.tree, time.monotonic() + 20, lambda: None)

    def test_one_that_is_wrong_ends_all_others(self):
        source = self.world.input("prepare", {"endless": b"x", "wrong": b"right"})

        def download(_self, key, _descriptor, _size, until, check):
            while key.endswith("endless") and time.monotonic() < until:
                check()
                time.sleep(0.01)
            return "", 0

        started = time.monotonic()
        with mock.patch.object(runner.Transfers, "download", download):
            with self.assertRaisesRegex(runner.Failed, "wrong is not what was uploaded"):
                self.lay(source)
        self.assertLess(time.monotonic() - started, 10)

    def test_the_last_one_wins_and_what_gave_way_is_known(self):
        self.write("data/a", b"bundle")
        self.write("data/b", b"bundle")
        self.assertEqual(self.lay(self.world.input("one", {"data/a": b"one", "data/c": b"one"})), 2)
        self.assertEqual(self.tree.overwritten, [b"data/a"])
        self.lay(self.world.input("two", {"data/c": b"two", "empty": None}))
        self.assertEqual([self.read("data/" + name) for name in "abc"], [b"one", b"bundle", b"two"])
        self.assertEqual(os.listdir(self.root + "/empty"), [])
        self.assertEqual(os.stat(self.root + "/data/a").st_mode & 0o777, 0o640)

    def test_content_that_is_not_what_was_uploaded_fails(self):
        source = self.world.input("one", {"a": b"right"})
        self.world.objects[source["prefix"] + "a"] = b"wrong"
        with self.assertRaisesRegex(runner.Failed, "input one: a is not what was uploaded"):
            self.lay(source)

    def test_a_manifest_of_another_format_fails(self):
        source = self.world.input("one", {})
        self.world.objects[source["manifest"]] = b'{"format": 2, "entries": []}'
        with self.assertRaisesRegex(runner.Failed, "unknown format"):
            self.lay(source)

    def test_a_name_that_points_out_fails(self):
        with self.assertRaisesRegex(runner.Failed, "points out"):
            self.lay(self.world.input("one", {"../evil": b"x"}))

    def test_what_one_job_uploaded_another_gets(self):
        self.write(b"data/\xff \n%", b"odd")
        self.write("data/deep/-x", b"dash")
        os.symlink("deep/-x", self.root + "/data/link")
        os.mkdir(self.root + "/data/locked", 0o555)
        sync = runner.Sync(runner.Transfers(self.world.s3()), runner.Ground(self.root), ["data"], PREFIX)
        entries = sync.entries(sync.run(time.monotonic() + 20, final=True))
        self.world.manifest_of("one", entries)
        self.root += "-2"
        os.mkdir(self.root)
        self.tree = runner.Tree(self.root)
        self.lay({"from": "one", "prefix": PREFIX + "artifacts/", "manifest": "runs/o/one/1/manifest.json"})
        self.tree.finish()
        self.assertEqual(self.read(b"data/\xff \n%"), b"odd")
        self.assertEqual(self.read("data/link"), b"dash")
        self.assertEqual(os.readlink(self.root + "/data/link"), "deep/-x")
        self.assertEqual(os.stat(self.root + "/data/locked").st_mode & 0o777, 0o555)


class Logs(Files):
    def setUp(self):
        super().setUp()
        self.log = runner.Log()
        self.s3 = self.world.s3()

    def ship(self, final=False):
        self.log.ship(self.s3, PREFIX, time.monotonic() + 20, final)

    # [time, bytes] of each line that was shipped.
    def lines(self):
        lines = []
        for first, body in self.world.chunks().items():
            self.assertEqual(first, len(lines) + 1)
            times, at = [], 0
            for span in zlib.decompress(base64.b64decode(self.world.times[first])).split(b"\n")[:-1]:
                since, count = (int(each) for each in span.split())
                at += since
                times += [at] * count
            texts = re.findall(rb"[^\n]*\n|[^\n]+", body)
            self.assertEqual(len(times), len(texts))
            lines += zip(times, texts)
        return lines

    def test_chunks_end_at_lines_and_are_numbered_by_their_first(self):
        self.log.append(b"one\ntwo\nthr", 5)
        self.ship()
        self.log.append(b"ee\nfour", 7)
        self.ship()
        self.ship(final=True)
        self.assertEqual(self.world.chunks(), {1: b"one\ntwo\n", 3: b"three\n", 4: b"four"})
        self.assertEqual(self.log.lines(), 4)
        self.assertIn(PREFIX + "log/0000000003", self.world.objects)

    def test_bytes_carriage_returns_and_a_line_longer_than_a_chunk_survive(self):
        long = os.urandom(5_000_000).replace(b"\n", b"") + b"\n"
        body = b"\x00\xff 10%\r20%\r\n" + long + b"after\n" * 1_000_000
        for start in range(0, len(body), 3_000_000):
            self.log.append(body[start : start + 3_000_000], start)
            self.ship()
        self.assertEqual(self.world.log(), body)
        chunks = self.world.chunks()
        self.assertEqual(self.log.lines(), 1_000_002)
        line = 1
        for first, chunk in chunks.items():
            self.assertEqual(first, line)
            self.assertTrue(len(chunk) <= runner.CHUNK_BYTES or chunk == long)
            line += chunk.count(b"\n")

    def test_a_chunk_whose_upload_did_not_succeed_is_sent_again_as_it_was(self):
        self.log.append(b"one\n", 1)
        self.world.faults[("PUT", PREFIX)] = [400]
        with self.assertRaises(runner.S3Error):
            self.ship()
        self.log.append(b"two\n", 2)
        self.ship()
        self.assertEqual(self.world.chunks(), {1: b"one\n", 2: b"two\n"})

    def test_each_line_has_the_time_of_its_first_byte_however_many_times_there_are(self):
        chance = random.Random(7)
        wanted, at, is_fresh = [], 1_764_000_000_000, True
        for _ in range(20_000):
            at += chance.choice((0, 0, 1, 2, 3, 50, -20, 4_000_000))
            data = chance.choice((b"a\n", b"b", b"c\n\nd\n", b"e\nf", b"\n"))
            self.log.append(data, at)
            for part in re.findall(rb"[^\n]*\n|[^\n]+", data):
                if is_fresh:
                    wanted.append([at, b""])
                wanted[-1][1] += part
                is_fresh = part.endswith(b"\n")
            if chance.random() < 0.001:
                self.ship()
        self.ship(final=True)
        self.assertEqual([list(line) for line in self.lines()], wanted)
        self.assertEqual(self.log.lines(), len(wanted))
        self.assertFalse(self.log.times)
        # What S3 takes, with the name.
        self.assertLess(max(len(times) for times in self.world.times.values()), 2_000)

    def test_the_copy_for_watchers_has_the_lines_of_the_chunks_with_their_times_and_ends_when_it_is_large(self):
        live = os.path.join(self.world.folder, "live")
        self.log = log = runner.Log(live)
        log.append(b"one\ntwo\nthr", 16)
        log.append(b"ee\n\nhalf", 255)
        log.say("ours")
        log.append(b"end", 4096)
        self.ship(final=True)
        log.append(b"more\n", 4097)
        self.ship()
        copied = [f"{at:011x} ".encode() + text.rstrip(b"\n") + b"\n" for at, text in self.lines()]
        with open(live, "rb") as file:
            self.assertEqual(file.read(), b"".join(copied))
        self.assertEqual(copied[:3], [b"00000000010 one\n", b"00000000010 two\n", b"00000000010 three\n"])
        self.assertEqual(copied[-2:], [b"00000001000 end\n", b"00000001001 more\n"])
        log.live.room = 20
        log.append(b"five\n", 1)
        log.append(b"six\n", 1)
        with open(live, "rb") as file:
            self.assertTrue(file.read().endswith(b" more\n00000000001 five\n"))

    def test_our_own_lines_begin_a_line(self):
        self.log.append(b"half", 1)
        self.log.say("a\nb")
        self.ship()
        self.assertEqual(self.world.log(), b"half\nerrand: a\nerrand: b\n")


if __name__ == "__main__":
    unittest.main()
