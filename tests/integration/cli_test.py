"""cli_test.py — `tessera tenant`, `key`, `limit`, `usage` and `adapter` against a running server."""

import json
import os
import subprocess
import unittest

import harness
import packages


class CommandLine(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server().start()
        cls.addClassCleanup(cls.server.close)

    def run_tessera(self, *arguments, key=None, status=0):
        host, port = self.server.api
        environment = os.environ | {"TESSERA_URL": f"http://{host}:{port}",
                                    "TESSERA_KEY": key or self.server.admin.key}
        done = subprocess.run([harness.BINARY, *arguments], env=environment, check=False,
                              capture_output=True, text=True, timeout=harness.ANSWER_SECONDS)
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stdout if status == 0 else done.stderr

    def json_of(self, *arguments, key=None):
        return json.loads(self.run_tessera(*arguments, "--json", key=key))

    def new_tenant(self, name):
        return self.json_of("tenant", "create", name)["id"]

    def test_a_tenant_from_its_making_to_its_end(self):
        tenant = self.new_tenant("made by hand")
        self.assertIn("made-by-hand", self.run_tessera("tenant", "list"))
        self.run_tessera("tenant", "rename", tenant, "renamed")
        self.assertEqual(self.json_of("tenant", "show", tenant)["name"], "renamed")
        key = self.run_tessera("key", "create", tenant).strip()
        self.assertEqual(harness.Client(self.server, key).get("/v1/models").status, 200)
        self.run_tessera("tenant", "archive", tenant)
        self.assertEqual(harness.Client(self.server, key).get("/v1/models").status, 403)
        self.assertNotIn(tenant, self.run_tessera("tenant", "list"))
        self.assertIn(tenant, self.run_tessera("tenant", "list", "--all"))

    def test_a_tenants_weight_tier_and_labels(self):
        tenant = self.new_tenant("settled by hand")
        changed = self.json_of("tenant", "set", tenant, "weight=5", "tier=flex", "label.team=red")
        self.assertEqual((changed["weight"], changed["tier"], changed["labels"]),
                         (5, "flex", {"team": "red"}))
        self.assertIn("team=red", self.run_tessera("tenant", "show", tenant))
        self.assertEqual(self.json_of("tenant", "set", tenant, "label.team=")["labels"], {})
        for wrong in ("weight=", "weight=x", "weight=0", "tier=gold", "colour=red", "label.=x"):
            self.run_tessera("tenant", "set", tenant, wrong, status=1)

    def test_models_and_addresses_of_a_tenant(self):
        tenant = self.server.new_tenant("fenced by hand")
        ask = lambda: tenant.key.chat(harness.BASE, "Hello", max_tokens=1).status
        self.assertIn("any", self.run_tessera("tenant", "models", tenant.id))
        self.assertEqual(self.json_of("tenant", "models", tenant.id, "deny",
                                      harness.BASE)["mode"], "deny_list")
        self.assertEqual(ask(), 403)
        self.assertIn(harness.BASE, self.run_tessera("tenant", "models", tenant.id))
        self.run_tessera("tenant", "models", tenant.id, "any")
        self.assertEqual(ask(), 200)
        self.run_tessera("tenant", "models", tenant.id, "allow", status=1)
        self.run_tessera("tenant", "models", tenant.id, "prefer", "m", status=1)
        self.assertEqual(self.json_of("tenant", "addresses", tenant.id, "10.0.0.0/8",
                                      "2001:db8::/32")["allowed_ips"],
                         ["10.0.0.0/8", "2001:db8::/32"])
        self.assertEqual(ask(), 401)
        self.assertIn("any", self.run_tessera("tenant", "addresses", tenant.id, "any"))
        self.assertEqual(ask(), 200)
        self.run_tessera("tenant", "addresses", tenant.id, "everywhere", status=1)

    def test_keys(self):
        tenant = self.new_tenant("keys by hand")
        made = self.json_of("key", "create", tenant, "--name", "reader", "--scope",
                            "api.tenant.read", "--days", "2")
        self.assertEqual(made["scopes"], ["api.tenant.read"])
        listed = self.json_of("key", "list", tenant)
        self.assertEqual([key["id"] for key in listed], [made["id"]])
        rotated = self.json_of("key", "rotate", tenant, made["id"], "--grace", "0")
        old, new = (harness.Client(self.server, key["value"]).get("/v1/tenant").status
                    for key in (made, rotated))
        self.assertEqual((old, new), (401, 200))
        self.run_tessera("key", "delete", tenant, made["id"])
        self.assertEqual(self.json_of("key", "list", tenant), [])
        admin = self.json_of("key", "create", "admin", "--name", "second")
        self.assertIn(admin["id"], self.run_tessera("key", "list", "admin"))

    def test_a_key_is_disabled_enabled_and_made_lenient(self):
        tenant = self.new_tenant("switched by hand")
        made = self.json_of("key", "create", tenant, "--compat", "lenient")
        self.assertEqual(made["compat"], "lenient")
        client = harness.Client(self.server, made["value"])
        self.assertIn("disabled", self.run_tessera("key", "disable", tenant, made["id"]))
        client.get("/v1/models").expect(401)
        self.assertIn("disabled", self.run_tessera("key", "list", tenant))
        self.assertIsNone(self.json_of("key", "enable", tenant, made["id"])["disabled_at"])
        client.get("/v1/models").expect(200)
        self.assertEqual(self.json_of("key", "set", tenant, made["id"], "--compat",
                                      "strict")["compat"], "strict")

    def test_limits_of_the_whole_organization(self):
        self.run_tessera("limit", "set", "organization", "max_concurrent_requests=900")
        self.assertEqual(self.json_of("limit", "show", "organization")["max_concurrent_requests"],
                         900)
        self.assertEqual(self.json_of("limit", "spend", "organization", "700")["threshold_amount"],
                         700)
        self.assertIn("700", self.run_tessera("limit", "show", "organization"))
        self.run_tessera("limit", "spend", "organization", "none")
        self.run_tessera("limit", "set", "organization", "max_concurrent_requests=none")
        self.run_tessera("limit", "set", "organization", "--model", "m", "max_adapters=1",
                         status=1)

    def test_limits(self):
        tenant = self.new_tenant("limits by hand")
        self.run_tessera("limit", "set", tenant, "max_concurrent_requests=7")
        self.assertEqual(self.json_of("limit", "show", tenant)["max_concurrent_requests"], 7)
        message = self.run_tessera("limit", "set", tenant, "max_wishes=3", status=1)
        self.assertIn("max_wishes", message)

    def test_limits_of_a_key_and_of_a_model_and_what_may_be_spent(self):
        tenant = self.new_tenant("policies by hand")
        made = self.json_of("key", "create", tenant, "--model", "bot", "--ip", "127.0.0.0/8")
        key = made["id"]
        self.assertEqual((made["allowed_models"], made["allowed_ips"]), (["bot"], ["127.0.0.0/8"]))
        changed = self.json_of("key", "set", tenant, key, "--model", "any", "--ip", "10.0.0.0/8")
        self.assertEqual((changed["allowed_models"], changed["allowed_ips"]), ([], ["10.0.0.0/8"]))
        self.run_tessera("limit", "set", tenant, "--key", key, "max_requests_per_1_minute=5")
        self.assertEqual(self.json_of("limit", "show", tenant, "--key",
                                      key)["max_requests_per_1_minute"], 5)
        self.run_tessera("limit", "set", tenant, "--key", key, "max_requests_per_1_minute=none")
        self.assertIsNone(self.json_of("limit", "show", tenant, "--key",
                                       key)["max_requests_per_1_minute"])
        self.run_tessera("limit", "set", tenant, "--model", "bot", "max_tokens_per_1_minute=9")
        self.assertEqual(self.json_of("limit", "show", tenant, "--model",
                                      "bot")["max_tokens_per_1_minute"], 9)
        self.run_tessera("limit", "show", tenant, "--model", "other", status=1)
        self.assertEqual(self.json_of("limit", "spend", tenant, "500")["threshold_amount"], 500)
        self.assertIn("500", self.run_tessera("limit", "show", tenant))
        self.assertTrue(self.json_of("limit", "spend", tenant, "none")["deleted"])
        self.run_tessera("limit", "spend", tenant, "much", status=1)
        self.run_tessera("key", "set", tenant, key, status=1)

    def test_spend_alerts(self):
        for whose in (self.new_tenant("alerts by hand"), "organization"):
            made = self.json_of("limit", "alert", whose, "700", "a@example.com", "b@example.com")
            self.assertEqual(made["threshold_amount"], 700)
            table = self.run_tessera("limit", "alerts", whose)
            self.assertIn("a@example.com b@example.com", table)
            self.assertIn(made["id"], self.run_tessera("limit", "unalert", whose, made["id"]))
            self.assertEqual(self.json_of("limit", "alerts", whose), [])
            self.run_tessera("limit", "unalert", whose, made["id"], status=1)
            self.run_tessera("limit", "alert", whose, "none", status=1)

    def test_usage_and_costs_by_what_is_asked(self):
        tenant = self.server.new_tenant("grouped by hand")
        other = self.server.new_key(tenant.id)
        for key, count in ((tenant.key, 1), (other, 2)):
            for _ in range(count):
                key.chat(harness.BASE, "Hello", max_tokens=3, ignore_eos=True).expect(200)
        rows = self.json_of("usage", "show", tenant.id, "--group", "key")
        self.assertEqual(sorted((row["api_key_id"], row["num_model_requests"]) for row in rows),
                         sorted([(tenant.key.key_id, 1), (other.key_id, 2)]))
        [row] = self.json_of("usage", "show", tenant.id, "--group", "tier", "--group", "model")
        self.assertEqual((row["service_tier"], row["model"], row["output_tokens"]),
                         ("default", harness.BASE, 9))
        self.assertIn("TIER", self.run_tessera("usage", "show", tenant.id, "--group", "tier"))
        [row] = self.json_of("usage", "costs", tenant.id, "--group", "model")
        self.assertEqual((row["line_item"], row["usd"]), (harness.BASE, "0.00"))
        self.assertIn("USD", self.run_tessera("usage", "costs", tenant.id))
        self.run_tessera("usage", "show", "--group", "colour", status=1)

    def test_top_shows_one_interval(self):
        tenant = self.server.new_tenant("busy")
        tenant.key.chat(harness.BASE, "Hello", max_tokens=3, ignore_eos=True).expect(200)
        live = self.json_of("top", "--once", "--interval", "1")
        self.assertEqual(live["object"], "live")
        self.assertGreaterEqual(live["engine"]["generated_tokens"], 3)
        self.assertGreaterEqual(live["rates"]["generated_tokens_per_second"], 0)
        self.assertEqual([t["output_tokens"] for t in live["tenants"]
                          if t["project_id"] == tenant.id], [3])
        self.assertIn("tokens/s", self.run_tessera("top", "--once", "--interval", "1"))
        self.run_tessera("top", "--once", key=tenant.key.key, status=1)

    def test_adapters_and_usage(self):
        tenant = self.new_tenant("adapters by hand")
        key = self.run_tessera("key", "create", tenant).strip()
        name = harness.demo_adapters()[0]
        directory = harness.DEMO / "adapters" / name
        self.run_tessera("adapter", "upload", name, str(directory), key=key)
        self.assertIn(name, self.run_tessera("adapter", "list", key=key))
        self.assertEqual(self.json_of("adapter", "show", name, key=key)[0]["version"], 1)
        harness.Client(self.server, key).say(name, "hello", max_tokens=4)
        [row] = self.json_of("usage", "show", tenant)
        self.assertEqual((row["project_id"], row["num_model_requests"]), (tenant, 1))
        self.run_tessera("adapter", "delete", name, key=key)
        self.assertEqual(self.json_of("adapter", "list", key=key), [])

    def test_aliases_and_files_of_an_adapter(self):
        tenant = self.new_tenant("aliases by hand")
        key = self.run_tessera("key", "create", tenant, "--scope", "api.adapter.read", "--scope",
                               "api.adapter.write", "--scope", "api.adapter.download").strip()
        client = harness.Client(self.server, key)
        uploads = [packages.package(seed) for seed in (1, 2)]
        for config, tensors in uploads:
            client.upload("bot", config, tensors).expect(201)
        self.run_tessera("adapter", "alias", "bot", "canary", "2", key=key)
        split = self.json_of("adapter", "split", "bot", "prod", "1=95", "2=5", "session", key=key)
        self.assertEqual(split["split"][0], {"version": 1, "weight": 95})
        self.assertEqual(split["sticky"], "session")
        self.assertIn("1=95 2=5 by session", self.run_tessera("adapter", "aliases", "bot", key=key))
        self.assertEqual(self.json_of("adapter", "rollback", "bot", key=key)["version"], 2)
        self.run_tessera("adapter", "unalias", "bot", "canary", key=key)
        self.assertNotIn("canary", self.run_tessera("adapter", "aliases", "bot", key=key))
        self.assertEqual(len(self.json_of("adapter", "versions", "bot", key=key)), 2)
        directory = harness.scratch() / "downloaded"
        self.run_tessera("adapter", "download", "bot", "1", str(directory), key=key)
        self.assertEqual(((directory / "adapter_config.json").read_bytes(),
                          (directory / "adapter_model.safetensors").read_bytes()), uploads[0])
        message = self.run_tessera("adapter", "download", "bot", "9", str(directory), key=key,
                                   status=1)
        self.assertIn("404", message)
        self.assertIn("neither a version",
                      self.run_tessera("adapter", "alias", "bot", "prod", "x", key=key, status=1))

    def test_more_than_a_page_is_listed_whole(self):
        before = len(self.json_of("tenant", "list"))
        for i in range(105):
            self.server.admin.post("/v1/organization/projects", {"name": f"t{i}"}).expect(200)
        self.assertEqual(len(self.json_of("tenant", "list")), before + 105)

    def test_what_is_wrong_is_said(self):
        self.assertIn("tenant knows list", self.run_tessera("tenant", "fly", status=2))
        self.assertIn("takes NAME", self.run_tessera("tenant", "create", status=2))
        self.assertIn("no such project", self.run_tessera("tenant", "show", "proj_x", status=1))
        self.assertIn("invalid_api_key", self.run_tessera("tenant", "list", key="sk-x", status=1))
        self.assertIn("is it running",
                      self.run_tessera("tenant", "list", "--url", "http://127.0.0.1:1", status=1))
        self.assertIn("not a server's URL",
                      self.run_tessera("tenant", "list", "--url", "ftp://x", status=1))
        for command in ("tenant", "key", "limit", "usage", "top", "adapter"):
            self.assertIn("Usage:", self.run_tessera(command, "--help"))


if __name__ == "__main__":
    unittest.main()
