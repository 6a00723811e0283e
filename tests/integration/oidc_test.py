"""oidc_test.py — admins whom an identity provider names: who may do what, and whose word counts."""

import base64
import json
import subprocess
import time
import unittest

import harness


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Provider:
    """An RSA key, its place in a JWKS, and tokens that it signs."""

    def __init__(self, directory, kid):
        self.kid, self.key = kid, directory / f"{kid}.pem"
        subprocess.run(["openssl", "genrsa", "-out", self.key, "2048"], check=True,
                       stderr=subprocess.DEVNULL)
        told = subprocess.run(["openssl", "rsa", "-in", self.key, "-noout", "-modulus"],
                              check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        modulus = bytes.fromhex(told.stdout.decode().strip().partition("=")[2])
        self.jwk = {"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "e": "AQAB",
                    "n": base64url(modulus)}

    def token(self, header=None, **claims):
        now = int(time.time())
        claims = {"iss": "https://id.example.com", "aud": "tessera", "sub": "ada@example.com",
                  "iat": now, "exp": now + 600, "groups": ["platform"]} | claims
        header = {"alg": "RS256", "kid": self.kid, "typ": "JWT"} | (header or {})
        text = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
        signed = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.key],
                                input=text.encode(), check=True, stdout=subprocess.PIPE)
        return text + "." + base64url(signed.stdout)


class Oidc(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = harness.scratch() / "oidc"
        cls.directory.mkdir()
        cls.provider = Provider(cls.directory, "one")
        cls.publish(cls.provider.jwk)
        settings = cls.directory / "oidc.json"
        settings.write_text(json.dumps(
            {"issuer": "https://id.example.com", "audience": "tessera", "jwks_file": "jwks.json",
             "role_claim": "groups", "roles": {"platform": "admin", "finance": "viewer"}}))
        cls.server = harness.Server("--oidc", settings).start()
        cls.addClassCleanup(cls.server.close)

    @classmethod
    def publish(cls, *keys):
        (cls.directory / "jwks.json").write_text(json.dumps({"keys": keys}))

    def client(self, provider=None, **how):
        return harness.Client(self.server, (provider or self.provider).token(**how))

    def status(self, **how):
        return self.client(**how).get("/v1/organization/projects").status

    def test_an_admin_may_do_what_an_admin_key_may_and_is_named_in_the_audit_log(self):
        made = self.client().post("/v1/organization/projects", {"name": "by token"}).expect(200)
        log = self.server.admin.get(
            "/v1/organization/audit_logs?project_ids[]=" + made.json["id"]).expect(200).json["data"]
        self.assertEqual([entry["actor"] for entry in log],
                         [{"type": "session", "session": {"user": {"id": "ada@example.com"}}}])

    def test_a_viewer_reads_and_changes_nothing(self):
        viewer = self.client(groups=["finance"])
        for path in ("/v1/organization/projects", "/v1/organization/costs?start_time=0",
                     "/v1/organization/audit_logs", "/admin/v1/live"):
            viewer.get(path).expect(200)
        viewer.post("/v1/organization/projects", {"name": "no"}).expect(403)
        viewer.post("/v1/organization/admin_api_keys", {"name": "no"}).expect(403)
        self.client(groups=["finance", "platform"]).post("/v1/organization/projects",
                                                         {"name": "yes"}).expect(200)

    def test_no_admin_is_a_tenant_and_no_stranger_an_admin(self):
        self.client().get("/v1/models").expect(403)
        self.client(groups=["finance"]).get("/v1/tenant").expect(403)
        self.assertEqual(self.status(groups=["sales"]), 403)
        self.assertEqual(self.status(groups=[]), 403)

    def test_the_classic_attacks(self):
        stranger = Provider(self.directory, "stranger")
        now = int(time.time())
        none = ".".join([base64url(b'{"alg":"none"}'), self.provider.token().split(".")[1], ""])
        bodies = {harness.Client(self.server, token).get("/v1/organization/projects").status
                  for token in (none, none + "AAAA", stranger.token(),
                                stranger.token(header={"kid": "one"}),
                                stranger.token(header={"kid": "one", "jwk": stranger.jwk}),
                                self.provider.token(header={"alg": "HS256"}),
                                self.provider.token(header={"kid": "../../../dev/null"}),
                                self.provider.token(aud="other"),
                                self.provider.token(iss="https://evil.example.com"),
                                self.provider.token(nbf=now + 3600),
                                self.provider.token(padding="a" * 7000))}
        self.assertEqual(bodies, {401})
        expired = self.client(exp=now - 3600).get("/v1/organization/projects").expect(401)
        self.assertEqual(expired.error["code"], "expired_api_key")

    def test_keys_are_read_again_and_a_broken_file_changes_nothing(self):
        other = Provider(self.directory, "two")
        self.addCleanup(self.publish, self.provider.jwk)
        self.assertEqual(self.status(provider=other), 401)
        self.publish(self.provider.jwk, other.jwk)
        harness.wait_until(lambda: self.status(provider=other) == 200, what="the new key")
        (self.directory / "jwks.json").write_text("{")
        harness.wait_until(lambda: self.status() == 200 and
                           "jwks_not_reloaded" in self.server.log.read_text(), what="the log")
        self.assertEqual(self.status(provider=other), 200)
        self.publish(self.provider.jwk)
        harness.wait_until(lambda: self.status(provider=other) == 401, what="the key withdrawn")
        self.assertEqual(self.status(), 200)

    def test_without_a_provider_tokens_are_wrong_keys(self):
        server = harness.Server().start()
        self.addCleanup(server.close)
        harness.Client(server, self.provider.token()).get("/v1/organization/projects").expect(401)


if __name__ == "__main__":
    unittest.main()
