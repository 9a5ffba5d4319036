# Where the python provider takes uv and interpreters from. The uv here is a script, pinned by its sha256 as the real one is, so
# that everything around it is real: the bucket, the cache, pip, the download, the check.
import hashlib
import http.server
import importlib.util
import io
import json
import os
import sys
import tarfile
import threading
import unittest
import zipfile

import runner
from test_world import OTHER, WorldTest

VERSION = "0.0.1"
TARGET = runner.machine_target()
HOST = sys.version.split()[0]
FAR = {"UV_OFFLINE": ""}

# Notes what it is asked; makes an environment of the Python that runs it where it is told of a download, or when `knows` it.
UV = """#!%s
import json, os, sys, venv
words = sys.argv[1:]
with open(%r, "a") as file:
    file.write(json.dumps([words, dict(os.environ)]) + "\\n")
if words[0] == "venv":
    catalog = os.environ.get("UV_PYTHON_DOWNLOADS_JSON_URL")
    if catalog:
        with open(catalog) as file:
            (build,) = json.load(file).values()
        with open(build["url"][len("file://"):], "rb") as file:
            assert file.read() == b"an interpreter", build
    elif not %r:
        sys.exit("error: No interpreter found for Python " + words[3])
    venv.create(words[-1], symlinks=True)
    print("Using a Python", file=sys.stderr)
"""


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Tools(WorldTest):
    def setUp(self):
        super().setUp()
        self.asked = os.path.join(self.world.folder, "asked")
        self.url = "http://127.0.0.1:1/uv.tar.gz"
        self.make_uv(knows=True)

    def make_uv(self, knows):
        self.uv = (UV % (sys.executable, self.asked, knows)).encode()

    def order(self, **more):
        pin = {"version": VERSION, "targets": {TARGET: {"sha256": sha256(self.uv), "url": self.url}}}
        task = {"type": "python", "version": "3.99", "words": ["main.py"], **more.pop("task", {})}
        more = {"allows_host_python": False, **more}
        self.world.order(task, {"main.py": "print('ran')"}, uv=pin, **more)

    def put_uv(self, data=None):
        self.world.objects[f"tools/uv/{VERSION}/{TARGET}/uv"] = data or self.uv

    def run_order(self, **environment):
        return self.world.run(path="/usr/bin:/bin", environment=environment)

    def expect_success(self, finished):
        self.assertEqual((finished["outcome"], finished["reason"]), ("succeeded", ""), self.world.log())
        self.assertIn(b"errand: Using a Python\nran\n", self.world.log())

    def calls(self):
        with open(self.asked) as file:
            return [json.loads(line) for line in file]

    def test_the_pinned_uv_comes_from_the_bucket_before_anything_is_asked_of_the_internet(self):
        self.put_uv()
        self.order()
        self.expect_success(self.run_order(**FAR))
        words, environment = self.calls()[0]
        self.assertEqual(words[:4], ["venv", "--no-project", "--python", "3.99"])
        self.assertEqual(environment["UV_PYTHON_DOWNLOADS"], "never")
        self.assertTrue(environment["UV_PYTHON_INSTALL_DIR"].endswith("/base/job/python"))

    def test_a_uv_of_another_content_is_refused_and_not_run(self):
        self.put_uv(self.uv + b"# evil\n")
        self.order()
        self.assertRegex(self.run_order()["reason"], f"uv cannot be fetched: tools/uv/{VERSION}/{TARGET}/uv is not what it should be .sha256 ")
        self.assertFalse(os.path.exists(self.asked))

    def test_a_uv_on_path_is_used_as_it_is(self):
        folder = os.path.join(self.world.folder, "path")
        os.mkdir(folder)
        with open(os.path.join(folder, "uv"), "wb") as file:
            file.write(self.uv)
        os.chmod(file.name, 0o755)
        self.put_uv(b"not this one")
        self.order()
        self.expect_success(self.world.run(path=folder + ":/usr/bin:/bin"))
        self.assertNotIn(("GET", f"tools/uv/{VERSION}/{TARGET}/uv"), self.world.requests)

    def test_machines_that_share_a_cache_fetch_uv_once_and_do_not_believe_a_changed_one(self):
        cache = os.path.join(self.world.folder, "cache")
        folder = os.path.join(cache, f"uv-{VERSION}-{TARGET}")
        os.makedirs(folder)
        with open(os.path.join(folder, "uv"), "wb") as file:
            file.write(b"broken")
        self.put_uv()
        self.order(task={"requirements": {"packages": ["six"]}})
        self.expect_success(self.run_order(ERRAND_CACHE=cache))
        with open(os.path.join(folder, "uv"), "rb") as file:
            self.assertEqual(file.read(), self.uv)
        self.assertEqual(os.listdir(folder), ["uv"])
        [environment] = [each for words, each in self.calls() if words[:2] == ["pip", "install"]]
        self.assertEqual(environment["UV_CACHE_DIR"], os.path.join(cache, "uv"))
        self.assertEqual(environment["UV_LINK_MODE"], "copy")

    def test_the_makers_release_is_the_last_way_and_must_hold_the_pinned_uv(self):
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as members:
            member = tarfile.TarInfo("uv-x/uv")
            member.size = len(self.uv)
            members.addfile(member, io.BytesIO(self.uv))
        self.url = self.serve(archive.getvalue())
        self.order()
        self.expect_success(self.run_order(PIP_NO_INDEX="1", **FAR))

    def serve(self, body):
        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return f"http://127.0.0.1:{server.server_address[1]}/uv.tar.gz"

    @unittest.skipUnless(importlib.util.find_spec("pip"), "this Python has no pip")
    def test_the_package_index_of_pip_brings_uv_where_there_is_pip(self):
        wheels = os.path.join(self.world.folder, "wheels")
        os.mkdir(wheels)
        with zipfile.ZipFile(os.path.join(wheels, f"uv-{VERSION}-py3-none-any.whl"), "w") as wheel:
            wheel.writestr(f"uv-{VERSION}.data/scripts/uv", self.uv)
            wheel.writestr(f"uv-{VERSION}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: uv\nVersion: {VERSION}\n")
            wheel.writestr(f"uv-{VERSION}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        self.order()
        self.expect_success(self.run_order(PIP_NO_INDEX="1", PIP_FIND_LINKS=wheels, **FAR))

    def test_no_uv_anywhere_is_the_reason_with_the_cure(self):
        self.order()
        reason = self.run_order(PIP_NO_INDEX="1", **FAR)["reason"]
        self.assertRegex(reason, "^python 3.99 is not to be had here: there is no python3.99 on PATH, and uv cannot be fetched: .*refused")
        self.assertRegex(reason, 'an operator can bring it by "errand tools add python 3.99"$')

    def test_a_network_that_was_not_there_is_not_asked_again_by_the_next_machine(self):
        cache = os.path.join(self.world.folder, "cache")
        os.mkdir(cache)
        open(os.path.join(cache, "unreachable"), "w").close()
        self.order()
        self.assertIn("there is no uv on PATH", self.run_order(ERRAND_CACHE=cache, **FAR)["reason"])

    def put_python(self, sha256_of=b"an interpreter"):
        self.make_uv(knows=False)
        self.put_uv()
        build = {"format": 1, "version": "3.99.1", "archive": "cpython-3.99.1.tar.gz", "sha256": sha256(sha256_of)}
        self.world.objects[f"tools/python/3.99-{TARGET}.json"] = json.dumps(build).encode()
        self.world.objects["tools/python/cpython-3.99.1.tar.gz"] = b"an interpreter"

    def test_an_interpreter_in_the_bucket_is_what_uv_installs_even_offline(self):
        self.put_python()
        self.order()
        self.expect_success(self.run_order())
        self.assertEqual([environment.get("UV_MANAGED_PYTHON") for _, environment in self.calls()], [None, "1"])

    # The host's may stand in for what a machine without a network cannot fetch, and not where uv could ask and knew of none.
    def test_what_uv_knows_of_nowhere_is_not_replaced_by_the_hosts_python(self):
        self.make_uv(knows=False)
        self.put_uv()
        self.order(task={"version": OTHER}, allows_host_python=True)
        finished = self.run_order(**FAR)
        reason = f"python {OTHER} is not to be had here: there is no python{OTHER} on PATH, and No interpreter found for Python {OTHER}; "
        self.assertEqual((finished["outcome"], finished["reason"][: len(reason)]), ("failed", reason))
        self.assertEqual(finished["notes"], [])

    def test_what_uv_cannot_fetch_offline_is_replaced_by_the_hosts_python_where_that_is_allowed(self):
        self.make_uv(knows=False)
        self.put_uv()
        self.order(task={"version": OTHER}, allows_host_python=True)
        finished = self.run_order()
        note = f"python {OTHER} is not to be had here: using the host's {HOST}"
        self.assertEqual((finished["outcome"], finished["notes"]), ("succeeded", [note]), self.world.log())

    def test_an_interpreter_of_another_content_is_refused(self):
        self.put_python(sha256_of=b"another")
        self.order()
        self.assertRegex(self.run_order()["reason"], "^tools/python/cpython-3.99.1.tar.gz is not what it should be .sha256 ")


class Complaints(unittest.TestCase):
    def test_what_uv_says_is_wrong_is_told_with_its_causes(self):
        table = {
            "Using Python 3.10\nerror: No solution found\n  cause: Because x was not found\n\nhint: more": "No solution found: Because x was not found",
            "error: Request failed\n  cause: Failed to download `u`\n  cause: client error\n  cause: dns error": "Request failed: Failed to download `u`: dns error",
            "error: Couldn't parse `r`\n  cause: Trailing `x`\n         a x\n           ^": "Couldn't parse `r`: Trailing `x`",
            "  × No solution found:\n  ╰─▶ Because x and\n      y conflict.": "No solution found: Because x and y conflict.",
        }
        self.assertEqual({text: runner.complaint(text) for text in table}, table)


if __name__ == "__main__":
    unittest.main()
