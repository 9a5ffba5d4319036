import hashlib
import http.server
import os
import re
import shutil
import socket
import tempfile
import threading
import unittest
import warnings
from unittest import mock

import runner

BODY = os.urandom(300_000)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.server.seen.append((self.path, dict(self.headers)))
        answer = self.server.answers.get(self.path)
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        answer(self)

    def send(self, status, body=b"", length=None, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)


def whole(handler):
    handler.send(200, BODY, ETag='"v1"')


def status(code):
    return lambda handler: handler.send(code, b"no")


def redirect(where):
    return lambda handler: handler.send(302, Location=where)


# The first part of the body, and then nothing more.
def broken(handler):
    handler.send(200, BODY[:100_000], length=len(BODY), ETag='"v1"')
    handler.close_connection = True


def rest(handler):
    ranged = re.match(r"bytes=(\d+)-$", handler.headers.get("Range", ""))
    if not ranged or handler.headers.get("If-Range") != '"v1"':
        return whole(handler)
    start = int(ranged.group(1))
    return handler.send(206, BODY[start:], Content_Range=f"bytes {start}-{len(BODY) - 1}/{len(BODY)}", ETag='"v1"')


def silent(handler):
    handler.send(200, BODY[:10], length=len(BODY))
    handler.server.release.wait(20)
    handler.close_connection = True


# One session that knows as much of FTP as a download needs.
def serve_ftp(listener):
    data = socket.create_server(("127.0.0.1", 0))
    port = data.getsockname()[1]
    replies = {
        "USER": "331 password",
        "PASS": "230 in",
        "TYPE": "200 ok",
        "CWD": "250 ok",
        "PASV": f"227 ok (127,0,0,1,{port >> 8},{port & 255})",
        "EPSV": f"229 ok (|||{port}|)",
    }
    session, _ = listener.accept()
    with session, data:
        session.sendall(b"220 hello\r\n")
        for line in session.makefile("r"):
            verb = line.split()[0].upper()
            if verb == "RETR":
                session.sendall(f"150 coming ({len(BODY)} bytes)\r\n".encode())
                transfer, _ = data.accept()
                with transfer:
                    transfer.sendall(BODY)
                session.sendall(b"226 done\r\n")
            else:
                session.sendall((replies.get(verb, "502 no") + "\r\n").encode())


class Fetching(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.answers, self.server.seen, self.server.release = {}, [], threading.Event()
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.addCleanup(self.server.release.set)
        self.root = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.output = os.path.join(self.folder, "raw/deep/input.txt")
        printed = mock.patch("builtins.print")
        self.printed = printed.start()
        self.addCleanup(printed.stop)
        warnings.simplefilter("ignore", ResourceWarning)

    def fetch(self, path="/a", tries=3, quiet=20, **more):
        runner.fetch(self.root + path, self.output, tries=tries, pause=0.001, quiet=quiet, **more)
        with open(self.output, "rb") as file:
            return file.read()

    def assert_fails(self, reason, **more):
        with self.assertRaisesRegex(runner.Failed, reason):
            self.fetch(**more)
        left = [name for _, _, names in os.walk(self.folder) for name in names]
        self.assertEqual(left, [])

    def test_the_file_stands_in_folders_made_for_it(self):
        self.server.answers["/a"] = whole
        self.assertEqual(self.fetch(sha256=hashlib.sha256(BODY).hexdigest()), BODY)
        self.assertEqual(os.listdir(os.path.dirname(self.output)), ["input.txt"])

    def test_a_redirect_is_followed_but_not_to_a_file(self):
        self.server.answers.update({"/r": redirect("/a"), "/a": whole, "/f": redirect("file:///etc/passwd")})
        self.assertEqual(self.fetch("/r"), BODY)
        os.remove(self.output)
        self.assert_fails("redirects to what is not http, https or ftp .HTTP 302", path="/f")

    def test_a_redirect_without_end_is_told_as_one(self):
        self.server.answers["/r"] = redirect("/r")
        self.assert_fails("redirects without end .HTTP 302", path="/r")

    def test_an_output_that_is_a_folder_is_refused_before_anything_is_asked_for(self):
        os.makedirs(self.output)
        self.assert_fails("is a folder")
        self.assertEqual(self.server.seen, [])

    def test_404_fails_at_once_with_the_status_and_the_address(self):
        self.server.answers["/a"] = status(404)
        self.assert_fails("^HTTP 404 for " + re.escape(self.root) + "/a$")
        self.assertEqual(len(self.server.seen), 1)

    def test_what_may_pass_is_tried_again(self):
        self.server.answers["/a"] = [status(503), status(429), whole]
        self.assertEqual(self.fetch(), BODY)

    def test_what_does_not_pass_fails_with_its_status(self):
        self.server.answers["/a"] = status(503)
        self.assert_fails("HTTP 503 for")
        self.assertEqual(len(self.server.seen), 3)

    def test_a_broken_transfer_goes_on_where_it_stopped(self):
        self.server.answers["/a"] = [broken, rest]
        self.assertEqual(self.fetch(sha256=hashlib.sha256(BODY).hexdigest()), BODY)
        self.assertEqual(self.server.seen[1][1]["Range"], "bytes=100000-")

    def test_a_file_that_changed_meanwhile_is_taken_from_the_start(self):
        self.server.answers["/a"] = [broken, lambda handler: handler.send(200, b"new", ETag='"v2"')]
        self.assertEqual(self.fetch(), b"new")

    def test_a_transfer_that_has_gone_silent_is_broken_off(self):
        self.server.answers["/a"] = [silent, whole]
        self.assertEqual(self.fetch(quiet=0.3), BODY)

    def test_another_sha256_fails_and_leaves_nothing(self):
        self.server.answers["/a"] = whole
        self.assert_fails("the sha256 of .* is .*, not 00", sha256="00")

    def test_other_schemes_and_nobody_there_are_reasons(self):
        for url in ("file:///etc/passwd", "data:,x", "input.txt"):
            with self.assertRaisesRegex(runner.Failed, "only http, https and ftp"):
                runner.fetch(url, self.output)
        with self.assertRaisesRegex(runner.Failed, "refused.* for http://127.0.0.1:1/"):
            runner.fetch("http://127.0.0.1:1/", self.output, tries=2, pause=0.001)

    def test_a_password_in_the_address_is_sent_and_not_shown(self):
        self.server.answers["/a"] = status(404)
        with self.assertRaises(runner.Failed) as caught:
            runner.fetch(self.root.replace("//", "//me:secret@") + "/a", self.output)
        self.assertEqual(self.server.seen[0][1]["Authorization"], "Basic bWU6c2VjcmV0")
        self.assertNotIn("secret", str(caught.exception))

    def test_a_file_comes_by_ftp(self):
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        threading.Thread(target=serve_ftp, args=[listener], daemon=True).start()
        runner.fetch(f"ftp://127.0.0.1:{listener.getsockname()[1]}/pub/a.txt", self.output, tries=1, quiet=20)
        with open(self.output, "rb") as file:
            self.assertEqual(file.read(), BODY)

    def test_an_odd_address_asks_for_just_what_is_written(self):
        odd = {
            "/a b/$(touch x)`id`": "/a%20b/$(touch%20x)%60id%60",
            "/Zürich/雪.txt": "/Z%C3%BCrich/%E9%9B%AA.txt",
            "/it's \"quoted\"": "/it's%20%22quoted%22",
            "/100%25?q=a&b=c d#part": "/100%25?q=a&b=c%20d",
            "/x?": "/x?",
            "/x//two//../{a,b}|c\\": "/x//two//../%7Ba,b%7D|c%5C",
            "?q=1": "/?q=1",
            "": "/",
        }
        for address, wanted in odd.items():
            self.server.answers[wanted] = whole
            self.assertEqual(self.fetch(address), BODY, address)
            self.assertEqual(self.server.seen[-1][0], wanted)

    def test_a_name_of_255_bytes_is_written(self):
        self.output = os.path.join(self.folder, "ü" * 127 + "x")
        self.server.answers["/a"] = whole
        self.assertEqual(self.fetch(), BODY)

    def test_a_file_where_a_folder_of_the_output_should_be_is_the_reason(self):
        open(os.path.join(self.folder, "raw"), "w").close()
        with self.assertRaisesRegex(runner.Failed, "^output .*raw/deep/input.txt cannot be written: "):
            self.fetch()

    def test_the_output_is_not_there_before_it_is_whole(self):
        there = []

        def halves(handler):
            handler.send(200, BODY[:1000], length=len(BODY))
            there.append(os.path.exists(self.output))
            handler.wfile.write(BODY[1000:])

        self.server.answers["/a"] = halves
        self.assertEqual(self.fetch(), BODY)
        self.assertEqual(there, [False])

    def test_every_kind_of_redirect_is_followed(self):
        self.server.answers["/a"] = whole
        for code in (301, 302, 303, 307, 308):
            self.server.answers["/r"] = lambda handler, code=code: handler.send(code, Location="/a")
            self.assertEqual(self.fetch("/r"), BODY, code)
        self.server.answers["/r"] = lambda handler: handler.send(302)
        os.remove(self.output)
        self.assert_fails("redirects nowhere .HTTP 302", path="/r")

    def test_a_redirect_leads_to_no_other_scheme(self):
        for where in ("file:///etc/passwd", "data:,x", "gopher://127.0.0.1/", "FILE:/etc/passwd"):
            self.server.answers["/r"] = redirect(where)
            self.assert_fails("redirects to what is not http, https or ftp", path="/r")

    def test_a_password_follows_a_redirect_on_its_host_and_to_no_other(self):
        other = f"http://localhost:{self.server.server_address[1]}/a"
        self.server.answers.update({"/same": redirect("/a"), "/other": redirect(other), "/a": whole})
        for path, wanted in (("/same", "Basic bWU6c2VjcmV0"), ("/other", None)):
            runner.fetch(self.root.replace("//", "//me:secret@") + path, self.output, tries=1, quiet=20)
            self.assertEqual(self.server.seen[-1][1].get("Authorization"), wanted)

    def test_a_server_that_talks_nonsense_or_hangs_up_is_tried_again(self):
        def nonsense(handler):
            handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
            handler.close_connection = True

        def hang_up(handler):
            handler.close_connection = True

        def cut_chunk(handler):
            handler.send_response(200)
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            handler.wfile.write(b"400\r\nshort")
            handler.close_connection = True

        for bad in (nonsense, hang_up, cut_chunk):
            self.server.answers["/a"] = [bad, whole]
            self.assertEqual(self.fetch(), BODY)
            os.remove(self.output)
            self.server.answers["/a"] = bad
            self.assert_fails(f" for {re.escape(self.root)}/a$")

    def test_a_server_that_asks_for_patience_gets_it(self):
        slept = mock.patch("time.sleep").start()
        self.addCleanup(mock.patch.stopall)
        patience = {"Retry-After": "7"}
        self.server.answers["/a"] = [lambda handler: handler.send(503, **patience), whole]
        self.assertEqual(self.fetch(), BODY)
        self.assertIn(mock.call(7), slept.mock_calls)

    def test_a_resumed_answer_of_another_range_is_not_believed(self):
        def elsewhere(handler):
            handler.send(206, BODY[5:], Content_Range=f"bytes 5-{len(BODY) - 1}/{len(BODY)}", ETag='"v1"')

        self.server.answers["/a"] = [broken, elsewhere, whole]
        self.assertEqual(self.fetch(), BODY)

    def test_a_transfer_that_breaks_again_and_again_goes_on_as_long_as_it_gets_on(self):
        def a_little(handler):
            start = int(re.match(r"bytes=(\d+)-|", handler.headers.get("Range", "")).group(1) or 0)
            end = min(len(BODY), start + 30_000)
            more = {"Content_Range": f"bytes {start}-{len(BODY) - 1}/{len(BODY)}"} if start else {}
            handler.send(206 if start else 200, BODY[start:end], length=len(BODY) - start, ETag='"v1"', **more)
            handler.close_connection = True

        self.server.answers["/a"] = a_little
        self.assertEqual(self.fetch(tries=2, sha256=hashlib.sha256(BODY).hexdigest()), BODY)
        self.assertEqual(len(self.server.seen), 10)

    def test_a_server_that_never_answers_is_given_up_with_its_reason(self):
        self.server.answers["/a"] = lambda handler: handler.server.release.wait(20)
        self.assert_fails("timed out for", quiet=0.2, tries=2)

    def test_an_empty_file_is_a_file(self):
        self.server.answers["/a"] = lambda handler: handler.send(200)
        self.assertEqual(self.fetch(), b"")


if __name__ == "__main__":
    unittest.main()
