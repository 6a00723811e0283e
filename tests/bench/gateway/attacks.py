"""attacks.py — the p99 of victims beside attackers, pair by pair with the same without them.

Attackers come from another address than the victims (127.0.0.2) and share the load's core, so that
what they take from the server's core is what the server gives them. They run there when the load has
nothing to do (SCHED_IDLE): that an attacker's own computing holds up the clock of the victims' answers
is no doing of the server's.
"""

import contextlib
import os
import pathlib
import statistics
import subprocess
import sys
import time

import connections
import gateway_server

RATE, CONNECTIONS = 500, 16
SECONDS, QUICK_SECONDS = 4, 1
ROUNDS, QUICK_ROUNDS = 7, 1
SETTLE_SECONDS = 1.0
BAR = 1.15
KINDS = ("slowloris", "sockets", "json-bombs", "header-floods", "smuggling")


def measure(report, quick):
    connections.raise_descriptor_limit()
    data, keys = gateway_server.full_store(1000, 10_000, 0)
    seconds = QUICK_SECONDS if quick else SECONDS
    with gateway_server.served(data=data) as server:
        own = connections.unlimited_key(server)
        for kind in KINDS:
            alone, beside, reached = [], [], []
            for _ in range(QUICK_ROUNDS if quick else ROUNDS):
                alone.append(victims(server, keys, seconds))
                with attack(server, kind, own, reached):
                    beside.append(victims(server, keys, seconds))
            failed = sum(each["refused"] + each["broken"] for each in beside)
            report.row(f"p99 alone, before {kind}", [each["p99_us"] for each in alone], "us")
            report.row(f"p99 beside {kind}", [each["p99_us"] for each in beside], "us",
                       failed=failed, reached=f"{min(reached):.0f}")
            ratio = statistics.median(b["p99_us"] / a["p99_us"] for a, b in zip(alone, beside))
            report.bar(f"victims-beside-{kind}", ratio, BAR, at_least=False, digits=3)
            report.bar(f"victims-failed-beside-{kind}", failed, 0, at_least=False, digits=0)


def victims(server, keys, seconds):
    return gateway_server.load(server.api[1], RATE, CONNECTIONS, seconds, keys=keys, warm=0.5)


@contextlib.contextmanager
def attack(server, kind, key, reached):
    """`reached` is told how many the attacker threw a second, or opened."""
    script = pathlib.Path(__file__).with_name("attacker.py")
    with subprocess.Popen(
            ["taskset", "-c", gateway_server.LOAD_CORE, "chrt", "--idle", "0", sys.executable, script,
             kind, str(server.api[1])], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"ATTACKER_KEY": key.key}) as attacker:
        if attacker.stdout.readline().strip() != "attacking":
            raise AssertionError("the attacker has failed")
        time.sleep(SETTLE_SECONDS)
        try:
            yield
        finally:
            attacker.stdin.close()  # that is its end
            reached.append(float(attacker.stdout.readline()))
            attacker.wait()
