"""openai_tools_test.py — tools, reasoning and models' fields by way of the unmodified client."""

import json
import unittest

import harness
import scripted_model

try:
    import openai
except ImportError:
    openai = None

WEATHER = {"type": "function", "function": {
    "name": "get_weather", "parameters": {"type": "object", "properties": {
        "city": {"type": "string"}}, "required": ["city"]}}}
MODEL = "tool-caller"
CALL = ('<tool_call>\n{"name": "get_weather", "arguments": {"city": "%s", "n": [1, %d]}}\n'
        "</tool_call>")


@unittest.skipIf(openai is None, "the openai package is not installed")
class OpenAiTools(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        model = scripted_model.packed(MODEL, scripted_model.THINKING, {
            "weather": ["<think>\nTwo cities.\n</think>\n\nI look.\n" + CALL % ("Köln", 1) + "\n"
                        + CALL % ("Łódź", 2)],
            "both known": ["Warm in Köln, cold in Łódź."]})
        cls.server = harness.Server(model=model).start()
        cls.addClassCleanup(cls.server.close)
        host, port = cls.server.api
        key = cls.server.new_tenant("tools").key.key
        cls.client = openai.OpenAI(api_key=key, base_url=f"http://{host}:{port}/v1")
        cls.addClassCleanup(cls.client.close)

    def fields(self, **more):
        return {"model": MODEL, "tools": [WEATHER], "tool_choice": "auto",
                "messages": [{"role": "user", "content": "weather"}]} | more

    def check_calls(self, message, finish_reason):
        self.assertEqual(finish_reason, "tool_calls")
        self.assertEqual(message.content, "I look.")
        self.assertEqual([call.function.name for call in message.tool_calls], ["get_weather"] * 2)
        self.assertEqual([call.function.arguments for call in message.tool_calls],
                         ['{"city": "Köln", "n": [1, 1]}', '{"city": "Łódź", "n": [1, 2]}'])
        self.assertEqual(len({call.id for call in message.tool_calls}), 2)
        self.assertTrue(all(call.type == "function" for call in message.tool_calls))

    def test_the_round_trip(self):
        first = self.client.chat.completions.create(**self.fields())
        message = first.choices[0].message
        self.check_calls(message, first.choices[0].finish_reason)
        self.assertEqual(message.reasoning_content, "Two cities.")
        self.assertGreater(first.usage.completion_tokens_details.reasoning_tokens, 0)
        answers = [{"role": "tool", "tool_call_id": call.id,
                    "content": "both known" if call is message.tool_calls[-1] else "17"}
                   for call in message.tool_calls]
        second = self.client.chat.completions.create(**self.fields(
            messages=[{"role": "user", "content": "weather"}, message.model_dump(exclude_none=True),
                      *answers]))
        self.assertEqual(second.choices[0].message.content, "Warm in Köln, cold in Łódź.")
        self.assertEqual(second.choices[0].finish_reason, "stop")
        self.assertIsNone(second.choices[0].message.tool_calls)

    def test_its_accumulator_builds_the_same_calls(self):
        with self.client.chat.completions.stream(**self.fields()) as stream:
            kinds = {event.type for event in stream}
            final = stream.get_final_completion()
        self.check_calls(final.choices[0].message, final.choices[0].finish_reason)
        self.assertIn("tool_calls.function.arguments.delta", kinds)
        self.assertIn("tool_calls.function.arguments.done", kinds)

    def test_chunks_have_the_published_form(self):
        named, pieces = {}, {}
        for chunk in self.client.chat.completions.create(**self.fields(stream=True)):
            for call in chunk.choices[0].delta.tool_calls or []:
                if call.function.name:
                    self.assertEqual(call.index, len(named), "calls begin in their order")
                    self.assertTrue(call.id and call.type == "function")
                    named[call.index] = call.function.name
                pieces.setdefault(call.index, []).append(call.function.arguments or "")
        self.assertEqual(list(named), [0, 1])
        self.assertGreaterEqual(len(pieces[0]), 2, "first the name, then the arguments")
        self.assertEqual(json.loads("".join(pieces[1])), {"city": "Łódź", "n": [1, 2]})

    def test_what_cannot_be_promised_is_a_bad_request(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.client.chat.completions.create(
                **self.fields(response_format={"type": "json_object"}))
        self.assertEqual(caught.exception.param, "response_format")

    def test_models_tell_more(self):
        model = self.client.models.retrieve(MODEL)
        self.assertEqual(model.architecture, "LlamaForCausalLM")
        self.assertEqual(model.context_length, 4096)
        self.assertEqual(len(model.tokenizer_sha256), 64)
        self.assertEqual((model.tool_format, model.reasoning), ("hermes", True))


if __name__ == "__main__":
    unittest.main()
