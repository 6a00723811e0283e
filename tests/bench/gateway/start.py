"""start.py — from exec to ready with a million keys and a hundred thousand adapters."""

import shutil
import time

import gateway_server

TENANTS, KEYS, ADAPTERS = 10_000, 1_000_000, 100_000
QUICK = 20  # times fewer
ROUNDS = 5
BAR_SECONDS = 2


def measure(report, quick):
    part = QUICK if quick else 1
    data, _ = gateway_server.full_store(TENANTS // part, KEYS // part, ADAPTERS // part)
    seconds, cpu = [], []
    server = gateway_server.BenchServer(data=data, core=None)
    try:
        for _ in range(1 if quick else ROUNDS):
            began = time.perf_counter()
            server.start()
            seconds.append(time.perf_counter() - began)
            cpu.append(gateway_server.cpu_seconds(server.process.pid))
            server.terminate()
    finally:
        server.close()
        shutil.rmtree(server.data, ignore_errors=True)
    report.row(f"start, {KEYS // part} keys, {ADAPTERS // part} adapters", seconds, "s", digits=2)
    report.row("of it, processor time", cpu, "s", digits=2)
    report.bar("gateway-start-s", max(seconds), BAR_SECONDS, at_least=False, digits=2)
