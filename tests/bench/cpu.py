"""cpu — decode and prefill beside llama.cpp and the machine's own limits, adapters or none.

Two shapes with random weights, two threads. Tessera's steps (cpu/driver.cpp) and the peer's
(cpu/peer.py) are measured in turns, several rounds, and beside them what the machine can do: the
bytes it reads a second and the multiply-adds of its best matrix unit. A ratio is taken within a
round, and the median of the rounds is what a bar is held against.

`of floor` is the share of a step's time that its bytes and multiply-adds account for, whichever is
more: 1.00 cannot be passed without reading or computing less. cpu/README.md says the rest.
"""

import collections
import contextlib
import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import bench_report

SHAPES_FILE = HERE / "cpu" / "shapes.json"
CACHE = HERE.parent.parent / "build" / "bench" / "cpu"
THREADS = 2
ROUNDS, QUICK_ROUNDS = 7, 3
PRIORITY = 50  # of 1 to 99, while measured
ATTEMPTS, UNSTEADY = 4, 0.1  # at a sample during which the bandwidth changes by less than that share
UNDISTURBED, MIN_ROUNDS = 0.85, 2  # share of the run's best bandwidth; rounds to have it, at least
PAUSE_SECONDS = 0.05  # in which the threads of the last one measured go to sleep

# Shape, what its bars' names begin with, and how much softer their limits are.
SHAPES = (("llama-3.2-1b", "", 0.0), ("qwen2.5-0.5b", "qwen-", 0.15))


@dataclasses.dataclass(frozen=True)
class Case:
    """`seqs` sequences, `tokens` new tokens each, over `adapters` adapters of these ranks."""
    name: str
    seqs: int
    tokens: int
    adapters: int
    steps: int  # measured a round; their mean is the round's sample
    ranks: tuple = (16,)
    has_peer: bool = True

    def request(self):
        return dict(seqs=self.seqs, tokens=self.tokens, adapters=self.adapters, ranks=self.ranks,
                    steps=self.steps)


CASES = (  # those that bars are about
    Case("decode1", 1, 1, 0, steps=16),
    Case("decode8", 8, 1, 0, steps=6),
    Case("decode16", 16, 1, 0, steps=4),
    Case("decode8-shared", 8, 1, 1, steps=4),
    Case("decode16-shared", 16, 1, 1, steps=4),
    Case("lora8", 8, 1, 8, steps=3),
    Case("lora16", 16, 1, 16, steps=3),
    Case("prefill512", 1, 512, 0, steps=1),
    Case("prefill4x128", 4, 128, 0, steps=1, has_peer=False),
    Case("prefill4x128-lora4", 4, 128, 4, steps=1, has_peer=False),
)
WIDER_CASES = (  # in the first rounds of a whole run
    Case("decode2", 2, 1, 0, steps=8),
    Case("decode4", 4, 1, 0, steps=6),
    Case("decode32", 32, 1, 0, steps=3),
    Case("decode1-shared", 1, 1, 1, steps=8),
    Case("lora16-mixed", 16, 1, 16, steps=2, ranks=(8, 16, 32, 64)),
    Case("prefill128", 1, 128, 0, steps=1),
    Case("prefill2048", 1, 2048, 0, steps=1),
)
WIDER_ROUNDS = 3


class Worker:
    """A program that answers one JSON object a line; `name` is what it says it is."""

    def __init__(self, *command):
        self.process = subprocess.Popen([str(word) for word in command], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.name = self.read()["name"]

    def ask(self, **request):
        with urgent(self.process.pid):
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            answer = self.read()
        time.sleep(PAUSE_SECONDS)
        return answer

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.process.args[0]} ended with status {self.process.wait()}")
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


@contextlib.contextmanager
def urgent(pid):
    """Real-time priority for a process while it is measured, so that nothing else is in its way."""
    if not may_be_urgent():
        yield
        return
    set_policy(pid, os.SCHED_RR, PRIORITY)
    try:
        yield
    finally:
        set_policy(pid, os.SCHED_OTHER, 0)


def set_policy(pid, policy, priority):
    for thread in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
            os.sched_setscheduler(int(thread), policy, os.sched_param(priority))


def may_be_urgent():
    return os.geteuid() == 0


@dataclasses.dataclass
class Sample:
    """One round of a case: seconds of a step, Tessera's, the peer's and what the machine needs."""
    own: float
    peer: float | None
    read: float     # of the bytes due, at the bandwidth of that moment
    compute: float  # of the multiply-adds due
    bandwidth: float

    @property
    def floor(self):
        return max(self.read, self.compute)


class Measurements:
    """Of one shape: for each case a sample a round."""

    def __init__(self):
        self.samples = collections.defaultdict(list)
        self.rates = collections.defaultdict(list)  # by unit, the one of the bars first
        self.name = self.peer_name = None

    def run(self, driver, peer, quick):
        self.name, self.peer_name = driver.name, peer.name
        for turn in range(QUICK_ROUNDS if quick else ROUNDS):
            rates = driver.ask(measure="rates")["rates"]
            for rate in rates:
                self.rates[rate["unit"]].append(rate["rate"])
            for case in CASES + (WIDER_CASES if turn < WIDER_ROUNDS and not quick else ()):
                own, theirs, bandwidth = steady_sample(case, driver, peer, turn % 2)
                self.samples[case.name].append(Sample(
                    statistics.mean(own["seconds"]),
                    statistics.mean(theirs["seconds"]) if theirs else None,
                    own["bytes"] / bandwidth, own["flops"] / rates[0]["rate"], bandwidth))

    @property
    def rate_unit(self):
        return next(iter(self.rates))

    def bandwidths(self):
        return [sample.bandwidth for samples in self.samples.values() for sample in samples]

    def rounds(self, *cases):
        """The rounds in which nobody else took of the bandwidth; all, if those are too few.

        A virtual machine's neighbours can take a third of it for minutes. Rounds are chosen by the
        bandwidth alone, never by what was measured in them.
        """
        undisturbed = UNDISTURBED * max(self.bandwidths())
        every = range(len(self.samples[cases[0]]))
        chosen = [i for i in every
                  if all(self.samples[case][i].bandwidth >= undisturbed for case in cases)]
        return chosen if len(chosen) >= MIN_ROUNDS else list(every)

    def seconds(self, case, what):
        return [getattr(self.samples[case][i], what) for i in self.rounds(case)]

    def ratio(self, above, below):
        """The median, over the rounds, of one (case, what) over another."""
        return statistics.median(
            getattr(self.samples[above[0]][i], above[1]) /
            getattr(self.samples[below[0]][i], below[1])
            for i in self.rounds(above[0], below[0]))


def steady_sample(case, driver, peer, tessera_first):
    """(Tessera's answer, the peer's or None, the bandwidth while they were measured).

    The bandwidth is taken before and after; a decoding case during which it changed is measured
    again.
    """
    for _ in range(ATTEMPTS):
        before = driver.ask(measure="bandwidth")["bandwidth"]
        sides = [driver, peer][:1 + case.has_peer][::1 if tessera_first else -1]
        answers = {side: side.ask(**case.request()) for side in sides}
        after = driver.ask(measure="bandwidth")["bandwidth"]
        if case.tokens > 1 or abs(before - after) <= UNSTEADY * max(before, after):
            break
    return answers[driver], answers.get(peer), (before + after) / 2


def add_rows(report, shape, measured):
    report.row(f"{shape}: read bandwidth", [x / 1e9 for x in measured.bandwidths()], "GB/s")
    for unit, rates in measured.rates.items():
        report.row(f"{shape}: {unit}", [x / 1e9 for x in rates], "GFLOP/s")
    for case in CASES + WIDER_CASES:
        if case.name not in measured.samples:
            continue
        own = (case.name, "own")
        notes = {"of floor": f"{measured.ratio((case.name, 'floor'), own):.2f}"}
        if case.has_peer:
            notes["x peer"] = f"{measured.ratio((case.name, 'peer'), own):.2f}"
        add_speed(report, f"{shape}: {case.name}", case, measured.seconds(*own), notes)
        if case.has_peer:
            add_speed(report, "  the peer", case, measured.seconds(case.name, "peer"), {})


def add_speed(report, name, case, seconds, notes):
    milliseconds = f"{statistics.median(seconds) * 1000:.1f}"
    report.row(name, [case.seqs * case.tokens / x for x in seconds], "tok/s",
               **{"ms a step": milliseconds}, **notes)


def add_bars(report, prefix, softer, measured):
    def at_least(name, limit, above, below):
        report.bar(prefix + name, measured.ratio(above, below), round(limit * (1 - softer), 3),
                   at_least=True, digits=3)

    def at_most(name, limit, above, below):
        report.bar(prefix + name, measured.ratio(above, below), round(limit * (1 + softer), 3),
                   at_least=False, digits=3)

    def own(case):
        return case, "own"

    def peer(case):
        return case, "peer"

    at_least("decode1-vs-peer", 1.35, peer("decode1"), own("decode1"))
    at_least("decode1-bandwidth", 0.8, ("decode1", "read"), own("decode1"))
    at_least("decode16-vs-peer", 5, peer("decode16"), own("decode16"))
    at_most("decode16-vs-decode1", 1.6, own("decode16"), own("decode1"))
    for lora in ("lora8", "lora16"):
        at_least(f"{lora}-vs-peer", 8, peer(lora), own(lora))
        at_most(f"{lora}-vs-bytes", 1.3, own(lora), (lora, "read"))
    at_most("shared-lora8", 1.08, own("decode8-shared"), own("decode8"))
    at_most("shared-lora16", 1.08, own("decode16-shared"), own("decode16"))
    at_least("prefill-vs-peer", 4, peer("prefill512"), own("prefill512"))
    at_least("prefill-rate", 0.30, ("prefill512", "compute"), own("prefill512"))
    at_most("prefill-4-adapters", 1.10, own("prefill4x128-lora4"), own("prefill4x128"))


def say_conditions(measured):
    print(f"tessera: {measured.name}, {THREADS} threads")
    print(f"peer: {measured.peer_name}, {THREADS} threads")
    if not may_be_urgent():
        print("Not root, so no real-time priority: what else runs here is in the figures.")
    if not measured.rate_unit.startswith("AMX"):
        print(f"No AMX here: the prefill-rate bars are shares of the {measured.rate_unit} rate.")
    print()


def main():
    options = bench_report.arguments(__doc__)
    report = bench_report.Report("cpu", options.quick)
    everything = []
    for shape, prefix, softer in SHAPES:
        print(f"    measuring {shape}", flush=True)
        measured = Measurements()
        peer = Worker(os.environ["TESSERA_PEER_PYTHON"], HERE / "cpu" / "peer.py", shape, THREADS,
                      CACHE)
        driver = Worker(os.environ["TESSERA_DRIVER"], SHAPES_FILE, shape, THREADS)
        measured.run(driver, peer, options.quick)
        driver.close()
        peer.close()
        add_rows(report, shape, measured)
        everything.append((prefix, softer, measured))
    say_conditions(everything[0][-1])
    for bars in everything:
        add_bars(report, *bars)
    sys.exit(report.finish(options.json))


if __name__ == "__main__":
    main()
