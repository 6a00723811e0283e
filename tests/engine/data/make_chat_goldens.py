#!/usr/bin/env python3
# make_chat_goldens.py — expected renderings of chat templates, made by transformers and jinja2.
#
#   python3 make_chat_goldens.py [DIRECTORY_WITH_CHAT_TEMPLATES]
#
# (transformers 5.23.0, jinja2 3.1.6)
#
# writes, beside itself:
#   conversations.json     what the templates are rendered with
#   chat_goldens.json      our own templates (chat/*.jinja) in full, and small expressions
#   third_party_chat.json  templates of others, which are not part of this project: file name to
#                          one entry a conversation: t (a text), r (it raised) or e (an error), and
#                          the beginning of the SHA-256 of the text (only if the directory is given)

import hashlib
import json
import pathlib
import sys

import transformers_jinja

HERE = pathlib.Path(__file__).resolve().parent

WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "Current weather <in> a \"place\" & more",
    "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "description": "Name of the city"},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        "days": {"type": "integer", "minimum": 1, "default": 3}},
        "required": ["city"]},
    "return": {"type": "string"}}}
SEARCH = {"type": "function", "function": {
    "name": "search", "description": "Suche im Netz – schnell",
    "parameters": {"type": "object", "properties": {
        "query": {"type": "string", "description": "What to look for"},
        "limit": {"type": ["integer", "null"], "description": "How many"},
        "filters": {"type": "array", "items": {"type": "string"}, "description": "Only these"},
        "options": {"type": "object", "properties": {"safe": {"type": "boolean"}}}},
        "required": ["query", "limit"]}}}
EMPTY = {"type": "function", "function": {
    "name": "noop", "description": "", "parameters": {"type": "object", "properties": {}}}}


def system(text): return {"role": "system", "content": text}
def user(text): return {"role": "user", "content": text}
def assistant(text, **more): return {"role": "assistant", "content": text, **more}


def call(name, arguments, call_id="call12345"):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def tool(text, name="get_weather", call_id="call12345"):
    return {"role": "tool", "tool_call_id": call_id, "name": name, "content": text}


def conversations():
    hello = [user("Hello!")]
    turns = [user("Hi"), assistant("Hello, how can I help?"), user("Tell me a joke.")]
    asked = [user("Weather in Paris?"),
             assistant(None, tool_calls=[call("get_weather", {"city": "Paris", "days": 2})])]
    answered = asked + [tool('{"temperature": 21.5, "sky": "clear"}')]
    text_args = [user("Weather in Köln?"),
                 assistant("", tool_calls=[call("get_weather", '{"city": "Köln"}')]), tool("17 °C")]
    two_calls = [user("Paris and Rome?"), assistant("Let me see.", tool_calls=[
        call("get_weather", {"city": "Paris"}, "call00001"),
        call("search", {"query": "Rome", "limit": None, "filters": ["a", "b"]}, "call00002")]),
        tool("20", call_id="call00001"), tool("[1, 2]", "search", "call00002")]
    parts = [{"role": "user", "content": [{"type": "text", "text": "What is "},
                                          {"type": "text", "text": "this?"}]}]
    unicode = "Grüße 你好 مرحبا 👩‍👩‍👧 \u2028 <b>&amp;</b> 'x' \"y\" \\n {{ no }} {% no %}"
    thought = assistant("<think>\nhmm\n</think>\n\nFour.")
    reasoned = assistant("Four.", reasoning_content="Two and two.\nSo four.")
    base = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}

    def conversation(messages, tools=None, generate=True, **more):
        out = {**base, "messages": messages, "add_generation_prompt": generate, **more}
        if tools is not None:
            out["tools"] = tools
        return out

    return [
        conversation(hello),
        conversation(hello, generate=False),
        conversation([system("You are terse.")] + hello),
        conversation([system("You are terse.")] + hello, generate=False),
        conversation([system("")] + hello),
        conversation([system("  padded \n")] + [user(" \n padded too  ")]),
        conversation(turns),
        conversation(turns, generate=False),
        conversation([system("Be kind.")] + turns + [assistant("Knock knock."), user("Who?")]),
        conversation([user("")]),
        conversation([user(""), assistant(""), user("")]),
        conversation([user(unicode), assistant(unicode), user("ok")]),
        conversation([system(unicode), user(unicode)]),
        conversation([user("a\r\nb\tc\x00d")]),
        conversation(hello, [WEATHER]),
        conversation(hello, [WEATHER, SEARCH, EMPTY]),
        conversation([system("Use tools.")] + hello, [WEATHER, SEARCH]),
        conversation(hello, []),
        conversation(answered, [WEATHER]),
        conversation(answered + [assistant("21.5 degrees."), user("Thanks")], [WEATHER]),
        conversation(asked, [WEATHER], generate=False),
        conversation(text_args, [WEATHER]),
        conversation(two_calls, [WEATHER, SEARCH]),
        conversation([system("S")] + two_calls + [assistant("20 and two.")], [WEATHER, SEARCH],
                     generate=False),
        conversation(answered),
        conversation(parts),
        conversation([system("S")] + parts + [assistant("A thing.")] + parts),
        conversation([{"role": "user", "content": [
            {"type": "image"}, {"type": "text", "text": "Describe."}]}]),
        conversation([user("2+2?"), thought, user("3+3?")]),
        conversation([user("2+2?"), reasoned, user("3+3?")]),
        conversation([user("2+2?"), reasoned], generate=False),
        conversation(hello, enable_thinking=True),
        conversation(hello, enable_thinking=False),
        conversation(turns, enable_thinking=False, thinking=True),
        conversation(hello, reasoning_effort="low", builtin_tools=["browser", "python"]),
        conversation(hello, date_string="26 Jul 2024", tools_in_user_message=False),
        conversation(hello, [WEATHER], tools_in_user_message=False, documents=[
            {"title": "One", "text": "First."}, {"title": "Two", "text": "Second."}]),
        conversation([user("one"), user("two")]),
        conversation([assistant("I begin."), user("Go on.")]),
        conversation([system("a"), system("b")] + hello),
        conversation([{"role": "developer", "content": "Dev."}] + hello),
        conversation([{"role": "stranger", "content": "?"}]),
        conversation([user("long " * 500), assistant("word " * 300), user("end")]),
        conversation([user(None)]),
        conversation([]),
        # reasoning under each of its names
        conversation([user("2+2?"), assistant("Four.", thinking="Two and two."), user("3+3?")]),
        conversation([user("2+2?"), assistant("Four.", reasoning="Two and two."), user("3+3?")]),
        conversation([user("Q"), assistant("", reasoning_content="Only thought."), user("And?")]),
        conversation([user("2+2?"), reasoned, user("3+3?")], enable_thinking=False),
        conversation([user("2+2?"), thought, user("3+3?"), reasoned], enable_thinking=True,
                     generate=False),
        conversation([user("2+2?"), reasoned, user("3+3?")], preserve_thinking=True,
                     clear_thinking=False, keep_past_thinking=True),
        conversation([user("Weather?"), assistant(
            "", reasoning_content="I need the tool.",
            tool_calls=[call("get_weather", {"city": "Paris"})]), tool("20")], [WEATHER]),
        conversation([user("Weather?"), assistant(
            "I look.", reasoning_content="I need the tool.",
            tool_calls=[call("get_weather", {"city": "Paris"})]), tool("20"),
            assistant("20.", reasoning_content="Done."), user("Thanks")], [WEATHER],
            enable_thinking=True),
        conversation([system("/no_think"), user("Hello /no_think")]),
        conversation([system("/think S"), user("Hello /think")], [WEATHER]),
        # tool calls in other shapes
        conversation([user("?"), assistant(None, tool_calls=[call("noop", {})]), tool("", "noop")],
                     [EMPTY]),
        conversation([user("?"), assistant(None, tool_calls=[call("noop", "{}")]),
                      tool("ok", "noop"),
                      assistant(None, tool_calls=[call("noop", "{}", "call54321")]),
                      tool("again", "noop", "call54321"), assistant("Done.")], [EMPTY],
                     generate=False),
        conversation([user("?"), assistant(None, tool_calls=[call("search", {
            "query": "a \"b\" <c> & 'd'\n\t\\ é 你", "limit": 10 ** 12, "rate": 1.5e-07,
            "flags": [True, False, None], "nested": {"deep": {"er": []}}})]),
            tool("none", "search")],
            [SEARCH]),
        conversation([user("?"), assistant(None, tool_calls=[
            {"function": {"name": "get_weather", "arguments": {"city": "Oslo"}}}]),
            {"role": "tool", "content": "1"}], [WEATHER]),
        conversation([user("?"), assistant(None, tool_calls=[call("get_weather", {"city": "A"}),
                                                             call("get_weather", {"city": "B"})]),
                      tool("1"), tool("2"), user("And?")], [WEATHER]),
        conversation([user("?"),
                      assistant(None, tool_calls=[call("get_weather", {"city": "A"}, "x")]),
                      tool("1", call_id="x")], [WEATHER]),
        conversation([user("?"), assistant("said", tool_calls=[]), user("so")], [WEATHER]),
        conversation(asked + [{"role": "tool", "tool_call_id": "call12345", "content": [
            {"type": "text", "text": "21"}, {"type": "text", "text": "°C"}]}], [WEATHER]),
        conversation([system("S"), user("?")] + asked[1:] + [tool('{"a": [1, 2.0, "x"]}')],
                     [WEATHER, SEARCH, EMPTY], enable_thinking=False),
        conversation([{"role": "developer", "content": "Dev."}, user("?")], [WEATHER]),
        # content in parts, of every role
        conversation([{"role": "system", "content": [{"type": "text", "text": "Parts."}]}] + hello),
        conversation(hello + [{"role": "assistant", "content": [{"type": "text", "text": "Hi."}]},
                              user("Go on.")]),
        conversation([{"role": "user", "content": []}]),
        conversation([user(unicode), assistant(None, tool_calls=[
            call("search", {"query": unicode})]), tool(unicode, "search")], [SEARCH]),
        # continued answers
        conversation(hello + [assistant("Hello, I")], generate=False, continue_final_message=True),
        conversation(hello + [assistant("Trailing space ")], generate=False,
                     continue_final_message=True),
        conversation(hello + [{"role": "assistant", "content": [{"type": "text", "text": "In a"}]}],
                     generate=False, continue_final_message=True),
        conversation(hello + [assistant("", reasoning_content="I think that")], generate=False,
                     continue_final_message="reasoning_content"),
        conversation(hello + [assistant(None)], generate=False, continue_final_message=True),
        conversation([], generate=False, continue_final_message=True),
        # variables that templates ask for
        conversation(hello, reasoning_effort="high", model_identity="You are M."),
        conversation(hello, [WEATHER], thinking=True, custom_tools=[SEARCH], xml_tools=[WEATHER]),
        conversation(hello, documents=[{"doc_id": 1, "title": "T <1>", "text": unicode}],
                     citation_mode="fast", controls={"length": "long"}),
        conversation(hello, add_vision_id=True, thinking_budget=512, think=False, guideline="G"),
    ]


# Small programs, each for a corner of the language.
SNIPPETS = (HERE / "chat" / "snippets.txt").read_text().split("\n----\n")
VARIABLES = {"s": "Hello, World", "n": 7, "f": 2.5, "t": True, "z": None, "empty": [],
             "items": ["b", "A", "c", "a"], "numbers": [3, 1, 2, 3],
             "people": [{"name": "Ann", "age": 30}, {"name": "bob", "age": 25}, {"name": "Cy"}],
             "d": {"x": 1, "y": [1, 2.0, "three", None, True], "é": {"k": "v"}},
             "u": "Grüße 你好 👩‍👩‍👧", "html": "<a href='x'>&\"</a>"}


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def main():
    every = conversations()
    (HERE / "conversations.json").write_text(
        json.dumps(every, ensure_ascii=False, indent=1) + "\n")

    goldens = {"templates": {}, "variables": VARIABLES, "snippets": []}
    for path in sorted((HERE / "chat").glob("*.jinja")):
        goldens["templates"][path.name] = [
            transformers_jinja.render_chat(path.read_text(), c) for c in every]
    for source in SNIPPETS:
        goldens["snippets"].append([source, *transformers_jinja.render(source, VARIABLES)])
    (HERE / "chat_goldens.json").write_text(
        json.dumps(goldens, ensure_ascii=False, indent=1) + "\n")

    if len(sys.argv) > 1:
        third_party = {}
        for path in sorted(pathlib.Path(sys.argv[1]).glob("*.jinja")):
            source = path.read_text(encoding="utf-8")
            rows = [transformers_jinja.render_chat(source, c) for c in every]
            third_party[path.name] = {
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "rows": " ".join(kind[0] + digest(text) for kind, text in rows)}
        (HERE / "third_party_chat.json").write_text(json.dumps(third_party, indent=1) + "\n")


if __name__ == "__main__":
    main()
