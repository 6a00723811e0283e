"""choices_test.py — several answers to one prompt, and what bends the choice of tokens."""

import collections
import json
import unittest

import harness

PROMPT = "Hello there, how are you?"


class Choices(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server().start()
        cls.addClassCleanup(cls.server.close)
        cls.tenant = cls.server.new_tenant("choices")
        cls.key = cls.tenant.key

    def complete(self, **fields):
        fields = {"model": harness.BASE, "prompt": PROMPT, "max_tokens": 24, "ignore_eos": True,
                  "temperature": 0} | fields
        return self.key.post("/v1/completions", fields)

    def tokens_of(self, text):
        return self.key.post("/v1/tokenize", {
            "model": harness.BASE, "prompt": text, "add_special_tokens": False}).expect(
                200).json["tokens"]

    def test_choices_are_numbered_and_a_prompt_is_charged_once(self):
        one = self.complete(temperature=1, seed=5).expect(200).json
        many = self.complete(temperature=1, seed=5, n=4).expect(200).json
        self.assertEqual([choice["index"] for choice in many["choices"]], [0, 1, 2, 3])
        self.assertEqual(many["choices"][0]["text"], one["choices"][0]["text"])
        self.assertGreater(len({choice["text"] for choice in many["choices"]}), 1)
        self.assertEqual(many["usage"]["prompt_tokens"], one["usage"]["prompt_tokens"])
        self.assertEqual(many["usage"]["completion_tokens"], 4 * 24)
        again = self.complete(temperature=1, seed=5, n=4).expect(200).json
        self.assertEqual(again["choices"], many["choices"])

    def test_streamed_choices_appear_in_order(self):
        answer = self.key.post("/v1/chat/completions", {
            "model": harness.BASE, "messages": [{"role": "user", "content": PROMPT}], "n": 5,
            "max_tokens": 12, "ignore_eos": True, "stream": True, "temperature": 1, "seed": 2,
            "stream_options": {"include_usage": True}}).expect(200)
        events = [json.loads(line[6:]) for line in answer.body.decode().split("\n")
                  if line.startswith("data: {")]
        seen, texts, finished = [], collections.defaultdict(str), set()
        for event in events:
            for choice in event["choices"]:
                if choice["index"] not in seen:
                    seen.append(choice["index"])
                texts[choice["index"]] += choice["delta"].get("content") or ""
                if choice["finish_reason"]:
                    finished.add(choice["index"])
        self.assertEqual(seen, [0, 1, 2, 3, 4])
        self.assertEqual(finished, {0, 1, 2, 3, 4})
        self.assertEqual(events[-1]["usage"]["completion_tokens"], 60)
        self.assertTrue(all(texts.values()))

    def test_too_many_are_refused_before_anything_is_computed(self):
        for fields in ({"n": 9}, {"n": 8, "prompt": [PROMPT] * 9}):
            refused = self.complete(**fields)
            self.assertEqual((refused.status, refused.error["param"]), (400, "n"))

    def test_biased_tokens_are_chosen_or_never(self):
        plain = self.complete().expect(200).json["choices"][0]["text"]
        said = self.tokens_of(plain)
        banned = self.complete(logit_bias={str(token): -100 for token in said})
        self.assertNotEqual(banned.expect(200).json["choices"][0]["text"], plain)
        chosen = said[len(said) // 2]
        forced = self.complete(max_tokens=3, logit_bias={str(chosen): 100})
        expected = self.key.post("/v1/detokenize", {"model": harness.BASE,
                                                    "tokens": [chosen] * 3}).expect(200).json
        self.assertEqual(forced.expect(200).json["choices"][0]["text"],
                         next(v for v in expected.values() if isinstance(v, str)))
        wrong = self.complete(logit_bias={"100000000": 1})
        self.assertEqual((wrong.status, wrong.error["param"]), (400, "logit_bias"))

    def test_penalties_make_an_answer_repeat_itself_less(self):
        def most_common(**fields):
            text = self.complete(max_tokens=48, **fields).expect(200).json["choices"][0]["text"]
            counts = collections.Counter(self.tokens_of(text))
            return counts.most_common(1)[0][1]
        plain = most_common()
        self.assertLess(most_common(frequency_penalty=2), plain)
        self.assertLessEqual(most_common(presence_penalty=2), plain)
        self.assertLess(most_common(repetition_penalty=5), plain)

    def test_answer_has_min_tokens(self):
        fields = {"ignore_eos": False, "max_tokens": 40, "logit_bias": {}}
        ends = self.complete(**fields).expect(200).json["usage"]["completion_tokens"]
        longer = self.complete(**fields, min_tokens=40).expect(200).json["usage"]
        self.assertEqual(longer["completion_tokens"], 40)
        self.assertLessEqual(ends, 40)
        refused = self.complete(min_tokens=25)
        self.assertEqual((refused.status, refused.error["param"]), (400, "min_tokens"))


if __name__ == "__main__":
    unittest.main()
