"""registry_crash_test.py — names, versions and aliases after kill -9: all of a change or nothing.

One client a tenant uploads, flips, splits, rolls back and deletes, one change after the other, and
keeps a model of what it was told. When the server is killed in the middle of a change, both states
are possible, the one before it and the one after; the next start has to show one of them, exactly.
An upload that was answered "validating" ends as ready or failed, whatever happened in between.

Environment: TESSERA_SEED repeats a run, TESSERA_CRASHES sets the number of kills (TESSERA_LONG=1:
1,000).
"""

import collections
import copy
import http.client
import os
import random
import threading
import time
import unittest

import harness
from aliases_test import ask
from crash_test import Package

CYCLES = int(os.environ.get("TESSERA_CRASHES", 1000 if os.environ.get("TESSERA_LONG") else 25))
SEED = int(os.environ.get("TESSERA_SEED", random.SystemRandom().randrange(2**32)))
NAMES = ["red", "green"]
ALIASES = ["prod", "canary"]
HISTORY = 20
LONGEST_RUN_SECONDS = 0.5


def no_adapter():
    return {"versions": {}, "aliases": {}, "history": {}}


def move(adapter, alias, target):
    before = adapter["aliases"].get(alias)
    if before == target:
        return
    if before is not None:
        adapter["history"][alias] = ([before] + adapter["history"].get(alias, []))[:HISTORY]
    else:
        adapter["history"][alias] = []
    adapter["aliases"][alias] = target


def roll_back(adapter, alias):
    """Whether there was something to go back to."""
    for place, target in enumerate(adapter["history"].get(alias, [])):
        versions = [target["version"]] if "version" in target else [
            share["version"] for share in target["split"]]
        if all(adapter["versions"].get(version) == "ready" for version in versions):
            adapter["aliases"][alias] = target
            del adapter["history"][alias][:place + 1]
            return True
    return False


def without(adapter, version):
    """After a forced deletion of the version."""
    del adapter["versions"][version]
    for alias, target in list(adapter["aliases"].items()):
        if target.get("version") == version:
            del adapter["aliases"][alias]
            adapter["history"].pop(alias, None)
        elif any(share["version"] == version for share in target.get("split", [])):
            left = [share for share in target["split"] if share["version"] != version]
            move(adapter, alias, {"version": left[0]["version"]})


class World:
    """A tenant's adapters as its one client knows them."""

    def __init__(self, tenant, chance):
        self.key, self.random = tenant.key, chance
        self.adapters = {}    # name -> adapter
        self.possible = None  # while a change has no answer: the states that there may be
        self.told = collections.Counter()
        self.next_package = 0

    def work(self):
        name = self.random.choice(NAMES)
        adapter = self.adapters.get(name)
        ready = [n for n, s in (adapter or no_adapter())["versions"].items() if s == "ready"]
        kinds = ["upload", "upload", "wait"]
        if ready:
            kinds += ["flip", "flip", "split", "rollback", "rollback", "delete version"]
            kinds += ["delete"] if self.random.random() < 0.5 else []
        getattr(self, self.random.choice(kinds).replace(" ", "_"))(name, ready)

    def change(self, name, after, request):
        """Asks; until the answer, both states are possible. Null: the name is not there."""
        before = self.adapters.get(name)
        self.possible = (name, [before, after])
        answer = request()
        self.settle(name, after)
        return answer

    def settle(self, name, adapter):
        self.adapters.pop(name, None)
        if adapter is not None:
            self.adapters[name] = adapter
        self.possible = None

    def copy(self, name):
        return copy.deepcopy(self.adapters.get(name) or no_adapter())

    def send(self, name, path=""):
        self.next_package += 1
        package = Package(self.next_package)  # the other tenant uploads the same
        return self.key.upload(name, package.config, package.tensors, f"/v1/adapters{path}")

    def upload(self, name, _):
        self.possible = (name, self.with_one_more(name))
        made = self.send(name).expect(200, 201).json
        adapter = self.copy(name)
        adapter["versions"][made["version"]] = "ready"
        move(adapter, "prod", {"version": made["version"]})
        self.settle(name, adapter)
        self.told["upload"] += 1

    def wait(self, name, _):
        """Does not wait for the end of the validation, but asks for it."""
        self.possible = (name, self.with_one_more(name))
        made = self.send(name, "?wait=0").expect(200, 201, 202).json
        number = made["version"]
        self.possible = (name, [self.ended(name, number, status) for status in ("ready", "failed")])
        path = f"/v1/adapters/{name}/versions/{number}"
        while self.key.get(path).expect(200).json["status"] == "validating":
            time.sleep(0.002)
        self.settle(name, self.ended(name, number, "ready"))
        self.told["validation"] += 1

    def ended(self, name, number, status):
        adapter = self.copy(name)
        adapter["versions"][number] = status
        if status == "ready":
            move(adapter, "prod", {"version": number})
        return adapter

    def with_one_more(self, name):
        """Nothing came of it, or a version of a number that is not known came, or failed."""
        return [self.adapters.get(name), *(self.ended(name, None, s) for s in ("ready", "failed"))]

    def flip(self, name, ready):
        self.set_alias(name, {"version": self.random.choice(ready)}, "flip")

    def split(self, name, ready):
        shares = [{"version": v, "weight": self.random.randrange(1, 9)} for v in ready[-2:]]
        if len(shares) > 1:
            self.set_alias(name, {"split": shares, "sticky": "user"}, "split")

    def set_alias(self, name, target, kind):
        alias, after = self.random.choice(ALIASES), self.copy(name)
        move(after, alias, target)
        self.change(name, after, lambda: ask(
            self.key, "POST", f"/v1/adapters/{name}/aliases/{alias}", target).expect(200))
        self.told[kind] += 1

    def rollback(self, name, _):
        alias, after = self.random.choice(ALIASES), self.copy(name)
        path = f"/v1/adapters/{name}/aliases/{alias}/rollback"
        if not roll_back(after, alias):
            return ask(self.key, "POST", path).expect(404, 409)
        self.change(name, after, lambda: ask(self.key, "POST", path).expect(200))
        self.told["rollback"] += 1

    def delete_version(self, name, ready):
        version, after = self.random.choice(ready), self.copy(name)
        without(after, version)
        self.change(name, after, lambda: self.key.delete(
            f"/v1/adapters/{name}/versions/{version}?force").expect(200))
        self.told["delete version"] += 1

    def delete(self, name, _):
        self.change(name, None, lambda: self.key.delete(f"/v1/adapters/{name}").expect(200))
        self.told["delete"] += 1

    # --- after a start

    def found(self, name):
        answer = self.key.get(f"/v1/adapters/{name}").expect(200, 404)
        if answer.status == 404:
            return None
        versions = self.key.get(f"/v1/adapters/{name}/versions?limit=100").expect(200).json["data"]
        return {"versions": {v["version"]: v["status"] for v in versions},
                "aliases": answer.json["aliases"],
                "history": {alias: self.history(name, alias) for alias in answer.json["aliases"]}}

    def history(self, name, alias):
        """Its earlier targets. (A rollback past a target that is gone may change nothing else.)"""
        moves = self.key.get(f"/v1/adapters/{name}/aliases/{alias}").expect(200).json["history"]
        return [{k: v for k, v in move.items() if not k.startswith("moved")} for move in moves]

    def check(self, test):
        pending, states = self.possible or (None, [])
        self.possible = None
        for name in NAMES:
            found, known = self.found(name), self.adapters.get(name)
            states_of_name = states if name == pending else [known]
            match = [s for s in (with_number(s, found) for s in states_of_name) if s == found]
            test.assertTrue(match, f"{name} is {found}, not one of {states_of_name}")
            self.settle(name, match[0])
            for alias in (found or no_adapter())["aliases"]:  # and it is whole: it is loaded
                self.key.chat(f"{name}:{alias}", "Hello!", max_tokens=1).expect(200)


def with_number(adapter, found):
    """The state with the number that its one unknown version turned out to have."""
    if adapter is None or found is None or None not in adapter["versions"]:
        return adapter
    unknown = set(found["versions"]) - set(adapter["versions"])
    if len(unknown) != 1 or min(unknown) <= max([v for v in adapter["versions"] if v], default=0):
        return adapter
    number = unknown.pop()
    told = copy.deepcopy(adapter)
    told["versions"][number] = told["versions"].pop(None)
    for alias, target in told["aliases"].items():
        if target == {"version": None}:
            told["aliases"][alias] = {"version": number}
    return told


class RegistryCrash(unittest.TestCase):
    def setUp(self):
        print(f"TESSERA_SEED={SEED}", flush=True)
        self.random = random.Random(SEED)
        self.server = harness.Server().start()
        self.addCleanup(self.server.close)
        limits = {"max_requests_per_1_minute": 1_000_000_000,
                  "max_tokens_per_1_minute": 1_000_000_000, "max_adapter_bytes": 1 << 40}
        self.worlds = [World(self.server.new_tenant(f"tenant {i}", **limits),
                             random.Random(self.random.random())) for i in range(2)]
        self.faults = []

    def test_a_change_happens_whole_or_not_at_all(self):
        slowest_start, hits = 0.0, 0
        for _ in range(CYCLES):
            self.work_until_killed()
            hits += sum(world.possible is not None for world in self.worlds)
            began = time.monotonic()
            self.server.start()
            slowest_start = max(slowest_start, time.monotonic() - began)
            for world in self.worlds:
                world.check(self)
        told = sum((world.told for world in self.worlds), collections.Counter())
        print(f"{CYCLES} kills, {hits} of changes under way; told {dict(told)}; slowest start "
              f"{slowest_start:.2f} s", flush=True)
        self.assertGreater(hits, CYCLES // 2, "the kills hit nobody at work")
        self.server.terminate()
        status, report = self.server.verify_audit()
        self.assertEqual(status, 0, report)

    def work_until_killed(self):
        stop = threading.Event()
        clients = [threading.Thread(target=self.repeat, args=(stop, world))
                   for world in self.worlds]
        for client in clients:
            client.start()
        time.sleep(self.random.uniform(0.02, LONGEST_RUN_SECONDS))
        self.server.kill()
        stop.set()
        for client in clients:
            client.join()
        self.assertEqual(self.faults, [])

    def repeat(self, stop, world):
        while not stop.is_set():
            try:
                world.work()
            except (OSError, http.client.HTTPException):
                return  # killed; the world knows what it had asked for
            except Exception as error:
                self.faults.append(error)
                return


if __name__ == "__main__":
    unittest.main()
