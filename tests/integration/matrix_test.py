"""matrix_test.py — routes x who asks x whose object: every cell of what the binary itself lists.

No key, a broken key, a key of all scopes but the one, an admin's on a tenant's routes and the other
way round are refused alike everywhere. What is another tenant's is answered, byte for byte, like
what does not exist, and so are names that can be nobody's.
"""

import json
import re
import subprocess
import unittest

import harness
import packages

TENANT_SCOPES = ["api.model.request", "api.adapter.read", "api.adapter.write",
                 "api.adapter.download", "api.tenant.read", "api.tenant.write", "api.key.write"]
STREAMS = {"/v1/adapters/events", "/v1/adapters/{name}/events"}
# Bodies for routes that look at theirs before they look for the object.
BODIES = {
    ("PATCH", "/v1/adapters/{name}"): {"labels": {"a": "b"}},
    ("PUT", "/v1/adapters/{name}/acceptance"): {"checks": []},
    ("POST", "/v1/adapters/{name}/aliases/{alias}"): {"version": 1},
    ("PUT", "/v1/adapters/{name}/aliases/{alias}"): {"version": 1},
    ("POST", "/v1/uploads/{upload}/complete"): {"part_ids": ["part_1"]},
}


def routes():
    done = subprocess.run([harness.BINARY, "routes", "--json"], check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def masked(answer, *names):
    """Status and body without what names the request or what was asked for."""
    body = re.sub(rb"req_[0-9A-Za-z]+", b"req_", answer.body)
    for name in names:
        body = body.replace(name.encode(), b"*")
    return answer.status, body


class Matrix(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server().start()
        cls.addClassCleanup(cls.server.close)
        cls.routes = routes()
        cls.asker = cls.server.new_tenant("asker")
        cls.owner = cls.server.new_tenant("owner")
        cls.full = cls.key_of(cls.asker, TENANT_SCOPES)
        owner = cls.key_of(cls.owner, TENANT_SCOPES)
        owner.upload("secret", *packages.package()).expect(200, 201)
        uploaded = exchange_form(owner, "/v1/files", purpose="user_data", file=b"hidden")
        upload = owner.post("/v1/uploads", {"filename": "a", "purpose": "user_data", "bytes": 4,
                                            "mime_type": "application/json"}).expect(200).json
        webhook = owner.post("/v1/tenant/webhooks",
                             {"url": "https://hooks.invalid/"}).expect(200).json
        draft = owner.post("/v1/adapters/secret/versions/drafts", {})
        cls.others = {"{name}": "secret", "{model}": "secret", "{version}": "1", "{alias}": "prod",
                      "{file}": uploaded.expect(200).json["id"], "{upload}": upload["id"],
                      "{key}": cls.owner.key.key_id, "{webhook}": webhook["id"],
                      "{draft}": draft.json.get("id", "draft") if draft.status < 300 else "draft"}

    @classmethod
    def key_of(cls, tenant, scopes):
        place = f"/v1/organization/projects/{tenant.id}/service_accounts"
        account = cls.server.admin.get(place).expect(200).json["data"][0]["id"]
        made = cls.server.admin.post(f"{place}/{account}/api_keys",
                                     {"name": "of the matrix", "scopes": scopes}).expect(200).json
        return harness.Client(cls.server, made["value"], made["id"])

    def ask(self, route, path, key=None):
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        body = BODIES.get((route["method"], route["path"]))
        content = None
        if route["method"] in ("POST", "PUT", "PATCH"):
            content = json.dumps(body if body is not None else {}).encode()
            headers["Content-Type"] = "application/json"
        return harness.exchange(self.server.api, route["method"], path, content, headers)

    def filled(self, route, values):
        return re.sub(r"\{\w+\}", lambda m: values.get(m[0], "x"), route["path"])

    def test_the_list_is_the_whole_api(self):
        self.assertGreater(len(self.routes), 60)
        self.assertEqual([route["path"] for route in self.routes if not route["scope"]],
                         ["/openapi.json"], "what every key may read")
        self.assertEqual(len({(r["method"], r["path"]) for r in self.routes}), len(self.routes))

    def test_nobody_without_a_right_key(self):
        broken = self.full.key[:-1] + ("A" if self.full.key[-1] != "A" else "B")
        for route in self.routes:
            answers = [masked(self.ask(route, self.filled(route, {}), key))
                       for key in (None, "junk", broken, "sk-live-000000000000-" + "0" * 49)]
            for status, body in answers:
                self.assertEqual(status, 401, route)
                self.assertEqual(body, answers[1][1] if body != answers[0][1] else body, route)

    def test_nobody_without_the_scope(self):
        lacking = {scope: self.key_of(self.asker, [s for s in TENANT_SCOPES if s != scope])
                   for scope in TENANT_SCOPES}
        for route in self.routes:
            path = self.filled(route, {})
            if not route["scope"]:
                continue
            if route["scope"] == "api.admin":
                refused = [self.full]
            else:
                refused = [lacking[route["scope"]], self.server.admin]
            for client in refused:
                answer = self.ask(route, path, client.key)
                self.assertEqual((answer.status, answer.error["code"]),
                                 (403, "insufficient_scope"), route)

    def test_anothers_object_is_answered_like_none(self):
        asked = 0
        for route in self.routes:
            if "{" not in route["path"] or route["scope"] == "api.admin":
                continue
            if route["path"] in STREAMS:
                continue  # they answer 404 before they stream; asked for below
            missing = {name: self.missing(name, value) for name, value in self.others.items()}
            theirs = self.ask(route, self.filled(route, self.others), self.full.key)
            none = self.ask(route, self.filled(route, missing), self.full.key)
            self.assertEqual(masked(theirs, *self.others.values()),
                             masked(none, *missing.values()), route)
            self.assertGreaterEqual(theirs.status, 400, route)
            asked += 1
        self.assertGreater(asked, 30)

    def test_a_deleted_object_is_answered_like_none(self):
        """What its own tenant has deleted, and before that has seen."""
        key = self.key_of(self.asker, TENANT_SCOPES)
        key.upload("gone", *packages.package(3)).expect(200, 201)
        file = exchange_form(key, "/v1/files", purpose="user_data",
                             file=b"gone").expect(200).json["id"]
        webhook = key.post("/v1/tenant/webhooks",
                           {"url": "https://hooks.invalid/"}).expect(200).json["id"]
        spare = self.key_of(self.asker, TENANT_SCOPES)
        for path in ("/v1/adapters/gone", f"/v1/files/{file}", f"/v1/tenant/webhooks/{webhook}",
                     f"/v1/tenant/api_keys/{spare.key_id}"):
            key.get(path).expect(200)
            key.delete(path + ("?force=true" if "adapters" in path else "")).expect(200)
        deleted = {"{name}": "gone", "{model}": "gone", "{version}": "1", "{alias}": "prod",
                   "{file}": file, "{key}": spare.key_id, "{webhook}": webhook}
        missing = {name: self.missing(name, value, "gane") for name, value in deleted.items()}
        asked = 0
        for route in self.routes:
            named = re.findall(r"\{\w+\}", route["path"])
            if not named or route["scope"] == "api.admin" or route["path"] in STREAMS:
                continue
            if not all(name in deleted for name in named):
                continue  # uploads and drafts have an end, but cannot be deleted
            gone = self.ask(route, self.filled(route, deleted), key.key)
            none = self.ask(route, self.filled(route, missing), key.key)
            self.assertEqual(masked(gone, *deleted.values()), masked(none, *missing.values()), route)
            self.assertGreaterEqual(gone.status, 400, route)
            asked += 1
        self.assertGreater(asked, 30)

    def test_anothers_events_are_answered_like_none(self):
        route = {"method": "GET", "path": "/v1/adapters/{name}/events"}
        theirs = self.ask(route, "/v1/adapters/secret/events", self.full.key)
        none = self.ask(route, "/v1/adapters/sicret/events", self.full.key)
        self.assertEqual(masked(theirs, "secret"), masked(none, "sicret"))
        self.assertEqual(theirs.status, 404)

    def missing(self, name, value, adapter="sicret"):
        """An id of the same form that nobody has."""
        if name in ("{version}", "{alias}"):
            return value
        if name in ("{name}", "{model}"):
            return adapter
        return value[:-1] + ("0" if value[-1] != "0" else "1")

    def test_names_that_can_be_nobodys_do_no_harm(self):
        for route in self.routes:
            if "{" not in route["path"] or route["path"] in STREAMS:
                continue
            client = self.server.admin if route["scope"] == "api.admin" else self.full
            for junk in ("..%2F..%2Fetc", "%25", "a%2Cb", "0", "-1", "99999999999999999999",
                         "%F0%9F%92%A9", "x" * 300):
                path = re.sub(r"\{\w+\}", junk, route["path"])
                answer = self.ask(route, path, client.key)
                self.assertIn(answer.status, range(400, 500), (route, junk, answer.body[:200]))


def exchange_form(client, path, file, **fields):
    body, content_type = harness.multipart(**fields, file=file)
    body = body.replace(b'name="file"', b'name="file"; filename="a.bin"')
    return harness.exchange(client.server.api, "POST", path, body,
                            client.headers(**{"Content-Type": content_type}))


if __name__ == "__main__":
    unittest.main()
