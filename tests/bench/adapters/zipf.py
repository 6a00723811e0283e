"""zipf.py — throughput over a thousand adapters beside the same over eight."""

import concurrent.futures
import itertools
import random
import statistics
import time

import bench_base
import bench_server
import packages

MANY, QUICK_MANY, FEW = 1000, 100, 8
SLOTS, QUICK_SLOTS = 64, 16
CLIENTS, REQUESTS, QUICK_REQUESTS, TOKENS = 16, 128, 48, 16
ROUNDS, QUICK_ROUNDS = 5, 2
BAR = 0.9


def measure(report, quick):
    many = QUICK_MANY if quick else MANY
    maker = packages.Plain(bench_base.NAME, bench_base.config(), bench_server.RANK,
                           bench_server.TARGETS)
    host_bytes = len(maker.file) * many // 3
    with bench_server.served("--adapter-slots", QUICK_SLOTS if quick else SLOTS,
                             "--adapter-bytes", host_bytes,
                             "--adapter-device-bytes", host_bytes // 2) as server:
        key = server.new_tenant("acme", **bench_server.UNLIMITED).key
        names = [f"small-{i}" for i in range(many)]
        bench_server.upload_many(key, names, maker.package)
        rates = {FEW: [], many: []}
        for turn in range(ROUNDS + 1 if not quick else QUICK_ROUNDS + 1):
            for count, kept in rates.items():
                made = rate(key, names[:count], turn, QUICK_REQUESTS if quick else REQUESTS)
                if turn > 0:  # the first round warms up
                    kept.append(made)
        loads = server.metric("tessera_adapter_slot_loads_total")
    for count, kept in rates.items():
        report.row(f"{count} adapters", kept, "tokens/s", slot_loads=int(loads))
    ratio = statistics.median(a / b for a, b in zip(rates[many], rates[FEW]))
    report.bar("zipf-throughput", ratio, BAR, at_least=True, digits=3)


def rate(key, names, seed, requests):
    """Tokens a second of CLIENTS in a closed loop, over adapters by Zipf's law."""
    draw = random.Random(seed)
    weights = list(itertools.accumulate(1 / (rank + 1) for rank in range(len(names))))
    models = draw.choices(names, cum_weights=weights, k=requests)

    def ask(item):
        index, model = item
        answer = key.chat(model, f"Tell me of {seed} {index}.", max_tokens=TOKENS, temperature=0,
                          ignore_eos=True).expect(200)
        return answer.json["usage"]["completion_tokens"]

    began = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        tokens = sum(pool.map(ask, enumerate(models)))
    return tokens / (time.perf_counter() - began)
