"""limits_test.py — money, calendar, models and addresses: each limit holds, and is told as it is."""

import datetime
import json
import unittest

import harness

PRICES = {"currency": "USD",
          "models": {"*": {"default": {"input": "100", "cached_input": "50", "output": "2000"}}}}


def write_prices():
    path = harness.scratch() / "prices.json"
    path.write_text(json.dumps(PRICES))
    return path


class Limits(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server("--prices", write_prices(), "--trusted-proxy",
                                    "127.0.0.1").start()
        cls.addClassCleanup(cls.server.close)
        cls.admin = cls.server.admin

    def place(self, tenant, what):
        return f"/v1/organization/projects/{tenant.id}/{what}"

    def ask(self, key, **fields):
        return key.chat(harness.BASE, "Hello!", max_tokens=4, ignore_eos=True, **fields)

    def cost_of(self, usage):
        """In pico-dollars, by the table above."""
        cached = usage["prompt_tokens_details"]["cached_tokens"]
        fresh = usage["prompt_tokens"] - cached
        return (fresh * 100 + cached * 50 + usage["completion_tokens"] * 2000) * 10**6

    def costs(self, **group):
        page = self.admin.get("/v1/organization/costs?start_time=0&group_by[]=project_id"
                              "&group_by[]=line_item").expect(200).json
        return [result for bucket in page["data"] for result in bucket["results"]
                if all(result[name] == value for name, value in group.items())]

    def test_costs_are_the_sum_of_the_tokens_prices(self):
        tenant = self.server.new_tenant("costs")
        expected = 0
        for _ in range(3):
            expected += self.cost_of(self.ask(tenant.key).expect(200).json["usage"])
        found = self.costs(project_id=tenant.id)
        self.assertEqual([(c["line_item"], c["amount"]["value_pico_usd"]) for c in found],
                         [(harness.BASE, expected)])
        self.assertAlmostEqual(found[0]["amount"]["value"], expected * 1e-12)

    def test_spend_limit_is_a_hard_stop_that_survives_a_restart(self):
        server = harness.Server("--prices", write_prices()).start()
        self.addCleanup(server.close)
        tenant = server.new_tenant("spends")
        usage = self.ask(tenant.key).expect(200).json["usage"]
        limit = f"/v1/organization/projects/{tenant.id}/spend_limit"
        self.assertEqual(server.admin.get(limit).json["enforcement"]["status"], "inactive")
        cents = self.cost_of(usage) * 5 // 10**10 // 2  # two more fit, and half a one
        set_to = server.admin.post(limit, {"threshold_amount": cents}).expect(200).json
        self.assertEqual((set_to["threshold_amount"], set_to["currency"], set_to["interval"]),
                         (cents, "USD", "month"))
        granted = 0
        while (answer := self.ask(tenant.key)).status == 200:
            granted += 1
            self.assertLess(granted, 20)
        self.assertGreater(granted, 0)
        self.assertEqual((answer.status, answer.error["type"], answer.error["code"]),
                         (429, "insufficient_quota", "billing_hard_limit_reached"))
        self.assertEqual(answer.headers["x-should-retry"], "false")
        spent = server.admin.get("/v1/organization/costs?start_time=0").expect(200).json
        pico = sum(r["amount"]["value_pico_usd"] for b in spent["data"] for r in b["results"])
        self.assertLessEqual(pico, cents * 10**10)
        server.kill()
        server.start()
        self.assertEqual(self.ask(tenant.key).error["code"], "billing_hard_limit_reached")
        server.admin.delete(limit).expect(200)
        self.ask(tenant.key).expect(200)

    def test_daily_requests_end_with_the_day(self):
        tenant = self.server.new_tenant("daily", max_requests_per_1_day=2)
        for _ in range(2):
            self.ask(tenant.key).expect(200)
        refused = self.ask(tenant.key)
        self.assertEqual((refused.status, refused.error["details"]["policy"],
                          refused.error["details"]["level"]), (429, "rpd", "project"))
        now = datetime.datetime.now(datetime.timezone.utc)
        midnight = (now + datetime.timedelta(days=1)).replace(hour=0, minute=0, second=0,
                                                              microsecond=0)
        self.assertAlmostEqual(float(refused.headers["retry-after"]),
                               (midnight - now).total_seconds(), delta=30)
        limits = tenant.key.get("/v1/tenant/limits")
        self.assertIn(limits.status, (200, 403))

    def test_key_has_limits_of_its_own(self):
        tenant = self.server.new_tenant("keys")
        other = self.server.new_key(tenant.id)
        keys = self.place(tenant, f"api_keys/{tenant.key.key_id}")
        shown = self.admin.post(keys, {"limits": {"max_requests_per_1_minute": 1}}).expect(200).json
        self.assertEqual(shown["limits"]["max_requests_per_1_minute"], 1)
        # What the key did before counts too: it has done nothing.
        self.ask(tenant.key).expect(200)
        refused = self.ask(tenant.key)
        self.assertEqual((refused.status, refused.error["details"]["level"]), (429, "key"))
        self.ask(other).expect(200)
        self.admin.post(keys, {"limits": {"max_requests_per_1_minute": None}}).expect(200)
        self.ask(tenant.key).expect(200)

    def test_model_has_limits_of_its_own(self):
        tenant = self.server.new_tenant("model limits")
        limit = self.place(tenant, f"rate_limits/rl_{harness.BASE}")
        self.admin.post(limit, {"max_requests_per_1_minute": 1}).expect(200)
        listed = self.admin.get(self.place(tenant, "rate_limits")).expect(200).json["data"]
        self.assertEqual([one["model"] for one in listed], ["*", harness.BASE])
        self.ask(tenant.key).expect(200)
        self.assertEqual(self.ask(tenant.key).error["details"]["level"], "model")
        self.admin.post(limit, {"max_tokens_per_1_day": 5}).expect(400)
        self.admin.delete(limit).expect(200)
        self.ask(tenant.key).expect(200)

    def test_models_are_permitted_by_project_and_key(self):
        tenant = self.server.new_tenant("models")
        permissions = self.place(tenant, "model_permissions")
        self.admin.post(permissions, {"mode": "deny_list",
                                      "model_ids": [harness.BASE]}).expect(200)
        refused = self.ask(tenant.key)
        self.assertEqual((refused.status, refused.error["code"]), (403, "model_not_permitted"))
        self.admin.delete(permissions).expect(200)
        self.ask(tenant.key).expect(200)
        self.admin.post(self.place(tenant, f"api_keys/{tenant.key.key_id}"),
                        {"allowed_models": ["another"]}).expect(200)
        self.assertEqual(self.ask(tenant.key).error["code"], "model_not_permitted")

    def test_addresses_are_allowed_by_project_and_key_behind_a_proxy(self):
        tenant = self.server.new_tenant("addresses")
        place = self.place(tenant, "ip_allowlist")
        self.admin.post(place, {"allowed_ips": ["203.0.113.0/24", "2001:db8::/32"]}).expect(200)

        def status(forwarded):
            headers = {"X-Forwarded-For": forwarded} if forwarded else {}
            return harness.exchange(self.server.api, "GET", "/v1/models", None,
                                    tenant.key.headers(**headers)).status
        self.assertEqual(status(None), 401)
        self.assertEqual(status("203.0.113.9"), 200)
        self.assertEqual(status("2001:db8::9"), 200)
        # Only what the trusted proxy itself has written counts.
        self.assertEqual(status("203.0.113.9, 198.51.100.1"), 401)
        self.assertEqual(status("198.51.100.1, 203.0.113.9"), 200)
        self.assertEqual(status("203.0.113.9, 127.0.0.1"), 200)
        self.assertEqual(status("junk"), 401)
        refused = tenant.key.get("/v1/models")
        self.assertEqual(refused.error["code"], "ip_not_authorized")
        self.admin.post(place, {"allowed_ips": ["203.0.113.1/24"]}).expect(400)
        self.admin.post(place, {"allowed_ips": []}).expect(200)
        self.assertEqual(status(None), 200)

    def test_changes_are_in_the_audit_log(self):
        tenant = self.server.new_tenant("audited")
        self.admin.post(self.place(tenant, "ip_allowlist"), {"allowed_ips": ["::/0"]}).expect(200)
        self.admin.post(self.place(tenant, "spend_limit"), {"threshold_amount": 5}).expect(200)
        self.admin.post(self.place(tenant, "model_permissions"), {"mode": "all"}).expect(200)
        log = self.admin.get("/v1/organization/audit_logs?limit=100").expect(200).json["data"]
        events = [entry["type"] for entry in log if tenant.id in json.dumps(entry)]
        for event in ("ip_allowlist.updated", "rate_limit.updated", "model_permissions.updated"):
            self.assertIn(event, events)


if __name__ == "__main__":
    unittest.main()
