"""webhooks_test.py — events at a receiver's door: signed, once more after a crash, over TLS."""

import base64
import hashlib
import hmac
import http.server
import json
import os
import queue
import ssl
import threading
import unittest
from unittest import mock

import harness
import packages
import tls_test

LOCAL = ("--webhook-http", "--webhook-address", "127.0.0.0/8")


class Receiver:
    """Keeps what it gets; answers with the next of `statuses`, and 200 after those."""

    def __init__(self, statuses=(), tls=None):
        self.got = queue.Queue()
        left = list(statuses)
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = left.pop(0) if left else 200
                receiver.got.put((dict(self.headers), body, status))
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.url = "%s://127.0.0.1:%d/hook" % ("https" if tls else "http",
                                               self.server.server_address[1])

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def next(self):
        """(headers in lower case, event) of the next one that was taken."""
        while True:
            headers, body, status = self.got.get(timeout=harness.ANSWER_SECONDS)
            if status == 200:
                return {name.lower(): value for name, value in headers.items()}, body


def signature(secret, headers, body):
    key = base64.b64decode(secret.removeprefix("whsec_"))
    text = b"%s.%s.%s" % (headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(),
                          body)
    return "v1," + base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()


class Webhooks(unittest.TestCase):
    def setUp(self):
        self.server = harness.Server(*LOCAL).start()
        self.addCleanup(self.server.close)

    def receiver(self, *statuses, **how):
        receiver = Receiver(statuses, **how)
        self.addCleanup(receiver.close)
        return receiver

    def tenant(self, name):
        tenant = self.server.new_tenant(name)
        place = f"/v1/organization/projects/{tenant.id}/service_accounts"
        account = self.server.admin.get(place).expect(200).json["data"][0]["id"]
        made = self.server.admin.post(
            f"{place}/{account}/api_keys",
            {"name": "full", "scopes": ["api.adapter.write", "api.adapter.read",
                                        "api.tenant.read", "api.tenant.write"]}).expect(200).json
        tenant.key = harness.Client(self.server, made["value"], made["id"])
        return tenant

    def test_a_tenants_adapter_events_come_signed(self):
        tenant, receiver = self.tenant("hears"), self.receiver()
        made = tenant.key.post("/v1/tenant/webhooks", {"url": receiver.url}).expect(200).json
        tenant.key.upload("bot", *packages.package()).expect(200, 201, 202)
        missing = {"adapter.created", "adapter.version.created", "adapter.alias.updated"}
        while missing:  # in any order
            headers, body = receiver.next()
            event = json.loads(body)
            self.assertEqual(headers["webhook-signature"],
                             signature(made["signing_secret"], headers, body))
            self.assertEqual((event["id"], event["object"], event["project_id"]),
                             (headers["webhook-id"], "event", tenant.id))
            self.assertEqual(event["data"]["adapter"], "bot")
            missing.discard(event["type"])
        shown = tenant.key.get(f"/v1/tenant/webhooks/{made['id']}").expect(200).json
        self.assertNotIn("signing_secret", shown)
        self.assertEqual(shown["last_attempt"]["status"], 200)
        self.assertEqual(tenant.key.get("/v1/tenant/webhooks").json["data"][0]["id"], made["id"])

    def test_spend_alerts_come_to_tenant_and_platform(self):
        tenant, own, all_ = self.tenant("spends"), self.receiver(), self.receiver()
        tenant.key.post("/v1/tenant/webhooks",
                        {"url": own.url, "events": ["spend_alert.triggered"]}).expect(200)
        self.server.admin.post("/v1/organization/webhooks", {"url": all_.url}).expect(200)
        alert = self.server.admin.post(
            f"/v1/organization/projects/{tenant.id}/spend_alerts",
            {"threshold_amount": 0, "currency": "USD", "interval": "month",
             "notification_channel": {"type": "email", "recipients": []}}).expect(200).json
        events = [json.loads(receiver.next()[1]) for receiver in (own, all_)]
        self.assertEqual(events[0], events[1])
        self.assertEqual((events[0]["type"], events[0]["project_id"], events[0]["data"]["id"]),
                         ("spend_alert.triggered", tenant.id, alert["id"]))

    def test_a_spend_alert_of_the_organization_comes_to_the_platform_only(self):
        tenant, own, all_ = self.tenant("hears"), self.receiver(), self.receiver()
        tenant.key.post("/v1/tenant/webhooks", {"url": own.url}).expect(200)
        made = self.server.admin.post("/v1/organization/webhooks",
                                      {"url": all_.url}).expect(200).json
        self.addCleanup(self.server.admin.delete, f"/v1/organization/webhooks/{made['id']}")
        alert = self.server.admin.post(
            "/v1/organization/spend_alerts",
            {"threshold_amount": 0, "currency": "USD", "interval": "month",
             "notification_channel": {"type": "email", "recipients": []}}).expect(200).json
        self.addCleanup(self.server.admin.delete, f"/v1/organization/spend_alerts/{alert['id']}")
        headers, body = all_.next()
        event = json.loads(body)
        self.assertEqual(headers["webhook-signature"],
                         signature(made["signing_secret"], headers, body))
        self.assertEqual((event["type"], event["data"]["object"], event["data"]["id"]),
                         ("spend_alert.triggered", "organization.spend_alert", alert["id"]))
        self.assertIsNone(event["project_id"])
        self.assertTrue(own.got.empty())

    def test_an_event_outlives_the_server(self):
        tenant, receiver = self.tenant("crashes"), self.receiver(503)
        made = tenant.key.post("/v1/tenant/webhooks", {"url": receiver.url}).expect(200).json
        place = f"/v1/tenant/webhooks/{made['id']}"
        event = tenant.key.post(f"{place}/test", {}).expect(202).json["event"]
        refused, _, status = receiver.got.get(timeout=harness.ANSWER_SECONDS)
        self.assertEqual(status, 503)
        self.server.kill()
        self.server.start()
        headers, _ = receiver.next()
        self.assertEqual(headers["webhook-id"], event)
        self.assertEqual(refused["webhook-id"], event)
        harness.wait_until(lambda: tenant.key.get(place).json["events_waiting"] == 0,
                           what="an empty queue")

    def test_rotation_overlaps_and_deletion_ends_it(self):
        tenant, receiver = self.tenant("rotates"), self.receiver()
        made = tenant.key.post("/v1/tenant/webhooks", {"url": receiver.url}).expect(200).json
        place = f"/v1/tenant/webhooks/{made['id']}"
        new = tenant.key.post(f"{place}/rotate", {"grace_seconds": 600}).expect(200).json
        tenant.key.post(f"{place}/test", {}).expect(202)
        headers, body = receiver.next()
        self.assertEqual(headers["webhook-signature"].split(" "),
                         [signature(secret["signing_secret"], headers, body)
                          for secret in (new, made)])
        tenant.key.delete(place).expect(200)
        tenant.key.get(place).expect(404)
        tenant.key.post(f"{place}/test", {}).expect(404)
        log = self.server.admin.get("/v1/organization/audit_logs?project_ids[]=" + tenant.id)
        types = {entry["type"] for entry in log.expect(200).json["data"]}
        self.assertLessEqual({"webhook.created", "webhook.rotated", "webhook.deleted"}, types)

    def test_what_cannot_be_a_webhook_is_refused(self):
        tenant = self.tenant("refused")
        for fields in ({"url": "ftp://example.com/"}, {"url": "https://a@example.com/"}, {},
                       {"url": "https://example.com/", "events": ["adapter.eaten"]},
                       {"url": "https://example.com/", "secret": "mine"}):
            tenant.key.post("/v1/tenant/webhooks", fields).expect(400)

    def test_over_tls_the_certificate_has_to_be_right(self):
        directory = harness.scratch() / self.id()
        directory.mkdir()
        tls = tls_test.make_certificate(directory, "receiver")
        receiver = self.receiver(tls=tls)
        with mock.patch.dict(os.environ, {"SSL_CERT_FILE": str(tls[0])}):
            trusting = harness.Server("--webhook-address", "127.0.0.1").start()
        self.addCleanup(trusting.close)
        made = trusting.admin.post("/v1/organization/webhooks", {"url": receiver.url}).expect(200)
        trusting.admin.post(f"/v1/organization/webhooks/{made.json['id']}/test", {}).expect(202)
        receiver.next()
        made = self.server.admin.post("/v1/organization/webhooks", {"url": receiver.url}).json
        place = f"/v1/organization/webhooks/{made['id']}"
        self.server.admin.post(f"{place}/test", {}).expect(202)
        last = harness.wait_until(lambda: self.server.admin.get(place).json["last_attempt"],
                                  what="an attempt")
        self.assertIn("TLS", last["error"])


class Egress(unittest.TestCase):
    def test_as_it_comes_the_server_connects_to_no_address_of_its_own_network(self):
        server = harness.Server().start()
        self.addCleanup(server.close)
        receiver = Receiver()
        self.addCleanup(receiver.close)
        server.admin.post("/v1/organization/webhooks", {"url": receiver.url}).expect(400)
        for host in ("127.0.0.1", "localhost", "[::1]", "169.254.169.254", "10.0.0.1", "0.0.0.0",
                     "[::ffff:127.0.0.1]"):
            made = server.admin.post("/v1/organization/webhooks",
                                     {"url": f"https://{host}/"}).expect(200).json
            place = f"/v1/organization/webhooks/{made['id']}"
            server.admin.post(f"{place}/test", {}).expect(202)
            last = harness.wait_until(lambda: server.admin.get(place).json["last_attempt"],
                                      what="an attempt")
            self.assertEqual((last["status"], last["error"]),
                             (None, "the host's address is not allowed"), host)
            server.admin.delete(place).expect(200)
        self.assertTrue(receiver.got.empty())


if __name__ == "__main__":
    unittest.main()
