# Whole orders: the real boot.py and runner as a process, against the stub.
import http.server
import json
import os
import signal
import sys
import threading
import time
import unittest

import runner
from test_world import OTHER, PREFIX, TOKEN, WorldTest

HERE = "%d.%d" % sys.version_info[:2]


def python(script="main.py", *words, version=HERE, **more):
    return {"type": "python", "version": version, "words": [script, *words], **more}


class Outcomes(WorldTest):
    def expect(self, outcome, reason, finished):
        self.assertEqual((finished["outcome"], finished["reason"]), (outcome, reason), self.world.console())

    def test_a_success_is_reported_with_its_artifacts_phases_and_log(self):
        self.world.order("echo hello; echo err >&2; mkdir out; echo x >out/a", artifacts=["out"])
        finished = self.world.run()
        self.expect("succeeded", "", finished)
        self.assertEqual(finished["exitCode"], 0)
        self.assertEqual(finished["artifacts"], [{"path": "out", "bytes": 2, "files": 1}])
        self.assertEqual(sorted(finished["phases"]), ["inputs", "run", "setup", "upload"])
        self.assertEqual(self.world.log(), b"errand: train, attempt 1, on i-1\nhello\nerr\n")
        self.assertEqual(finished["logLines"], 3)
        self.assertTrue(self.world.manifest()["complete"])
        self.assertEqual(self.world.report("ran")["exitCode"], 0)
        self.assertGreaterEqual(self.world.report("started")["bootMs"], 0)
        claim = self.world.json(f"launches/{TOKEN}/0.claim")
        self.assertEqual((claim["by"], claim["instanceId"]), ("runner", "i-1"))
        self.assertEqual(self.world.cap.wait(5), -signal.SIGKILL)
        reports = [key.split(".")[2] for method, key in self.world.requests if method == "PUT" and "reports" in key]
        self.assertEqual(reports, ["started", "ran", "finished"])

    def test_an_exit_code_is_the_reason_and_artifacts_are_kept_as_partial(self):
        self.world.order("echo x >a; exit 3", artifacts=["a"])
        finished = self.world.run()
        self.expect("failed", "exit code 3", finished)
        self.assertEqual(finished["exitCode"], 3)
        self.assertFalse(self.world.manifest()["complete"])
        self.assertEqual(self.world.artifact("a"), b"x\n")
        self.assertTrue(self.world.log().endswith(b"errand: failed: exit code 3\n"))

    def test_a_signal_is_the_reason(self):
        self.world.order("kill -SEGV $$")
        finished = self.world.run()
        self.expect("failed", "killed by SIGSEGV", finished)
        self.assertEqual(finished["signal"], "SIGSEGV")
        self.assertNotIn("exitCode", finished)

    def test_all_declared_artifacts_that_do_not_exist_are_named(self):
        self.world.order("echo x >a", artifacts=["b", "a", "*.bin", "data"])
        reason = 'artifacts "b", "*.bin" and "data" do not exist after a successful run'
        self.expect("failed", reason, self.world.run())

    def test_a_declared_artifact_that_does_not_exist_fails_a_success_by_name(self):
        self.world.order("echo x >a", artifacts=["a", "data"])
        self.expect("failed", 'artifact "data" does not exist after a successful run', self.world.run())
        self.assertEqual(self.world.report("finished")["exitCode"], 0)
        self.assertEqual(self.world.artifact("a"), b"x\n")

    def test_commands_stop_at_the_first_that_fails(self):
        self.world.order("false | true\necho not reached")
        self.expect("failed", "exit code 1", self.world.run())
        self.assertNotIn(b"not reached", self.world.log())

    def test_a_working_directory_that_is_not_there_is_named(self):
        self.world.order("true", working_dir="src")
        self.expect("failed", "the working directory src is not in the bundle", self.world.run())

    def test_the_environment_arrives_exactly_and_holds_no_credentials(self):
        odd = {"A": "$HOME `x` \"'\\ \n\tü", "PYTHONPATH": "src", "EMPTY": ""}
        script = "import os, json; print(json.dumps(dict(os.environ)))"
        self.world.order(python(), {"main.py": script}, environment=odd)
        self.expect("succeeded", "", self.world.run())
        found = json.loads(self.world.log().splitlines()[-1])
        self.assertEqual({name: found[name] for name in odd}, odd)
        self.assertEqual((found["ERRAND_JOB"], found["ERRAND_ATTEMPT"]), ("train", "1"))
        self.assertEqual([name for name in found if name.startswith("AWS_")], [])

    def test_inputs_lie_in_the_working_directory_and_may_be_artifacts_again(self):
        source = self.world.input("prepare", {"data": None, "data/a": b"from prepare"})
        self.world.order("cat data/a; echo more >data/b", artifacts=["data"], inputs=[source])
        finished = self.world.run()
        self.expect("succeeded", "", finished)
        self.assertEqual(finished["artifacts"], [{"path": "data", "bytes": 17, "files": 2}])
        self.assertIn(b"errand: 1 file from prepare\nfrom prepare", self.world.log())

    def test_inputs_lie_in_a_working_directory_below_the_root_too(self):
        source = self.world.input("prepare", {"data": None, "data/a": b"from prepare"})
        files = {"src/data/b": "of the bundle"}
        self.world.order("ls data", files, artifacts=["data"], inputs=[source], working_dir="src")
        self.expect("succeeded", "", self.world.run())
        self.assertTrue(self.world.log().endswith(b"\na\nb\n"))

    def expect_refusal_of_a_wrong_input(self, sums):
        source = self.world.input("prepare", {"a": b"right"}, sums)
        self.world.objects[source["prefix"] + "a"] = b"wrong"
        self.world.order("echo ran", inputs=[source])
        self.expect("failed", "input prepare: a is not what was uploaded", self.world.run())
        self.assertNotIn(f"inbox/reports/{TOKEN}.0.ran.json", self.world.objects)

    def test_an_input_that_is_not_what_was_uploaded_fails_before_the_command(self):
        self.expect_refusal_of_a_wrong_input(["crc32", "sha256"])

    def test_an_input_of_an_older_set_is_known_by_its_sha256(self):
        self.expect_refusal_of_a_wrong_input(["sha256"])

    def test_a_bundle_that_is_no_archive_fails_with_its_reason(self):
        self.world.order("true")
        self.world.objects["runs/r/bundle.tar.gz"] = b"no archive"
        self.assertIn("the bundle cannot be unpacked", self.world.run()["reason"])

    def test_a_bug_of_the_runner_is_reported_and_its_traceback_logged(self):
        self.world.order("true")
        finished = self.world.run(runner_patch="Tree = None")
        self.assertRegex(finished["reason"], "^the runner broke: TypeError")
        self.assertIn(b"errand: Traceback", self.world.log())

    def test_storage_that_is_down_for_a_while_loses_nothing(self):
        self.world.order("echo hello; echo x >a", artifacts=["a"])
        for start in ("inbox/", PREFIX + "artifacts", PREFIX + "log", PREFIX + "manifest"):
            self.world.faults[("PUT", start)] = [500, "reset", 503]
        self.expect("succeeded", "", self.world.run())
        self.assertEqual(self.world.log(), b"errand: train, attempt 1, on i-1\nhello\n")
        self.assertEqual(self.world.artifact("a"), b"x\n")


class Claims(WorldTest):
    def test_an_order_that_another_holds_is_not_carried_out(self):
        for claim in ({"by": "daemon"}, {"by": "runner", "instanceId": "i-2"}):
            with self.subTest(claim):
                self.world.order("true")
                self.world.objects[f"launches/{TOKEN}/0.claim"] = json.dumps(claim).encode()
                self.world.wait_for_end(self.world.start())
                self.assertEqual([key for key in self.world.objects if key.startswith("inbox/")], [])
                self.world.close()
                self.setUp()

    def test_a_claim_whose_reply_was_lost_is_still_ours(self):
        self.world.order("true")
        self.world.lost[f"launches/{TOKEN}/0.claim"] = True
        self.assertEqual(self.world.run()["outcome"], "succeeded")

    def test_without_an_order_the_machine_gives_up(self):
        self.world.wait_for_end(self.world.start(patch="boot.GIVE_UP_S = 0.3"))
        self.assertIn("NoSuchKey", self.world.console())
        self.assertEqual([key for key in self.world.objects if "claim" in key], [])

    def test_when_it_is_refused_the_machine_gives_up(self):
        self.world.order("true")
        self.world.faults[("GET", "launches/")] = [403] * 1000
        self.world.wait_for_end(self.world.start(patch="boot.GIVE_UP_S = 0.3"))
        self.assertIn("HTTP 403", self.world.console())


class Endings(WorldTest):
    STUBBORN = "trap '' TERM; echo started; echo partial >a; setsid sleep 300 & while :; do sleep 0.1; done"

    def stop(self, reason):
        process = self.world.start()
        self.world.wait_until("the job's first line", lambda: b"started" in self.world.log())
        body = json.dumps({"format": 1, "reason": reason, "at": 0}).encode()
        self.world.objects[f"launches/{TOKEN}/0.stop"] = body
        self.world.wait_for_end(process)
        return self.world.report("finished")

    def job_processes(self):
        mark = b"ERRAND_JOB=train"
        found = []
        for pid in os.listdir("/proc"):
            try:
                with open(f"/proc/{int(pid)}/environ", "rb") as file:
                    content = file.read().split(b"\0")
                if mark in content and ("HOME=" + self.world.folder + "/base/job/home").encode() in content:
                    found.append(pid)
            except (ValueError, OSError):
                pass
        return found

    def test_a_job_that_ignores_sigterm_is_killed_with_all_that_it_started(self):
        self.world.order(self.STUBBORN, artifacts=["a"])
        finished = self.stop("cancelled")
        self.assertEqual((finished["outcome"], finished["reason"]), ("cancelled", "cancelled"))
        self.assertEqual(finished["signal"], "SIGKILL")
        self.assertEqual(self.world.artifact("a"), b"partial\n")
        self.assertFalse(self.world.manifest()["complete"])
        self.assertEqual(self.job_processes(), [])

    def test_a_job_that_listens_to_sigterm_ends_its_own_way(self):
        self.world.order("trap 'echo bye; exit 7' TERM; echo started; while :; do sleep 0.05; done", limits={"graceMs": 20_000})
        finished = self.stop("deadline")
        self.assertEqual((finished["outcome"], finished["exitCode"]), ("timed-out", 7))
        self.assertIn(b"bye\n", self.world.log())

    def test_max_duration_ends_a_job_as_timed_out_with_its_artifacts(self):
        self.world.order(self.STUBBORN, artifacts=["a"], limits={"runMs": 1000})
        finished = self.world.run()
        self.assertEqual(finished["outcome"], "timed-out")
        self.assertEqual(finished["reason"], "ran longer than max_duration (1s)")
        self.assertEqual(self.world.artifact("a"), b"partial\n")
        self.assertEqual(self.job_processes(), [])

    def test_what_a_finished_job_left_running_is_ended(self):
        self.world.order("setsid sleep 300 >/dev/null 2>&1 & echo done")
        self.assertEqual(self.world.run()["outcome"], "succeeded")
        self.assertEqual(self.job_processes(), [])

    def test_a_machine_that_shuts_down_saves_what_it_can_and_leaves_the_rest_to_ec2(self):
        self.world.order("echo started; echo partial >a; sleep 300", artifacts=["a"])
        process = self.world.start()
        self.world.wait_until("the job's first line", lambda: b"started" in self.world.log())
        process.send_signal(signal.SIGTERM)
        self.world.wait_for_end(process)
        self.assertEqual(self.world.artifact("a"), b"partial\n")
        self.assertNotIn(f"inbox/reports/{TOKEN}.0.finished.json", self.world.objects)

    def test_setup_that_takes_too_long_fails(self):
        with open(os.path.join(self.world.folder, "python3.99"), "w") as file:
            file.write("#!/bin/sh\nsleep 60")
        os.chmod(file.name, 0o755)
        self.world.order(python(version="3.99"), {"main.py": ""}, limits={"setupMs": 500})
        finished = self.world.run(path=self.world.folder + ":/usr/bin:/bin")
        self.assertEqual(finished["reason"], "inputs and set-up took longer than 500ms")
        self.assertEqual(self.job_processes(), [])

    def test_a_runner_that_is_stuck_is_powered_off_at_its_deadline(self):
        self.world.order("true", limits={"setupMs": 500, "runMs": 500, "uploadMs": 500, "graceMs": 500})
        process = self.world.start(runner_patch="MARGIN_S = 0; Host.prepare = lambda self: time.sleep(60)")
        try:
            self.world.wait_until("the power-off", self.world.is_powered_off)
            self.assertIsNone(process.poll())
        finally:
            process.kill()
            process.wait()


class WhileItRuns(WorldTest):
    def test_log_heartbeat_and_changed_artifacts_arrive_before_the_end(self):
        self.world.order("mkdir d; echo 1 >d/a; echo started; while [ ! -e stop ]; do sleep 0.02; done", artifacts=["d"])
        process = self.world.start()
        self.world.wait_until("a line of the log", lambda: b"started" in self.world.log())
        self.world.wait_until("an artifact", lambda: PREFIX + "artifacts/d/a" in self.world.objects)
        self.world.wait_until("a heartbeat of the run", lambda: self.beat().get("phase") == "run")
        beat = self.beat()
        self.assertGreater(beat["diskFreeBytes"], 0)
        self.assertGreater(beat["memoryAvailableBytes"], 0)
        work = os.path.join(self.world.folder, "base/job/work")
        with open(os.path.join(work, "d/a"), "w") as file:
            file.write("2")
        self.world.wait_until("the change", lambda: self.world.artifact("d/a") == b"2")
        open(os.path.join(work, "stop"), "w").close()
        self.world.wait_for_end(process)
        self.assertEqual(self.world.report("finished")["outcome"], "succeeded")

    def beat(self):
        return json.loads(self.world.objects.get(PREFIX + "heartbeat.json", b"{}"))

    def test_the_first_output_is_there_long_before_the_interval(self):
        self.world.order("echo first; sleep 30", every={"logMs": 20_000})
        process = self.world.start()
        started = time.monotonic()
        self.world.wait_until("the first line", lambda: b"first" in self.world.log())
        self.assertLess(time.monotonic() - started, 15)
        process.kill()
        process.wait()


class Python(WorldTest):
    # The folder may hold names of the standard library.
    FILES = {"venv.py": "oops", "zipfile.py": "oops", "main.py": "import sys; print(sys.argv[1:], sys.prefix != sys.base_prefix, '%d.%d' % sys.version_info[:2])"}

    def test_a_script_runs_with_its_words_in_an_environment_of_its_own(self):
        self.world.order(python("main.py", "--a", "b c"), self.FILES)
        self.assertEqual(self.world.run(path=self.with_python())["outcome"], "succeeded")
        self.assertIn(f"['--a', 'b c'] True {HERE}\n".encode(), self.world.log())

    def with_python(self):
        return os.path.dirname(sys.executable) + os.pathsep + "/usr/bin:/bin"

    def test_a_missing_script_is_named_before_anything_is_prepared(self):
        self.world.order(python("train.py"), self.FILES)
        self.assertEqual(self.world.run()["reason"], "train.py is not in the bundle")
        self.assertFalse(os.path.exists(os.path.join(self.world.folder, "base/job/env")))

    def test_a_missing_requirements_file_is_named(self):
        self.world.order(python(requirements={"file": "requirements.txt"}), self.FILES)
        self.assertEqual(self.world.run()["reason"], "requirements.txt is not in the bundle")

    def test_a_version_that_is_not_to_be_had_is_replaced_only_where_that_is_allowed(self):
        self.world.order(python(version=OTHER), self.FILES)
        finished = self.world.run(path="/usr/bin:/bin")
        note = f"python {OTHER} is not to be had here: using the host's {sys.version.split()[0]}"
        self.assertEqual((finished["outcome"], finished["notes"]), ("succeeded", [note]))
        self.assertIn(f"errand: {note}\n".encode(), self.world.log())

    def test_a_version_that_is_not_to_be_had_fails_elsewhere(self):
        self.world.order(python(version=OTHER), self.FILES, allows_host_python=False)
        self.expect_no_python(OTHER)

    def test_no_other_version_stands_in_for_one_that_does_not_exist(self):
        self.world.order(python(version="3.99"), self.FILES)
        self.expect_no_python("3.99")

    def expect_no_python(self, version):
        cure = f'an operator can bring it by "errand tools add python {version}"'
        reason = f"python {version} is not to be had here: there is no python{version} on PATH, and there is no uv on PATH; {cure}"
        finished = self.world.run(path="/usr/bin:/bin")
        self.assertEqual((finished["outcome"], finished["reason"], finished["notes"]), ("failed", reason, []))

    def test_a_name_that_starts_another_version_is_not_believed(self):
        folder = os.path.join(self.world.folder, "shims")
        os.mkdir(folder)
        os.symlink(sys.executable, os.path.join(folder, "python3.99"))
        self.world.order(python(version="3.99"), self.FILES, allows_host_python=False)
        reason = f"^python 3.99 is not to be had here: this is Python {sys.version.split()[0]}, and there is no uv"
        self.assertRegex(self.world.run(path=folder + ":/usr/bin:/bin")["reason"], reason)

    def test_a_python_that_cannot_be_started_gives_way_to_the_next(self):
        with open(os.path.join(self.world.folder, "python" + HERE), "w") as file:
            file.write("#!/nonexistent/python")
        os.chmod(file.name, 0o755)
        self.world.order(python(), self.FILES, allows_host_python=False)
        self.assertEqual(self.world.run(path=self.world.folder + os.pathsep + self.with_python())["outcome"], "succeeded")

    def test_the_path_of_the_job_decides_nothing_about_which_python_it_gets(self):
        evil = os.path.join(self.world.folder, "evil")
        os.mkdir(evil)
        for name in ("python" + HERE, "uv"):
            with open(os.path.join(evil, name), "w") as file:
                file.write("#!/bin/sh\necho asked >&2\nexit 0\n")
            os.chmod(file.name, 0o755)
        script = "import os; print(os.environ['PATH'])"
        self.world.order(python(), {"main.py": script}, environment={"PATH": evil}, allows_host_python=False)
        self.assertEqual(self.world.run(path=self.with_python())["outcome"], "succeeded")
        self.assertIn(f"\n{evil}\n".encode(), self.world.log())

    def test_requirements_that_cannot_be_resolved_are_the_reason(self):
        packages = ["--no-index", "--find-links=/nonexistent", "no-such-package-x==1"]
        self.world.order(python(requirements={"packages": packages}), self.FILES)
        reason = self.world.run(path=self.with_python())["reason"]
        self.assertRegex(reason, "^the requirements cannot be installed: .*no-such-package-x")


class Curl(WorldTest):
    def serve(self, status, body):
        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return f"http://127.0.0.1:{server.server_address[1]}/input.txt"

    def test_a_file_is_downloaded_as_an_artifact(self):
        url = self.serve(200, b"text")
        self.world.order({"type": "curl", "url": url, "output": "raw/input.txt"}, artifacts=["raw"])
        self.assertEqual(self.world.run()["outcome"], "succeeded")
        self.assertEqual(self.world.artifact("raw/input.txt"), b"text")

    def test_an_http_error_is_the_reason(self):
        url = self.serve(404, b"")
        self.world.order({"type": "curl", "url": url, "output": "raw/input.txt"}, artifacts=["raw"])
        self.assertEqual(self.world.run()["reason"], f"HTTP 404 for {url}")
        self.assertIn(b"errand: HTTP 404", self.world.log())


class Texts(unittest.TestCase):
    def test_durations_read_as_users_write_them(self):
        table = {5_400_000: "90m", 86_400_000: "24h", 45_000: "45s", 1_500: "1500ms"}
        self.assertEqual({each: runner.duration(each) for each in table}, table)

    def test_the_complaint_of_a_tool_is_its_last_error(self):
        self.assertEqual(runner.complaint("a\nERROR: first\nERROR: no such package\nnotice: new pip"), "no such package")
        self.assertEqual(runner.complaint("a\nb\n"), "b")


if __name__ == "__main__":
    unittest.main()
