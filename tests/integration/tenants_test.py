"""tenants_test.py — two tenants on one base: each has its own adapters, limits and bill."""

import concurrent.futures
import re
import time
import unittest

import harness
import packages


def masked(answer):
    """Status, headers and body without what differs between any two answers."""
    body = re.sub(rb"req_[0-9A-Za-z]+", b"req_", answer.body)
    varying = {"date", "x-request-id", "openai-processing-ms"}
    headers = {k: v for k, v in answer.headers.items()
               if k not in varying and "ratelimit" not in k}
    return answer.status, headers, body


class Tenants(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server().start()
        cls.addClassCleanup(cls.server.close)
        cls.names = harness.demo_adapters()

    def tenant_with(self, tenant_name, *adapters, **limits):
        tenant = self.server.new_tenant(tenant_name, **limits)
        for name in adapters:
            tenant.key.upload(name, *harness.demo_package(name)).expect(200, 201, 202)
        return tenant

    def test_each_tenant_is_answered_by_its_own_adapter_and_billed_for_it(self):
        tenants = {name: self.tenant_with(f"owner of {name}", name) for name in self.names}
        for name, tenant in tenants.items():
            example = harness.held_out(name, 1)[0]
            answer = tenant.key.chat(name, example["prompt"], temperature=0,
                                     max_tokens=128).expect(200).json
            self.assertEqual(answer["choices"][0]["message"]["content"], example["expected"])
            self.assertEqual(answer["model"], f"{name}@1")
            spent = self.server.usage(project_id=tenant.id)
            self.assertEqual([(u["model"], u["num_model_requests"], u["input_tokens"],
                               u["output_tokens"]) for u in spent],
                             [(f"{name}@1", 1, answer["usage"]["prompt_tokens"],
                               answer["usage"]["completion_tokens"])])

    def test_one_name_is_another_adapter_for_each_tenant(self):
        first, second, *_ = self.names
        a, b = self.tenant_with("same name a"), self.tenant_with("same name b")
        a.key.upload("bot", *harness.demo_package(first)).expect(200, 201, 202)
        b.key.upload("bot", *harness.demo_package(second)).expect(200, 201, 202)
        for key, adapter in ((a.key, first), (b.key, second)):
            example = harness.held_out(adapter, 1)[0]
            self.assertEqual(key.say("bot", example["prompt"], max_tokens=128),
                             example["expected"])

    def test_a_tenant_sees_the_base_and_its_own_adapters_only(self):
        name = self.names[0]
        self.tenant_with("has one", name)
        other = self.tenant_with("has another", self.names[1])
        models = [m["id"] for m in other.key.get("/v1/models").expect(200).json["data"]]
        self.assertIn(harness.BASE, models)
        self.assertIn(self.names[1], models)
        self.assertNotIn(name, models)

    def test_anothers_adapter_is_answered_byte_for_byte_like_none(self):
        asker = self.tenant_with("asker").key
        owner = self.tenant_with("owner of secrets").key
        probes = [
            lambda: asker.chat("secret", "Hello!"),
            lambda: asker.chat("secret@1", "Hello!"),
            lambda: asker.chat("secret:prod", "Hello!"),
            lambda: asker.post("/v1/completions", {"model": "secret", "prompt": "Hello!"}),
            lambda: asker.get("/v1/models/secret"),
            lambda: asker.get("/v1/adapters/secret"),
            lambda: asker.delete("/v1/adapters/secret"),
        ]
        before = [masked(probe()) for probe in probes]
        owner.upload("secret", *packages.package()).expect(200, 201, 202)
        after = [masked(probe()) for probe in probes]
        self.assertEqual(after, before)
        self.assertEqual({status for status, *_ in before}, {404})
        owner.get("/v1/adapters/secret").expect(200)  # and it is still there

    def test_wrong_keys_are_all_answered_alike(self):
        good = self.tenant_with("key holder").key.key
        kind, mode, key_id, secret = good.split("-")
        wrong = ["", "nonsense", good[:-1], f"{kind}-{mode}-{'0' * len(key_id)}-{secret}",
                 f"{kind}-{mode}-{key_id}-{secret[::-1]}", good + "0"]
        answers = {masked(harness.Client(self.server, key).get("/v1/models")) [2]
                   for key in wrong}
        self.assertEqual(len(answers), 1)
        refusal = harness.Client(self.server, wrong[3]).get("/v1/models")
        self.assertEqual((refusal.status, refusal.error["code"]), (401, "invalid_api_key"))

    def test_a_deleted_key_is_refused_at_once_and_the_others_are_not(self):
        tenant = self.tenant_with("two keys")
        second = self.server.new_key(tenant.id)
        path = f"/v1/organization/projects/{tenant.id}/api_keys/{second.key_id}"
        self.server.admin.delete(path).expect(200)
        self.assertEqual(second.get("/v1/models").status, 401)
        self.assertEqual(tenant.key.get("/v1/models").status, 200)

    def test_a_tenants_key_administers_nothing(self):
        tenant = self.tenant_with("no admin")
        for answer in (tenant.key.get("/v1/organization/projects"),
                       tenant.key.post("/v1/organization/projects", {"name": "mine"})):
            self.assertIn(answer.status, (401, 403))


class Limits(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server().start()
        cls.addClassCleanup(cls.server.close)

    def ask(self, key, **fields):
        return key.chat(harness.BASE, "Hello!", max_tokens=1, **fields)

    def until_refused(self, key, most=1000):
        for granted in range(most):
            answer = self.ask(key)
            if answer.status == 429:
                return granted, answer
            answer.expect(200)
        self.fail(f"{most} requests and no refusal")

    def test_retry_after_is_exact(self):
        key = self.server.new_tenant("exact", max_requests_per_1_minute=30).key
        began = time.monotonic()
        granted, refusal = self.until_refused(key)
        ran = time.monotonic() - began
        self.assertLessEqual(granted, 30 + ran / 2 + 1, "one request drips in every two seconds")
        wait = int(refusal.headers["retry-after-ms"]) / 1000
        self.assertTrue(0 < wait <= 2, wait)
        self.assertEqual(refusal.error["code"], "rate_limit_exceeded")
        time.sleep(wait / 2)
        self.assertEqual(self.ask(key).status, 429, "too early")
        time.sleep(wait / 2)
        self.assertEqual(self.ask(key).status, 200, "on time")
        self.assertEqual(self.ask(key).status, 429, "only one had dripped in")

    def test_tokens_are_limited_by_what_is_asked_and_settled_by_what_is_used(self):
        key = self.server.new_tenant("tokens", max_tokens_per_1_minute=600).key
        asked = key.chat(harness.BASE, "Hello!", max_tokens=400).expect(200)
        used = asked.json["usage"]["total_tokens"]
        remaining = int(self.ask(key).headers["x-ratelimit-remaining-tokens"])
        self.assertGreater(remaining, 600 - 2 * used - 40, "what was not used is given back")
        refusal = key.chat(harness.BASE, "Hello!", max_tokens=900)
        self.assertIn(refusal.status, (400, 429), "more than a minute's tokens")

    def test_limits_change_while_serving(self):
        tenant = self.server.new_tenant("changed", max_requests_per_1_minute=1)
        _, refusal = self.until_refused(tenant.key)
        self.assertEqual(refusal.headers["x-ratelimit-limit-requests"], "1")
        self.server.set_limits(tenant.id, max_requests_per_1_minute=6000)
        answer = self.ask(tenant.key)
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["x-ratelimit-limit-requests"], "6000")
        self.server.set_limits(tenant.id, max_requests_per_1_minute=1)
        self.until_refused(tenant.key, most=3)

    def test_one_tenants_limit_is_not_anothers(self):
        spent = self.server.new_tenant("spent", max_requests_per_1_minute=1).key
        self.until_refused(spent)
        self.assertEqual(self.ask(self.server.new_tenant("fresh").key).status, 200)

    def test_running_requests_are_limited_and_their_slots_come_back(self):
        key = self.server.new_tenant("narrow", max_concurrent_requests=2).key
        streams = [key.chat_stream(harness.BASE, "Tell me a story.", max_tokens=900,
                                   ignore_eos=True) for _ in range(2)]
        self.assertEqual([stream.status for stream in streams], [200, 200])
        refusal = self.ask(key)
        self.assertEqual(refusal.status, 429)
        self.assertEqual(refusal.error["details"]["policy"], "concurrency")
        for stream in streams:
            stream.close()
        harness.wait_until(lambda: self.ask(key).status == 200, 5, "a slot")

    def test_a_refused_request_costs_nothing(self):
        tenant = self.server.new_tenant("refused", max_requests_per_1_minute=5)
        self.assertEqual(self.ask(tenant.key, temperature=9).status, 400)
        self.assertEqual(self.server.usage(project_id=tenant.id), [])

    def test_the_ledger_holds_every_answer_of_a_crowd_exactly_once(self):
        tenants = [self.server.new_tenant(f"crowd {i}") for i in range(3)]

        def ask_and_count(tenant):
            usage = self.ask(tenant.key).expect(200).json["usage"]
            return tenant.id, usage["prompt_tokens"], usage["completion_tokens"]

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answered = list(pool.map(ask_and_count, tenants * 20))
        for tenant in tenants:
            mine = [a for a in answered if a[0] == tenant.id]
            [billed] = self.server.usage(project_id=tenant.id)
            self.assertEqual((billed["num_model_requests"], billed["input_tokens"],
                              billed["output_tokens"]),
                             (len(mine), sum(a[1] for a in mine), sum(a[2] for a in mine)))

    def test_the_records_chains_hold_beside_the_running_server(self):
        tenant = self.server.new_tenant("chained")
        for _ in range(3):
            self.ask(tenant.key).expect(200)
        status, chains = self.server.verify_audit()
        self.assertEqual(status, 0)
        self.assertTrue(chains["usage"]["holds"] and chains["audit"]["holds"])
        self.assertGreaterEqual(chains["usage"]["links"], 3)
        self.assertGreaterEqual(chains["audit"]["links"], 3)  # project, account, key
        self.ask(tenant.key).expect(200)
        self.assertNotEqual(self.server.verify_audit()[1]["usage"]["head"],
                            chains["usage"]["head"])


if __name__ == "__main__":
    unittest.main()
