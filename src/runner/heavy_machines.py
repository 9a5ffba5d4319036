# Whole orders that are large, against the real local cloud: for `npm run test:all` alone. Needs Node and a build.
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import unittest
from collections.abc import MutableMapping

import boot
from test_world import PREFIX, World

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GIB = 1 << 30
# Of the runner at its highest, whatever it moves.
MEMORY_BYTES_MAX = 200_000_000


# The objects of a real bucket, as the stub has its own.
class Bucket(MutableMapping):
    def __init__(self, s3):
        self.s3 = s3

    def __getitem__(self, key):
        return self.s3.get(key, time.monotonic() + 20)

    def __setitem__(self, key, body):
        self.s3.put(key, body, time.monotonic() + 20)

    def __delitem__(self, key):
        self.s3.open("DELETE", key, ok=(204,)).read()

    def __contains__(self, key):
        response = self.s3.open("GET", key, headers={"range": "bytes=0-0"}, ok=(200, 206, 404, 416))
        response.read()
        return response.status != 404

    def __iter__(self):
        after = ""
        while True:
            body = self.s3.open("GET", "", {"list-type": "2", "prefix": PREFIX + "log/", "start-after": after}).read().decode()
            keys = re.findall("<Key>([^<]*)</Key>", body)
            yield from keys
            if "<IsTruncated>true" not in body:
                return
            after = keys[-1]

    def __len__(self):
        return sum(1 for _ in self)


class RealWorld(World):
    def __init__(self, cloud):
        super().__init__()
        self.bucket, self.s3_endpoint = cloud.bucket, cloud.endpoint
        self.identity, self.secret, self.session = cloud.identity, cloud.secret, ""
        self.objects = Bucket(self.s3())


class LocalCloud:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="errand-heavy-", dir=os.environ.get("ERRAND_HEAVY_DIR"))
        words = ["node", "dist/src/cli/main.js", "local", "--no-daemon", "--data", self.folder, "--port", "0"]
        self.process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for line in self.process.stdout:
            if line.startswith("ready "):
                found = json.loads(line[len("ready ") :])
                self.endpoint, self.bucket = found["endpoint"], found["bucket"]
                break
        with open(os.path.join(self.folder, "local.json")) as file:
            keys = json.load(file)
        self.identity, self.secret = keys["accessKeyId"], keys["secretAccessKey"]

    def close(self):
        self.process.terminate()
        self.process.wait(30)
        self.process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Heavy(unittest.TestCase):
    def setUp(self):
        self.cloud = LocalCloud()
        self.addCleanup(self.cloud.close)
        self.world = self.make_world()

    def make_world(self):
        world = RealWorld(self.cloud)
        self.addCleanup(world.close)
        return world

    def need_disk(self, size):
        if shutil.disk_usage(tempfile.gettempdir()).free < size:
            self.skipTest(f"needs {size // GIB} GiB of disk")

    # Returns the finished report. What the runner took of memory, and its folder of disk, at their highest, is kept.
    def run_order(self, world, seconds=300):
        process = world.start()
        until = time.monotonic() + seconds
        self.memory_bytes = self.disk_bytes = 0
        while process.poll() is None:
            if time.monotonic() > until:
                process.kill()
                process.wait()
                self.fail(f"the runner did not end in {seconds} s\n" + world.console())
            try:
                with open(f"/proc/{process.pid}/status") as file:
                    found = re.search(r"VmHWM:\s+(\d+)", file.read())
                self.memory_bytes = max(self.memory_bytes, int(found.group(1)) * 1024 if found else 0)
            except OSError:
                pass
            time.sleep(0.1)
        finished = world.report("finished")
        self.assertEqual((finished["outcome"], finished["reason"]), ("succeeded", ""), world.console())
        self.assertLess(self.memory_bytes, MEMORY_BYTES_MAX)
        print(f"\n{self.id().split('.')[-1]}: {finished['phases']} ms, {self.memory_bytes >> 20} MiB", flush=True)
        return finished

    # What one job uploaded, as the input of another.
    def source(self):
        return {"from": "one", "prefix": PREFIX + "artifacts/", "manifest": PREFIX + "manifest.json"}

    def test_one_file_of_5_gib_goes_and_comes_with_bounded_memory(self):
        self.need_disk(17 * GIB)
        self.world.order("mkdir big; truncate -s 5G big/file; printf end >>big/file", artifacts=["big"], limits={"uploadMs": 600_000})
        self.run_order(self.world, 600)
        entry = self.world.manifest()["entries"][1]
        digest = hashlib.sha256()
        for _ in range(5 * 1024):
            digest.update(bytes(1 << 20))
        digest.update(b"end")
        self.assertEqual((entry["size"], entry["sha256"]), (5 * GIB + 3, digest.hexdigest()))
        other = self.make_world()
        other.order("stat -c %s big/file; tail -c 3 big/file; echo", inputs=[self.source()], limits={"setupMs": 600_000})
        manifest = self.world.manifest()
        other.objects["other/manifest.json"] = json.dumps(manifest).encode()
        self.run_order_again(other)
        self.assertIn(b"\n5368709123\nend\n", other.log())

    # With a claim and a log of its own.
    def run_order_again(self, world):
        order = json.loads(world.objects["launches/tok1/0.json"])
        order["inputs"][0]["manifest"] = "other/manifest.json"
        order["prefix"] = PREFIX
        world.objects["launches/tok1/0.json"] = json.dumps(order).encode()
        del world.objects["launches/tok1/0.claim"]
        for key in [key for key in world.objects if "/log/" in key]:
            del world.objects[key]
        self.run_order(world, 600)

    def test_ten_thousand_files_go_and_come_with_bounded_memory(self):
        make = "import os\nfor i in range(10000):\n    os.makedirs(f'many/{i % 100}', exist_ok=True)\n    open(f'many/{i % 100}/{i}', 'wb').write(os.urandom(10240))\n"
        self.world.order(f"python3 - <<'END'\n{make}END", artifacts=["many"], limits={"uploadMs": 600_000})
        finished = self.run_order(self.world)
        self.assertEqual(finished["artifacts"], [{"path": "many", "bytes": 102_400_000, "files": 10_000}])
        other = self.make_world()
        other.order("find many -type f | wc -l", inputs=[self.source()], limits={"setupMs": 600_000})
        other.objects["other/manifest.json"] = json.dumps(self.world.manifest()).encode()
        self.run_order_again(other)
        self.assertIn(b"\nerrand: 10000 files from one\n10000\n", other.log())

    def test_a_log_of_a_gigabyte_a_second_is_shipped_whole_with_bounded_memory_and_disk(self):
        self.need_disk(6 * GIB)
        self.world.order("yes $(printf %0999d 7) | head -c 2000000000 || [ $? = 141 ]")
        finished = self.run_order(self.world)
        self.assertEqual(finished["logLines"], 2_000_001)
        chunks = [key for key in self.world.objects if key.startswith(PREFIX + "log/")]
        self.assertEqual(sorted(int(key[-10:]) for key in chunks)[0], 1)
        last = max(chunks)
        self.assertEqual(int(last[-10:]) + self.world.objects[last].count(b"\n") - 1, 2_000_001)

    def test_a_minute_without_network_in_mid_job_loses_nothing(self):
        world = World()
        self.addCleanup(world.close)
        world.order("echo one; until [ -e go ]; do sleep 0.1; done; echo two >a; echo two", artifacts=["a"], limits={"uploadMs": 300_000})
        process = world.start()
        world.wait_until("the first line", lambda: b"one" in world.log())
        world.is_down = True
        open(os.path.join(world.folder, "base/job/work/go"), "w").close()
        time.sleep(60)
        world.is_down = False
        self.assertEqual(process.wait(60), 0)
        self.assertEqual((world.report("finished")["outcome"], world.artifact("a")), ("succeeded", b"two\n"))
        self.assertTrue(world.log().endswith(b"one\ntwo\n"))


if __name__ == "__main__":
    unittest.main()
