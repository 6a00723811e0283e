"""harness.py — a real Tessera server for the tests: started on free ports, spoken to, killed.

A Server is one data directory and the process that serves it, if any; it can be killed and started
again. A Client is one API key. Nothing here knows what an answer should be: the tests do, and the
OpenAPI document its shape (described.py). But for that only the standard library is used.

Environment: TESSERA_BINARY, the program (build/dev/tessera if unset).
"""

import atexit
import dataclasses
import functools
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid

import described

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DEMO = ROOT / "examples" / "demo"
BINARY = pathlib.Path(os.environ.get("TESSERA_BINARY", ROOT / "build" / "dev" / "tessera"))
BASE = "tessera-demo"  # the name under which the demo's base is served
START_SECONDS = 60     # a sanitizer build on a busy machine is slow to start
ANSWER_SECONDS = 60


@functools.cache
def scratch():
    """A directory of this run's own, removed at the end."""
    path = tempfile.mkdtemp(prefix="tessera-test-")
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return pathlib.Path(path)


@functools.cache
def packed_demo():
    """The demo's base as `tessera quantize` packs it; made once a run."""
    packed = scratch() / f"{BASE}.packed"
    subprocess.run([BINARY, "quantize", DEMO / "base", packed, "--name", BASE], check=True,
                   stdout=subprocess.DEVNULL)
    return packed


def demo_adapters():
    return sorted(path.name for path in (DEMO / "adapters").iterdir() if path.is_dir())


def demo_package(name):
    """(adapter_config.json, adapter_model.safetensors) of one of the demo's adapters."""
    directory = DEMO / "adapters" / name
    return ((directory / "adapter_config.json").read_bytes(),
            (directory / "adapter_model.safetensors").read_bytes())


def held_out(name, count=None):
    """The held-out [{"prompt", "expected"}, ...] of an adapter."""
    lines = (DEMO / "heldout" / f"{name}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines[:count]]


def wait_until(condition, seconds=ANSWER_SECONDS, what="condition"):
    """The first true value of condition(), asked again and again."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.01)
    return value


class Server:
    """One data directory; `options` are further arguments of `tessera serve`. Serves the demo's
    base unless another packed `model` is given."""

    def __init__(self, *options, model=None):
        self.model = model
        self.data = pathlib.Path(tempfile.mkdtemp(prefix="data-", dir=scratch()))
        self.log = self.data.with_suffix(".log")
        self.options = options
        self.process = None

    def start(self):
        addresses = self.data / "addresses.json"
        addresses.unlink(missing_ok=True)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [BINARY, "serve", "--model", self.model or packed_demo(), "--data", self.data,
                 "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", *self.options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        wait_until(lambda: self._is_ready(addresses), START_SECONDS, "server ready")
        self.admin = Client(self, (self.data / "admin.key").read_text().strip())
        return self

    def _is_ready(self, addresses):
        if self.process.poll() is not None:
            raise RuntimeError(f"the server ended with {self.process.returncode}:\n"
                               + self.log.read_text(errors="replace")[-4000:])
        try:
            found = json.loads(addresses.read_text())
            self.api, self.ops = (split_address(found[name]) for name in ("api", "ops"))
            return self.operations("/readyz").status == 200
        except (FileNotFoundError, json.JSONDecodeError, ConnectionError):
            return False

    def kill(self):
        """As the power of a machine goes: nothing is flushed, no one is told."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def terminate(self, seconds=ANSWER_SECONDS):
        """Asks politely; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def operations(self, path):
        return exchange(self.ops, "GET", path)

    def metric(self, name):
        """The sum of a metric's samples, whatever their labels; None if there is none."""
        lines = self.operations("/metrics").body.decode().splitlines()
        values = [float(line.rsplit(" ", 1)[1]) for line in lines
                  if line.split("{")[0].split(" ")[0] == name]
        return sum(values) if values else None

    def resident_bytes(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024

    def new_tenant(self, name, **limits):
        """A tenant with one key; `limits` are fields of the rate-limit object."""
        project = self.admin.post("/v1/organization/projects", {"name": name}).expect(200).json
        if limits:
            self.set_limits(project["id"], **limits)
        return Tenant(project["id"], name, self.new_key(project["id"]))

    def new_key(self, project, name="test"):
        made = self.admin.post(f"/v1/organization/projects/{project}/service_accounts",
                               {"name": name}).expect(200).json
        return Client(self, made["api_key"]["value"], made["api_key"]["id"])

    def set_limits(self, project, **limits):
        listed = self.admin.get(f"/v1/organization/projects/{project}/rate_limits").expect(200)
        limit_id = listed.json["data"][0]["id"]
        return self.admin.post(f"/v1/organization/projects/{project}/rate_limits/{limit_id}",
                               limits).expect(200).json

    def verify_audit(self):
        """What `tessera audit verify` says of this server's store: (exit status, report)."""
        done = subprocess.run([BINARY, "audit", "verify", "--json", "--data", self.data],
                              stdout=subprocess.PIPE, timeout=ANSWER_SECONDS, check=False)
        return done.returncode, json.loads(done.stdout)

    def usage(self, **group):
        """All usage so far: [{project_id, model, input_tokens, ...}, ...]."""
        query = "&".join(["start_time=0", "bucket_width=1d", "limit=31", "group_by[]=project_id",
                          "group_by[]=model"])
        page = self.admin.get(f"/v1/organization/usage/completions?{query}").expect(200).json
        return [result for bucket in page["data"] for result in bucket["results"]
                if all(result[key] == value for key, value in group.items())]


@dataclasses.dataclass
class Tenant:
    id: str
    name: str
    key: "Client"


@dataclasses.dataclass
class Answer:
    status: int
    headers: dict  # names in lower case
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.json["error"]

    def expect(self, *statuses):
        if self.status not in statuses:
            raise AssertionError(f"expected {statuses}, got {self.status}: {self.body[:2000]!r}")
        return self


def split_address(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


@functools.cache
def document():
    """The OpenAPI document of the server that is tested."""
    done = subprocess.run([BINARY, "routes", "--openapi"], check=True, stdout=subprocess.PIPE)
    return described.Document(json.loads(done.stdout))


def exchange(address, method, path, body=None, headers=None):
    """One request and its answer, which the OpenAPI document has to describe."""
    connection = http.client.HTTPConnection(*address, timeout=ANSWER_SECONDS)
    try:
        connection.request(method, path, body, headers or {})
        answer = read_answer(connection.getresponse())
    finally:
        connection.close()
    document().check(method, path, answer)
    return answer


def read_answer(response):
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, response.read())


class Client:
    """Requests under one key; thread-safe, for every request has a connection of its own."""

    def __init__(self, server, key, key_id=None):
        self.server, self.key, self.key_id = server, key, key_id

    def headers(self, **more):
        return {"Authorization": f"Bearer {self.key}"} | more

    def get(self, path):
        return exchange(self.server.api, "GET", path, None, self.headers())

    def delete(self, path):
        return exchange(self.server.api, "DELETE", path, None, self.headers())

    def post(self, path, fields):
        return self.post_text(path, json.dumps(fields).encode())

    def post_text(self, path, text):
        """A body that is there already."""
        return exchange(self.server.api, "POST", path, text,
                        self.headers(**{"Content-Type": "application/json"}))

    def ask(self, method, path, fields=None, **headers):
        """Any request, with further headers: `if_match="..."` is If-Match."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        body = None
        if fields is not None:
            body = json.dumps(fields).encode()
            named["Content-Type"] = "application/json"
        return exchange(self.server.api, method, path, body, self.headers(**named))

    def upload(self, name, config, tensors, path="/v1/adapters", **more):
        """An adapter package; both files as bytes, and further parts."""
        pieces, content_type = multipart_pieces(name=name, adapter_config=config,
                                                adapter_model=tensors, **more)
        return exchange(self.server.api, "POST", path, pieces,
                        self.headers(**{"Content-Type": content_type,
                                        "Content-Length": str(sum(map(len, pieces)))}))

    def chat(self, model, prompt, **fields):
        return self.post("/v1/chat/completions", chat_fields(model, prompt, **fields))

    def say(self, model, prompt, **fields):
        """The text of a greedy answer."""
        answer = self.chat(model, prompt, temperature=0, **fields).expect(200)
        return answer.json["choices"][0]["message"]["content"]

    def stream(self, path, fields):
        return Stream(self, path, fields | {"stream": True})

    def chat_stream(self, model, prompt, **fields):
        return self.stream("/v1/chat/completions", chat_fields(model, prompt, **fields))


def chat_fields(model, prompt, **fields):
    return {"model": model, "messages": [{"role": "user", "content": prompt}]} | fields


FILE_NAMES = {"adapter_config": "adapter_config.json",
              "adapter_model": "adapter_model.safetensors"}


def multipart(**parts):
    """A multipart/form-data body and its content type; values are text or bytes."""
    pieces, content_type = multipart_pieces(**parts)
    return b"".join(pieces), content_type


def multipart_pieces(**parts):
    """The same in pieces, the large ones not copied, as a client sends files."""
    boundary = uuid.uuid4().hex
    pieces = []
    for name, value in parts.items():
        file = f'; filename="{FILE_NAMES[name]}"' if name in FILE_NAMES else ""
        kind = "\r\nContent-Type: application/octet-stream" if file else ""
        pieces += [(f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}{kind}'
                    "\r\n\r\n").encode(),
                   value.encode() if isinstance(value, str) else value, b"\r\n"]
    pieces.append(f"--{boundary}--\r\n".encode())
    return pieces, f"multipart/form-data; boundary={boundary}"


class Stream:
    """An answer that arrives in pieces; iterating gives each event's JSON, without [DONE]."""

    def __init__(self, client, path, fields):
        self.connection = http.client.HTTPConnection(*client.server.api, timeout=ANSWER_SECONDS)
        self.connection.request("POST", path, json.dumps(fields).encode(),
                                client.headers(**{"Content-Type": "application/json"}))
        self.response = self.connection.getresponse()
        self.status = self.response.status
        self.headers = {name.lower(): value for name, value in self.response.getheaders()}
        self.path = path
        self.raw = b""  # all bytes of the body so far, without the chunked coding
        self.done = False

    def __iter__(self):
        while not self.done and (line := self.response.readline()):
            self.raw += line
            if line.startswith(b"data: "):
                data = line.removeprefix(b"data: ").strip()
                if data == b"[DONE]":
                    self.done = True
                else:
                    event = json.loads(data)
                    document().check_event("POST", self.path, event)
                    yield event

    def text(self):
        """Everything that is said until the end."""
        return "".join(choice["delta"].get("content") or "" for event in self
                       for choice in event["choices"])

    def rest(self):
        """The bytes after the last event that was iterated, up to the end of the answer."""
        more = self.response.read()
        self.raw += more
        return more

    def close(self):
        """Hangs up, in the middle of the answer if need be."""
        self.response.close()
        self.connection.close()


def raw_exchange(address, data, seconds=5, end=False):
    """Everything that is answered to `data` until the server closes or falls silent; `end`: after
    `data` the sending side is closed."""
    with socket.create_connection(address, timeout=seconds) as connection:
        connection.sendall(data)
        if end:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while piece := connection.recv(65536):
                answer += piece
        except (TimeoutError, ConnectionResetError):
            pass
        return answer
