# The first Python on a rented machine, carried in the user-data itself: instance metadata, the S3 client, and the download
# of the runner, which is too large to travel along. The runner imports the client from here, so there is one.
# Python 3.9 and newer, the standard library alone. Full-line comments are left out on the way, so there are no docstrings.
import base64
import calendar
import email.utils
import functools
import hashlib
import hmac
import http.client
import json
import os
import random
import re
import ssl
import subprocess
import sys
import threading
import time
import traceback
import urllib.parse
import zlib

BLOCK_BYTES = 1 << 20
# No order, no credentials, or 403 for as long as this: nobody wants this machine.
GIVE_UP_S = 300
# Stands in the kept script between what travels in user-data and the runner.
MARK = b"\n:RUNNER\n"


class S3Error(Exception):
    def __init__(self, what, status, code):
        super().__init__(f"{what}: {code}" + (f" (HTTP {status})" if status else ""))
        self.status = status
        self.code = code


class Metadata:
    # IMDSv2. Its token lives six hours and is asked for again when it is refused.
    def __init__(self, base):
        self.base = urllib.parse.urlsplit(base)
        self.token = ""

    def ask(self, method, path, headers):
        connection = http.client.HTTPConnection(self.base.hostname, self.base.port or 80, timeout=5)
        try:
            connection.request(method, self.base.path.rstrip("/") + path, headers=headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def read(self, path):
        for _ in range(2):
            status, text = self.ask("GET", "/latest/meta-data/" + path, {"x-aws-ec2-metadata-token": self.token})
            if status != 401:
                break
            ttl = {"x-aws-ec2-metadata-token-ttl-seconds": "21600"}
            self.token = self.ask("PUT", "/latest/api/token", ttl)[1]
        if status != 200:
            raise OSError(f"instance metadata {path}: HTTP {status}")
        return text.strip()

    def credentials(self):
        folder = "iam/security-credentials/"
        found = json.loads(self.read(folder + self.read(folder).splitlines()[0]))
        expires = calendar.timegm([int(each) for each in re.findall(r"\d+", found["Expiration"])[:6]])
        return found["AccessKeyId"], found["SecretAccessKey"], found["Token"], expires


def hmac_sha256(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def sha256_hex(data):
    return hashlib.sha256(data).hexdigest()


# Signature Version 4. `path` is already encoded; header names are in lower case; all of them are signed.
def sign(credentials, region, method, path, query, headers, at, service="s3"):
    identity, secret = credentials
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    headers = {**headers, "x-amz-date": stamp}
    names = ";".join(sorted(headers))
    lines = [method, path, query_string(query)]
    lines += [f"{name}:{headers[name].strip()}" for name in sorted(headers)]
    lines += ["", names, headers["x-amz-content-sha256"]]
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, sha256_hex("\n".join(lines).encode())])
    signature = hmac_sha256(signing_key(secret, scope), text).hex()
    return {
        **headers,
        "authorization": f"AWS4-HMAC-SHA256 Credential={identity}/{scope},SignedHeaders={names},Signature={signature}",
    }


# The same for all requests of a day.
@functools.lru_cache(8)
def signing_key(secret, scope):
    key = ("AWS4" + secret).encode()
    for part in scope.split("/"):
        key = hmac_sha256(key, part)
    return key


def encode(text):
    return urllib.parse.quote(text, safe="-_.~")


def query_string(query):
    return "&".join(f"{encode(name)}={encode(query[name])}" for name in sorted(query))


class Response(http.client.HTTPResponse):
    # With room for a small file, so that it comes in one call with its head, which is read without http.client's parser of mail:
    # that takes longer than all else that is done for a small file.
    def __init__(self, sock, *words, **more):
        super().__init__(sock, *words, **more)
        self.fp.close()
        self.fp = sock.makefile("rb", 1 << 16)

    def begin(self):
        status = 100
        while status < 200:
            version, status, reason = self._read_status()
            self.fields = {}
            while (line := self.fp.readline(1 << 16)).strip():
                name, _, value = line.decode("latin-1").partition(":")
                self.fields[name.strip().lower()] = value.strip()
            if not line:
                raise http.client.IncompleteRead(line)
        self.code, self.status, self.reason = status, status, reason.strip()
        size = self.getheader("content-length", "")
        self.chunked = self.getheader("transfer-encoding", "").lower() == "chunked"
        self.chunk_left = None
        self.length = int(size) if size.isascii() and size.isdigit() and not self.chunked else None
        if self._method == "HEAD" or status in (204, 304):
            self.length = 0
        is_open = version == "HTTP/1.1" and "close" not in self.getheader("connection", "").lower()
        self.will_close = not is_open or (self.length is None and not self.chunked)

    # Names are in lower case. There is no `headers`.
    def getheader(self, name, default=None):
        return self.fields.get(name, default)


class S3:
    service = "s3"

    # One bucket. Each thread keeps a connection of its own. Everything is repeated until `until` (time.monotonic),
    # but refusals are not believed before GIVE_UP_S and not after.
    def __init__(self, bucket, region, endpoint, credentials):
        self.domain = region + (".amazonaws.com.cn" if region.startswith("cn-") else ".amazonaws.com")
        own_host = not endpoint and "." not in bucket
        host = f"{bucket}.s3.{self.domain}" if own_host else "s3." + self.domain
        self.is_aws = not endpoint
        self.endpoint = urllib.parse.urlsplit(endpoint or "https://" + host)
        self.root = "/" if own_host else f"/{bucket}/"
        self.region = region
        self.read_credentials = credentials
        self.credentials = None
        # Those that S3 does not want any more.
        self.refused = None
        self.lock = threading.Lock()
        self.local = threading.local()
        # Seconds by which S3's clock is ahead of ours.
        self.skew = 0.0
        self.tls = ssl.create_default_context() if self.endpoint.scheme == "https" else None

    # Until they expire, the old ones are as good as new ones that cannot be had.
    def current_credentials(self):
        with self.lock:
            kept, now = self.credentials, time.time() + self.skew
            if kept is None or kept is self.refused or kept[3] - now < 300:
                try:
                    self.credentials = self.read_credentials()
                except (OSError, http.client.HTTPException, LookupError, ValueError) as cause:
                    if kept is None or kept is self.refused or kept[3] < now:
                        raise OSError(f"no credentials: {cause}") from cause
            return self.credentials

    def connect(self):
        place = self.endpoint.hostname, self.endpoint.port
        self.local.connection = (
            http.client.HTTPSConnection(*place, timeout=30, context=self.tls)
            if self.tls
            else http.client.HTTPConnection(*place, timeout=30)
        )
        self.local.connection.response_class = Response

    def drop(self):
        connection = getattr(self.local, "connection", None)
        self.local.connection = None
        if connection:
            connection.close()

    def once(self, method, key, query, headers, body, sha256):
        identity, secret, token, _ = self.local.credentials = self.current_credentials()
        path = self.root + urllib.parse.quote(key, safe="-_.~/")
        headers = {**headers, "host": self.endpoint.netloc, "x-amz-content-sha256": sha256}
        if token:
            headers["x-amz-security-token"] = token
        at = time.time() + self.skew
        headers = sign((identity, secret), self.region, method, path, query, headers, at, self.service)
        target = path + ("?" + query_string(query) if query else "")
        if method in ("PUT", "POST"):
            headers["content-length"] = str(len(body))
        kept = getattr(self.local, "connection", None) is not None
        while True:
            if not kept:
                self.connect()
            try:
                self.local.connection.request(method, target, body or None, headers)
                return self.local.connection.getresponse()
            except (ConnectionError, http.client.BadStatusLine):
                # A kept connection may have been closed by the other side long ago: that says nothing yet.
                self.drop()
                if not kept:
                    raise
                kept = False

    # Returns the response with its body unread. `ok` names the statuses that are answers; `sha256` is the body's, where the
    # caller knows it already.
    def open(self, method, key, query=None, headers=None, body=b"", until=0.0, ok=(200,), sha256=""):
        what = f"{method} {key}"
        sha256 = sha256 or sha256_hex(body)
        pause = 0.2
        refused_at = None
        while True:
            skew = self.skew
            try:
                response = self.once(method, key, query or {}, headers or {}, body, sha256)
                if response.status in ok:
                    return response
                error = self.error(what, response)
            except (OSError, http.client.HTTPException) as cause:
                self.drop()
                error = S3Error(what, 0, str(cause) or type(cause).__name__)
            now = time.monotonic()
            if error.status == 403 or error.code in ("ExpiredToken", "InvalidToken"):
                self.refused = self.local.credentials
                refused_at = refused_at or now
                if now - refused_at >= GIVE_UP_S:
                    raise error
                if error.code == "RequestTimeTooSkewed" and abs(self.skew - skew) > 60:
                    continue
            elif error.code != "RequestTimeout" and error.status in range(300, 500) and error.status not in (408, 409, 429):
                raise error
            if now >= until:
                raise error
            time.sleep(max(0.0, min(pause * random.uniform(0.5, 1.5), until - now)))
            pause = min(pause * 2, 20)

    def error(self, what, response):
        body = response.read()
        code = re.search(rb"<Code>([^<]*)", body)
        there = email.utils.parsedate(response.getheader("date") or "")
        if response.status == 403 and there:
            self.skew = calendar.timegm(there) - time.time()
        return S3Error(what, response.status, code.group(1).decode() if code else response.reason)

    def get(self, key, until):
        return self.open("GET", key, until=until).read()

    def put(self, key, body, until, headers=None, sha256=""):
        return self.open("PUT", key, headers=headers, body=body, until=until, sha256=sha256).read()


# Repeats until it succeeds, or until GIVE_UP_S have passed and the machine has no reason to be.
def insist(action):
    until = time.monotonic() + GIVE_UP_S
    pause = 0.2
    while True:
        try:
            return action()
        except (S3Error, OSError, http.client.HTTPException, LookupError, ValueError):
            if time.monotonic() >= until:
                raise
            time.sleep(min(pause, GIVE_UP_S / 20) * random.uniform(0.5, 1.5))
            pause = min(pause * 2, 5)


def power_off():
    for words in (["shutdown", "-P", "now"], ["poweroff"]):
        try:
            if subprocess.run(words, check=False).returncode == 0:
                return
        except OSError as cause:
            print(f"errand: {cause}", flush=True)


# The script is kept in the bucket by its sha256, which the user-data names: no other runner can take its place.
def fetch_runner(s3, sha256, path):
    script = insist(lambda: s3.get("tools/bootstrap/" + sha256, 0.0))
    if sha256_hex(script) != sha256:
        raise ValueError("the runner in the bucket is not the one that was asked for")
    with open(path, "wb") as file:
        file.write(zlib.decompress(base64.b85decode(script.split(MARK)[1].strip())))


def main(base, mode, cap, bucket, region, endpoint, token, script):
    try:
        os.umask(0o022)
        service = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or "http://169.254.169.254"
        metadata = Metadata(service)
        s3 = S3(bucket, region, endpoint, metadata.credentials)
        fetch_runner(s3, script, os.path.join(base, "runner.py"))
        import runner

        runner.run(runner.Host(base, mode, cap), metadata, s3, token)
    except BaseException:
        traceback.print_exc()
    power_off()
    sys.stdout.flush()
    # Without waiting for threads that a dead connection may hold.
    os._exit(0)
