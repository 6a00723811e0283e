"""transcripts_test.py — the thirteen streaming rules of clients, each as a transcript.

transcripts/NN-*.txt are what a scripted model's streams say, byte for byte but for what differs from
run to run: ids, times and fingerprints stand as names, and text of one choice that came in several
chunks stands in one, because how tokens are grouped is timing. TESSERA_WRITE_TRANSCRIPTS=1 writes
them anew.
"""

import json
import os
import pathlib
import re
import unittest

import harness
import scripted_model

HERE = pathlib.Path(__file__).resolve().parent / "transcripts"
WRITE = os.environ.get("TESSERA_WRITE_TRANSCRIPTS") == "1"
MODEL = "scripted"
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "%s"}}\n</tool_call>'
WEATHER = {"type": "function", "function": {
    "name": "get_weather", "parameters": {"type": "object", "properties": {
        "city": {"type": "string"}}, "required": ["city"]}}}
HEADERS = ("content-type", "cache-control", "x-accel-buffering", "transfer-encoding")


def without_text(event):
    """An event with the text of its one choice taken out, and the text; None if it has other news."""
    if len(event.get("choices", [])) != 1 or "error" in event:
        return None
    stripped = json.loads(json.dumps(event))
    choice = stripped["choices"][0]
    if choice.get("finish_reason") is not None:
        return None
    if "delta" in choice:
        delta = choice["delta"]
        if set(delta) == {"content"}:
            text, delta["content"] = delta["content"], ""
            return stripped, text
        calls = delta.get("tool_calls", [])
        if set(delta) == {"tool_calls"} and len(calls) == 1 and "id" not in calls[0]:
            text, calls[0]["function"]["arguments"] = calls[0]["function"]["arguments"], ""
            return stripped, text
        return None
    text, choice["text"] = choice["text"], ""
    return stripped, text


def put_text(event, text):
    choice = event["choices"][0]
    if "text" in choice:
        choice["text"] = text
    elif "content" in choice["delta"]:
        choice["delta"]["content"] = text
    else:
        choice["delta"]["tool_calls"][0]["function"]["arguments"] = text


def merged(lines):
    """Neighbouring data lines that only add text to the same place, as one."""
    out, open_event, open_text = [], None, ""

    def close():
        nonlocal open_event
        if open_event is not None:
            put_text(open_event, open_text)
            out.append("data: " + json.dumps(open_event, ensure_ascii=False,
                                             separators=(",", ":")))
            open_event = None

    for line in lines:
        found = without_text(json.loads(line[6:])) if line.startswith("data: {") else None
        if found and found[0] == open_event:
            open_text += found[1]
            continue
        close()
        if found:
            open_event, open_text = found
        else:
            out.append(line)
    close()
    return out


def named(text):
    for pattern, name in ((r'"(chatcmpl|cmpl)-[0-9A-Za-z]+"', r'"\1-ID"'),
                          (r'"call_[0-9A-Za-z]+"', '"call_ID"'), (r'"req_[0-9A-Z]+"', '"req_ID"'),
                          (r'"created":\d+', '"created":TIME'),
                          (r'"system_fingerprint":"fp_[0-9a-f]+"', '"system_fingerprint":"FP"')):
        text = re.sub(pattern, name, text)
    return text


class Transcripts(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.model = scripted_model.packed(MODEL, scripted_model.HERMES, {
            "hello": ["Good day."], "lines": ["One\nTwo\r\n\"three\""],
            "letters": ["Łódź ★ Köln"], "weather": [CALL % "Köln" + "\n" + CALL % "Łódź"]})
        cls.server = harness.Server(model=cls.model).start()
        cls.addClassCleanup(cls.server.close)
        cls.key = cls.server.new_tenant("transcripts").key

    def stream(self, text, path="/v1/chat/completions", **fields):
        prompt = ({"prompt": text} if path == "/v1/completions"
                  else {"messages": [{"role": "user", "content": text}]})
        stream = self.key.stream(path, {"model": MODEL, "temperature": 0} | prompt | fields)
        self.addCleanup(stream.close)
        stream.rest()
        return stream

    def check(self, name, stream, head=False):
        raw = stream.raw.decode()
        self.assertTrue(raw.endswith("\n\n"))
        events = raw.removesuffix("\n\n").split("\n\n")
        self.assertTrue(all("\n" not in event for event in events), "one line an event")
        lines = merged([event for event in events if not event.startswith(":")])
        if head:
            lines = [f"{name}: {stream.headers[name]}" for name in HEADERS] + [""] + lines
        said = named("\n".join(lines)) + "\n"
        file = HERE / f"{name}.txt"
        if WRITE:
            HERE.mkdir(exist_ok=True)
            file.write_text(said)
        self.assertEqual(said, file.read_text())

    def test_01_headers_and_the_whole_of_a_stream(self):
        self.check("01-headers", self.stream("hello"), head=True)

    def test_02_line_breaks_are_inside_of_the_json(self):
        self.check("02-line-breaks", self.stream("lines"))

    def test_03_done_is_last(self):
        stream = self.stream("hello")
        self.assertTrue(stream.raw.endswith(b"\n\ndata: [DONE]\n\n"))
        self.check("03-done", stream)

    def test_05_role_first_and_reason_last(self):
        self.check("05-first-and-last", self.stream("hello", max_tokens=1))

    def test_06_choices_first_appear_in_order(self):
        events = [json.loads(line[6:]) for line in self.stream(
            "hello", n=3).raw.decode().split("\n") if line.startswith("data: {")]
        seen = list(dict.fromkeys(e["choices"][0]["index"] for e in events))
        self.assertEqual(seen, [0, 1, 2])
        by_choice = sorted(range(len(events)), key=lambda i: events[i]["choices"][0]["index"])
        lines = merged(["data: " + json.dumps(events[i], ensure_ascii=False) for i in by_choice])
        self.assertEqual(len(lines), 9)

    def test_07_calls_are_announced_once_and_their_arguments_follow(self):
        self.check("07-calls", self.stream("weather", tools=[WEATHER]))

    def test_08_usage_is_right_before_done(self):
        self.check("08-usage", self.stream("hello", stream_options={"include_usage": True}))

    def test_09_a_stream_that_breaks_ends_with_its_error(self):
        server = harness.Server("--backend", "reference", "--drain", "0").start()
        self.addCleanup(server.close)
        key = server.new_tenant("broken").key
        stream = key.chat_stream(harness.BASE, "Tell me a story.", max_tokens=900, ignore_eos=True)
        self.addCleanup(stream.close)
        events = iter(stream)
        next(events)
        server.process.terminate()
        stream.rest()
        last, nothing = stream.raw.decode().rsplit("\n\n", 2)[1:]
        self.assertEqual(nothing, "")
        file = HERE / "09-broken.txt"
        said = named(last) + "\n"
        if WRITE:
            file.write_text(said)
        self.assertEqual(said, file.read_text())
        self.assertNotIn("[DONE]", stream.raw.decode())

    def test_10_no_character_is_split(self):
        stream = self.stream("letters")
        for line in stream.raw.decode().split("\n"):
            self.assertNotIn("\ufffd", line)
        self.check("10-characters", stream)

    def test_11_obfuscated_chunks_are_of_like_sizes(self):
        stream = self.stream("hello", stream_options={"include_obfuscation": True})
        data = [line[6:] for line in stream.raw.decode().split("\n") if line.startswith("data: {")]
        self.assertEqual({len(line.encode()) % 64 for line in data}, {0})
        self.assertEqual(len({json.loads(line)["obfuscation"] for line in data}), len(data))

    def test_13_completions_have_text_under_the_same_rules(self):
        self.check("13-completions", self.stream(
            "<|go:hello|>", "/v1/completions", max_tokens=64,
            stream_options={"include_usage": True}))


if __name__ == "__main__":
    unittest.main()
