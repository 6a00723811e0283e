"""load_beside.py — the gaps between streams' tokens while adapters are loaded beside them."""

import concurrent.futures
import json
import pathlib
import statistics
import subprocess
import sys
import time

import bench_base
import bench_server
import packages

STREAMS, TOKENS, QUICK_TOKENS = 8, 300, 100
# Of those that are asked for some are not done before their window is over.
LOADS_A_SECOND, COLD, QUICK_COLD = 55, 200, 60
ROUNDS, QUICK_ROUNDS = 8, 2
# With loads and without alternate this fast, because a machine's speed drifts; a gap counts if it
# lies within a window, this far from the window's begin.
WINDOW_SECONDS, MARGIN_SECONDS = 1.5, 0.1
BAR = 1.05
KV_BYTES = "96M"  # what the streams fill: nothing is left that adapters could borrow


def measure(report, quick):
    maker = packages.Plain(bench_base.NAME, bench_base.config(), bench_server.RANK,
                           bench_server.TARGETS)
    cold = QUICK_COLD if quick else COLD
    with bench_server.served("--adapter-bytes", len(maker.file) * cold // 4,
                             "--kv-bytes", KV_BYTES, "--adapter-device-bytes", "64M",
                             "--adapter-slots", 16) as server:
        streaming = server.new_tenant("steady", **bench_server.UNLIMITED).key
        loading = server.new_tenant("loading", **bench_server.UNLIMITED).key
        names = [f"small-{i}" for i in range(cold)]
        versions = bench_server.upload_many(loading, names, maker.package)
        tokens = QUICK_TOKENS if quick else TOKENS
        run_streams(streaming, 8)
        alone, beside, rates = [], [], []
        for _ in range(QUICK_ROUNDS if quick else ROUNDS):
            with Loads(server, loading, versions) as loads:
                streams = run_streams(streaming, tokens)
            rates.append(loads.rate)
            for gap, has_loads in gaps_of(streams, loads.began):
                (beside if has_loads else alone).append(gap)
    report.row("gap between tokens, alone", alone, "ms", digits=2)
    report.row("gap between tokens, beside loads", beside, "ms", digits=2)
    tails = [bench_server.percentile(gaps, 99) for gaps in (alone, beside)]
    report.row("99th percentile, alone", tails[:1], "ms", digits=2)
    report.row("99th percentile, beside loads", tails[1:], "ms", digits=2)
    report.row("loads beside the streams", rates, "1/s")
    report.bar("p99-gap-beside-loads", tails[1] / tails[0], BAR, at_least=False, digits=3)
    report.bar("loads-a-second", statistics.median(rates), 50, at_least=True)


def times_of(key, index, tokens):
    """When each piece of one stream came, in seconds."""
    times = []
    for event in key.chat_stream(bench_base.NAME, f"Tell me of {index}.", max_tokens=tokens,
                                 ignore_eos=True, seed=index, temperature=0):
        if any(choice["delta"].get("content") for choice in event["choices"]):
            times.append(time.monotonic())
    return times


def run_streams(key, tokens):
    with concurrent.futures.ThreadPoolExecutor(STREAMS) as pool:
        return list(pool.map(lambda index: times_of(key, index, tokens), range(STREAMS)))


def gaps_of(streams, began):
    """(milliseconds, whether in a window with loads) of the gaps while all streams run: no prompt is
    among them."""
    first = max(times[1] for times in streams)
    last = min(times[-1] for times in streams)
    for times in streams:
        for before, after in zip(times, times[1:]):
            window, since = divmod(before - began, WINDOW_SECONDS)
            within = since >= MARGIN_SECONDS and since + after - before < WINDOW_SECONDS
            if within and first <= before and after <= last:
                yield 1000 * (after - before), window % 2 == 1


class Loads:
    """Hints for adapters in turn, of which memory holds a quarter, so many a second of every other
    window since `began`. `rate` is that of those windows."""

    def __init__(self, server, key, versions):
        self.server, self.key = server, key
        self.paths = [f"/v1/adapters/{version.name}/versions/{version.number}/preload"
                      for version in versions]

    def __enter__(self):
        program = pathlib.Path(__file__).with_name("preloader.py")
        self.before, self.began = self.count(), time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, program, *map(str, self.server.api), self.key.key,
             str(LOADS_A_SECOND), str(self.began), str(WINDOW_SECONDS)], stdin=subprocess.PIPE)
        self.process.stdin.write(json.dumps(self.paths).encode())
        self.process.stdin.close()
        return self

    def __exit__(self, *_):
        loads = self.count() - self.before
        windows, rest = divmod(time.monotonic() - self.began, WINDOW_SECONDS)
        seconds = windows // 2 * WINDOW_SECONDS + (rest if windows % 2 == 1 else 0)
        self.rate = loads / seconds
        was_running = self.process.poll() is None
        self.process.kill()
        self.process.wait()
        if not was_running:
            raise RuntimeError("the loads ended before the streams did")

    def count(self):
        return self.server.metric("tessera_host_cache_loads_total")
