"""idempotency_test.py — a request that is sent again under its Idempotency-Key happens once; one
that the model answers is charged once."""

import concurrent.futures
import http.client
import json
import unittest

import harness
import limits_test
import packages


class Idempotency(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server().start()
        cls.addClassCleanup(cls.server.close)
        cls.admin = cls.server.admin
        cls.tenant = cls.server.new_tenant("again")

    def projects(self, name):
        listed = self.admin.get("/v1/organization/projects?limit=100").expect(200).json["data"]
        return [project["id"] for project in listed if project["name"] == name]

    def create(self, name, key, client=None):
        return (client or self.admin).ask("POST", "/v1/organization/projects", {"name": name},
                                          idempotency_key=key)

    def test_the_second_request_gets_the_first_ones_answer(self):
        first = self.create("twice", "key-1").expect(200)
        second = self.create("twice", "key-1").expect(200)
        self.assertNotIn("idempotent-replayed", first.headers)
        self.assertEqual(second.headers["idempotent-replayed"], "true")
        self.assertEqual(second.body, first.body)
        self.assertNotEqual(second.headers["x-request-id"], first.headers["x-request-id"])
        self.assertEqual(self.projects("twice"), [first.json["id"]])

    def test_an_answer_outlives_the_server_and_its_secret_is_not_in_the_store(self):
        server = harness.Server().start()
        self.addCleanup(server.close)
        ask = lambda: server.admin.ask("POST", "/v1/organization/admin_api_keys", {"name": "k"},
                                       idempotency_key="over a crash").expect(200)
        first = ask()
        server.kill()
        stored = b"".join(path.read_bytes() for path in (server.data / "store").iterdir()
                          if path.is_file())
        self.assertNotIn(first.json["value"].encode(), stored)
        server.start()
        again = ask()
        self.assertEqual((again.body, again.headers["idempotent-replayed"]), (first.body, "true"))
        refused = server.admin.ask("POST", "/v1/organization/admin_api_keys", {"name": "other"},
                                   idempotency_key="over a crash")
        self.assertEqual(refused.expect(409).error["code"], "idempotency_key_reuse")

    def test_another_body_is_refused(self):
        self.create("one", "key-2").expect(200)
        answer = self.create("other", "key-2").expect(409)
        self.assertEqual(answer.error["code"], "idempotency_key_reuse")
        self.assertEqual(answer.headers["x-should-retry"], "false")
        self.assertEqual(self.projects("other"), [])

    def test_another_path_method_or_caller_is_another_place(self):
        first = self.create("place", "key-3").expect(200).json
        place = f"/v1/organization/projects/{first['id']}"
        renamed = self.admin.ask("POST", place, {"name": "place"}, idempotency_key="key-3")
        self.assertNotIn("idempotent-replayed", renamed.expect(200).headers)
        made = self.admin.post("/v1/organization/admin_api_keys", {"name": "second"}).expect(200)
        second = harness.Client(self.server, made.json["value"])
        self.assertNotEqual(self.create("place", "key-3", second).expect(200).json["id"],
                            first["id"])

    def test_a_secret_is_shown_again_to_the_key_that_asked_only(self):
        def new_key(client):
            return client.ask("POST", "/v1/organization/admin_api_keys", {"name": "k"},
                              idempotency_key="secret")
        first = new_key(self.admin).expect(200).json
        self.assertEqual(new_key(self.admin).expect(200).json["value"], first["value"])
        other = harness.Client(self.server, first["value"])
        self.assertNotEqual(new_key(other).expect(200).json["value"], first["value"])

    def test_a_refusal_is_told_again_and_a_broken_key_is_refused(self):
        wrong = self.admin.ask("POST", "/v1/organization/projects", {"nome": "x"},
                               idempotency_key="key-4").expect(400)
        again = self.admin.ask("POST", "/v1/organization/projects", {"nome": "x"},
                               idempotency_key="key-4").expect(400)
        self.assertEqual(again.headers["idempotent-replayed"], "true")
        self.assertEqual(again.error["code"], wrong.error["code"])
        answer = self.create("never", "k" * 256).expect(400)
        self.assertEqual((answer.error["code"], answer.error["param"]),
                         ("invalid_value", "Idempotency-Key"))

    def test_only_one_of_many_at_once_happens(self):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: self.create("crowd", "key-5"), range(16)))
        done = {answer.json["id"] for answer in answers if answer.status == 200}
        self.assertEqual(len(done), 1)
        self.assertEqual(len(self.projects("crowd")), 1)
        for answer in answers:
            if answer.status != 200:
                self.assertEqual(answer.expect(409).error["code"], "idempotency_in_progress")
                self.assertIn("retry-after", answer.headers)

    def test_an_uploads_form_is_the_same_whatever_its_boundary(self):
        config, tensors = packages.package()

        def upload():
            body, content_type = harness.multipart(name="bot", adapter_config=config,
                                                   adapter_model=tensors)
            headers = self.tenant.key.headers(**{"Content-Type": content_type,
                                                 "Idempotency-Key": "upload-1"})
            return harness.exchange(self.server.api, "POST", "/v1/adapters", body, headers)
        first = upload().expect(201)
        second = upload().expect(201)
        self.assertEqual(second.headers["idempotent-replayed"], "true")
        self.assertEqual(second.body, first.body)


class Inference(unittest.TestCase):
    """An answer of the model is generated anew, and charged once."""

    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server("--prices", limits_test.write_prices()).start()
        cls.addClassCleanup(cls.server.close)

    def setUp(self):
        self.tenant = self.server.new_tenant(self.id().rsplit(".", 1)[-1][:40])

    def ask(self, key, prompt="Hi", client=None, **fields):
        fields = {"max_tokens": 4, "ignore_eos": True} | fields
        return (client or self.tenant.key).ask("POST", "/v1/chat/completions",
                                               harness.chat_fields(harness.BASE, prompt, **fields),
                                               idempotency_key=key)

    def cost(self):
        costs = self.server.admin.get("/v1/organization/costs?start_time=0&limit=180"
                                      "&group_by[]=project_id").expect(200).json
        return sum(r["amount"]["value_pico_usd"] for b in costs["data"] for r in b["results"]
                   if r["project_id"] == self.tenant.id)

    def records(self):
        exported = self.server.admin.get("/v1/organization/usage/export?project_id="
                                         + self.tenant.id).expect(200)
        return [json.loads(line) for line in exported.body.splitlines()]

    def test_a_chat_that_comes_again_costs_nothing(self):
        first = self.ask("chat").expect(200)
        once = self.cost()
        self.assertGreater(once, 0)
        again = self.ask("chat").expect(200)
        self.assertEqual(self.cost(), once)
        self.assertNotEqual(again.json["id"], first.json["id"], "it is no replay")
        self.assertEqual(again.json["usage"]["completion_tokens"], 4)
        self.assertNotIn("idempotent-uncharged", first.headers)
        self.assertEqual(again.headers["idempotent-uncharged"], "true")
        self.assertEqual([(r["cost_pico_usd"], r["charged_as"]) for r in self.records()],
                         [(once, None), (0, first.headers["x-request-id"])])
        self.assertEqual(self.server.usage(project_id=self.tenant.id)[0]["num_model_requests"], 2,
                         "what was done is counted")

    def test_without_a_key_or_under_another_each_is_charged(self):
        self.ask("one").expect(200)
        once = self.cost()
        self.ask("two").expect(200)
        self.tenant.key.chat(harness.BASE, "Hi", max_tokens=4, ignore_eos=True).expect(200)
        other = self.server.new_key(self.tenant.id, "other")
        self.ask("one", client=other).expect(200)
        self.assertEqual(self.cost(), 4 * once)

    def test_completions_embeddings_responses_and_streams_too(self):
        for path, fields in (("/v1/completions", {"prompt": "Hi", "max_tokens": 2}),
                             ("/v1/embeddings", {"input": "Hi"}),
                             ("/v1/responses", {"input": "Hi", "max_output_tokens": 2}),
                             ("/v1/chat/completions",
                              harness.chat_fields(harness.BASE, "Hi", max_tokens=2, stream=True))):
            with self.subTest(path):
                fields = {"model": harness.BASE} | fields
                before = self.cost()
                for _ in range(2):
                    self.tenant.key.ask("POST", path, fields, idempotency_key=path).expect(200)
                first, second = self.records()[-2:]
                self.assertGreater(first["cost_pico_usd"], 0)
                self.assertEqual(second["cost_pico_usd"], 0)
                self.assertEqual(self.cost(), before + first["cost_pico_usd"])

    def test_it_outlives_a_kill(self):
        server = harness.Server("--prices", limits_test.write_prices()).start()
        self.addCleanup(server.close)
        tenant = server.new_tenant("killed")
        self.ask("over a crash", client=tenant.key).expect(200)
        server.kill()
        server.start()
        again = self.ask("over a crash", client=tenant.key).expect(200)
        self.assertEqual(again.headers["idempotent-uncharged"], "true")
        self.assertEqual(server.verify_audit()[0], 0)

    def test_another_body_is_refused_and_so_is_one_that_is_under_way(self):
        self.ask("body").expect(200)
        refused = self.ask("body", "Hello").expect(409)
        self.assertEqual(refused.error["code"], "idempotency_key_reuse")
        self.assertEqual(refused.headers["x-should-retry"], "false")
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: self.ask("crowd", max_tokens=32), range(8)))
        self.assertIn(200, {answer.status for answer in answers})
        for answer in answers:
            if answer.status != 200:
                self.assertEqual(answer.expect(409).error["code"], "idempotency_in_progress")
        self.assertEqual(len([r for r in self.records() if r["output_tokens"] == 32
                              and r["cost_pico_usd"] > 0]), 1)

    def test_what_was_refused_is_not_held_against_the_next(self):
        for _ in range(3):
            self.ask("wrong", max_tokens=-1).expect(400)
        self.ask("wrong").expect(200)
        self.ask("k" * 256).expect(400)

    def test_a_key_is_for_a_few_requests(self):
        statuses = [self.ask("often", max_tokens=1).status for _ in range(11)]
        self.assertEqual(statuses, [200] * 10 + [409])
        refused = self.ask("often", max_tokens=1).expect(409)
        self.assertEqual(refused.error["code"], "idempotency_key_exhausted")

    def test_who_leaves_pays_once_for_what_was_made(self):
        fields = harness.chat_fields(harness.BASE, "Hi", max_tokens=200, ignore_eos=True,
                                     stream=True)
        connection = http.client.HTTPConnection(*self.server.api, timeout=harness.ANSWER_SECONDS)
        connection.request("POST", "/v1/chat/completions", json.dumps(fields).encode(),
                           self.tenant.key.headers(**{"Content-Type": "application/json",
                                                      "Idempotency-Key": "leaves"}))
        response = connection.getresponse()
        response.readline()
        response.close()
        connection.close()
        left = harness.wait_until(self.records, what="the record of the one that was left")[0]
        harness.wait_until(
            lambda: self.tenant.key.ask("POST", "/v1/chat/completions", fields,
                                        idempotency_key="leaves").status == 200,
            what="its turn")
        whole = self.records()[-1]
        self.assertEqual(whole["output_tokens"], 200)
        price = self.price_of(whole)
        self.assertEqual(self.cost(), price)
        self.assertEqual(whole["cost_pico_usd"], price - left["cost_pico_usd"])

    def price_of(self, record):
        """What the request's tokens cost where no key was charged before."""
        tenant = self.server.new_tenant("plain")
        tenant.key.chat(harness.BASE, "Hi", max_tokens=200, ignore_eos=True).expect(200)
        exported = self.server.admin.get("/v1/organization/usage/export?project_id="
                                         + tenant.id).expect(200)
        plain = json.loads(exported.body)
        self.assertEqual((plain["input_tokens"], plain["output_tokens"]),
                         (record["input_tokens"], record["output_tokens"]))
        return plain["cost_pico_usd"]


if __name__ == "__main__":
    unittest.main()
