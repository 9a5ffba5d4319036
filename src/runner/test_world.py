# A small S3 and IMDS on loopback, and a machine that really runs boot.py and the runner against them.
import base64
import calendar
import hashlib
import http.server
import io
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import unittest
import urllib.parse
import warnings
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import boot  # noqa: E402

BUCKET = "errand-test"
TOKEN = "tok1"
PREFIX = "runs/20261123-211530-k3f9q2/train/1/"
# A version that exists, and is neither the one that runs this nor the system's own.
OTHER = next(
    f"3.{minor}"
    for minor in range(10, 16)
    if minor != sys.version_info[1] and not shutil.which(f"python3.{minor}", path="/usr/bin:/bin")
)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def reply(self, status, body=b"", headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def date_time_string(self, timestamp=None):
        return super().date_time_string((timestamp or time.time()) + self.server.world.clock_ahead)

    def handle_any(self):
        if self.server.world.is_down:
            self.close_connection = True
            return None
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        if path.startswith("/imds/"):
            return self.imds(path[len("/imds") :])
        scope = re.search("Credential=[^/]+/[^/]+/[^/]+/([^/]+)/", self.headers.get("Authorization", ""))
        if scope and scope.group(1) != "s3":
            return self.ask(scope.group(1), body)
        key = urllib.parse.unquote(path[len(BUCKET) + 2 :], errors="surrogateescape")
        world = self.server.world
        if self.headers.get("x-amz-content-sha256") == "UNSIGNED-PAYLOAD":
            if self.headers.get("x-amz-checksum-crc32") != crc32(body):
                return self.error(400, "BadDigest")
        elif self.headers.get("x-amz-content-sha256") != hashlib.sha256(body).hexdigest():
            return self.error(400, "XAmzContentSHA256Mismatch")
        if not re.match("AWS4-HMAC-SHA256 Credential=AKID", self.headers.get("Authorization", "")):
            return self.error(403, "AccessDenied")
        if f"Credential={world.identity}/" not in self.headers["Authorization"]:
            return self.error(400, "ExpiredToken")
        signed_at = calendar.timegm(time.strptime(self.headers["x-amz-date"], "%Y%m%dT%H%M%SZ"))
        if abs(signed_at - time.time() - world.clock_ahead) > 900:
            return self.error(403, "RequestTimeTooSkewed")
        hold = next((event for start, event in world.holds.items() if key.startswith(start)), None)
        if hold:
            world.held.add(key)
            hold.wait(30)
        fault = world.fault(self.command, key)
        if fault == "reset":
            self.close_connection = True
            return None
        if isinstance(fault, int):
            return self.error(fault, "Fault")
        if isinstance(fault, bytes):
            return self.reply(200, fault)
        with world.lock:
            world.requests.append((self.command, key))
            handle = getattr(self, "s3_" + self.command.lower())
            handle(world, key, query, body)
        if fault == "lost-reply":
            self.close_connection = True
        return None

    do_GET = do_PUT = do_POST = do_DELETE = handle_any

    # Parameter Store, Secrets Manager and STS.
    def ask(self, service, body):
        world = self.server.world
        with world.lock:
            world.asked.append((service, body))
            fault = world.refusals.get(service, []).pop(0) if world.refusals.get(service) else None
        if fault == "reset":
            self.close_connection = True
            return None
        if fault:
            return self.reply(fault[0], json.dumps({"__type": f"com.amazonaws#{fault[1]}", "message": fault[2]}).encode())
        if service == "sts":
            expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
            number = sum(each == "sts" for each, _ in world.asked)
            keys = {"AccessKeyId": f"ASIA{number}", "SecretAccessKey": f"role-secret-{number}", "SessionToken": f"role-session-{number}", "Expiration": expires}
            return self.reply(200, "".join(f"<{name}>{value}</{name}>" for name, value in keys.items()).encode())
        request = json.loads(body)
        if service == "ssm":
            denied = [name for name in request["Names"] if world.parameters.get(name) is PermissionError]
            if denied:
                return self.reply(400, json.dumps({"__type": "AccessDeniedException", "message": f"not authorized on {denied[0]}"}).encode())
            found = [{"Name": name, "Value": world.parameters[name]} for name in request["Names"] if name in world.parameters]
            return self.reply(200, json.dumps({"Parameters": found, "InvalidParameters": []}).encode())
        if request["SecretId"] not in world.secrets:
            return self.reply(400, b'{"__type":"ResourceNotFoundException","message":"Secrets Manager can\'t find the specified secret."}')
        kept = world.secrets[request["SecretId"]]
        shown = {"SecretString": kept} if isinstance(kept, str) else {"SecretBinary": base64.b64encode(kept).decode()}
        return self.reply(200, json.dumps(shown).encode())

    def error(self, status, code):
        self.reply(status, f"<Error><Code>{code}</Code></Error>".encode())

    def imds(self, path):
        if path == "/latest/api/token":
            return self.reply(200 if self.command == "PUT" else 405, b"imds-token")
        if self.headers.get("x-aws-ec2-metadata-token") != "imds-token":
            return self.reply(401)
        world = self.server.world
        expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + world.clock_ahead + 3600))
        credentials = {"AccessKeyId": world.identity, "SecretAccessKey": world.secret, "Token": world.session, "Expiration": expires}
        leaves = {
            "/latest/meta-data/ami-launch-index": "0",
            "/latest/meta-data/instance-id": "i-1",
            "/latest/meta-data/iam/security-credentials/": "role",
            "/latest/meta-data/iam/security-credentials/role": json.dumps(credentials),
        }
        return self.reply(200, leaves[path].encode()) if path in leaves else self.reply(404)

    def s3_get(self, world, key, _query, _body):
        if key not in world.objects:
            return self.error(404, "NoSuchKey")
        body = world.objects[key]
        headers = {"ETag": etag(body)}
        if self.headers.get("If-Match", etag(body)) != etag(body):
            return self.error(412, "PreconditionFailed")
        ranged = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, end = (int(ranged.group(1)), int(ranged.group(2) or len(body)) + 1) if ranged else (0, len(body))
        rest = body[start:end]
        if ranged and start >= len(body):
            return self.error(416, "InvalidRange")
        if ranged:
            headers["Content-Range"] = f"bytes {start}-{start + len(rest) - 1}/{len(body)}"
        cut = world.cuts.pop(key, None)
        if cut:
            self.send_response(206 if ranged else 200)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            self.wfile.write(rest[:cut])
            self.close_connection = True
            return None
        return self.reply(206 if ranged else 200, rest, headers)

    def s3_put(self, world, key, query, body):
        if "partNumber" in query:
            world.uploads[query["uploadId"]][int(query["partNumber"])] = body
            return self.lose_or_reply(world, key, {"ETag": etag(body)})
        if self.headers.get("If-None-Match") == "*" and key in world.objects:
            return self.error(412, "PreconditionFailed")
        if "/log/" in key and key in world.objects and world.objects[key] != body:
            world.wrongs.append(f"{key} was written twice with other content")
        world.objects[key] = body
        if "/log/" in key:
            world.times[int(key[-10:])] = self.headers["x-amz-meta-times"]
        return self.lose_or_reply(world, key, {"ETag": etag(body)})

    def lose_or_reply(self, world, key, headers):
        if world.lost.pop(key, None):
            self.close_connection = True
            return None
        return self.reply(200, b"", headers)

    def s3_post(self, world, key, query, body):
        if "uploads" in query:
            world.begun += 1
            if self.headers.get("x-amz-checksum-algorithm") != "CRC32":
                return self.error(400, "InvalidRequest")
            name = f"up{world.begun}"
            world.uploads[name] = {}
            return self.reply(200, f"<X><UploadId>{name}</UploadId></X>".encode())
        if query["uploadId"] in world.completed:
            return self.reply(200, b"<CompleteMultipartUploadResult/>")
        parts = world.uploads.pop(query["uploadId"])
        numbers = [int(each) for each in re.findall(rb"<PartNumber>(\d+)<", body)]
        sums = re.findall(rb"<ChecksumCRC32>([^<]+)<", body)
        if numbers != sorted(parts) or sums != [crc32(parts[each]).encode() for each in numbers]:
            return self.error(400, "InvalidPart")
        world.objects[key] = b"".join(parts[each] for each in numbers)
        world.completed.add(query["uploadId"])
        if world.breaks.pop(key, None):
            # As S3 does, it has begun to answer.
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b" ")
            self.close_connection = True
            return None
        return self.reply(200, b"<CompleteMultipartUploadResult/>")

    def s3_delete(self, world, key, query, _body):
        world.uploads.pop(query.get("uploadId"), None)
        return self.reply(204)


def etag(body):
    return '"' + hashlib.md5(body).hexdigest() + '"'


def crc32(content):
    return base64.b64encode(struct.pack(">I", zlib.crc32(content))).decode()


# What a manifest says of the bytes of a file.
def sums_of(content, names=("crc32", "sha256")):
    sums = {"crc32": crc32(content), "sha256": hashlib.sha256(content).hexdigest()}
    return {"size": len(content), **{name: sums[name] for name in names}}


class World:
    def __init__(self):
        self.lock = threading.RLock()
        self.objects = {}
        # What chunks of the log say of their lines' times, by their first line.
        self.times = {}
        self.uploads = {}
        self.begun = 0
        self.completed = set()
        self.requests = []
        self.wrongs = []
        # Keys whose next answer is cut after so many bytes, or is lost after it took effect; uploads whose completion
        # breaks off in its answer.
        self.cuts = {}
        self.lost = {}
        self.breaks = {}
        # (method, beginning of the key) -> answers still to be given instead: a status, the body of a 200, "reset", or None for the
        # true one.
        self.faults = {}
        # What S3 answers, and how: not at all; by another clock; only to these credentials; keys whose answers wait for an event.
        self.is_down = False
        self.clock_ahead = 0
        self.identity, self.secret, self.session = "AKID", "secret", "session"
        self.holds = {}
        # Keys that have waited.
        self.held = set()
        # Of Parameter Store and Secrets Manager; what was asked of services besides S3; (status, code, message) they answer first.
        self.parameters, self.secrets, self.asked, self.refusals = {}, {}, [], {}
        self.folder = tempfile.mkdtemp(prefix="errand-test-")
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.world = self
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.bucket, self.s3_endpoint = BUCKET, self.endpoint
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def fault(self, method, key):
        for (wanted, start), answers in self.faults.items():
            if wanted == method and key.startswith(start) and answers:
                return answers.pop(0)
        return None

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        shutil.rmtree(self.folder, ignore_errors=True)

    def s3(self):
        credentials = (self.identity, self.secret, self.session, time.time() + 3600)
        return boot.S3(self.bucket, "us-east-1", self.s3_endpoint, lambda: credentials)

    # Everything that descends from this world's machine, by an entry of its environment.
    def processes(self):
        mark = ("TMPDIR=" + self.folder).encode()
        found = []
        for name in os.listdir("/proc"):
            try:
                with open(f"/proc/{int(name)}/environ", "rb") as file:
                    if mark in file.read().split(b"\0"):
                        found.append(int(name))
            except (ValueError, OSError):
                pass
        return found

    def json(self, key):
        return json.loads(self.objects[key])

    def report(self, stage):
        return self.json(f"inbox/reports/{TOKEN}.0.{stage}.json")

    def chunks(self):
        return {int(key[len(PREFIX) + 4 :]): body for key, body in sorted(self.objects.items()) if key.startswith(PREFIX + "log/")}

    def log(self):
        return b"".join(self.chunks().values())

    def manifest(self):
        return self.json(PREFIX + "manifest.json")

    def artifact(self, path):
        return self.objects[f"{PREFIX}artifacts/{path}"]

    # Puts a bundle and an order. `files` is text by name; `task` a bash script or a whole task.
    def order(self, task, files=None, artifacts=(), inputs=(), environment=None, limits=None, every=None, **more):
        if isinstance(task, str):
            task = {"type": "commands", "script": task}
        self.objects["runs/r/bundle.tar.gz"] = bundle(files or {})
        order = {
            "format": 1,
            "run": "20261123-211530-k3f9q2",
            "runName": "brave-otter-42",
            "attempt": 1,
            "job": {
                "name": "train",
                "workflow": "train",
                "provider": "x",
                "needs": [],
                "inputs": [],
                "task": task,
                "environment": environment or {},
                "workingDir": more.get("working_dir", "."),
                "artifacts": list(artifacts),
                "resources": {},
                **({"role": "training"} if "role" in more else {}),
            },
            "bundle": "runs/r/bundle.tar.gz",
            "inputs": list(inputs),
            "prefix": PREFIX,
            "limits": {"setupMs": 60_000, "runMs": 60_000, "uploadMs": 60_000, "graceMs": 300, **(limits or {})},
            "every": {"logMs": 100, "heartbeatMs": 200, "syncMs": 200, "stopMs": 50, **(every or {})},
            "allowsHostPython": more.get("allows_host_python", True),
            **({"uv": more["uv"]} if "uv" in more else {}),
            **({"role": more["role"]} if "role" in more else {}),
        }
        self.objects[f"launches/{TOKEN}/0.json"] = json.dumps(order).encode()

    # An artifact set of another job, as an input of the order.
    def input(self, name, files, sums=("crc32", "sha256")):
        entries = []
        for path, content in files.items():
            if content is None:
                entries.append({"path": path, "type": "directory", "mode": 0o755})
                continue
            self.objects[f"runs/o/{name}/1/artifacts/{path}"] = content
            entries.append({"path": path, "type": "file", "mode": 0o640, **sums_of(content, sums)})
        self.manifest_of(name, entries)
        return {"from": name, "prefix": f"runs/o/{name}/1/artifacts/", "manifest": f"runs/o/{name}/1/manifest.json"}

    def manifest_of(self, name, entries):
        manifest = {"format": 1, "complete": True, "artifacts": [], "entries": entries}
        self.objects[f"runs/o/{name}/1/manifest.json"] = json.dumps(manifest).encode()

    # Patches are Python, run after boot.py is imported, and at the end of the runner. `more` is for the process.
    def start(self, patch="", runner_patch="", path=None, python=sys.executable, environment=None, **more):
        with open(os.path.join(HERE, "runner.py"), "rb") as file:
            source = file.read() + runner_patch.encode()
        script = b"head" + boot.MARK + base64.b85encode(zlib.compress(source)) + b"\n"
        sha256 = hashlib.sha256(script).hexdigest()
        self.objects["tools/bootstrap/" + sha256] = script
        base, commands = os.path.join(self.folder, "base"), os.path.join(self.folder, "bin")
        os.makedirs(base, exist_ok=True)
        os.mkdir(commands)
        open(os.path.join(base, "boot"), "w").close()
        shutil.copy(os.path.join(HERE, "boot.py"), base)
        with open(os.path.join(commands, "shutdown"), "w") as file:
            file.write(f"#!/bin/sh\necho \"$@\" >>{self.folder}/powered-off\n")
        os.chmod(os.path.join(commands, "shutdown"), 0o755)
        environment = {
            "PATH": commands + os.pathsep + (path or os.environ["PATH"]),
            "TMPDIR": self.folder,
            "HOME": self.folder,
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.endpoint + "/imds/",
            "ERRAND_LOCAL_INSTANCE": "mark",
            # Nothing here asks the internet, whatever this machine has on PATH.
            "UV_OFFLINE": "1",
            **(environment or {}),
        }
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.cap = subprocess.Popen(["sleep", "900"], env=environment, start_new_session=True, **quiet)
        code = f"import sys; sys.path.insert(0, {base!r}); import boot\n{patch}\nboot.main(*sys.argv[1:])"
        words = [base, "local", str(self.cap.pid), self.bucket, "us-east-1", self.s3_endpoint, TOKEN, sha256]
        with open(os.path.join(self.folder, "console"), "wb") as console:
            return subprocess.Popen(
                [python, "-c", code, *words], env=environment, stdin=subprocess.DEVNULL, stdout=console, stderr=console, **more
            )

    # Carries the order out to its end. Returns the finished report.
    def run(self, **options):
        self.wait_for_end(self.start(**options))
        return self.report("finished")

    def wait_for_end(self, process):
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError("the runner did not end\n" + self.console()) from None
        if not self.is_powered_off():
            raise AssertionError("not powered off\n" + self.console())

    def console(self):
        with open(os.path.join(self.folder, "console"), errors="replace") as file:
            return file.read()

    def is_powered_off(self):
        return os.path.exists(os.path.join(self.folder, "powered-off"))

    def wait_until(self, name, is_true):
        until = time.monotonic() + 20
        while not is_true():
            if time.monotonic() > until:
                raise AssertionError(f"waited 20 s for {name}\n{self.console()}")
            time.sleep(0.01)


def bundle(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content.encode())
            member.mode = 0o644
            archive.addfile(member, io.BytesIO(content.encode()))
    return buffer.getvalue()


class WorldTest(unittest.TestCase):
    def setUp(self):
        # The client keeps its connections for as long as there is a process.
        warnings.simplefilter("ignore", ResourceWarning)
        self.world = World()
        self.addCleanup(self.world.close)

    def tearDown(self):
        self.assertEqual(self.world.wrongs, [])
