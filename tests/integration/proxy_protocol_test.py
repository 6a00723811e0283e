"""proxy_protocol_test.py — whose connection a proxy hands on, and who may say so."""

import ipaddress
import json
import socket
import struct
import unittest

import harness

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def header(source, command=0x21):
    source = ipaddress.ip_address(source)
    family, any_ = (0x11, b"\0" * 4) if source.version == 4 else (0x21, b"\0" * 16)
    rest = source.packed + any_ + struct.pack(">HH", 4711, 443)
    return SIGNATURE + bytes([command, family]) + struct.pack(">H", len(rest)) + rest


class ProxyProtocol(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server("--proxy-protocol", "127.0.0.1").start()
        cls.addClassCleanup(cls.server.close)
        admin = cls.server.admin.key
        status, body = cls.ask(header("198.51.100.9"), "POST", "/v1/organization/projects", admin,
                               {"name": "behind a proxy"})
        assert status == 200, body
        project = body["id"]
        _, made = cls.ask(header("198.51.100.9"), "POST",
                          f"/v1/organization/projects/{project}/service_accounts", admin,
                          {"name": "bot"})
        cls.key = made["api_key"]["value"]
        status, _ = cls.ask(header("198.51.100.9"), "POST",
                            f"/v1/organization/projects/{project}/ip_allowlist", admin,
                            {"allowed_ips": ["192.0.2.0/24", "2001:db8::/32"]})
        assert status == 200

    @classmethod
    def send(cls, data):
        """All that comes back."""
        with socket.create_connection(cls.server.api, timeout=harness.ANSWER_SECONDS) as peer:
            peer.sendall(data)
            answer = b""
            try:
                while piece := peer.recv(65536):
                    answer += piece
            except ConnectionResetError:
                pass
            return answer

    @classmethod
    def request(cls, method, path, key, fields=None, more=""):
        body = json.dumps(fields).encode() if fields is not None else b""
        return (f"{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{more}"
                f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n").encode() + body

    @classmethod
    def ask(cls, before, method, path, key, fields=None, more=""):
        answer = cls.send(before + cls.request(method, path, key, fields, more))
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split(b" ")[1]), json.loads(body)

    def models(self, before, **how):
        return self.ask(before, "GET", "/v1/models", self.key, **how)[0]

    def test_the_address_that_it_tells_is_the_one_that_counts(self):
        self.assertEqual(self.models(header("192.0.2.7")), 200)
        self.assertEqual(self.models(header("2001:db8::5")), 200)
        self.assertEqual(self.models(header("198.51.100.9")), 401)
        self.assertEqual(self.models(header("::ffff:192.0.2.7")), 200)

    def test_a_connection_of_the_proxys_own_is_the_proxys(self):
        self.assertEqual(self.models(header("192.0.2.7", command=0x20)), 401)

    def test_headers_of_http_change_nothing(self):
        for name in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "True-Client-IP"):
            self.assertEqual(self.models(header("198.51.100.9"), more=f"{name}: 192.0.2.7\r\n"),
                             401)

    def test_a_second_header_is_not_one(self):
        answer = self.send(header("198.51.100.9") + header("192.0.2.7") +
                           self.request("GET", "/v1/models", self.key))
        self.assertTrue(answer.startswith(b"HTTP/1.1 400 "), answer[:100])

    def test_what_is_none_ends_the_connection_unanswered(self):
        request = self.request("GET", "/v1/models", self.key)
        good = header("192.0.2.7")
        for wrong in (b"", b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\n", b"\r\n" + good,
                      good[:12] + b"\x31" + good[13:], good[:13] + b"\x12" + good[14:],
                      good[:14] + b"\xff\xff" + good[16:], good[:14] + b"\0\x0b" + good[16:]):
            self.assertEqual(self.send(wrong + request), b"", wrong)

    def test_from_elsewhere_it_is_junk(self):
        server = harness.Server("--proxy-protocol", "192.0.2.1").start()
        self.addCleanup(server.close)
        with socket.create_connection(server.api, timeout=harness.ANSWER_SECONDS) as peer:
            peer.sendall(header("192.0.2.7") + self.request("GET", "/v1/models", "x"))
            self.assertTrue(peer.recv(65536).startswith(b"HTTP/1.1 400 "))


if __name__ == "__main__":
    unittest.main()
