"""raw_http_test.py — heads that two programs could read in two ways are refused, and end the talk.

Every probe is followed by a second request in the same bytes. If the server took the probe's body
for a request, or went on after a head that it refused, a second answer would show.
"""

import json
import re
import socket
import unittest

import harness

SECOND = b"GET /v1/models HTTP/1.1\r\nHost: t\r\n\r\n"
BODY = b'{"model":"x","messages":[]}'


def head(*lines, method=b"POST", version=b"HTTP/1.1", path=b"/v1/chat/completions"):
    return b"\r\n".join([method + b" " + path + b" " + version, *lines]) + b"\r\n\r\n"


PROBES = {
    "transfer-encoding gzip": head(b"Host: t", b"Transfer-Encoding: gzip"),
    "transfer-encoding chunked, identity": head(b"Host: t",
                                                b"Transfer-Encoding: chunked, identity"),
    "transfer-encoding identity with a length": head(
        b"Host: t", b"Transfer-Encoding: identity", b"Content-Length: 27") + BODY,
    "transfer-encoding chunked twice": head(b"Host: t", b"Transfer-Encoding: chunked",
                                            b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "transfer-encoding of a tab": head(b"Host: t", b"Transfer-Encoding:\tchunked\x0b"),
    "chunked and a length": head(b"Host: t", b"Transfer-Encoding: chunked",
                                 b"Content-Length: 27") + b"0\r\n\r\n",
    "a length and chunked": head(b"Host: t", b"Content-Length: 27",
                                 b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "chunked on HTTP/1.0": head(b"Host: t", b"Transfer-Encoding: chunked",
                                version=b"HTTP/1.0") + b"0\r\n\r\n",
    "two lengths that differ": head(b"Host: t", b"Content-Length: 27", b"Content-Length: 0"),
    "two lengths in one field": head(b"Host: t", b"Content-Length: 0, 27"),
    "a signed length": head(b"Host: t", b"Content-Length: +0"),
    "a hexadecimal length": head(b"Host: t", b"Content-Length: 0x1b"),
    "a length beyond 64 bits": head(b"Host: t", b"Content-Length: 99999999999999999999"),
    "a folded line": head(b"Host: t", b"X-Long: a", b" b"),
    "a space before the colon": head(b"Host: t", b"Content-Length : 0"),
    "a space before the name": head(b"Host: t", b" Content-Length: 0"),
    "a NUL in a value": head(b"Host: t", b"X-Bad: a\0b"),
    "a control byte in a value": head(b"Host: t", b"X-Bad: a\x1bb"),
    "a bare CR in a value": head(b"Host: t", b"X-Bad: a\rContent-Length: 0"),
    "bare LF line ends": b"POST /v1/models HTTP/1.1\nHost: t\n\n",
    "two hosts": head(b"Host: t", b"Host: u"),
    "no host": head(b"X-A: b"),
    "an unknown version": head(b"Host: t", version=b"HTTP/1.2"),
    "a space in the target": head(b"Host: t", path=b"/v1/models HTTP/1.1 x"),
    "an empty field name": head(b"Host: t", b": 0"),
    "a head without an end of 64 KiB": b"GET / HTTP/1.1\r\nX-Long: " + b"a" * 65536,
    "a thousand fields": head(b"Host: t", *[b"X-%d: a" % i for i in range(1000)]),
    "TLS where plain text is spoken": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "transfer-encoding xchunked": head(b"Host: t", b"Transfer-Encoding: xchunked"),
    "transfer-encoding in quotes": head(b"Host: t", b'Transfer-Encoding: "chunked"'),
    "transfer-encoding with a parameter": head(b"Host: t", b"Transfer-Encoding: chunked;q=1"),
    "transfer-encoding after a comma": head(b"Host: t", b"Transfer-Encoding: ,chunked"),
    "transfer-encoding of nothing": head(b"Host: t", b"Transfer-Encoding:"),
    "transfer-encoding with a space before the colon": head(
        b"Host: t", b"Transfer-Encoding : chunked", b"Content-Length: 27") + BODY,
    "transfer-encoding behind a bare CR": head(
        b"Host: t", b"X-A: b\rTransfer-Encoding: chunked", b"Content-Length: 27") + BODY,
    "transfer-encoding in a folded line": head(b"Host: t", b"X-A: b",
                                               b"\tTransfer-Encoding: chunked"),
    "a gzip that is chunked": head(b"Host: t", b"Transfer-Encoding: gzip, chunked"),
    "a length of nothing": head(b"Host: t", b"Content-Length:"),
    "a negative length": head(b"Host: t", b"Content-Length: -1"),
    "a length with an exponent": head(b"Host: t", b"Content-Length: 1e1"),
    "a length with a space within": head(b"Host: t", b"Content-Length: 2 7") + BODY,
    "a length with a comment": head(b"Host: t", b"Content-Length: 27;0") + BODY,
    "two lengths in two cases": head(b"Host: t", b"Content-Length: 27",
                                     b"content-length: 28") + BODY,
    "a NUL in a name": head(b"Host: t", b"X\0A: b"),
    "a control byte in the target": head(b"Host: t", path=b"/v1/mo\x01dels"),
    "a target that is not a path": head(b"Host: t", path=b"v1/models"),
    "an empty request line": b" \r\nHost: t\r\n\r\n",
    "HTTP/2 without agreement": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /v1/models\r\n\r\n",
    "a field without a colon": head(b"Host: t", b"Content-Length 27"),
}

# Bodies behind a head that is in order, of somebody who may chat.
BODIES = {
    "a chunk of a negative size": b"-1\r\n",
    "a chunk with a plus": b"+1b\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk with 0x": b"0x1b\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk beyond 64 bits": b"1000000000000001b\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk without a size": b"\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk with a space in its size": b"1 b\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk whose size line ends bare": b"1b\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk that is longer than its size": b"1a\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk without its end": b"1b\r\n" + BODY + b"0\r\n\r\n",
    "an extension without an end": b"1b;" + b"a" * 8192 + b"\r\n" + BODY + b"\r\n0\r\n\r\n",
    "trailers without an end": b"1b\r\n" + BODY + b"\r\n0\r\nX: " + b"a" * 8192 + b"\r\n\r\n",
}


def statuses(answer):
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3})", answer)]


class RawHttp(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server().start()
        cls.addClassCleanup(cls.server.close)

    def test_ambiguous_heads_are_refused_and_end_the_connection(self):
        for what, probe in PROBES.items():
            with self.subTest(what):
                answer = harness.raw_exchange(self.server.api, probe + SECOND)
                found = statuses(answer)
                self.assertEqual(len(found), 1, answer[:300])
                self.assertIn(found[0], (400, 413, 431, 501, 505), answer[:300])
                self.assertIn(b"\r\nconnection: close\r\n", answer.lower())

    def test_ambiguous_chunks_are_refused_and_end_the_connection(self):
        key = self.server.new_tenant("chunks").key.key.encode()
        start = head(b"Host: t", b"Authorization: Bearer " + key,
                     b"Content-Type: application/json", b"Transfer-Encoding: chunked")
        for what, body in BODIES.items():
            with self.subTest(what):
                answer = harness.raw_exchange(self.server.api, start + body + SECOND)
                self.assertEqual(statuses(answer), [400], answer[:300])
                self.assertIn(b"\r\nconnection: close\r\n", answer.lower())

    def test_the_corpus_is_as_large_as_promised(self):
        self.assertGreaterEqual(len(PROBES) + len(BODIES), 40)

    def test_requests_that_are_plain_are_answered_one_by_one_on_one_connection(self):
        last = head(b"Host: t", b"Connection: close", method=b"GET", path=b"/v1/models")
        answer = harness.raw_exchange(self.server.api, SECOND + SECOND + last)
        self.assertEqual(statuses(answer), [401, 401, 401])

    def test_a_chunked_body_is_read_to_its_end(self):
        body = b'{"model":"nobody","messages":[{"role":"user","content":"x"}]}'
        request = head(b"Host: t", b"Content-Type: application/json",
                       b"Authorization: Bearer " + self.server.admin.key.encode(),
                       b"Transfer-Encoding: chunked")
        for piece in (body[:10], body[10:]):
            request += b"%x\r\n%s\r\n" % (len(piece), piece)
        last = head(b"Host: t", b"Connection: close", method=b"GET", path=b"/v1/models")
        found = statuses(harness.raw_exchange(self.server.api, request + b"0\r\n\r\n" + last))
        self.assertEqual(len(found), 2)
        self.assertEqual(found, [403, 401])  # an admin key may not chat, but its body was read

    def test_an_absurd_length_is_refused_without_making_room_for_it(self):
        for path, status in ((b"/v1/chat/completions", 401), (b"/v1/nowhere", 404)):
            for length in (10**11, 10**12, 2**63 - 1):
                with self.subTest(path=path, length=length):
                    request = head(b"Host: t", b"Content-Length: %d" % length, path=path) + b"x"
                    answer = harness.raw_exchange(self.server.api, request)
                    self.assertEqual(statuses(answer), [status], answer[:300])

    def chat_bytes(self, key, **fields):
        body = json.dumps(harness.chat_fields(harness.BASE, "Hello!", **fields)).encode()
        return head(b"Host: t", b"Authorization: Bearer " + key.encode(),
                    b"Content-Type: application/json", b"Connection: close",
                    b"Content-Length: %d" % len(body)) + body

    def test_a_client_that_ends_only_its_own_side_is_answered(self):
        key = self.server.new_tenant("half closed").key.key
        for stream in (False, True):
            with self.subTest(stream=stream):
                answer = harness.raw_exchange(
                    self.server.api, self.chat_bytes(key, stream=stream, max_tokens=200,
                                                     ignore_eos=True),
                    harness.ANSWER_SECONDS, end=True)
                final = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
                self.assertEqual(statuses(final), [200], answer[:300])
                self.assertIn(b"[DONE]" if stream else b'"completion_tokens":200', final)

    def test_a_client_that_closes_ends_its_generation(self):
        for stream in (False, True):
            with self.subTest(stream=stream):
                tenant = self.server.new_tenant("closed", max_concurrent_requests=1)
                request = self.chat_bytes(tenant.key.key, stream=stream, max_tokens=900,
                                          ignore_eos=True)
                with socket.create_connection(self.server.api) as connection:
                    connection.sendall(request)
                [spent] = harness.wait_until(lambda: self.server.usage(project_id=tenant.id),
                                             what="a usage record")
                self.assertLess(spent["output_tokens"], 900)

    def test_a_client_that_closes_behind_its_answer_leaves_no_connection(self):
        key = self.server.new_tenant("come and gone").key
        for stream in (False, True):
            with self.subTest(stream=stream):
                for _ in range(8):
                    key.chat(harness.BASE, "Hello!", max_tokens=3, stream=stream)
                harness.wait_until(lambda: self.server.metric("tessera_connections") <= 1, 10,
                                   "closed connections")  # the one that asks is left

    def test_the_server_still_serves(self):
        self.assertEqual(self.server.operations("/livez").status, 200)


if __name__ == "__main__":
    unittest.main()
