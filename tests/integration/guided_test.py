"""guided_test.py — constrained answers over HTTP: forms, options, errors, streams, tools.

The demo's base and its JSON adapter, which answer in their own way unless they must not; tools with
a model whose calls are in Hermes' form.
"""

import decimal
import json
import re
import unittest

import harness
import scripted_model

ORDER = {"type": "object", "additionalProperties": False, "properties": {
    "customer": {"type": "string", "minLength": 1, "maxLength": 12},
    "quantity": {"type": "integer", "minimum": 1, "maximum": 99},
    "item": {"type": "string", "pattern": "^[a-z]{1,12}$"},
    "color": {"enum": ["red", "green", "blue", "black", "white", "grey", "yellow", "brown"]},
    "rush": {"type": "boolean"}}}
ORDER["required"] = list(ORDER["properties"])
PROMPT = "Clara got 8 broken black books from Toronto."

DATE = r"(0[1-9]|[12][0-9]|3[01])\.(0[1-9]|1[0-2])\.20[0-9]{2}"
SUM = """
start: sum
sum: NUMBER (OP NUMBER)+
NUMBER: /[1-9][0-9]{0,2}/
OP: "+" | "-"
"""
SUM_GBNF = 'root ::= num (("+" | "-") num){2}\nnum ::= [1-9] [0-9]?\n'

LOOK_UP = {"type": "function", "function": {
    "name": "look_up", "strict": True,
    "parameters": {"type": "object", "additionalProperties": False, "required": ["city", "days"],
                   "properties": {"city": {"enum": ["Köln", "Łódź", "Bern"]},
                                  "days": {"type": "integer", "minimum": 1, "maximum": 9}}}}}
BOOK = {"type": "function", "function": {
    "name": "book", "parameters": {"type": "object", "additionalProperties": False,
                                   "properties": {"seat": {"enum": ["aisle", "window"]}},
                                   "required": ["seat"]}}}


def as_schema(schema, **more):
    return {"type": "json_schema", "json_schema": {"name": "order", "schema": schema} | more}


def check_order(test, text):
    order = json.loads(text)
    test.assertEqual(list(order), ORDER["required"])
    test.assertIn(order["color"], ORDER["properties"]["color"]["enum"])
    test.assertTrue(1 <= order["quantity"] <= 99)
    test.assertRegex(order["item"], "^[a-z]{1,12}$")
    test.assertTrue(1 <= len(order["customer"]) <= 12)
    test.assertIsInstance(order["rush"], bool)


class Guided(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server().start()
        cls.addClassCleanup(cls.server.close)
        cls.key = cls.server.new_tenant("acme").key
        cls.key.upload("order-json", *harness.demo_package("order-json")).expect(200, 201)

    def say(self, model=harness.BASE, **fields):
        answer = self.key.chat(model, PROMPT, **({"max_tokens": 200} | fields)).expect(200).json
        return answer["choices"][0]

    def test_a_schema_is_followed_whatever_the_model_wants(self):
        for model in (harness.BASE, "order-json"):
            for temperature in (0, 1.0):
                for seed in range(4):
                    choice = self.say(model, response_format=as_schema(ORDER), seed=seed,
                                      temperature=temperature)
                    self.assertEqual(choice["finish_reason"], "stop")
                    check_order(self, choice["message"]["content"])

    def test_a_stream_says_the_same(self):
        fields = {"response_format": as_schema(ORDER), "temperature": 0, "max_tokens": 200}
        text = self.key.chat_stream(harness.BASE, PROMPT, **fields).text()
        check_order(self, text)
        self.assertEqual(text, self.say(**fields)["message"]["content"])

    def test_usage_counts_every_token(self):
        answer = self.key.chat(harness.BASE, PROMPT, response_format=as_schema(ORDER),
                               temperature=0, max_tokens=200).expect(200).json
        again = self.key.post("/v1/tokenize", {
            "model": harness.BASE, "prompt": answer["choices"][0]["message"]["content"],
            "add_special_tokens": False}).expect(200).json
        self.assertGreaterEqual(answer["usage"]["completion_tokens"], again["count"] // 2)
        self.assertGreater(self.server.metric("tessera_guided_forced_tokens_total"), 0)

    def test_log_probabilities_are_there_for_every_token(self):
        choice = self.say(response_format=as_schema(ORDER), temperature=0, logprobs=True,
                          top_logprobs=2)
        check_order(self, choice["message"]["content"])
        said = b"".join(bytes(entry["bytes"]) for entry in choice["logprobs"]["content"])
        self.assertEqual(said.decode(), choice["message"]["content"])
        self.assertTrue(all(entry["logprob"] <= 0 for entry in choice["logprobs"]["content"]))

    def test_json_object(self):
        for seed in range(4):
            choice = self.say(response_format={"type": "json_object"}, seed=seed, max_tokens=60,
                              structured_outputs={"complete_within_max_tokens": True})
            self.assertEqual(choice["finish_reason"], "stop")
            self.assertIsInstance(json.loads(choice["message"]["content"]), dict)

    def test_regex_choice_and_grammars(self):
        for seed in range(3):
            def text(**outputs):
                return self.say(structured_outputs=outputs, seed=seed)["message"]["content"]
            self.assertRegex(text(regex=DATE), f"^{DATE}$")
            self.assertIn(text(choice=["yes", "no", "perhaps so"]), ("yes", "no", "perhaps so"))
            self.assertRegex(text(grammar=SUM), r"^[1-9][0-9]{0,2}([+-][1-9][0-9]{0,2})+$")
            self.assertRegex(text(grammar=SUM_GBNF, syntax="gbnf"),
                             r"^[1-9][0-9]?([+-][1-9][0-9]?){2}$")

    def test_the_shipped_sql_grammar(self):
        grammar = (harness.ROOT / "examples" / "grammars" / "sql_select.lark").read_text()
        for seed in range(3):
            choice = self.say(seed=seed, max_tokens=60, structured_outputs={
                "grammar": grammar, "complete_within_max_tokens": True})
            self.assertEqual(choice["finish_reason"], "stop")
            self.assertRegex(choice["message"]["content"], r"(?is)^\s*(select|with)\b.")

    def test_completions_too(self):
        answer = self.key.post("/v1/completions", {
            "model": harness.BASE, "prompt": ["a", "b"], "max_tokens": 40,
            "structured_outputs": {"regex": DATE}}).expect(200).json
        for choice in answer["choices"]:
            self.assertRegex(choice["text"], f"^{DATE}$")

    def test_whitespace_and_order_are_options(self):
        schema = {"type": "object", "additionalProperties": False, "required": ["a", "b"],
                  "properties": {"a": {"enum": [1, 2]}, "b": {"enum": [3, 4]}}}
        compact = self.say(response_format=as_schema(schema),
                           structured_outputs={"escapes": "minimal"})["message"]["content"]
        self.assertRegex(compact, r'^\{"a":[12],"b":[34]\}$')
        seen = set()
        for seed in range(20):
            text = self.say(response_format=as_schema(schema), seed=seed, temperature=2.0,
                            structured_outputs={"property_order": "any",
                                                "whitespace": "flexible"})["message"]["content"]
            self.assertEqual(set(json.loads(text)), {"a", "b"})
            seen.add(tuple(json.loads(text)))
        self.assertEqual(len(seen), 2, "both orders occur")

    def test_an_answer_is_completed_within_its_tokens(self):
        schema = {"type": "array", "items": {"type": "string"}, "minItems": 3}
        for max_tokens in (12, 20, 40):
            choice = self.say(response_format=as_schema(schema), max_tokens=max_tokens,
                              temperature=1.5,
                              structured_outputs={"complete_within_max_tokens": True})
            self.assertEqual(choice["finish_reason"], "stop")
            self.assertGreaterEqual(len(json.loads(choice["message"]["content"])), 3)
        refused = self.key.chat(harness.BASE, PROMPT, max_tokens=2,
                                response_format=as_schema(schema),
                                structured_outputs={"complete_within_max_tokens": True})
        self.assertEqual((refused.status, refused.error["code"]), (400, "invalid_value"))

    def test_stop_strings_still_end_it(self):
        choice = self.say(response_format=as_schema(ORDER), stop=['"item"'], temperature=0)
        self.assertNotIn('"item"', choice["message"]["content"])
        self.assertEqual(choice["finish_reason"], "stop")

    def refusal(self, **fields):
        answer = self.key.chat(harness.BASE, PROMPT, **fields).expect(400)
        return answer.error

    def test_all_that_is_wrong_with_a_schema_is_told(self):
        schema = {"type": "object", "properties": {"a": {"pattern": "("},
                                                   "b": {"type": "strin"},
                                                   "c/d": {"minimum": "1"}}}
        error = self.refusal(response_format=as_schema(schema))
        self.assertEqual(error["type"], "invalid_request_error")
        self.assertEqual(error["param"], "response_format.json_schema.schema")
        self.assertEqual(error["code"], "invalid_json_schema")
        self.assertIn("response_format 'order'", error["message"])
        pointers = [detail["pointer"] for detail in error["details"]]
        self.assertEqual(len(pointers), 3, error["details"])
        for part in ("/properties/a", "/properties/b", "/properties/c~1d"):
            self.assertTrue(any(pointer.startswith(part) for pointer in pointers), pointers)
        self.assertTrue(all(detail["reason"] for detail in error["details"]))

    def test_each_kind_of_constraint_has_its_code(self):
        cases = [
            ({"regex": "a("}, "invalid_regex", "structured_outputs.regex"),
            ({"grammar": "start: ("}, "invalid_grammar", "structured_outputs.grammar"),
            ({"grammar": "root ::= (", "syntax": "gbnf"}, "invalid_grammar",
             "structured_outputs.grammar"),
            ({"json_schema": False}, "unsupported_schema", "structured_outputs.json_schema"),
            ({"json_schema": {"type": 7}}, "invalid_json_schema",
             "structured_outputs.json_schema"),
        ]
        for outputs, code, param in cases:
            with self.subTest(outputs=outputs):
                error = self.refusal(structured_outputs=outputs)
                self.assertEqual((error["code"], error["param"]), (code, param), error)
        huge = {"enum": [f"{'x' * 1000}{i}" for i in range(2000)]}
        error = self.refusal(response_format=as_schema(huge))
        self.assertEqual(error["code"], "schema_too_large", error["message"])

    def test_vllms_older_names_are_told_what_to_use(self):
        for name in ("guided_json", "guided_regex", "guided_choice", "guided_grammar"):
            error = self.refusal(**{name: "x"})
            self.assertEqual((error["code"], error["param"]), ("unsupported_parameter", name))
            self.assertIn("structured_outputs", error["message"])

    def test_numbers_keep_their_digits(self):
        schema = {"const": 12345678901234567890123}
        text = json.dumps(as_schema(schema))
        body = json.dumps(harness.chat_fields(harness.BASE, PROMPT, max_tokens=60))[:-1]
        answer = harness.exchange(
            self.server.api, "POST", "/v1/chat/completions",
            (body + ', "response_format": ' + text + "}").encode(),
            self.key.headers(**{"Content-Type": "application/json"})).expect(200).json
        said = answer["choices"][0]["message"]["content"]
        self.assertEqual(decimal.Decimal(said), 12345678901234567890123, said)

    def test_one_schema_is_compiled_once_for_all(self):
        schema = {"type": "object", "properties": {"only": {"const": "here"}},
                  "required": ["only"], "additionalProperties": False}
        compiled = self.server.metric("tessera_constraints_compiled_total")
        for key in (self.key, self.key, self.server.new_tenant("globex").key):
            text = key.chat(harness.BASE, PROMPT, response_format=as_schema(schema),
                            max_tokens=60).expect(200).json["choices"][0]["message"]["content"]
            self.assertEqual(json.loads(text), {"only": "here"})
        self.assertEqual(self.server.metric("tessera_constraints_compiled_total"), compiled + 1)
        self.assertGreaterEqual(self.server.metric("tessera_constraints_found_total"), 2)


class OpenAiStrict(unittest.TestCase):
    def test_strict_means_openais_subset_where_that_is_served(self):
        server = harness.Server("--openai-strict").start()
        self.addCleanup(server.close)
        key = server.new_tenant("acme").key
        loose = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}}}
        refused = key.chat(harness.BASE, "x", max_tokens=40,
                           response_format=as_schema(loose, strict=True)).expect(400)
        self.assertEqual(refused.error["code"], "unsupported_schema")
        self.assertEqual({detail["keyword"] for detail in refused.error["details"]} - {"maxLength"},
                         {"additionalProperties", "required"})
        key.chat(harness.BASE, "x", max_tokens=40, response_format=as_schema(loose)).expect(200)


class GuidedTools(unittest.TestCase):
    """A model that would rather say something else."""

    @classmethod
    def setUpClass(cls):
        model = scripted_model.packed("caller", scripted_model.HERMES, {
            "talk": ["I would rather talk about something else than call anything at all."]})
        cls.server = harness.Server(model=model).start()
        cls.addClassCleanup(cls.server.close)
        cls.key = cls.server.new_tenant("acme").key

    def call(self, **fields):
        fields = {"model": "caller", "messages": [{"role": "user", "content": "talk"}],
                  "tools": [LOOK_UP, BOOK], "max_tokens": 150} | fields
        choice = self.key.post("/v1/chat/completions", fields).expect(200).json["choices"][0]
        return choice["message"], choice["finish_reason"]

    def check(self, calls):
        for call in calls:
            arguments = json.loads(call["function"]["arguments"])
            if call["function"]["name"] == "look_up":
                self.assertIn(arguments["city"], ("Köln", "Łódź", "Bern"))
                self.assertTrue(1 <= arguments["days"] <= 9)
            else:
                self.assertIn(arguments["seat"], ("aisle", "window"))

    def test_auto_leaves_the_model_its_words(self):
        message, reason = self.call(temperature=0)
        self.assertEqual(reason, "stop")
        self.assertTrue(message["content"].startswith("I would rather talk"))

    def test_required_makes_it_call(self):
        for seed in range(5):
            message, reason = self.call(tool_choice="required", parallel_tool_calls=False,
                                        seed=seed)
            self.assertEqual(reason, "tool_calls")
            self.assertIsNone(message["content"])
            self.assertEqual(len(message["tool_calls"]), 1)
            self.check(message["tool_calls"])

    def test_a_named_function_is_called(self):
        for name in ("look_up", "book"):
            message, reason = self.call(
                tool_choice={"type": "function", "function": {"name": name}})
            self.assertEqual(reason, "tool_calls")
            self.assertEqual([c["function"]["name"] for c in message["tool_calls"]], [name])
            self.check(message["tool_calls"])

    def test_only_allowed_tools_are_called(self):
        allowed = {"type": "allowed_tools", "allowed_tools": {
            "mode": "required", "tools": [{"type": "function", "function": {"name": "book"}}]}}
        for seed in range(3):
            message, _ = self.call(tool_choice=allowed, seed=seed, parallel_tool_calls=False)
            self.assertEqual([c["function"]["name"] for c in message["tool_calls"]], ["book"])

    def test_a_streamed_call_conforms_too(self):
        stream = self.key.stream("/v1/chat/completions", {
            "model": "caller", "messages": [{"role": "user", "content": "talk"}],
            "tools": [LOOK_UP], "tool_choice": "required", "parallel_tool_calls": False,
            "max_tokens": 150})
        arguments, finish = "", None
        for event in stream:
            choice = event["choices"][0]
            finish = finish or choice["finish_reason"]
            for call in choice["delta"].get("tool_calls", []):
                arguments += call["function"].get("arguments", "")
        self.assertEqual(finish, "tool_calls")
        self.assertTrue(1 <= json.loads(arguments)["days"] <= 9)

    def test_a_functions_schema_is_told_apart(self):
        broken = {"type": "function", "function": {
            "name": "odd", "strict": True,
            "parameters": {"type": "object", "properties": {"x": {"pattern": "("}}}}}
        refused = self.key.post("/v1/chat/completions", {
            "model": "caller", "messages": [{"role": "user", "content": "talk"}],
            "tools": [LOOK_UP, broken], "tool_choice": "required"}).expect(400)
        self.assertEqual(refused.error["param"], "tools[1].function.parameters")
        self.assertTrue(refused.error["details"][0]["pointer"].startswith("/properties/x"),
                        refused.error)


class GuidedReasoning(unittest.TestCase):
    def test_the_constraint_begins_behind_the_reasoning(self):
        model = scripted_model.packed("bounded-thinker", scripted_model.OPENED_THINKING, {
            "=<think>": ["Hm, {well}.", ("special", "</think>"), "Free text, if it may."],
            "think": ["Unused."]})
        server = harness.Server(model=model).start()
        self.addCleanup(server.close)
        answer = server.new_tenant("acme").key.post("/v1/chat/completions", {
            "model": "bounded-thinker", "messages": [{"role": "user", "content": "think"}],
            "temperature": 0, "max_tokens": 100,
            "structured_outputs": {"regex": "[0-9]{3}"}}).expect(200).json["choices"][0]
        self.assertEqual(answer["message"]["reasoning_content"], "Hm, {well}.")
        self.assertTrue(re.fullmatch("[0-9]{3}", answer["message"]["content"]), answer)
        self.assertEqual(answer["finish_reason"], "stop")

    def test_a_model_may_open_its_reasoning_itself(self):
        model = scripted_model.packed("free-thinker", scripted_model.THINKING, {
            "think": ["<think>Hm, {well}.", ("special", "</think>"), "Free text, if it may."],
            "answer": ["No call, if it may."]})
        server = harness.Server(model=model).start()
        self.addCleanup(server.close)
        key = server.new_tenant("acme").key

        def ask(word, **more):
            return key.post("/v1/chat/completions", {
                "model": "free-thinker", "messages": [{"role": "user", "content": word}],
                "temperature": 0, "max_tokens": 100, **more}).expect(200).json["choices"][0]

        digits = {"structured_outputs": {"regex": "[0-9]{3}"}}
        answer = ask("think", **digits)
        self.assertEqual(answer["message"]["reasoning_content"], "Hm, {well}.")
        self.assertTrue(re.fullmatch("[0-9]{3}", answer["message"]["content"]), answer)
        answer = ask("answer", **digits)
        self.assertNotIn("reasoning_content", answer["message"])
        self.assertTrue(re.fullmatch("[0-9]{3}", answer["message"]["content"]), answer)
        # A call begins with the same letter as the reasoning.
        answer = ask("think", tools=[LOOK_UP], tool_choice="required", parallel_tool_calls=False,
                     max_tokens=300)
        self.assertEqual(answer["message"]["reasoning_content"], "Hm, {well}.")
        self.assertEqual(answer["message"]["tool_calls"][0]["function"]["name"], "look_up")
        self.assertEqual(answer["finish_reason"], "tool_calls")


if __name__ == "__main__":
    unittest.main()
