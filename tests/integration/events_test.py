"""events_test.py — what happens to a tenant's adapters, heard as it happens, and nobody else's."""

import http.client
import json
import unittest

import harness
import packages
from aliases_test import ask


class Events:
    """A stream of server-sent events."""

    def __init__(self, key, path="/v1/adapters/events", last=None):
        self.connection = http.client.HTTPConnection(*key.server.api,
                                                     timeout=harness.ANSWER_SECONDS)
        more = {"Last-Event-ID": last} if last else {}
        self.connection.request("GET", path, None, key.headers(**more))
        self.response = self.connection.getresponse()
        self.status = self.response.status
        self.last = None

    def next(self):
        """The next event's data; None at the end of the stream."""
        kind = None
        while line := self.response.readline().decode():
            if line.startswith("event: "):
                kind = line.removeprefix("event: ").strip()
            elif line.startswith("id: "):
                self.last = line.removeprefix("id: ").strip()
            elif line.startswith("data: "):
                data = json.loads(line.removeprefix("data: "))
                assert data["type"] == kind, (data, kind)
                return data
        return None

    def types(self, count):
        return [self.next()["type"] for _ in range(count)]

    def close(self):
        self.response.close()
        self.connection.close()


UPLOADED = ["adapter.version.created", "adapter.alias.updated"]


class AdapterEvents(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server().start()
        cls.addClassCleanup(cls.server.close)

    def setUp(self):
        self.tenant = self.server.new_tenant("listener")
        self.key = self.tenant.key

    def upload(self, name, seed=1):
        return self.key.upload(name, *packages.package(seed)).expect(200, 201).json

    def listen(self, path="/v1/adapters/events", last=None, key=None):
        stream = Events(key or self.key, path, last)
        self.addCleanup(stream.close)
        self.assertEqual(stream.status, 200)
        return stream

    def test_uploads_moves_and_deletions_are_told_in_order(self):
        stream = self.listen()
        self.upload("bot")
        self.assertEqual(stream.types(3), ["adapter.created", *UPLOADED])
        self.upload("bot", seed=2)
        self.assertEqual(stream.next() | {"created_at": 0},
                         {"object": "adapter.event", "type": "adapter.version.created",
                          "created_at": 0, "adapter": "bot", "version": 2, "status": "ready"})
        self.assertEqual(stream.next()["target"], {"version": 2})
        ask(self.key, "POST", "/v1/adapters/bot/aliases/prod/rollback").expect(200)
        self.assertEqual(stream.next()["target"], {"version": 1})
        self.key.delete("/v1/adapters/bot/versions/2").expect(200)
        self.key.delete("/v1/adapters/bot").expect(200)
        self.assertEqual(stream.types(2), ["adapter.version.deleted", "adapter.deleted"])

    def test_a_client_that_was_cut_off_misses_nothing(self):
        stream = self.listen()
        self.upload("bot")
        stream.types(3)
        stream.close()
        self.upload("bot", seed=2)
        again = self.listen(last=stream.last)
        self.assertEqual(again.types(2), UPLOADED)
        self.upload("bot", seed=3)
        self.assertEqual(again.types(2), UPLOADED)
        stranger = self.listen(last="1-1")
        self.assertEqual(stranger.next()["type"], "adapter.events.missed")

    def test_others_adapters_and_others_tenants_are_not_heard(self):
        self.upload("bot")
        other = self.server.new_tenant("other")
        theirs = self.listen(key=other.key)
        of_bot = self.listen("/v1/adapters/bot/events")
        self.upload("tob")
        self.upload("bot", seed=2)
        self.assertEqual(of_bot.next()["version"], 2)
        other.key.upload("own", *packages.package()).expect(201)
        self.assertEqual(theirs.next()["adapter"], "own")
        self.assertEqual(Events(other.key, "/v1/adapters/bot/events").status, 404)

    def test_streams_are_limited_by_tenant_and_their_places_come_back(self):
        streams = []
        while len(streams) < 100:
            stream = Events(self.key)
            self.addCleanup(stream.close)
            if stream.status != 200:
                break
            streams.append(stream)
        self.assertEqual((stream.status, len(streams)), (429, 16))
        self.listen(key=self.server.new_tenant("other").key)
        streams[0].close()

        def there_is_room():
            again = Events(self.key)
            self.addCleanup(again.close)
            return again.status == 200
        harness.wait_until(there_is_room, what="the place of a client that left")

    def test_a_stream_ends_with_its_key_and_with_the_server(self):
        spare = self.server.new_key(self.tenant.id)
        stream = self.listen(key=spare)
        self.server.admin.delete(
            f"/v1/organization/projects/{self.tenant.id}/api_keys/{spare.key_id}").expect(200)
        self.upload("bot")  # wakes it
        self.assertIsNone(stream.next())
        server = harness.Server().start()
        self.addCleanup(server.close)
        stream = self.listen(key=server.new_tenant("t").key)
        self.assertEqual(server.terminate(), 0)
        self.assertIsNone(stream.next())


if __name__ == "__main__":
    unittest.main()
