"""admin_objects_test.py — entity tags of what admins change, service accounts, pages of lists."""

import concurrent.futures
import unittest

import harness


class AdminObjects(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server().start()
        cls.addClassCleanup(cls.server.close)
        cls.admin = cls.server.admin

    def setUp(self):
        self.tenant = self.server.new_tenant("tagged")
        self.place = f"/v1/organization/projects/{self.tenant.id}"

    def changes(self):
        """(path, body of a change, another) of each object that has a tag of its own."""
        key = self.admin.get(f"{self.place}/api_keys").expect(200).json["data"][0]["id"]
        account = self.admin.get(f"{self.place}/service_accounts").json["data"][0]["id"]
        alert = {"threshold_amount": 5, "currency": "USD", "interval": "month",
                 "notification_channel": {"type": "email", "recipients": ["a@example.org"]}}
        made = self.admin.post(f"{self.place}/spend_alerts", alert).expect(200).json["id"]
        yield self.place, {"name": "new"}, {"name": "newer"}
        yield f"{self.place}/service_accounts/{account}", {"name": "bot"}, {"name": "robot"}
        yield (f"{self.place}/api_keys/{key}", {"limits": {"max_requests_per_1_minute": 7}},
               {"limits": {"max_requests_per_1_minute": 8}})
        yield f"{self.place}/spend_limit", {"threshold_amount": 5}, {"threshold_amount": 6}
        yield f"{self.place}/spend_alerts/{made}", alert | {"threshold_amount": 6}, alert
        yield (f"{self.place}/model_permissions", {"mode": "deny_list", "model_ids": ["x"]},
               {"mode": "all", "model_ids": []})
        yield (f"{self.place}/ip_allowlist", {"allowed_ips": ["127.0.0.0/8"]},
               {"allowed_ips": []})

    def test_a_change_of_what_was_not_seen_is_refused(self):
        for path, change, other in self.changes():
            with self.subTest(path):
                seen = self.admin.get(path).expect(200).headers["etag"]
                self.assertEqual(self.admin.get(path).headers["etag"], seen)
                changed = self.admin.ask("POST", path, change, if_match=seen).expect(200)
                self.assertNotEqual(changed.headers["etag"], seen)
                self.assertEqual(self.admin.get(path).headers["etag"], changed.headers["etag"])
                refused = self.admin.ask("POST", path, other, if_match=seen).expect(412)
                self.assertEqual(refused.error["code"], "precondition_failed")
                self.assertEqual(self.admin.get(path).headers["etag"], changed.headers["etag"])
                self.admin.ask("POST", path, other, if_match="*").expect(200)
                self.admin.ask("POST", path, other, if_match="nonsense").expect(400)
                if path != self.place:
                    self.admin.ask("DELETE", path, if_match=seen + '"').expect(400)
                    self.admin.ask("DELETE", path, if_match='"0"').expect(412)

    def test_a_project_has_a_weight_a_tier_labels_and_limits(self):
        shown = self.admin.get(self.place).expect(200)
        self.assertEqual([shown.json[name] for name in ("weight", "tier", "labels")],
                         [1, "default", {}])
        change = {"weight": 7, "tier": "flex", "labels": {"team": "red"},
                  "limits": {"max_adapters": 3}}
        for method in ("POST", "PATCH"):
            self.admin.ask(method, self.place, change, if_match='"0"').expect(412)
        changed = self.admin.ask("PATCH", self.place, change,
                                 if_match=shown.headers["etag"]).expect(200)
        self.assertEqual(changed.json["name"], shown.json["name"])
        self.assertEqual((changed.json["weight"], changed.json["tier"], changed.json["labels"],
                          changed.json["limits"]["max_adapters"]), (7, "flex", {"team": "red"}, 3))
        self.assertNotEqual(changed.headers["etag"], shown.headers["etag"])
        listed = self.admin.get("/v1/organization/projects?limit=100").expect(200).json["data"]
        self.assertIn(changed.json, listed)
        [limits] = self.admin.get(f"{self.place}/rate_limits").expect(200).json["data"]
        self.assertEqual(limits["max_adapters"], 3)
        made = self.admin.post("/v1/organization/projects",
                               {"name": "at once"} | change).expect(200).json
        self.assertEqual((made["weight"], made["labels"], made["limits"]["max_adapters"]),
                         (7, {"team": "red"}, 3))
        gone = self.admin.ask("PATCH", self.place, {"labels": {"team": None}}).expect(200).json
        self.assertEqual((gone["labels"], gone["weight"]), ({}, 7))
        for wrong in ({}, [], {"weight": 0}, {"weight": 101}, {"weight": "1"}, {"weight": 10**30},
                      {"weight": 1.5}, {"tier": "gold"}, {"tier": 1}, {"labels": "x"},
                      {"labels": {"a": 1}}, {"labels": {"a" * 65: "b"}}, {"labels": {"a": "b" * 513}},
                      {"labels": {str(i): "" for i in range(17)}}, {"limits": []},
                      {"limits": {"max_adapters": -1}}, {"limits": {"x": 1}}, {"name": ""},
                      {"slug": "other"}, {"geography": "EU"}, {"x": 1}):
            for method in ("POST", "PATCH"):
                self.admin.ask(method, self.place, wrong).expect(400)
        self.tenant.key.ask("PATCH", self.place, change).expect(403)
        self.admin.ask("PATCH", "/v1/organization/projects/proj_none", change).expect(404)

    def test_what_is_said_of_a_project_outlives_a_kill(self):
        server = harness.Server().start()
        self.addCleanup(server.close)
        made = server.admin.post("/v1/organization/projects", {
            "name": "kept", "weight": 9, "tier": "priority", "labels": {"a": "b"}}).expect(200)
        server.kill()
        server.start()
        place = f"/v1/organization/projects/{made.json['id']}"
        self.assertEqual(server.admin.get(place).expect(200).json, made.json)

    def test_rate_limits_carry_their_tags(self):
        def listed():
            return self.admin.get(f"{self.place}/rate_limits").expect(200).json["data"]
        whole = f"{self.place}/rate_limits/rl_all"
        seen = listed()[0]["etag"]
        changed = self.admin.ask("POST", whole, {"max_adapters": 3}, if_match=seen).expect(200)
        self.assertEqual(listed()[0]["etag"], changed.json["etag"])
        self.admin.ask("POST", whole, {"max_adapters": 4}, if_match=seen).expect(412)
        of_model = f"{self.place}/rate_limits/rl_bot"
        limits = {"max_requests_per_1_minute": 5}
        self.admin.ask("POST", of_model, limits, if_match="*").expect(412)
        tag = self.admin.ask("POST", of_model, limits, if_none_match="*").expect(200).json["etag"]
        self.admin.ask("POST", of_model, limits, if_none_match="*").expect(412)
        self.admin.ask("DELETE", of_model, if_match='"0"').expect(412)
        self.admin.ask("DELETE", of_model, if_match=tag).expect(200)

    def test_of_many_who_have_read_the_same_one_changes_it(self):
        seen = self.admin.get(self.place).expect(200).headers["etag"]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            statuses = sorted(pool.map(
                lambda i: self.admin.ask("POST", self.place, {"name": f"name {i}"},
                                         if_match=seen).status, range(8)))
        self.assertEqual(statuses, [200] + [412] * 7)

    def test_a_service_account_goes_with_its_keys(self):
        accounts = f"{self.place}/service_accounts"
        made = self.admin.post(accounts, {"name": "bot", "expires_in_seconds": 60}).expect(200).json
        self.assertEqual(made["api_key"]["expires_at"], made["api_key"]["created_at"] + 60)
        keys = f"{accounts}/{made['id']}/api_keys"
        second = self.admin.post(keys, {"name": "k"}).expect(200).json
        clients = [harness.Client(self.server, key["value"]) for key in (made["api_key"], second)]
        shown = self.admin.get(f"{accounts}/{made['id']}").expect(200).json
        self.assertEqual((shown["name"], shown["role"]), ("bot", "member"))
        renamed = self.admin.post(f"{accounts}/{made['id']}", {"name": "robot"}).expect(200).json
        self.assertEqual((renamed["name"], renamed["id"]), ("robot", made["id"]))
        for client in clients:
            client.get("/v1/models").expect(200)
        self.admin.delete(f"{accounts}/{made['id']}").expect(200)
        for client in clients:
            client.get("/v1/models").expect(401)
        self.admin.get(f"{accounts}/{made['id']}").expect(404)
        self.admin.delete(f"{accounts}/{made['id']}").expect(404)
        self.tenant.key.get("/v1/models").expect(200)
        log = self.admin.get(f"/v1/organization/audit_logs?project_ids[]={self.tenant.id}"
                             "&limit=100").expect(200).json["data"]
        events = [entry["type"] for entry in log]
        self.assertEqual(sorted(events[:3]), ["api_key.deleted", "api_key.deleted",
                                              "service_account.deleted"], "in one write")
        self.assertEqual(events[3], "service_account.updated")

    def test_a_service_account_may_be_made_without_a_key(self):
        accounts = f"{self.place}/service_accounts"
        made = self.admin.post(accounts, {"name": "bare",
                                          "create_service_account_only": True}).expect(200).json
        self.assertIsNone(made["api_key"])
        keys = self.admin.get(f"{self.place}/api_keys").expect(200).json["data"]
        self.assertEqual(len(keys), 1)
        self.admin.post(accounts, {"name": "x", "create_service_account_only": True,
                                   "expires_in_seconds": 5}).expect(400)

    def test_pages_of_a_list_are_the_list(self):
        accounts = f"{self.place}/service_accounts"
        for i in range(7):
            self.admin.post(accounts, {"name": f"bot {i}"}).expect(200)
        whole = [a["id"] for a in self.admin.get(f"{accounts}?limit=100").json["data"]]
        self.assertEqual(len(whole), 8)
        for order, expected in (("asc", whole), ("desc", whole[::-1])):
            seen, after = [], ""
            while True:
                page = self.admin.get(f"{accounts}?limit=3&order={order}{after}").expect(200).json
                ids = [entry["id"] for entry in page["data"]]
                self.assertEqual((page["first_id"], page["last_id"]), (ids[0], ids[-1]))
                seen += ids
                if not page["has_more"]:
                    break
                after = f"&after={page['last_id']}"
            self.assertEqual(seen, expected)
        before = self.admin.get(f"{accounts}?limit=3&before={whole[5]}").expect(200).json
        self.assertEqual([a["id"] for a in before["data"]], whole[2:5])
        self.assertTrue(before["has_more"])
        for wrong in ("limit=0", "limit=101", "limit=x", "after=nobody", "order=up"):
            self.admin.get(f"{accounts}?{wrong}").expect(400)


if __name__ == "__main__":
    unittest.main()
