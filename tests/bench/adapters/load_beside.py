"""load_beside.py — the gaps between streams' tokens while adapters are loaded beside them."""

import concurrent.futures
import itertools
import json
import pathlib
import subprocess
import sys
import time

import bench_base
import bench_server
import packages

STREAMS, TOKENS, QUICK_TOKENS = 8, 150, 60
# Of those that are asked for some are not done before the round is over.
LOADS_A_SECOND, COLD, QUICK_COLD = 56, 200, 60
ROUNDS, QUICK_ROUNDS = 10, 2  # short, because a machine's speed drifts
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
        gaps(streaming, 8)
        rounds, rates = {"alone": [], "beside loads": []}, []
        for _ in range(QUICK_ROUNDS if quick else ROUNDS):
            rounds["alone"].append(gaps(streaming, tokens))
            with Loads(server, loading, versions) as loads:
                rounds["beside loads"].append(gaps(streaming, tokens))
            rates.append(loads.rate)
    for name, kept in rounds.items():
        report.row(f"p99 gap between tokens, {name}",
                   [bench_server.percentile(of_round, 99) for of_round in kept], "ms", digits=2)
    report.row("loads beside the streams", rates, "1/s")
    alone, beside = (bench_server.percentile(itertools.chain(*kept), 99)
                     for kept in rounds.values())
    report.row("p99 gap of all rounds together, alone", [alone], "ms", digits=2)
    report.row("p99 gap of all rounds together, beside loads", [beside], "ms", digits=2)
    ratio = beside / alone
    report.bar("p99-gap-beside-loads", ratio, BAR, at_least=False, digits=3)


def times_of(key, index, tokens):
    """When each piece of one stream came, in milliseconds."""
    times = []
    for event in key.chat_stream(bench_base.NAME, f"Tell me of {index}.", max_tokens=tokens,
                                 ignore_eos=True, seed=index, temperature=0):
        if any(choice["delta"].get("content") for choice in event["choices"]):
            times.append(1000 * time.perf_counter())
    return times


def gaps(key, tokens):
    """All streams' gaps while all of them run: no prompt is among them."""
    with concurrent.futures.ThreadPoolExecutor(STREAMS) as pool:
        streams = list(pool.map(lambda index: times_of(key, index, tokens), range(STREAMS)))
    begin = max(times[1] for times in streams)
    end = min(times[-1] for times in streams)
    return [after - before for times in streams for before, after in zip(times, times[1:])
            if begin <= before and after <= end]


class Loads:
    """Hints for adapters in turn, of which memory holds a quarter, so many a second."""

    def __init__(self, server, key, versions):
        self.server, self.key = server, key
        self.paths = [f"/v1/adapters/{version.name}/versions/{version.number}/preload"
                      for version in versions]

    def __enter__(self):
        program = pathlib.Path(__file__).with_name("preloader.py")
        self.process = subprocess.Popen(
            [sys.executable, program, *map(str, self.server.api), self.key.key,
             str(LOADS_A_SECOND)], stdin=subprocess.PIPE)
        self.process.stdin.write(json.dumps(self.paths).encode())
        self.process.stdin.close()
        self.before, self.began = self.count(), time.perf_counter()
        return self

    def __exit__(self, *_):
        self.rate = (self.count() - self.before) / (time.perf_counter() - self.began)
        was_running = self.process.poll() is None
        self.process.kill()
        self.process.wait()
        if not was_running:
            raise RuntimeError("the loads ended before the streams did")

    def count(self):
        return self.server.metric("tessera_host_cache_loads_total")
