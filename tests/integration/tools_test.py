"""tools_test.py — tools, calls and reasoning over HTTP, with models that say what they are told to.

The models are scripted_model's: real servers, real templates, answers known in advance.
"""

import json
import re
import unittest

import harness
import scripted_model

WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}},
                   "required": ["city"]}}}
ARGUMENTS = '{"city": "Köln", "days":2,  "why": "\\u00e9 \\"x\\""}'  # odd, and to be kept so


def served(test, name, template, scripts, *options):
    """A tenant's client on a server of that scripted model."""
    server = harness.Server(*options, model=scripted_model.packed(name, template, scripts)).start()
    test.addClassCleanup(server.close)
    return server.new_tenant("acme").key


def ask(key, model, content, tools=(WEATHER,), **fields):
    fields = {"model": model, "messages": [{"role": "user", "content": content}],
              "temperature": 0} | ({"tools": list(tools)} if tools else {}) | fields
    return key.post("/v1/chat/completions", fields)


def said(answer):
    choice = answer.expect(200).json["choices"][0]
    return choice["message"], choice["finish_reason"]


def streamed(key, model, content, **fields):
    """The message that a stream adds up to, its finish_reason, and all its deltas."""
    stream = key.stream("/v1/chat/completions", {
        "model": model, "messages": [{"role": "user", "content": content}], "tools": [WEATHER],
        "temperature": 0} | fields)
    message, deltas, finish = {"content": "", "reasoning_content": ""}, [], None
    calls = []
    for event in stream:
        choice = event["choices"][0]
        finish = finish or choice["finish_reason"]
        delta = choice["delta"]
        deltas.append(delta)
        for name in ("content", "reasoning_content"):
            message[name] += delta.get(name) or ""
        for call in delta.get("tool_calls", []):
            if call["index"] == len(calls):
                calls.append({"id": "", "type": "", "function": {"name": "", "arguments": ""}})
            whole = calls[call["index"]]
            whole["id"] += call.get("id", "")
            whole["type"] += call.get("type", "")
            for part, text in call["function"].items():
                whole["function"][part] += text
    return message | {"tool_calls": calls}, finish, deltas


class HermesCalls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        call = '<tool_call>\n{"name": "get_weather", "arguments": %s}\n</tool_call>'
        cls.key = served(cls, "hermes", scripted_model.HERMES, {
            "one": ["Let me see.\n" + call % ARGUMENTS],
            "two": [call % '{"city": "Rome"}' + "\n" + call % '{"city": "Oslo", "n": [1, 2.0]}'],
            "broken": [call % '{"city": Paris}' + " (sorry)"],
            "marked": [("special", "<tool_call>"), '{"name": "f", "arguments": {"quick": true}}',
                       ("special", "</tool_call>")],
            "17 degrees": ["It is warm."],
        })

    def test_a_call_has_its_arguments_byte_for_byte(self):
        message, finish = said(ask(self.key, "hermes", "one"))
        self.assertEqual(finish, "tool_calls")
        self.assertEqual(message["content"], "Let me see.")
        call = message["tool_calls"][0]
        self.assertRegex(call["id"], r"^call_[0-9A-Za-z]{24}$")
        self.assertEqual(call["type"], "function")
        self.assertEqual(call["function"], {"name": "get_weather", "arguments": ARGUMENTS})

    def test_a_stream_announces_a_call_and_then_sends_its_arguments(self):
        message, finish, deltas = streamed(self.key, "hermes", "one")
        self.assertEqual(finish, "tool_calls")
        self.assertEqual(message["content"], "Let me see.")
        self.assertEqual(message["tool_calls"][0]["function"],
                         {"name": "get_weather", "arguments": ARGUMENTS})
        calls = [call for delta in deltas for call in delta.get("tool_calls", [])]
        self.assertEqual(set(calls[0]), {"index", "id", "type", "function"})
        self.assertEqual(calls[0]["function"], {"name": "get_weather", "arguments": ""})
        self.assertGreaterEqual(len(calls), 2, "how many depends on the time")
        for call in calls[1:]:
            self.assertEqual(set(call), {"index", "function"})
            self.assertEqual(set(call["function"]), {"arguments"})

    def test_calls_in_parallel(self):
        message, finish = said(ask(self.key, "hermes", "two"))
        self.assertEqual(finish, "tool_calls")
        self.assertIsNone(message["content"])
        self.assertEqual([call["function"]["arguments"] for call in message["tool_calls"]],
                         ['{"city": "Rome"}', '{"city": "Oslo", "n": [1, 2.0]}'])

    def test_only_one_call_if_only_one_is_wanted(self):
        answer = ask(self.key, "hermes", "two", parallel_tool_calls=False)
        message, finish = said(answer)
        self.assertEqual(finish, "tool_calls")
        self.assertEqual(len(message["tool_calls"]), 1)

    def test_a_broken_call_is_content(self):
        message, finish = said(ask(self.key, "hermes", "broken"))
        self.assertEqual(finish, "stop")
        self.assertNotIn("tool_calls", message)
        self.assertEqual(message["content"],
                         '<tool_call>\n{"name": "get_weather", "arguments": {"city": Paris}}\n'
                         "</tool_call> (sorry)")

    def test_marks_that_are_special_tokens_are_seen(self):
        message, finish = said(ask(self.key, "hermes", "marked"))
        self.assertEqual(finish, "tool_calls")
        self.assertEqual(message["tool_calls"][0]["function"],
                         {"name": "f", "arguments": '{"quick": true}'})

    def test_without_tools_special_marks_show_nothing_and_calls_are_text(self):
        message, finish = said(ask(self.key, "hermes", "marked", tools=()))
        self.assertEqual((message["content"], finish),
                         ('{"name": "f", "arguments": {"quick": true}}', "stop"))
        message, _ = said(ask(self.key, "hermes", "marked", tool_choice="none"))
        self.assertNotIn("tool_calls", message)

    def test_an_answer_that_is_cut_off_has_no_call(self):
        message, finish = said(ask(self.key, "hermes", "one", max_tokens=12))
        self.assertEqual(finish, "length")
        self.assertNotIn("tool_calls", message)
        self.assertTrue(message["content"].startswith("Let me see.\n<tool_call>"))

    def test_a_stop_string_ends_the_answer_before_a_call(self):
        message, finish = said(ask(self.key, "hermes", "one", stop=["see."]))
        self.assertEqual((message["content"], finish), ("Let me ", "stop"))

    def test_the_round_trip(self):
        message, _ = said(ask(self.key, "hermes", "one"))
        history = [{"role": "user", "content": "one"}, message,
                   {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"],
                    "content": "17 degrees"}]
        answer, finish = said(ask(self.key, "hermes", "", messages=history))
        self.assertEqual((answer["content"], finish), ("It is warm.", "stop"))

    def test_history_is_checked(self):
        def refused(history, param):
            error = ask(self.key, "hermes", "", messages=history).expect(400).error
            self.assertEqual(error["param"], param)
        call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        refused([{"role": "tool", "tool_call_id": "c9", "content": "x"}],
                "messages[0].tool_call_id")
        refused([{"role": "assistant", "tool_calls": [call | {"type": "magic"}]}],
                "messages[0].tool_calls[0].type")
        refused([{"role": "user", "content": "x", "tool_calls": [call]}], "messages[0].tool_calls")

    def test_what_cannot_be_promised_is_refused_by_name(self):
        error = ask(self.key, "hermes", "one",
                    response_format={"type": "json_object"}).expect(400).error
        self.assertEqual((error["code"], error["param"]),
                         ("unsupported_parameter", "response_format"))


class OtherConventions(unittest.TestCase):
    def test_llama_writes_bare_json(self):
        key = served(type(self), "llama", scripted_model.LLAMA3, {
            "one": ['{"name": "get_weather", "parameters": {"city": "Bonn"}}'],
            "json": ['{"name": "Ann", "age": 30}.'],
            "tagged": [("special", "<|python_tag|>"),
                       '{"name": "other", "parameters": {"key": [null]}} ']})
        message, finish = said(ask(key, "llama", "one"))
        self.assertEqual(finish, "tool_calls")
        self.assertEqual(message["tool_calls"][0]["function"],
                         {"name": "get_weather", "arguments": '{"city": "Bonn"}'})
        message, finish = said(ask(key, "llama", "json"))
        self.assertEqual((message["content"], finish), ('{"name": "Ann", "age": 30}.', "stop"))
        message, _ = said(ask(key, "llama", "tagged"))
        self.assertEqual(message["tool_calls"][0]["function"]["arguments"], '{"key": [null]}')

    def test_mistral_writes_arrays_and_names(self):
        key = served(type(self), "mistral", scripted_model.MISTRAL, {
            "array": [("special", "[TOOL_CALLS]"),
                      '[{"name": "a", "arguments": {"x": 1}}, {"name": "b", "arguments": {}}]'],
            "named": ["[TOOL_CALLS]get_weather", ("special", "[ARGS]"), '{"city": "Nice"}']})
        message, finish = said(ask(key, "mistral", "array"))
        self.assertEqual(finish, "tool_calls")
        self.assertEqual([call["function"]["name"] for call in message["tool_calls"]], ["a", "b"])
        for call in message["tool_calls"]:
            self.assertRegex(call["id"], r"^[0-9A-Za-z]{9}$")
        message, _, _ = streamed(key, "mistral", "named")
        self.assertEqual(message["tool_calls"][0]["function"],
                         {"name": "get_weather", "arguments": '{"city": "Nice"}'})

    def test_the_format_can_be_forced(self):
        key = served(type(self), "forced", scripted_model.HERMES, {
            "one": ['{"name": "get_weather", "parameters": {"city": "Bari"}}']},
            "--tool-format", "json")
        message, _ = said(ask(key, "forced", "one"))
        self.assertEqual(message["tool_calls"][0]["function"]["arguments"], '{"city": "Bari"}')
        self.assertEqual(key.get("/v1/models/forced").json["tool_format"], "json")

    def test_tools_that_the_template_would_ignore_are_refused(self):
        key = served(type(self), "plain", scripted_model.PLAIN, {"one": ["Hello."]})
        error = ask(key, "plain", "one").expect(400).error
        self.assertEqual((error["code"], error["param"]), ("unsupported_parameter", "tools"))
        self.assertEqual(said(ask(key, "plain", "one", tools=()))[0]["content"], "Hello.")


class Reasoning(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.key = served(cls, "thinker", scripted_model.THINKING, {
            "sum": ["<think>\nTwo and two.\n</think>\n\nFour."],
            "act": ["<think>\nI need the weather.</think>", ("special", "<tool_call>"),
                    '{"name": "get_weather", "arguments": {"city": "Kiel"}}'],
            "plain": ["Without a thought, then."]})

    def test_it_is_told_apart(self):
        answer = ask(self.key, "thinker", "sum", tools=())
        message, finish = said(answer)
        self.assertEqual((message["reasoning_content"], message["content"], finish),
                         ("Two and two.", "Four.", "stop"))
        usage = answer.json["usage"]
        reasoning = usage["completion_tokens_details"]["reasoning_tokens"]
        self.assertTrue(0 < reasoning < usage["completion_tokens"])

    def test_it_streams_in_a_member_of_its_own(self):
        message, finish, deltas = streamed(self.key, "thinker", "sum")
        self.assertEqual((message["reasoning_content"], message["content"], finish),
                         ("Two and two.", "Four.", "stop"))
        self.assertFalse(any("content" in delta and "reasoning_content" in delta
                             for delta in deltas[1:]))

    def test_a_call_may_follow_it(self):
        message, finish = said(ask(self.key, "thinker", "act"))
        self.assertEqual((message["reasoning_content"], message["content"], finish),
                         ("I need the weather.", None, "tool_calls"))
        self.assertEqual(message["tool_calls"][0]["function"]["arguments"], '{"city": "Kiel"}')

    def test_an_answer_without_any_has_no_such_member(self):
        answer = ask(self.key, "thinker", "plain", tools=())
        message, _ = said(answer)
        self.assertEqual(message["content"], "Without a thought, then.")
        self.assertNotIn("reasoning_content", message)
        details = answer.json["usage"]["completion_tokens_details"]
        self.assertEqual(details["reasoning_tokens"], 0)

    def test_a_template_may_open_it(self):
        key = served(type(self), "opened", scripted_model.OPENED_THINKING, {
            "=<think>": ["Hm, well.", ("special", "</think>"), "\n\nYes."], "any": ["Unused."]})
        message, _ = said(ask(key, "opened", "any", tools=()))
        self.assertEqual((message["reasoning_content"], message["content"]), ("Hm, well.", "Yes."))


class Prompts(unittest.TestCase):
    """What the template is given, seen through /v1/tokenize and back."""

    @classmethod
    def setUpClass(cls):
        cls.key = served(cls, "prompts", (
            "{{ bos_token }}{% if enable_thinking is defined %}[{{ enable_thinking }}]{% endif %}"
            "{% if documents %}{{ documents | tojson }}{% endif %}{% for m in messages %}"
            "{% if m.role == 'system' and not loop.first %}"
            "{{ raise_exception('The system speaks first.') }}{% endif %}"
            "{{ m.role + ':' + m.content + ';' }}{% endfor %}"
            "{% if add_generation_prompt %}assistant:{% endif %}"), {"x": ["Unused."]})

    def ask(self, *turns, **fields):
        messages = [{"role": role, "content": text} for role, text in turns]
        return self.key.post("/v1/tokenize", {"model": "prompts", "messages": messages} | fields)

    def prompt(self, *turns, **fields):
        tokens = self.ask(*turns, **fields).expect(200).json["tokens"]
        back = self.key.post("/v1/detokenize", {"model": "prompts", "tokens": tokens})
        return back.expect(200).json["prompt"]

    def test_variables_reach_the_template(self):
        self.assertEqual(self.prompt(("user", "a")), "<s>user:a;assistant:")
        self.assertEqual(self.prompt(("user", "a"), chat_template_kwargs={"enable_thinking": True}),
                         "<s>[True]user:a;assistant:")
        self.assertEqual(self.prompt(("user", "a"), chat_template_kwargs={"documents": [{"n": 1}]}),
                         '<s>[{"n": 1}]user:a;assistant:')

    def test_reasoning_effort_is_told_or_refused(self):
        self.assertEqual(self.prompt(("user", "a"), reasoning_effort="none"),
                         "<s>[False]user:a;assistant:")
        error = self.ask(("user", "a"), reasoning_effort="high").expect(400).error
        self.assertEqual(error["param"], "reasoning_effort")

    def test_an_answer_may_be_continued(self):
        turns = ("user", "a"), ("assistant", "Well, ")
        self.assertEqual(self.prompt(*turns, continue_final_message=True),
                         "<s>user:a;assistant:Well, ")
        self.assertEqual(self.prompt(*turns, add_generation_prompt=False),
                         "<s>user:a;assistant:Well, ;")

    def test_roles_and_parts_come_in_the_templates_form(self):
        self.assertEqual(self.prompt(("developer", "b"), ("user", [
            {"type": "text", "text": "c"}, {"type": "text", "text": "d"}])),
            "<s>system:b;user:c\nd;assistant:")

    def test_what_the_template_raises_is_told(self):
        error = self.ask(("user", "a"), ("system", "b")).expect(400).error
        self.assertEqual((error["message"], error["param"]),
                         ("The system speaks first.", "messages"))


class Tokenize(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server().start()
        cls.addClassCleanup(cls.server.close)
        cls.key = cls.server.new_tenant("acme").key

    def tokenize(self, **fields):
        return self.key.post("/v1/tokenize", {"model": harness.BASE} | fields)

    def detokenize(self, **fields):
        return self.key.post("/v1/detokenize", {"model": harness.BASE} | fields)

    def test_there_and_back(self):
        text = "Grüße, 你好! <|end|>"
        told = self.tokenize(prompt=text, return_token_strs=True).expect(200).json
        self.assertEqual(told["count"], len(told["tokens"]))
        self.assertEqual(len(told["token_strs"]), told["count"])
        self.assertGreater(told["max_model_len"], 0)
        back = self.detokenize(tokens=told["tokens"]).expect(200).json
        self.assertIn(text, back["prompt"])
        bare = self.detokenize(tokens=told["tokens"], skip_special_tokens=True).expect(200).json
        self.assertNotIn("<|end|>", bare["prompt"])

    def test_messages_are_what_a_chat_charges_for(self):
        messages = [{"role": "user", "content": "Hello there"}]
        told = self.tokenize(messages=messages).expect(200).json
        answer = self.key.post("/v1/chat/completions", {
            "model": harness.BASE, "messages": messages, "max_tokens": 1}).expect(200).json
        self.assertEqual(told["count"], answer["usage"]["prompt_tokens"])
        shorter = self.tokenize(messages=messages, add_generation_prompt=False).expect(200).json
        self.assertLess(shorter["count"], told["count"])

    def test_an_adapters_name_is_as_good(self):
        adapter = harness.demo_adapters()[0]
        self.key.upload(adapter, *harness.demo_package(adapter)).expect(201)
        told = self.key.post("/v1/tokenize", {"model": adapter, "prompt": "a b"}).expect(200).json
        self.assertEqual(told["tokens"], self.tokenize(prompt="a b").json["tokens"])

    def test_wrong_requests_are_refused_by_name(self):
        def refused(answer, code, param):
            error = answer.expect(400).error
            self.assertEqual((error["code"], error["param"]), (code, param))
        refused(self.tokenize(), "missing_required_parameter", "messages")
        refused(self.tokenize(prompt="a", messages=[{"role": "user", "content": "a"}]),
                "invalid_value", "prompt")
        refused(self.tokenize(prompt=7), "invalid_value", "prompt")
        refused(self.tokenize(prompt="a", extra=1), "unknown_parameter", "extra")
        refused(self.detokenize(), "missing_required_parameter", "tokens")
        refused(self.detokenize(tokens="1"), "invalid_value", "tokens")
        refused(self.detokenize(tokens=[-1]), "invalid_value", "tokens")
        refused(self.detokenize(tokens=[2**31 - 1]), "invalid_value", "tokens")
        self.assertEqual(self.key.post("/v1/tokenize", {"model": "nobody", "prompt": "a"}).status,
                         404)

    def test_a_key_is_needed_and_its_limits_count(self):
        for path in ("/v1/tokenize", "/v1/detokenize"):
            nobody = harness.Client(self.server, "sk-live-nobody")
            self.assertEqual(nobody.post(path, {"model": harness.BASE}).status, 401)
            self.assertEqual(self.server.admin.post(path, {"model": harness.BASE}).status, 403)
        tenant = self.server.new_tenant("limited", max_requests_per_1_minute=1)
        answers = [tenant.key.post("/v1/tokenize", {"model": harness.BASE, "prompt": "a"}).status
                   for _ in range(100)]
        self.assertIn(429, answers)


class ModelsTell(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server().start()
        cls.addClassCleanup(cls.server.close)
        cls.key = cls.server.new_tenant("acme").key
        cls.adapter = harness.demo_adapters()[0]
        cls.package = harness.demo_package(cls.adapter)
        cls.tokenizer = (harness.DEMO / "base" / "tokenizer.json").read_bytes()

    def test_what_the_base_is(self):
        model = self.key.get(f"/v1/models/{harness.BASE}").expect(200).json
        self.assertEqual(model["architecture"], "LlamaForCausalLM")
        self.assertGreaterEqual(model["context_length"], model["max_model_len"])
        self.assertIn("nf4", model["quantization"].lower())
        self.assertRegex(model["tokenizer_sha256"], re.compile("^[0-9a-f]{64}$"))
        self.assertRegex(model["base_sha256"], re.compile("^[0-9a-f]{64}$"))
        self.assertIs(model["reasoning"], False)

    def test_an_adapters_model_tells_its_bases(self):
        self.key.upload(self.adapter, *self.package).expect(200, 201)
        base, adapter = (self.key.get(f"/v1/models/{name}").expect(200).json
                         for name in (harness.BASE, self.adapter))
        for name in ("architecture", "context_length", "quantization", "tokenizer_sha256"):
            self.assertEqual(adapter[name], base[name])

    def upload(self, **parts):
        return self.key.upload("carrier", *self.package, **parts)

    def test_an_adapter_may_carry_its_bases_tokenizer(self):
        spread_out = json.dumps(json.loads(self.tokenizer), indent=2, ensure_ascii=False)
        config = (harness.DEMO / "base" / "tokenizer_config.json").read_text()
        self.upload(**{"tokenizer.json": self.tokenizer}).expect(200, 201)
        self.upload(tokenizer=spread_out, tokenizer_config=config).expect(200, 201)

    def test_an_adapter_of_another_tokenizer_is_refused(self):
        other = json.loads(self.tokenizer)
        vocab = other["model"]["vocab"]
        first, second = list(vocab)[300:302]
        vocab[first], vocab[second] = vocab[second], vocab[first]
        for parts, subject in (
                ({"tokenizer.json": json.dumps(other)}, "tokenizer.json"),
                ({"tokenizer.json": "{"}, "tokenizer.json"),
                ({"added_tokens": '{"<new>": 99999}'}, "added_tokens.json"),
                ({"special_tokens_map": '{"eos_token": "<other>"}'}, "special_tokens_map.json")):
            error = self.upload(**parts).expect(422).error
            finding = error["details"]["report"]["findings"][0]
            self.assertEqual((finding["code"], finding["field"]), ("tokenizer_mismatch", subject))


if __name__ == "__main__":
    unittest.main()
