"""openapi_test.py — the OpenAPI document: who may read it, and that answers are held to it.

Every answer that the harness reads is checked against the document (described.py); here is shown
that such a check can fail, and that it is made.
"""

import dataclasses
import json
import unittest

import described
import harness


class OpenApi(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server().start()
        cls.addClassCleanup(cls.server.close)
        cls.tenant = cls.server.new_tenant("reader")

    def test_every_key_may_read_it_and_nobody_else(self):
        for client in (self.server.admin, self.tenant.key):
            self.assertEqual(client.get("/openapi.json").expect(200).json,
                             harness.document().document)
        harness.exchange(self.server.api, "GET", "/openapi.json").expect(401)

    def test_it_describes_what_the_binary_routes(self):
        listed = self.server.admin.get("/openapi.json").json["paths"]
        self.assertIn("post", listed["/v1/chat/completions"])
        self.assertIn("get", listed["/v1/organization/projects/{project}"])
        self.assertIn("get", listed["/readyz"])
        for path, operations in listed.items():
            for method, operation in operations.items():
                self.assertTrue(operation["summary"], (method, path))


@unittest.skipIf(described.jsonschema is None, "the jsonschema package is not installed: answers "
                 "are not held to the OpenAPI document")
class Answers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server().start()
        cls.addClassCleanup(cls.server.close)
        cls.tenant = cls.server.new_tenant("reader")

    def test_the_document_is_a_schema(self):
        for schema in harness.document().document["components"]["schemas"].values():
            described.jsonschema.Draft202012Validator.check_schema(schema)

    def test_the_harness_checks_what_it_reads(self):
        before = harness.document().checked
        self.tenant.key.get("/v1/models").expect(200)
        self.assertEqual(harness.document().checked, before + 1)
        list(self.tenant.key.chat_stream(harness.BASE, "Hello", max_tokens=3))
        self.assertGreater(harness.document().checked, before + 3)

    def test_what_is_not_described_is_refused(self):
        good = self.tenant.key.get("/v1/tenant").expect(200)
        check = harness.document().check
        check("GET", "/v1/tenant", good)
        check("GET", f"/t/{self.tenant.name}/v1/tenant", good)
        wrong = {
            "a member more": good.json | {"secret": 1},
            "a member less": {k: v for k, v in good.json.items() if k != "slug"},
            "another type": good.json | {"created_at": "today"},
        }
        for what, body in wrong.items():
            bad = dataclasses.replace(good, body=json.dumps(body).encode())
            with self.subTest(what), self.assertRaises(described.Undescribed):
                check("GET", "/v1/tenant", bad)
        for change in ({"status": 206}, {"status": 500}, {"headers": {"content-type": "text/html"}},
                       {"body": b"<html>"}):
            with self.subTest(str(change)), self.assertRaises(described.Undescribed):
                check("GET", "/v1/tenant", dataclasses.replace(good, **change))


if __name__ == "__main__":
    unittest.main()
