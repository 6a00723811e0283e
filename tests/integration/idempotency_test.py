"""idempotency_test.py — a request that is sent again under its Idempotency-Key happens once."""

import concurrent.futures
import unittest

import harness
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

    def test_inference_is_generated_and_charged_each_time(self):
        def ask():
            return self.tenant.key.ask("POST", "/v1/chat/completions",
                                       harness.chat_fields(harness.BASE, "Hi", max_tokens=2),
                                       idempotency_key="chat").expect(200)
        self.assertNotEqual(ask().json["id"], ask().json["id"])
        self.assertEqual(self.server.usage(project_id=self.tenant.id)[0]["num_model_requests"], 2)


if __name__ == "__main__":
    unittest.main()
