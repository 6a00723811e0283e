"""openai_responses_test.py — client.responses.create, .stream and .parse, unmodified."""

import json
import unittest

import harness
import scripted_model

try:
    import openai
    import pydantic
except ImportError:
    openai = None

MODEL = "typed-responder"
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "%s"}}\n</tool_call>'
WEATHER = {"type": "function", "name": "get_weather", "strict": False,
           "parameters": {"type": "object", "properties": {"city": {"type": "string"}},
                          "required": ["city"]}}


@unittest.skipIf(openai is None, "the openai package is not installed")
class OpenAiResponses(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        model = scripted_model.packed(MODEL, scripted_model.HERMES, {
            "hello": ["Good day, Łukasz."],
            "person": ['{"name":"Ada","age":36}'],
            "weather": [CALL % "Köln"], "17": ["It is warm."]})
        cls.server = harness.Server(model=model).start()
        cls.addClassCleanup(cls.server.close)
        host, port = cls.server.api
        key = cls.server.new_tenant("responses").key.key
        cls.client = openai.OpenAI(api_key=key, base_url=f"http://{host}:{port}/v1")
        cls.addClassCleanup(cls.client.close)

    def test_creates(self):
        response = self.client.responses.create(model=MODEL, input="hello", store=False,
                                                instructions="Be kind.")
        self.assertEqual(response.output_text, "Good day, Łukasz.")
        self.assertEqual(response.status, "completed")
        self.assertEqual(response.usage.total_tokens,
                         response.usage.input_tokens + response.usage.output_tokens)

    def test_raw_events_are_of_the_clients_types(self):
        types, text = [], ""
        for event in self.client.responses.create(model=MODEL, input="hello", stream=True):
            types.append(event.type)
            self.assertNotIsInstance(event, dict)
            if event.type == "response.output_text.delta":
                text += event.delta
        self.assertEqual(text, "Good day, Łukasz.")
        self.assertEqual((types[0], types[-1]), ("response.created", "response.completed"))

    def test_its_own_accumulator_builds_the_same_answer(self):
        with self.client.responses.stream(model=MODEL, input="hello") as stream:
            deltas = [event.delta for event in stream
                      if event.type == "response.output_text.delta"]
            final = stream.get_final_response()
        self.assertEqual("".join(deltas), "Good day, Łukasz.")
        self.assertEqual(final.output_text, "Good day, Łukasz.")

    def test_parses_into_a_type(self):
        class Person(pydantic.BaseModel):
            name: str
            age: int

        response = self.client.responses.parse(model=MODEL, input="person", text_format=Person)
        # What is forced is tokenised otherwise than the script, so the values are not its own.
        self.assertIsInstance(response.output_parsed, Person)

    def test_the_round_trip_of_a_call(self):
        first = self.client.responses.create(model=MODEL, input="weather", tools=[WEATHER])
        [call] = [item for item in first.output if item.type == "function_call"]
        self.assertEqual(json.loads(call.arguments), {"city": "Köln"})
        items = [{"role": "user", "content": "weather"}, call.model_dump(exclude_none=True),
                 {"type": "function_call_output", "call_id": call.call_id, "output": "17"}]
        second = self.client.responses.create(model=MODEL, input=items, tools=[WEATHER])
        self.assertEqual(second.output_text, "It is warm.")

    def test_a_streamed_call_is_accumulated(self):
        with self.client.responses.stream(model=MODEL, input="weather", tools=[WEATHER]) as stream:
            final = stream.get_final_response()
        [call] = [item for item in final.output if item.type == "function_call"]
        self.assertEqual((call.name, json.loads(call.arguments)),
                         ("get_weather", {"city": "Köln"}))

    def test_what_needs_a_store_is_refused_by_name(self):
        for field, value in (("store", True), ("previous_response_id", "resp_1")):
            with self.assertRaises(openai.BadRequestError) as caught:
                self.client.responses.create(model=MODEL, input="hello", **{field: value})
            self.assertEqual((caught.exception.param, caught.exception.code),
                             (field, "unsupported_parameter"))


if __name__ == "__main__":
    unittest.main()
