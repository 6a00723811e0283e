"""storm_test.py — names that flip under load: every answer is of the version that it says.

Adapters whose answers name them (their weights decide every token) are uploaded once and each asked
directly; that is what its digest says to this prompt. Then clients ask by name, alias and number
while another flips, splits, rolls back, evicts, preloads and uploads the same again. No request may
fail, and no answer may be another than that of the version in its headers: neither a mixed one nor
one that begins with another's cached prefix.

Environment: TESSERA_SEED repeats a run, TESSERA_FLIPS sets the number of changes (TESSERA_LONG=1:
10,000).
"""

import collections
import json
import os
import random
import threading
import unittest

import harness
from aliases_test import ask, watermark

FLIPS = int(os.environ.get("TESSERA_FLIPS", 10_000 if os.environ.get("TESSERA_LONG") else 120))
SEED = int(os.environ.get("TESSERA_SEED", random.SystemRandom().randrange(2**32)))
VERSIONS = 6
CLIENTS = 3
PROMPT = "Tell me which of them you are, and nothing else, please."
TOKENS = 6
NO_LIMIT = 1_000_000_000


class Storm(unittest.TestCase):
    def setUp(self):
        print(f"TESSERA_SEED={SEED}", flush=True)
        self.random = random.Random(SEED)
        # Room for half of them: the others come and go.
        self.server = harness.Server("--adapter-slots", "3", "--step-adapters", "3").start()
        self.addCleanup(self.server.close)
        self.tenant = self.server.new_tenant("storm", max_requests_per_1_minute=NO_LIMIT,
                                             max_tokens_per_1_minute=NO_LIMIT)
        self.key = self.tenant.key
        self.packages = [watermark(number) for number in range(1, VERSIONS + 1)]
        self.digests = {}
        for package in self.packages:
            made = self.key.upload("bot", *package).expect(201).json
            self.digests[f"bot@{made['version']}"] = made["sha256"]
        self.move("canary", {"version": 1})
        self.expected = {model: self.say(model) for model in self.digests}
        self.answers = collections.Counter()
        self.faults = []

    def chat(self, model, **fields):
        return self.key.chat(model, PROMPT, max_tokens=TOKENS, temperature=0, **fields).expect(200)

    def say(self, model):
        return self.chat(model).json["choices"][0]["message"]["content"]

    def move(self, alias, fields):
        ask(self.key, "POST", f"/v1/adapters/bot/aliases/{alias}", fields).expect(200)

    def test_every_answer_is_of_the_version_that_it_says(self):
        self.assertEqual(len(set(self.expected.values())), VERSIONS, self.expected)
        stop = threading.Event()
        clients = [threading.Thread(target=self.ask_until, args=(stop, self.random.random()))
                   for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        done = collections.Counter()
        try:
            for _ in range(FLIPS):
                if self.faults:
                    break
                done[self.change()] += 1
        finally:
            stop.set()
            for client in clients:
                client.join()
        self.assertEqual(self.faults, [])
        print(f"{sum(done.values())} changes {dict(done)} beside {sum(self.answers.values())} "
              f"answers {dict(self.answers)}", flush=True)
        self.assertGreaterEqual(len(self.answers), VERSIONS // 2)

    def ask_until(self, stop, seed):
        chance = random.Random(seed)
        while not stop.is_set():
            model = chance.choice(["bot", "bot:canary", chance.choice(list(self.digests))])
            try:
                answer = self.chat(model, user=f"user-{chance.randrange(1000)}")
                self.check(model, answer)
            except Exception as error:  # the test fails with it
                self.faults.append(error)
                return

    def check(self, model, answer):
        version = answer.headers["x-adapter-version"]
        said = answer.json["choices"][0]["message"]["content"]
        if "@" in model and version != model:
            raise AssertionError(f"{model} was answered by {version}")
        if answer.headers["x-adapter-sha256"] != self.digests[version]:
            raise AssertionError(f"{version} has another digest")
        if said != self.expected[version]:
            raise AssertionError(f"{version} said {said!r}, not {self.expected[version]!r}")
        self.answers[version] += 1

    def change(self):
        """One change, whatever comes next; its name."""
        number = self.random.randrange(1, VERSIONS + 1)
        alias = self.random.choice(["prod", "canary"])
        kind = self.random.choices(["flip", "split", "rollback", "evict", "preload", "upload"],
                                   [40, 15, 15, 20, 5, 5])[0]
        if kind == "flip":
            self.move(alias, {"version": number})
        elif kind == "split":
            other = number % VERSIONS + 1
            weight = self.random.randrange(1, 100)
            self.move(alias, {"split": [{"version": number, "weight": weight},
                                        {"version": other, "weight": 100 - weight}],
                              "sticky": self.random.choice(["user", "session", "none"])})
        elif kind == "rollback":
            path = f"/v1/adapters/bot/aliases/{alias}/rollback"
            ask(self.key, "POST", path).expect(200, 409)  # 409: as far back as it remembers
        elif kind == "upload":
            made = self.key.upload("bot", *self.packages[number - 1]).expect(200).json
            if made["version"] != number:
                raise AssertionError(f"{number} was uploaded again as {json.dumps(made)}")
        else:
            path = f"/v1/adapters/bot/versions/{number}/{kind}"
            ask(self.key, "POST", path).expect(200, 202)
        return kind


if __name__ == "__main__":
    unittest.main()
