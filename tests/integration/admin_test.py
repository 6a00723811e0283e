"""admin_test.py — keys and the audit log over HTTP: admins' own, a project's, a tenant's own."""

import time
import unittest

import harness

KEY_SCOPES = ["api.model.request", "api.tenant.read", "api.key.write"]


class Keys(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server().start()
        cls.addClassCleanup(cls.server.close)
        cls.admin = cls.server.admin

    def manager(self, name):
        """A tenant and a key of it that may manage keys."""
        tenant = self.server.new_tenant(name)
        accounts = f"/v1/organization/projects/{tenant.id}/service_accounts"
        account = self.admin.get(accounts).expect(200).json["data"][0]["id"]
        made = self.admin.post(f"{accounts}/{account}/api_keys",
                               {"name": "manager", "scopes": KEY_SCOPES}).expect(200).json
        return tenant, harness.Client(self.server, made["value"], made["id"])

    def client(self, value):
        return harness.Client(self.server, value)

    def opens(self, value):
        return self.client(value).get("/v1/models").status == 200

    def test_a_rotated_key_opens_with_both_values_for_its_grace(self):
        tenant, manager = self.manager("rotates")
        rotated = manager.post(f"/v1/tenant/api_keys/{manager.key_id}/rotate",
                               {"grace_seconds": 3600}).expect(200).json
        self.assertEqual(rotated["id"], manager.key_id)
        self.assertAlmostEqual(rotated["previous_value_valid_until"], time.time() + 3600, delta=60)
        self.assertTrue(self.opens(manager.key) and self.opens(rotated["value"]))
        again = self.client(rotated["value"]).post(f"/v1/tenant/api_keys/{manager.key_id}/rotate",
                                                   {"grace_seconds": 0}).expect(200).json
        self.assertFalse(self.opens(manager.key) or self.opens(rotated["value"]))
        self.assertTrue(self.opens(again["value"]))
        by_admin = self.admin.post(
            f"/v1/organization/projects/{tenant.id}/api_keys/{manager.key_id}/rotate",
            {}).expect(200).json
        self.assertTrue(self.opens(by_admin["value"]))

    def test_a_tenant_manages_its_own_keys_and_gives_none_more_than_it_has(self):
        tenant, manager = self.manager("own keys")
        made = manager.post("/v1/tenant/api_keys",
                            {"name": "new", "scopes": ["api.model.request"]}).expect(200).json
        self.assertTrue(self.opens(made["value"]))
        listed = manager.get("/v1/tenant/api_keys").expect(200).json["data"]
        self.assertEqual({key["id"] for key in listed},
                         {tenant.key.key_id, manager.key_id, made["id"]})
        self.assertNotIn(made["value"], str(listed))
        refused = manager.post("/v1/tenant/api_keys",
                               {"name": "more", "scopes": ["api.adapter.write"]})
        self.assertEqual((refused.status, refused.json["error"]["code"]),
                         (403, "insufficient_scope"))
        manager.delete(f"/v1/tenant/api_keys/{made['id']}").expect(200)
        self.assertFalse(self.opens(made["value"]))

    def test_anothers_key_is_answered_like_none(self):
        _, manager = self.manager("one")
        _, other = self.manager("another")
        for method, suffix, body in (("GET", "", None), ("DELETE", "", None),
                                     ("POST", "/rotate", b'{"grace_seconds": 0}')):
            there, nowhere = (
                harness.exchange(self.server.api, method, f"/v1/tenant/api_keys/{key}{suffix}",
                                 body, manager.headers())
                for key in (other.key_id, "AbCdEfGhIjKl"))
            self.assertEqual(there.status, 404)
            self.assertEqual(there.json["error"]["message"], nowhere.json["error"]["message"])
        self.assertTrue(self.opens(other.key))

    def test_a_key_without_the_scope_manages_nothing(self):
        tenant, _ = self.manager("no scope")
        self.assertEqual(tenant.key.post("/v1/tenant/api_keys", {"name": "x"}).status, 403)
        self.assertEqual(tenant.key.get("/v1/organization/admin_api_keys").status, 403)

    def test_a_tenant_renames_itself_and_changes_nothing_else(self):
        tenant = self.server.new_tenant("before")
        place = f"/v1/organization/projects/{tenant.id}/service_accounts"
        account = self.server.admin.get(place).expect(200).json["data"][0]["id"]
        made = self.server.admin.post(f"{place}/{account}/api_keys", {
            "name": "w", "scopes": ["api.tenant.read", "api.tenant.write"]}).expect(200).json
        key = harness.Client(self.server, made["value"], made["id"])
        shown = key.get("/v1/tenant").expect(200)
        renamed = key.ask("PATCH", "/v1/tenant", {"name": "after"},
                          if_match=shown.headers["etag"]).expect(200).json
        self.assertEqual(renamed, shown.json | {"name": "after"})
        key.ask("PATCH", "/v1/tenant", {"name": "late"},
                if_match=shown.headers["etag"]).expect(412)
        for wrong in ({"slug": "mine"}, {"name": ""}, {"name": "x" * 129}, {"limits": {}}, {}):
            key.ask("PATCH", "/v1/tenant", wrong).expect(400)
        tenant.key.ask("PATCH", "/v1/tenant", {"name": "no"}).expect(403)
        project = self.server.admin.get(f"/v1/organization/projects/{tenant.id}").json
        self.assertEqual(project["name"], "after")

    def test_admin_keys(self):
        made = self.admin.post("/v1/organization/admin_api_keys",
                               {"name": "second", "expires_in_seconds": 60}).expect(200).json
        self.assertEqual(made["object"], "organization.admin_api_key")
        second = self.client(made["value"])
        listed = second.get("/v1/organization/admin_api_keys").expect(200).json["data"]
        self.assertIn(made["id"], [key["id"] for key in listed])
        got = second.get(f"/v1/organization/admin_api_keys/{made['id']}").expect(200).json
        self.assertNotIn("value", got)
        self.admin.delete(f"/v1/organization/admin_api_keys/{made['id']}").expect(200)
        self.assertEqual(second.get("/v1/organization/projects").status, 401)

    def test_a_projects_key_is_no_admin_key(self):
        tenant, _ = self.manager("not admin")
        path = f"/v1/organization/admin_api_keys/{tenant.key.key_id}"
        self.assertEqual(self.admin.get(path).status, 404)
        self.assertEqual(self.admin.delete(path).status, 404)
        self.assertTrue(self.opens(tenant.key.key))


class AuditLog(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server().start()
        cls.addClassCleanup(cls.server.close)
        cls.admin = cls.server.admin

    def logs(self, query="", client=None, path="/v1/organization/audit_logs"):
        return (client or self.admin).get(f"{path}?{query}").expect(200).json

    def test_every_change_is_listed_newest_first_with_its_actor(self):
        tenant = self.server.new_tenant("audited", max_concurrent_requests=3)
        page = self.logs(f"project_ids[]={tenant.id}")
        self.assertEqual([entry["type"] for entry in page["data"]][-1], "project.created")
        self.assertEqual(page["data"][-2]["type"], "rate_limit.updated")
        self.assertEqual(sorted(entry["type"] for entry in page["data"]),
                         ["api_key.created", "project.created", "rate_limit.updated",
                          "service_account.created"])
        for entry in page["data"]:
            self.assertEqual(entry["actor"]["type"], "api_key")
            self.assertIn("id", entry[entry["type"]])

    def test_pages_join_to_the_whole(self):
        for i in range(7):
            self.server.new_tenant(f"page {i}")
        whole = [entry["id"] for entry in self.logs("limit=100")["data"]]
        paged, after = [], ""
        while True:
            page = self.logs(f"limit=3{after}")
            paged += [entry["id"] for entry in page["data"]]
            if not page["has_more"]:
                break
            after = f"&after={page['last_id']}"
        self.assertEqual(paged, whole)
        self.assertEqual(len(set(whole)), len(whole))

    def test_filters(self):
        tenant = self.server.new_tenant("filtered")
        only = self.logs("event_types[]=api_key.created&limit=100")["data"]
        self.assertEqual({entry["type"] for entry in only}, {"api_key.created"})
        self.assertIn(tenant.key.key_id, [entry["api_key.created"]["id"] for entry in only])
        later = int(time.time()) + 3600
        self.assertEqual(self.logs(f"effective_at[gt]={later}")["data"], [])
        self.assertEqual(self.logs("effective_at[lt]=1000")["data"], [])
        self.assertEqual(self.admin.get("/v1/organization/audit_logs?effective_at[lt]=x").status,
                         400)

    def test_failed_logins_are_told_once_a_minute_for_an_address(self):
        def failures():
            return self.logs("event_types[]=login.failed")["data"]

        self.assertEqual(failures(), [])
        for key in ("junk", self.admin.key[:-1], ""):
            client = harness.Client(self.server, key)
            for _ in range(20):
                client.get("/v1/organization/projects").expect(401)
        harness.wait_until(failures, what="the record")
        [entry] = failures()
        self.assertEqual(entry["actor"], {"type": "session",
                                          "session": {"ip_address": "127.0.0.1"}})
        self.assertEqual(entry["login.failed"], {"error_code": "invalid_api_key"})
        self.assertNotIn("project", entry)
        tenant = self.server.new_tenant("of no interest")
        tenant.key.get("/v1/organization/projects").expect(403)
        harness.Client(self.server, "junk").get("/v1/models").expect(401)
        self.assertEqual(len(failures()), 1, "not logins of admins")

    def test_a_tenant_sees_its_own_and_no_cursor_of_anothers(self):
        one, other = (self.server.new_tenant(name) for name in ("sees", "is not seen"))
        mine = self.logs("limit=100", one.key, "/v1/tenant/audit_logs")["data"]
        self.assertTrue(mine)
        self.assertEqual({entry["project"]["id"] for entry in mine}, {one.id})
        theirs = self.logs("", other.key, "/v1/tenant/audit_logs")["last_id"]
        answer = one.key.get(f"/v1/tenant/audit_logs?after={theirs}")
        self.assertEqual(answer.status, 400)
        asked = self.logs(f"project_ids[]={other.id}&limit=100", one.key, "/v1/tenant/audit_logs")
        self.assertEqual({entry["project"]["id"] for entry in asked["data"]}, {one.id})


if __name__ == "__main__":
    unittest.main()
