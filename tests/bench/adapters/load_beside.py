"""load_beside.py — the gaps between streams' tokens while adapters are loaded beside them."""

import concurrent.futures
import itertools
import statistics
import threading
import time

import bench_base
import bench_server
import packages

STREAMS, TOKENS, QUICK_TOKENS = 8, 96, 32
LOADS_A_SECOND, COLD, QUICK_COLD = 50, 200, 60
ROUNDS, QUICK_ROUNDS = 7, 2
BAR = 1.05


def measure(report, quick):
    maker = packages.Plain(bench_base.NAME, bench_base.config(), bench_server.RANK,
                           bench_server.TARGETS)
    cold = QUICK_COLD if quick else COLD
    with bench_server.served("--adapter-bytes", len(maker.file) * cold // 4,
                             "--adapter-device-bytes", "64M", "--adapter-slots", 16) as server:
        streaming = server.new_tenant("steady", **bench_server.UNLIMITED).key
        loading = server.new_tenant("loading", **bench_server.UNLIMITED).key
        names = [f"small-{i}" for i in range(cold)]
        versions = bench_server.upload_many(loading, names, maker.package)
        tokens = QUICK_TOKENS if quick else TOKENS
        tail(streaming, 8)
        figures, rates = {"alone": [], "beside loads": []}, []
        for _ in range(QUICK_ROUNDS if quick else ROUNDS):
            figures["alone"].append(tail(streaming, tokens))
            with Loads(server, loading, versions) as loads:
                figures["beside loads"].append(tail(streaming, tokens))
            rates.append(loads.rate)
    for name, kept in figures.items():
        report.row(f"p99 gap between tokens, {name}", kept, "ms", digits=2)
    report.row("loads beside the streams", rates, "1/s")
    ratio = statistics.median(b / a for a, b in zip(figures["alone"], figures["beside loads"]))
    report.bar("p99-gap-beside-loads", ratio, BAR, at_least=False, digits=3)


def gaps_of(key, index, tokens):
    """Milliseconds between the pieces of one stream."""
    gaps, last = [], None
    for event in key.chat_stream(bench_base.NAME, f"Tell me of {index}.", max_tokens=tokens,
                                 ignore_eos=True, seed=index, temperature=0):
        now = time.perf_counter()
        if any(choice["delta"].get("content") for choice in event["choices"]):
            if last is not None:
                gaps.append(1000 * (now - last))
            last = now
    return gaps


def tail(key, tokens):
    """The 99th percentile of all streams' gaps."""
    with concurrent.futures.ThreadPoolExecutor(STREAMS) as pool:
        gaps = [gap for gaps in pool.map(lambda i: gaps_of(key, i, tokens), range(STREAMS))
                for gap in gaps]
    return bench_server.percentile(gaps, 99)


class Loads:
    """Hints for adapters in turn, of which memory holds a quarter, so many a second."""

    def __init__(self, server, key, versions):
        self.server, self.key, self.versions = server, key, itertools.cycle(versions)
        self.stopping, self.thread = threading.Event(), threading.Thread(target=self.run)

    def __enter__(self):
        self.before, self.began = self.count(), time.perf_counter()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.rate = (self.count() - self.before) / (time.perf_counter() - self.began)
        self.stopping.set()
        self.thread.join()

    def count(self):
        return self.server.metric("tessera_host_cache_loads_total")

    def run(self):
        due = time.perf_counter()
        while not self.stopping.is_set():
            version = next(self.versions)
            bench_server.post(
                self.key, f"/v1/adapters/{version.name}/versions/{version.number}/preload")
            due += 1 / LOADS_A_SECOND
            time.sleep(max(0, due - time.perf_counter()))
