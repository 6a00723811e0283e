"""openai_embeddings_test.py — embeddings and the old completions by way of the unmodified client."""

import math
import unittest

import harness

try:
    import openai
except ImportError:
    openai = None

TEXTS = ["The lamp is red.", "Ein roter Fuchs."]


@unittest.skipIf(openai is None, "the openai package is not installed")
class OpenAiEmbeddings(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server().start()
        cls.addClassCleanup(cls.server.close)
        host, port = cls.server.api
        cls.key = cls.server.new_tenant("embeddings").key
        cls.client = openai.OpenAI(api_key=cls.key.key, base_url=f"http://{host}:{port}/v1")
        cls.addClassCleanup(cls.client.close)

    def embed(self, inputs, **fields):
        return self.client.embeddings.create(model=harness.BASE, input=inputs, **fields)

    def test_the_clients_own_default_is_base64_and_comes_out_as_floats(self):
        default = self.embed(TEXTS)
        floats = self.embed(TEXTS, encoding_format="float")
        self.assertEqual(default.object, "list")
        self.assertEqual([item.index for item in default.data], [0, 1])
        for ours, plain in zip(default.data, floats.data):
            self.assertAlmostEqual(math.hypot(*ours.embedding), 1, places=5)
            for a, b in zip(ours.embedding, plain.embedding, strict=True):
                self.assertAlmostEqual(a, b, places=6)
        self.assertEqual(default.usage.prompt_tokens, default.usage.total_tokens)

    def test_dimensions_and_single_texts(self):
        self.assertEqual(len(self.embed(TEXTS[0], dimensions=16).data[0].embedding), 16)

    def test_too_long_a_text_is_a_bad_request_with_its_code(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.embed("long " * 3000)
        self.assertEqual(caught.exception.code, "context_length_exceeded")

    def test_completions_echo_their_prompt_with_log_probabilities(self):
        answer = self.client.completions.create(model=harness.BASE, prompt="One morning", echo=True,
                                                logprobs=2, max_tokens=3, temperature=0)
        choice = answer.choices[0]
        self.assertTrue(choice.text.startswith("One morning"))
        self.assertIsNone(choice.logprobs.token_logprobs[0])
        self.assertEqual(len(choice.logprobs.tokens),
                         answer.usage.prompt_tokens + answer.usage.completion_tokens)

    def test_best_of_gives_the_best(self):
        answer = self.client.completions.create(model=harness.BASE, prompt="One morning", n=1,
                                                best_of=3, max_tokens=4, seed=1)
        self.assertEqual(len(answer.choices), 1)
        self.assertLessEqual(answer.usage.completion_tokens, 12)


if __name__ == "__main__":
    unittest.main()
