"""backup_test.py — a backup under load, its verification, and a server that goes on from it."""

import json
import pathlib
import shutil
import subprocess
import threading
import unittest

import harness


def restore(*arguments):
    return subprocess.run([harness.BINARY, "restore", *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=120, check=False, text=True)


class Backup(unittest.TestCase):
    def setUp(self):
        self.server = harness.Server().start()
        self.addCleanup(self.server.close)
        self.name = harness.demo_adapters()[0]
        self.tenant = self.server.new_tenant("kept")
        self.tenant.key.upload(self.name, *harness.demo_package(self.name)).expect(200, 201)
        self.example = harness.held_out(self.name, 1)[0]

    def backup(self):
        made = self.server.admin.post("/admin/v1/backups", {}).expect(201).json
        return made, pathlib.Path(made["path"])

    def test_a_restored_server_goes_on_from_the_instant_of_the_backup(self):
        self.tenant.key.say(self.name, self.example["prompt"], max_tokens=64)
        before = self.server.usage(project_id=self.tenant.id)
        made, path = self.backup()
        self.tenant.key.say(self.name, self.example["prompt"], max_tokens=64)
        self.server.new_tenant("made afterwards")
        self.server.close()

        other = harness.Server()
        shutil.rmtree(other.data)
        done = restore("--from", path, "--data", other.data)
        self.assertEqual(done.returncode, 0, done.stdout)
        (other.data / "admin.key").write_text((self.server.data / "admin.key").read_text())
        other.start()
        self.addCleanup(other.close)
        self.assertEqual(other.usage(project_id=self.tenant.id), before)
        names = [p["name"] for p in other.admin.get("/v1/organization/projects").json["data"]]
        self.assertEqual(names, ["kept"])
        key = harness.Client(other, self.tenant.key.key)
        self.assertEqual(key.say(self.name, self.example["prompt"], max_tokens=128),
                         self.example["expected"])
        self.assertEqual(other.verify_audit()[0], 0)
        self.assertTrue(made["usage_head"])

    def test_backups_are_made_while_requests_run(self):
        stop = threading.Event()
        failures = []

        def keep_asking():
            while not stop.is_set():
                answer = self.tenant.key.chat(self.name, "Hello!", max_tokens=8)
                if answer.status != 200:
                    failures.append(answer.status)
        threads = [threading.Thread(target=keep_asking) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            paths = [self.backup()[1] for _ in range(3)]
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertEqual(failures, [])
        for path in paths:
            done = restore("--from", path, "--verify", "--json")
            self.assertEqual(done.returncode, 0, done.stdout)
            self.assertEqual(json.loads(done.stdout)["packages"], 1)

    def test_a_damaged_backup_is_refused(self):
        _, path = self.backup()
        table = max((path / "store").glob("*.sst"), key=lambda file: file.stat().st_size,
                    default=None) or max((path / "store").glob("*.log"),
                                         key=lambda file: file.stat().st_size)
        copy = harness.scratch() / "damaged"
        shutil.copytree(path, copy)
        damaged = copy / "store" / table.name
        content = bytearray(damaged.read_bytes())
        for place in range(len(content) // 3, len(content) // 3 + 2000):
            content[place] ^= 0x55
        damaged.write_bytes(content)
        done = restore("--from", copy, "--data", harness.scratch() / "never")
        self.assertEqual(done.returncode, 1)
        self.assertIn("cannot be used", done.stdout)
        self.assertFalse((harness.scratch() / "never").exists())
        (copy / "manifest.json").unlink()
        self.assertEqual(restore("--from", copy, "--verify").returncode, 1)
        self.assertEqual(restore("--from", path, "--verify").returncode, 0)

    def test_what_is_there_is_not_overwritten(self):
        _, path = self.backup()
        done = restore("--from", path, "--data", self.server.data)
        self.assertEqual(done.returncode, 1)
        self.assertIn("not empty", done.stdout)

    def test_backups_are_listed_and_deleted_by_admins_alone(self):
        made, path = self.backup()
        listed = self.server.admin.get("/admin/v1/backups").expect(200).json["data"]
        self.assertEqual([one["id"] for one in listed], [made["id"]])
        self.tenant.key.get("/admin/v1/backups").expect(403)
        self.tenant.key.post("/admin/v1/backups", {}).expect(403)
        self.server.admin.delete("/admin/v1/backups/..%2F..").expect(404)
        self.server.admin.delete(f"/admin/v1/backups/{made['id']}").expect(200)
        self.assertFalse(path.exists())
        self.server.admin.delete(f"/admin/v1/backups/{made['id']}").expect(404)


if __name__ == "__main__":
    unittest.main()
