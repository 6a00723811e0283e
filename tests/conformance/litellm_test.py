"""litellm_test.py — LiteLLM's SDK as a client: `openai/` and `hosted_vllm/` models."""

import unittest

import harness
import scripted_model

try:
    import litellm
except ImportError:
    litellm = None

MODEL = "proxied"
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Köln"}}\n</tool_call>'
WEATHER = {"type": "function", "function": {
    "name": "get_weather", "parameters": {"type": "object", "properties": {
        "city": {"type": "string"}}, "required": ["city"]}}}


@unittest.skipIf(litellm is None, "the litellm package is not installed")
class LiteLlm(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        model = scripted_model.packed(MODEL, scripted_model.HERMES, {
            "hello": ["Good day, Łukasz."], "weather": [CALL]})
        cls.server = harness.Server(model=model).start()
        cls.addClassCleanup(cls.server.close)
        cls.key = cls.server.new_tenant("proxied").key.key
        host, port = cls.server.api
        cls.url = f"http://{host}:{port}/v1"

    def ask(self, text="hello", provider="openai", **fields):
        return litellm.completion(model=f"{provider}/{MODEL}", api_key=self.key, api_base=self.url,
                                  messages=[{"role": "user", "content": text}], num_retries=0,
                                  **fields)

    def test_completes(self):
        for provider in ("openai", "hosted_vllm"):
            with self.subTest(provider):
                answer = self.ask(provider=provider)
                self.assertEqual(answer.choices[0].message.content, "Good day, Łukasz.")
                self.assertGreater(answer.usage.completion_tokens, 0)

    def test_streams(self):
        text = "".join(chunk.choices[0].delta.content or "" for chunk in self.ask(stream=True)
                       if chunk.choices)
        self.assertEqual(text, "Good day, Łukasz.")

    def test_calls_tools(self):
        message = self.ask("weather", tools=[WEATHER]).choices[0].message
        self.assertEqual(message.tool_calls[0].function.name, "get_weather")

    def test_embeds(self):
        answer = litellm.embedding(model=f"openai/{MODEL}", input=["hello", "weather"],
                                   api_key=self.key, api_base=self.url, encoding_format="float")
        self.assertEqual(len(answer.data), 2)

    def test_errors_have_their_classes(self):
        with self.assertRaises(litellm.ContextWindowExceededError):
            self.ask("hello " * 5000)
        with self.assertRaises(litellm.AuthenticationError):
            litellm.completion(model=f"openai/{MODEL}", api_key="sk-live-nobody",
                               api_base=self.url, num_retries=0,
                               messages=[{"role": "user", "content": "hello"}])
        with self.assertRaises(litellm.NotFoundError):
            litellm.completion(model="openai/nobody", api_key=self.key, api_base=self.url,
                               num_retries=0, messages=[{"role": "user", "content": "hello"}])


if __name__ == "__main__":
    unittest.main()
