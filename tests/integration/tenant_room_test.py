"""tenant_room_test.py — a project's own queue, and its own part of adapter memory."""

import json
import unittest

import harness
import packages


class TenantRoom(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server("--max-seqs", "1").start()
        cls.addClassCleanup(cls.server.close)

    def test_beyond_its_queue_a_project_is_told_to_come_again(self):
        busy = self.server.new_tenant("busy")
        hasty = self.server.new_tenant("hasty", max_queue=0)
        running = busy.key.chat_stream(harness.BASE, "Hello!", max_tokens=900, ignore_eos=True)
        self.addCleanup(running.close)
        next(iter(running))
        refused = hasty.key.chat(harness.BASE, "Hello!", max_tokens=2)
        self.assertEqual((refused.status, refused.error["code"], refused.error["type"]),
                         (429, "queue_full", "rate_limit_error"))
        self.assertIn("max_queue: 0", refused.error["message"])
        self.assertGreater(int(refused.headers["retry-after-ms"]), 0)
        self.assertEqual(refused.headers["x-should-retry"], "true")
        running.close()
        harness.wait_until(
            lambda: hasty.key.chat(harness.BASE, "Hello!", max_tokens=2).status == 200,
            what="the place that the other had")
        usage = self.server.usage(project_id=hasty.id)
        self.assertEqual(sum(row["output_tokens"] for row in usage), 2)

    def test_the_choices_of_one_request_are_one_in_the_queue(self):
        tenant = self.server.new_tenant("choosy", max_queue=0)
        answer = tenant.key.chat(harness.BASE, "Hello!", max_tokens=2, n=4).expect(200).json
        self.assertEqual(len(answer["choices"]), 4)

    def test_a_project_has_no_more_adapters_in_memory_than_it_may(self):
        tenant = self.server.new_tenant("narrow", max_resident_adapters=1)
        for number in (1, 2, 3):
            tenant.key.upload(f"bot-{number}", *packages.package(number)).expect(201)
        for number in (1, 2, 3, 1):
            tenant.key.chat(f"bot-{number}", "Hello!", max_tokens=2).expect(200)
            used = tenant.key.get("/v1/usage/self").expect(200).json
            self.assertEqual(used["resident_adapters"], {"limit": 1, "used": 1})
            self.assertEqual(used["resident_adapter_bytes"]["limit"], None)
            self.assertGreater(used["resident_adapter_bytes"]["used"], 0)
        self.assertEqual(tenant.key.get("/v1/tenant/limits").expect(200).json["max_queue"], None)

    def resident(self, tenant):
        return tenant.key.get("/v1/usage/self").expect(200).json["resident_adapters"]["used"]

    def lower(self, tenant, **limits):
        """Sets the limits; returns how to wait for what they come to, a second at most."""
        self.server.set_limits(tenant.id, **limits)
        return lambda count: harness.wait_until(
            lambda: self.resident(tenant) == count, 1, f"{count} adapters in memory")

    def test_a_lower_limit_is_met_within_a_second(self):
        tenant = self.server.new_tenant("lowered")
        neighbour = self.server.new_tenant("neighbour")
        for number in (21, 22, 23):
            tenant.key.upload(f"bot-{number}", *packages.package(number)).expect(201)
            tenant.key.chat(f"bot-{number}", "Hello!", max_tokens=2).expect(200)
        neighbour.key.upload("bot", *packages.package(24)).expect(201)
        neighbour.key.chat("bot", "Hello!", max_tokens=2).expect(200)
        self.assertEqual(self.resident(tenant), 3)
        self.lower(tenant, max_resident_adapters=2)(2)
        self.lower(tenant, max_resident_adapter_bytes=1)(0)
        self.assertEqual(self.resident(neighbour), 1)
        self.lower(tenant, max_resident_adapters=None, max_resident_adapter_bytes=None)
        tenant.key.chat("bot-21", "Hello!", max_tokens=2).expect(200)

    def test_what_answers_beyond_a_lower_limit_goes_when_it_is_done(self):
        tenant = self.server.new_tenant("answering")
        tenant.key.upload("bot", *packages.package(25)).expect(201)
        whole = tenant.key.say("bot", "Hello!", max_tokens=900, ignore_eos=True)
        stream = tenant.key.chat_stream("bot", "Hello!", max_tokens=900, ignore_eos=True,
                                        temperature=0)
        self.addCleanup(stream.close)
        events = iter(stream)
        begun = "".join(c["delta"].get("content") or "" for c in next(events)["choices"])
        gone = self.lower(tenant, max_resident_adapters=0)
        self.assertEqual(self.resident(tenant), 1)
        self.assertEqual(begun + stream.text(), whole)
        gone(0)
        refused = tenant.key.chat("bot", "Hello!", max_tokens=2)
        self.assertEqual((refused.status, refused.error["code"]), (413, "storage_quota_exceeded"))

    def test_an_adapter_beyond_what_its_project_may_have_is_refused(self):
        tenant = self.server.new_tenant("tiny")
        tenant.key.upload("bot", *packages.package(9)).expect(201)
        tenant.key.post("/v1/adapters/bot/versions/1/evict", {}).expect(200)
        self.server.set_limits(tenant.id, max_resident_adapter_bytes=1000)
        refused = tenant.key.chat("bot", "Hello!", max_tokens=2)
        self.assertEqual((refused.status, refused.error["code"]), (413, "storage_quota_exceeded"))
        self.server.set_limits(tenant.id, max_resident_adapter_bytes=None)
        harness.wait_until(
            lambda: tenant.key.chat("bot", "Hello!", max_tokens=2).status == 200,
            what="the adapter that now has room")

    def test_they_are_limits_like_others(self):
        tenant = self.server.new_tenant("limited", max_queue=3, max_resident_adapters=2,
                                        max_resident_adapter_bytes=1 << 40)
        place = f"/v1/organization/projects/{tenant.id}/rate_limits"
        names = ("max_queue", "max_resident_adapters", "max_resident_adapter_bytes")

        def limits():
            found = self.server.admin.get(place).expect(200).json["data"][0]
            return tuple(found[name] for name in names)

        self.assertEqual(limits(), (3, 2, 1 << 40))
        self.server.kill()
        self.server.start()
        self.assertEqual(limits(), (3, 2, 1 << 40))
        self.server.set_limits(tenant.id, **{name: None for name in names})
        self.assertEqual(limits(), (None, None, None))
        for name in names:
            refused = self.server.admin.post(f"{place}/rl_all", {name: -1})
            self.assertEqual((refused.status, refused.error["param"]), (400, name), json.dumps(
                refused.json))


if __name__ == "__main__":
    unittest.main()
