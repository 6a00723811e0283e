"""langchain_test.py — LangChain's ChatOpenAI and OpenAIEmbeddings against a real server."""

import unittest

import harness
import scripted_model

try:
    import langchain_openai
except ImportError:
    langchain_openai = None

MODEL = "chains"
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Köln"}}\n</tool_call>'


@unittest.skipIf(langchain_openai is None, "the langchain-openai package is not installed")
class LangChain(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        model = scripted_model.packed(MODEL, scripted_model.HERMES, {
            "hello": ["Good day, Łukasz."], "weather": [CALL], "17": ["It is warm."],
            "person": ['{"name":"Ada","age":36}']})
        cls.server = harness.Server(model=model).start()
        cls.addClassCleanup(cls.server.close)
        cls.key = cls.server.new_tenant("chains").key.key
        host, port = cls.server.api
        cls.url = f"http://{host}:{port}/v1"

    def chat(self, **fields):
        return langchain_openai.ChatOpenAI(model=MODEL, api_key=self.key, base_url=self.url,
                                           max_retries=0, **fields)

    def test_invokes(self):
        answer = self.chat().invoke("hello")
        self.assertEqual(answer.content, "Good day, Łukasz.")
        self.assertEqual(answer.response_metadata["finish_reason"], "stop")
        self.assertGreater(answer.usage_metadata["output_tokens"], 0)

    def test_streams(self):
        chunks = list(self.chat(stream_usage=True).stream("hello"))
        self.assertEqual("".join(chunk.content for chunk in chunks), "Good day, Łukasz.")
        self.assertTrue(any(chunk.usage_metadata for chunk in chunks))

    def test_calls_tools(self):
        def get_weather(city: str) -> str:
            """The weather of a city."""
            return city

        bound = self.chat().bind_tools([get_weather])
        answer = bound.invoke("weather")
        self.assertEqual([(call["name"], call["args"]) for call in answer.tool_calls],
                         [("get_weather", {"city": "Köln"})])
        result = {"role": "tool", "tool_call_id": answer.tool_calls[0]["id"], "content": "17"}
        self.assertEqual(bound.invoke([("user", "weather"), answer, result]).content,
                         "It is warm.")
        streamed = None
        for chunk in bound.stream("weather"):
            streamed = chunk if streamed is None else streamed + chunk
        self.assertEqual(streamed.tool_calls[0]["args"], {"city": "Köln"})

    def test_gives_structured_output(self):
        schema = {"title": "person", "description": "A person.", "type": "object",
                  "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
                  "required": ["name", "age"], "additionalProperties": False}
        person = self.chat().with_structured_output(schema, method="json_schema").invoke("person")
        # What is forced is tokenised otherwise than the script, so the values are not its own.
        self.assertEqual({name: type(value) for name, value in person.items()},
                         {"name": str, "age": int})

    def test_answers_through_the_responses_api(self):
        answer = self.chat(use_responses_api=True).invoke("hello")
        self.assertEqual(answer.text if isinstance(answer.text, str) else answer.text(),
                         "Good day, Łukasz.")

    def test_embeds(self):
        # Its own default sends ids of OpenAI's tokenizer, which are refused in so many words.
        embeddings = langchain_openai.OpenAIEmbeddings(
            model=MODEL, api_key=self.key, base_url=self.url, check_embedding_ctx_length=False)
        vectors = embeddings.embed_documents(["hello", "weather"])
        self.assertEqual(len(vectors), 2)
        self.assertEqual(embeddings.embed_query("hello"), vectors[0])

    def test_errors_are_raised(self):
        with self.assertRaises(Exception) as caught:
            self.chat(temperature=5).invoke("hello")
        self.assertIn("temperature", str(caught.exception))


if __name__ == "__main__":
    unittest.main()
