"""flips.py — aliases that flip, roll back and get new versions under load, with evictions.

Every version has a watermark, so an answer says which one made it. What is checked of each answer:
it is the watermark of the digest that its headers name; an alias pointed at that digest at some
instant of the request; and whoever asks with a digest and a prompt for the first time finds nothing
of it cached. Prompts are a client's own and begin with words of their own.
"""

import collections
import json
import random
import threading
import time

import bench_server
import harness
import packages

NAMES, FIRST_VERSIONS, ACTORS, CLIENTS = 8, 3, 4, 16
CHANGES, QUICK_CHANGES = 10_000, 300
PROMPTS, TOKENS = 5, 3
KINDS = {"flip": 45, "rollback": 20, "upload": 15, "evict": 20}  # weights


def measure(report, quick):
    with bench_server.served("--adapter-slots", 12, "--adapter-bytes", "2M",
                             "--adapter-device-bytes", "1M", model=False) as server:
        key = server.new_tenant("acme", **bench_server.UNLIMITED).key
        run = Run(key, QUICK_CHANGES if quick else CHANGES)
        run.run()
    for kind, count in sorted(run.changes.items()):
        report.row(f"{kind}s", [count], "", digits=0)
    report.row("answers meanwhile", [run.seen["answers"]], "", digits=0,
               cached=run.seen["cached"], seconds=f"{run.seconds:.0f}")
    report.bar("flips", sum(run.changes.values()), run.wanted, at_least=True, digits=0)
    for what in ("errors", "wrong answers", "stale answers", "prefix hits across digests"):
        report.bar(what.replace(" ", "-"), run.seen[what], 0, at_least=False, digits=0)
    for line in run.told:
        print("   ", line)


class Alias:
    """A name's default alias, and when it pointed where."""

    def __init__(self, name):
        self.name, self.versions, self.targets = name, {}, []
        self.lock = threading.Lock()

    def moved(self, digest, began, ended):
        with self.lock:
            if self.targets:
                self.targets[-1][2] = ended
            self.targets.append([digest, began, float("inf")])

    def pointed_at(self, digest, began, ended):
        with self.lock:
            return any(target == digest and since <= ended and until >= began
                       for target, since, until in self.targets)


class Run:
    def __init__(self, key, wanted):
        self.key, self.wanted = key, wanted
        config = json.loads((harness.DEMO / "base" / "config.json").read_text())
        tokenizer = json.loads((harness.DEMO / "base" / "tokenizer.json").read_text())
        self.config, self.words = config, packages.words(tokenizer)
        self.marks = iter(self.words)
        self.openings = sorted({text.strip() for _, text in self.words})
        self.text_of = {}  # by digest
        self.aliases = [Alias(f"bot-{i}") for i in range(NAMES)]
        self.changes, self.seen, self.told = collections.Counter(), collections.Counter(), []
        self.lock, self.stopping = threading.Lock(), threading.Event()
        self.left = wanted

    def run(self):
        for alias in self.aliases:
            for _ in range(FIRST_VERSIONS):
                self.upload(alias)
        self.changes.clear()
        began = time.monotonic()
        clients = [threading.Thread(target=self.ask_on, args=(i,)) for i in range(CLIENTS)]
        actors = [threading.Thread(target=self.change_on, args=(i,)) for i in range(ACTORS)]
        for thread in clients + actors:
            thread.start()
        for thread in actors:
            thread.join()
        self.stopping.set()
        for thread in clients:
            thread.join()
        self.seconds = time.monotonic() - began

    def tell(self, what, detail):
        with self.lock:
            self.seen[what] += 1
            if len(self.told) < 20:
                self.told.append(f"{what}: {detail}")

    # --- what changes

    def change_on(self, index):
        draw = random.Random(index)
        mine = self.aliases[index::ACTORS]
        while self.take_turn():
            kind = draw.choices(list(KINDS), list(KINDS.values()))[0]
            try:
                getattr(self, kind)(draw.choice(mine), draw)
            except (AssertionError, OSError, KeyError) as failure:
                self.tell("errors", f"{kind}: {failure}")
            with self.lock:
                self.changes[kind] += 1

    def take_turn(self):
        with self.lock:
            self.left -= 1
            return self.left >= 0

    def upload(self, alias, _=None):
        with self.lock:
            token, text = next(self.marks)
        began = time.monotonic()
        version = bench_server.upload(
            self.key, alias.name, packages.watermark(harness.BASE, self.config, token))
        with self.lock:
            self.text_of[version.digest] = text
        alias.versions[version.number] = version.digest
        alias.moved(version.digest, began, time.monotonic())

    def flip(self, alias, draw):
        number = draw.choice(list(alias.versions))
        self.move(alias, "PUT", "", {"version": number})

    def rollback(self, alias, _):
        self.move(alias, "POST", "/rollback", {})

    def move(self, alias, method, command, fields):
        began = time.monotonic()
        path = f"/v1/adapters/{alias.name}/aliases/prod{command}"
        answer = harness.exchange(self.key.server.api, method, path, json.dumps(fields).encode(),
                                  self.key.headers(**{"Content-Type": "application/json"}))
        if answer.status == 409 and command:  # there is nothing to go back to
            return
        answer.expect(200, 201)
        alias.moved(alias.versions[answer.json["version"]], began, time.monotonic())

    def evict(self, alias, draw):
        number = draw.choice(list(alias.versions))
        bench_server.post(self.key, f"/v1/adapters/{alias.name}/versions/{number}/evict")

    # --- what asks

    def ask_on(self, client):
        draw, asked = random.Random(1000 + client), set()
        while not self.stopping.is_set():
            alias, number = draw.choice(self.aliases), draw.randrange(PROMPTS)
            try:
                self.ask(alias, client, number, asked)
            except (AssertionError, OSError, KeyError) as failure:
                self.tell("errors", f"answer: {failure}")

    def prompt(self, client, number):
        """Nobody else's from its first token on."""
        return " ".join([self.openings[client * PROMPTS + number], *self.openings[200:230]])

    def ask(self, alias, client, number, asked):
        began = time.monotonic()
        answer = self.key.chat(alias.name, self.prompt(client, number), max_tokens=TOKENS,
                               temperature=0).expect(200)
        ended = time.monotonic()
        digest = answer.headers["x-adapter-sha256"]
        said = answer.json["choices"][0]["message"]["content"]
        cached = answer.json["usage"]["prompt_tokens_details"]["cached_tokens"]
        with self.lock:
            self.seen["answers"] += 1
            self.seen["cached"] += cached > 0
            text = self.text_of.get(digest)
        if text is None:  # the upload that made it has not been answered yet
            harness.wait_until(lambda: digest in self.text_of, 30, "an upload's answer")
            text = self.text_of[digest]
        if said.strip() != (text * TOKENS).strip():
            self.tell("wrong answers", f"{said!r} of {digest[:8]}, which says {text!r}")
        if not self.was_target(alias, digest, began, ended):
            self.tell("stale answers", f"{alias.name} answered as {digest[:8]}")
        if (digest, number) not in asked and cached > 0:
            self.tell("prefix hits across digests", f"{cached} tokens, {alias.name} {digest[:8]}")
        asked.add((digest, number))

    @staticmethod
    def was_target(alias, digest, began, ended):
        """Whether the alias pointed there meanwhile. A change is known once it has been answered,
        which may be after those that it has changed."""
        deadline = time.monotonic() + 30
        while not alias.pointed_at(digest, began, ended):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True
