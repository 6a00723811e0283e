"""guided_server — what constrained answers cost a server, and what forced tokens save it.

The CPU backend with the demo model. Sixteen streams at a time, each rate the median of rounds that
alternate between guided and unguided: a schema that leaves nearly every token to the model, and one
like a template, whose names and punctuation are forced. The demo's JSON adapter under its schema:
how many answers are valid, and how many are the expected ones, with it and without. Last, one
tenant posts new hostile schemas and is answered under them as fast as he is let, and the gaps
between the tokens of another's streams are compared with those beside the same tenant with usual
schemas, so that what is compared is the hostility and not the load.
"""

import concurrent.futures
import itertools
import json
import pathlib
import statistics
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "integration")]

import bench_report
import harness

AT_ONCE = 16
ROUNDS, QUICK_ROUNDS = 9, 3
PROMPTS, QUICK_PROMPTS = 200, 40
TOKENS = 96  # of an answer
UNLIMITED = {"max_requests_per_1_minute": 1_000_000, "max_tokens_per_1_minute": 1_000_000_000,
             "max_concurrent_requests": 256}
GUIDED_BAR, FORCED_BAR, VALID_BAR, TAIL_BAR = 0.97, 1.15, 100, 1.05

# Free text within JSON: hardly anything is forced.
FREE = {"type": "object", "properties": {"text": {"type": "string", "minLength": 2000}},
        "required": ["text"], "additionalProperties": False}
# A form to be filled in.
FIELDS = ["customer_full_name", "delivery_street_address", "requested_quantity",
          "preferred_colour", "payment_was_received", "internal_order_reference"]
VALUES = [{"type": "string", "pattern": "^[a-z]{3,8}$"},
          {"type": "string", "pattern": "^[a-z ]{3,12}$"},
          {"type": "integer", "minimum": 1, "maximum": 999},
          {"enum": ["red", "green", "blue", "black"]},
          {"type": "boolean"},
          {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{4}$"}]
FORM = {"type": "object", "additionalProperties": False, "required": FIELDS,
        "properties": dict(zip(FIELDS, VALUES))}
ORDER = {"type": "object", "additionalProperties": False,
         "properties": {"customer": {"type": "string"}, "quantity": {"type": "integer"},
                        "item": {"type": "string"}, "color": {"type": "string"},
                        "city": {"type": "string"}}}
ORDER["required"] = list(ORDER["properties"])


def as_format(schema):
    return {"type": "json_schema", "json_schema": {"name": "bench", "schema": schema}}


def generate(key, prompt, tokens, **fields):
    """(completion tokens, text) of one answer."""
    answer = key.chat(harness.BASE, prompt, max_tokens=tokens, **fields).expect(200).json
    return answer["usage"]["completion_tokens"], answer["choices"][0]["message"]["content"]


def rate(key, **fields):
    """Tokens a second of AT_ONCE answers side by side."""
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        made = list(pool.map(lambda i: generate(key, f"Tell me of order {i}.", seed=i, **fields),
                             range(AT_ONCE)))
    return sum(tokens for tokens, _ in made) / (time.monotonic() - began)


def compare(report, key, name, guided, unguided, rounds, bar):
    """Alternating rounds; the median of each pair's ratio against the bar."""
    rate(key, **guided), rate(key, **unguided)  # warm: the masks, the threads
    pairs = []
    for _ in range(rounds):
        pairs.append((rate(key, **guided), rate(key, **unguided)))
    report.row(f"{name}, guided", [a for a, _ in pairs], "tokens/s")
    report.row(f"{name}, unguided", [b for _, b in pairs], "tokens/s")
    report.bar(name, statistics.median(a / b for a, b in pairs), bar, at_least=True, digits=3)


def measure_rates(report, key, rounds):
    free = {"tokens": TOKENS, "ignore_eos": True}
    compare(report, key, "free text in JSON",
            {"tokens": TOKENS, "response_format": as_format(FREE)}, free, rounds, GUIDED_BAR)
    compare(report, key, "a form, forced tokens",
            {"tokens": 200, "response_format": as_format(FORM)}, free, rounds, FORCED_BAR)


def measure_accuracy(report, key, count):
    examples = harness.held_out("order-json", count)

    def ask(example, **fields):
        return key.say("order-json", example["prompt"], max_tokens=128, **fields)

    def percent(answers, right):
        return 100 * sum(map(right, answers, examples)) / len(examples)

    def is_valid(answer, _):
        try:
            order = json.loads(answer)
        except ValueError:
            return False
        return (list(order) == ORDER["required"] and type(order["quantity"]) is int
                and all(type(order[name]) is str for name in order if name != "quantity"))

    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        plain = list(pool.map(ask, examples))
        guided = list(pool.map(lambda e: ask(e, response_format=as_format(ORDER)), examples))
    exact = {name: percent(answers, lambda answer, e: answer == e["expected"])
             for name, answers in (("plain", plain), ("guided", guided))}
    report.row("order-json, exact", [exact["guided"]], "%", unguided=f"{exact['plain']:.1f}")
    report.bar("order-json valid", percent(guided, is_valid), VALID_BAR, at_least=True)
    report.bar("order-json exact", exact["guided"], round(exact["plain"], 1), at_least=True)


def hostile_schemas():
    """Each one new, and work to compile or to walk."""
    for i in itertools.count():
        n = i % 7
        if n == 0:
            yield {"type": "string", "pattern": f"^((a{{1,100}}){{1,100}}){{1,{100 + i}}}$"}
        elif n == 1:
            yield {"type": "string", "pattern": f"^.*a.{{{15 + i % 5}}}x{i}$"}
        elif n == 2:
            yield {"enum": [f"value-{i}-{k}" for k in range(5000)]}
        elif n == 3:
            yield {"type": "object", "properties": {f"p{i}_{k}": {} for k in range(2000)}}
        elif n == 4:
            schema = {"const": i}
            for _ in range(6):
                schema = {"oneOf": [{"properties": {"x": schema}, "required": [f"k{b}"]}
                                    for b in range(3)]}
            yield schema
        elif n == 5:
            yield {"type": "array", "uniqueItems": True, "minItems": 200 + i,
                   "items": {"type": "integer"}}
        else:
            yield {"type": "string", "minLength": 500 + i, "maxLength": 100000,
                   "pattern": "^([A-Za-z]+[ ,.]*)+$"}


def usual_schemas(start):
    """Each one new."""
    for i in itertools.count(start):
        yield {"type": "object", "additionalProperties": False, "required": ["name", f"size{i}"],
               "properties": {"name": {"type": "string", "maxLength": 200},
                              f"size{i}": {"type": "integer", "minimum": 0, "maximum": 10**6}}}


class Neighbour:
    """A tenant with four threads that each ask for an answer under a new schema, until stopped."""

    def __init__(self, key, schemas):
        self.key, self.answers, self.stopping = key, {}, False
        self.schemas, self.lock = schemas, threading.Lock()
        self.threads = [threading.Thread(target=self.run) for _ in range(4)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        for thread in self.threads:
            thread.join()

    def run(self):
        while not self.stopping:
            with self.lock:
                schema = next(self.schemas)
            answer = self.key.chat(harness.BASE, "x", max_tokens=24,
                                   response_format=as_format(schema))
            self.answers[answer.status] = self.answers.get(answer.status, 0) + 1
            if answer.status == 429:
                time.sleep(0.02)  # 50 requests a second, whatever he is told


def gaps_of(key, index, answers):
    """Milliseconds between the pieces of streams, one stream after the other."""
    gaps = []
    for n in range(answers):
        last = None
        stream = key.chat_stream(harness.BASE, f"Tell me of {index} {n}.", max_tokens=TOKENS,
                                 ignore_eos=True, seed=n)
        for _ in stream:
            now = time.monotonic()
            if last is not None:
                gaps.append(1000 * (now - last))
            last = now
    return gaps


def tail(key, answers):
    """The 99th percentile of the gaps of four streams."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        gaps = [gap for gaps in pool.map(lambda i: gaps_of(key, i, answers), range(4))
                for gap in gaps]
    return statistics.quantiles(gaps, n=100)[98]


def measure_isolation(report, key, neighbours_key, rounds, answers):
    figures = {"usual": [], "hostile": []}
    statuses = {"usual": {}, "hostile": {}}
    schemas = {"usual": usual_schemas(0), "hostile": hostile_schemas()}
    tail(key, 1)
    for _ in range(rounds):
        for kind, kept in figures.items():
            with Neighbour(neighbours_key, schemas[kind]) as neighbour:
                kept.append(tail(key, answers))
            for status, count in neighbour.answers.items():
                statuses[kind][status] = statuses[kind].get(status, 0) + count
    for kind, kept in figures.items():
        told = " ".join(f"{status}:{n}" for status, n in sorted(statuses[kind].items()))
        report.row(f"p99 gap between tokens, {kind} schemas beside", kept, "ms", digits=2,
                   answers=told)
    report.bar("p99 gap, hostile to usual",
               statistics.median(figures["hostile"]) / statistics.median(figures["usual"]),
               TAIL_BAR, at_least=False, digits=3)


def main():
    options = bench_report.arguments(__doc__)
    report = bench_report.Report("guided_server", options.quick)
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    server = harness.Server().start()
    try:
        key = server.new_tenant("acme", **UNLIMITED).key
        hostile = server.new_tenant("hostile", **UNLIMITED).key
        key.upload("order-json", *harness.demo_package("order-json")).expect(200, 201)
        measure_rates(report, key, rounds)
        measure_accuracy(report, key, QUICK_PROMPTS if options.quick else PROMPTS)
        measure_isolation(report, key, hostile, 3 if options.quick else 5, 4)
        for name in ("masks_ready", "masks_computed", "masks_late", "forced_tokens"):
            count = server.metric(f"tessera_guided_{name}_total")
            report.row(name.replace("_", " "), [count], "", digits=0)
    finally:
        server.close()
    sys.exit(report.finish(options.json))


if __name__ == "__main__":
    main()
