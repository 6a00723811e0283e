"""tiers_test.py — service_tier: what it costs, who goes first, and what the answer says of it."""

import json
import threading
import unittest

import harness

PRICES = {"currency": "USD", "models": {"*": {
    "default": {"input": "100", "output": "2000"},
    "flex": {"input": "50", "output": "1000"},
    "priority": {"input": "200", "output": "4000"}}}}
WITHOUT_FLEX = {"currency": "USD", "models": {"*": {"default": {"input": "1", "output": "2"}}}}


def prices_file(name, prices):
    path = harness.scratch() / name
    path.write_text(json.dumps(prices))
    return path


class Tiers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server("--prices", prices_file("tiers.json", PRICES), "--max-seqs",
                                    "1", "--backend", "reference").start()
        cls.addClassCleanup(cls.server.close)

    def ask(self, key, tier, **fields):
        fields = {"max_tokens": 4, "ignore_eos": True} | fields
        return key.chat(harness.BASE, "Hello!", service_tier=tier, **fields)

    def test_each_tier_has_its_price_and_is_told(self):
        for tier, told, factor in (("auto", "default", 1), ("default", "default", 1),
                                   ("flex", "flex", 0.5), ("priority", "priority", 2),
                                   ("fast", "priority", 2)):
            with self.subTest(tier):
                tenant = self.server.new_tenant(f"pays-{tier}")
                answer = self.ask(tenant.key, tier).expect(200).json
                self.assertEqual(answer["service_tier"], told)
                usage = answer["usage"]
                costs = self.server.admin.get(
                    "/v1/organization/costs?start_time=0&group_by[]=project_id").expect(200).json
                [amount] = [r["amount"]["value_pico_usd"] for b in costs["data"]
                            for r in b["results"] if r["project_id"] == tenant.id]
                expected = (usage["prompt_tokens"] * 100 + usage["completion_tokens"] * 2000)
                self.assertEqual(amount, expected * 10**6 * factor)

    def test_a_key_gets_the_tiers_that_it_may_have(self):
        tenant = self.server.new_tenant("tiers-of-keys")
        place = f"/v1/organization/projects/{tenant.id}/api_keys/{tenant.key.key_id}"
        for allowed, told in ((["default", "flex"], {"priority": "default", "flex": "flex"}),
                              (["flex"], {"auto": "flex", "priority": "flex"}),
                              ([], {"auto": "default", "priority": "priority"})):
            shown = self.server.admin.post(place, {"allowed_tiers": allowed}).expect(200).json
            self.assertEqual(shown["allowed_tiers"], allowed)
            for asked, tier in told.items():
                answer = self.ask(tenant.key, asked, max_tokens=1).expect(200).json
                self.assertEqual(answer["service_tier"], tier, (allowed, asked))
        self.server.admin.post(place, {"allowed_tiers": ["gold"]}).expect(400)

    def test_who_asks_for_no_tier_gets_his_projects(self):
        tenant = self.server.new_tenant("tiers-of-projects")
        place = f"/v1/organization/projects/{tenant.id}"
        self.server.admin.ask("PATCH", place, {"tier": "flex"}).expect(200)
        for asked, told in ((None, "flex"), ("auto", "flex"), ("default", "default"),
                            ("priority", "priority")):
            answer = self.ask(tenant.key, asked, max_tokens=1).expect(200).json
            self.assertEqual(answer["service_tier"], told, asked)
        rows = self.server.admin.get("/v1/organization/usage/completions?start_time=0"
                                     f"&project_ids[]={tenant.id}&group_by[]=service_tier")
        counted = {r["service_tier"]: r["num_model_requests"]
                   for bucket in rows.expect(200).json["data"] for r in bucket["results"]}
        self.assertEqual(counted, {"flex": 2, "default": 1, "priority": 1})

    def test_every_chunk_of_a_stream_tells_it(self):
        tenant = self.server.new_tenant("streams")
        stream = tenant.key.chat_stream(harness.BASE, "Hello!", max_tokens=3, service_tier="flex")
        self.addCleanup(stream.close)
        self.assertEqual({event["service_tier"] for event in stream}, {"flex"})

    def test_within_a_tenant_priority_goes_before_default_and_flex_behind(self):
        tenant = self.server.new_tenant("queues")
        holder = tenant.key.chat_stream(harness.BASE, "Hello!", max_tokens=300, ignore_eos=True)
        self.addCleanup(holder.close)
        next(iter(holder))  # it runs, alone
        order, lock = [], threading.Lock()

        def ask(tier):
            answer = self.ask(tenant.key, tier, max_tokens=2)
            with lock:
                order.append(answer.json.get("service_tier", answer.body))

        waiting = []
        for number, tier in enumerate(("flex", "default", "priority"), 1):
            thread = threading.Thread(target=ask, args=(tier,))
            thread.start()
            waiting.append(thread)
            harness.wait_until(lambda: self.server.metric("vllm:num_requests_waiting") == number,
                               what=f"{number} requests in the queue")
        holder.close()
        for thread in waiting:
            thread.join()
        self.assertEqual(order, ["priority", "default", "flex"])

    def test_a_tier_that_is_not_sold_is_the_default_one(self):
        server = harness.Server("--prices", prices_file("no-flex.json", WITHOUT_FLEX)).start()
        self.addCleanup(server.close)
        key = server.new_tenant("poor").key
        self.assertEqual(self.ask(key, "flex").expect(200).json["service_tier"], "default")

    def test_an_unknown_tier_is_refused(self):
        key = self.server.new_tenant("unknown").key
        refused = self.ask(key, "gold")
        self.assertEqual((refused.status, refused.error["param"]), (400, "service_tier"))


if __name__ == "__main__":
    unittest.main()
