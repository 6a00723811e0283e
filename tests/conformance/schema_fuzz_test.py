"""schema_fuzz_test.py — schemathesis over the OpenAPI document, against a real server.

Requests that the document allows and requests that it does not, for every operation, under a
tenant's key and under an admin's. No answer may be a 5xx, and each has to be one that the document
describes: its status, its media type, its headers, its schema.

Some seconds by default; TESSERA_LONG=1: ten minutes; TESSERA_SECONDS: so many for each key. The seed is
printed; TESSERA_SEED sets it.
"""

import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import unittest

import harness

SCHEMATHESIS = pathlib.Path(sys.executable).parent / "schemathesis"
IS_LONG = os.environ.get("TESSERA_LONG") == "1"
SECONDS = int(os.environ.get("TESSERA_SECONDS", 300 if IS_LONG else 20))  # for each of two keys
SEED = int(os.environ.get("TESSERA_SEED", random.randrange(2**32)))
CHECKS = ["not_a_server_error", "status_code_conformance", "content_type_conformance",
          "response_headers_conformance", "response_schema_conformance"]
ENDLESS = {"/v1/adapters/events", "/v1/adapters/{name}/events"}
TENANT_SCOPES = ["api.model.request", "api.adapter.read", "api.adapter.write",
                 "api.adapter.download", "api.tenant.read", "api.tenant.write", "api.key.write"]


@unittest.skipIf(not SCHEMATHESIS.exists(), "the schemathesis package is not installed")
class SchemaFuzz(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server().start()
        cls.addClassCleanup(cls.server.close)
        print(f"schemathesis: seed {SEED}, {SECONDS} s a key", file=sys.stderr)

    def fuzz(self, key, ids, wanted):
        """Runs schemathesis over the operations that are `wanted`; path parameters take the `ids`
        that are there, so that handlers come beyond 404."""
        document = json.loads(json.dumps(harness.document().document))
        document["paths"] = {path: operations for path, operations in document["paths"].items()
                             if wanted(path) and path not in ENDLESS}
        for operations in document["paths"].values():
            for operation in operations.values():
                for parameter in operation.get("parameters", []):
                    if parameter["in"] == "path" and parameter["name"] in ids:
                        parameter["schema"] = {"enum": ids[parameter["name"]]}
        with tempfile.TemporaryDirectory(dir=harness.scratch()) as folder:
            file = pathlib.Path(folder) / "openapi.json"
            file.write_text(json.dumps(document))
            host, port = self.server.api
            done = subprocess.run(
                [SCHEMATHESIS, "run", file, "--url", f"http://{host}:{port}",
                 "--header", f"Authorization: Bearer {key}", "--checks", ",".join(CHECKS),
                 "--phases", "coverage,fuzzing", "--max-time", str(SECONDS), "--seed", str(SEED),
                 "--continue-on-failure", "--request-timeout", "60", "--warnings", "off",
                 "--suppress-health-check", "all", "--no-color",
                 *([] if SECONDS > 20 else ["--max-examples", "5"])],
                cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                timeout=SECONDS * 2 + 240, check=False)
        self.assertEqual(done.returncode, 0, done.stdout[-20000:])
        self.assertIn("Tested:", done.stdout, "it has to have asked something")
        self.server.admin.post("/admin/v1/undrain", {}).expect(200)  # it may have drained it
        self.assertEqual(self.server.operations("/readyz").status, 200)

    def test_a_tenants_surface(self):
        tenant = self.server.new_tenant("fuzzed", max_requests_per_1_minute=1_000_000,
                                        max_tokens_per_1_minute=1_000_000_000,
                                        max_output_tokens_per_request=4)
        place = f"/v1/organization/projects/{tenant.id}/service_accounts"
        account = self.server.admin.get(place).expect(200).json["data"][0]["id"]
        made = self.server.admin.post(f"{place}/{account}/api_keys",
                                      {"name": "fuzz", "scopes": TENANT_SCOPES}).expect(200).json
        client = harness.Client(self.server, made["value"], made["id"])
        name = harness.demo_adapters()[0]
        client.upload(name, *harness.demo_package(name)).expect(200, 201)
        upload = client.post("/v1/uploads", {"filename": "a", "purpose": "user_data", "bytes": 4,
                                             "mime_type": "text/plain"}).expect(200).json["id"]
        victim = client.post("/v1/tenant/api_keys", {"name": "victim"}).expect(200).json["id"]
        self.fuzz(made["value"],
                  {"name": [name, "missing"], "version": ["1", "7"], "alias": ["prod", "canary"],
                   "model": [harness.BASE, name, f"{name}@1"], "key": [victim, "missing"],
                   "upload": [upload, "missing"]},
                  lambda path: not path.startswith(("/v1/organization", "/admin", "/livez",
                                                    "/readyz", "/metrics")))

    def test_the_admin_surface(self):
        tenant = self.server.new_tenant("administered")
        place = f"/v1/organization/projects/{tenant.id}/service_accounts"
        account = self.server.admin.get(place).expect(200).json["data"][0]["id"]
        alert = self.server.admin.post(
            f"/v1/organization/projects/{tenant.id}/spend_alerts",
            {"threshold_amount": 1, "currency": "USD", "interval": "month",
             "notification_channel": {"type": "email", "recipients": []}}).expect(200).json["id"]
        of_all = self.server.admin.post(
            "/v1/organization/spend_alerts",
            {"threshold_amount": 1, "currency": "USD", "interval": "month",
             "notification_channel": {"type": "email", "recipients": []}}).expect(200).json["id"]
        self.fuzz(self.server.admin.key,
                  {"project": [tenant.id, "missing"], "account": [account, "missing"],
                   "limit": ["rl_all", "rl_bot", "rl_"], "alert": [alert, of_all, "missing"],
                   "key": [tenant.key.key_id, "missing"]},
                  lambda path: path.startswith(("/v1/organization", "/admin")))


if __name__ == "__main__":
    unittest.main()
