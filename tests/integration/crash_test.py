"""crash_test.py — what was acknowledged is there after kill -9, and nothing else (promise P5).

A cycle: the server starts, everything that it should hold is compared with a model kept here, then
clients upload, delete, make keys and chat until the server is killed at a random moment. What a
client was told has happened must be there afterwards. What it was not told may have happened or
not, but never by half: the model takes both for possible until the next start shows which. The
ledger must hold every answer that was received, at most those asked for, and no token more than
those answers have.

Environment: TESSERA_SEED repeats a run, TESSERA_CRASHES sets the number of cycles.
"""

import collections
import http.client
import os
import random
import struct
import threading
import time
import unittest

import harness
import packages

CYCLES = int(os.environ.get("TESSERA_CRASHES", 100))
SEED = int(os.environ.get("TESSERA_SEED", random.SystemRandom().randrange(2**32)))
NAMES = ["red", "green", "blue"]
LONGEST_RUN_SECONDS = 0.6


class Package:
    """An adapter that is like no other: the good one with a number in its first weights."""

    config, good = packages.package()

    def __init__(self, number):
        data = bytearray(self.good)
        start = 8 + struct.unpack_from("<Q", data)[0]
        struct.pack_into("<f", data, start, number * 1e-6)
        self.tensors = bytes(data)


# Rates go on over a kill, and a tenant here asks for more in a minute than the default allows.
WIDE = {"max_requests_per_1_minute": 1_000_000, "max_tokens_per_1_minute": 1_000_000_000}


class World:
    """The clients' memory of one tenant."""

    def __init__(self, tenant):
        self.tenant = tenant
        self.keys = {tenant.key.key_id: tenant.key}   # acknowledged
        self.dead_keys = {}                           # acknowledged as deleted
        self.maybe_dead = {}                          # deletion asked for, no answer
        self.maybe_keys = 0                           # creations asked for, no answer
        self.adapters = collections.defaultdict(dict)  # name -> {version: sha256}
        self.maybe_uploads = []                       # names whose upload had no answer
        self.maybe_deletes = []
        self.answers = 0                              # chats that were answered
        self.maybe_answers = 0                        # chats that were not
        self.tokens = None                            # (input, output) of every chat: it is greedy


class CrashTest(unittest.TestCase):
    def setUp(self):
        print(f"TESSERA_SEED={SEED}", flush=True)
        self.random = random.Random(SEED)
        self.server = harness.Server().start()
        self.addCleanup(self.server.close)
        self.worlds = [World(self.server.new_tenant(f"tenant {i}", **WIDE)) for i in range(2)]
        self.next_package = 1
        self.faults = []  # answers that no client should get
        self.told = collections.Counter()        # acknowledged, by kind
        self.interrupted = 0                     # asked for, and the server was killed first

    def test_acknowledged_survives_kill_and_nothing_else_does(self):
        slowest_start = 0.0
        for _ in range(CYCLES):
            self.work_until_killed()
            began = time.monotonic()
            self.server.start()
            slowest_start = max(slowest_start, time.monotonic() - began)
            for world in self.worlds:
                self.check_keys(world)
                self.check_adapters(world)
                self.check_ledger(world)
        print(f"{CYCLES} kills; {sum(w.answers for w in self.worlds)} chats answered, "
              f"{sum(len(w.keys) for w in self.worlds)} keys and "
              f"{sum(len(v) for w in self.worlds for v in w.adapters.values())} adapter versions "
              f"kept; {self.interrupted} requests interrupted; slowest start "
              f"{slowest_start:.2f} s", flush=True)
        for kind in ("upload", "key", "chat"):
            self.assertGreater(self.told[kind], CYCLES // 4, f"too few of {kind}")
        self.assertGreater(self.interrupted, CYCLES // 2, "the kills hit nobody at work")

    # --- the clients

    def work_until_killed(self):
        stop = threading.Event()
        threads = [threading.Thread(target=self.repeat, args=(stop, work, world))
                   for world in self.worlds
                   for work in (self.change_adapter, self.change_key, self.chat)]
        for thread in threads:
            thread.start()
        time.sleep(self.random.uniform(0.02, LONGEST_RUN_SECONDS))
        self.server.kill()
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(self.faults, [])
        for world in self.worlds:
            self.interrupted += (world.maybe_keys + len(world.maybe_dead) + len(world.maybe_uploads)
                                 + len(world.maybe_deletes) + world.maybe_answers)

    def repeat(self, stop, work, world):
        numbers = random.Random(self.random.random())
        while not stop.is_set():
            try:
                work(world, numbers)
            except (OSError, http.client.HTTPException):
                return  # killed; `work` has noted what it had asked for
            except Exception as error:
                self.faults.append(error)
                return

    def change_adapter(self, world, numbers):
        name, key = numbers.choice(NAMES), world.tenant.key
        if numbers.random() < 0.2 and world.adapters[name]:
            world.maybe_deletes.append(name)
            key.delete(f"/v1/adapters/{name}").expect(200)
            world.maybe_deletes.remove(name)
            world.adapters[name] = {}
            return
        number, self.next_package = self.next_package, self.next_package + 1
        package = Package(number)
        world.maybe_uploads.append(name)
        made = key.upload(name, package.config, package.tensors).expect(200, 201, 202).json
        world.maybe_uploads.remove(name)
        world.adapters[name][made["version"]] = made["sha256"]
        self.told["upload"] += 1

    def change_key(self, world, numbers):
        project = world.tenant.id
        spare = [id for id in world.keys if id != world.tenant.key.key_id]
        if len(spare) > 4 or (spare and numbers.random() < 0.3):
            id = numbers.choice(spare)
            world.maybe_dead[id] = world.keys.pop(id)
            self.server.admin.delete(
                f"/v1/organization/projects/{project}/api_keys/{id}").expect(200)
            world.dead_keys[id] = world.maybe_dead.pop(id)
            return
        world.maybe_keys += 1
        made = self.server.new_key(project)
        world.maybe_keys -= 1
        world.keys[made.key_id] = made
        self.told["key"] += 1

    def chat(self, world, _):
        world.maybe_answers += 1
        usage = world.tenant.key.chat(harness.BASE, "Hello!", temperature=0,
                                      max_tokens=4).expect(200).json["usage"]
        world.maybe_answers -= 1
        world.answers += 1
        self.told["chat"] += 1
        world.tokens = (usage["prompt_tokens"], usage["completion_tokens"])

    # --- what must be there

    def check_keys(self, world):
        listed = self.server.admin.get(
            f"/v1/organization/projects/{world.tenant.id}/api_keys?limit=100").expect(200)
        ids = {key["id"] for key in listed.json["data"]}
        unknown = ids - set(world.keys) - set(world.maybe_dead)
        self.assertLessEqual(set(world.keys), ids, "an acknowledged key is gone")
        self.assertLessEqual(len(unknown), world.maybe_keys, "a key that no one asked for")
        for id, key in world.maybe_dead.items():
            (world.keys if id in ids else world.dead_keys)[id] = key
        for status, keys in ((200, world.keys), (401, world.dead_keys)):
            for key in list(keys.values())[-3:]:
                self.assertEqual(key.get("/v1/models").status, status)
        for id in unknown:  # its secret died with the answer; take it away
            self.server.admin.delete(
                f"/v1/organization/projects/{world.tenant.id}/api_keys/{id}").expect(200)
        world.maybe_dead, world.maybe_keys = {}, 0

    def check_adapters(self, world):
        found = {name: self.versions_of(world, name) for name in NAMES}
        for name in NAMES:
            told, there = world.adapters[name], found[name]
            if name in world.maybe_deletes and not there:
                told = {}
            self.assertLessEqual(told.items(), there.items(), "an acknowledged version is gone")
            self.assertLessEqual(len(there) - len(told), world.maybe_uploads.count(name),
                                 "a version that no one uploaded")
            world.adapters[name] = there
            if there:  # and it is whole: the bytes are read, checked and used
                world.tenant.key.chat(name, "Hello!", max_tokens=1).expect(200)
        listed = world.tenant.key.get("/v1/adapters").expect(200).json["data"]
        self.assertEqual({a["name"] for a in listed}, {n for n in NAMES if found[n]})
        world.maybe_uploads, world.maybe_deletes = [], []

    def versions_of(self, world, name):
        answer = world.tenant.key.get(f"/v1/adapters/{name}/versions?limit=100")
        if answer.expect(200, 404).status == 404:
            return {}
        return {v["version"]: v["sha256"] for v in answer.json["data"]}

    def check_ledger(self, world):
        billed = [u for u in self.server.usage(project_id=world.tenant.id)
                  if u["model"] == harness.BASE]
        count = sum(u["num_model_requests"] for u in billed)
        self.assertGreaterEqual(count, world.answers, "an answer that is not on the bill")
        self.assertLessEqual(count, world.answers + world.maybe_answers, "a bill for no answer")
        for index, field in enumerate(("input_tokens", "output_tokens")):
            if world.tokens:
                self.assertEqual(sum(u[field] for u in billed), count * world.tokens[index])
        world.answers, world.maybe_answers = count, 0


if __name__ == "__main__":
    unittest.main()
