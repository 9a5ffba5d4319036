# The runner: the program on a rented machine that carries out one order. It claims the order, lays out the bundle and
# the inputs, runs the job's command, ships its log and artifacts to S3 while it runs, reports, and powers the machine off.
# docs/formats.md is its contract with the daemon. Python 3.9 and newer with the standard library alone, because it runs on images
# that have nothing else. boot.py brings it and calls run(); `runner.py fetch URL OUTPUT SHA256` is the command of a curl job,
# run as the job's user.
import base64
import collections
import concurrent.futures
import contextlib
import errno
import functools
import glob
import hashlib
import http.client
import itertools
import json
import os
import pwd
import random
import re
import select
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tarfile
import threading
import time
import traceback
import zlib

import boot
from boot import BLOCK_BYTES, S3Error, insist, sha256_hex

FORMAT = 1
# Of the log: a chunk as it is shipped, what may wait to be shipped before the job has to wait, and the longest line.
CHUNK_BYTES = 4 << 20
LOG_BYTES = 16 << 20
LINE_BYTES = 12 << 20
# S3 takes 2 KB of metadata with an object.
TIMES_BYTES = 1900
# Of the copy that is there to be watched, and what it leaves free of the disk.
LIVE_BYTES = 256 << 20
LIVE_FREE_BYTES = 256 << 20
TAIL_BYTES = 8192
# Shorter secrets are not looked for in the log: every "1" of it would be one.
MASKED_BYTES_MIN = 4
# How long Parameter Store, Secrets Manager and STS are asked again when they do not answer.
ASK_S = 120
# What is larger than a part goes in parts, so many at once. Of small files more are on their way, for S3 takes its time for each.
# While the job runs there are fewer of both.
PART_BYTES = 8 << 20
PARTS_MAX = 10_000
RANGE_BYTES_MAX = 32 << 20
TRANSFERS = 8
FILES = 64
TRANSFERS_BESIDE_JOB = 2
# Of what comes, so much at once: it is summed and written while the processor's cache has it still.
READ_BYTES = 256 << 10
KEY_BYTES_MAX = 1024
# Of bundles.
HEADER_BYTES_MAX = 1 << 20
LINK_BYTES_MAX = 1 << 16
# Of folders: what goes through them is recursive, in Python and elsewhere.
DEPTH_MAX = 200
# The daemon waits ten minutes beyond the limits before it terminates; the machine ends itself before that.
MARGIN_S = 300
# Kept free so that a full disk cannot keep the last lines from being written.
RESERVE_BYTES = 4 << 20
JOB_USER = "errand-job"
SHUT_DOWN = "the machine was shut down"
# What the curl provider has not finished is no artifact yet.
PARTIAL = b".errand-part"


class Failed(Exception):
    # The job cannot go on, for a reason the user can understand.
    pass


class CannotStart(Failed):
    pass


class Stopped(Exception):
    # Somebody wants the job to end: "cancelled", "deadline" (both from the stop object) or "shutdown".
    pass


# ---- the log -------------------------------------------------------------------------------------


class Tail:
    # The end of what a command writes.
    def __init__(self):
        self.changed = threading.Condition()
        self.written = 0
        self.recent = b""

    def size(self):
        return self.written

    # `at` is when it was written, in milliseconds.
    def append(self, data, at):
        with self.changed:
            self.written += len(data)
            self.recent = data[-TAIL_BYTES:] if len(data) >= TAIL_BYTES else (self.recent + data)[-TAIL_BYTES:]

    # Until there is room for more.
    def wait_for_room(self, is_over):
        pass

    # The text from an offset on, at most its last 8 KiB.
    def tail(self, start):
        with self.changed:
            count = min(self.written - start, len(self.recent))
            return self.recent[len(self.recent) - count :].decode("utf-8", "replace")


class Log(Tail):
    # The job's stdout and stderr, in order, and our own lines, in memory until they are shipped in chunks of whole lines:
    # a full disk takes nothing from it. A job that writes faster than is shipped waits. The file at `live` has the same lines
    # for whoever watches, as far as there is room; nothing depends on it.
    def __init__(self, live=None):
        super().__init__()
        self.live = Live(live) if live else None
        self.buffer = bytearray()
        # Bytes of the last line, which has not ended, and of those before it.
        self.open = 0
        self.whole = 0
        self.shipping = threading.Lock()
        self.next_line = 1
        # When the lines of the buffer began: [milliseconds, how many lines in a row].
        self.times = collections.deque()
        # A chunk whose upload did not succeed: it is sent again as it was, for its key may hold it already.
        self.pending = None

    # `data` is shorter than the longest line.
    def append(self, data, at):
        super().append(data, at)
        with self.changed:
            first, last = data.find(b"\n"), data.rfind(b"\n")
            if self.open + (first if first >= 0 else len(data)) > LINE_BYTES:
                self.put(b"\n", at)
                self.open = 0
            self.put(data, at)
            self.open = len(data) - last - 1 if last >= 0 else self.open + len(data)
            self.whole = len(self.buffer) - self.open
            self.changed.notify_all()

    # A line's time is that of its first byte.
    def put(self, data, at):
        begun = data.count(b"\n", 0, len(data) - 1) + (self.open == 0)
        if self.times and self.times[-1][0] == at:
            self.times[-1][1] += begun
        elif begun:
            self.times.append([at, begun])
        self.buffer += data
        if self.live:
            self.live.write(data, at, self.open == 0)

    def wait_for_room(self, is_over):
        with self.changed:
            self.changed.wait_for(lambda: len(self.buffer) < LOG_BYTES or is_over())

    def say(self, text):
        lines = "".join(f"errand: {line}\n" for line in text.split("\n"))
        with self.changed:
            self.append((("\n" if self.open else "") + lines).encode("utf-8", "backslashreplace"), now_ms())

    def wait_for_chunk(self, seconds):
        with self.changed:
            self.changed.wait_for(lambda: self.whole >= CHUNK_BYTES, seconds)

    # The next chunk, how many lines it has, and their times; empty when there is nothing to ship.
    def next_chunk(self, final):
        with self.changed:
            end = self.buffer.rfind(b"\n", 0, min(CHUNK_BYTES, self.whole)) + 1
            if not end and self.whole:
                # One line longer than a chunk is shipped alone.
                end = self.buffer.find(b"\n", CHUNK_BYTES) + 1
            with memoryview(self.buffer) as view:
                body = bytes(view[: end or (len(view) if final else 0)])
            lines = body.count(b"\n") + (body[-1:] not in (b"", b"\n"))
            spans = first_lines(self.times, lines)
        while len(times := encode_times(spans)) > TIMES_BYTES:
            # A chunk has as many lines as their times find room beside it.
            spans = spans[: len(spans) // 2]
        fitting = sum(count for _, count in spans)
        return (body, lines, times) if fitting == lines else (body[: end_of_line(body, fitting)], fitting, times)

    # Uploads all that is there; without `final`, whole lines only.
    def ship(self, s3, prefix, until, final=False):
        with self.shipping:
            while True:
                self.pending = self.pending or self.next_chunk(final)
                body, lines, times = self.pending
                if not body:
                    self.pending = None
                    return
                s3.put(f"{prefix}log/{self.next_line:010d}", body, until, headers={"x-amz-meta-times": times})
                with self.changed:
                    self.forget(body, lines)
                    self.next_line += lines
                    self.pending = None
                    self.changed.notify_all()

    def forget(self, body, lines):
        del self.buffer[: len(body)]
        self.whole = max(0, self.whole - len(body))
        self.open = min(self.open, len(self.buffer))
        if not body.endswith(b"\n") and self.live:
            # The last line of all: what follows it is another one there, too.
            self.live.write(b"\n", 0, False)
        for _, count in first_lines(self.times, lines):
            self.times[0][1] -= count
            if not self.times[0][1]:
                self.times.popleft()

    def lines(self):
        return self.next_line - 1


# The times of so many lines from the first on.
def first_lines(times, lines):
    spans = []
    for at, count in times:
        if not lines:
            break
        spans.append((at, min(count, lines)))
        lines -= spans[-1][1]
    return spans


# As docs/formats.md has it: for each span the milliseconds since the one before and its lines, compressed.
def encode_times(spans):
    starts = [0, *(at for at, _ in spans)]
    text = "".join(f"{at - before} {count}\n" for (at, count), before in zip(spans, starts))
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


# Where the line of that number, from 1, ends.
def end_of_line(body, number):
    end = 0
    for _ in range(number):
        end = body.index(b"\n", end) + 1
    return end


class Live:
    # A copy of the log in a file, for `tail -n +K -F`: never cut and never begun anew, or its lines would get other numbers.
    # Each line has its time before it. It just ends when it has grown large or the disk is nearly full.
    def __init__(self, path):
        self.room = LIVE_BYTES
        self.unchecked = 0
        self.file = -1
        with contextlib.suppress(OSError):
            self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    # `is_fresh`: a line begins with it.
    def write(self, data, at, is_fresh):
        if self.file < 0:
            return
        stamp = b"%011x " % at
        data = (stamp if is_fresh else b"") + data[:-1].replace(b"\n", b"\n" + stamp) + data[-1:]
        try:
            self.room -= len(data)
            self.unchecked -= len(data)
            if self.unchecked <= 0:
                self.unchecked = BLOCK_BYTES
                disk = os.fstatvfs(self.file)
                if disk.f_bavail * disk.f_frsize < LIVE_FREE_BYTES:
                    self.room = 0
            if self.room > 0 and os.write(self.file, data) == len(data):
                return
        except OSError:
            pass
        os.close(self.file)
        self.file = -1


class Mask:
    # Takes secrets out of what is shown to whoever may read the log, which is more people than may read the secrets. It finds a
    # secret as it is; what a job makes of it, such as its base64, it does not.
    def __init__(self):
        self.values = []
        self.pattern = None

    # Line by line, for a log is lines. What is very short would take too much with it.
    def add(self, text):
        lines = {line.strip().encode() for line in text.split("\n")}
        lines = {line for line in lines if len(line) >= MASKED_BYTES_MIN}
        self.values = sorted(lines | set(self.values), key=len, reverse=True)
        self.pattern = re.compile(b"|".join(re.escape(each) for each in self.values)) if self.values else None

    def hide(self, text):
        stream = MaskedStream(self)
        return (stream.feed(text.encode("utf-8", "surrogatepass")) + stream.end()).decode("utf-8", "surrogatepass")


class MaskedStream:
    # What comes in pieces: what may be the beginning of a secret waits for the next one.
    def __init__(self, mask):
        self.mask = mask
        self.held = b""

    def feed(self, data):
        if not self.mask.values:
            return data
        data = self.held + data
        border = len(data) - self.begun(data)
        shown, at = [], 0
        if any(value in data for value in self.mask.values):
            for match in self.mask.pattern.finditer(data):
                if match.start() >= border:
                    break
                shown += [data[at : match.start()], b"***"]
                at = match.end()
        border = max(at, border)
        self.held = data[border:]
        return b"".join([*shown, data[at:border]])

    # How many bytes at the end are the beginning of a secret.
    def begun(self, data):
        if data.endswith(b"\n"):
            return 0
        return max(
            next((size for size in range(min(len(value) - 1, len(data)), 0, -1) if data.endswith(value[:size])), 0) for value in self.mask.values
        )

    def end(self):
        held, self.held = self.held, b""
        return self.mask.pattern.sub(b"***", held) if held else b""


class Pump(threading.Thread):
    # Carries what a command and all that it starts write into a log, for as long as there is room.
    def __init__(self, log, mask):
        super().__init__(daemon=True)
        self.log = log
        self.stream = MaskedStream(mask)
        self.is_over = False
        self.reader, self.writer = os.pipe()
        with contextlib.suppress(ImportError, AttributeError, OSError):
            import fcntl

            fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ if hasattr(fcntl, "F_SETPIPE_SZ") else 1031, BLOCK_BYTES)

    def run(self):
        poll = select.poll()
        poll.register(self.reader, select.POLLIN)
        after = 0
        while after <= BLOCK_BYTES:
            if not poll.poll(0 if self.is_over else 200):
                if self.is_over:
                    break
                continue
            data = os.read(self.reader, BLOCK_BYTES)
            if not data:
                break
            at = now_ms()
            after += len(data) if self.is_over else 0
            self.log.wait_for_room(lambda: self.is_over)
            self.show(self.stream.feed(data), at)
        self.show(self.stream.end(), now_ms())
        # What has escaped and still writes gets SIGPIPE.
        os.close(self.reader)

    def show(self, data, at):
        if data:
            self.log.append(data, at)

    # Takes what is in the pipe already, and no more than that.
    def finish(self):
        self.is_over = True
        with self.log.changed:
            self.log.changed.notify_all()
        self.join(10)


# ---- files that come ------------------------------------------------------------------------------


class Tree:
    # Lays files below a folder. Whatever the names and links say, nothing is written outside of it.
    def __init__(self, root):
        self.root = os.fsencode(root)
        # Known to be real and writable.
        self.folders = set()
        # Applied last, so that a folder without write permission can be filled.
        self.folder_modes = {}
        self.overwritten = []

    # The place of a name, its parents being real folders. What was there, if anything but a folder, is gone.
    def place(self, name, is_folder=False):
        parts = [part for part in name.split(b"/") if part not in (b"", b".")]
        if name.startswith(b"/") or b".." in parts or b"\0" in name:
            raise Failed(f"the name {show(name)} points out of the working directory")
        if len(parts) > DEPTH_MAX:
            raise Failed(f"the name {show(name[:100])} is more than {DEPTH_MAX} folders deep")
        path = self.root
        for part in parts if is_folder else parts[:-1]:
            path = os.path.join(path, part)
            if path in self.folders:
                continue
            if os.path.islink(path) or not os.path.isdir(path):
                self.clear(path)
                os.mkdir(path, 0o755)
            elif not os.access(path, os.W_OK):
                os.chmod(path, 0o755)
            self.folders.add(path)
        if not is_folder:
            if not parts:
                raise Failed(f"the name {show(name)} is none of a file")
            path = os.path.join(path, parts[-1])
            self.clear(path)
        return path

    def clear(self, path):
        try:
            is_folder = stat.S_ISDIR(os.lstat(path).st_mode)
        except FileNotFoundError:
            return
        if is_folder:
            shutil.rmtree(path)
            self.folders.clear()
        else:
            os.remove(path)
        self.overwritten.append(os.path.relpath(path, self.root))

    def folder(self, name, mode):
        self.folder_modes[self.place(name, True)] = mode

    # `write` fills the open file.
    def file(self, name, mode, write):
        path = self.place(name)
        with open(path, "wb") as file:
            write(file)
            os.fchmod(file.fileno(), mode)

    def link(self, name, target):
        end = os.path.normpath(os.path.join(os.path.dirname(name), target))
        if target.startswith(b"/") or end == b".." or end.startswith(b"../"):
            raise Failed(f"the link {show(name)} points out of the working directory")
        os.symlink(target, self.place(name))

    # A second name of a file that is there already.
    def hard_link(self, name, target):
        source = os.path.realpath(os.path.join(self.root, target))
        if not source.startswith(os.path.realpath(self.root) + b"/") or not os.path.isfile(source):
            raise Failed(f"the link {show(name)} points out of the bundle")
        path = self.place(name)
        os.link(source, path)

    def finish(self):
        for path in sorted(self.folder_modes, reverse=True):
            if os.path.isdir(path) and not os.path.islink(path):
                os.chmod(path, self.folder_modes[path])


def show(name):
    return os.fsdecode(name).encode("utf-8", "backslashreplace").decode()


# What is wrong with an archive comes from its readers in many ways. Errors of the disk are not among them.
DAMAGED = (tarfile.TarError, EOFError, ValueError, ArithmeticError, LookupError, RuntimeError, struct.error, zlib.error)
OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


# `check` is called from time to time, and may raise.
def unpack(path, tree, check=lambda: None):
    import zipfile

    try:
        if path.endswith(".zip"):
            unpack_zip(zipfile, path, tree, check)
        else:
            unpack_tar(path, tree, check)
    except (*DAMAGED, zipfile.BadZipFile) as cause:
        raise Failed(f"the bundle cannot be unpacked: {str(cause) or type(cause).__name__}") from cause
    except OSError as cause:
        if cause.errno in OF_THE_DISK:
            raise
        name = os.path.relpath(cause.filename, tree.root) if isinstance(cause.filename, bytes) else b""
        what = f": {show(name[:100])}" if name else ""
        raise Failed(f"the bundle cannot be unpacked: {cause.strerror or cause}{what}") from cause


class Member(tarfile.TarInfo):
    # A header that says more of the next one is read whole: no name and no attribute is this long.
    def _proc_pax(self, archive):
        self.refuse_large()
        return super()._proc_pax(archive)

    def _proc_gnulong(self, archive):
        self.refuse_large()
        return super()._proc_gnulong(archive)

    def refuse_large(self):
        if self.size > HEADER_BYTES_MAX:
            raise tarfile.ReadError("a header is too large")


def unpack_tar(path, tree, check):
    with tarfile.open(path, "r|*", tarinfo=Member) as archive:
        for member in archive:
            check()
            # All of them would be kept until the end.
            archive.members = []
            name, target = os.fsencode(member.name), os.fsencode(member.linkname)
            if member.isdir():
                tree.folder(name, member.mode & 0o777)
            elif member.isreg():
                content = archive.extractfile(member)
                tree.file(name, member.mode & 0o777, lambda file: copy(content, file, check))
            elif member.issym():
                tree.link(name, target)
            elif member.islnk():
                tree.hard_link(name, target)
            else:
                raise Failed(f"the bundle holds {show(name)}, which is no file, folder or link")


def unpack_zip(zipfile, path, tree, check):
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            check()
            name, mode = os.fsencode(member.filename), member.external_attr >> 16
            if member.is_dir():
                tree.folder(name, mode & 0o777 or 0o755)
            elif stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFLNK):
                raise Failed(f"the bundle holds {show(name)}, which is no file, folder or link")
            else:
                with archive.open(member) as content:
                    if stat.S_ISLNK(mode):
                        # Longer than any path.
                        tree.link(name, content.read(LINK_BYTES_MAX))
                    else:
                        tree.file(name, mode & 0o777 or 0o644, lambda file: copy(content, file, check))


def copy(content, file, check):
    while True:
        check()
        block = content.read(BLOCK_BYTES)
        if not block:
            return
        file.write(block)


# Artifacts of another job, at the same relative path. What is already there gives way. Returns the number of files.
def lay_input(transfers, source, tree, until, check):
    manifest = json.loads(transfers.s3.get(source["manifest"], until))
    if manifest.get("format") != FORMAT:
        raise Failed(f"input {source['from']} has a manifest of unknown format")

    def fetch(entry, path, go_on):
        key = source["prefix"] + entry.get("key", entry["path"])
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        try:
            crc32, _ = transfers.download(key, file, entry["size"], until, go_on)
            # Older sets have the sha256 alone.
            is_same = crc32 == entry["crc32"] if "crc32" in entry else file_sha256(path) == entry["sha256"]
            os.fchmod(file, entry["mode"] & 0o777)
        finally:
            os.close(file)
        if not is_same:
            raise Failed(f"input {source['from']}: {show(os.fsencode(entry['path']))} is not what was uploaded")

    with all_of(check) as (files, go_on):
        for entry in manifest["entries"]:
            name = os.fsencode(entry["path"])
            if entry["type"] == "directory":
                tree.folder(name, entry["mode"] & 0o777)
            elif entry["type"] == "link":
                tree.link(name, os.fsencode(entry["target"]))
            else:
                files.append(transfers.files.submit(fetch, entry, tree.place(name), go_on))
    return len(files)


# Waits for all that is put into the list. The first error cancels what has not begun, ends what asks whether to go on, and is raised
# when all is over.
@contextlib.contextmanager
def all_of(check=lambda: None):
    transfers, broken = [], threading.Event()

    def go_on():
        check()
        if broken.is_set():
            raise Failed("another one failed")

    try:
        yield transfers, go_on
        for transfer in concurrent.futures.as_completed(transfers):
            transfer.result()
    except BaseException:
        broken.set()
        concurrent.futures.wait([transfer for transfer in transfers if not transfer.cancel()])
        raise


# ---- transfers -------------------------------------------------------------------------------------


class Room:
    # So many bytes may be under way at once; who wants more than all of them waits to be alone.
    def __init__(self, size):
        self.size = size
        self.taken = 0
        self.changed = threading.Condition()

    def take(self, size):
        with self.changed:
            self.changed.wait_for(lambda: not self.taken or self.taken + size <= self.size)
            self.taken += size

    def give(self, size):
        with self.changed:
            self.taken -= size
            self.changed.notify_all()

    def resize(self, size):
        with self.changed:
            self.size = size
            self.changed.notify_all()


class Transfers:
    # Files to and from S3, many at once and large ones in parts, over connections that are kept. What is on its way to S3 is in
    # memory, so that a repeat sends the same bytes.
    def __init__(self, s3):
        self.s3 = s3
        self.local = threading.local()
        self.room = Room(TRANSFERS * PART_BYTES)
        self.files = concurrent.futures.ThreadPoolExecutor(FILES)
        self.files_beside_job = concurrent.futures.ThreadPoolExecutor(TRANSFERS_BESIDE_JOB)
        self.parts = concurrent.futures.ThreadPoolExecutor(TRANSFERS)

    # The job has the machine to itself, but for this.
    def set_beside_job(self, is_beside):
        self.room.resize((TRANSFERS_BESIDE_JOB if is_beside else TRANSFERS) * PART_BYTES)

    # Uploads an open file, or what is left of it when it becomes shorter. Returns what a manifest says of the bytes that were
    # sent: their size and sums. `check` is called from time to time, and may raise.
    def upload(self, key, descriptor, size, until, check):
        if size <= PART_BYTES:
            self.room.take(size)
            try:
                body = read_region(descriptor, 0, size)
                sha256 = sha256_hex(body)
                self.s3.put(key, body, until, sha256=sha256)
                return {"size": len(body), "sha256": sha256, "crc32": show_crc32(zlib.crc32(body))}
            finally:
                self.room.give(size)
        answer = self.s3.open("POST", key, {"uploads": ""}, {"x-amz-checksum-algorithm": "CRC32"}, until=until).read()
        upload = {"uploadId": re.search(rb"<UploadId>([^<]+)", answer).group(1).decode()}
        try:
            return self.upload_parts(key, upload, (descriptor, size), until, check)
        except BaseException:
            with contextlib.suppress(S3Error):
                self.s3.open("DELETE", key, upload, ok=(204, 404)).read()
            raise

    def upload_parts(self, key, upload, region, until, check):
        descriptor, size = region
        step = max(PART_BYTES, -(-size // PARTS_MAX))
        digest, parts, sent = hashlib.sha256(), [], 0

        # S3 compares the CRC-32, which costs far less than a sha256 for the signature.
        def send(number, body):
            try:
                crc32 = zlib.crc32(body)
                query = {**upload, "partNumber": str(number)}
                headers = {"x-amz-checksum-crc32": show_crc32(crc32)}
                response = self.s3.open("PUT", key, query, headers, body, until, sha256="UNSIGNED-PAYLOAD")
                response.read()
                return crc32, len(body), response.getheader("etag")
            finally:
                self.room.give(step)

        try:
            while sent < size:
                check()
                self.room.take(step)
                try:
                    body = read_region(descriptor, sent, min(step, size - sent))
                    if not body and sent:
                        self.room.give(step)
                        break
                    parts.append(self.parts.submit(send, len(parts) + 1, body))
                except BaseException:
                    self.room.give(step)
                    raise
                # While the parts are on their way.
                digest.update(body)
                sent += len(body)
                is_last = len(body) < step or (parts[-TRANSFERS:][0].done() and parts[-TRANSFERS:][0].exception())
                # Its room is given back as soon as it is sent.
                body = b""
                if is_last:
                    break
        finally:
            concurrent.futures.wait(parts)
        crc32, xml = 0, ""
        for number, part in enumerate(parts, 1):
            sum_of_part, size, etag = part.result()
            crc32 = join_crc32(crc32, sum_of_part, size)
            xml += f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag>"
            xml += f"<ChecksumCRC32>{show_crc32(sum_of_part)}</ChecksumCRC32></Part>"
        self.complete(key, upload, f"<CompleteMultipartUpload>{xml}</CompleteMultipartUpload>".encode(), until)
        return {"size": sent, "sha256": digest.hexdigest(), "crc32": show_crc32(crc32)}

    # S3 answers 200 before it has done the work: what follows may be an error, or break off, and then the same is sent again. One
    # that is complete already is completed once more without harm.
    def complete(self, key, upload, body, until):
        pause = 0.2
        while True:
            code = "the answer broke off"
            try:
                answer = self.s3.open("POST", key, upload, body=body, until=until).read()
                if b"<CompleteMultipartUploadResult" in answer:
                    return
                found = re.search(rb"<Code>([^<]*)", answer)
                code = found.group(1).decode() if found else code
            except (OSError, http.client.HTTPException):
                self.s3.drop()
            is_refusal = code.startswith(("Invalid", "Malformed", "EntityTooSmall", "NoSuch", "AccessDenied"))
            if is_refusal or time.monotonic() >= until:
                raise S3Error("completing " + key, 200, code)
            time.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 2, 20)

    # Downloads an object into an open file: whole, or in ranges when it is large or its size (-1) is not known. Returns the CRC-32
    # of what came and the number of its bytes. The sums of ranges can be joined, so each is summed as it comes, on any processor.
    def download(self, key, descriptor, size, until, check):
        check()
        part = None if 0 <= size <= PART_BYTES else (0, PART_BYTES)
        came, crc32, size, etag = self.range(key, part, descriptor, until)
        if came < size and not etag:
            raise S3Error("GET " + key, 0, "an answer without an ETag: its ranges could be of two versions")
        # Longer ones where there are enough for all connections: each costs a request.
        step = max(PART_BYTES, min(size // TRANSFERS // 2, RANGE_BYTES_MAX))
        starts, coming = iter(range(came, size, step)), collections.deque()
        try:
            while True:
                # No more at once: other files wait for the same threads.
                for start in itertools.islice(starts, 2 * TRANSFERS - len(coming)):
                    coming.append(self.parts.submit(self.range, key, (start, step), descriptor, until, etag))
                if not coming:
                    break
                came, sum_of_range, _, _ = wait_for(coming[0], check)
                coming.popleft()
                crc32 = join_crc32(crc32, sum_of_range, came)
        finally:
            concurrent.futures.wait([transfer for transfer in coming if not transfer.cancel()])
        return show_crc32(crc32), size

    # Writes an object, or a part of it, where it belongs in the file. Returns how many bytes came, their CRC-32, the size of the
    # whole, and which version it was.
    def range(self, key, part, descriptor, until, etag=""):
        start = part[0] if part else 0
        headers = {"range": f"bytes={start}-{start + part[1] - 1}"} if part else {}
        if etag:
            headers["if-match"] = etag
        pause = 0.2
        while True:
            response = self.s3.open("GET", key, headers=headers, until=until, ok=(200, 206, 416) if part else (200,))
            try:
                # No range of an empty object can be had.
                came, crc32 = self.receive(response, descriptor, start) if response.status != 416 else (0, 0)
                break
            except http.client.HTTPException as cause:
                self.s3.drop()
                if time.monotonic() >= until:
                    raise S3Error("GET " + key, 0, "the transfer broke off") from cause
                if not etag:
                    # Another version may come, and be shorter.
                    os.ftruncate(descriptor, 0)
                time.sleep(pause * random.uniform(0.5, 1.5))
                pause = min(pause * 2, 20)
        if response.status == 416:
            self.s3.drop()
            return 0, 0, 0, ""
        total = (response.getheader("content-range") or "").rpartition("/")[2]
        return came, crc32, int(total or came), response.getheader("etag") or ""

    # Returns how many bytes came, and their CRC-32. What is wrong with the network is an HTTPException; an OSError is of the file.
    def receive(self, response, descriptor, start):
        block, came, crc32, expected = self.block(), 0, 0, response.length
        while True:
            try:
                size = response.readinto(block)
            except OSError as cause:
                raise http.client.HTTPException(str(cause)) from cause
            if size == 0:
                break
            crc32 = zlib.crc32(block[:size], crc32)
            write_region(descriptor, start + came, block[:size])
            came += size
        if expected is not None and came < expected:
            raise http.client.IncompleteRead(b"", expected - came)
        return came, crc32

    # One for each thread, used again and again: memory that is new each time costs more than what is done with it.
    def block(self):
        if not hasattr(self.local, "block"):
            self.local.block = memoryview(bytearray(READ_BYTES))
        return self.local.block


def wait_for(transfer, check):
    while True:
        check()
        try:
            return transfer.result(1)
        except concurrent.futures.TimeoutError:
            if transfer.done():
                return transfer.result()


# What the region holds, or less where the file has become shorter.
def read_region(descriptor, start, size):
    block = os.pread(descriptor, size, start)
    blocks = [block]
    while block and len(block) < size:
        start, size = start + len(block), size - len(block)
        block = os.pread(descriptor, size, start)
        blocks.append(block)
    return b"".join(blocks) if len(blocks) > 1 else block


def write_region(descriptor, start, data):
    rest = memoryview(data)
    while rest:
        done = os.pwrite(descriptor, rest, start)
        rest, start = rest[done:], start + done


# As S3 writes it: base64, the highest byte first.
def show_crc32(value):
    return base64.b64encode(value.to_bytes(4, "big")).decode()


# The CRC-32 of two things one after the other: that of the first times x^(8 x the second's bytes), plus that of the second, over
# GF(2). The highest bit is the lowest power. (zlib's crc32_combine, which Python does not give out.)
def join_crc32(first, second, second_bytes):
    return multiply(first, power_of_x(8 * second_bytes)) ^ second


def multiply(first, second):
    product = 0
    for bit in range(31, -1, -1):
        if first >> bit & 1:
            product ^= second
        second = second >> 1 ^ (0xEDB88320 if second & 1 else 0)
    return product


# Nearly all ranges have the same length.
@functools.lru_cache(8)
def power_of_x(exponent):
    power, square = 1 << 31, 1 << 30
    while exponent:
        if exponent & 1:
            power = multiply(power, square)
        square = multiply(square, square)
        exponent >>= 1
    return power


# ---- files that go ---------------------------------------------------------------------------------


FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Ground:
    # A folder of the job's as the runner reads it, with more rights than the job has. The job may change all of it at any
    # moment, to links to anywhere. So every name is opened in the folder before it and never as a path, no link is followed,
    # and on a machine what is not the job's own is left out: a hard link may be to anybody's file.
    def __init__(self, anchor, name=b"", owner=None):
        self.anchor = anchor
        self.names = split_path(os.fsencode(name))
        self.owner = owner

    # The folder of a path, open.
    @contextlib.contextmanager
    def folder(self, path):
        descriptor = os.open(self.anchor, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in self.names + split_path(path):
                inner = os.open(name, FOLDER, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = inner
            yield descriptor
        finally:
            os.close(descriptor)

    # A file of the job's, open, or None where something else has taken its place.
    @contextlib.contextmanager
    def file(self, path):
        folder, _, name = path.rpartition(b"/")
        with self.folder(folder) as descriptor:
            file = os.open(name, FILE, dir_fd=descriptor)
        try:
            found = os.fstat(file)
            yield file if stat.S_ISREG(found.st_mode) and self.owns(found) else None
        finally:
            os.close(file)

    def owns(self, found):
        return self.owner is None or found.st_uid == self.owner

    # (status, link target) of a path, which is None when there is nothing.
    def look(self, path):
        folder, _, name = path.rpartition(b"/")
        try:
            with self.folder(folder) as descriptor:
                return look_at(name or b".", descriptor)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as cause:
            if cause.errno == errno.ELOOP:
                return None
            raise

    # The same of all that a folder holds, by name; empty when it is gone.
    def scan(self, path):
        try:
            with self.folder(path) as descriptor:
                found = {os.fsencode(name): None for name in sorted(os.listdir(descriptor))}
                for name in found:
                    with contextlib.suppress(FileNotFoundError):
                        found[name] = look_at(name, descriptor)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as cause:
            if cause.errno == errno.ELOOP:
                return {}
            cause.filename = path or b"."
            raise
        return {name: each for name, each in found.items() if each}


def look_at(name, folder):
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    return found, os.readlink(name, dir_fd=folder) if stat.S_ISLNK(found.st_mode) else b""


def split_path(path):
    return [part for part in path.split(b"/") if part not in (b"", b".")]


# Paths below the ground that a declared artifact names: `*` and `?` within a name, `**` over any number of folders.
# Links are not followed.
def expand(ground, pattern):
    def descend(path, segments):
        if not segments:
            yield path
            return
        head, rest = segments[0], segments[1:]
        if head == b"**":
            yield from descend(path, rest)
            for name, (found, _) in ground.scan(path).items() if rest else ():
                if stat.S_ISDIR(found.st_mode):
                    yield from descend(os.path.join(path, name), segments)
        elif b"*" in head or b"?" in head:
            regex = re.compile(re.escape(head).replace(rb"\*", b".*").replace(rb"\?", b"."), re.DOTALL)
            for name, (found, _) in ground.scan(path).items():
                if regex.fullmatch(name) and (not rest or stat.S_ISDIR(found.st_mode)):
                    yield from descend(os.path.join(path, name), rest)
        else:
            found = ground.look(os.path.join(path, head))
            if found and (not rest or stat.S_ISDIR(found[0].st_mode)):
                yield from descend(os.path.join(path, head), rest)

    return sorted(set(descend(b"", split_path(os.fsencode(pattern)))))


class Listing:
    # What the declared artifacts hold now: entries by path, one set for each that exists, what was left out, and what
    # could not be read.
    def __init__(self, ground, patterns):
        self.ground = ground
        self.entries = {}
        self.sets = []
        self.missing = []
        self.notes = []
        self.unreadable = []
        for pattern in patterns:
            try:
                self.add(pattern)
            except OSError as cause:
                self.unreadable.append(f"{show(cause.filename or os.fsencode(pattern))}: {cause.strerror}")

    def add(self, pattern):
        own = {}
        literal = re.split(r"[^/]*[*?]", pattern)[0].rstrip("/")
        border = os.path.normpath(os.fsencode(literal or "."))
        stack = [(path, self.ground.look(path)) for path in expand(self.ground, pattern)[::-1]]
        while stack:
            path, found = stack.pop()
            entry = found and path not in own and self.entry(path, found, border)
            if not entry:
                continue
            own[path] = entry
            if entry["type"] == "directory":
                inside = self.ground.scan(path)
                stack += [(os.path.join(path, name), inside[name]) for name in sorted(inside, reverse=True)]
        if not own:
            self.missing.append(pattern)
            return
        own.pop(b"", None)
        sizes = [each["size"] for each in own.values() if each["type"] == "file"]
        self.sets.append({"path": pattern, "bytes": sum(sizes), "files": len(sizes)})
        self.entries.update(own)

    def entry(self, path, found, border):
        found, target = found
        mode = stat.S_IMODE(found.st_mode) & 0o777
        if not self.ground.owns(found):
            return self.leave_out(path, "is not the job's own")
        if stat.S_ISDIR(found.st_mode):
            return {"type": "directory", "mode": mode}
        if stat.S_ISREG(found.st_mode):
            if path.endswith(PARTIAL):
                return None
            return {"type": "file", "mode": mode, "size": found.st_size, "state": state(found)}
        if not stat.S_ISLNK(found.st_mode):
            return self.leave_out(path, "is no file, folder or link")
        end = os.path.normpath(os.path.join(os.path.dirname(path), target))
        inside = border == b"." and not end.startswith(b"..") or end == border or end.startswith(border + b"/")
        if target.startswith(b"/") or end == path or not inside:
            return self.leave_out(path, f"is a link to {show(target)}, out of its artifact,")
        return {"type": "link", "target": os.fsdecode(target)}

    def leave_out(self, path, why):
        self.notes.append(f"{show(path)} {why} and is left out")


def state(found):
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev


# The key of a path below `artifacts/`: as it is, but for `%`, what XML cannot hold and bytes that are not UTF-8. A key that S3
# would find too long is a hash, which no path can have as its key.
def artifact_key(path, prefix=""):
    def encode(match):
        return "".join(f"%{byte:02X}" for byte in os.fsencode(match.group()))

    key = re.sub("[%\x00-\x1f\x7f\udc80-\udcff\ufffe\uffff]", encode, os.fsdecode(path))
    is_long = len(prefix.encode()) + len(key.encode()) > KEY_BYTES_MAX
    return f"%long/{sha256_hex(path)}" if is_long else key


class Changed(Exception):
    # A file became another one while it was read.
    pass


class Sync:
    # Uploads what the ledger does not hold: by path, the state a file had and what a manifest says of the bytes that were sent.
    def __init__(self, transfers, ground, patterns, prefix):
        self.transfers = transfers
        self.ground = ground
        self.patterns = patterns
        self.prefix = prefix + "artifacts/"
        self.ledger = {}
        # The job has ended: what has not begun is left for the final run.
        self.is_last = False

    # Returns the listing. Files that vanish or cannot be read are told in it, and matter at the end alone.
    def run(self, until, final=False):
        listing = Listing(self.ground, self.patterns)
        files = [(path, each) for path, each in listing.entries.items() if each["type"] == "file"]
        changed = [path for path, each in files if not self.has(path, each["state"])]
        pool = self.transfers.files if final else self.transfers.files_beside_job
        with all_of() as (files, _):
            files += [pool.submit(self.send, listing, path, until, final) for path in changed]
        return listing

    def has(self, path, now):
        return path in self.ledger and self.ledger[path][0] == now

    def send(self, listing, path, until, final):
        if self.is_last and not final:
            return
        try:
            with self.ground.file(path) as descriptor:
                if descriptor is not None:
                    self.send_open(path, descriptor, until, final)
        except Changed:
            # What has become of it goes with the next run.
            pass
        except OSError as cause:
            listing.unreadable.append(f"{show(path)}: {cause.strerror}")

    def send_open(self, path, descriptor, until, final):
        started = time.time_ns()
        if not final:
            # Pages that the job has mapped and written change their file's time only at the first write after they were
            # stored: without this, a write after our reading would leave no trace.
            with contextlib.suppress(OSError, AttributeError):
                os.fdatasync(descriptor)
        before = os.fstat(descriptor)

        def check():
            if not final and state(os.fstat(descriptor)) != state(before):
                raise Changed

        key = self.prefix + artifact_key(path, self.prefix)
        sent = self.transfers.upload(key, descriptor, before.st_size, until, check)
        # A clock tick may hide a second change: what was written just now counts as changing.
        is_settled = state(os.fstat(descriptor)) == state(before) and before.st_mtime_ns < started - 50_000_000
        self.ledger[path] = state(before) if is_settled else None, sent

    # Entries as the manifest has them: only what was really uploaded.
    def entries(self, listing):
        entries = []
        for path in sorted(listing.entries):
            entry = {"path": os.fsdecode(path), **listing.entries[path]}
            if entry["type"] == "file":
                if path not in self.ledger:
                    continue
                del entry["state"]
                entry.update(self.ledger[path][1])
                key = artifact_key(path, self.prefix)
                if key != entry["path"]:
                    entry["key"] = key
            entries.append(entry)
        return entries


# ---- processes ---------------------------------------------------------------------------------------


PROBE = "import socket; socket.create_connection(('169.254.169.254', 80), 1)"


class Command:
    # One command of the job and all that it starts: a session of its own. On a machine it has a user of its own too, and all that
    # belongs to that user is of the job; on the local cloud what has left the session is found by a cookie in its environment
    # and because orphans become our children. In the local cloud's sandbox the job has a user, too, or else another sandbox.
    def __init__(self, host, words, folder, environment, log):
        self.host = host
        self.cookie = f"ERRAND_ATTEMPT_COOKIE={random.getrandbits(96):x}"
        environment = {**environment, "ERRAND_ATTEMPT_COOKIE": self.cookie.split("=")[1]}
        if not host.is_machine:
            adopt_orphans()
        if host.as_job:
            # In a file, for the job's variables must not work before its sandbox stands.
            words = [host.as_job, host.base, host.write_spec([words, folder, environment, host.job_ports])]
            folder, environment = None, None
        self.kills = oom_kills()
        self.pump = Pump(log, host.mask)
        try:
            with host.exposed_to_oom():
                self.process = subprocess.Popen(
                    words,
                    cwd=folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=self.pump.writer,
                    stderr=self.pump.writer,
                    start_new_session=True,
                    **host.job_user(),
                )
        finally:
            os.close(self.pump.writer)
            self.pump.start()

    def signal(self, name):
        for send, ids in ((os.killpg, [self.process.pid]), (os.kill, self.strays())):
            for each in ids:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    send(each, getattr(signal, name))

    # What the job has started, and has left its session.
    def strays(self):
        found, parents = set(), {}
        for pid in process_ids():
            try:
                if self.host.job_uid is not None:
                    with open(f"/proc/{pid}/status") as file:
                        uids = next(line for line in file if line.startswith("Uid:")).split()[1:]
                    if str(self.host.job_uid) in uids:
                        found.add(pid)
                    continue
                with open(f"/proc/{pid}/stat", "rb") as file:
                    state_of, parent = file.read().rpartition(b")")[2].split()[:2]
                if state_of == b"Z" and int(parent) == os.getpid() and pid != self.process.pid:
                    os.waitpid(pid, os.WNOHANG)
                    continue
                parents[pid] = int(parent)
                with open(f"/proc/{pid}/environ", "rb") as file:
                    if self.cookie.encode() in file.read().split(b"\0"):
                        found.add(pid)
            except (ValueError, OSError, StopIteration):
                pass
        ours = {os.getpid(), self.process.pid, *self.host.helpers}
        for pid in parents:
            above = pid
            while above in parents and above not in ours:
                above = parents[above]
            if above == os.getpid() and pid != above:
                found.add(pid)
        return found - ours

    # After the command itself: nothing that it left behind goes on. Children may be forked while we look.
    def end(self):
        for _ in range(100):
            self.signal("SIGKILL")
            if not self.strays():
                break
            time.sleep(0.01)
        self.pump.finish()

    # (exit code, signal name, whether the kernel took it for its memory)
    def result(self):
        code = self.process.returncode
        # A shell tells of its command's signal in its exit code.
        is_oom = code in (-signal.SIGKILL, 128 + signal.SIGKILL) and oom_kills() > self.kills
        return (code, "", is_oom) if code >= 0 else (None, signal.Signals(-code).name, is_oom)


def process_ids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()] if os.path.isdir("/proc/self") else []


# A process whose parent has ended becomes our child and not that of init. Linux alone, and where ctypes is to be had.
def adopt_orphans():
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


# How many processes the kernel has killed for their memory: in our cgroup where it counts them, else on the whole machine;
# 0 where that cannot be known.
def oom_kills():
    def count(path, name):
        with open(path) as file:
            return int(next(line.split()[1] for line in file if line.startswith(name + " ")))

    groups = {}
    with contextlib.suppress(OSError):
        with open("/proc/self/cgroup") as file:
            for line in file:
                _, controllers, path = line.rstrip("\n").split(":", 2)
                groups.update(dict.fromkeys(controllers.split(","), path))
    for path, name in (
        (f"/sys/fs/cgroup{groups.get('', '')}/memory.events", "oom_kill"),
        (f"/sys/fs/cgroup/memory{groups.get('memory', '')}/memory.oom_control", "oom_kill"),
        ("/proc/vmstat", "oom_kill"),
    ):
        with contextlib.suppress(OSError, StopIteration):
            return count(path, name)
    return 0


class Host:
    # The machine this runs on: its folders, its user for the job, and how it is powered off.
    def __init__(self, base, mode, cap):
        self.base = base
        self.is_machine = mode == "machine"
        self.cap = cap
        # The job's user where it has one; in sandboxes of the local cloud it may have a program that gives it a sandbox of its own
        # instead. Processes of our own that are no strays.
        self.job_uid = self.job_gid = None
        self.as_job = "" if self.is_machine else os.environ.get("ERRAND_LOCAL_AS_JOB", "")
        self.helpers = []
        # Ports of loopback that the job's own sandbox has, too. What no log is to show.
        self.job_ports = []
        self.mask = Mask()

    def path(self, *names):
        return os.path.join(self.base, *names)

    # Since the machine, or on the local cloud the user-data, was started.
    def uptime_ms(self):
        if self.is_machine:
            with open("/proc/uptime") as file:
                return int(float(file.read().split()[0]) * 1000)
        return max(0, int((time.time() - os.path.getmtime(self.path("boot"))) * 1000))

    # Powers off after so many seconds even if this process is stuck, and at once when it has been killed. It replaces the boot
    # cap.
    def set_deadline(self, seconds):
        if self.is_machine:
            timer = ["systemd-run", "--quiet", "--unit=errand-deadline", f"--on-active={seconds}", shutil.which("shutdown")]
            subprocess.run([*timer, "-P", "now"], check=True)
            subprocess.run(["systemctl", "stop", self.cap + ".timer"], check=True)
            # Of our end, the unit that we run in takes care.
            return
        # Nobody else has the other end of the helper's pipe: it is closed when we end, however that comes.
        reader, self.alive = os.pipe()
        script = f"read -t {seconds}; shutdown -P now || poweroff"
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.helpers.append(subprocess.Popen(["bash", "-c", script], stdin=reader, start_new_session=True, **quiet).pid)
        os.close(reader)
        end_group(int(self.cap))

    def prepare(self):
        for name in ("job", "job/work", "job/home", "job/tmp"):
            os.mkdir(self.path(name))
        if self.is_machine:
            user = ["useradd", "--system", "--home-dir", self.path("job/home"), "--shell", "/bin/bash", JOB_USER]
            subprocess.run(user, check=False, stderr=subprocess.DEVNULL)
            self.set_job_user(JOB_USER)
            self.keep_from_role()
        elif os.environ.get("ERRAND_LOCAL_JOB_USER"):
            # The sandbox keeps it from the role.
            self.set_job_user(os.environ["ERRAND_LOCAL_JOB_USER"])
            # Here are the job's folder and the runner's program; nothing else here is for others to read.
            os.chmod(self.base, 0o755)
        with open(self.path("reserve"), "wb") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, RESERVE_BYTES)
            except (AttributeError, OSError):
                pass

    def set_job_user(self, name):
        found = pwd.getpwnam(name)
        self.job_uid, self.job_gid = found.pw_uid, found.pw_gid

    def write_spec(self, spec):
        path = self.path(f"spec-{random.getrandbits(48):x}.json")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(spec, file)
        return path

    # The kernel sends nothing of the job's user to the instance metadata, where the credentials of the machine's role are; by
    # whatever way the job has a process started, cron and at as well.
    def keep_from_role(self):
        for family, address in (("-4", "169.254.169.254"), ("-6", "fd00:ec2::254")):
            rule = ["ip", family, "rule", "add", "pref", "100", "to", address, "uidrange", f"{self.job_uid}-{self.job_uid}"]
            with contextlib.suppress(OSError):
                subprocess.run([*rule, "prohibit"], check=False, stderr=subprocess.DEVNULL)

    # Whether the job could get at the instance's role all the same.
    def is_role_open(self):
        if not self.is_machine:
            return False
        probe = Command(self, [sys.executable, "-Ec", PROBE], "/", {}, Tail())
        try:
            return probe.process.wait(30) == 0
        finally:
            probe.end()

    # Everything laid out so far becomes the job's.
    def hand_over(self):
        if self.job_uid is None:
            return
        os.chown(self.path("job"), self.job_uid, self.job_gid)
        for folder, folders, files in os.walk(os.fsencode(self.path("job"))):
            for name in folders + files:
                os.lchown(os.path.join(folder, name), self.job_uid, self.job_gid)

    # As whom the job's commands run.
    def job_user(self):
        if self.job_uid is None:
            return {}
        return {"user": self.job_uid, "group": self.job_gid, "extra_groups": []}

    # The runner is never taken for lack of memory; what it starts now may be.
    @contextlib.contextmanager
    def exposed_to_oom(self):
        path = "/proc/self/oom_score_adj"
        if not self.is_machine:
            yield
            return
        with open(path) as file:
            own = file.read()
        with open(path, "w") as file:
            file.write("0")
        try:
            yield
        finally:
            with open(path, "w") as file:
                file.write(own)

    def disk_free_bytes(self):
        found = os.statvfs(self.base)
        return found.f_bavail * found.f_frsize

    def free_reserve(self):
        try:
            os.remove(self.path("reserve"))
        except OSError:
            pass


def end_group(leader):
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def missing_artifacts(patterns):
    names = [f'"{each}"' for each in patterns]
    if len(names) == 1:
        return f"artifact {names[0]} does not exist after a successful run"
    return f"artifacts {', '.join(names[:-1])} and {names[-1]} do not exist after a successful run"


def memory_available_bytes():
    try:
        with open("/proc/meminfo") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return None


# ---- providers ------------------------------------------------------------------------------------------


# What set-up takes over of our own environment: where packages come from and through which proxy, and by what the
# local cloud knows its processes.
PASSED_ON = re.compile(r"(?i)(https?|ftp|all|no)_proxy|(PIP|UV)_\w+|SSL_CERT_\w+|ERRAND_LOCAL_INSTANCE")


def machine_path():
    return os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")


def base_environment(host, order):
    passed = {name: value for name, value in os.environ.items() if PASSED_ON.fullmatch(name)}
    return {
        **passed,
        "PATH": machine_path(),
        "HOME": host.path("job/home"),
        "TMPDIR": host.path("job/tmp"),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "ERRAND_RUN": order["run"],
        "ERRAND_RUN_NAME": order["runName"],
        "ERRAND_JOB": order["job"]["name"],
        "ERRAND_WORKFLOW": order["job"]["workflow"],
        "ERRAND_ATTEMPT": str(order["attempt"]),
    }


# Makes a virtual environment if this interpreter is of the wanted version: a name such as python3.10 may be a shim
# that starts another one, or none.
MAKE_ENVIRONMENT = """
import sys, venv
version = sys.version.split()[0]
if sys.argv[2] and sys.argv[2] != "%d.%d" % sys.version_info[:2]: sys.exit("this is Python " + version)
try:
    if sys.argv[3]: import ensurepip
except ImportError: sys.exit("Python %s has no ensurepip: install python3-venv, or uv" % version)
venv.create(sys.argv[1], symlinks=True, with_pip=sys.argv[3] == "pip")
print(version)
"""


# The minor versions of Python 3 that bundles may name and that there are.
MINORS = range(8, 16)


def is_released(version):
    major, minor = version.split(".")[:2]
    return int(major) == 3 and int(minor) in MINORS


def python_candidates(version, path):
    name = "python" + version
    for folder in path.split(os.pathsep):
        if os.access(os.path.join(folder, name), os.X_OK):
            yield os.path.join(folder, name)
        if os.path.basename(folder) == "shims":
            # pyenv's shims start only the versions that are switched on, beside those that are installed.
            yield from glob.glob(os.path.join(os.path.dirname(folder), "versions", version + ".*", "bin", name))


# What uv is told unless our own environment says otherwise: certificates as the image has them, and no long waits for a
# network that is not there.
UV_DEFAULTS = {"UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1", "UV_HTTP_RETRIES": "2", "UV_HTTP_CONNECT_TIMEOUT": "5", "UV_NO_PROGRESS": "1"}
# uv does not read pip's settings, and an operator should have to say only once where packages come from.
PIP_SETTINGS = {"PIP_INDEX_URL": "UV_DEFAULT_INDEX", "PIP_EXTRA_INDEX_URL": "UV_INDEX", "PIP_CERT": "SSL_CERT_FILE"}
NO_DOWNLOADS = {"UV_PYTHON_DOWNLOADS": "never"}
# On the local cloud a network that was not there is not asked again for so long: each job would wait for it.
UNREACHABLE_S = 600


def is_on(value):
    return (value or "").lower() in ("1", "true", "yes", "on")


# As the order's pins and the bucket's tools/ name it: linux-x86_64, linux-aarch64, darwin-arm64.
def machine_target():
    found = os.uname()
    return f"{found.sysname.lower()}-{found.machine}"


def file_sha256(path):
    with open(path, "rb") as file:
        return stream_sha256(file, None)


# Of what is left in the stream, which is written to `output`, if any.
def stream_sha256(stream, output):
    digest = hashlib.sha256()
    for block in iter(lambda: stream.read(BLOCK_BYTES), b""):
        digest.update(block)
        if output:
            output.write(block)
    return digest.hexdigest()


class Tools:
    # What the python provider needs of a machine that has nothing but us: uv, and through it interpreters. Always run as
    # the job's user. On the local cloud, machines share the folder ERRAND_CACHE; elsewhere it is the machine's own.
    def __init__(self, attempt):
        self.attempt = attempt
        self.target = machine_target()
        shared = os.environ.get("ERRAND_CACHE") or ""
        # A machine that does not see the folder does without it.
        self.is_shared = os.path.isdir(shared)
        self.folder = shared if self.is_shared else attempt.host.path("tools")
        self.uv = ""
        self.tried = set()
        # Why there is no uv, in the words of the last way that was tried.
        self.why = "there is no uv on PATH"
        passed = attempt.environment
        self.environment = {**UV_DEFAULTS, "UV_PYTHON_INSTALL_DIR": attempt.host.path("job/python")}
        if self.is_shared:
            # Copies, not hard links: what a job changes in its environment would change the cache under all others.
            caches = {"UV_CACHE_DIR": "uv", "UV_PYTHON_INSTALL_DIR": "python"}
            self.environment.update({name: self.make_cache(folder) for name, folder in caches.items()})
            self.environment["UV_LINK_MODE"] = "copy"
        self.environment.update({theirs: passed[ours] for ours, theirs in PIP_SETTINGS.items() if ours in passed})
        self.environment = {name: value for name, value in self.environment.items() if name not in passed}

    # uv writes to it, and uv is run by the job's user.
    def make_cache(self, name):
        path = os.path.join(self.folder, name)
        os.makedirs(path, exist_ok=True)
        uid = self.attempt.host.job_uid
        if uid is not None and os.stat(path).st_uid != uid:
            os.chown(path, uid, -1)
        return path

    def run(self, words, environment=None):
        return self.attempt.set_up([self.find_uv(False), *words], True, {**self.environment, "PATH": machine_path(), **(environment or {})})

    # Whether the internet may be asked.
    def is_online(self):
        if is_on(self.attempt.environment.get("UV_OFFLINE")):
            return False
        try:
            return time.time() - os.path.getmtime(os.path.join(self.folder, "unreachable")) > UNREACHABLE_S
        except OSError:
            return True

    def tell_unreachable(self):
        if self.is_shared and self.attempt.order["allowsHostPython"]:
            with open(os.path.join(self.folder, "unreachable"), "w"):
                pass

    # The path of uv, or "": the one on PATH, else the one that the order pins. It is known by the sha256 of its executable, so
    # that it does not matter who brought it: the machine's cache, the bucket, or, `far`, the package index and its maker.
    def find_uv(self, far):
        if not self.uv and "near" not in self.tried:
            self.tried.add("near")
            on_path = shutil.which("uv", path=machine_path())
            # A name on PATH may be a shim for what is not there.
            works = on_path and self.attempt.set_up([on_path, "--version"], True, {"PATH": machine_path()})[0] == 0
            self.uv = on_path if works else self.find_pinned([self.uv_from_bucket])
        if not self.uv and far and "far" not in self.tried and self.is_online():
            self.tried.add("far")
            self.uv = self.find_pinned([self.uv_from_index, self.uv_from_maker])
            if not self.uv:
                self.tell_unreachable()
        return self.uv

    def find_pinned(self, ways):
        pin = self.attempt.order.get("uv") or {}
        wanted = pin.get("targets", {}).get(self.target)
        if not wanted:
            return ""
        folder = os.path.join(self.folder, f"uv-{pin['version']}-{self.target}")
        path = os.path.join(folder, "uv")
        if os.path.exists(path) and file_sha256(path) == wanted["sha256"]:
            return path
        os.makedirs(folder, exist_ok=True)
        # uv is run by the job's user, whatever our own umask is.
        os.chmod(folder, 0o755)
        for way in ways:
            try:
                if way(pin["version"], wanted, path):
                    return path
            except Failed as cause:
                self.why = f"uv cannot be fetched: {cause}"
        return ""

    # Whatever `write` puts into the file and says the sha256 of. The whole file appears at once, so that machines that share a
    # cache may do this at the same time.
    def keep(self, path, sha256, what, write):
        part = f"{path}.{random.getrandbits(48):x}"
        try:
            with open(part, "w+b") as file:
                found = write(file)
            if found != sha256:
                raise Failed(f"{what} is not what it should be (sha256 {found}, not {sha256})")
            os.chmod(part, 0o755)
            os.replace(part, path)
        finally:
            if os.path.exists(part):
                os.remove(part)

    def uv_from_bucket(self, version, wanted, path):
        return self.take(f"tools/uv/{version}/{self.target}/uv", path, wanted["sha256"])

    # From tools/ of the bucket, where operators put things for machines that reach nothing else. False when it is not there.
    def take(self, key, path, sha256):
        attempt = self.attempt
        until = attempt.setup_until
        probe = attempt.s3.open("GET", key, headers={"range": "bytes=0-0"}, until=until, ok=(200, 206, 403, 404, 416))
        probe.read()
        if probe.status not in (200, 206):
            return False

        def write(file):
            attempt.transfers.download(key, file.fileno(), -1, until, attempt.check)
            return stream_sha256(file, None)

        self.keep(path, sha256, key, write)
        return True

    def uv_from_index(self, version, wanted, path):
        import zipfile

        folder = self.attempt.host.path("job/tmp/uv-wheel")
        words = [sys.executable, "-I", "-m", "pip", "download", "--disable-pip-version-check", "--no-input", "--retries=1", "--timeout=5"]
        code, said = self.attempt.set_up([*words, "--no-deps", "--only-binary=:all:", "-d", folder, "uv==" + version], True)
        if code != 0:
            raise Failed(complaint(said))
        with zipfile.ZipFile(glob.glob(os.path.join(folder, "uv-*.whl"))[0]) as wheel:
            name = next(each for each in wheel.namelist() if each.endswith(".data/scripts/uv"))
            with wheel.open(name) as member:
                what = f"uv {version} of the package index"
                self.keep(path, wanted["sha256"], what, lambda file: stream_sha256(member, file))
        return True

    def uv_from_maker(self, version, wanted, path):
        archive = self.attempt.host.path("job/tmp/uv.tar.gz")
        words = [*fetch_words(self.attempt.host), wanted["url"], archive, "", "2"]
        code, said = self.attempt.set_up(words, True)
        if code != 0:
            raise Failed(complaint(said))
        with tarfile.open(archive) as members:
            member = next(each for each in members if each.isreg() and each.name.endswith("/uv"))
            content = members.extractfile(member)
            self.keep(path, wanted["sha256"], wanted["url"], lambda file: stream_sha256(content, file))
        return True

    # Where uv may take an interpreter from, the nearest first: what its environment has for each.
    def python_sources(self, version):
        yield NO_DOWNLOADS
        from_bucket = self.python_from_bucket(version)
        if from_bucket:
            yield from_bucket
        if self.is_online():
            yield {}

    # What tells uv of an interpreter that an operator put into the bucket, with its sha256; nothing when there is none.
    def python_from_bucket(self, version):
        response = self.attempt.s3.open(
            "GET", f"tools/python/{version}-{self.target}.json", until=self.attempt.setup_until, ok=(200, 403, 404)
        )
        body = response.read()
        if response.status != 200:
            return {}
        build = json.loads(body)
        if build.get("format") != FORMAT:
            raise Failed(f"tools/python/{version}-{self.target}.json has an unknown format")
        archive = os.path.join(self.folder, os.path.basename(build["archive"]))
        is_here = os.path.exists(archive) and file_sha256(archive) == build["sha256"]
        os.makedirs(self.folder, exist_ok=True)
        if not is_here and not self.take("tools/python/" + build["archive"], archive, build["sha256"]):
            raise Failed(f"tools/python/{build['archive']} is not in the bucket")
        catalog = f"{archive}.json"
        with open(catalog + ".part", "w") as file:
            json.dump(self.catalog_of(build, archive), file)
        os.replace(catalog + ".part", catalog)
        return {"UV_PYTHON_DOWNLOADS_JSON_URL": catalog, "UV_PYTHON_DOWNLOADS": "automatic", "UV_MANAGED_PYTHON": "1", "UV_OFFLINE": "0"}

    def catalog_of(self, build, archive):
        system, machine = self.target.split("-")
        major, minor, patch = (int(each) for each in build["version"].split("."))
        family, libc = {"arm64": "aarch64"}.get(machine, machine), "gnu" if system == "linux" else "none"
        name = f"cpython-{build['version']}-{system}-{family}-{libc}"
        version = {"name": "cpython", "major": major, "minor": minor, "patch": patch, "prerelease": "", "variant": None}
        place = {"os": system, "arch": {"family": family, "variant": None}, "libc": libc, "build": None}
        return {name: {**version, **place, "url": "file://" + archive, "sha256": build["sha256"]}}


class PythonProvider:
    def __init__(self, attempt, task):
        self.attempt = attempt
        self.task = task
        self.tools = Tools(attempt)
        self.home = attempt.host.path("job/env")
        self.python = os.path.join(self.home, "bin/python")

    # Returns the words of the command and what it adds to the environment.
    def prepare(self):
        script = self.task["words"][0]
        self.require(script if not script.startswith("-") else ".")
        requirements = self.requirements_file()
        # Without uv, an environment has pip in it; without requirements, it needs neither.
        pip = "pip" if requirements and not self.tools.find_uv(True) else ""
        self.make_home(pip)
        if requirements:
            self.install(requirements)
        path = os.path.join(self.home, "bin") + os.pathsep + self.attempt.environment["PATH"]
        return [self.python, *self.task["words"]], {"PATH": path, "VIRTUAL_ENV": self.home}

    def require(self, name):
        if not os.path.exists(os.path.join(self.attempt.folder, name)):
            raise Failed(f"{name} is not in the bundle")

    def requirements_file(self):
        wanted = self.task.get("requirements")
        if not wanted:
            return ""
        if "file" in wanted:
            self.require(wanted["file"])
            return wanted["file"]
        path = self.attempt.host.path("requirements.txt")
        with open(path, "w", encoding="utf-8") as file:
            file.write("".join(each + "\n" for each in wanted["packages"]))
        return path

    # What is here already comes before what uv would have to download. The job's own PATH has no say in what is here.
    def make_home(self, pip):
        version = self.task["version"]
        reason = f"there is no python{version} on PATH"
        for candidate in python_candidates(version, machine_path()):
            made, said = self.make(candidate, version, pip)
            if made:
                return self.attempt.log.say("python " + said)
            reason = complaint(said) or reason
        said, problem, is_last_word = self.make_by_uv(version)
        if said:
            return self.attempt.log.say(said)
        reason = f"{reason}, and {problem}"
        # The host's stands in for what only the network keeps away, and not for what there is nowhere.
        if is_last_word or not is_released(version) or not self.attempt.order["allowsHostPython"]:
            cure = f'an operator can bring it by "errand tools add python {version}"'
            raise Failed(f"python {version} is not to be had here: {reason}; {cure}")
        made, said = self.make(sys.executable, "", pip)
        if not made:
            raise Failed(f"python {version} is not to be had here, and the host's cannot be used: {complaint(said)}")
        self.attempt.log.say(reason)
        return self.attempt.note(f"python {version} is not to be had here: using the host's {said}")

    # Returns what uv said when it made the environment, else why it could not, and whether that is so with a network too.
    def make_by_uv(self, version):
        tools = self.tools
        if not tools.find_uv(True):
            return "", tools.why, False
        said, settings = "", None
        for settings in tools.python_sources(version):
            shutil.rmtree(self.home, ignore_errors=True)
            code, said = tools.run(["venv", "--no-project", "--python", version, self.home], settings)
            if code == 0:
                return said.splitlines()[0], "", False
            if "cause:" in said and not settings:
                tools.tell_unreachable()
        # With the default settings, uv could have downloaded it.
        is_last_word = settings == {} and "No interpreter found" in said and "download is available" not in said
        return "", complaint(said), is_last_word

    def make(self, python, version, pip):
        shutil.rmtree(self.home, ignore_errors=True)
        try:
            words = [python, "-I", "-c", MAKE_ENVIRONMENT, self.home, version, pip]
            code, said = self.attempt.set_up(words, True, {"PATH": machine_path()})
        except CannotStart as cause:
            # In another user's home, as one of root's: the next one may do.
            return False, str(cause)
        return code == 0, said.strip()

    def install(self, requirements):
        uv = self.tools.find_uv(False)
        pip = [self.python, "-I", "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--retries", "2"]
        words = [uv, "pip", "install", "--python", self.python] if uv else pip
        code, said = self.attempt.set_up([*words, "-r", requirements], False, self.tools.environment)
        if code != 0:
            raise Failed(f"the requirements cannot be installed: {complaint(said)}")


COMPLAINT = re.compile(r"(?i)\W*(errand: |fatal |error\b|×)")
CAUSE = re.compile(r"\s*(?:cause: |╰─▶ )(.*)")


# What a tool says is wrong: the last line that calls itself an error, with the first and the last of its causes; else its last line.
def complaint(text):
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    starts = [index for index, line in enumerate(lines) if COMPLAINT.match(line)]
    if not starts:
        return lines[-1].strip()[:500] if lines else ""
    said = re.sub(r"^(?i:errand: |error: |× )", "", lines[starts[-1]].strip()).rstrip(":")
    causes = []
    for line in lines[starts[-1] + 1 :]:
        match = CAUSE.match(line)
        if match:
            causes.append(match.group(1))
        elif not line.startswith(" "):
            break
        elif causes and "╰" in text:
            # uv wraps long causes.
            causes[-1] += " " + line.strip()
    return ": ".join([said, *causes[:1], *causes[1:][-1:]])[:500]


# ---- the curl provider's command -----------------------------------------------------------------------------

CONNECT_S = 15
RETRY_AFTER_S = 60


# The job's own environment decides neither how we run nor how our words are read.
def fetch_words(host):
    return [sys.executable, "-E", "-X", "utf8", host.path("runner.py"), "fetch"]


# Downloads a file. It stands under its name only when it is whole and verified; a broken transfer goes on where it stopped
# while the server says that it is still the same file. Gives up after `tries` in a row without a byte, and on an answer that
# will not change. A transfer of under one byte a second for `quiet` seconds counts as broken.
def fetch(url, output, sha256="", tries=6, pause=1.0, quiet=60):
    import urllib.error

    asked = Address(url)
    partial = partial_path(output)
    transfer = Transfer(quiet)
    failures = 0
    try:
        with open(partial, "xb") as file:
            while True:
                before, wait = transfer.done, 0
                try:
                    with asked.open(transfer.resume_headers(), quiet) as response:
                        transfer.receive(response, file)
                    break
                except urllib.error.HTTPError as cause:
                    reason, wait = asked.judge(cause)
                    if cause.code == 416:
                        transfer.validator = ""
                except (OSError, http.client.HTTPException) as cause:
                    reason = asked.explain(cause)
                failures = 0 if transfer.done > before else failures + 1
                if failures >= tries:
                    raise Failed(reason)
                print(f"errand: {reason}: trying again", flush=True)
                time.sleep(max(wait, pause * 2 ** max(0, failures - 1) * random.uniform(0.75, 1.25)))
        found = transfer.digest.hexdigest()
        if sha256 and found != sha256:
            raise Failed(f"the sha256 of {asked.shown} is {found}, not {sha256}")
        os.replace(partial, output)
    except BaseException:
        if os.path.exists(partial):
            os.remove(partial)
        raise
    print(f"errand: {asked.shown}: {transfer.done} bytes", flush=True)


# Beside the output, whose folders are made; its name is short, for that of the output may be as long as names can be.
def partial_path(output):
    folder = os.path.dirname(output)
    try:
        if os.path.isdir(output):
            raise Failed(f"output {output} is a folder")
        os.makedirs(folder or ".", exist_ok=True)
    except OSError as cause:
        raise Failed(f"output {output} cannot be written: {cause.strerror}") from cause
    return os.path.join(folder, f".{random.getrandbits(48):012x}{PARTIAL.decode()}")


class Address:
    # A URL as a user writes it, and how it is asked for: what may not stand in a request is percent-encoded as browsers do,
    # a name and a password go into a header that no other host gets to see.
    def __init__(self, url):
        import urllib.parse

        try:
            parts = urllib.parse.urlsplit(url)
            user, password, host, port = parts.username, parts.password, parts.hostname or "", parts.port
            ascii_host = host if host.isascii() else host.encode("idna").decode()
            target = re.match("[^/?#]*(?://[^/?#]*)?([^#]*)", url).group(1)
            target = urllib.parse.quote(target, safe="%/:?@!$&'()*+,;=~-._[]|")
        except ValueError as cause:
            raise Failed(f"{url} is no URL: {cause}") from cause
        if parts.scheme.lower() not in ("http", "https", "ftp"):
            raise Failed(f"{parts.scheme or 'no'} scheme: only http, https and ftp are fetched")
        self.shown = url
        self.authorization = ""
        place = f"[{ascii_host}]" if ":" in ascii_host else ascii_host
        place += f":{port}" if port is not None else ""
        if user is not None:
            self.shown = urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
            if parts.scheme.lower() == "ftp":
                place = parts.netloc.rpartition("@")[0] + "@" + place
            else:
                pair = urllib.parse.unquote(user) + ":" + urllib.parse.unquote(password or "")
                self.authorization = "Basic " + base64.b64encode(pair.encode()).decode()
        self.url = f"{parts.scheme}://{place}{target if target.startswith('/') else '/' + target}"

    def open(self, headers, quiet):
        import urllib.request

        request = urllib.request.Request(self.url, headers={"User-Agent": "errand", "Accept-Encoding": "identity", **headers})
        if self.authorization:
            request.add_unredirected_header("Authorization", self.authorization)
        return opener(self).open(request, timeout=quiet)

    # What an answer other than 2xx means: the reason, and how long the server wants us to wait. Raises it when no other is to come.
    def judge(self, cause):
        if 300 <= cause.code < 400:
            where = "nowhere"
            if "not allowed" in str(cause.msg):
                where = "to what is not http, https or ftp"
            elif "infinite loop" in str(cause.msg):
                where = "without end"
            raise Failed(f"{self.shown} redirects {where} (HTTP {cause.code})") from cause
        reason = f"HTTP {cause.code} for {self.shown}"
        if cause.code < 500 and cause.code not in (408, 416, 425, 429):
            raise Failed(reason) from cause
        after = cause.headers.get("Retry-After") or ""
        return reason, min(int(after), RETRY_AFTER_S) if after.isdecimal() and after.isascii() else 0

    def explain(self, cause):
        if getattr(cause, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise Failed("the disk is full") from cause
        cause = getattr(cause, "reason", None) or cause
        return f"{getattr(cause, 'strerror', None) or cause or type(cause).__name__} for {self.shown}"


# Opens URLs as urllib does, but that a host that does not answer is waited for no longer than CONNECT_S, and that a redirect
# takes the password along only where it stays on its host.
def opener(address):
    import urllib.parse
    import urllib.request

    def connecting(kind):
        class Connection(kind):
            def connect(self):
                quiet, self.timeout = self.timeout, min(self.timeout, CONNECT_S)
                super().connect()
                self.sock.settimeout(quiet)

        return Connection

    class Http(urllib.request.HTTPHandler):
        def http_open(self, request):
            return self.do_open(connecting(http.client.HTTPConnection), request)

    class Https(urllib.request.HTTPSHandler):
        def https_open(self, request):
            return self.do_open(connecting(http.client.HTTPSConnection), request)

    class Redirects(urllib.request.HTTPRedirectHandler):
        max_redirections = 20

        # Python before 3.11 does not know it.
        def http_error_308(self, request, response, code, *rest):
            return self.http_error_302(request, response, 307, *rest)

        def redirect_request(self, request, *rest):
            following = super().redirect_request(request, *rest)
            first, then = (urllib.parse.urlsplit(each) for each in (address.url, following.full_url))
            if address.authorization and (first.scheme, first.netloc) == (then.scheme, then.netloc):
                following.add_unredirected_header("Authorization", address.authorization)
            return following

    return urllib.request.build_opener(Http, Https, Redirects)


class Transfer:
    def __init__(self, quiet):
        self.quiet = quiet
        self.done = 0
        self.digest = hashlib.sha256()
        self.validator = ""
        self.told_at = time.monotonic()

    def resume_headers(self):
        return {"Range": f"bytes={self.done}-", "If-Range": self.validator} if self.done and self.validator else {}

    def receive(self, response, file):
        ranges = re.match(r"bytes (\d+)-", response.headers.get("Content-Range") or "")
        if response.status != 206 or not ranges or int(ranges.group(1)) != self.done:
            if response.status == 206:
                self.validator = ""
                raise OSError("an answer with another range than asked for")
            # From the start: another version, or a server that cannot resume.
            file.seek(0)
            file.truncate()
            self.done, self.digest = 0, hashlib.sha256()
        etag = response.headers.get("ETag") or ""
        self.validator = etag if etag.startswith('"') else response.headers.get("Last-Modified") or ""
        length = response.headers.get("Content-Length")
        total = self.done + int(length) if length else None
        since, window = time.monotonic(), 0
        while True:
            block = response.read1(BLOCK_BYTES)
            if not block:
                break
            file.write(block)
            self.digest.update(block)
            self.done += len(block)
            window += len(block)
            now = time.monotonic()
            if now - since >= self.quiet:
                if window < now - since:
                    raise OSError(f"under 1 byte a second for {self.quiet} s")
                since, window = now, 0
            if now - self.told_at >= 10:
                self.told_at = now
                print(f"errand: {self.done} bytes" + (f" of {total}" if total else ""), flush=True)
        file.flush()
        if total is not None and self.done != total:
            raise OSError(f"broken off after {self.done} of {total} bytes")


# ---- secrets and roles ---------------------------------------------------------------------------------------


class Service(boot.S3):
    # Another service of AWS, with the same credentials. Its refusals are final: S3's may be those of a role that is still being made,
    # but whoever speaks here has read an order already.
    def __init__(self, s3, name):
        super().__init__("", s3.region, "" if s3.is_aws else s3.endpoint.geturl(), s3.read_credentials)
        self.service = name
        if s3.is_aws:
            self.endpoint = boot.urllib.parse.urlsplit(f"https://{name}.{self.domain}")
        self.root = "/"
        self.skew = s3.skew

    def ask(self, headers, body, until):
        return self.open("POST", "", headers=headers, body=body, until=until).read()

    def call(self, target, request, until):
        headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": target}
        return json.loads(self.ask(headers, to_json(request), until))

    def error(self, what, response):
        there = boot.email.utils.parsedate(response.getheader("date") or "")
        code, message = read_refusal(response.read(), response.reason)
        status = response.status
        if code in ("InvalidSignatureException", "RequestExpired", "SignatureDoesNotMatch") and there:
            self.skew = boot.calendar.timegm(there) - time.time()
            code, status = "RequestTimeTooSkewed", 403
        elif re.search("Throttl|TooManyRequests|RequestLimit", code):
            status = 429
        elif code.startswith("ExpiredToken"):
            code = "ExpiredToken"
        elif status == 403:
            status = 400
        error = S3Error(f"{self.service} {what}", status, code)
        error.said = f"{code}: {message}" if message else code
        return error


# The code and the message of an error, in JSON or XML.
def read_refusal(body, reason):
    try:
        said = json.loads(body)
        code = str(said.get("__type") or said.get("code") or reason)
        return code.rpartition("#")[2], str(said.get("message") or said.get("Message") or "")
    except (ValueError, AttributeError):
        code, message = (re.search(f"<{name}>([^<]*)".encode(), body) for name in ("Code", "Message"))
        return code.group(1).decode() if code else reason, message.group(1).decode() if message else ""


def explain(error):
    return getattr(error, "said", "") or f"no answer ({error.code})"


class Secrets:
    # The values of an environment that stand elsewhere. What goes wrong is told of all at once, by variable and name and never
    # by value.
    def __init__(self, s3, until):
        self.s3 = s3
        self.until = until
        # By name: the value, or why there is none.
        self.found = {}
        self.problems = {}

    def resolve(self, environment):
        references = {name: each for name, each in environment.items() if isinstance(each, dict)}
        parameters = sorted({each["ssm"] for each in references.values() if "ssm" in each})
        for start in range(0, len(parameters), 10):
            self.read_parameters(parameters[start : start + 10])
        for name in sorted({each["secret"] for each in references.values() if "secret" in each}):
            self.read_secret(name)
        values, faults = {}, []
        for variable in sorted(references):
            try:
                values[variable] = self.value_of(references[variable])
            except Failed as cause:
                faults.append(f"{variable}: {cause}")
        if faults:
            raise Failed("; ".join(faults))
        return values

    def read_parameters(self, names):
        service = Service(self.s3, "ssm")
        try:
            answer = service.call("AmazonSSM.GetParameters", {"Names": names, "WithDecryption": True}, self.until)
        except S3Error as error:
            if len(names) == 1 or not error.status or time.monotonic() >= self.until:
                self.problems.update(dict.fromkeys(names, explain(error)))
                return
            # One that may not be read refuses all of them.
            for name in names:
                self.read_parameters([name])
            return
        self.found.update({each["Name"]: each["Value"] for each in answer["Parameters"]})
        self.problems.update({name: "" for name in names if name not in self.found})

    def read_secret(self, name):
        try:
            answer = Service(self.s3, "secretsmanager").call("secretsmanager.GetSecretValue", {"SecretId": name}, self.until)
            self.found[name] = answer["SecretString"] if "SecretString" in answer else base64.b64decode(answer["SecretBinary"]).decode()
        except UnicodeDecodeError:
            self.problems[name] = "it holds bytes that are no text"
        except S3Error as error:
            self.problems[name] = "" if error.code == "ResourceNotFoundException" else explain(error)

    def value_of(self, reference):
        is_parameter = "ssm" in reference
        name = reference["ssm"] if is_parameter else reference["secret"]
        what = f"the {'parameter' if is_parameter else 'secret'} {name}"
        if name in self.problems:
            why = self.problems[name]
            raise Failed(f"{what} cannot be read: {why}" if why else f"there is no {what[4:]} in {self.s3.region}")
        value = self.found[name]
        if "key" in reference:
            value = text_of(value, reference["key"], what)
        if re.search("[\0\ud800-\udfff]", value):
            raise Failed(f"{what} holds a character that no environment variable can")
        return value


# One text out of a secret that is a JSON object.
def text_of(secret, key, what):
    # The errors of json show what they have read.
    with contextlib.suppress(ValueError):
        fields = json.loads(secret)
        if isinstance(fields, dict) and key in fields:
            found = fields[key]
            if isinstance(found, (str, int, float)):
                return found if isinstance(found, str) else json.dumps(found)
            raise Failed(f'the key "{key}" of {what} holds no text')
        if isinstance(fields, dict):
            raise Failed(f'{what} has no key "{key}"')
    raise Failed(f'{what} is no JSON object, so it has no key "{key}"')


# Whoever takes a role by a role gets an hour at most; a new hour begins when half of it is over, well before SDKs ask for it.
ROLE_S = 3600


class RoleKeys:
    # The keys of the job's role, from STS by the machine's.
    def __init__(self, s3, arn, session, mask):
        self.service = Service(s3, "sts")
        self.request = {"Action": "AssumeRole", "Version": "2011-06-15", "RoleArn": arn, "RoleSessionName": session, "DurationSeconds": str(ROLE_S)}
        self.mask = mask
        self.lock = threading.Lock()
        self.kept = None
        self.taken_at = 0.0

    # As the container credentials endpoint answers. Throws S3Error when none are to be had.
    def current(self, until):
        with self.lock:
            if not self.kept or time.monotonic() - self.taken_at > ROLE_S / 2:
                try:
                    self.kept, self.taken_at = self.take(until), time.monotonic()
                except S3Error:
                    # The old ones are good for as long as they last.
                    if not self.kept or time.monotonic() - self.taken_at > ROLE_S:
                        raise
            return self.kept

    def take(self, until):
        headers = {"content-type": "application/x-www-form-urlencoded"}
        body = self.service.ask(headers, boot.query_string(self.request).encode(), until).decode()
        taken = {name: re.search(f"<{name}>([^<]+)<", body).group(1) for name in ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")}
        for name in ("SecretAccessKey", "SessionToken"):
            self.mask.add(taken[name])
        keys = {name: taken[name] for name in ("AccessKeyId", "SecretAccessKey", "Expiration")}
        return {**keys, "Token": taken["SessionToken"], "RoleArn": self.request["RoleArn"]}


# Serves the keys of a role to the job alone, at a port of loopback and for a token that its environment has. Returns what makes SDKs
# ask there, and the port.
def serve_role(keys, token):
    import hmac
    import http.server

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def do_GET(self):
            try:
                is_job = hmac.compare_digest((self.headers.get("Authorization") or "").encode(), token.encode())
                if not is_job or self.path != "/role":
                    return self.reply(403 if not is_job else 404, {"code": "AccessDenied", "message": "there is nothing for you here"})
                return self.reply(200, keys.current(time.monotonic() + 20))
            except S3Error as error:
                return self.reply(503, {"code": error.code, "message": explain(error)})

        def reply(self, status, answer):
            body = to_json(answer)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_address[1]
    return {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{port}/role", "AWS_CONTAINER_AUTHORIZATION_TOKEN": token}, port


# ---- the attempt ---------------------------------------------------------------------------------------------


class Attempt:
    # One order, from its claim to its last report.
    def __init__(self, host, s3, order, place):
        self.host = host
        self.s3 = s3
        self.order = order
        self.job = order["job"]
        self.place = place
        self.hard_until = 0.0
        self.log = Log(host.path("log"))
        self.transfers = Transfers(s3)
        self.environment = {}
        # Of the job alone: what the user set, with secrets in their places; and what leads to its role.
        self.own = {}
        self.role = {}
        self.folder = ""
        self.phase = ""
        self.phase_at = time.monotonic()
        self.phases = {}
        self.notes = []
        # Why the job should end, once somebody wants that; `wake` interrupts whoever waits for a command.
        self.stop = ""
        self.wake = threading.Event()
        self.over = threading.Event()
        self.has_run = False
        self.sync = None

    def carry_out(self):
        limits = self.order["limits"]
        seconds = sum(limits.values()) // 1000 + MARGIN_S
        self.hard_until = time.monotonic() + seconds
        # First, for the boot cap may be over soon, and a report may take its time.
        broken = None
        try:
            self.host.set_deadline(seconds)
        except (OSError, subprocess.SubprocessError) as cause:
            broken = cause
        self.report("started", bootMs=self.host.uptime_ms())
        self.log.say(f"{self.job['name']}, attempt {self.order['attempt']}, on {self.place['instanceId']}")
        every = self.order["every"]
        self.repeat(every["stopMs"], self.read_stop)
        self.repeat(every["heartbeatMs"], self.beat)
        shipper = threading.Thread(target=self.ship_log, args=[every["logMs"] / 1000], daemon=True)
        shipper.start()
        verdict = self.judge(broken)
        if self.stop == "shutdown":
            # The machine is going: what can be saved is saved, and why it went is for EC2 to say.
            self.hard_until = min(self.hard_until, time.monotonic() + 60)
        self.finish(verdict)

    def judge(self, broken):
        verdict = {"outcome": "failed", "reason": "", "exitCode": None, "signal": None}
        try:
            if broken:
                raise broken
            self.lay_out()
            words, environment = self.set_up_provider()
            self.run_job(words, environment, verdict)
        except Failed as cause:
            verdict["reason"] = str(cause)
        except Stopped as cause:
            verdict.update(self.stopped(str(cause)))
        except OSError as cause:
            verdict["reason"] = "the disk is full" if cause.errno == 28 else f"the runner broke: {cause}"
            self.tell_traceback()
        except S3Error as cause:
            verdict["reason"] = str(cause)
        except Exception as cause:
            verdict["reason"] = f"the runner broke: {type(cause).__name__}: {cause}"
            self.tell_traceback()
        return verdict

    def tell_traceback(self):
        self.host.free_reserve()
        self.log.say(traceback.format_exc().rstrip())

    def stopped(self, why):
        if why == "deadline":
            return {"outcome": "timed-out", "reason": self.too_long()}
        if why == "shutdown":
            return {"outcome": "failed", "reason": SHUT_DOWN}
        return {"outcome": "cancelled", "reason": "cancelled"}

    def too_long(self):
        return f"ran longer than max_duration ({duration(self.order['limits']['runMs'])})"

    # Inputs and set-up

    def enter(self, phase):
        now = time.monotonic()
        if self.phase:
            self.phases[self.phase] = round((now - self.phase_at) * 1000)
        self.phase, self.phase_at = phase, now

    def check(self):
        if self.stop:
            raise Stopped(self.stop)
        if time.monotonic() > self.setup_until:
            raise Failed(f"inputs and set-up took longer than {duration(self.order['limits']['setupMs'])}")

    def lay_out(self):
        self.enter("inputs")
        self.setup_until = time.monotonic() + self.order["limits"]["setupMs"] / 1000
        # First, so that a name that is wrong costs no download.
        wait_for(self.transfers.files.submit(self.take_secrets), self.check)
        self.host.prepare()
        tree = Tree(self.host.path("job/work"))
        bundle = self.host.path(os.path.basename(self.order["bundle"]))
        with open(bundle, "wb", buffering=0) as file:
            self.transfers.download(self.order["bundle"], file.fileno(), -1, self.setup_until, self.check)
        unpack(bundle, tree, self.check)
        os.remove(bundle)
        tree.finish()
        inputs = Tree(self.find_folder(tree.root))
        for source in self.order["inputs"]:
            inputs.overwritten = []
            files = lay_input(self.transfers, source, inputs, self.setup_until, self.check)
            self.log.say(f"{files} {'file' if files == 1 else 'files'} from {source['from']}")
            for path in inputs.overwritten[:10]:
                self.log.say(f"{source['from']} brings {show(path)}, which was there already")
            if len(inputs.overwritten) > 10:
                self.log.say(f"… and {len(inputs.overwritten) - 10} more")
        inputs.finish()
        self.host.hand_over()
        if self.host.is_role_open():
            if self.s3.is_aws:
                raise Failed("this image cannot keep the job from the machine's role: ip rule has no effect")
            self.note("the job can reach the machine's metadata")

    def take_secrets(self):
        until = min(self.setup_until, time.monotonic() + ASK_S)
        environment = self.job["environment"]
        secrets = Secrets(self.s3, until).resolve(environment)
        for name, value in secrets.items():
            if len(value.encode()) < MASKED_BYTES_MIN:
                self.log.say(f"{name} is too short to be taken out of the log")
            self.host.mask.add(value)
        self.own = {**environment, **secrets}
        if "role" in self.order:
            self.take_role(self.order["role"], until)

    def take_role(self, arn, until):
        session = re.sub(r"[^\w+=,.@-]", "-", f"{self.order['run']}.{self.job['name']}.{self.order['attempt']}", flags=re.ASCII)[:64]
        keys = RoleKeys(self.s3, arn, session, self.host.mask)
        try:
            keys.current(until)
        except S3Error as error:
            raise Failed(f"the role {self.job['role']} ({arn}) cannot be taken: {explain(error)}") from error
        token = f"{random.SystemRandom().getrandbits(256):064x}"
        self.host.mask.add(token)
        place, port = serve_role(keys, token)
        self.host.job_ports.append(port)
        region = {"AWS_REGION": self.s3.region, "AWS_DEFAULT_REGION": self.s3.region}
        endpoint = {} if self.s3.is_aws else {"AWS_ENDPOINT_URL": self.s3.endpoint.geturl()}
        self.role = {**place, **region, **endpoint}

    # The working directory, where inputs are laid too. A bundle may have a link in its place, which stays inside; where it leads
    # is settled now, before the job can change it.
    def find_folder(self, root):
        top = os.path.realpath(root)
        real = os.path.realpath(os.path.join(top, os.fsencode(self.job["workingDir"])))
        if not os.path.isdir(real) or not (real == top or real.startswith(top + b"/")):
            raise Failed(f"the working directory {self.job['workingDir']} is not in the bundle")
        self.folder = os.fsdecode(real)
        return real

    def set_up_provider(self):
        self.enter("setup")
        self.environment = {**base_environment(self.host, self.order), **self.role, **self.own}
        task = self.job["task"]
        if task["type"] == "python":
            return PythonProvider(self, task).prepare()
        if task["type"] == "curl":
            return [*fetch_words(self.host), task["url"], task["output"], task.get("sha256", "")], {}
        if task["type"] == "commands":
            path = self.host.path("script")
            with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(task["script"])
            return ["bash", "-euo", "pipefail", path], {}
        raise Failed(f"this runner does not know tasks of type {task['type']}")

    # Runs a command of the set-up as the job would run, with `more` in its environment. Returns its exit code and the end of
    # what it said, which `quiet` keeps out of the log.
    def set_up(self, words, quiet=False, more=None):
        self.check()
        log = Tail() if quiet else self.log
        start = log.size()
        environment = {**self.environment, **(more or {})}
        ended = self.run_command(words, environment, self.setup_until, log)
        if ended["why"]:
            self.check()
        return ended["code"], log.tail(start)

    # The job itself

    def run_job(self, words, environment, verdict):
        self.check()
        # What the user's own environment sets stands, whatever set-up would have added.
        environment = {**self.environment, **environment, **self.own}
        self.enter("run")
        self.has_run = True
        base = os.path.realpath(self.host.base)
        ground = Ground(base, os.path.relpath(self.folder, base), self.host.job_uid)
        self.sync = Sync(self.transfers, ground, self.job["artifacts"], self.order["prefix"])
        self.transfers.set_beside_job(True)
        self.syncing = threading.Lock()
        self.repeat(self.order["every"]["syncMs"], self.sync_while_running)
        start = self.log.size()
        ended = self.run_command(words, environment, time.monotonic() + self.order["limits"]["runMs"] / 1000)
        verdict.update(exitCode=ended["code"], signal=ended["signal"] or None)
        verdict.update(self.verdict_of(ended, start))
        self.enter("upload")
        self.report("ran", exitCode=verdict["exitCode"], signal=verdict["signal"])

    def verdict_of(self, ended, start):
        if ended["why"] == "limit":
            return {"outcome": "timed-out", "reason": self.too_long()}
        if ended["why"]:
            return self.stopped(ended["why"])
        if ended["code"] == 0:
            return {"outcome": "succeeded"}
        reason = f"killed by {ended['signal']}" if ended["signal"] else f"exit code {ended['code']}"
        if ended["oom"]:
            reason = f"out of memory: {reason}"
        elif self.job["task"]["type"] == "curl" and ended["code"] == 1:
            reason = complaint(self.log.tail(start)) or reason
        elif self.host.disk_free_bytes() < 1 << 20:
            reason += " (the disk is full)"
        return {"outcome": "failed", "reason": reason}

    # Returns code, signal, oom, and why it was made to end: "", "limit", or what `stop` says.
    def run_command(self, words, environment, until, log=None):
        try:
            command = Command(self.host, words, self.folder, environment, log or self.log)
        except OSError as cause:
            raise CannotStart(f"{words[0]} cannot be started: {cause.strerror}") from cause
        ended = threading.Event()

        def wait():
            command.process.wait()
            ended.set()
            self.wake.set()

        threading.Thread(target=wait, daemon=True).start()
        why = ""
        while not ended.is_set() and not why:
            self.wake.wait(max(0.0, until - time.monotonic()))
            self.wake.clear()
            if not ended.is_set():
                why = self.stop or ("limit" if time.monotonic() >= until else "")
        if why:
            command.signal("SIGTERM")
            if not ended.wait(self.order["limits"]["graceMs"] / 1000):
                command.signal("SIGKILL")
                ended.wait(30)
        command.end()
        code, name, is_oom = command.result() if ended.is_set() else (None, "SIGKILL", False)
        if not why and (name == "SIGTERM" or code == 128 + signal.SIGTERM):
            # When the machine shuts down, the job may be told before we are.
            time.sleep(1)
            why = self.stop
        return {"code": code, "signal": name, "oom": is_oom, "why": why}

    # What goes on beside the job

    def repeat(self, every_ms, action):
        def loop():
            while not self.over.wait(every_ms / 1000):
                try:
                    action()
                except (S3Error, OSError, ValueError):
                    # The next round is the retry.
                    pass

        threading.Thread(target=loop, daemon=True).start()

    def read_stop(self):
        # Without permission to list the bucket, what is not there is a 403.
        response = self.s3.open("GET", self.place["stop"], ok=(200, 403, 404))
        body = response.read()
        if response.status == 200 and not self.stop:
            self.request_stop(json.loads(body)["reason"])

    def request_stop(self, why):
        self.stop = why
        self.wake.set()

    def beat(self):
        beat = {
            "format": FORMAT,
            "at": now_ms(),
            "uptimeMs": self.host.uptime_ms(),
            "logLines": self.log.lines(),
            "phase": self.phase,
            "diskFreeBytes": self.host.disk_free_bytes(),
            "memoryAvailableBytes": memory_available_bytes(),
        }
        beat = {name: value for name, value in beat.items() if value is not None}
        self.s3.put(self.order["prefix"] + "heartbeat.json", to_json(beat), 0.0)

    # If the machine dies now, the manifest tells what there is.
    def sync_while_running(self):
        with self.syncing:
            if self.phase != "run":
                return
            ledger = dict(self.sync.ledger)
            listing = self.sync.run(time.monotonic() + 60)
            if self.sync.ledger != ledger and self.phase == "run":
                self.write_manifest(listing, False, time.monotonic() + 10)

    # What is new is shipped within 200 ms when nothing was for a while, else every `pause` seconds, or as soon as it
    # fills a chunk.
    def ship_log(self, pause):
        shipped_at, phase = -pause, ""
        while not self.over.is_set():
            self.log.wait_for_chunk(min(0.2, pause))
            if self.phase != phase and self.phase == "run":
                # The job's first output is not to wait for the interval that our own lines began.
                shipped_at = -pause
            phase = self.phase
            if self.log.whole < CHUNK_BYTES and (time.monotonic() - shipped_at < pause or not self.log.whole):
                continue
            try:
                self.log.ship(self.s3, self.order["prefix"], self.hard_until)
                shipped_at = time.monotonic()
            except S3Error as cause:
                print(f"errand: {cause}", flush=True)
                self.over.wait(1)

    # The end

    def finish(self, verdict):
        self.host.free_reserve()
        sets = []
        try:
            sets = self.upload(verdict)
        except Exception as cause:
            # The report is all that is left to be done, and says so.
            print("errand: " + traceback.format_exc(), flush=True)
            reason = f"uploading: {type(cause).__name__}: {cause}"
            self.spoil(verdict, reason)
        self.over.set()
        self.enter("")
        if verdict["reason"] == SHUT_DOWN:
            return
        verdict["reason"] = self.host.mask.hide(" ".join(verdict["reason"].split("\n")))
        verdict.update(phases=self.phases, artifacts=sets, notes=self.notes, logLines=self.log.lines())
        self.report("finished", **verdict)

    # Artifacts, manifest and the rest of the log. Returns the artifacts that exist.
    def upload(self, verdict):
        listing = self.upload_artifacts(verdict) if self.has_run else None
        if verdict["outcome"] != "succeeded":
            known = verdict["outcome"] == verdict["reason"]
            self.log.say(verdict["outcome"] if known else f"{verdict['outcome']}: {verdict['reason']}")
        self.log.ship(self.s3, self.order["prefix"], self.hard_until, final=True)
        self.write_manifest(listing, verdict["outcome"] == "succeeded", self.hard_until)
        return listing.sets if listing else []

    def write_manifest(self, listing, is_complete, until):
        manifest = {
            "format": FORMAT,
            "complete": is_complete,
            "artifacts": listing.sets if listing else [],
            "entries": self.sync.entries(listing) if listing else [],
        }
        self.s3.put(self.order["prefix"] + "manifest.json", to_json(manifest), until)

    def upload_artifacts(self, verdict):
        limit_ms = self.order["limits"]["uploadMs"]
        until = min(self.hard_until, time.monotonic() + limit_ms / 1000)
        reason = ""
        self.sync.is_last = True
        self.transfers.set_beside_job(False)
        with self.syncing:
            try:
                listing = self.sync.run(until, final=True)
            except S3Error as cause:
                listing = Listing(self.sync.ground, self.job["artifacts"])
                late = time.monotonic() >= until
                reason = f"uploading artifacts took longer than {duration(limit_ms)}" if late else f"uploading: {cause}"
        if listing.unreadable:
            reason = reason or "an artifact cannot be read: " + listing.unreadable[0]
        elif listing.missing and verdict["outcome"] == "succeeded":
            reason = reason or missing_artifacts(listing.missing)
        for note in sorted(set(listing.notes))[:20]:
            self.note(note)
        if reason:
            self.spoil(verdict, reason)
        return listing

    # What goes wrong after the job: the reason of what was a success until now, else one more note.
    def spoil(self, verdict, reason):
        if verdict["outcome"] == "succeeded":
            verdict.update(outcome="failed", reason=reason)
        else:
            self.note(reason)

    def note(self, text):
        text = self.host.mask.hide(text)
        self.notes.append(text)
        self.log.say(text)

    def report(self, stage, **fields):
        report = {
            "format": FORMAT,
            "stage": stage,
            "token": self.place["token"],
            "index": self.place["index"],
            "run": self.order["run"],
            "job": self.job["name"],
            "attempt": self.order["attempt"],
            "instanceId": self.place["instanceId"],
            "at": now_ms(),
            **{name: value for name, value in fields.items() if value is not None},
        }
        key = f"inbox/reports/{self.place['token']}.{self.place['index']}.{stage}.json"
        self.s3.put(key, to_json(report), self.hard_until)


def now_ms():
    return int(time.time() * 1000)


def to_json(value):
    return json.dumps(value).encode()


# As a user writes it: 90m, 24h, 45s.
def duration(milliseconds):
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1_000)):
        if milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"


# ---- from the boot to the claim -----------------------------------------------------------------------------


def find_order(s3, metadata, token):
    index = int(insist(lambda: metadata.read("ami-launch-index")))
    instance = insist(lambda: metadata.read("instance-id"))
    order = json.loads(insist(lambda: s3.get(f"launches/{token}/{index}.json", 0.0)))
    if order["format"] != FORMAT:
        raise Failed(f"the order has the unknown format {order['format']}")
    stop = f"launches/{token}/{index}.stop"
    return order, {"token": token, "index": index, "instanceId": instance, "stop": stop}


# Whoever writes the claim holds it for ever. Refused, it may still be ours: the reply to our own write may have been lost.
def claim(s3, place):
    key = f"launches/{place['token']}/{place['index']}.claim"
    body = {"format": FORMAT, "by": "runner", "instanceId": place["instanceId"], "at": now_ms()}
    until = time.monotonic() + boot.GIVE_UP_S
    try:
        s3.put(key, to_json(body), until, {"if-none-match": "*"})
        return True
    except S3Error as error:
        if error.status != 412:
            raise
    return json.loads(s3.get(key, until)).get("instanceId") == place["instanceId"]


# Returns when there is nothing more to do, and the machine is to be powered off.
def run(host, metadata, s3, token):
    order, place = find_order(s3, metadata, token)
    if not claim(s3, place):
        print("errand: the order is claimed by another: powering off", flush=True)
        return
    attempt = Attempt(host, s3, order, place)
    signal.signal(signal.SIGTERM, lambda *_: attempt.request_stop("shutdown"))
    attempt.carry_out()


def main(words):
    os.umask(0o022)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        # A fourth word says how often it is tried.
        fetch(*words[1:4], *(int(each) for each in words[4:]))
    except Failed as cause:
        print(f"errand: {cause}", flush=True)
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
