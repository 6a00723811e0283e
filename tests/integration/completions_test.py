"""completions_test.py — the old endpoint's own fields: echo, best_of, token prompts, no suffix."""

import unittest

import harness

PROMPT = "Zoë said: One morning"
BEGIN = "<|begin|>"  # what the demo's tokenizer puts before a text


class Completions(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server().start()
        cls.addClassCleanup(cls.server.close)
        cls.tenant = cls.server.new_tenant("completes")
        cls.key = cls.tenant.key

    def complete(self, **fields):
        return self.key.post("/v1/completions", {
            "model": harness.BASE, "prompt": PROMPT, "max_tokens": 6, "temperature": 0,
            "ignore_eos": True} | fields)

    def choice(self, **fields):
        return self.complete(**fields).expect(200).json["choices"][0]

    def tokens_of(self, text):
        return self.key.post("/v1/tokenize", {"model": harness.BASE, "prompt": text}).expect(
            200).json["tokens"]

    def test_an_echo_is_the_prompt_and_the_answer(self):
        plain = self.choice()
        self.assertEqual(self.choice(echo=True)["text"], PROMPT + plain["text"])
        alone = self.choice(echo=True, max_tokens=0)
        self.assertEqual((alone["text"], alone["finish_reason"]), (PROMPT, "length"))
        ids = self.choice(echo=True, prompt=self.tokens_of(PROMPT))
        self.assertEqual(ids["text"], BEGIN + PROMPT + plain["text"])

    def test_an_echos_log_probabilities_are_those_of_the_prompt(self):
        answered = self.choice(logprobs=3)
        whole = self.choice(prompt=PROMPT + answered["text"], echo=True, logprobs=3, max_tokens=0)
        scores = whole["logprobs"]
        count = len(self.tokens_of(PROMPT))
        self.assertEqual(scores["tokens"][count:], answered["logprobs"]["tokens"],
                         "the text has other tokens than those that were generated")
        self.assertIsNone(scores["token_logprobs"][0])
        self.assertIsNone(scores["top_logprobs"][0])
        self.assertEqual(scores["token_logprobs"][count:], answered["logprobs"]["token_logprobs"])
        self.assertEqual(scores["top_logprobs"][count:], answered["logprobs"]["top_logprobs"])
        self.assertEqual("".join(scores["tokens"]).replace("\ufffd\ufffd", "ë"),  # of two tokens
                         BEGIN + PROMPT + answered["text"])
        for token, offset in list(zip(scores["tokens"], scores["text_offset"]))[1:]:
            if "\ufffd" not in token:
                self.assertTrue(whole["text"][offset:].startswith(token), (token, offset))

    def test_offsets_of_the_answer_are_behind_the_echo(self):
        choice = self.choice(echo=True, logprobs=0, n=2, temperature=1, seed=3)
        offsets, tokens = choice["logprobs"]["text_offset"], choice["logprobs"]["tokens"]
        self.assertEqual(len(tokens), len(self.tokens_of(PROMPT)) + 6)
        self.assertEqual(offsets, sorted(offsets))
        self.assertTrue(choice["text"][offsets[-1]:].startswith(tokens[-1]))

    def test_all_choices_of_a_prompt_have_its_echo_in_a_stream_too(self):
        fields = {"model": harness.BASE, "prompt": [PROMPT, "Then"], "max_tokens": 4, "n": 3,
                  "temperature": 1, "seed": 7, "echo": True, "logprobs": 1, "ignore_eos": True}
        whole = self.key.post("/v1/completions", fields).expect(200).json["choices"]
        texts, logprobs = [""] * 6, [[] for _ in range(6)]
        stream = self.key.stream("/v1/completions", fields)
        self.addCleanup(stream.close)
        for event in stream:
            for choice in event["choices"]:
                texts[choice["index"]] += choice["text"]
                if choice["logprobs"]:
                    logprobs[choice["index"]] += choice["logprobs"]["token_logprobs"]
        self.assertEqual(texts, [choice["text"] for choice in whole])
        self.assertEqual(logprobs, [choice["logprobs"]["token_logprobs"] for choice in whole])
        self.assertTrue(all(text.startswith(PROMPT) for text in texts[:3]))
        self.assertTrue(all(text.startswith("Then") for text in texts[3:]))

    def test_best_of_tells_the_most_likely_ones_and_charges_for_all(self):
        fields = {"temperature": 1, "seed": 11, "logprobs": 0}
        answer = self.complete(n=6, **fields).expect(200).json
        def score(choice):
            logprobs = choice["logprobs"]["token_logprobs"]
            return sum(logprobs) / len(logprobs)
        ranked = sorted(answer["choices"], key=score, reverse=True)
        best = self.complete(n=2, best_of=6, **fields).expect(200).json
        self.assertEqual([c["text"] for c in best["choices"]], [c["text"] for c in ranked[:2]])
        self.assertEqual([c["index"] for c in best["choices"]], [0, 1])
        self.assertEqual(best["usage"]["completion_tokens"], 36)
        quiet = self.complete(best_of=6, temperature=1, seed=11).expect(200).json["choices"]
        self.assertEqual([c["text"] for c in quiet], [ranked[0]["text"]])
        self.assertIsNone(quiet[0]["logprobs"])

    def test_best_of_zero_is_no_choice_among_more(self):
        plain = self.complete(n=2, temperature=1, seed=11).expect(200).json
        zero = self.complete(n=2, temperature=1, seed=11, best_of=0).expect(200).json
        self.assertEqual([c["text"] for c in zero["choices"]],
                         [c["text"] for c in plain["choices"]])
        self.assertEqual(zero["usage"]["completion_tokens"], plain["usage"]["completion_tokens"])

    def test_what_cannot_be_is_refused_by_name(self):
        for fields, param in (({"best_of": 1, "n": 2}, "best_of"),
                              ({"best_of": 3, "stream": True}, "best_of"),
                              ({"best_of": 21}, "best_of"), ({"suffix": "end"}, "suffix"),
                              ({"prompt": ["a"] * 16, "best_of": 5}, "best_of"),
                              ({"echo": "yes"}, "echo"), ({"prompt": [10**9]}, "prompt")):
            with self.subTest(fields):
                refused = self.complete(**fields)
                self.assertEqual((refused.status, refused.error["param"]), (400, param))

    def test_choices_that_start_together_compute_their_prompt_once(self):
        prompt = "One long morning, " * 20
        computed = self.server.metric("tessera_engine_computed_tokens_total")
        usage = self.complete(prompt=prompt, n=4, max_tokens=2, temperature=1).expect(
            200).json["usage"]
        rows = self.server.metric("tessera_engine_computed_tokens_total") - computed
        self.assertLess(rows, usage["prompt_tokens"] + 4 * 20)


if __name__ == "__main__":
    unittest.main()
