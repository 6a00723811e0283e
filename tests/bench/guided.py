"""guided — MaskBench beside llguidance and xgrammar, the official suite, exactness, random walks.

Every engine follows the same instances, as the same tokens of the Llama-3 vocabulary, with one
thread and that thread's CPU clock: a mask and the acceptance of the token, token by token. Then
come the official test suite, the masks against a brute-force recogniser, documents drawn from the
masks judged by jsonschema, the hostile set, and the server's suite.

guided/README.md says what is compared and how. Without the shared data only the rest is run.
"""

import concurrent.futures
import os
import pathlib
import random
import re
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE / "guided"))

import bench_report
import maskbench
import suite
import walks
import worker

CACHE = ROOT / "build" / "bench" / "guided"
SECONDS, PEER_SECONDS = 10, 20  # for one schema: after that it is a timeout
# Schemas that the peers are measured on, by name; a whole run of ours takes all of them.
PEERS = {"llguidance": 1_500, "xgrammar": 300}
QUICK_PEERS = {"llguidance": 200, "xgrammar": 60}
QUICK_SCHEMAS = 500
WALKED_SCHEMAS, QUICK_WALKED = 2_100, 40
OPTIONS = dict(order="any", integers="value")  # what JSON Schema itself means
LIMITS = dict(mean=1 / 5, p99=1 / 8, compile=1 / 5)
MAX_MASK_US, WARM_US, MAX_COMPILE_US = 5_000, 2, 100_000
TURN = 20  # schemas that an engine follows before the next one does
AGAIN = 4  # times that a schema with a longer mask is measured
HOSTILE_MS = 500
SHOWN = 2_000  # samples of a row that are kept
BUILD = pathlib.Path(os.environ["TESSERA_DRIVER"]).parents[2]


# What is timed stays on one processor, the same for all, whose caches nothing else fills meanwhile.
TIMED_CPU = max(os.sched_getaffinity(0))


def peer_program(name, *arguments):
    return worker.Worker(os.environ["TESSERA_PEER_PYTHON"], HERE / "guided" / name, *arguments,
                         cpu=TIMED_CPU)


class Replays:
    """All engines over MaskBench."""

    def __init__(self, shared, quick):
        self.quick = quick
        self.tokenizer = shared / "tokenizers" / "llama3.tokenizer.json"
        folder = maskbench.unpack(shared / maskbench.ARCHIVE, CACHE / "maskbench")
        self.driver = self.start_driver()
        self.files = maskbench.files(folder)
        self.names = maskbench.sample(self.files, QUICK_SCHEMAS if quick else len(self.files))
        self.own, self.by_schema_order = maskbench.Results(), maskbench.Results()
        self.peers = {name: maskbench.Results() for name in PEERS}

    def start_driver(self):
        return worker.Worker(os.environ["TESSERA_DRIVER"],
                             greeting=(dict(tokenizer=str(self.tokenizer)),), cpu=TIMED_CPU)

    def case(self, name):
        return maskbench.tokenized(maskbench.read(self.files[name]), self.driver)

    def run(self):
        counts = QUICK_PEERS if self.quick else PEERS
        engines = {name: peer_program("peer.py", name, self.tokenizer) for name in counts}
        print(f"    {len(self.names)} schemas; peers: "
              + ", ".join(f"{engine.name} on {counts[name]}" for name, engine in engines.items()))
        self.say_clocks(engines)
        for begin in range(0, len(self.names), TURN):
            names = self.names[begin:begin + TURN]
            cases = [(name, self.case(name)) for name in names]
            for name, case in cases:
                self.own.add(name, case, self.driver, SECONDS, **OPTIONS)
            for name, case in cases[:max(max(counts.values()) - begin, 0)]:
                self.by_schema_order.add(name, case, self.driver, SECONDS, integers="value")
            for peer, engine in engines.items():
                for name, case in cases[:max(counts[peer] - begin, 0)]:
                    self.peers[peer].add(name, case, engine, PEER_SECONDS)
        for engine in engines.values():
            engine.close()

    def slowest_mask(self):
        """Of all schemas, the longest cold mask, in microseconds. One mask in two million is also
        the machine's longest pause: a schema with one above the bar is measured again, each time by
        a new process, which shares nothing with what was there before, and its least maximum
        counts."""
        maxima = {name: max(times) for name, times in self.own.cold.items() if times}
        for name in [name for name, most in maxima.items() if most > MAX_MASK_US]:
            seen = [maxima[name]]
            for _ in range(AGAIN):
                again, driver = maskbench.Results(), self.start_driver()
                again.add(name, self.case(name), driver, SECONDS, **OPTIONS)
                driver.close()
                seen.append(max(again.cold[name]))
            print(f"    {name}: longest mask " + ", ".join(f"{us:.0f}" for us in seen) + " us")
            maxima[name] = min(seen)
        return max(maxima.values())

    def say_clocks(self, engines):
        empty = {"tessera": self.driver, **engines}
        said = ", ".join(f"{name} {statistics.median(one.ask(60, clock=5_000)['ns']) / 1000:.2f} us"
                         for name, one in empty.items())
        print(f"    an empty token costs (the clock, and Python's calls): {said}")

    def report(self, report):
        add_rows(report, "tessera", self.own)
        add_rows(report, "tessera, schema's order", self.by_schema_order)
        for name, results in self.peers.items():
            add_rows(report, name, results)
        self.coverage_bars(report)
        self.speed_bars(report)

    def coverage_bars(self, report):
        own = self.own
        share = 100 * own.count("pass") / len(own.outcomes)
        report.bar("coverage-percent", share, 99, at_least=True, digits=2)
        report.bar("valid-refused", own.count("valid refused"), 0, at_least=False, digits=0)
        report.bar("invalid-accepted", own.count("invalid accepted"), 0, at_least=False, digits=0)
        lost = sum(own.count(what) for what in ("timeout", "crash", "failed"))
        report.bar("crashes-and-timeouts", lost, 0, at_least=False, digits=0)
        report.bar("mask-and-accept-differ", own.disagreements(), 0, at_least=False, digits=0)

    def speed_bars(self, report):
        """Each peer beside ours on the schemas that it was given; the worse of the two counts."""
        def worst(what, of, which):
            ratios = []
            for results in which:
                own = maskbench.flat(getattr(self.own, what), results.outcomes)
                ratios.append(of(own) / of(maskbench.flat(getattr(results, what))))
            return max(ratios)

        both = self.peers.values()
        first = [self.peers["llguidance"]]
        at_most = dict(at_least=False, digits=3)
        report.bar("cold-mean-vs-peer", worst("cold", statistics.mean, both), LIMITS["mean"],
                   **at_most)
        report.bar("cold-p99-vs-peer", worst("cold", p99, both), LIMITS["p99"], **at_most)
        report.bar("cold-max-us", self.slowest_mask(), MAX_MASK_US, **at_most)
        report.bar("warm-mean-us", statistics.mean(maskbench.flat(self.own.warm)), WARM_US,
                   **at_most)
        report.bar("compile-p50-vs-llguidance", worst("compile", statistics.median, first),
                   LIMITS["compile"], **at_most)
        report.bar("compile-p99-vs-llguidance", worst("compile", p99, first), LIMITS["compile"],
                   **at_most)
        report.bar("compile-max-us", max(maskbench.flat(self.own.compile)), MAX_COMPILE_US,
                   **at_most)


def p99(ordered):
    return maskbench.quantile(ordered, 0.99)


def add_rows(report, engine, results):
    counted = {what: results.count(what) for what in maskbench.OUTCOMES if results.count(what)}
    said = ", ".join(f"{count} {what}" for what, count in counted.items())
    print(f"    {engine}, of {len(results.outcomes)} schemas: {said}")
    for what in ("compile", "cold", "warm"):
        times = maskbench.flat(getattr(results, what))
        if not times:
            continue
        notes = {"mean": f"{statistics.mean(times):.2f}"}
        for share in (0.9, 0.99, 0.999):
            notes[f"p{100 * share:g}"] = f"{maskbench.quantile(times, share):.1f}"
        kept = times if len(times) <= SHOWN else random.Random(1).sample(times, SHOWN)
        report.row(f"{engine}: {what}", kept, "us", digits=2, of=len(times), **notes,
                   max=f"{times[-1]:.0f}")


def official_suite(report, shared):
    folder = maskbench.unpack(shared / suite.ARCHIVE, CACHE / "suite")
    driver = worker.Worker(os.environ["TESSERA_DRIVER"], greeting=(suite.VOCABULARY,))
    false_accepts = 0
    for draft in suite.DRAFTS:
        run, formats = suite.Run(), suite.Run()
        run.add(driver, folder, draft)
        formats.add(driver, folder, draft, part="optional/format", formats=True)
        print(f"    {draft}: {dict(run.counts)}; optional/format: {dict(formats.counts)}")
        for name, test, what, _ in run.wrong:
            print(f"      {what}: {name}: {test}")
        report.bar(f"suite-{draft}-percent", 100 * run.share_right(), 98, at_least=True, digits=2)
        false_accepts += run.counts["false accept"]
    report.bar("suite-false-accepts", false_accepts, 0, at_least=False, digits=0)


def exactness(report, quick):
    """The brute-force audit, which is a test program."""
    program = BUILD / "tests" / "engine" / "guided" / "guided_brute_force_test"
    environment = dict(os.environ, **({} if quick else {"TESSERA_LONG": "1"}))
    done = subprocess.run([program, "--gtest_filter=*MasksAllow*"], env=environment, text=True,
                          stdout=subprocess.PIPE)
    found = re.search(r"(\d+) schemas \(.*?(\d+) pairs, .*?(\d+) over, (\d+) under", done.stdout)
    if not found:
        sys.exit(f"{program} gave no counts:\n{done.stdout[-2000:]}")
    schemas, pairs, over, under = map(int, found.groups())
    print(f"    exactness: {found.group(0)}")
    if not quick:
        report.bar("exactness-pairs", pairs, 1_000_000, at_least=True, digits=0)
        report.bar("exactness-schemas", schemas, 1_000, at_least=True, digits=0)
    report.bar("exactness-over", over, 0, at_least=False, digits=0)
    report.bar("exactness-under", under, 0, at_least=False, digits=0)


def hostile(report):
    """The hostile set, which is a test program: what the worst of its cases take."""
    program = BUILD / "tests" / "engine" / "guided" / "guided_hostile_test"
    done = subprocess.run([program], text=True, stdout=subprocess.PIPE,
                          env=dict(os.environ, TESSERA_SHARED_DATA=str(maskbench.shared_data())))
    cases = sum(map(int, re.findall(r"^(\d+) cases", done.stdout, re.MULTILINE)))
    figures = re.findall(r"at most: compile (\S+) ms, mask (\S+) ms, completion (\S+) ms, "
                         r"memory (\S+) of the cap", done.stdout)
    if not figures:
        sys.exit(f"{program} gave no figures:\n{done.stdout[-2000:]}")
    compiling, mask, completion, memory = (max(map(float, column)) for column in zip(*figures))
    report.bar("hostile-cases", cases, 100, at_least=True, digits=0)
    at_most = dict(at_least=False, digits=1)
    report.bar("hostile-compile-ms", compiling, HOSTILE_MS, **at_most)
    report.bar("hostile-mask-ms", mask, HOSTILE_MS, **at_most)
    report.bar("hostile-completion-ms", completion, HOSTILE_MS, **at_most)
    report.bar("hostile-memory-of-cap", memory, 1, at_least=False, digits=3)
    report.bar("hostile-tests-failed", len(re.findall(r"^\[  FAILED  \] \S+ \(", done.stdout,
                                                      re.MULTILINE)), 0, at_least=False, digits=0)


def walk_share(replays, names):
    """Of some of the schemas, by a driver and a validator of their own."""
    driver, validator = replays.start_driver(), peer_program("validate.py")
    run = walks.Walks(validator.name)
    for name in names:
        schema = maskbench.read(replays.files[name])["schema"]
        run.add(name, schema, driver, validator, order="any")
    driver.close()
    validator.close()
    return run


def random_walks(report, replays):
    names = replays.names[:QUICK_WALKED if replays.quick else WALKED_SCHEMAS]
    at_once = os.cpu_count()
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        shares = [names[i::at_once] for i in range(at_once)]
        run = sum(pool.map(lambda share: walk_share(replays, share), shares), walks.Walks())
    print(f"    walks, judged by {run.judge_name}: {dict(run.counts)}")
    for name, text, why in run.invalid[:10]:
        print(f"      invalid: {name}: {text[:200]}: {why}")
    for name, what, text in run.stuck[:10]:
        print(f"      {what}: {name}: {text[:200]}")
    if not replays.quick:
        report.bar("walks", run.counts["documents"], 100_000, at_least=True, digits=0)
    report.bar("walks-invalid", run.counts["invalid"], 0, at_least=False, digits=0)
    report.bar("walks-dead-ends", run.dead_ends(), 0, at_least=False, digits=0)


def server(report, quick):
    """A suite that stands by itself: its bars are printed with ours."""
    environment = dict(os.environ, TESSERA_BINARY=str(BUILD / "tessera"))
    done = subprocess.run([sys.executable, HERE / "guided_server.py",
                           *(["--quick"] if quick else [])],
                          env=environment, text=True, stdout=subprocess.PIPE)
    print(done.stdout, end="")
    report.bar("guided-server-missed",
               len(re.findall(r"^bar .* MISSED$", done.stdout, re.MULTILINE))
               or int(done.returncode != 0), 0, at_least=False, digits=0)


# In TESSERA_BENCH_PARTS some of these, to run a suite of many minutes in pieces.
PARTS = ("replay", "suite", "walks", "exactness", "hostile", "server")


def main():
    options = bench_report.arguments(__doc__)
    report = bench_report.Report("guided", options.quick)
    parts = os.environ.get("TESSERA_BENCH_PARTS", " ".join(PARTS)).split()
    shared = maskbench.shared_data()
    has_data = (shared / maskbench.ARCHIVE).exists()
    if not has_data:
        print(f"    no {shared / maskbench.ARCHIVE}: only exactness and the server are measured")
    if has_data and {"replay", "walks"} & set(parts):
        replays = Replays(shared, options.quick)
    if has_data and "replay" in parts:
        replays.run()
        replays.report(report)
    if has_data and "suite" in parts:
        official_suite(report, shared)
    if has_data and "walks" in parts:
        random_walks(report, replays)
    if "exactness" in parts:
        exactness(report, options.quick)
    if "hostile" in parts:
        hostile(report)
    if "server" in parts:
        server(report, options.quick)
    sys.exit(report.finish(options.json))


if __name__ == "__main__":
    main()
