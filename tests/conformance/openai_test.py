"""openai_test.py — the unmodified `openai` client from PyPI against a real server.

Nothing is told to the client but an address and a key. What it raises is what its users catch.
"""

import unittest

import harness

try:
    import openai
except ImportError:
    openai = None


@unittest.skipIf(openai is None, "the openai package is not installed")
class OpenAiClient(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server().start()
        cls.addClassCleanup(cls.server.close)
        cls.adapter = harness.demo_adapters()[0]
        cls.example = harness.held_out(cls.adapter, 1)[0]
        cls.tenant = cls.server.new_tenant("conformance")
        cls.tenant.key.upload(cls.adapter,
                              *harness.demo_package(cls.adapter)).expect(200, 201, 202)
        cls.client = cls.client_with(cls.tenant.key.key)

    @classmethod
    def client_with(cls, key, **options):
        host, port = cls.server.api
        client = openai.OpenAI(api_key=key, base_url=f"http://{host}:{port}/v1", **options)
        cls.addClassCleanup(client.close)
        return client

    def ask(self, client=None, **fields):
        fields = {"model": self.adapter, "temperature": 0, "max_tokens": 128,
                  "messages": [{"role": "user", "content": self.example["prompt"]}]} | fields
        return (client or self.client).chat.completions.create(**fields)

    def test_chats_with_an_adapter(self):
        answer = self.ask()
        self.assertEqual(answer.choices[0].message.content, self.example["expected"])
        self.assertEqual(answer.choices[0].message.role, "assistant")
        self.assertEqual(answer.choices[0].finish_reason, "stop")
        self.assertEqual(answer.object, "chat.completion")
        self.assertEqual(answer.model, f"{self.adapter}@1")
        self.assertEqual(answer.usage.total_tokens,
                         answer.usage.prompt_tokens + answer.usage.completion_tokens)

    def test_streams(self):
        chunks = list(self.ask(stream=True, stream_options={"include_usage": True}))
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        self.assertEqual(text, self.example["expected"])
        self.assertEqual(chunks[-1].usage.completion_tokens, self.ask().usage.completion_tokens)

    def test_its_own_accumulator_builds_the_same_answer(self):
        fields = {"model": self.adapter, "temperature": 0, "max_tokens": 128,
                  "messages": [{"role": "user", "content": self.example["prompt"]}]}
        with self.client.chat.completions.stream(**fields) as stream:
            final = stream.get_final_completion()
        self.assertEqual(final.choices[0].message.content, self.example["expected"])
        self.assertEqual(final.choices[0].finish_reason, "stop")

    def test_lists_and_retrieves_models(self):
        models = {model.id: model for model in self.client.models.list()}
        self.assertEqual(set(models), {harness.BASE, self.adapter})
        self.assertTrue(all(m.object == "model" and m.owned_by for m in models.values()))
        self.assertEqual(self.client.models.retrieve(self.adapter).id, self.adapter)

    def test_completes_text(self):
        answer = self.client.completions.create(model=harness.BASE, prompt="One morning",
                                                max_tokens=8, temperature=0)
        self.assertEqual(answer.object, "text_completion")
        self.assertEqual(answer.usage.completion_tokens, 8)
        self.assertTrue(answer.choices[0].text)
        self.assertEqual(answer.choices[0].finish_reason, "length")

    def test_gives_log_probabilities(self):
        answer = self.ask(logprobs=True, top_logprobs=3)
        records = answer.choices[0].logprobs.content
        self.assertTrue(self.example["expected"].startswith("".join(r.token for r in records[:3])))
        for record in records:
            self.assertLessEqual(record.logprob, 0)
            self.assertEqual(len(record.top_logprobs), 3)
            self.assertEqual(record.top_logprobs[0].logprob, record.logprob, "it was greedy")
        completion = self.client.completions.create(
            model=harness.BASE, prompt="One morning", max_tokens=4, temperature=0, logprobs=2)
        self.assertEqual(len(completion.choices[0].logprobs.token_logprobs), 4)

    def test_a_seed_repeats_an_answer(self):
        def story(seed):
            return self.ask(model=harness.BASE, temperature=1, seed=seed, messages=[
                {"role": "user", "content": "Tell me a story."}]).choices[0].message.content
        self.assertEqual(story(1), story(1))
        self.assertGreater(len({story(seed) for seed in range(6)}), 1)

    def test_a_wrong_key_is_an_authentication_error(self):
        with self.assertRaises(openai.AuthenticationError) as caught:
            self.ask(self.client_with("sk-live-nobody"))
        self.assertEqual(caught.exception.code, "invalid_api_key")

    def test_an_unknown_model_is_a_not_found_error(self):
        with self.assertRaises(openai.NotFoundError) as caught:
            self.ask(model="nobody")
        self.assertEqual(caught.exception.code, "model_not_found")

    def test_a_too_long_prompt_is_a_bad_request_with_its_code(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.ask(messages=[{"role": "user", "content": "long " * 3000}])
        self.assertEqual(caught.exception.code, "context_length_exceeded")
        self.assertIn("maximum context length", caught.exception.message)

    def test_a_spent_limit_is_a_rate_limit_error(self):
        tenant = self.server.new_tenant("spent", max_requests_per_1_minute=1)
        client = self.client_with(tenant.key.key, max_retries=0)
        with self.assertRaises(openai.RateLimitError) as caught:
            for _ in range(100):
                self.ask(client, model=harness.BASE, max_tokens=1)
        self.assertEqual(caught.exception.code, "rate_limit_exceeded")
        self.assertGreater(float(caught.exception.response.headers["retry-after"]), 0)

    def test_the_client_waits_as_told_and_then_succeeds(self):
        tenant = self.server.new_tenant("patient", max_requests_per_1_minute=60)
        impatient = self.client_with(tenant.key.key, max_retries=0)
        with self.assertRaises(openai.RateLimitError):
            for _ in range(1000):
                self.ask(impatient, model=harness.BASE, max_tokens=1)
        patient = self.client_with(tenant.key.key, max_retries=2)
        self.assertTrue(self.ask(patient, model=harness.BASE, max_tokens=1).choices)

    def test_an_invalid_value_names_its_parameter(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.ask(temperature=5)
        self.assertEqual(caught.exception.param, "temperature")


if __name__ == "__main__":
    unittest.main()
