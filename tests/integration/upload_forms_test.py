"""upload_forms_test.py — every way in which an adapter may arrive, and what is left if it does not.

Each form of the same package must come to the same version; whatever breaks off in the middle must
leave nothing in the staging folder.
"""

import base64
import hashlib
import io
import json
import shutil
import socket
import subprocess
import tarfile
import threading
import unittest
import zipfile

import harness
import packages

FILES = ("adapter_config.json", "adapter_model.safetensors")
RSS_SLACK_BYTES = 64 << 20
BIG_BYTES = 200 << 20
BIG_COUNT = 8
PIECE = bytes(1 << 20)


def tar(files, compression=""):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{compression}") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def zipped(files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def content_digest(content):
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


class Forms(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server().start()
        cls.addClassCleanup(cls.server.close)

    def setUp(self):
        self.owner = self.server.new_tenant(self._testMethodName).key
        self.files = dict(zip(FILES, packages.package(seed=3)))
        self.digest = self.owner.upload("bot", *self.files.values()).expect(201).json["sha256"]

    def send(self, method, path, body, kind, **more):
        headers = {"Content-Type": kind} if kind else {}
        return harness.exchange(self.server.api, method, path, body,
                                self.owner.headers(**headers, **more))

    def expect_same(self, answer):
        """The content is that of version 1, whichever form it had."""
        found = answer.expect(200).json
        self.assertEqual((found["version"], found["sha256"]), (1, self.digest))

    def archives(self):
        made = [("application/x-tar", tar(self.files)),
                ("application/gzip", tar(self.files, "gz")),
                ("application/zip", zipped(self.files))]
        if shutil.which("zstd"):
            packed = subprocess.run(["zstd", "-q", "-c"], input=tar(self.files), check=True,
                                    stdout=subprocess.PIPE).stdout
            made.append(("application/zstd", packed))
        return made

    def test_an_archive_as_the_body(self):
        for kind, archive in self.archives():
            with self.subTest(kind):
                self.expect_same(self.send("POST", "/v1/adapters/bot/versions", archive, kind))

    def test_an_archive_as_a_part(self):
        for kind, archive in self.archives():
            with self.subTest(kind):
                body, form = harness.multipart(archive=archive)
                self.expect_same(self.send("POST", "/v1/adapters/bot/versions", body, form))

    def test_an_archive_of_a_new_name(self):
        answer = self.send("POST", "/v1/adapters?name=other", tar(self.files),
                           "application/x-tar").expect(201)
        self.assertEqual(answer.json["adapter"], "other")

    def test_an_archive_is_checked_against_its_digest(self):
        archive = tar(self.files)
        path = "/v1/adapters/bot/versions"
        good = {"Content-Digest": content_digest(archive)}
        self.expect_same(self.send("POST", path, archive, "application/x-tar", **good))
        refused = self.send("POST", path, archive + bytes(512), "application/x-tar", **good)
        self.assertEqual(refused.expect(400).error["param"], "Content-Digest")

    def test_another_type_is_unsupported(self):
        refused = self.send("POST", "/v1/adapters/bot/versions", b"x", "text/plain")
        self.assertEqual(refused.expect(415).error["code"], "unsupported_media_type")

    def test_a_file_that_was_put_aside(self):
        body, form = harness.multipart(purpose="fine-tune", file=tar(self.files, "gz"))
        body = body.replace(b'name="file"', b'name="file"; filename="bot.tar.gz"')
        file = self.send("POST", "/v1/files", body, form).expect(200).json
        self.expect_same(self.owner.post("/v1/adapters/bot/versions", {"file_id": file["id"]}))
        other = self.server.new_tenant("other").key
        other.upload("bot", *packages.package(seed=4)).expect(201)
        answers = [other.post("/v1/adapters/bot/versions", {"file_id": file_id}).expect(404)
                   for file_id in (file["id"], "file-01ARZ3NDEKTSV4RRFFQ69G5FAV")]
        errors = [answer.error | {"request_id": ""} for answer in answers]
        self.assertEqual(errors[0], errors[1])

    def draft(self):
        return self.send("POST", "/v1/adapters/bot/versions/drafts", b"", None).expect(201).json

    def put(self, draft, name, content, **headers):
        return self.send("PUT", f"/v1/adapters/bot/versions/{draft['id']}/files/{name}", content,
                         "application/octet-stream", **headers)

    def test_a_draft_file_by_file(self):
        draft = self.draft()
        for name, content in self.files.items():
            digest = {"Content-Digest": content_digest(content)}
            shown = self.put(draft, name, content, **digest).expect(200).json
            self.assertEqual(shown["files"][name]["sha256"], hashlib.sha256(content).hexdigest())
        complete = f"/v1/adapters/bot/versions/{draft['id']}/complete"
        report = self.owner.post(complete + "?dry_run=true", {}).expect(200).json
        self.assertEqual(report["object"], "adapter.validation_report")
        self.expect_same(self.owner.post(complete, {}))
        self.owner.post(complete, {}).expect(404)

    def test_a_draft_refuses_what_is_not_what_was_told(self):
        draft = self.draft()
        content = self.files[FILES[0]]
        wrong = {"Content-Digest": content_digest(b"something else")}
        self.assertEqual(self.put(draft, FILES[0], content, **wrong).expect(400).error["param"],
                         "Content-Digest")
        self.put(draft, "pytorch_model.bin", content).expect(400)
        self.put(draft, "..%2Fsecret", content).expect(400)
        missing = self.owner.post(f"/v1/adapters/bot/versions/{draft['id']}/complete", {})
        self.assertEqual(missing.expect(400).error["code"], "missing_required_parameter")
        other = self.server.new_tenant("stranger").key
        other.upload("bot", *packages.package(seed=4)).expect(201)
        path = f"/v1/adapters/bot/versions/{draft['id']}/cancel"
        other.post(path, {}).expect(404)
        self.owner.post(path, {}).expect(200)
        self.owner.post(path, {}).expect(404)

    def test_a_draft_goes_on_after_a_kill(self):
        server = harness.Server().start()
        self.addCleanup(server.close)
        owner = server.new_tenant("drafts").key
        digest = owner.upload("bot", *self.files.values()).expect(201).json["sha256"]
        path = "/v1/adapters/bot/versions"
        draft = owner.post(f"{path}/drafts", {}).expect(201).json
        put = owner.headers(**{"Content-Type": "application/octet-stream"})
        for name, content in self.files.items():
            harness.exchange(server.api, "PUT", f"{path}/{draft['id']}/files/{name}", content,
                             put).expect(200)
            server.kill()
            (server.data / "drafts" / "stray").write_bytes(b"of a crash")
            server.start()
            self.assertFalse((server.data / "drafts" / "stray").exists())
        found = owner.post(f"{path}/{draft['id']}/complete", {}).expect(200).json
        self.assertEqual((found["version"], found["sha256"]), (1, digest))
        self.assertEqual(list((server.data / "drafts").iterdir()), [])
        types = [entry["type"] for entry in
                 owner.get("/v1/tenant/audit_logs?limit=100").expect(200).json["data"]]
        drafts = ["adapter.draft." + what for what in ("deleted", "updated", "updated", "created")]
        self.assertEqual([kind for kind in types if kind.startswith("adapter.draft")], drafts)
        server.terminate()
        self.assertEqual(server.verify_audit()[0], 0)

    def test_what_becomes_of_a_file_is_on_the_audit_log(self):
        body, form = harness.multipart(purpose="user_data", file=b"content")
        body = body.replace(b'name="file"', b'name="file"; filename="f"')
        file = self.send("POST", "/v1/files", body, form).expect(200).json["id"]
        self.owner.delete(f"/v1/files/{file}").expect(200)
        upload = self.owner.post("/v1/uploads", {"filename": "f", "purpose": "user_data",
                                                 "bytes": 1, "mime_type": "text/plain"})
        upload = upload.expect(200).json["id"]
        self.owner.post(f"/v1/uploads/{upload}/cancel", {}).expect(200)
        log = self.owner.get("/v1/tenant/audit_logs?limit=4").expect(200).json["data"]
        self.assertEqual([(entry["type"], entry[entry["type"]]["id"]) for entry in log],
                         [("upload.cancelled", upload), ("upload.created", upload),
                          ("file.deleted", file), ("file.created", file)])
        for entry in log:
            self.assertEqual(entry["actor"]["type"], "api_key")

    def test_a_raw_file_needs_its_length(self):
        draft = self.draft()
        head = (f"PUT /v1/adapters/bot/versions/{draft['id']}/files/{FILES[0]} HTTP/1.1\r\n"
                f"Host: t\r\nAuthorization: Bearer {self.owner.key}\r\nConnection: close\r\n"
                "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
        answer = harness.raw_exchange(self.server.api, head.encode())
        self.assertIn(b"Content-Length is needed", answer)

    def test_a_dry_run_records_nothing(self):
        good = packages.package(seed=9)
        report = self.owner.upload("new", *good, path="/v1/adapters?dry_run=true").expect(200).json
        self.assertEqual((report["object"], report["ok"]), ("adapter.validation_report", True))
        self.assertEqual([a["name"] for a in self.owner.get("/v1/adapters").json["data"]], ["bot"])
        bad = self.owner.upload("new", good[0], b"no tensors", path="/v1/adapters?dry_run=true")
        self.assertFalse(bad.expect(200).json["ok"])

    def test_who_does_not_wait_finds_the_version_later(self):
        answer = self.owner.upload("bot", *packages.package(seed=11),
                                   path="/v1/adapters/bot/versions?wait=0").expect(201, 202)
        number = answer.json["version"]
        self.assertEqual(number, 2)
        shown = harness.wait_until(
            lambda: (v := self.owner.get(f"/v1/adapters/bot/versions/{number}").json)
            and v["status"] != "validating" and v, what="validated")
        self.assertEqual(shown["status"], "ready")
        self.owner.get("/v1/adapters/bot/versions/2?wait=0").expect(200)
        self.owner.upload("bot", *packages.package(seed=12),
                          path="/v1/adapters/bot/versions?wait=61").expect(400)

    def test_metadata_and_alias_come_along(self):
        config, tensors = packages.package(seed=21)
        self.owner.upload("bot", config, tensors, path="/v1/adapters/bot/versions",
                          alias="canary", metadata=json.dumps({"run": "42"})).expect(201)
        aliases = self.owner.get("/v1/adapters/bot").expect(200).json["aliases"]
        self.assertEqual((aliases["prod"]["version"], aliases["canary"]["version"]), (1, 2))
        refused = self.owner.upload("bot", config, tensors, metadata="[1]")
        self.assertEqual(refused.expect(400).error["param"], "metadata")


class Staging(unittest.TestCase):
    """What is on its way lies in DATA/staging, within limits, and leaves nothing."""

    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server("--upload-bytes", "64M").start()
        cls.addClassCleanup(cls.server.close)

    def setUp(self):
        self.owner = self.server.new_tenant(self._testMethodName).key

    def staged(self):
        return self.server.metric("tessera_staged_bytes")

    def begin(self, path, kind, length, sent, key=None):
        """A connection that has announced a body of `length` and sent the bytes `sent`."""
        connection = socket.create_connection(self.server.api)
        self.addCleanup(connection.close)
        fields = {"Host": "t", "Content-Length": length} | (key or self.owner).headers(
            **{"Content-Type": kind})
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        connection.sendall(f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + sent)
        return connection

    def form_head(self):
        return (b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n",
                "multipart/form-data; boundary=b")

    def test_a_body_that_breaks_off_leaves_nothing(self):
        head, kind = self.form_head()
        connections = [self.begin("/v1/files", kind, 10 << 20, head + bytes(4 << 20))
                       for _ in range(3)]
        harness.wait_until(lambda: self.staged() > 9 << 20, what="staged")
        for connection in connections:
            connection.close()
        harness.wait_until(lambda: self.staged() == 0, what="gone")
        self.assertEqual(list((self.server.data / "staging").iterdir()), [])
        self.assertEqual(list((self.server.data / "files").iterdir()), [])

    def test_a_killed_server_leaves_nothing_either(self):
        server = harness.Server().start()
        self.addCleanup(server.close)
        owner = server.new_tenant("owner").key
        body, kind = harness.multipart(purpose="user_data", file=b"kept")
        body = body.replace(b'name="file"', b'name="file"; filename="f"')
        kept = harness.exchange(server.api, "POST", "/v1/files", body,
                                owner.headers(**{"Content-Type": kind})).expect(200).json
        (server.data / "files" / "stray").write_bytes(b"of a crash")
        server.kill()
        (server.data / "staging" / "left").write_bytes(b"over")
        server.start()
        self.assertEqual(list((server.data / "staging").iterdir()), [])
        self.assertEqual([p.name for p in (server.data / "files").iterdir()], [kept["id"]])
        self.assertEqual(owner.get(f"/v1/files/{kept['id']}/content").expect(200).body, b"kept")

    def test_a_full_folder_refuses_and_recovers(self):
        head, kind = self.form_head()
        for _ in range(2):
            refused = self.begin("/v1/files", kind, 40 << 20, head + bytes(33 << 20))
            answer = refused.recv(65536)
            self.assertIn(b" 503 ", answer.split(b"\r\n")[0])
            self.assertIn(b"storage_full", answer)
            refused.close()
        harness.wait_until(lambda: self.staged() == 0, what="gone")
        body, kind = harness.multipart(purpose="user_data", file=bytes(20 << 20))
        body = body.replace(b'name="file"', b'name="file"; filename="f"')
        harness.exchange(self.server.api, "POST", "/v1/files", body,
                         self.owner.headers(**{"Content-Type": kind})).expect(200)
        self.owner.chat(harness.BASE, "Hello!", max_tokens=1).expect(200)

    def test_one_tenant_cannot_take_it_all(self):
        head, kind = self.form_head()
        hog = self.server.new_tenant("hog").key
        held = self.begin("/v1/files", kind, 40 << 20, head + bytes(30 << 20), hog)
        harness.wait_until(lambda: self.staged() > 29 << 20, what="staged")
        self.owner.upload("bot", *packages.package()).expect(201)
        held.close()

    def test_a_tenants_quota_is_told(self):
        small = self.server.new_tenant("small", max_adapter_bytes=1000).key
        body, kind = harness.multipart(purpose="user_data", file=bytes(1001))
        body = body.replace(b'name="file"', b'name="file"; filename="f"')
        refused = harness.exchange(self.server.api, "POST", "/v1/files", body,
                                   small.headers(**{"Content-Type": kind}))
        self.assertEqual(refused.expect(413).error["code"], "storage_quota_exceeded")

    def test_uploads_are_held_to_the_projects_limits(self):
        tenant = self.server.new_tenant("limited", max_adapter_rank=packages.RANK - 1,
                                        max_uploads_per_1_day=3)
        refused = tenant.key.upload("bot", *packages.package()).expect(422)
        findings = refused.error["details"]["report"]["findings"]
        self.assertEqual([(f["code"], f["actual"]) for f in findings],
                         [("rank_too_large", str(packages.RANK))])
        tenant.key.get("/v1/adapters/bot").expect(404)
        self.server.set_limits(tenant.id, max_adapter_rank=packages.RANK,
                               max_concurrent_uploads=0)
        refused = tenant.key.upload("bot", *packages.package()).expect(400)
        self.assertEqual(refused.error["code"], "request_exceeds_limit")
        self.server.set_limits(tenant.id, max_concurrent_uploads=1)
        tenant.key.upload("bot", *packages.package()).expect(201)
        tenant.key.upload("bot", *packages.package()).expect(200)
        refused = tenant.key.upload("bot", *packages.package()).expect(429)
        self.assertEqual(refused.error["code"], "rate_limit_exceeded")

    def test_uploads_of_a_tenant_are_counted(self):
        head, kind = self.form_head()
        held = [self.begin("/v1/files", kind, 1 << 20, head + bytes(1000)) for _ in range(8)]
        body, form = harness.multipart(purpose="user_data", file=b"x")
        harness.wait_until(lambda: harness.exchange(
            self.server.api, "POST", "/v1/files", body,
            self.owner.headers(**{"Content-Type": form})).status == 429, what="refused")
        for connection in held:
            connection.close()
        free = self.server.new_tenant("free").key
        harness.exchange(self.server.api, "POST", "/v1/files", body,
                         free.headers(**{"Content-Type": form})).expect(400)  # has no file name


class Memory(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server().start()
        cls.addClassCleanup(cls.server.close)

    def test_eight_large_uploads_need_no_memory(self):
        owner = self.server.new_tenant("large").key
        owner.upload("bot", *packages.package()).expect(201)  # what is made once is made
        head = (b"--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nuser_data\r\n"
                b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n")
        end = b"\r\n--b--\r\n"
        length = len(head) + BIG_BYTES + len(end)

        def send():
            with socket.create_connection(self.server.api) as connection:
                fields = {"Host": "t", "Content-Length": length, "Connection": "close"}
                fields |= owner.headers(**{"Content-Type": "multipart/form-data; boundary=b"})
                lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
                connection.sendall(f"POST /v1/files HTTP/1.1\r\n{lines}\r\n".encode() + head)
                for _ in range(BIG_BYTES // len(PIECE)):
                    connection.sendall(PIECE)
                connection.sendall(end)
                answers.append(connection.recv(65536))

        answers = []
        before = highest = self.server.resident_bytes()
        threads = [threading.Thread(target=send) for _ in range(BIG_COUNT)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            highest = max(highest, self.server.resident_bytes())
            threads[0].join(0.02)
            threads = [thread for thread in threads if thread.is_alive()] or threads
        self.assertEqual([answer.split(b"\r\n")[0] for answer in answers],
                         [b"HTTP/1.1 200 OK"] * BIG_COUNT)
        self.assertLess(highest - before, RSS_SLACK_BYTES)
        print(f"  {BIG_COUNT} x {BIG_BYTES >> 20} MiB: memory rose by at most "
              f"{(highest - before) >> 20} MiB")
        for file in owner.get("/v1/files").json["data"]:
            self.assertEqual(file["bytes"], BIG_BYTES)
            owner.delete(f"/v1/files/{file['id']}").expect(200)


if __name__ == "__main__":
    unittest.main()
