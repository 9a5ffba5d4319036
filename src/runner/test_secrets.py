# Values that stand elsewhere, the job's role, and what of both may be seen.
import json
import time
import unittest
import urllib.parse
from unittest import mock

import runner
from test_world import PREFIX, World, WorldTest

TOKEN = "hf_s3cr3t-Value+with/odd=chars$\"'"
ENVIRONMENT = {
    "PLAIN": "plain",
    "TOKEN": {"ssm": "/errand/token"},
    "PASSWORD": {"secret": "errand/db", "key": "password"},
    "PORT": {"secret": "errand/db", "key": "port"},
    "WHOLE": {"secret": "errand/db"},
}
DATABASE = json.dumps({"user": "u", "password": "p4ss word\u00fc", "port": 5432})


class Resolving(WorldTest):
    def run_with(self, environment, task='printf "%s\n" ok', **more):
        self.world.order(task, environment=environment, **more)
        return self.world.run()

    def test_values_reach_the_job_and_its_set_up_exactly(self):
        self.world.parameters["/errand/token"] = TOKEN
        self.world.secrets["errand/db"] = DATABASE
        script = 'import json, os; json.dump({k: os.environ[k] for k in ["PLAIN", "TOKEN", "PASSWORD", "PORT", "WHOLE"]}, open("out", "w"))'
        report = self.run_with(ENVIRONMENT, f"python3 -c '{script}'", artifacts=["out"])
        self.assertEqual((report["outcome"], report["reason"]), ("succeeded", ""))
        found = {"PLAIN": "plain", "TOKEN": TOKEN, "PASSWORD": "p4ss word\u00fc", "PORT": "5432", "WHOLE": DATABASE}
        self.assertEqual(json.loads(self.world.artifact("out")), found)
        # The secret that three variables need is asked for once.
        self.assertEqual([service for service, _ in self.world.asked], ["ssm", "secretsmanager"])

    def test_ten_parameters_are_asked_for_in_one_call(self):
        names = [f"/errand/p{number}" for number in range(23)]
        self.world.parameters.update(dict.fromkeys(names, "value-of-it"))
        report = self.run_with({f"V{number}": {"ssm": name} for number, name in enumerate(names)})
        self.assertEqual(report["outcome"], "succeeded")
        self.assertEqual(len(self.world.asked), 3)

    def test_what_is_wrong_is_told_by_variable_and_name_before_anything_is_downloaded(self):
        self.world.parameters.update({"/errand/no": PermissionError, "/errand/there": TOKEN})
        self.world.secrets.update({"errand/text": "no json " + TOKEN, "errand/db": DATABASE, "errand/bytes": b"\xff\xfe", "errand/nul": "a\0b"})
        report = self.run_with(
            {
                "A": {"ssm": "/errand/none"},
                "B": {"ssm": "/errand/no"},
                "C": {"ssm": "/errand/there"},
                "D": {"secret": "errand/none"},
                "E": {"secret": "errand/text", "key": "k"},
                "F": {"secret": "errand/db", "key": "k"},
                "G": {"secret": "errand/bytes"},
                "H": {"secret": "errand/nul"},
            }
        )
        problems = [
            "A: there is no parameter /errand/none in us-east-1",
            "B: the parameter /errand/no cannot be read: AccessDeniedException: not authorized on /errand/no",
            "D: there is no secret errand/none in us-east-1",
            'E: the secret errand/text is no JSON object, so it has no key "k"',
            'F: the secret errand/db has no key "k"',
            "G: the secret errand/bytes cannot be read: it holds bytes that are no text",
            "H: the secret errand/nul holds a character that no environment variable can",
        ]
        self.assertEqual((report["outcome"], report["reason"].split("; ")), ("failed", problems))
        self.assertNotIn(("GET", "runs/r/bundle.tar.gz"), self.world.requests)

    def test_throttling_and_broken_connections_are_tried_again(self):
        self.world.parameters["/errand/token"] = TOKEN
        self.world.refusals["ssm"] = [(400, "ThrottlingException", "Rate exceeded"), "reset", (500, "InternalServerError", "")]
        self.assertEqual(self.run_with({"TOKEN": {"ssm": "/errand/token"}})["outcome"], "succeeded")
        self.assertEqual(len(self.world.asked), 4)

    def test_a_service_that_does_not_answer_is_the_reason(self):
        self.world.refusals["ssm"] = [(503, "ServiceUnavailable", "")] * 100
        self.world.order("true", environment={"TOKEN": {"ssm": "/errand/token"}})
        self.world.wait_for_end(self.world.start(runner_patch="\nASK_S = 1\n"))
        reason = "TOKEN: the parameter /errand/token cannot be read: ServiceUnavailable"
        self.assertEqual(self.world.report("finished")["reason"], reason)


class Seen(WorldTest):
    def test_what_a_job_prints_of_its_secrets_is_taken_out_of_the_log_and_of_the_reason(self):
        self.world.parameters["/errand/token"] = TOKEN
        self.world.secrets["errand/key"] = "-----BEGIN KEY-----\nAAAABBBBCCCC\n-----END KEY-----\n"
        script = """
echo "token: $TOKEN!"
echo "$KEY"
for ((i = 0; i < ${#TOKEN}; i++)); do printf %s "${TOKEN:i:1}"; sleep 0.02; done
printf ' %s' "${TOKEN:0:5}"
"""
        environment = {"TOKEN": {"ssm": "/errand/token"}, "KEY": {"secret": "errand/key"}, "SHORT": {"ssm": "/errand/short"}}
        self.world.parameters["/errand/short"] = "1"
        self.world.order(script, environment=environment)
        self.world.run()
        lines = self.world.log().decode().split("\n")
        self.assertEqual(lines[-6:], ["token: ***!", "***", "***", "***", "", "*** hf_s3"])
        self.assertIn("errand: SHORT is too short to be taken out of the log", lines)
        self.everything_is_free_of(TOKEN, "AAAABBBBCCCC")

    def everything_is_free_of(self, *secrets):
        seen = b"\n".join([key.encode() + body for key, body in self.world.objects.items()]) + self.world.console().encode()
        for secret in secrets:
            self.assertNotIn(secret.encode(), seen)

    def test_a_reason_that_quotes_a_tool_shows_no_secret(self):
        self.world.parameters["/errand/token"] = "s3cr3t-index-name"
        task = {"type": "curl", "url": self.world.endpoint + "/s3cr3t-index-name", "output": "x"}
        self.world.order(task, environment={"TOKEN": {"ssm": "/errand/token"}})
        self.assertEqual(self.world.run()["reason"], f"HTTP 400 for {self.world.endpoint}/***")

    def test_secrets_that_begin_alike_or_overlap_show_nothing_of_the_longer_one(self):
        mask = runner.Mask()
        for value in ("abcd", "abcdefgh", "ghxxyyzz"):
            mask.add(value)
        text = b"1 abcdefgh 2 abcd 3 abcdefghxxyyzz 4 abcdefg"
        for size in (1, 2, 3, 5, 7, 100):
            stream = runner.MaskedStream(mask)
            shown = b"".join(stream.feed(text[at : at + size]) for at in range(0, len(text), size)) + stream.end()
            self.assertEqual(shown, b"1 *** 2 *** 3 ***xxyyzz 4 ***efg", size)

    def test_what_is_no_secret_comes_at_once_and_unchanged(self):
        mask = runner.Mask()
        mask.add("secret")
        stream = runner.MaskedStream(mask)
        self.assertEqual([stream.feed(each) for each in (b"se", b"a\n", b"sec\n", b"\xff\0")], [b"", b"sea\n", b"sec\n", b"\xff\0"])


ROLE = "arn:aws:iam::123456789012:role/errand-training"
ASK = """
import json, os, urllib.error, urllib.request
def ask(token, path=""):
    request = urllib.request.Request(os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"] + path, headers={"Authorization": token})
    try:
        return json.load(urllib.request.urlopen(request, timeout=10))
    except urllib.error.HTTPError as error:
        return error.code
token = os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
found = [ask(token), ask("no"), ask(token, "/etc"), os.environ["AWS_REGION"], os.environ["AWS_ENDPOINT_URL"]]
json.dump(found, open("out", "w"))
print(token, found[0]["SecretAccessKey"], found[0]["Token"])
"""


class Role(WorldTest):
    def test_its_keys_are_served_to_whoever_has_the_token_and_are_in_no_log(self):
        self.world.order('python3 ask.py', {"ask.py": ASK}, artifacts=["out"], role=ROLE)
        self.assertEqual(self.world.run()["outcome"], "succeeded")
        keys, *rest = json.loads(self.world.artifact("out"))
        self.assertEqual(rest, [403, 404, "us-east-1", self.world.endpoint])
        names = ["AccessKeyId", "SecretAccessKey", "Token", "RoleArn"]
        self.assertEqual([keys[name] for name in names], ["ASIA1", "role-secret-1", "role-session-1", ROLE])
        asked = dict(urllib.parse.parse_qsl(self.world.asked[0][1].decode()))
        self.assertEqual((asked["RoleArn"], asked["RoleSessionName"], asked["DurationSeconds"]), (ROLE, "20261123-211530-k3f9q2.train.1", "3600"))
        self.assertIn(b"*** *** ***\n", self.world.log())

    def test_one_that_may_not_be_taken_fails_the_job_with_what_sts_says(self):
        self.world.refusals["sts"] = [(403, "AccessDenied", "i-1 is not authorized to perform: sts:AssumeRole")]
        self.world.order("true", role=ROLE)
        reason = f"the role training ({ROLE}) cannot be taken: AccessDenied: i-1 is not authorized to perform: sts:AssumeRole"
        self.assertEqual(self.world.run()["reason"], reason)

    def test_keys_are_renewed_well_before_they_end_and_the_old_ones_serve_while_they_cannot_be(self):
        keys = runner.RoleKeys(self.world.s3(), ROLE, "s", runner.Mask())
        now = time.monotonic()
        taken = []
        for minutes in (0, 29, 31, 60, 65, 95):
            with mock.patch.object(runner.time, "monotonic", lambda minutes=minutes: now + minutes * 60):
                self.world.refusals["sts"] = [(400, "AccessDenied", "")] if minutes == 65 else []
                taken.append(keys.current(0)["AccessKeyId"])
        self.assertEqual(taken, ["ASIA1", "ASIA1", "ASIA2", "ASIA2", "ASIA2", "ASIA4"])


if __name__ == "__main__":
    unittest.main()
