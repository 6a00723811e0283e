"""tls_test.py — HTTPS: certificates that change under open connections, and admins' own."""

import http.client
import os
import signal
import socket
import ssl
import subprocess
import time
import unittest

import harness


def make_certificate(directory, name, issuer=None, subject="127.0.0.1"):
    """(certificate, key) in PEM, signed by `issuer` (such a pair) or by itself."""
    certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
               "-nodes", "-keyout", key, "-out", certificate, "-days", "2", "-subj",
               f"/CN={name}", "-addext", f"subjectAltName=IP:{subject}"]
    if issuer:
        command += ["-CA", issuer[0], "-CAkey", issuer[1]]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return certificate, key


class Https:
    """A Server that listens with TLS; the harness speaks plain HTTP to its operations."""

    def __init__(self, directory, *options):
        self.certificate, self.key = make_certificate(directory, "server")
        self.server = harness.Server("--tls-cert", self.certificate, "--tls-key", self.key,
                                     *options).start()

    def context(self, client=None):
        context = ssl.create_default_context(cafile=self.certificate)
        if client:
            context.load_cert_chain(*client)
        return context

    def connect(self, **how):
        return http.client.HTTPSConnection(*self.server.api, timeout=60,
                                           context=self.context(**how))

    def ask(self, connection, key, path="/v1/models", method="GET", body=None):
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        connection.request(method, path, body, headers)
        return harness.read_answer(connection.getresponse())


class Tls(unittest.TestCase):
    def setUp(self):
        self.directory = harness.scratch() / self.id()
        self.directory.mkdir()

    def start(self, *options):
        https = Https(self.directory, *options)
        self.addCleanup(https.server.close)
        self.admin_key = (https.server.data / "admin.key").read_text().strip()
        return https

    def new_key(self, https, **how):
        connection = https.connect(**how)
        project = https.ask(connection, self.admin_key, "/v1/organization/projects", "POST",
                            '{"name": "over tls"}').expect(200).json["id"]
        made = https.ask(connection, self.admin_key,
                         f"/v1/organization/projects/{project}/service_accounts", "POST",
                         '{"name": "bot"}').expect(200).json
        return made["api_key"]["value"]

    def test_requests_are_served_one_behind_the_other(self):
        https = self.start()
        key = self.new_key(https)
        connection = https.connect()
        for _ in range(20):
            https.ask(connection, key).expect(200)

    def test_streams_and_whole_answers(self):
        https = self.start()
        key = self.new_key(https)
        fields = ('{"model": "%s", "max_tokens": 40, "ignore_eos": true, "stream": %s, '
                  '"messages": [{"role": "user", "content": "Hello!"}]}')
        for stream in ("true", "false"):
            answer = https.ask(https.connect(), key, "/v1/chat/completions", "POST",
                               fields % (harness.BASE, stream)).expect(200)
            self.assertIn(b"[DONE]" if stream == "true" else b"finish_reason", answer.body)

    def test_client_that_goes_away_ends_its_stream(self):
        https = self.start()
        key = self.new_key(https)
        connection = https.connect()
        body = ('{"model": "%s", "max_tokens": 400, "ignore_eos": true, "stream": true, '
                '"messages": [{"role": "user", "content": "Hello!"}]}' % harness.BASE)
        connection.request("POST", "/v1/chat/completions", body,
                           {"Authorization": f"Bearer {key}", "Content-Type": "application/json"})
        connection.getresponse().read(100)
        connection.close()
        harness.wait_until(lambda: https.server.metric("tessera_permits") == 0, what="freed slot")

    def test_client_that_goes_away_behind_its_answer_leaves_no_connection(self):
        https = self.start()
        key = self.new_key(https)
        body = ('{"model": "%s", "max_tokens": 3, "messages": [{"role": "user", "content": "Hi"}]}'
                % harness.BASE)
        for _ in range(4):
            connection = https.connect()
            https.ask(connection, key, "/v1/chat/completions", "POST", body).expect(200)
            connection.close()
        harness.wait_until(lambda: https.server.metric("tessera_connections") <= 1, 10,
                           "closed connections")

    def test_certificate_changes_under_an_open_connection(self):
        https = self.start()
        key = self.new_key(https)
        old = https.connect()
        https.ask(old, key).expect(200)
        before = old.sock.getpeercert(True)
        make_certificate(self.directory, "server")  # the same files
        https.server.process.send_signal(signal.SIGHUP)

        def served():
            connection = https.connect()
            try:
                https.ask(connection, key).expect(200)
                return connection.sock.getpeercert(True)
            except ssl.SSLError:  # the old certificate, which the new file does not vouch for
                return before
        harness.wait_until(lambda: served() != before, what="new certificate")
        https.ask(old, key).expect(200)
        https.key.write_text("no key")
        https.server.process.send_signal(signal.SIGHUP)
        harness.wait_until(lambda: "certificate_not_reloaded" in https.server.log.read_text(),
                           what="a line in the log")
        https.ask(https.connect(), key).expect(200)

    def test_admins_show_a_certificate_where_one_is_asked_for(self):
        authority = make_certificate(self.directory, "authority")
        client = make_certificate(self.directory, "client", authority)
        stranger = make_certificate(self.directory, "stranger")
        https = self.start("--tls-client-ca", authority[0])
        key = self.new_key(https, client=client)
        https.ask(https.connect(), key).expect(200)  # a tenant needs none
        refused = https.ask(https.connect(), self.admin_key, "/v1/organization/projects")
        self.assertEqual((refused.status, refused.error["code"]), (403, "insufficient_scope"))
        with self.assertRaises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
            https.ask(https.connect(client=stranger), self.admin_key)

    def test_commands_speak_https(self):
        authority = make_certificate(self.directory, "authority")
        client = make_certificate(self.directory, "client", authority)
        https = self.start("--tls-client-ca", authority[0])
        url = "https://%s:%d" % https.server.api

        def run(*options):
            return subprocess.run([harness.BINARY, "tenant", "list", "--url", url, "--key-file",
                                   https.server.data / "admin.key", *options],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                  timeout=60, check=False)
        believed = ("--ca-cert", https.certificate)
        done = run(*believed, "--cert", client[0], "--cert-key", client[1])
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("client certificate", run(*believed).stdout)
        self.assertEqual(run("--cert", client[0], "--cert-key", client[1]).returncode, 1)

    def test_old_protocols_and_plain_http_get_nowhere(self):
        https = self.start()
        context = https.context()
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.minimum_version = ssl.TLSVersion.TLSv1
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            with socket.create_connection(https.server.api) as plain:
                context.wrap_socket(plain, server_hostname="127.0.0.1")
        with socket.create_connection(https.server.api, timeout=60) as plain:
            plain.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertNotIn(b"HTTP/1.1", plain.recv(4096))

    def test_handshake_that_never_comes_holds_nothing_for_long(self):
        https = self.start()
        silent = [socket.create_connection(https.server.api) for _ in range(50)]
        key = self.new_key(https)
        begin = time.monotonic()
        https.ask(https.connect(), key).expect(200)
        self.assertLess(time.monotonic() - begin, 10)
        for one in silent:
            one.settimeout(30)
            self.assertEqual(one.recv(1), b"")  # within the time for a head
            one.close()

    def test_wrong_files_are_told_at_the_start(self):
        certificate, key = make_certificate(self.directory, "a")
        _, other_key = make_certificate(self.directory, "b")
        for options in (["--tls-cert", certificate], ["--tls-cert", certificate, "--tls-key",
                                                      other_key],
                        ["--tls-cert", "/nowhere", "--tls-key", key]):
            done = subprocess.run([harness.BINARY, "serve", "--model", harness.packed_demo(),
                                   "--data", self.directory / "data", *options],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
                                  check=False, env=os.environ)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(b"tls", done.stdout.lower())


if __name__ == "__main__":
    unittest.main()
