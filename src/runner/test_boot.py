import hashlib
import http.client
import os
import socket
import time
import unittest

import boot
from test_world import WorldTest

CREDENTIALS = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
AT = 1369353600  # 2013-05-24, as in the examples that AWS publishes for Signature Version 4 and S3.
EMPTY = hashlib.sha256(b"").hexdigest()


class PublishedSignatures(unittest.TestCase):
    def check(self, method, path, query, headers, signature):
        headers = {"host": "examplebucket.s3.amazonaws.com", "x-amz-content-sha256": EMPTY, **headers}
        signed = boot.sign(CREDENTIALS, "us-east-1", method, path, query, headers, AT)
        self.assertTrue(signed["authorization"].endswith("Signature=" + signature), signed["authorization"])

    def test_a_ranged_get_is_signed_as_published(self):
        signature = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        self.check("GET", "/test.txt", {}, {"range": "bytes=0-9"}, signature)

    def test_a_put_with_an_encoded_name_is_signed_as_published(self):
        headers = {
            "date": "Fri, 24 May 2013 00:00:00 GMT",
            "x-amz-storage-class": "REDUCED_REDUNDANCY",
            "x-amz-content-sha256": hashlib.sha256(b"Welcome to Amazon S3.").hexdigest(),
        }
        signature = "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        self.check("PUT", "/test%24file.text", {}, headers, signature)

    def test_a_query_is_signed_as_published(self):
        lifecycle = "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
        self.check("GET", "/", {"lifecycle": ""}, {}, lifecycle)
        listing = "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        self.check("GET", "/", {"prefix": "J", "max-keys": "2"}, {}, listing)


class Addresses(unittest.TestCase):
    def test_a_bucket_has_its_own_host_unless_there_is_an_endpoint_or_a_dot(self):
        own = boot.S3("b-1", "eu-west-1", "", None)
        self.assertEqual((own.endpoint.geturl(), own.root), ("https://b-1.s3.eu-west-1.amazonaws.com", "/"))
        dotted = boot.S3("b.1", "eu-west-1", "", None)
        self.assertEqual((dotted.endpoint.geturl(), dotted.root), ("https://s3.eu-west-1.amazonaws.com", "/b.1/"))
        china = boot.S3("b-1", "cn-north-1", "", None)
        self.assertEqual(china.endpoint.hostname, "b-1.s3.cn-north-1.amazonaws.com.cn")
        local = boot.S3("b-1", "eu-west-1", "http://127.0.0.1:4577", None)
        self.assertEqual((local.endpoint.netloc, local.root), ("127.0.0.1:4577", "/b-1/"))


class Client(WorldTest):
    def setUp(self):
        super().setUp()
        self.s3 = self.world.s3()
        self.soon = time.monotonic() + 20

    def test_odd_names_arrive_as_they_are(self):
        for key in ("a b/ü+%25&=?#~.txt", "x/*'()!@:$,;"):
            self.s3.put(key, key.encode(), self.soon)
            self.assertEqual(self.s3.get(key, self.soon), key.encode())

    def test_a_server_error_and_a_reset_are_tried_again(self):
        self.world.faults[("PUT", "a")] = [500, 503, "reset", "reset"]
        self.s3.put("a", b"1", self.soon)
        self.assertEqual(self.world.objects["a"], b"1")

    def test_a_missing_object_is_not_tried_again(self):
        with self.assertRaises(boot.S3Error) as caught:
            self.s3.get("nothing", self.soon)
        self.assertEqual((caught.exception.status, caught.exception.code), (404, "NoSuchKey"))
        self.assertEqual(len(self.world.requests), 1)

    def test_403_is_believed_after_a_while_and_not_before(self):
        self.world.faults[("GET", "a")] = [403] * 2
        self.world.objects["a"] = b"1"
        self.assertEqual(self.s3.get("a", self.soon), b"1")
        self.world.faults[("GET", "a")] = [403] * 100
        before, boot.GIVE_UP_S = boot.GIVE_UP_S, 0.3
        try:
            with self.assertRaises(boot.S3Error) as caught:
                self.s3.get("a", self.soon)
        finally:
            boot.GIVE_UP_S = before
        self.assertEqual(caught.exception.status, 403)

    def test_a_deadline_ends_the_tries(self):
        self.world.faults[("GET", "a")] = [500] * 100
        started = time.monotonic()
        with self.assertRaises(boot.S3Error):
            self.s3.get("a", started + 0.3)
        self.assertLess(time.monotonic() - started, 5)

    def test_a_conditional_put_is_refused_when_there_is_something(self):
        self.s3.put("a", b"1", self.soon, {"if-none-match": "*"})
        with self.assertRaises(boot.S3Error) as caught:
            self.s3.put("a", b"2", self.soon, {"if-none-match": "*"})
        self.assertEqual(caught.exception.status, 412)
        self.assertEqual(self.world.objects["a"], b"1")


class RoleCredentials(WorldTest):
    def test_they_are_read_with_a_session_token_and_kept_until_shortly_before_they_expire(self):
        metadata = boot.Metadata(self.world.endpoint + "/imds/")
        identity, _, token, expires = metadata.credentials()
        self.assertEqual((identity, token), ("AKID", "session"))
        self.assertAlmostEqual(expires, time.time() + 3600, delta=10)
        answers = [("A", "s", "", time.time() + 200), ("B", "s", "", time.time() + 4000)]
        s3 = boot.S3("b", "us-east-1", self.world.endpoint, lambda: answers.pop(0))
        self.assertEqual([s3.current_credentials()[0] for _ in range(3)], ["A", "B", "B"])


class Responses(unittest.TestCase):
    # The status, body and whether the connection is kept, of an answer as it came.
    def read(self, answer, method="GET"):
        here, there = socket.socketpair()
        with here, there:
            there.sendall(answer)
            there.shutdown(socket.SHUT_WR)
            response = boot.Response(here, method=method)
            try:
                response.begin()
                self.assertEqual(response.reason, response.reason.strip())
                return response.status, response.read(), not response.will_close
            finally:
                response.close()

    def test_a_body_ends_as_its_head_says(self):
        head = b"HTTP/1.1 200 OK\r\nServer: x\r\n"
        self.assertEqual(self.read(head + b"Content-Length: 3\r\n\r\nabcd"), (200, b"abc", True))
        self.assertEqual(self.read(head + b"CONTENT-LENGTH:0\r\n\r\n"), (200, b"", True))
        chunks = b"transfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
        self.assertEqual(self.read(head + chunks), (200, b"abc", True))
        self.assertEqual(self.read(head + b"\r\nall there is"), (200, b"all there is", False))
        self.assertEqual(self.read(head + b"Content-Length: 3\r\n\r\n", "HEAD"), (200, b"", True))
        self.assertEqual(self.read(b"HTTP/1.1 204 No Content\r\n\r\n"), (204, b"", True))
        large = os.urandom(300_000)
        self.assertEqual(self.read(head + b"Content-Length: 100000\r\n\r\n" + large[:100_000])[1], large[:100_000])

    def test_a_connection_is_kept_where_both_may(self):
        self.assertFalse(self.read(b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n")[2])
        self.assertFalse(self.read(b"HTTP/1.1 200 OK\r\nConnection: x, close\r\nContent-Length: 0\r\n\r\n")[2])
        self.assertFalse(self.read(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")[2])

    def test_what_comes_before_the_answer_is_passed_over(self):
        answer = b"HTTP/1.1 100 Continue\r\nx: y\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 503 Slow Down\r\ncontent-length: 1\r\n\r\nx"
        self.assertEqual(self.read(answer), (503, b"x", True))

    def test_an_answer_that_is_cut_is_none(self):
        for cut in (b"", b"HTTP/1.1 200 OK\r\nContent-", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab"):
            with self.assertRaises((http.client.HTTPException, ConnectionError)):
                self.read(cut)


class RunnerFromBucket(WorldTest):
    def test_a_runner_with_another_sha256_is_refused(self):
        self.world.objects["tools/bootstrap/" + "0" * 64] = b"evil" + boot.MARK + b"x"
        before, boot.GIVE_UP_S = boot.GIVE_UP_S, 0.1
        try:
            with self.assertRaisesRegex(ValueError, "not the one"):
                boot.fetch_runner(self.world.s3(), "0" * 64, os.path.join(self.world.folder, "runner.py"))
        finally:
            boot.GIVE_UP_S = before


if __name__ == "__main__":
    unittest.main()
