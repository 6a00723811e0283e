"""bench_server.py — what all parts of the suite do with a server: tenants, uploads, answers."""

import concurrent.futures
import contextlib
import dataclasses
import time

import bench_base
import harness

UNLIMITED = {"max_requests_per_1_minute": 1_000_000, "max_tokens_per_1_minute": 1_000_000_000,
             "max_concurrent_requests": 256, "max_adapters": 100_000,
             "max_adapter_bytes": 1 << 40}
RANK, TARGETS = 8, ("q_proj", "v_proj")  # of the small adapters of the 1B shape: 1.7 MB
LARGE_RANK = 64                          # of the large ones, on every linear: 90 MB


@contextlib.contextmanager
def served(*options, model=None):
    """A running server of the 1B shape, or of the demo if `model` is False."""
    large = model is not False
    server = harness.Server(*(str(option) for option in options), "--log-level", "error",
                            *(("--trust-model",) if large else ()),
                            model=bench_base.packed() if large else None)
    server.start()
    try:
        yield server
    finally:
        server.close()


@dataclasses.dataclass
class Version:
    name: str
    number: int
    digest: str


def upload(key, name, package):
    """The version that an upload has become."""
    answer = key.upload(name, *package).expect(200, 201, 202).json
    return Version(name, answer["version"], answer["sha256"])


def upload_many(key, names, make):
    """Uploads make() under each name, a few at a time."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda name: upload(key, name, make()), names))


def first_token(key, model, prompt):
    """(seconds to the whole answer of one token, its log-probability, headers)."""
    began = time.perf_counter()
    answer = key.chat(model, prompt, max_tokens=1, temperature=0, logprobs=True,
                      ignore_eos=True).expect(200)
    seconds = time.perf_counter() - began
    return seconds, answer.json["choices"][0]["logprobs"]["content"][0], answer.headers


def post(key, path, fields=None):
    return key.post(path, fields or {}).expect(200, 202)


def percentile(samples, percent):
    """The smallest sample that so many percent do not exceed."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, -(-len(ordered) * percent // 100) - 1)]
