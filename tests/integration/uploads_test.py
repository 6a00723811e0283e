"""uploads_test.py — an upload that is wrong costs its sender a clear answer, and nobody anything."""

import socket
import unittest

import harness
import packages

RSS_SLACK_BYTES = 24 << 20  # what an allocator may keep of one upload
ROUNDS = 20                 # more bytes in all than the slack, several times over
NOTE_BYTES = 160            # of an upload that was made, in the log of the store


class Uploads(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server().start()
        cls.addClassCleanup(cls.server.close)
        cls.tenant = cls.server.new_tenant("uploader").key

    def refused(self, config, tensors):
        answer = self.tenant.upload("broken", config, tensors)
        self.assertIn(answer.status, range(400, 500), answer.body[:500])
        return answer

    def finding_codes(self, answer):
        report = answer.error["details"]["report"]
        self.assertFalse(report["ok"])
        return [f["code"] for f in report["findings"] if f["severity"] == "error"]

    def test_each_malformed_package_is_refused_with_its_own_code(self):
        cases = packages.malformed()
        self.assertGreaterEqual(len(cases), 30)
        self.assertEqual(len({code for *_, code in cases}), len(cases), "a code for each")
        for what, config, tensors, code in cases:
            with self.subTest(what):
                answer = self.refused(config, tensors)
                self.assertEqual(answer.error["code"], "adapter_invalid")
                self.assertEqual(self.finding_codes(answer)[0], code)

    def test_all_faults_come_in_one_report(self):
        broken = packages.replaced(packages.FIRST_A, data=packages.with_first_value(float("nan")))
        config = packages.config(use_qalora=True, layer_replication=[[0, 1]])
        codes = self.finding_codes(self.refused(config, broken))
        self.assertLessEqual({"unsupported_qalora", "unsupported_layer_replication"}, set(codes))

    def test_malformed_packages_leave_memory_and_store_as_they_were(self):
        packed = [(config, tensors) for _, config, tensors, _ in packages.malformed()]
        nobodys = packages.added("base_model.model.model.nobody.weight", "BF16", (4096, 256))
        packed.append((packages.config(), nobodys))

        def send_all():
            for config, tensors in packed:
                self.refused(config, tensors)

        send_all()
        memory, stored = self.server.resident_bytes(), self.stored_bytes()
        logged = self.logged_bytes()
        self.assertGreater(ROUNDS * sum(len(tensors) for _, tensors in packed),
                           3 * RSS_SLACK_BYTES)
        for _ in range(ROUNDS):
            send_all()
        self.assertLess(self.server.resident_bytes() - memory, RSS_SLACK_BYTES)
        self.assertEqual(self.stored_bytes(), stored)
        self.assertLess(self.logged_bytes() - logged, NOTE_BYTES * ROUNDS * len(packed))
        self.assertEqual(self.tenant.get("/v1/adapters").expect(200).json["data"], [])

    def stored_bytes(self):
        """Tables of the store, packages and pages; what RocksDB notes of itself apart."""
        return {str(path): path.stat().st_size for path in self.server.data.rglob("*")
                if path.is_file() and path.suffix != ".log"
                and not path.name.startswith(("LOG", "MANIFEST", "OPTIONS", "CURRENT"))}

    def logged_bytes(self):
        """What is on its way into tables: an upload leaves a note that it was made."""
        return sum(path.stat().st_size for path in self.server.data.rglob("*.log"))

    def test_a_truncated_upload_is_refused_wherever_it_is_cut(self):
        config, tensors = packages.package()
        for cut in (0, 7, 8, 9, 200, len(tensors) // 2, len(tensors) - 1):
            with self.subTest(cut=cut):
                self.refused(config, tensors[:cut])

    def test_the_envelope_must_be_whole(self):
        config, tensors = packages.package()
        cases = {
            "no tensors": {"name": "x", "adapter_config": config},
            "no config": {"name": "x", "adapter_model": tensors},
            "no name": {"adapter_config": config, "adapter_model": tensors},
            "an unknown part": {"name": "x", "adapter_config": config, "adapter_model": tensors,
                                "surprise": "!"},
            "a name that is a path": {"name": "../x", "adapter_config": config,
                                      "adapter_model": tensors},
            "the base's name": {"name": harness.BASE, "adapter_config": config,
                                "adapter_model": tensors},
        }
        for what, parts in cases.items():
            with self.subTest(what):
                body, kind = harness.multipart(**parts)
                answer = harness.exchange(self.server.api, "POST", "/v1/adapters", body,
                                          self.tenant.headers(**{"Content-Type": kind}))
                self.assertIn(answer.status, (400, 409), answer.body)
                self.assertNotEqual(answer.error["code"], "adapter_invalid")

    def test_a_good_package_binds_every_tensor_and_is_deduplicated(self):
        owner = self.server.new_tenant("owner").key
        config, tensors = packages.package(seed=7)
        first = owner.upload("bot", config, tensors).expect(200, 201, 202).json
        again = owner.upload("bot", config, tensors).expect(200).json
        self.assertEqual((first["version"], first["sha256"]), (again["version"], again["sha256"]))
        self.assertEqual(first["version"], 1)
        self.assertEqual(sorted(first["target_modules"]), packages.TARGETS)
        changed = owner.upload("bot", *packages.package(seed=8)).expect(200, 201, 202).json
        self.assertEqual(changed["version"], 2)
        self.assertNotEqual(changed["sha256"], first["sha256"])

    def test_a_version_that_an_alias_points_at_is_deleted_only_by_force(self):
        owner = self.server.new_tenant("forceful").key
        for seed in (1, 2):
            owner.upload("bot", *packages.package(seed=seed)).expect(201)
        refused = owner.delete("/v1/adapters/bot/versions/2").expect(409)
        self.assertEqual(refused.headers["x-should-retry"], "false")
        owner.delete("/v1/adapters/bot/versions/2?force").expect(200)
        models = [m["id"] for m in owner.get("/v1/models").expect(200).json["data"]]
        self.assertEqual(models, [harness.BASE, "bot@1"])
        again = owner.upload("bot", *packages.package(seed=1)).expect(200).json
        self.assertEqual(again["version"], 1)
        owner.chat("bot", "Hello!", max_tokens=1).expect(200)


class BodyBudget(unittest.TestCase):
    """A server with room for 1 MiB of bodies in memory, half of it for a tenant."""

    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server("--body-bytes", "1M").start()
        cls.addClassCleanup(cls.server.close)

    def hold(self, count):
        """A connection of a new tenant that has sent `count` bytes of a body, and no end."""
        key = self.server.new_tenant("holder").key
        connection = socket.create_connection(self.server.api)
        self.addCleanup(connection.close)
        fields = {"Host": "t", "Content-Length": 500_000} | key.headers(
            **{"Content-Type": "application/json"})
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        before = self.server.metric("tessera_body_bytes")
        connection.sendall(f"POST /v1/completions HTTP/1.1\r\n{lines}\r\n".encode()
                           + b" " * count)
        harness.wait_until(
            lambda: self.server.metric("tessera_body_bytes") == before + count, what="room taken")
        return connection

    def test_over_it_is_not_now_and_uploads_need_none_of_it(self):
        asker = self.server.new_tenant("asker").key
        held = [self.hold(count) for count in (450_000, 450_000, 140_000)]
        long_question = {"model": harness.BASE, "prompt": "a" * 30_000, "max_tokens": 1}
        refused = asker.post("/v1/completions", long_question).expect(503)
        self.assertEqual(refused.error["code"], "server_is_overloaded")
        self.assertEqual(refused.headers["retry-after"], "1")
        self.assertEqual(refused.headers["x-should-retry"], "true")
        asker.upload("bot", *packages.package()).expect(201)
        for connection in held:
            connection.close()
        harness.wait_until(lambda: self.server.metric("tessera_body_bytes") == 0, what="room")
        answer = asker.post("/v1/completions", long_question)
        self.assertNotEqual(answer.status, 503)

    def test_what_never_fits_is_too_large(self):
        asker = self.server.new_tenant("large").key
        asker.post("/v1/completions", {"prompt": "a" * (1 << 19)}).expect(413)


if __name__ == "__main__":
    unittest.main()
