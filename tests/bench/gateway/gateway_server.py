"""gateway_server.py — a server whose engine answers at once, over a store that is full."""

import contextlib
import functools
import json
import os
import pathlib
import shutil
import subprocess

import harness

DRIVER = os.environ["TESSERA_DRIVER"]
SERVER_CORE = "0"
LOAD_CORE = str((os.cpu_count() or 1) - 1)
CHAT = "/v1/chat/completions"
BODY = json.dumps({"model": harness.BASE, "max_tokens": 1, "temperature": 0,
                   "messages": [{"role": "user", "content": "Where is my order?"}]})
PATIENCE = 120


@functools.cache
def full_store(tenants, keys, adapters):
    """(data directory, file of keys): made once a run, and copied for each server."""
    made = harness.scratch() / f"store-{tenants}-{keys}-{adapters}"
    file = made.with_suffix(".keys")
    subprocess.run([DRIVER, "fill", made, str(tenants), str(keys), str(adapters), file],
                   check=True)
    return made, file


class BenchServer(harness.Server):
    """`gateway_driver serve` on one core, or all if `core` is None; `pause` is the least time of a
    step in ms."""

    def __init__(self, *options, data=None, pause=0, core=SERVER_CORE):
        super().__init__("--log-level", "error", "--no-sandbox", "--trust-model",
                         "--max-queue", "4096", "--max-seqs", "1024", "--token-budget", "8192",
                         *options)
        if data is not None:
            shutil.rmtree(self.data)
            shutil.copytree(data, self.data)
        self.command = [*(("taskset", "-c", core) if core else ()), DRIVER, "serve", "--pause",
                        str(pause)]

    def start(self):
        addresses = self.data / "addresses.json"
        addresses.unlink(missing_ok=True)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*self.command, "--model", harness.packed_demo(), "--data", self.data,
                 "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", *self.options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        harness.wait_until(lambda: self._is_ready(addresses), harness.START_SECONDS, "ready")
        self.admin = harness.Client(self, (self.data / "admin.key").read_text().strip())
        return self


@contextlib.contextmanager
def served(*options, data=None, pause=0):
    server = BenchServer(*options, data=data, pause=pause)
    try:
        yield server.start()
    finally:
        server.close()
        shutil.rmtree(server.data, ignore_errors=True)


def load(port, rate, connections, seconds, path=CHAT, body=BODY, keys=None, warm=1.0, awake=False):
    """What gateway_driver's open-loop load found; `awake`: it does not sleep between requests."""
    method = "POST" if body else "GET"
    done = subprocess.run(
        ["taskset", "-c", LOAD_CORE, DRIVER, "load", *(["--awake"] if awake else []), str(port),
         str(rate), str(connections),
         str(int(1000 * warm)), str(int(1000 * seconds)), method, path, body or "",
         *([str(keys)] if keys else [])],
        check=True, stdout=subprocess.PIPE, timeout=PATIENCE)
    return json.loads(done.stdout)


def cpu_seconds(pid):
    """Of the process and all its threads."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
