"""intake_test.py — archives, the probe and acceptance checks, with validation in its own process."""

import io
import json
import tarfile
import unittest
import zipfile

import harness
import packages

FILES = ("adapter_config.json", "adapter_model.safetensors")


def tar(files, mode="w:gz"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in files:
            member = tarfile.TarInfo(f"my-adapter/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def zipped(files, compression=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return buffer.getvalue()


def as_bytes(content):
    return content.encode() if isinstance(content, str) else content


class Intake(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server().start()
        cls.addClassCleanup(cls.server.close)
        cls.tenant = cls.server.new_tenant("intake").key
        cls.config, cls.tensors = (as_bytes(part) for part in packages.package())

    def files(self, *more):
        return [*zip(FILES, (self.config, self.tensors)), *more]

    def send(self, query="", **parts):
        body, content_type = harness.multipart(**parts)
        return harness.exchange(self.server.api, "POST", f"/v1/adapters{query}", body,
                                self.tenant.headers(**{"Content-Type": content_type}))

    def test_the_same_package_in_any_form_is_the_same_version(self):
        first = self.send(name="forms", adapter_config=self.config, adapter_model=self.tensors)
        first.expect(201)
        for archive in (tar(self.files(), "w"), tar(self.files()), zipped(self.files()),
                        zipped(self.files(), zipfile.ZIP_STORED)):
            again = self.send(name="forms", archive=archive).expect(200)
            self.assertEqual(again.json["id"], first.json["id"])

    def test_the_report_tells_of_the_probe(self):
        answer = self.send("?dry_run=true", name="probed", archive=tar(self.files())).expect(200)
        probe = answer.json["probe"]
        self.assertEqual(probe["prompts"], 4)
        self.assertFalse(probe["identical_to_base"])
        self.assertFalse(probe["nan"])
        self.assertGreater(probe["max_abs_logit_delta_vs_base"], 0)
        self.tenant.get("/v1/adapters/probed").expect(404)

    def test_archives_that_are_wrong_are_refused_by_name(self):
        cases = {
            "pickle_not_accepted": tar(self.files(("training_args.bin", b"\x80\x02}q."))),
            "archive_bad_entry": zipped(self.files(("../evil", b"x"))),
            "archive_trailing_data": tar(self.files(), "w") + b"more",
            "archive_missing_file": tar(self.files()[:1]),
            "archive_too_many_entries": tar(self.files(*((f"n{i}", b"") for i in range(15)))),
            "archive_ratio_too_high": tar(self.files(("log.txt", b"a" * (8 << 20)))),
            "archive_unreadable": b"neither",
        }
        for code, archive in cases.items():
            with self.subTest(code):
                answer = self.send(name="wrong", archive=archive).expect(422)
                findings = answer.error["details"]["report"]["findings"]
                self.assertEqual([f["code"] for f in findings], [code])
        self.send(name="still-well", archive=tar(self.files())).expect(201)

    def test_a_version_that_fails_its_checks_never_serves(self):
        self.send(name="checked", archive=tar(self.files())).expect(201)
        checks = {"checks": [{"name": "says so", "prompt": "Hello", "max_tokens": 4,
                              "expect": {"contains": "never said by anyone"}}]}
        path = "/v1/adapters/checked/acceptance"
        kept = harness.exchange(self.server.api, "PUT", path, json.dumps(checks).encode(),
                                self.tenant.headers(**{"Content-Type": "application/json"}))
        self.assertEqual(kept.expect(200).json["checks"], checks["checks"])
        self.assertEqual(self.tenant.get(path).expect(200).json["checks"], checks["checks"])
        config, tensors = (as_bytes(part) for part in packages.package(seed=2))
        failed = self.send(name="checked", adapter_config=config, adapter_model=tensors).expect(422)
        report = failed.error["details"]["report"]
        self.assertEqual(report["acceptance"]["checks"][0]["passed"], False)
        version = self.tenant.get("/v1/adapters/checked/versions/2").expect(200).json
        self.assertEqual(version["status"], "failed")
        self.assertEqual(self.tenant.get("/v1/adapters/checked/versions/2/report").expect(200)
                         .json["acceptance"], report["acceptance"])
        passed = self.send(name="checked", adapter_config=config, adapter_model=tensors,
                           acceptance=json.dumps({"checks": [{"prompt": "Hello", "max_tokens": 4,
                                                              "expect": {"regex": ".*"}}]}))
        passed.expect(201)


class WithoutSandbox(unittest.TestCase):
    def test_the_server_validates_itself_if_it_is_told_to(self):
        server = harness.Server("--no-sandbox").start()
        self.addCleanup(server.close)
        tenant = server.new_tenant("alone").key
        config, tensors = packages.package()
        tenant.upload("one", config, tensors).expect(201)


if __name__ == "__main__":
    unittest.main()
