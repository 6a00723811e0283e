"""suite — the official JSON Schema test suite: its data generated under its schemas.

Byte by byte, so that a test says nothing about tokenizers: members in any order, integers by
value. Required tests take `format` for a note, as their specification does; those of
optional/format assert it. What the suite serves over HTTP is handed over with the schema: nothing
is ever fetched.

Of each test: right, false accept, false refusal, or refused (the schema did not compile).
"""

import collections
import urllib.parse

import jsontext
import worker

DRAFTS = ("draft2020-12", "draft2019-09", "draft7", "draft6", "draft4")
ARCHIVE = "json_schema/json-schema-test-suite.tar.xz"
SERVER = "http://localhost:1234/"
SECONDS = 20
BYTES = [chr(byte) for byte in range(256)]
VOCABULARY = dict(tokens=BYTES)


def groups(folder, draft, part="."):
    """(name, group) of each; `part` is a folder below the draft's, such as optional/format."""
    for path in sorted((folder / "json-schema-test-suite" / "tests" / draft / part).glob("*.json")):
        for group in jsontext.loads(path.read_text(encoding="utf-8")):
            where = path.stem if part == "." else f"{part}/{path.stem}"
            yield f"{draft}/{where}: {group['description']}", group


def identifiers(schema, base, found):
    """The addresses of the documents embedded in `schema`, into `found`."""
    if isinstance(schema, list):
        for item in schema:
            identifiers(item, base, found)
    if not isinstance(schema, dict):
        return
    own = schema.get("$id", schema.get("id"))
    if isinstance(own, str):
        base = urllib.parse.urljoin(base, own)
        found.add(base.partition("#")[0])
    for item in schema.values():
        identifiers(item, base, found)


def references(schema, base, found):
    if isinstance(schema, list):
        for item in schema:
            references(item, base, found)
    if not isinstance(schema, dict):
        return
    own = schema.get("$id", schema.get("id"))
    if isinstance(own, str):
        base = urllib.parse.urljoin(base, own)
    for keyword, item in schema.items():
        if keyword in ("$ref", "$dynamicRef", "$recursiveRef", "$schema") and isinstance(item, str):
            found.add(urllib.parse.urljoin(base, item).partition("#")[0])
        references(item, base, found)


def served(folder):
    """{address: document} of what the suite serves over HTTP."""
    root = folder / "json-schema-test-suite" / "remotes"
    return {SERVER + str(path.relative_to(root)): jsontext.loads(path.read_text(encoding="utf-8"))
            for path in sorted(root.glob("**/*.json"))}


def needed(schema, remotes):
    """{address: text} of the documents that `schema` refers to, and those that they refer to."""
    found, todo = {}, [("", schema)]
    while todo:
        base, document = todo.pop()
        known, wanted = set(), set()
        identifiers(document, base, known)
        references(document, base, wanted)
        for address in sorted(wanted - known - set(found)):
            if address in remotes:
                found[address] = jsontext.dumps(remotes[address])
                todo.append((address, remotes[address]))
    return found


def run_group(driver, draft, group, formats, remotes):
    """[what became of each test], the findings if it was refused."""
    tests = group["tests"]
    case = dict(schema=jsontext.dumps(group["schema"]), draft=draft, order="any", integers="value",
                whitespace="flexible", formats=formats,
                documents=needed(group["schema"], remotes))
    ids = [list(jsontext.dumps(test["data"]).encode()) for test in tests]
    try:
        answer = driver.ask(SECONDS, replay=case, ids=ids)
    except worker.Gone as gone:
        return [str(gone)] * len(tests), []
    if "refused" in answer:
        # A schema that no value satisfies is refused before generation, and rightly.
        right = all(not test["valid"] for test in tests) and is_unsatisfiable(answer)
        return ["right" if right else "refused"] * len(tests), answer["findings"]
    return [judge(test["valid"], result)
            for test, result in zip(tests, answer["instances"], strict=True)], []


def is_unsatisfiable(answer):
    return all("nothing satisfies" in finding["reason"] for finding in answer["findings"])


def judge(valid, result):
    if result["failed"]:
        return "failed"
    accepted = result["whole"] and result["end"]
    if accepted == valid:
        return "right"
    return "false accept" if accepted else "false refusal"


class Run:
    """Over one draft, or one part of it."""

    def __init__(self):
        self.counts = collections.Counter()
        self.groups = {}    # name -> outcomes of its tests, as text
        self.wrong = []     # (name, test's description, outcome, findings)

    def add(self, driver, folder, draft, part=".", formats=False, only=None):
        remotes = served(folder)
        for name, group in groups(folder, draft, part):
            if only and only not in name:
                continue
            outcomes, findings = run_group(driver, draft, group, formats, remotes)
            self.counts.update(outcomes)
            self.groups[name] = summary(outcomes)
            self.wrong += [(name, test["description"], what, findings)
                           for test, what in zip(group["tests"], outcomes) if what != "right"]

    def share_right(self):
        return self.counts["right"] / max(1, sum(self.counts.values()))


def summary(outcomes):
    """"right", or what else became of how many."""
    counts = collections.Counter(outcomes)
    return ", ".join(what if len(counts) == 1 else f"{count} {what}"
                     for what, count in sorted(counts.items()))
