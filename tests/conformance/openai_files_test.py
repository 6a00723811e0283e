"""openai_files_test.py — the unmodified `openai` client puts files aside, whole and in parts, makes
an adapter of one, and looks after its models. What it returns is typed by the client; what it
raises is what its users catch.
"""

import hashlib
import io
import pathlib
import tarfile
import tempfile
import unittest

import harness

try:
    import openai
except ImportError:
    openai = None


def package(name):
    """One of the demo's adapters as a .tar.gz."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for file, content in zip(("adapter_config.json", "adapter_model.safetensors"),
                                 harness.demo_package(name)):
            entry = tarfile.TarInfo(file)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


@unittest.skipIf(openai is None, "the openai package is not installed")
class OpenAiFiles(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server().start()
        cls.addClassCleanup(cls.server.close)

    def setUp(self):
        self.owner = self.server.new_tenant(self._testMethodName)
        self.client = self.client_of(self.owner)

    def client_of(self, tenant):
        host, port = self.server.api
        client = openai.OpenAI(api_key=tenant.key.key, base_url=f"http://{host}:{port}/v1",
                               max_retries=0)
        self.addCleanup(client.close)
        return client

    def test_creates_lists_reads_and_deletes_a_file(self):
        content = bytes(range(256)) * 5000
        made = self.client.files.create(file=("a.bin", content), purpose="user_data")
        self.assertTrue(made.id.startswith("file-"))
        self.assertEqual((made.object, made.filename, made.bytes, made.purpose, made.status),
                         ("file", "a.bin", len(content), "user_data", "processed"))
        self.assertIsNone(made.expires_at)
        self.assertEqual([file.id for file in self.client.files.list()], [made.id])
        self.assertEqual([file.id for file in self.client.files.list(purpose="fine-tune")], [])
        self.assertEqual(self.client.files.retrieve(made.id), made)
        self.assertEqual(self.client.files.wait_for_processing(made.id).id, made.id)
        self.assertEqual(self.client.files.content(made.id).read(), content)
        gone = self.client.files.delete(made.id)
        self.assertEqual((gone.id, gone.object, gone.deleted), (made.id, "file", True))
        with self.assertRaises(openai.NotFoundError):
            self.client.files.retrieve(made.id)

    def test_lists_page_by_page(self):
        made = [self.client.files.create(file=(f"{i}.txt", b"x"), purpose="user_data").id
                for i in range(7)]
        self.assertEqual(sorted(file.id for file in self.client.files.list(limit=2)), sorted(made))

    def test_a_file_may_expire(self):
        made = self.client.files.create(file=("a", b"x"), purpose="fine-tune",
                                        expires_after={"anchor": "created_at", "seconds": 3600})
        self.assertEqual(made.expires_at - made.created_at, 3600)
        with self.assertRaises(openai.BadRequestError) as caught:
            self.client.files.create(file=("a", b"x"), purpose="fine-tune",
                                     expires_after={"anchor": "created_at", "seconds": 1})
        self.assertEqual(caught.exception.param, "expires_after.seconds")

    def test_other_purposes_are_refused(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.client.files.create(file=("a", b"x"), purpose="vision")
        self.assertEqual(caught.exception.param, "purpose")

    def test_uploads_a_file_in_parts_and_serves_it(self):
        name = harness.demo_adapters()[0]
        archive = package(name)
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / f"{name}.tar.gz"
            path.write_bytes(archive)
            upload = self.client.uploads.upload_file_chunked(
                file=path, mime_type="application/gzip", purpose="fine-tune",
                part_size=len(archive) // 5 + 1, md5=hashlib.md5(archive).hexdigest())
        self.assertEqual((upload.status, upload.object, upload.bytes),
                         ("completed", "upload", len(archive)))
        self.assertEqual(upload.file.filename, f"{name}.tar.gz")
        self.assertEqual(self.client.files.content(upload.file.id).read(), archive)

        made = self.owner.key.post("/v1/adapters", {"name": name, "file_id": upload.file.id})
        self.assertEqual(made.expect(201).json["version"], 1)
        self.assertEqual({model.id for model in self.client.models.list()}, {harness.BASE, name})
        self.assertEqual(self.client.models.retrieve(name).object, "model")
        example = harness.held_out(name, 1)[0]
        answer = self.client.chat.completions.create(
            model=name, temperature=0, max_tokens=128,
            messages=[{"role": "user", "content": example["prompt"]}])
        self.assertEqual(answer.choices[0].message.content, example["expected"])
        gone = self.client.models.delete(name)
        self.assertEqual((gone.id, gone.object, gone.deleted), (name, "model", True))
        with self.assertRaises(openai.NotFoundError):
            self.client.models.retrieve(name)

    def test_parts_come_in_any_order_and_survive_a_restart(self):
        upload = self.client.uploads.create(bytes=9, filename="a.bin", mime_type="text/plain",
                                            purpose="user_data")
        self.assertEqual((upload.status, upload.expires_at - upload.created_at), ("pending", 3600))
        last, first = (self.client.uploads.parts.create(upload.id, data=data)
                       for data in (b"ghi", b"abc"))
        self.assertEqual((last.object, last.upload_id), ("upload.part", upload.id))
        self.server.kill()
        self.server.start()
        self.client = self.client_of(self.owner_again())
        middle = self.client.uploads.parts.create(upload.id, data=b"def")
        done = self.client.uploads.complete(upload.id, part_ids=[first.id, middle.id, last.id])
        self.assertEqual(self.client.files.content(done.file.id).read(), b"abcdefghi")

    def owner_again(self):
        """The tenant's key at the server's new address."""
        self.owner.key.server = self.server
        return self.owner

    def test_what_cannot_be_completed_is_told(self):
        upload = self.client.uploads.create(bytes=6, filename="a", mime_type="text/plain",
                                            purpose="user_data")
        part = self.client.uploads.parts.create(upload.id, data=b"abc")
        for part_ids in ([part.id], [part.id, part.id], ["part_nobody"]):
            with self.assertRaises(openai.BadRequestError):
                self.client.uploads.complete(upload.id, part_ids=part_ids)
        self.assertEqual(self.client.uploads.cancel(upload.id).status, "cancelled")
        with self.assertRaises(openai.ConflictError):
            self.client.uploads.parts.create(upload.id, data=b"abc")

    def test_anothers_objects_are_as_those_that_are_not_there(self):
        stranger = self.client_of(self.server.new_tenant("stranger"))
        file = self.client.files.create(file=("a", b"x"), purpose="user_data").id
        upload = self.client.uploads.create(bytes=1, filename="a", mime_type="text/plain",
                                            purpose="user_data").id
        none = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
        calls = [(stranger.files.retrieve, file, f"file-{none}"),
                 (stranger.files.delete, file, f"file-{none}"),
                 (stranger.files.content, file, f"file-{none}"),
                 (stranger.uploads.cancel, upload, f"upload_{none}"),
                 (lambda i: stranger.uploads.complete(i, part_ids=[]), upload, f"upload_{none}"),
                 (lambda i: stranger.uploads.parts.create(i, data=b"x"), upload,
                  f"upload_{none}")]
        for call, theirs, nobodys in calls:
            bodies = []
            for name in (theirs, nobodys):
                with self.assertRaises(openai.NotFoundError) as caught:
                    call(name)
                body = caught.exception.response.json()
                body["error"]["request_id"] = body["instance"] = ""
                bodies.append(body)
            self.assertEqual(bodies[0], bodies[1])
        self.assertEqual(list(stranger.files.list()), [])


if __name__ == "__main__":
    unittest.main()
