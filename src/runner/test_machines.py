# Whole orders on machines and networks as they are: other Pythons and users, a full disk, too little memory, S3 and the clock
# out of order, and jobs that do as they like.
import glob
import hashlib
import os
import shutil
import subprocess
import threading
import time
import unittest

from test_world import PREFIX, WorldTest

IS_ROOT = os.getuid() == 0


# A Python of that version, or None.
def find_python(version):
    pyenv = glob.glob(os.path.expanduser(f"~/.pyenv/versions/{version}.*/bin/python{version}"))
    for candidate in [*pyenv, shutil.which("python" + version)]:
        ask = [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        if candidate and subprocess.run(ask, capture_output=True, text=True, check=False).stdout.strip() == version:
            return candidate
    return None


class Machine(WorldTest):
    def succeed(self, **options):
        finished = self.world.run(**options)
        self.assertEqual((finished["outcome"], finished["reason"]), ("succeeded", ""), self.world.console())
        return finished

    def lines(self):
        return self.world.log().decode("utf-8", "replace").splitlines()[1:]


class Pythons(Machine):
    SCRIPT = "cat in/a; mkdir -p out/empty; echo $((6 * 7)) >out/answer; ln -s answer out/link; head -c 20000000 /dev/zero >out/big"

    def carry_out(self, version):
        python = find_python(version)
        if not python:
            self.skipTest(f"there is no Python {version} here")
        self.world.order(self.SCRIPT, artifacts=["out"], inputs=[self.world.input("one", {"in/a": b"input\n"})])
        self.succeed(python=python)
        self.assertEqual(self.lines(), ["errand: 1 file from one", "input"])
        entries = {entry["path"]: entry for entry in self.world.manifest()["entries"]}
        self.assertEqual(sorted(entries), ["out", "out/answer", "out/big", "out/empty", "out/link"])
        self.assertEqual(entries["out/big"]["sha256"], hashlib.sha256(bytes(20_000_000)).hexdigest())
        self.assertEqual(self.world.artifact("out/big"), bytes(20_000_000))

    def test_an_order_is_carried_out_by_python_3_9(self):
        self.carry_out("3.9")

    def test_an_order_is_carried_out_by_python_3_10(self):
        self.carry_out("3.10")

    def test_an_order_is_carried_out_by_python_3_11(self):
        self.carry_out("3.11")

    def test_an_order_is_carried_out_by_python_3_12(self):
        self.carry_out("3.12")

    def test_an_order_is_carried_out_by_python_3_13(self):
        self.carry_out("3.13")

    def test_an_order_is_carried_out_by_python_3_14(self):
        self.carry_out("3.14")


class Users(Machine):
    @unittest.skipUnless(IS_ROOT, "only root can become another user")
    def test_an_order_is_carried_out_by_an_ordinary_user(self):
        python = next((each for each in ("/usr/bin/python3", "/usr/local/bin/python3") if os.path.exists(each)), None)
        if not python or subprocess.run([python, "-c", "import sys; sys.exit(sys.version_info < (3, 9))"], check=False).returncode:
            self.skipTest("there is no Python outside of root's home")
        self.world.order("id -u; echo x >a", artifacts=["a"])
        base = os.path.join(self.world.folder, "base")
        os.mkdir(base)
        for path in (self.world.folder, base):
            os.chown(path, 65534, 65534)
        self.succeed(python=python, path="/usr/bin:/bin", user=65534, group=65534, extra_groups=[])
        self.assertEqual(self.lines(), ["65534"])
        self.assertEqual(self.world.artifact("a"), b"x\n")


class Network(Machine):
    def test_without_a_network_at_first_and_in_mid_job_nothing_is_lost(self):
        self.world.is_down = True
        self.world.order("echo one; until [ -e go ]; do sleep 0.05; done; echo two >a; echo two", artifacts=["a"])
        process = self.world.start()
        time.sleep(2)
        self.world.is_down = False
        self.world.wait_until("the first line", lambda: b"one" in self.world.log())
        self.world.is_down = True
        open(os.path.join(self.world.folder, "base/job/work/go"), "w").close()
        time.sleep(2)
        self.world.is_down = False
        self.world.wait_for_end(process)
        self.assertEqual(self.world.report("finished")["outcome"], "succeeded")
        self.assertEqual((self.lines(), self.world.artifact("a")), (["one", "two"], b"two\n"))

    def test_a_clock_that_is_hours_off_is_corrected_by_the_answers(self):
        for ahead in (-7200, 7200):
            with self.subTest(ahead):
                self.world.clock_ahead = ahead
                self.world.order("echo x >a", artifacts=["a"])
                self.succeed()
                self.world.close()
                self.setUp()

    def test_credentials_that_expire_in_mid_job_are_renewed_from_the_metadata_service(self):
        self.world.order("echo one; until [ -e go ]; do sleep 0.05; done; echo x >a", artifacts=["a"])
        process = self.world.start()
        self.world.wait_until("the first line", lambda: b"one" in self.world.log())
        self.world.identity = "AKID2"
        open(os.path.join(self.world.folder, "base/job/work/go"), "w").close()
        self.world.wait_for_end(process)
        self.assertEqual(self.world.report("finished")["outcome"], "succeeded")
        self.assertEqual(self.world.artifact("a"), b"x\n")

    def test_a_runner_that_is_killed_takes_the_machine_along_long_before_the_deadline(self):
        self.world.order("echo one; sleep 300")
        process = self.world.start()
        self.world.wait_until("the first line", lambda: b"one" in self.world.log())
        self.assertFalse(self.world.is_powered_off())
        process.kill()
        process.wait()
        self.world.wait_until("the power-off", self.world.is_powered_off)

    def test_without_storage_until_the_deadline_the_machine_goes_off_all_the_same(self):
        limits = {"setupMs": 1000, "runMs": 500, "uploadMs": 500, "graceMs": 500}
        self.world.order("echo one; sleep 30", limits=limits)
        process = self.world.start(runner_patch="MARGIN_S = 1")
        self.world.wait_until("the first line", lambda: b"one" in self.world.log())
        self.world.is_down = True
        try:
            self.world.wait_until("the power-off", self.world.is_powered_off)
        finally:
            process.kill()
            process.wait()


class Resources(Machine):
    # A file system of eight megabytes below the runner's folder.
    def small_disk(self):
        base = os.path.join(self.world.folder, "base")
        os.mkdir(base)
        words = ["mount", "-t", "tmpfs", "-o", "size=12m", "errand-test", base]
        if not IS_ROOT or subprocess.run(words, capture_output=True, check=False).returncode:
            self.skipTest("a small file system can be mounted by root alone")
        self.addCleanup(subprocess.run, ["umount", "--lazy", base], check=False)

    def test_a_job_that_fills_the_disk_fails_for_that_with_its_log_and_what_it_made(self):
        self.small_disk()
        self.world.order("echo x >a; echo begin; cat /dev/zero >full || { echo no more >&2; exit 9; }", artifacts=["a"])
        finished = self.world.run()
        self.assertEqual((finished["outcome"], finished["reason"]), ("failed", "exit code 9 (the disk is full)"))
        self.assertEqual((self.lines()[0], self.lines()[-2]), ("begin", "no more"))
        self.assertEqual(self.world.artifact("a"), b"x\n")
        self.assertEqual(self.world.manifest()["artifacts"], [{"path": "a", "bytes": 2, "files": 1}])

    def test_a_bundle_that_does_not_fit_on_the_disk_is_the_reason(self):
        self.small_disk()
        self.world.order("true", {"big": "0" * 13_000_000})
        self.assertEqual(self.world.run()["reason"], "the disk is full")
        self.assertFalse(self.world.manifest()["complete"])

    # The runner in a group of so much memory, however this machine does that.
    def memory_group(self):
        name = "errand-test-" + os.path.basename(self.world.folder)
        for root, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
            group = os.path.join(root, name)
            try:
                os.mkdir(group)
                self.addCleanup(os.rmdir, group)
                with open(os.path.join(group, limit), "w") as file:
                    file.write(str(100 << 20))
                return os.path.join(group, "cgroup.procs")
            except OSError:
                continue
        return self.skipTest("memory groups can be made by root alone")

    def test_a_job_that_the_kernel_kills_for_its_memory_has_that_as_its_reason(self):
        group = self.memory_group()
        # As on a machine, the kernel is to take the job and not the runner.
        files = {"hungry.py": "x = []\nwhile True: x.append(bytes([1]) * 1000000)"}
        hungry = "echo x >a; echo 500 >/proc/self/oom_score_adj; "
        for script, reason in (("exec python3 hungry.py", "killed by SIGKILL"), ("python3 hungry.py", "exit code 137")):
            self.world.order(hungry + script, files, artifacts=["a"])
            join = f"import os\nwith open({group!r}, 'w') as file: file.write(str(os.getpid()))"
            finished = self.world.run(patch=join)
            self.assertEqual((finished["outcome"], finished["reason"]), ("failed", "out of memory: " + reason))
            self.assertEqual(self.world.artifact("a"), b"x\n")
            self.world.close()
            self.setUp()


class Willful(Machine):
    def test_a_job_that_closes_its_output_goes_on_and_a_child_of_it_may_still_speak(self):
        self.world.order("echo one; (sleep 0.3; echo child) & exec >&- 2>&-; sleep 0.6; echo x >a", artifacts=["a"])
        self.succeed()
        self.assertEqual(self.lines(), ["one", "child"])

    @unittest.skipUnless(os.path.isdir("/proc/self"), "orphans are found in /proc")
    def test_what_detaches_twice_and_hides_its_environment_is_ended_before_the_upload(self):
        detach = "import os\nfor _ in range(2):\n  if os.fork(): os._exit(0)\n  os.setsid()\n"
        writer = "i=0; while :; do i=$((i + 1)); echo $i >{0}/data/a; done"
        script = f"mkdir data\ncat >d.py <<'END'\n{detach}os.execve('/bin/sh', ['sh', '-c', {writer.format('PWD')!r}.replace('PWD', os.getcwd())], {{}})\nEND\n"
        self.world.order(script + "python3 d.py; until [ -s data/a ]; do sleep 0.01; done; echo done", artifacts=["data"])
        self.succeed()
        path = os.path.join(self.world.folder, "base/job/work/data/a")
        with open(path, "rb") as file:
            content = file.read()
        time.sleep(0.2)
        with open(path, "rb") as file:
            self.assertEqual(file.read(), content)
        self.assertEqual(self.world.artifact("data/a"), content)

    def test_an_artifact_that_has_become_a_link_to_elsewhere_is_not_followed(self):
        os.mkdir(os.path.join(self.world.folder, "etc"))
        with open(os.path.join(self.world.folder, "etc/shadow"), "w") as file:
            file.write("secret")
        self.world.order(f"mkdir data; echo x >data/a; sleep 0.5; rm -r data; ln -s {self.world.folder}/etc data", artifacts=["data"])
        finished = self.world.run()
        self.assertEqual(finished["outcome"], "failed")
        self.assertEqual(finished["reason"], 'artifact "data" does not exist after a successful run')
        self.assertEqual(finished["notes"], [f"data is a link to {self.world.folder}/etc, out of its artifact, and is left out"])
        self.assertEqual(self.world.manifest()["entries"], [])
        self.assertNotIn(b"secret", self.world.objects.values())

    def test_a_job_that_moves_its_whole_working_directory_away_has_no_artifacts_there(self):
        self.world.order("cd ..; mv work gone; mkdir elsewhere; echo secret >elsewhere/a; ln -s elsewhere work", artifacts=["a"])
        self.assertEqual(self.world.run()["reason"], 'artifact "a" does not exist after a successful run')
        self.assertNotIn(b"secret\n", self.world.objects.values())

    def test_odd_names_modes_links_and_empty_folders_are_in_the_manifest_as_they_are(self):
        script = """
import os
os.makedirs(b"out/empty/er")
for name in (b"new\\nline", b"\\xff\\xfe", b" ", b"-rf", b"%41", b"a'\\"$`\\\\", "\\u00fc\\U0001f600".encode()):
    with open(b"out/" + name, "wb") as file: file.write(name)
    os.chmod(b"out/" + name, 0o751)
os.symlink(b"\\xff\\xfe", b"out/link")
os.chmod("out/empty", 0o700)
"""
        self.world.order(f"python3 - <<'END'\n{script}END", artifacts=["out"])
        self.succeed()
        entries = {os.fsencode(entry["path"]): entry for entry in self.world.manifest()["entries"]}
        self.assertEqual(len(entries), 11)
        for path, entry in entries.items():
            if entry["type"] == "file":
                content = self.world.artifact(entry.get("key", entry["path"]))
                self.assertEqual((b"out/" + content, entry["mode"]), (path, 0o751))
        self.assertEqual(os.fsencode(entries[b"out/link"]["target"]), b"\xff\xfe")
        self.assertEqual((entries[b"out/empty"]["mode"], entries[b"out/empty/er"]["type"]), (0o700, "directory"))

    def test_a_job_that_writes_faster_than_is_shipped_has_to_wait_and_loses_nothing(self):
        release = threading.Event()
        self.world.holds[PREFIX + "log"] = release
        writer = "import os\nline = b'x' * 999 + b'\\n'\nfor i in range(20000):\n  os.write(1, line)\n  os.truncate('count', i)\n"
        self.world.order(f": >count; cat >w.py <<'END'\n{writer}END\nexec python3 w.py")
        process = self.world.start(runner_patch="LOG_BYTES = 4 << 20; CHUNK_BYTES = 1 << 20; LINE_BYTES = 2 << 20")
        counter = os.path.join(self.world.folder, "base/job/work/count")

        def count():
            return os.path.getsize(counter)

        self.world.wait_until("the job to write", lambda: os.path.exists(counter))
        previous = [-1]

        def is_still():
            time.sleep(0.3)
            previous.append(count())
            return previous[-1] == previous[-2] > 1000

        self.world.wait_until("the job to wait", is_still)
        # What is in memory, on its way and in the pipe.
        self.assertLess(count(), 8_000)
        release.set()
        self.world.wait_for_end(process)
        self.assertEqual(self.world.report("finished")["outcome"], "succeeded")
        self.assertEqual(len(self.world.log()), 20_000_000 + len(self.world.chunks()[1].split(b"\n")[0]) + 1)
        self.assertEqual(self.world.report("finished")["logLines"], 20_001)

    def test_a_line_without_end_is_broken_and_does_not_hold_the_job(self):
        self.world.order("head -c 9000000 /dev/zero; echo; echo after")
        self.world.run(runner_patch="LOG_BYTES = 4 << 20; CHUNK_BYTES = 1 << 20; LINE_BYTES = 2 << 20")
        body = self.world.log().split(b"\n", 1)[1]
        self.assertEqual(body.replace(b"\n", b"").replace(b"after", b""), bytes(9_000_000))
        self.assertTrue(body.endswith(b"\nafter\n"))
        self.assertLessEqual(max(len(line) for line in body.split(b"\n")), 3 << 20)
        first = 1
        for line, chunk in self.world.chunks().items():
            self.assertEqual(line, first)
            first += chunk.count(b"\n")

    def test_while_it_runs_the_manifest_tells_what_there_is_already(self):
        self.world.order("echo x >a; until [ -e go ]; do sleep 0.05; done", artifacts=["a"])
        process = self.world.start()
        self.world.wait_until("a manifest", lambda: PREFIX + "manifest.json" in self.world.objects)
        manifest = self.world.manifest()
        self.assertEqual((manifest["complete"], manifest["entries"][0]["sha256"]), (False, hashlib.sha256(b"x\n").hexdigest()))
        open(os.path.join(self.world.folder, "base/job/work/go"), "w").close()
        self.world.wait_for_end(process)
        self.assertTrue(self.world.manifest()["complete"])
        manifests = [key for method, key in self.world.requests if method == "PUT" and key.endswith("manifest.json")]
        self.assertLessEqual(len(manifests), 4)

    def test_a_checkpoint_that_is_rewritten_during_its_upload_comes_as_it_was_last(self):
        # Nothing but the content tells them apart.
        script = """
            printf old >checkpoint; touch -d @1 checkpoint
            until [ -e go ]; do sleep 0.02; done
            printf new >checkpoint; touch -d @1 checkpoint; echo rewritten"""
        self.world.order(script, artifacts=["checkpoint"])
        key, release = PREFIX + "artifacts/checkpoint", threading.Event()
        self.world.holds[key] = release
        process = self.world.start()
        self.world.wait_until("the upload", lambda: key in self.world.held)
        open(os.path.join(self.world.folder, "base/job/work/go"), "w").close()
        self.world.wait_until("the second checkpoint", lambda: b"rewritten" in self.world.log())
        release.set()
        self.world.wait_for_end(process)
        self.assertEqual(self.world.report("finished")["outcome"], "succeeded")
        self.assertEqual(self.world.artifact("checkpoint"), b"new")
        self.assertEqual(self.world.manifest()["entries"][0]["sha256"], hashlib.sha256(b"new").hexdigest())

    def test_a_machine_that_ends_between_an_upload_and_its_manifest_leaves_a_set_whose_changed_file_is_known(self):
        self.world.order("echo 1 >a; echo 1 >b; until [ -e go ]; do sleep 0.05; done; echo 2 >a; sleep 300", artifacts=["a", "b"])
        process = self.world.start()
        self.world.wait_until("a manifest", lambda: len(self.entries()) == 2)
        self.world.faults[("PUT", PREFIX + "manifest.json")] = [503] * 1000
        open(os.path.join(self.world.folder, "base/job/work/go"), "w").close()
        self.world.wait_until("the new file", lambda: self.world.artifact("a") == b"2\n")
        process.kill()
        process.wait()
        self.assertFalse(self.world.manifest()["complete"])
        changed = [path for path, sha256 in self.entries().items() if hashlib.sha256(self.world.artifact(path)).hexdigest() != sha256]
        self.assertEqual(changed, ["a"])

    def entries(self):
        if PREFIX + "manifest.json" not in self.world.objects:
            return {}
        return {entry["path"]: entry["sha256"] for entry in self.world.manifest()["entries"]}


if __name__ == "__main__":
    unittest.main()
