"""aliases_test.py — where names point: compare-and-swap, splits, rollback, others' names."""

import collections
import json
import math
import struct
import unittest

import harness
import packages

VERSIONS = 3


def watermark(number):
    """A package whose answers name it: its weights are large enough to decide every token."""
    made = packages.tensors(1000 * number)
    loud = {name: (dtype, shape, louder(data)) for name, (dtype, shape, data) in made.items()}
    return packages.config(lora_alpha=64), packages.file_of(loud)


def louder(data):
    count = len(data) // 4
    return struct.pack(f"<{count}f", *(60 * value for value in struct.unpack(f"<{count}f", data)))


def ask(key, method, path, fields=None, **headers):
    body = None if fields is None else json.dumps(fields).encode()
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return harness.exchange(key.server.api, method, path, body,
                            key.headers(**{"Content-Type": "application/json"} | headers))


class Aliases(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server().start()
        cls.addClassCleanup(cls.server.close)

    def setUp(self):
        self.tenant = self.server.new_tenant("owner", max_requests_per_1_minute=1_000_000,
                                             max_tokens_per_1_minute=100_000_000)
        self.key = self.tenant.key
        for number in range(1, VERSIONS + 1):
            self.key.upload("bot", *watermark(number)).expect(201)

    def alias(self, name="prod"):
        return ask(self.key, "GET", f"/v1/adapters/bot/aliases/{name}").expect(200)

    def move(self, name, fields, **headers):
        return ask(self.key, "POST", f"/v1/adapters/bot/aliases/{name}", fields, **headers)

    def serving(self, model="bot", **fields):
        answer = self.key.chat(model, "Hello!", max_tokens=1, temperature=0, **fields).expect(200)
        self.assertEqual(answer.json["model"], answer.headers["x-adapter-version"])
        return answer.headers["x-adapter-version"]

    def test_an_alias_moves_by_compare_and_swap(self):
        known = self.alias()
        self.assertEqual(known.json["version"], VERSIONS)
        self.assertEqual(known.headers["etag"], known.json["etag"])
        moved = self.move("prod", {"version": 1}, If_Match=known.headers["etag"]).expect(200)
        self.assertNotEqual(moved.headers["etag"], known.headers["etag"])
        lost = self.move("prod", {"version": 2}, If_Match=known.headers["etag"])
        self.assertEqual((lost.status, lost.error["code"]), (412, "precondition_failed"))
        self.assertEqual(self.serving(), "bot@1")
        self.move("prod", {"version": 2}, If_Match=moved.headers["etag"]).expect(200)
        self.assertEqual(self.serving(), "bot@2")

    def test_an_alias_is_made_only_once_and_deleted(self):
        self.assertEqual(self.move("canary", {"version": 1}, If_Match="*").status, 412)
        self.move("canary", {"version": 1}, If_None_Match="*").expect(200)
        self.assertEqual(self.move("canary", {"version": 2}, If_None_Match="*").status, 412)
        self.assertEqual(self.serving("bot:canary"), "bot@1")
        ask(self.key, "DELETE", "/v1/adapters/bot/aliases/canary").expect(200)
        self.assertEqual(self.key.chat("bot:canary", "Hello!").status, 404)
        self.assertEqual(ask(self.key, "DELETE", "/v1/adapters/bot/aliases/canary").status, 404)

    def test_targets_that_mean_nothing_are_refused(self):
        for fields, status, param in (
                ({}, 400, "version"), ({"version": 0}, 400, "version"),
                ({"version": 1, "split": []}, 400, "version"), ({"split": []}, 400, "split"),
                ({"split": [{"version": 1}]}, 400, "split[0].weight"),
                ({"split": [{"version": 1, "weight": 0}]}, 400, "split[0].weight"),
                ({"split": [{"version": 1, "weight": 1}] * 2}, 400, "split"),
                ({"version": 1, "sticky": "ip"}, 400, "sticky"),
                ({"version": 1, "weight": 5}, 400, "weight"),
                ({"version": 99}, 404, "model"), ([], 400, None)):
            with self.subTest(fields):
                answer = self.move("prod", fields)
                self.assertEqual(answer.status, status, answer.body)
                if param:
                    self.assertEqual(answer.error["param"], param)
        self.assertEqual(self.move("Prod", {"version": 1}).status, 400)
        for wrong in ("bot", '"a', '"a" "b"', ","):
            self.assertEqual(self.move("prod", {"version": 1}, If_Match=wrong).status, 400, wrong)
        self.assertEqual(self.serving(), f"bot@{VERSIONS}")

    def test_a_split_divides_users_and_each_keeps_its_version(self):
        split = {"split": [{"version": 1, "weight": 70}, {"version": 2, "weight": 30}],
                 "sticky": "user"}
        made = self.move("prod", split).expect(200).json
        self.assertEqual(made["split"], split["split"])
        users = [f"user-{i}" for i in range(150)]
        first = {user: self.serving(user=user) for user in users}
        second = {user: self.serving(safety_identifier=user) for user in users[:40]}
        self.assertEqual(second, {user: first[user] for user in users[:40]})
        counts = collections.Counter(first.values())
        bound = 5 * math.sqrt(len(users) * 0.7 * 0.3)
        self.assertLessEqual(abs(counts["bot@2"] - 0.3 * len(users)), bound, counts)
        self.assertEqual(set(counts), {"bot@1", "bot@2"})

    def test_a_split_may_be_sticky_by_session_or_not_at_all(self):
        halves = [{"version": 1, "weight": 1}, {"version": 2, "weight": 1}]
        self.move("prod", {"split": halves, "sticky": "session"}).expect(200)
        one = {self.serving(prompt_cache_key="s", user=str(i)) for i in range(16)}
        self.assertEqual(len(one), 1)
        many = {self.serving(prompt_cache_key=str(i), user="ann") for i in range(32)}
        self.assertEqual(len(many), 2)
        self.move("prod", {"split": halves, "sticky": "none"}).expect(200)
        drawn = {self.serving(prompt_cache_key="s", user="ann") for _ in range(32)}
        self.assertEqual(len(drawn), 2)

    def test_a_rollback_undoes_the_last_move(self):
        self.move("prod", {"split": [{"version": 1, "weight": 1},
                                     {"version": 2, "weight": 1}]}).expect(200)
        path = "/v1/adapters/bot/aliases/prod/rollback"
        stale = self.alias().headers["etag"]
        self.assertEqual(ask(self.key, "POST", path, If_Match=stale).expect(200).json["version"], 3)
        self.assertEqual(ask(self.key, "POST", path, If_Match=stale).status, 412)
        history = self.alias().json["history"]
        self.assertEqual([move["version"] for move in history], [2, 1])
        ask(self.key, "POST", path).expect(200)
        self.assertEqual(self.serving(), "bot@2")
        ask(self.key, "POST", path).expect(200)
        self.assertEqual(ask(self.key, "POST", path).status, 409)
        self.assertEqual(self.serving(), "bot@1")

    def test_every_form_of_a_name_means_the_same_version(self):
        digest = ask(self.key, "GET", "/v1/adapters/bot/versions/3").expect(200).json["sha256"]
        fine_tuned = f"ft:{harness.BASE}:{self.tenant.id}:bot:3"
        for model in ("bot", "bot:prod", "bot@3", fine_tuned):
            answer = self.key.chat(model, "Hello!", max_tokens=1).expect(200)
            self.assertEqual(answer.headers["x-adapter-sha256"], digest, model)
            listed = self.key.get(f"/v1/models/{model}").expect(200).json
            self.assertEqual((listed["id"], listed["root"]), (model, "bot@3"))
        self.key.delete(f"/v1/models/{fine_tuned}")  # an alias points at it: refused
        self.assertEqual(self.serving("bot@3"), "bot@3")
        self.key.delete("/v1/models/bot@1").expect(200)
        self.assertEqual(self.key.chat("bot@1", "Hello!").status, 404)

    def test_the_files_come_back_as_they_went_for_who_may_have_them(self):
        config, tensors = watermark(2)
        files = "/v1/adapters/bot/versions/2/files/"
        self.assertEqual(self.key.get(files + "adapter_config.json").status, 403)
        project = self.tenant.id
        account = self.server.admin.post(
            f"/v1/organization/projects/{project}/service_accounts", {"name": "backup"}).json["id"]
        made = self.server.admin.post(
            f"/v1/organization/projects/{project}/service_accounts/{account}/api_keys",
            {"name": "backup", "scopes": ["api.adapter.download"]}).expect(200).json
        backup = harness.Client(self.server, made["value"])
        for name, content in (("adapter_config.json", config),
                              ("adapter_model.safetensors", tensors)):
            answer = backup.get(files + name).expect(200)
            self.assertEqual(answer.body, content)
            self.assertTrue(answer.headers["content-digest"].startswith("sha-256=:"))
        self.assertEqual(backup.get(files + "secrets.json").status, 404)
        self.assertEqual(backup.get("/v1/adapters/bot").status, 403)

    def test_labels_change_one_by_one(self):
        etag = ask(self.key, "GET", "/v1/adapters/bot").expect(200).headers["etag"]
        changed = ask(self.key, "PATCH", "/v1/adapters/bot",
                      {"labels": {"team": "red", "cost": "7"}}, If_Match=etag).expect(200)
        self.assertEqual(changed.json["labels"], {"cost": "7", "team": "red"})
        self.assertEqual(ask(self.key, "PATCH", "/v1/adapters/bot", {"labels": {"a": "b"}},
                             If_Match=etag).status, 412)
        again = ask(self.key, "PATCH", "/v1/adapters/bot", {"labels": {"cost": None}}).expect(200)
        self.assertEqual(again.json["labels"], {"team": "red"})
        for wrong in ({}, {"labels": 5}, {"labels": {"a": 5}}, {"labels": {}, "name": "x"}):
            self.assertEqual(ask(self.key, "PATCH", "/v1/adapters/bot", wrong).status, 400)

    def test_anothers_adapter_is_answered_like_one_that_is_not_there(self):
        other = self.server.new_tenant("other").key
        for method, path, fields in (
                ("GET", "/v1/adapters/NAME", None), ("GET", "/v1/adapters/NAME/versions", None),
                ("GET", "/v1/adapters/NAME/versions/1", None),
                ("GET", "/v1/adapters/NAME/versions/1/report", None),
                ("GET", "/v1/adapters/NAME/aliases", None),
                ("GET", "/v1/adapters/NAME/aliases/prod", None),
                ("GET", "/v1/adapters/NAME/events", None),
                ("POST", "/v1/adapters/NAME/aliases/prod", {"version": 1}),
                ("PUT", "/v1/adapters/NAME/aliases/prod", {"version": 1}),
                ("POST", "/v1/adapters/NAME/aliases/prod/rollback", None),
                ("DELETE", "/v1/adapters/NAME/aliases/prod", None),
                ("POST", "/v1/adapters/NAME/versions/1/preload", None),
                ("POST", "/v1/adapters/NAME/versions/1/pin", None),
                ("POST", "/v1/adapters/NAME/versions/1/unpin", None),
                ("POST", "/v1/adapters/NAME/versions/1/evict", None),
                ("PATCH", "/v1/adapters/NAME", {"labels": {}}),
                ("DELETE", "/v1/adapters/NAME/versions/1", None),
                ("DELETE", "/v1/adapters/NAME", None), ("DELETE", "/v1/models/NAME", None),
                ("GET", "/v1/models/NAME", None), ("GET", "/v1/models/NAME@1", None)):
            with self.subTest(f"{method} {path}"):
                theirs = ask(other, method, path.replace("NAME", "bot"), fields)
                nobodys = ask(other, method, path.replace("NAME", "tob"), fields)
                self.assertEqual(theirs.status, 404)
                self.assertEqual(without_id(theirs, "bot"), without_id(nobodys, "tob"))
        self.assertEqual(self.serving(), f"bot@{VERSIONS}")

    def test_a_version_is_preloaded_pinned_and_evicted(self):
        path = "/v1/adapters/bot/versions/1"
        ask(self.key, "POST", f"{path}/preload").expect(202)
        harness.wait_until(lambda: self.key.get(path).json["resident"]["host"], what="preloaded")
        ask(self.key, "POST", f"{path}/pin").expect(202)
        resident = ask(self.key, "POST", f"{path}/evict").expect(200).json["resident"]
        self.assertTrue(resident["pinned"] and resident["host"])
        ask(self.key, "POST", f"{path}/unpin").expect(200)
        ask(self.key, "POST", f"{path}/evict").expect(200)
        # The engine lets go of it between two steps.
        harness.wait_until(lambda: not self.key.get(path).json["resident"]["host"], what="evicted")
        self.assertEqual(self.serving("bot@1"), "bot@1")

    def test_a_stream_goes_on_when_its_version_is_deleted(self):
        whole = self.key.chat("bot@2", "Tell me more.", max_tokens=200, temperature=0, seed=1)
        stream = self.key.chat_stream("bot@2", "Tell me more.", max_tokens=200, temperature=0,
                                      seed=1)
        first = next(iter(stream))
        ask(self.key, "DELETE", "/v1/adapters/bot/versions/2").expect(200)
        self.assertEqual(self.key.chat("bot@2", "Hello!").status, 404)
        said = first["choices"][0]["delta"].get("content") or ""
        self.assertEqual(said + stream.text(), whole.json["choices"][0]["message"]["content"])
        self.assertTrue(stream.done)

    def test_an_admin_takes_a_version_out_of_service_and_puts_it_back(self):
        path = f"/v1/organization/projects/{self.tenant.id}/adapters/bot/versions/3"
        self.assertEqual(ask(self.key, "POST", f"{path}/quarantine").status, 403)
        made = ask(self.server.admin, "POST", f"{path}/quarantine").expect(200).json
        self.assertEqual(made["status"], "quarantined")
        for model in ("bot", "bot@3"):
            self.assertEqual(self.key.chat(model, "Hello!").error["code"], "version_not_ready")
        self.assertEqual(self.move("canary", {"version": 3}).status, 409)
        self.assertEqual(self.serving("bot@1"), "bot@1")
        ask(self.server.admin, "POST", f"{path}/release").expect(200)
        self.assertEqual(self.serving(), "bot@3")

    def test_changes_are_on_the_audit_log(self):
        self.move("canary", {"version": 1}).expect(200)
        ask(self.key, "POST", "/v1/adapters/bot/aliases/prod/rollback").expect(200)
        ask(self.key, "DELETE", "/v1/adapters/bot").expect(200)
        log = self.key.get("/v1/tenant/audit_logs?limit=100").expect(200).json["data"]
        types = [record["type"] for record in log]
        for event in ("adapter.created", "adapter.version.created", "adapter.alias.updated",
                      "adapter.deleted"):
            self.assertIn(event, types)


def without_id(answer, name):
    """The error but for what differs by request: its id, and the name that was asked for."""
    error = dict(answer.error)
    error.pop("request_id")
    return json.dumps(error).replace(name, "NAME")


if __name__ == "__main__":
    unittest.main()
