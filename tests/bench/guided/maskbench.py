"""maskbench — MaskBench's schemas and instances, and what an engine makes of each.

An instance is written compactly, its members in the order of the file: the text is the same for all
engines, and its tokens are the tokenizer's own. Every outcome is one of

  pass            compiled, every valid instance accepted, every invalid one refused
  valid refused   a valid instance was refused, or could not end
  invalid accepted
  refused         by the compiler, with its findings
  timeout, crash, failed (a budget ran out while generating)
"""

import json
import os
import pathlib
import random
import tarfile

import jsontext
import worker

SEED = 20260101
ARCHIVE = "json_schema/maskbench.tar.xz"
OUTCOMES = ("pass", "refused", "valid refused", "invalid accepted", "failed", "timeout", "crash")


def shared_data():
    root = pathlib.Path(__file__).resolve().parents[3]
    return pathlib.Path(os.environ.get("TESSERA_SHARED_DATA", root.parent / "shared" / "data"))


def unpack(archive, folder):
    """The archive's files under `folder`, unpacked once."""
    if not (folder / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        (folder / "complete").touch()
    return folder


def files(folder):
    """{name: path}."""
    return {path.stem: path for path in sorted(folder.glob("**/*.json"))}


def sample(everything, count):
    """The first `count` of a fixed shuffle, so that a smaller sample is part of a larger one."""
    shuffled = sorted(everything)
    random.Random(SEED).shuffle(shuffled)
    return shuffled[:count]


def read(path):
    """{"schema": text, "texts": [...], "valid": [...]} of one file."""
    case = jsontext.loads(path.read_text(encoding="utf-8"))
    tests = case["tests"]
    return dict(schema=jsontext.dumps(case["schema"]),
                texts=[jsontext.dumps(test["data"]) for test in tests],
                valid=[test["valid"] for test in tests])


def outcome(answer, valid):
    """Of the answer to a replay, whose instances have "whole", "end" and "failed"."""
    if "refused" in answer:
        return "refused"
    if any(result["failed"] for result in answer["instances"]):
        return "failed"
    accepted = [result["whole"] and result["end"] for result in answer["instances"]]
    if any(ok and not ended for ok, ended in zip(valid, accepted, strict=True)):
        return "valid refused"
    return "pass" if accepted == valid else "invalid accepted"


def read_ratchet(path):
    """{name: outcome} of a file of `outcome<TAB>name` lines."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return {name: what for what, name in (line.split("\t") for line in lines)}


def write_ratchet(path, heading, outcomes):
    lines = [f"{what}\t{name}\n" for name, what in sorted(outcomes.items())]
    path.write_text("".join(f"# {line}\n" for line in heading) + "".join(lines))


class Results:
    """Of one engine over some schemas. Times are in microseconds."""

    def __init__(self):
        self.outcomes, self.details = {}, {}
        self.compile, self.cold, self.warm = {}, {}, {}  # by name; of schemas that compiled

    def add(self, name, case, engine, seconds, **options):
        try:
            answer = engine.ask(seconds, replay=dict(schema=case["schema"], **options),
                                ids=case["ids"], warm=True)
        except worker.Gone as gone:
            self.outcomes[name] = str(gone)
            return
        self.outcomes[name] = outcome(answer, case["valid"])
        self.details[name] = answer.get("findings") or answer["instances"]
        if "refused" not in answer:
            self.compile[name] = [ns / 1000 for ns in answer["compile_ns"]]
            self.cold[name] = [ns / 1000 for ns in answer["cold_ns"]]
            self.warm[name] = [ns / 1000 for ns in answer["warm_ns"]]

    def count(self, what):
        return sum(one == what for one in self.outcomes.values())

    def disagreements(self):
        """Tokens on which mask() and accept() differ."""
        return sum(result.get("disagree", 0) for name, results in self.details.items()
                   if name in self.cold for result in results)


def flat(times, only=None):
    """All the times, in order; of the schemas `only`."""
    return sorted(time for name, some in times.items() if only is None or name in only
                  for time in some)


def quantile(ordered, share):
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def tokenized(case, tokenizer):
    """The case with its instances' ids, by a driver that has a tokenizer."""
    return dict(case, ids=tokenizer.ask(600, encode=case["texts"])["ids"])
