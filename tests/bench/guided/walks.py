"""walks — documents drawn from the masks of real schemas, judged by another implementation.

Each walk takes one of the allowed tokens until an end token is taken: mostly any of them,
sometimes one that closes something, and when it has become long the shortest way to the end. A
document must be valid, and no walk may stand where nothing is allowed.
"""

import collections

import maskbench
import worker

SECONDS = 60
WALKS = 50  # of a schema
SOFT, HARD = 16, 80  # tokens after which a walk closes what it can, and goes straight to the end


class Walks:
    def __init__(self, judge_name=""):
        self.judge_name = judge_name
        self.counts = collections.Counter()
        self.invalid = []  # (name, document, why)
        self.stuck = []    # (name, what, text)

    def __add__(self, other):
        both = Walks(self.judge_name or other.judge_name)
        both.counts = self.counts + other.counts
        both.invalid = self.invalid + other.invalid
        both.stuck = self.stuck + other.stuck
        return both

    def add(self, name, schema, driver, validator, count=WALKS, seed=maskbench.SEED, **options):
        request = dict(schema=schema, **options)
        try:
            drawn = driver.ask(SECONDS, walk=request, count=count, seed=seed, soft=SOFT, hard=HARD)
        except worker.Gone as gone:
            self.counts[str(gone)] += 1
            return
        if "refused" in drawn:
            self.counts["refused schemas"] += 1
            return
        self.counts["schemas"] += 1
        self.counts["tokens"] += drawn["tokens"]
        self.counts["documents"] += len(drawn["documents"])
        for what in ("dead", "open", "failed", "disagree"):
            self.counts[what] += len(drawn[what])
            self.stuck += [(name, what, text) for text in drawn[what]]
        self.judge(name, schema, drawn["documents"], validator)

    def judge(self, name, schema, documents, validator):
        try:
            judged = validator.ask(SECONDS, schema=schema, documents=documents)
        except worker.Gone:
            judged = dict(invalid=[], unjudged="no answer")
        self.counts["invalid"] += len(judged["invalid"])
        self.invalid += [(name, text, why) for text, why in judged["invalid"]]
        if "unjudged" in judged:
            self.counts["unjudged documents"] += len(documents) - len(judged["invalid"])
        elif judged["unchecked"]:
            self.counts["documents with a pattern that was not checked"] += len(documents)

    def dead_ends(self):
        return self.counts["dead"] + self.counts["open"] + self.counts["disagree"]
