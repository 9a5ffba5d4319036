# Files to and from S3, whole and in parts, against the stub.
import errno
import http.client
import os
import random
import tempfile
import threading
import time
import zlib
from unittest import mock

import runner
from test_world import WorldTest, crc32, sums_of

CONTENT = os.urandom(45_678)


class Transfer(WorldTest):
    def setUp(self):
        super().setUp()
        parts = mock.patch.object(runner, "PART_BYTES", 10_000)
        parts.start()
        self.addCleanup(parts.stop)
        self.transfers = runner.Transfers(self.world.s3())
        self.soon = time.monotonic() + 20
        self.file = tempfile.TemporaryFile()
        self.addCleanup(self.file.close)

    def upload(self, content=CONTENT, size=None, check=lambda: None):
        self.file.write(content)
        self.file.flush()
        return self.transfers.upload("big", self.file.fileno(), size or len(content), self.soon, check)

    def download(self, size=-1):
        found = self.transfers.download("big", self.file.fileno(), size, self.soon, lambda: None)
        self.file.seek(0)
        return found, self.file.read()

    def test_a_large_file_goes_up_in_parts_whatever_goes_wrong_with_some(self):
        self.world.faults[("PUT", "big")] = ["reset", 503, 500]
        self.assertEqual(self.upload(), sums_of(CONTENT))
        self.assertEqual(self.world.objects["big"], CONTENT)
        self.assertEqual(self.world.uploads, {})

    def test_an_upload_whose_completion_is_answered_200_with_an_error_is_completed_again(self):
        error = b"<?xml version='1.0'?>\n  <Error><Code>InternalError</Code></Error>"
        self.world.faults[("POST", "big")] = [None, error, error]
        self.world.breaks["big"] = True
        self.assertEqual(self.upload(), sums_of(CONTENT))
        self.assertEqual((self.world.objects["big"], self.world.uploads), (CONTENT, {}))

    def test_a_completion_that_is_refused_in_an_answer_of_200_is_not_tried_again(self):
        self.world.faults[("POST", "big")] = [None, *[b"<Error><Code>InvalidPart</Code></Error>"] * 100]
        with self.assertRaisesRegex(runner.S3Error, "completing big: InvalidPart"):
            self.upload()
        self.assertEqual((self.world.objects, self.world.uploads), ({}, {}))
        self.assertEqual(len(self.world.faults[("POST", "big")]), 99)

    def test_a_file_that_shrinks_is_uploaded_as_far_as_it_goes(self):
        for length in (25_000, 20_000):
            self.file.seek(0)
            self.file.truncate()
            found = self.upload(CONTENT[:length], size=45_000)
            self.assertEqual(found, sums_of(CONTENT[:length]))
            self.assertEqual(self.world.objects["big"], CONTENT[:length])

    def test_an_upload_that_is_given_up_leaves_no_parts_behind(self):
        calls = []

        def check():
            calls.append(1)
            if len(calls) == 3:
                raise runner.Changed

        with self.assertRaises(runner.Changed):
            self.upload(check=check)
        self.world.faults[("PUT", "big")] = [400]
        with self.assertRaises(runner.S3Error):
            self.upload()
        self.assertEqual((self.world.uploads, self.world.objects), ({}, {}))
        self.assertEqual(self.transfers.room.taken, 0)

    def test_many_large_files_at_once_hold_no_more_parts_than_there_is_room_for(self):
        class Part(bytes):
            lives, most, lock = 0, 0, threading.Lock()

            def __init__(self, _):
                with Part.lock:
                    Part.lives += 1
                    Part.most = max(Part.most, Part.lives)

            def __del__(self):
                with Part.lock:
                    Part.lives -= 1

        read = runner.read_region
        self.file.write(CONTENT)
        self.file.flush()
        with mock.patch.object(runner, "read_region", lambda *words: Part(read(*words))):
            going = [
                self.transfers.files.submit(
                    self.transfers.upload, f"big{name}", self.file.fileno(), len(CONTENT), self.soon, lambda: None
                )
                for name in range(runner.FILES)
            ]
            self.assertEqual([each.result(20) for each in going], [sums_of(CONTENT)] * runner.FILES)
        # Those that are being summed by their file's thread have left the room.
        self.assertLess(Part.most, 3 * runner.TRANSFERS)

    def test_ranges_that_could_be_of_two_versions_are_refused(self):
        self.world.objects["big"] = CONTENT
        read = self.transfers.range
        with mock.patch.object(self.transfers, "range", lambda *words: (*read(*words)[:3], "")):
            with self.assertRaisesRegex(runner.S3Error, "without an ETag"):
                self.download()

    def test_what_comes_is_what_went_whatever_its_size(self):
        for content in (b"", b"x", CONTENT[:10_000], CONTENT[:10_001], CONTENT[:20_000], CONTENT):
            for size in (-1, len(content)):
                self.world.objects["big"] = content
                self.file.seek(0)
                self.file.truncate()
                expected = (crc32(content), len(content)), content
                self.assertEqual(self.download(size), expected)

    def test_sums_of_ranges_are_joined_to_that_of_the_whole(self):
        for _ in range(200):
            first, second = (os.urandom(random.choice([0, 1, 7, random.randrange(100_000)])) for _ in range(2))
            joined = runner.join_crc32(zlib.crc32(first), zlib.crc32(second), len(second))
            self.assertEqual(joined, zlib.crc32(first + second))

    def test_a_transfer_that_breaks_off_is_repeated(self):
        for content in (CONTENT, CONTENT[:5_000]):
            self.world.objects["big"] = content
            self.world.cuts["big"] = 1_234
            self.file.seek(0)
            self.file.truncate()
            self.assertEqual(self.download(len(content))[1], content)

    def test_a_transfer_that_breaks_off_leaves_nothing_of_a_version_that_is_gone(self):
        self.world.objects["big"] = CONTENT[:9_000]
        self.world.cuts["big"] = 8_000
        receive = self.transfers.receive

        def replace(*words):
            try:
                return receive(*words)
            except http.client.HTTPException:
                self.world.objects["big"] = b"shorter"
                raise

        with mock.patch.object(self.transfers, "receive", replace):
            self.assertEqual(self.download(), ((crc32(b"shorter"), 7), b"shorter"))

    def test_a_file_that_cannot_be_written_is_not_taken_for_a_broken_transfer(self):
        self.world.objects["big"] = CONTENT
        with open("/dev/full", "r+b", buffering=0) as full, self.assertRaises(OSError) as caught:
            self.transfers.download("big", full.fileno(), len(CONTENT), self.soon, lambda: None)
        self.assertEqual(caught.exception.errno, errno.ENOSPC)

    def test_an_object_that_is_replaced_meanwhile_is_not_mixed_with_the_new_one(self):
        self.world.objects["big"] = CONTENT
        read = self.transfers.range

        def replace(*words):
            found = read(*words)
            self.world.objects["big"] = CONTENT[::-1]
            return found

        with mock.patch.object(self.transfers, "range", replace):
            with self.assertRaisesRegex(runner.S3Error, "PreconditionFailed"):
                self.download()

    def test_many_large_downloads_at_once_are_whole(self):
        for name in range(12):
            self.world.objects[f"big{name}"] = CONTENT[name:]

        def fetch(name):
            with tempfile.TemporaryFile() as file:
                return self.transfers.download(f"big{name}", file.fileno(), len(CONTENT), self.soon, lambda: None)[0]

        transfers = [self.transfers.files.submit(fetch, name) for name in range(12)]
        expected = [crc32(CONTENT[name:]) for name in range(12)]
        self.assertEqual([each.result(20) for each in transfers], expected)

    def test_a_stop_ends_a_download_that_is_under_way(self):
        self.world.objects["big"] = CONTENT
        stop = threading.Event()

        def check():
            if stop.is_set():
                raise runner.Stopped("cancelled")

        receive = self.transfers.receive

        def stopping(*words):
            stop.set()
            return receive(*words)

        with mock.patch.object(self.transfers, "receive", stopping), self.assertRaises(runner.Stopped):
            self.transfers.download("big", self.file.fileno(), -1, self.soon, check)
