"""responses_test.py — POST /v1/responses: what it says, its events, and what it refuses by name."""

import json
import unittest

import harness
import scripted_model

MODEL = "responder"
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "%s"}}\n</tool_call>'
WEATHER = {"type": "function", "name": "get_weather", "description": "The weather of a city.",
           "parameters": {"type": "object", "properties": {"city": {"type": "string"}},
                          "required": ["city"]}}
ORDER = ["response.created", "response.in_progress", "response.output_item.added"]


def events_of(answer):
    """[(name, data)] of a stream; there is no [DONE]."""
    events = []
    for block in answer.body.decode().split("\n\n"):
        if not block or block.startswith(":"):
            continue
        name, data = block.split("\n")
        events.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return events


class Responses(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        model = scripted_model.packed(MODEL, scripted_model.THINKING, {
            "hello": ["Good day, Łukasz."],
            "weather": ["<think>\nA city.\n</think>\n\nI look.\n" + CALL % "Köln"],
            "17": ["It is warm."]})
        cls.server = harness.Server(model=model).start()
        cls.addClassCleanup(cls.server.close)
        cls.tenant = cls.server.new_tenant("responses")
        cls.key = cls.tenant.key

    def ask(self, text="hello", **fields):
        return self.key.post("/v1/responses", {"model": MODEL, "input": text} | fields)

    def test_a_text_is_answered_by_a_message(self):
        answer = self.ask(instructions="Be kind.", metadata={"a": "b"}).expect(200).json
        self.assertEqual((answer["object"], answer["status"]), ("response", "completed"))
        self.assertTrue(answer["id"].startswith("resp_"))
        [message] = answer["output"]
        self.assertEqual((message["type"], message["role"], message["status"]),
                         ("message", "assistant", "completed"))
        [part] = message["content"]
        self.assertEqual((part["type"], part["text"]), ("output_text", "Good day, Łukasz."))
        self.assertEqual((answer["instructions"], answer["store"], answer["metadata"]),
                         ("Be kind.", False, {"a": "b"}))
        usage = answer["usage"]
        self.assertEqual(usage["total_tokens"], usage["input_tokens"] + usage["output_tokens"])
        chat = self.key.chat(MODEL, "hello").expect(200).json["usage"]
        self.assertEqual(usage["output_tokens"], chat["completion_tokens"])

    def test_items_are_the_conversation(self):
        items = [{"role": "user", "content": [{"type": "input_text", "text": "weather"}]},
                 {"type": "reasoning", "id": "rs_1", "summary": []},
                 {"type": "function_call", "call_id": "call_1", "name": "get_weather",
                  "arguments": "{\"city\": \"Köln\"}"},
                 {"type": "function_call_output", "call_id": "call_1", "output": "17"}]
        answer = self.ask(items, tools=[WEATHER]).expect(200).json
        self.assertEqual(answer["output"][-1]["content"][0]["text"], "It is warm.")

    def test_reasoning_text_and_calls_are_items_in_order(self):
        answer = self.ask("weather", tools=[WEATHER]).expect(200).json
        self.assertEqual([item["type"] for item in answer["output"]],
                         ["reasoning", "message", "function_call"])
        reasoning, message, call = answer["output"]
        self.assertEqual(reasoning["content"][0]["text"], "A city.")
        self.assertEqual(message["content"][0]["text"].strip(), "I look.")
        self.assertEqual((call["name"], json.loads(call["arguments"])),
                         ("get_weather", {"city": "Köln"}))
        self.assertTrue(call["call_id"].startswith("call_"))
        self.assertGreater(answer["usage"]["output_tokens_details"]["reasoning_tokens"], 0)

    def test_a_streams_events_build_what_its_last_one_has(self):
        answer = self.ask("weather", tools=[WEATHER], stream=True).expect(200)
        self.assertIn("text/event-stream", answer.headers["content-type"])
        events = events_of(answer)
        self.assertEqual([name for name, _ in events[:3]], ORDER)
        self.assertEqual(events[-1][0], "response.completed")
        self.assertTrue(all(data["type"] == name for name, data in events))
        self.assertEqual([data["sequence_number"] for _, data in events],
                         list(range(len(events))))
        built = {}
        for name, data in events:
            if name.endswith(".delta"):
                built[data["item_id"]] = built.get(data["item_id"], "") + data["delta"]
        done = events[-1][1]["response"]
        plain = self.ask("weather", tools=[WEATHER]).expect(200).json
        texts = [item.get("arguments") or item["content"][0]["text"] for item in done["output"]]
        self.assertEqual([built[item["id"]] for item in done["output"]], texts)
        self.assertEqual(texts, [item.get("arguments") or item["content"][0]["text"]
                                 for item in plain["output"]])
        self.assertEqual(done["usage"]["output_tokens"], plain["usage"]["output_tokens"])
        added = [d["output_index"] for n, d in events if n == "response.output_item.added"]
        self.assertEqual(added, [0, 1, 2])

    def test_an_answer_that_is_cut_is_incomplete(self):
        answer = self.ask(max_output_tokens=1).expect(200).json
        self.assertEqual((answer["status"], answer["incomplete_details"]),
                         ("incomplete", {"reason": "max_output_tokens"}))
        events = events_of(self.ask(max_output_tokens=1, stream=True).expect(200))
        self.assertEqual(events[-1][0], "response.incomplete")

    def test_log_probabilities_are_included_where_asked_for(self):
        part = self.ask(include=["message.output_text.logprobs"], top_logprobs=2).expect(
            200).json["output"][0]["content"][0]
        self.assertEqual("".join(entry["token"] for entry in part["logprobs"][:1]),
                         part["text"][:len(part["logprobs"][0]["token"])])
        self.assertEqual(len(part["logprobs"][0]["top_logprobs"]), 2)

    def test_what_needs_a_store_and_what_is_wrong_is_refused_by_its_own_name(self):
        for fields, param in (({"store": True}, "store"), ({"background": True}, "background"),
                              ({"previous_response_id": "resp_1"}, "previous_response_id"),
                              ({"conversation": "conv_1"}, "conversation"),
                              ({"truncation": "auto"}, "truncation"),
                              ({"max_output_tokens": 0}, "max_output_tokens"),
                              ({"include": ["web_search_call.results"]}, "include"),
                              ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
                              ({"tools": [WEATHER | {"name": "a b"}]}, "tools[0].name"),
                              ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
                              ({"text": {"format": {"type": "json_schema", "name": "n",
                                                    "schema": 7}}}, "text.format.schema"),
                              ({"input": []}, "input"),
                              ({"input": [{"type": "item_reference", "id": "x"}]},
                               "input[0].type"),
                              ({"input": [{"role": "user", "content": [
                                  {"type": "input_image", "image_url": "x"}]}]},
                               "input[0].content[0].type"),
                              ({"input": [{"role": "stranger", "content": "a"}]},
                               "input[0].role"),
                              ({"instructions": "x", "input": [
                                  {"role": "user", "content": "a"},
                                  {"role": "stranger", "content": "a"}]}, "input[1].role"),
                              ({"messages": []}, "messages"), ({"n": 2}, "n"),
                              ({"temperature": 3}, "temperature")):
            with self.subTest(fields):
                refused = self.key.post("/v1/responses",
                                        {"model": MODEL, "input": "hello"} | fields)
                self.assertEqual((refused.status, refused.error["param"]), (400, param),
                                 refused.body)

    def test_it_is_billed_as_a_chat_is(self):
        tenant = self.server.new_tenant("billed")
        usage = tenant.key.post("/v1/responses", {"model": MODEL, "input": "hello"}).expect(
            200).json["usage"]
        [billed] = self.server.usage(project_id=tenant.id)
        self.assertEqual((billed["input_tokens"], billed["output_tokens"]),
                         (usage["input_tokens"], usage["output_tokens"]))


if __name__ == "__main__":
    unittest.main()
