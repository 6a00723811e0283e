"""guided_server — what constrained answers cost a server, and what forced tokens save it.

The CPU backend with the demo model. Sixteen streams at a time, each rate the median of rounds that
alternate between guided and unguided: a schema that leaves nearly every token to the model, and one
like a template, whose names and punctuation are forced. The demo's JSON adapter under its schema:
how many answers are valid, and how many are the expected ones, with it and without.

Last, on a base of Llama-3.2-1B's shape, whose steps are long enough to tell what disturbs them: one
tenant posts new hostile schemas and is answered under them as fast as he is let, and the gaps
between the tokens of another's streams are compared with those beside a tenant that does the same
with usual schemas, so that what is compared is the hostility and not the load. The two ask alike;
the hostile one is answered less often, since its schemas are slow or refused, and so has fewer
streams in the batch: the row of each tells its answers.
"""

import concurrent.futures
import contextlib
import itertools
import json
import multiprocessing
import os
import pathlib
import statistics
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "adapters"), str(HERE.parent / "integration")]

import bench_base
import bench_report
import harness

AT_ONCE = 16
ROUNDS, QUICK_ROUNDS = 15, 3
# Of the two rates that differ by less than rounds do: single pairs scatter by a tenth.
CLOSE_ROUNDS, QUICK_CLOSE_ROUNDS = 81, 9
PROMPTS, QUICK_PROMPTS = 200, 40
TOKENS = 384  # of an answer
STREAMED, STREAMS = 32, 2  # tokens of an answer of the large base, answers one after the other
MOST_POSTED = 1_000  # schemas of each kind
UNLIMITED = {"max_requests_per_1_minute": 1_000_000, "max_tokens_per_1_minute": 1_000_000_000,
             "max_concurrent_requests": 256}
GUIDED_BAR, FORCED_BAR, VALID_BAR, TAIL_BAR = 0.97, 1.15, 100, 1.05

# Free text within JSON: hardly anything is forced.
FREE = {"type": "object", "properties": {"text": {"type": "string", "minLength": 5000}},
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


def measure_rates(report, key, rounds, close_rounds):
    free = {"tokens": TOKENS, "ignore_eos": True}
    compare(report, key, "free text in JSON",
            {"tokens": TOKENS, "response_format": as_format(FREE)}, free, close_rounds,
            GUIDED_BAR)
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


def bodies_of(schemas):
    """Their requests, written before anything is measured: this process is the streams' too."""
    return iter([json.dumps(harness.chat_fields(bench_base.NAME, "x", max_tokens=24,
                                                response_format=as_format(schema))).encode()
                 for schema in itertools.islice(schemas, MOST_POSTED)])


class Forked:
    """work(stopping) in a process of its own, so that no interpreter waits for another's lock."""

    def __init__(self, work):
        context = multiprocessing.get_context("fork")
        self.stopping = context.Event()
        self.result, theirs = context.Pipe(duplex=False)
        self.process = context.Process(target=lambda: theirs.send(work(self.stopping)))
        self.process.start()

    def end(self):
        result = self.result.recv()
        self.process.join()
        return result


class Neighbour:
    """A tenant with four threads that each ask for an answer under a new schema, until stopped."""

    def __init__(self, key, bodies):
        self.key, self.bodies, self.lock, self.statuses = key, bodies, threading.Lock(), []

    def run(self, stopping):
        """The statuses of all answers."""
        threads = [threading.Thread(target=self.ask, args=[stopping]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self.statuses

    def ask(self, stopping):
        while not stopping.is_set():
            with self.lock:
                body = next(self.bodies)
            self.statuses.append(self.key.post_text("/v1/chat/completions", body).status)
            if self.statuses[-1] == 429:
                time.sleep(0.02)  # 50 requests a second, whatever he is told


def gaps_of(key, index):
    """Milliseconds between the pieces of streams, one stream after the other."""
    gaps = []
    for n in range(STREAMS):
        last = None
        stream = key.chat_stream(bench_base.NAME, f"Tell me of {index} {n}.", max_tokens=STREAMED,
                                 ignore_eos=True, seed=n)
        for _ in stream:
            now = time.monotonic()
            if last is not None:
                gaps.append(1000 * (now - last))
            last = now
    return gaps


def tail(key):
    """The 99th percentile of the gaps of four streams."""
    streams = [Forked(lambda _, i=i: gaps_of(key, i)) for i in range(4)]
    gaps = [gap for stream in streams for gap in stream.end()]
    return statistics.quantiles(gaps, n=100)[98]


def tail_beside(key, neighbour):
    """The same beside a neighbour, and the statuses of the neighbour's answers."""
    beside = Forked(neighbour.run)
    figure = tail(key)
    beside.stopping.set()
    return figure, beside.end()


def measure_isolation(report, key, neighbours, rounds):
    """Alternating rounds; the median of each pair's ratio against the bar. `neighbours`: the keys
    of two tenants, so that what one has used of the compiler is not held against the other."""
    figures = {"usual": [], "hostile": []}
    told = {"usual": [], "hostile": []}
    bodies = {"usual": bodies_of(usual_schemas(0)), "hostile": bodies_of(hostile_schemas())}
    tail(key)
    for _ in range(rounds):
        for kind, kept in figures.items():
            figure, statuses = tail_beside(key, Neighbour(neighbours[kind], bodies[kind]))
            kept.append(figure)
            told[kind] += statuses
            next(itertools.islice(bodies[kind], len(statuses), None))  # new ones, next time
    for kind, kept in figures.items():
        counts = (f"{status}:{told[kind].count(status)}" for status in sorted(set(told[kind])))
        report.row(f"p99 gap between tokens, {kind} schemas beside", kept, "ms", digits=2,
                   answers=" ".join(counts))
    report.bar("p99 gap, hostile to usual",
               statistics.median(h / u for h, u in zip(figures["hostile"], figures["usual"])),
               TAIL_BAR, at_least=False, digits=3)


@contextlib.contextmanager
def large_base():
    driver = pathlib.Path(os.environ["TESSERA_DRIVER"]).with_name("adapters_driver")
    server = harness.Server("--log-level", "error", "--trust-model",
                            model=bench_base.packed(driver)).start()
    try:
        yield server
    finally:
        server.close()


def main():
    options = bench_report.arguments(__doc__)
    report = bench_report.Report("guided_server", options.quick)
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    server = harness.Server().start()
    try:
        key = server.new_tenant("acme", **UNLIMITED).key
        key.upload("order-json", *harness.demo_package("order-json")).expect(200, 201)
        measure_rates(report, key, rounds,
                      QUICK_CLOSE_ROUNDS if options.quick else CLOSE_ROUNDS)
        measure_accuracy(report, key, QUICK_PROMPTS if options.quick else PROMPTS)
        for name in ("masks_ready", "masks_computed", "masks_late", "forced_tokens"):
            count = server.metric(f"tessera_guided_{name}_total")
            report.row(name.replace("_", " "), [count], "", digits=0)
    finally:
        server.close()
    with large_base() as server:
        key, usual, hostile = (server.new_tenant(name, **UNLIMITED).key
                               for name in ("acme", "usual", "hostile"))
        measure_isolation(report, key, {"usual": usual, "hostile": hostile}, rounds)
    sys.exit(report.finish(options.json))


if __name__ == "__main__":
    main()
