"""surface_test.py — keys that are lenient, disabled or idle; traces; problems; the organization's
limits; and the running server under /admin/v1.
"""

import json
import re
import unittest

import harness

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
PROBLEM = "application/problem+json"


class Surface(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server("--api-key-header").start()
        cls.addClassCleanup(cls.server.close)
        cls.admin = cls.server.admin

    def setUp(self):
        self.tenant = self.server.new_tenant("surface")
        self.key = self.tenant.key
        self.place = (f"/v1/organization/projects/{self.tenant.id}/api_keys/"
                      f"{self.key.key_id}")

    def ask(self, method, path, fields=None, address=None, **headers):
        """Under no key but what the headers say."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        body = None
        if fields is not None:
            body = json.dumps(fields).encode()
            named["Content-Type"] = "application/json"
        return harness.exchange(address or self.server.api, method, path, body, named)

    def export(self):
        lines = self.admin.get("/v1/organization/usage/export?format=jsonl&project_id="
                               + self.tenant.id).expect(200).body.decode().splitlines()
        return [json.loads(line) for line in lines]

    # Keys.

    def test_a_lenient_key_is_told_what_was_left_out(self):
        extra = {"litellm_params": {"a": 1}, "max_tokens": 2}
        refused = self.key.chat(harness.BASE, "Hi", **extra).expect(400)
        self.assertEqual((refused.error["code"], refused.error["param"]),
                         ("unknown_parameter", "litellm_params"))
        self.admin.post(self.place, {"compat": "lenient"}).expect(200)
        answer = self.key.chat(harness.BASE, "Hi", **extra).expect(200)
        self.assertEqual(answer.headers["x-ignored-parameters"], "litellm_params")
        stream = self.key.chat_stream(harness.BASE, "Hi", **extra)
        self.assertEqual(stream.headers["x-ignored-parameters"], "litellm_params")
        stream.text()
        asked = [("/v1/completions", {"prompt": "Hi", "max_tokens": 1}),
                 ("/v1/embeddings", {"input": "Hi"}), ("/v1/tokenize", {"prompt": "Hi"}),
                 ("/v1/detokenize", {"tokens": [5]}),
                 ("/v1/responses", {"input": "Hi", "store": False, "max_output_tokens": 2})]
        for path, fields in asked:
            answer = self.key.post(path, {"model": harness.BASE, "x y": 1} | fields).expect(200)
            self.assertEqual(answer.headers["x-ignored-parameters"], "x?y", path)
        self.assertNotIn("x-ignored-parameters", self.key.chat(harness.BASE, "Hi",
                                                               max_tokens=1).headers)
        refused = self.key.chat(harness.BASE, "Hi", modalities=["audio"]).expect(400)
        self.assertEqual(refused.error["code"], "unsupported_parameter")

    def test_a_disabled_key_is_refused_at_once_and_comes_back(self):
        self.key.get("/v1/models").expect(200)
        self.assertIsNotNone(self.admin.post(self.place + "/disable", {}).expect(200)
                             .json["disabled_at"])
        refused = self.key.get("/v1/models").expect(401)
        self.assertEqual(refused.error["message"], "This API key is disabled.")
        self.assertIsNone(self.admin.post(self.place + "/enable", {}).expect(200)
                          .json["disabled_at"])
        self.key.get("/v1/models").expect(200)

    def test_a_tenant_disables_its_own_keys_and_nobody_elses(self):
        accounts = f"/v1/organization/projects/{self.tenant.id}/service_accounts"
        account = self.admin.get(accounts).json["data"][0]["id"]
        made = self.admin.post(f"{accounts}/{account}/api_keys",
                               {"name": "manager", "scopes": ["api.key.write", "api.tenant.read",
                                                              "api.model.request"]}).json
        manager = harness.Client(self.server, made["value"])
        weak = manager.post("/v1/tenant/api_keys", {"name": "weak", "scopes":
                                                    ["api.model.request"]}).expect(200).json
        manager.post(f"/v1/tenant/api_keys/{weak['id']}/disable", {}).expect(200)
        harness.Client(self.server, weak["value"]).get("/v1/models").expect(401)
        manager.post(f"/v1/tenant/api_keys/{weak['id']}/enable", {}).expect(200)
        other = self.server.new_tenant("other")
        manager.post(f"/v1/tenant/api_keys/{other.key.key_id}/disable", {}).expect(404)
        other.key.get("/v1/models").expect(200)

    def test_the_last_use_of_a_key_is_known_also_after_a_restart(self):
        server = harness.Server().start()
        self.addCleanup(server.close)
        tenant = server.new_tenant("used")
        place = f"/v1/organization/projects/{tenant.id}/api_keys"
        self.assertIsNone(server.admin.get(place).json["data"][0]["last_used_at"])
        tenant.key.get("/v1/models").expect(200)
        used = server.admin.get(f"{place}/{tenant.key.key_id}").json["last_used_at"]
        self.assertEqual(used % 60, 0)
        self.assertEqual(server.terminate(), 0)
        server.start()
        self.assertEqual(server.admin.get(place).json["data"][0]["last_used_at"], used)
        admins = server.admin.get("/v1/organization/admin_api_keys").json["data"]
        self.assertGreaterEqual(admins[0]["last_used_at"], used)

    def test_a_key_may_come_as_azures_clients_send_it(self):
        self.ask("GET", "/v1/models?api-version=2024-06-01", api_key=self.key.key).expect(200)
        self.ask("GET", "/v1/models", api_key="junk").expect(401)
        self.ask("GET", "/v1/models", api_key=self.key.key,
                 Authorization="Bearer junk").expect(401)
        server = harness.Server().start()
        self.addCleanup(server.close)
        self.ask("GET", "/v1/models", address=server.api,
                 api_key=server.new_tenant("t").key.key).expect(401)

    # Traces and problems.

    def test_a_trace_goes_into_answer_log_and_ledger(self):
        sent = f"00-{TRACE}-{PARENT}-01"
        answer = self.key.ask("POST", "/v1/chat/completions",
                              harness.chat_fields(harness.BASE, "Hi", max_tokens=1),
                              traceparent=sent).expect(200)
        told = answer.headers["traceparent"]
        self.assertRegex(told, f"^00-{TRACE}-[0-9a-f]{{16}}-01$")
        self.assertNotIn(PARENT, told)
        [record] = self.export()
        self.assertEqual((record["trace_id"], record["operation"]), (TRACE, "completions"))
        [line] = [line for line in self.server.log.read_text().splitlines()
                  if answer.headers["x-request-id"] in line and '"event":"request"' in line]
        self.assertEqual((json.loads(line)["trace_id"], json.loads(line)["span_id"]),
                         (TRACE, told.split("-")[2]))
        for wrong in ("00-0-0-01", sent.upper(), sent + "-more"):
            answer = self.key.ask("GET", "/v1/models", traceparent=wrong).expect(200)
            self.assertNotIn("traceparent", answer.headers)
        refused = self.ask("GET", "/v1/models", traceparent=sent).expect(401)
        self.assertIn(TRACE, refused.headers["traceparent"])

    def test_errors_are_called_problems_for_who_asks(self):
        for accept, media in ((None, "application/json"), ("*/*", "application/json"),
                              (f"{PROBLEM}, application/json;q=0.5", PROBLEM)):
            headers = {"accept": accept} if accept else {}
            for path, status in (("/v1/models/none", 404), ("/v1/nowhere", 404)):
                answer = self.key.ask("GET", path, **headers).expect(status)
                self.assertEqual(answer.headers["content-type"], media)
                self.assertEqual(answer.json["status"], status)
        good = self.key.ask("GET", "/v1/models", accept=PROBLEM).expect(200)
        self.assertEqual(good.headers["content-type"], "application/json")

    # Usage.

    def test_embeddings_have_usage_of_their_own(self):
        self.key.chat(harness.BASE, "Hi", max_tokens=1).expect(200)
        embedded = self.key.post("/v1/embeddings", {"model": harness.BASE,
                                                    "input": "Hi"}).expect(200).json["usage"]
        query = f"?start_time=0&project_ids[]={self.tenant.id}&group_by[]=project_id"
        found = {}
        for operation in ("completions", "embeddings"):
            page = self.admin.get(f"/v1/organization/usage/{operation}{query}").expect(200).json
            [found[operation]] = [r for bucket in page["data"] for r in bucket["results"]]
        self.assertEqual(found["embeddings"]["input_tokens"], embedded["prompt_tokens"])
        self.assertEqual([found[o]["num_model_requests"] for o in found], [1, 1])
        self.assertEqual(sorted(r["operation"] for r in self.export()),
                         ["completions", "embeddings"])


class Organization(unittest.TestCase):
    def setUp(self):
        self.server = harness.Server().start()
        self.addCleanup(self.server.close)
        self.admin = self.server.admin
        self.ada, self.bob = self.server.new_tenant("ada"), self.server.new_tenant("bob")

    def limit(self, **limits):
        return self.admin.post("/v1/organization/rate_limits/rl_all", limits).expect(200).json

    def test_all_tenants_share_them_and_none_is_told_what_the_others_use(self):
        self.limit(max_requests_per_1_minute=3, burst_requests=3)
        for tenant in (self.ada, self.bob, self.ada):
            tenant.key.chat(harness.BASE, "Hi", max_tokens=1).expect(200)
        refused = self.bob.key.chat(harness.BASE, "Hi", max_tokens=1).expect(429)
        details = refused.error["details"]
        self.assertEqual((details["level"], details["policy"]), ("organization", "rpm"))
        self.assertNotIn("remaining", details)
        self.assertGreater(int(refused.headers["retry-after-ms"]), 0)
        self.assertGreater(int(refused.headers["x-ratelimit-remaining-requests"]), 500)
        self.limit(max_requests_per_1_minute=None, burst_requests=None)
        self.bob.key.chat(harness.BASE, "Hi", max_tokens=1).expect(200)

    def test_they_and_what_was_used_outlive_the_process(self):
        self.ada.key.chat(harness.BASE, "Hi", max_tokens=1).expect(200)
        self.limit(max_requests_per_1_day=2)
        self.bob.key.chat(harness.BASE, "Hi", max_tokens=1).expect(200)
        self.ada.key.chat(harness.BASE, "Hi", max_tokens=1).expect(429)
        self.server.kill()
        self.server.start()
        self.ada.key.chat(harness.BASE, "Hi", max_tokens=1).expect(429)
        self.limit(max_requests_per_1_day=3)
        self.ada.key.chat(harness.BASE, "Hi", max_tokens=1).expect(200)
        self.ada.key.chat(harness.BASE, "Hi", max_tokens=1).expect(429)

    def test_the_spend_limit_and_its_tag(self):
        place = "/v1/organization/spend_limit"
        seen = self.admin.get(place).expect(200).headers["etag"]
        self.admin.ask("POST", place, {"threshold_amount": 5}, if_match=seen).expect(200)
        self.admin.ask("POST", place, {"threshold_amount": 6}, if_match=seen).expect(412)
        self.assertEqual(self.admin.get("/v1/organization/rate_limits").expect(200)
                         .json["data"][0]["max_spend_cents_per_1_month"], 5)
        self.admin.delete(place).expect(200)
        self.admin.delete(place).expect(404)
        events = self.admin.get("/v1/organization/audit_logs?event_types[]="
                                "organization.rate_limit.updated").expect(200).json["data"]
        self.assertEqual(len(events), 2)
        self.ada.key.get(place).expect(403)


class RunningServer(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server().start()
        cls.addClassCleanup(cls.server.close)
        cls.admin = cls.server.admin
        cls.tenant = cls.server.new_tenant("served")

    def operations(self, path, key=None):
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return harness.exchange(self.server.ops, "GET", path, None, headers)

    def test_draining_sends_inference_elsewhere_and_nothing_else(self):
        stream = self.tenant.key.chat_stream(harness.BASE, "Tell me", max_tokens=40,
                                             ignore_eos=True)
        events = iter(stream)
        next(events)
        self.addCleanup(self.admin.post, "/admin/v1/undrain", {})
        self.assertTrue(self.admin.post("/admin/v1/drain", {}).expect(200).json["draining"])
        self.assertEqual(self.server.operations("/readyz").status, 503)
        refused = self.tenant.key.chat(harness.BASE, "Hi", max_tokens=1).expect(503)
        self.assertEqual((refused.error["code"], refused.headers["x-should-retry"]),
                         ("draining", "true"))
        self.admin.get("/v1/organization/projects").expect(200)
        list(events)
        self.assertTrue(stream.done, "what runs goes on")
        self.assertFalse(self.admin.post("/admin/v1/undrain", {}).expect(200).json["draining"])
        self.assertEqual(self.server.operations("/readyz").status, 200)
        self.tenant.key.chat(harness.BASE, "Hi", max_tokens=1).expect(200)

    def test_the_log_level_can_be_changed_and_the_rest_be_seen(self):
        config = self.admin.get("/admin/v1/config").expect(200)
        self.assertEqual(config.json["settings"]["data"], str(self.server.data))
        self.admin.ask("PUT", "/admin/v1/config", {"log_level": "error"},
                       if_match=config.headers["etag"]).expect(200)
        quiet = self.admin.get("/admin/v1/config").expect(200).headers["x-request-id"]
        self.admin.ask("PUT", "/admin/v1/config", {"log_level": "info"}).expect(200)
        loud = self.admin.get("/admin/v1/config").expect(200).headers["x-request-id"]
        harness.wait_until(lambda: loud in self.server.log.read_text(), what="a line of the log")
        self.assertNotIn(quiet, self.server.log.read_text())
        self.admin.ask("PUT", "/admin/v1/config", {"max_seqs": 1}).expect(400)

    def test_tenants_metrics_are_for_admins(self):
        self.tenant.key.chat(harness.BASE, "Hi", max_tokens=1).expect(200)
        self.operations("/metrics/tenants").expect(401)
        self.operations("/metrics/tenants", self.tenant.key.key).expect(403)
        text = self.operations("/metrics/tenants", self.admin.key).expect(200).body.decode()
        found = re.search(rf'tessera_tenant_requests_total{{project="{self.tenant.id}"}} (\d+)',
                          text)
        self.assertGreaterEqual(int(found[1]), 1)
        self.assertNotIn(self.tenant.id, self.server.operations("/metrics").body.decode())
        self.admin.get("/admin/v1/metrics/tenants").expect(200)

    def test_residency_lists_the_adapters_in_memory(self):
        name = harness.demo_adapters()[0]
        uploaded = self.tenant.key.upload(name, *harness.demo_package(name)).expect(200, 201, 202)
        self.tenant.key.chat(name, "Hi", max_tokens=1).expect(200)
        listed = self.admin.get("/admin/v1/engine/residency").expect(200).json["data"]
        [adapter] = [a for a in listed if a["id"] == uploaded.json["sha256"]]
        self.assertEqual(adapter["project_id"], self.tenant.id)
        self.assertGreater(adapter["bytes"], 0)
        state = self.admin.get(f"/admin/v1/debug/tenants/{self.tenant.id}").expect(200).json
        self.assertEqual(state["in_memory"]["adapters"], 1)
        self.assertEqual(state["stored"]["adapters"], 1)
        self.admin.get("/admin/v1/debug/tenants/proj_none").expect(404)

    def test_keys_of_both_peppers_are_good_after_a_restart(self):
        server = harness.Server().start()
        self.addCleanup(server.close)
        old = server.new_tenant("old")
        self.assertEqual(server.admin.post("/admin/v1/peppers/rotate", {}).expect(200)
                         .json["version"], 2)
        new = server.new_tenant("new")
        server.kill()
        server.start()
        for tenant in (old, new):
            tenant.key.get("/v1/models").expect(200)

    def test_a_backup_is_verified_where_it_lies(self):
        made = self.admin.post("/admin/v1/backups", {}).expect(201).json
        report = self.admin.post("/admin/v1/restore/verify", {"backup": made["id"]}).expect(200)
        self.assertTrue(report.json["ok"])
        self.admin.post("/admin/v1/restore/verify", {"backup": "../store"}).expect(404)


if __name__ == "__main__":
    unittest.main()
