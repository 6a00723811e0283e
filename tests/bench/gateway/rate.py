"""rate.py — what auth, limits, queue and ledger add to a request at 10,000 requests a second.

The same open-loop load asks for a chat, which passes all of them and the engine that answers at
once, and for /livez of the same process, which passes none. What is added is the difference of the
percentiles, pair by pair.
"""

import statistics

import gateway_server

TENANTS, KEYS = 10_000, 100_000
RATE, CONNECTIONS = 10_000, 64
SECONDS, QUICK_SECONDS = 10, 2
ROUNDS, QUICK_ROUNDS = 5, 1
P50_BAR_US, P99_BAR_US = 60, 1000


def measure(report, quick):
    data, keys = gateway_server.full_store(TENANTS, KEYS, 0)
    seconds = QUICK_SECONDS if quick else SECONDS
    figures = {"/livez": [], "chat": []}
    cpu = []
    with gateway_server.served(data=data) as server:
        for _ in range(QUICK_ROUNDS if quick else ROUNDS):
            figures["/livez"].append(gateway_server.load(
                server.ops[1], RATE, CONNECTIONS, seconds, path="/livez", body=None,
                awake=True))
            before = gateway_server.cpu_seconds(server.process.pid)
            found = gateway_server.load(server.api[1], RATE, CONNECTIONS, seconds, keys=keys,
                                        awake=True)
            figures["chat"].append(found)
            cpu.append(gateway_server.cpu_seconds(server.process.pid) - before)
    answers = [found["answers"] * (seconds + 1) / seconds for found in figures["chat"]]
    for name, found in figures.items():
        report.row(f"{name} p50", [each["p50_us"] for each in found], "us")
        report.row(f"{name} p99", [each["p99_us"] for each in found], "us")
        report.row(f"{name} answers", [each["rate"] for each in found], "1/s", digits=0)
    report.row("chat, processor time", [1e6 * a / b for a, b in zip(cpu, answers)], "us")
    failed = sum(each["refused"] + each["broken"] for found in figures.values() for each in found)
    report.bar("gateway-failed-requests", failed, 0, at_least=False, digits=0)
    for percentile, limit in (("p50_us", P50_BAR_US), ("p99_us", P99_BAR_US)):
        added = statistics.median(
            chat[percentile] - bare[percentile]
            for chat, bare in zip(figures["chat"], figures["/livez"]))
        report.bar(f"gateway-adds-{percentile}", added, limit, at_least=False)
