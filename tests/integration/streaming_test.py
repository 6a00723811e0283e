"""streaming_test.py — answers that arrive in pieces: their bytes, their end, and being left alone.

The rules are those that OpenAI's client decodes by (http-api.md 3.3).
"""

import concurrent.futures
import itertools
import json
import unittest

import harness

STORY = "Tell me a short story about a fox named Ada and a lamp."


def content(event):
    return "".join(choice["delta"].get("content") or "" for choice in event["choices"])


class StreamingRules(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server().start()
        cls.addClassCleanup(cls.server.close)
        cls.key = cls.server.new_tenant("reader").key

    def stream(self, prompt=STORY, **fields):
        stream = self.key.chat_stream(harness.BASE, prompt, **{"temperature": 0} | fields)
        self.addCleanup(stream.close)
        self.assertEqual(stream.status, 200)
        return stream

    def test_headers_say_that_events_follow_and_must_not_be_held_back(self):
        headers = self.stream().headers
        self.assertEqual(headers["content-type"].split(";")[0], "text/event-stream")
        self.assertEqual(headers["cache-control"], "no-cache")
        self.assertEqual(headers["x-accel-buffering"], "no")
        self.assertEqual(headers["transfer-encoding"], "chunked")
        self.assertTrue(headers["x-request-id"].startswith("req_"))

    def test_every_event_is_one_data_line_and_the_last_is_done(self):
        stream = self.stream()
        list(stream)
        self.assertTrue(stream.done)
        self.assertEqual(stream.rest(), b"\n", "nothing follows [DONE] but its empty line")
        *events, last, nothing = stream.raw.split(b"\n\n")
        self.assertEqual((last, nothing), (b"data: [DONE]", b""))
        for event in events:
            if not event.startswith(b":"):  # a comment keeps the connection alive
                self.assertTrue(event.startswith(b"data: {"), event)
                self.assertNotIn(b"\n", event)
                json.loads(event.removeprefix(b"data: "))

    def test_chunks_share_their_identity_and_only_the_last_has_a_reason(self):
        chunks = list(self.stream())
        # The role, text, and the end; tokens that come together may share a chunk of text.
        self.assertGreaterEqual(len(chunks), 3)
        for field in ("id", "created", "model", "object", "system_fingerprint"):
            self.assertEqual(len({chunk[field] for chunk in chunks}), 1, field)
        self.assertEqual(chunks[0]["object"], "chat.completion.chunk")
        self.assertTrue(chunks[0]["id"].startswith("chatcmpl-"))
        self.assertEqual(chunks[0]["choices"][0]["delta"], {"role": "assistant", "content": ""})
        self.assertEqual(chunks[-1]["choices"][0]["delta"], {})
        reasons = [chunk["choices"][0]["finish_reason"] for chunk in chunks]
        self.assertEqual(set(reasons[:-1]), {None})
        self.assertEqual(reasons[-1], "stop")
        self.assertTrue(all("usage" not in chunk for chunk in chunks))

    def test_usage_comes_once_with_no_choices_right_before_done(self):
        stream = self.stream(stream_options={"include_usage": True})
        *chunks, last = list(stream)
        self.assertTrue(all(chunk["usage"] is None and chunk["choices"] for chunk in chunks))
        self.assertEqual(last["choices"], [])
        usage = last["usage"]
        self.assertEqual(usage["total_tokens"], usage["prompt_tokens"] + usage["completion_tokens"])
        self.assertGreater(usage["completion_tokens"], 3)
        self.assertIn("cached_tokens", usage["prompt_tokens_details"])

    def test_a_stream_says_what_the_plain_answer_says(self):
        for prompt in (STORY, "Draw 5 stars.", "Where is Zürich?", "Where is Kraków?"):
            with self.subTest(prompt):
                plain = self.key.say(harness.BASE, prompt, max_tokens=60)
                self.assertEqual(self.stream(prompt, max_tokens=60).text(), plain)

    def test_no_character_is_split_between_events(self):
        pieces = [content(chunk) for chunk in self.stream("Draw 5 stars.")]
        self.assertIn("★", "".join(pieces))
        self.assertNotIn("\ufffd", "".join(pieces))

    def test_a_stop_string_ends_the_answer_and_is_not_shown(self):
        whole = self.key.say(harness.BASE, STORY)
        middle = len(whole) // 2
        stop = whole[middle:middle + 9]  # within words: it comes in several tokens
        chunks = list(self.stream(stop=["never said", stop]))
        self.assertEqual("".join(map(content, chunks)), whole[:whole.index(stop)])
        self.assertEqual(chunks[-1]["choices"][0]["finish_reason"], "stop")

    def test_the_token_limit_is_told_as_length(self):
        chunks = list(self.stream(max_tokens=3, stream_options={"include_usage": True}))
        self.assertEqual(chunks[-2]["choices"][0]["finish_reason"], "length")
        self.assertEqual(chunks[-1]["usage"]["completion_tokens"], 3)

    def test_completions_stream_text_under_the_same_rules(self):
        fields = {"model": harness.BASE, "prompt": "One morning", "max_tokens": 12,
                  "temperature": 0}
        stream = self.key.stream("/v1/completions", fields)
        chunks = list(stream)
        self.assertTrue(stream.done)
        self.assertEqual({chunk["object"] for chunk in chunks}, {"text_completion"})
        plain = self.key.post("/v1/completions", fields).expect(200).json["choices"][0]
        self.assertEqual("".join(c["choices"][0]["text"] for c in chunks), plain["text"])
        self.assertEqual(chunks[-1]["choices"][0]["finish_reason"], plain["finish_reason"])

    def test_errors_before_the_first_token_are_http_statuses(self):
        good = harness.chat_fields(harness.BASE, "Hello!", stream=True)
        too_long = [{"role": "user", "content": "long " * 3000}]
        for change, status, code in (({"model": "nobody"}, 404, "model_not_found"),
                                     ({"temperature": 3}, 400, "invalid_value"),
                                     ({"messages": too_long}, 400, "context_length_exceeded"),
                                     ({"surprise": 1}, 400, "unknown_parameter")):
            with self.subTest(code):
                answer = self.key.post("/v1/chat/completions", good | change)
                self.assertEqual((answer.status, answer.error["code"]), (status, code))
                self.assertEqual(answer.headers["content-type"], "application/json")


class BeingLeft(unittest.TestCase):
    """Clients that hang up, and a server that is told to go."""

    def setUp(self):
        # The reference backend is slow enough for an answer to be still running.
        self.server = harness.Server("--backend", "reference", "--drain", "20").start()
        self.addCleanup(self.server.close)
        self.tenant = self.server.new_tenant("leaver", max_concurrent_requests=1)

    def long_stream(self, tokens=900):
        stream = self.tenant.key.chat_stream(
            harness.BASE, STORY, max_tokens=tokens, ignore_eos=True,
            stream_options={"include_usage": True})
        self.addCleanup(stream.close)
        events = iter(stream)
        self.assertTrue(any(content(event) for event in itertools.islice(events, 3)))
        return stream, events

    def test_a_disconnect_ends_the_generation_frees_the_slot_and_is_billed(self):
        stream, _ = self.long_stream()
        stream.close()
        harness.wait_until(
            lambda: self.tenant.key.chat(harness.BASE, "Hello!", max_tokens=1).status == 200,
            5, "the slot of the stream that was left")
        billed = harness.wait_until(lambda: self.server.usage(project_id=self.tenant.id))
        [usage] = billed
        self.assertEqual(usage["num_model_requests"], 2)
        self.assertTrue(1 < usage["output_tokens"] < 800, usage)

    def test_sigterm_lets_a_running_stream_finish_and_refuses_new_work(self):
        stream, events = self.long_stream(tokens=150)
        self.server.process.terminate()
        harness.wait_until(lambda: self.refuses_new_work(), 5, "draining")
        *_, last = events
        self.assertTrue(stream.done)
        self.assertEqual(last["usage"]["completion_tokens"], 150)
        self.assertEqual(self.server.process.wait(20), 0)

    def refuses_new_work(self):
        try:
            return self.server.operations("/readyz").status == 503
        except ConnectionError:
            return True

    def test_what_sigterm_let_finish_is_on_the_bill_after_a_restart(self):
        _, events = self.long_stream(tokens=50)
        self.server.process.terminate()
        *_, last = events
        self.server.process.wait(20)
        self.server.start()
        [usage] = self.server.usage(project_id=self.tenant.id)
        self.assertEqual(usage["output_tokens"], last["usage"]["completion_tokens"])


class Mixed(unittest.TestCase):
    def test_a_crowd_of_adapters_is_answered_as_each_alone(self):
        server = harness.Server().start()
        self.addCleanup(server.close)
        key = server.new_tenant("everything").key
        names = harness.demo_adapters()
        for name in names:
            key.upload(name, *harness.demo_package(name)).expect(200, 201, 202)
        requests = []
        for i, model in enumerate([*names, harness.BASE] * 8):
            prompt = harness.held_out(names[i % len(names)])[i]["prompt"]
            requests.append(harness.chat_fields(
                model, prompt, seed=i, temperature=0.0 if i % 3 == 0 else 0.9, max_tokens=40,
                logprobs=True, top_logprobs=2))

        def ask(fields):
            return key.post("/v1/chat/completions", fields).expect(200).json["choices"][0]

        alone = [ask(fields) for fields in requests]
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            together = list(pool.map(ask, requests))
        self.assertEqual(together, alone)
        self.assertGreater(len({choice["message"]["content"] for choice in alone}), 16)


if __name__ == "__main__":
    unittest.main()
