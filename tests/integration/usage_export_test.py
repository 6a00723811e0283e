"""usage_export_test.py — usage record by record, usage in pages, and alerts about what was spent."""

import csv
import io
import json
import subprocess
import unittest

import harness
import limits_test


class Usage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server("--prices", limits_test.write_prices()).start()
        cls.addClassCleanup(cls.server.close)
        cls.admin = cls.server.admin
        cls.one, cls.two = cls.server.new_tenant("one"), cls.server.new_tenant("two")
        cls.ids = {tenant.id: [] for tenant in (cls.one, cls.two)}
        for i in range(12):
            tenant = (cls.one, cls.two)[i % 3 == 0]
            answer = tenant.key.chat(harness.BASE, f"Hello {i}", max_tokens=2).expect(200)
            cls.ids[tenant.id].append(answer.headers["x-request-id"])

    def export(self, client, path, **query):
        text = "&".join(f"{name}={value}" for name, value in query.items())
        return client.get(f"{path}?{text}").expect(200)

    def test_every_record_comes_once_and_in_order(self):
        answer = self.export(self.admin, "/v1/organization/usage/export")
        self.assertEqual(answer.headers["content-type"], "application/jsonl")
        self.assertEqual(answer.headers["transfer-encoding"], "chunked")
        records = [json.loads(line) for line in answer.body.splitlines()]
        self.assertEqual(sorted(r["request_id"] for r in records),
                         sorted(self.ids[self.one.id] + self.ids[self.two.id]))
        times = [r["finished_at"] for r in records]
        self.assertEqual(times, sorted(times))
        totals = self.server.usage(project_id=self.one.id)
        ours = [r for r in records if r["project_id"] == self.one.id]
        self.assertEqual(sum(r["output_tokens"] for r in ours),
                         sum(t["output_tokens"] for t in totals))
        self.assertTrue(all(r["cost_pico_usd"] > 0 and r["finish_reason"] for r in ours))

    def test_of_one_project_and_of_a_time(self):
        path = "/v1/organization/usage/export"
        found = self.export(self.admin, path, project_id=self.two.id).body.splitlines()
        self.assertEqual([json.loads(line)["request_id"] for line in found],
                         self.ids[self.two.id])
        self.assertEqual(self.export(self.admin, path, to=1_000_000_000).body, b"")
        self.assertEqual(self.export(self.admin, path, project_id="proj_none").body, b"")
        self.admin.get(f"{path}?format=xml").expect(400)
        self.admin.get(f"{path}?from=-1").expect(400)

    def test_a_tenant_exports_its_own_and_nothing_else(self):
        for project in ("", self.two.id):
            found = self.export(self.one.key, "/v1/tenant/usage/export", project_id=project)
            self.assertEqual([json.loads(line)["request_id"] for line in found.body.splitlines()],
                             self.ids[self.one.id])
        self.one.key.get("/v1/organization/usage/export").expect(403)

    def test_as_csv(self):
        answer = self.export(self.admin, "/v1/organization/usage/export", format="csv")
        rows = list(csv.DictReader(io.StringIO(answer.body.decode(), newline="")))
        self.assertEqual(len(rows), 12)
        self.assertEqual({row["project_id"] for row in rows}, set(self.ids))
        self.assertTrue(all(row["model"] == harness.BASE for row in rows))
        self.assertTrue(answer.body.startswith(b"request_id,project_id,"))

    def test_as_cloud_events(self):
        answer = self.export(self.one.key, "/v1/tenant/usage/export", format="cloudevents")
        events = [json.loads(line) for line in answer.body.splitlines()]
        self.assertEqual([event["id"] for event in events], self.ids[self.one.id])
        for event in events:
            self.assertEqual((event["specversion"], event["type"], event["subject"]),
                             ("1.0", "com.tessera.usage.recorded", self.one.id))
            self.assertEqual(event["data"]["request_id"], event["id"])

    def test_by_the_command_line(self):
        host, port = self.server.api
        done = subprocess.run(
            [harness.BINARY, "usage", "export", self.two.id, "--format", "jsonl", "--url",
             f"http://{host}:{port}", "--key-file", self.server.data / "admin.key"],
            stdout=subprocess.PIPE, check=True, timeout=harness.ANSWER_SECONDS)
        self.assertEqual([json.loads(line)["request_id"] for line in done.stdout.splitlines()],
                         self.ids[self.two.id])

    def test_usage_comes_in_pages(self):
        start = self.admin.get(f"/v1/organization/projects/{self.one.id}").json["created_at"]
        path = f"/v1/organization/usage/completions?start_time={start - 3600}&bucket_width=1m"
        seen, page = [], ""
        while True:
            found = self.admin.get(f"{path}&limit=1{page}").expect(200).json
            self.assertLessEqual(len(found["data"]), 1)
            seen += found["data"]
            if not found["has_more"]:
                self.assertIsNone(found["next_page"])
                break
            page = f"&page={found['next_page']}"
        self.assertEqual(sum(r["num_model_requests"] for b in seen for r in b["results"]), 12)
        for wrong in ("page=x", "page=page_1", "page=page_-5", "limit=1441", "limit=0"):
            self.admin.get(f"{path}&{wrong}").expect(400)

    def results(self, what, *query, client=None):
        text = "&".join(("start_time=0", "limit=31") + query)
        place = f"/v1/organization/{what}"
        found = (client or self.admin).get(f"{place}?{text}").expect(200).json["data"]
        return [result for bucket in found for result in bucket["results"]]

    def test_usage_is_grouped_by_whatever_openai_groups_it_by(self):
        completions = "usage/completions"
        [row] = self.results(completions, "group_by[]=service_tier", "group_by[]=batch",
                             "group_by[]=user_id")
        self.assertEqual((row["service_tier"], row["batch"], row["user_id"]),
                         ("default", False, None))
        self.assertEqual(row["num_model_requests"], 12)
        [row] = self.results(completions)
        self.assertEqual([row[name] for name in ("service_tier", "batch", "project_id", "model")],
                         [None] * 4)
        keys = {r["api_key_id"]: r["num_model_requests"]
                for r in self.results(completions, "group_by[]=api_key_id")}
        self.assertEqual(keys, {self.one.key.key_id: 8, self.two.key.key_id: 4})
        lines = self.results("costs", "group_by[]=line_item", "group_by=project_id")
        self.assertEqual({(r["line_item"], r["project_id"]) for r in lines},
                         {(harness.BASE, self.one.id), (harness.BASE, self.two.id)})

    def test_usage_is_cut_down_by_whatever_openai_cuts_it_down_by(self):
        def requests(*query, what="usage/completions"):
            return sum(r["num_model_requests"] for r in self.results(what, *query))
        one, two = self.one, self.two
        self.assertEqual(requests(f"project_ids[]={one.id}", f"project_ids[]={two.id}"), 12)
        self.assertEqual(requests(f"project_ids[]={two.id}"), 4)
        self.assertEqual(requests(f"api_key_ids[]={one.key.key_id}"), 8)
        self.assertEqual(requests(f"api_key_ids={one.key.key_id}", f"project_ids={two.id}"), 0)
        self.assertEqual(requests(f"models[]={harness.BASE}"), 12)
        self.assertEqual(requests("models[]=other"), 0)
        self.assertEqual(requests("batch=false"), 12)
        self.assertEqual(requests("batch=true"), 0, "nothing is a batch")
        self.assertEqual(requests("user_ids[]=somebody"), 0, "nobody is a user")
        self.assertEqual(requests("project_ids[]=proj_none", what="usage/embeddings"), 0)
        costs = self.results("costs", f"api_key_ids[]={two.key.key_id}")
        whole = self.results("costs")
        self.assertLess(0, costs[0]["amount"]["value_pico_usd"])
        self.assertLess(costs[0]["amount"]["value_pico_usd"], whole[0]["amount"]["value_pico_usd"])

    def test_what_no_report_has_is_refused(self):
        for what, query in (("usage/completions", "group_by[]=line_item"),
                            ("usage/completions", "group_by[]="), ("usage/completions", "batch=1"),
                            ("usage/embeddings", "group_by[]=service_tier"),
                            ("costs", "group_by[]=service_tier"), ("costs", "limit=181"),
                            ("usage/completions", "limit=32")):
            self.admin.get(f"/v1/organization/{what}?start_time=0&{query}").expect(400)
        self.admin.get("/v1/organization/costs?start_time=0&limit=180").expect(200)

    def test_a_tenant_sees_its_own_usage_in_buckets(self):
        path = "/v1/tenant/usage/completions?start_time=0&group_by[]=project_id"
        for filtered in (path, f"{path}&project_ids[]={self.two.id}"):
            found = self.one.key.get(filtered).expect(200).json["data"]
            results = [result for bucket in found for result in bucket["results"]]
            self.assertEqual({r["project_id"] for r in results}, {self.one.id})
            self.assertEqual(sum(r["num_model_requests"] for r in results), 8)


class SpendAlerts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server("--prices", limits_test.write_prices()).start()
        cls.addClassCleanup(cls.server.close)
        cls.admin = cls.server.admin

    def alert(self, cents, **more):
        return {"threshold_amount": cents, "currency": "USD", "interval": "month",
                "notification_channel": {"type": "email", "recipients": ["a@example.org"]}} | more

    def triggered(self, tenant):
        log = self.admin.get(f"/v1/organization/audit_logs?project_ids[]={tenant.id}"
                             "&event_types[]=spend_alert.triggered").expect(200).json["data"]
        return [entry["spend_alert.triggered"]["id"] for entry in log]

    def test_is_made_shown_changed_and_deleted(self):
        tenant = self.server.new_tenant("alerts")
        place = f"/v1/organization/projects/{tenant.id}/spend_alerts"
        made = self.admin.post(place, self.alert(1000)).expect(200).json
        self.assertEqual((made["object"], made["threshold_amount"], made["currency"]),
                         ("project.spend_alert", 1000, "USD"))
        self.assertEqual(self.admin.get(place).expect(200).json["data"], [made])
        changed = self.admin.post(f"{place}/{made['id']}", self.alert(2000)).expect(200).json
        self.assertEqual((changed["id"], changed["threshold_amount"]), (made["id"], 2000))
        for wrong in (self.alert(-1), self.alert(5, currency="EUR"), self.alert(5, x=1),
                      self.alert(5, notification_channel={"type": "pigeon", "recipients": []}),
                      {"threshold_amount": 5}):
            self.admin.post(place, wrong).expect(400)
        gone = self.admin.delete(f"{place}/{made['id']}").expect(200).json
        self.assertEqual(gone, {"id": made["id"], "object": "project.spend_alert.deleted",
                                "deleted": True})
        self.admin.get(f"{place}/{made['id']}").expect(404)
        self.admin.delete(f"{place}/{made['id']}").expect(404)

    def test_a_project_has_so_many_at_most(self):
        tenant = self.server.new_tenant("many")
        place = f"/v1/organization/projects/{tenant.id}/spend_alerts"
        for i in range(20):
            self.admin.post(place, self.alert(i)).expect(200)
        self.admin.post(place, self.alert(1)).expect(400)

    def test_the_organization_has_alerts_of_its_own(self):
        place = "/v1/organization/spend_alerts"
        made = self.admin.post(place, self.alert(800_000_000)).expect(200).json
        self.assertEqual((made["object"], made["threshold_amount"], made["last_triggered_month"]),
                         ("organization.spend_alert", 800_000_000, None))
        self.assertEqual(self.admin.get(place).expect(200).json["data"], [made])
        one = f"{place}/{made['id']}"
        seen = self.admin.get(one).expect(200)
        self.assertEqual(seen.json, made)
        changed = self.admin.ask("POST", one, self.alert(700_000_000),
                                 if_match=seen.headers["etag"]).expect(200).json
        self.assertEqual((changed["id"], changed["threshold_amount"]), (made["id"], 700_000_000))
        self.admin.ask("POST", one, self.alert(5), if_match=seen.headers["etag"]).expect(412)
        for wrong in (self.alert(-1), self.alert(5, currency="EUR"), {}, []):
            self.admin.post(place, wrong).expect(400)
        tenant = self.server.new_tenant("not-an-admin")
        tenant.key.get(place).expect(403)
        theirs = f"/v1/organization/projects/{tenant.id}/spend_alerts/{made['id']}"
        self.admin.get(theirs).expect(404)
        self.admin.ask("DELETE", one, if_match='"0"').expect(412)
        gone = self.admin.delete(one).expect(200).json
        self.assertEqual(gone, {"id": made["id"], "object": "organization.spend_alert.deleted",
                                "deleted": True})
        self.admin.get(one).expect(404)
        log = self.admin.get("/v1/organization/audit_logs?resource_ids[]=" + made["id"]).json
        self.assertEqual([entry["type"] for entry in log["data"]],
                         ["spend_alert.deleted", "spend_alert.updated", "spend_alert.created"])
        self.assertTrue(all("project" not in entry for entry in log["data"]))

    def test_the_organizations_is_told_once_also_after_a_restart(self):
        server = harness.Server("--prices", limits_test.write_prices()).start()
        self.addCleanup(server.close)
        place = "/v1/organization/spend_alerts"
        tenants = [server.new_tenant(name) for name in ("a", "b")]
        low = server.admin.post(place, self.alert(1)).expect(200).json["id"]
        spent = {tenant.id: 0 for tenant in tenants}
        for tenant in tenants:  # a cent, by two who each spend less
            usage = tenant.key.chat(harness.BASE, "Hello!", max_tokens=3,
                                    ignore_eos=True).expect(200).json["usage"]
            spent[tenant.id] += (usage["completion_tokens"] * 2000
                                 + usage["prompt_tokens"] * 100) * 10**6
        self.assertGreater(sum(spent.values()), 10**10)
        self.assertTrue(all(cost < 10**10 for cost in spent.values()))

        def month():
            return server.admin.get(f"{place}/{low}").expect(200).json["last_triggered_month"]
        told = harness.wait_until(month, what="the alert")
        server.kill()
        server.start()
        self.assertEqual(month(), told)
        log = server.admin.get("/v1/organization/audit_logs"
                               "?event_types[]=spend_alert.triggered").expect(200).json["data"]
        self.assertEqual([entry["spend_alert.triggered"]["id"] for entry in log], [low])

    def test_is_told_once_when_so_much_was_spent_also_after_a_restart(self):
        tenant = self.server.new_tenant("spender")
        place = f"/v1/organization/projects/{tenant.id}/spend_alerts"
        low = self.admin.post(place, self.alert(1)).expect(200).json["id"]
        self.admin.post(place, self.alert(800_000_000)).expect(200)
        self.assertEqual(self.triggered(tenant), [])
        spent = 0
        while spent <= 10**10:  # a cent
            usage = tenant.key.chat(harness.BASE, "Hello!", max_tokens=16,
                                    ignore_eos=True).expect(200).json["usage"]
            spent += usage["completion_tokens"] * 2000 * 10**6
        harness.wait_until(lambda: self.triggered(tenant), what="the alert")
        self.assertEqual(self.triggered(tenant), [low])
        month = self.admin.get(f"{place}/{low}").expect(200).json["last_triggered_month"]
        self.assertGreater(month, 1_700_000_000)
        self.server.kill()
        self.assertEqual(self.server.verify_audit()[0], 0)
        self.server.start()
        type(self).admin = self.server.admin
        tenant.key.chat(harness.BASE, "Hello!", max_tokens=1).expect(200)
        other = self.server.new_tenant("second")  # told later than the first would be again
        again = f"/v1/organization/projects/{other.id}/spend_alerts"
        self.admin.post(again, self.alert(0)).expect(200)
        harness.wait_until(lambda: self.triggered(other), what="the other's alert")
        self.assertEqual(self.triggered(tenant), [low])


if __name__ == "__main__":
    unittest.main()
