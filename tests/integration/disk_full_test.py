"""disk_full_test.py — a data directory that is full: writes are refused, reads and chats go on.

A small file system of its own holds the data; where none may be mounted (it takes root) the test
skips. Nothing has to be repaired by hand: with room again everything is written again, the usage of
the answers that were given meanwhile included.
"""

import errno
import os
import subprocess
import unittest

import harness

SIZE = 32 << 20  # too small for a log file to be laid out in advance


class DiskFull(unittest.TestCase):
    def setUp(self):
        self.server = harness.Server()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs",
                                  self.server.data], capture_output=True, check=False)
        if mounted.returncode != 0:
            self.skipTest("no file system can be mounted: " + mounted.stderr.decode().strip())
        self.addCleanup(subprocess.run, ["umount", "-l", self.server.data], check=False)
        self.server.start()
        self.addCleanup(self.server.close)
        self.tenant = self.server.new_tenant("full")

    def fill(self):
        with open(self.server.data / "filler", "wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError as error:
                    self.assertEqual(error.errno, errno.ENOSPC)

    def spent(self):
        return sum(group["num_model_requests"] for group in
                   self.server.usage(project_id=self.tenant.id))

    def test_writes_are_refused_and_reads_and_chats_go_on(self):
        key, admin = self.tenant.key, self.server.admin
        key.chat(harness.BASE, "Hello!", max_tokens=2).expect(200)
        self.assertEqual(self.spent(), 1)
        self.fill()
        refused = self.refused_writes(admin)
        self.assertEqual(refused.error["code"], "storage_full")
        self.assertIn("retry-after-ms", refused.headers)
        key.upload("bot", *harness.demo_package(harness.demo_adapters()[0])).expect(503)
        for _ in range(20):
            key.chat(harness.BASE, "Hello!", max_tokens=2).expect(200)
        key.get("/v1/models").expect(200)
        admin.get("/v1/organization/projects").expect(200)
        self.assertEqual(self.server.operations("/livez").status, 200)

        os.unlink(self.server.data / "filler")
        admin.post("/v1/organization/projects", {"name": "room again"}).expect(200)
        harness.wait_until(lambda: self.spent() == 21, what="the usage of all answers")
        self.server.terminate()
        status, report = self.server.verify_audit()
        self.assertEqual(status, 0, report)

    def refused_writes(self, admin):
        """The first answer that says the disk is full; what the log had room for is written."""
        for i in range(2000):
            answer = admin.post("/v1/organization/projects", {"name": f"project {i}"})
            if answer.status != 200:
                return answer.expect(503)
        raise AssertionError("nothing was refused")


if __name__ == "__main__":
    unittest.main()
