"""throughput.py — requests a second by wrk, beside LiteLLM's proxy in front of the same engine.

LiteLLM's proxy (one worker, one key) forwards to a Tessera with the engine that answers at once; it
has the first core, that Tessera shares the second one with wrk, so that LiteLLM waits for nobody.
Alone, Tessera has the first core and checks a key of 100,000, limits and ledger.
"""

import contextlib
import http.client
import os
import pathlib
import re
import socket
import subprocess

import gateway_server
import harness

TENANTS, KEYS = 10_000, 100_000
CONNECTIONS = 64
SECONDS, QUICK_SECONDS = 10, 3
ROUNDS, QUICK_ROUNDS = 3, 1
BAR = 50
START_SECONDS = 180
MASTER_KEY = "sk-litellm-of-this-bench"


def measure(report, quick):
    data, keys = gateway_server.full_store(TENANTS, KEYS, 0)
    seconds = QUICK_SECONDS if quick else SECONDS
    rounds = QUICK_ROUNDS if quick else ROUNDS
    ours, theirs = [], []
    with gateway_server.served(data=data) as server:
        for _ in range(rounds):
            ours.append(wrk(server.api[1], seconds, keys))
    with gateway_server.served() as upstream, litellm(upstream) as port:
        own = harness.scratch() / "litellm.keys"
        own.write_text(MASTER_KEY + "\n")
        wrk(port, 2, own)
        for _ in range(rounds):
            theirs.append(wrk(port, seconds, own))
    for name, found in (("Tessera", ours), ("LiteLLM", theirs)):
        report.row(f"{name}, wrk, {CONNECTIONS} connections", [each["rate"] for each in found],
                   "1/s", p99_ms=f"{max(each['p99_ms'] for each in found):.2f}",
                   failed=sum(each["failed"] for each in found))
    failed = sum(each["failed"] for each in ours)
    report.bar("gateway-throughput-failed", failed, 0, at_least=False, digits=0)
    best = max(each["rate"] for each in theirs)
    report.bar("gateway-over-litellm", min(each["rate"] for each in ours) / best, BAR,
               at_least=True)


def wrk(port, seconds, keys):
    script = pathlib.Path(__file__).with_name("chat.lua")
    environment = os.environ | {"BENCH_KEYS": str(keys), "BENCH_BODY": gateway_server.BODY}
    done = subprocess.run(
        ["taskset", "-c", gateway_server.LOAD_CORE, "wrk", "-t1", f"-c{CONNECTIONS}",
         f"-d{seconds}s", "--latency", "--timeout", "30s", "-s", script,
         f"http://127.0.0.1:{port}{gateway_server.CHAT}"],
        env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return parse(done.stdout)


def parse(text):
    rate = float(re.search(r"Requests/sec:\s*([0-9.]+)", text)[1])
    number, unit = re.search(r"99%\s+([0-9.]+)(us|ms|s)\b", text).groups()
    failed = sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", text)))
    failed += sum(sum(map(int, re.findall(r"\d+", line))) for line in text.splitlines()
                  if "Socket errors" in line)
    return {"rate": rate, "failed": failed,
            "p99_ms": float(number) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit]}


@contextlib.contextmanager
def litellm(upstream):
    """LiteLLM's proxy before `upstream`; gives its port."""
    key = upstream.new_tenant("litellm", max_requests_per_1_minute=1_000_000_000,
                              max_tokens_per_1_minute=1_000_000_000,
                              max_concurrent_requests=1_000_000).key
    subprocess.run(["taskset", "-a", "-p", "-c", gateway_server.LOAD_CORE,
                    str(upstream.process.pid)], check=True, stdout=subprocess.DEVNULL)
    directory = harness.scratch() / "litellm"
    directory.mkdir()
    config = directory / "config.yaml"
    config.write_text(
        f"model_list:\n  - model_name: {harness.BASE}\n    litellm_params:\n"
        f"      model: openai/{harness.BASE}\n      api_key: {key.key}\n"
        f"      api_base: http://127.0.0.1:{upstream.api[1]}/v1\n"
        f"litellm_settings:\n  telemetry: false\n  num_retries: 0\n"
        f"general_settings:\n  master_key: {MASTER_KEY}\n")
    port = free_port()
    program = pathlib.Path(os.environ["TESSERA_PEER_PYTHON"]).with_name("litellm")
    environment = os.environ | {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                                "DISABLE_ADMIN_UI": "True", "HOME": str(directory)}
    with open(directory / "log", "wb") as log:
        process = subprocess.Popen(
            ["taskset", "-c", gateway_server.SERVER_CORE, program, "--config", config, "--host",
             "127.0.0.1", "--port", str(port), "--num_workers", "1", "--telemetry", "False"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment,
            cwd=directory)
        try:
            harness.wait_until(lambda: answers(process, port, directory / "log"), START_SECONDS,
                               "LiteLLM")
            yield port
        finally:
            process.terminate()
            process.wait()


def answers(process, port, log):
    if process.poll() is not None:
        raise RuntimeError("LiteLLM ended:\n" + log.read_text(errors="replace")[-4000:])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=harness.ANSWER_SECONDS)
    try:
        connection.request("POST", gateway_server.CHAT, gateway_server.BODY.encode(),
                           {"Authorization": f"Bearer {MASTER_KEY}",
                            "Content-Type": "application/json"})
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
