"""startup_test.py — what `tessera serve` refuses to start with, each in one clear line."""

import os
import pathlib
import shutil
import subprocess
import unittest
from unittest import mock

import harness

START_SECONDS = 60


def serve(*arguments):
    return subprocess.run([harness.BINARY, "serve", *arguments], capture_output=True, text=True,
                          timeout=START_SECONDS, stdin=subprocess.DEVNULL)


class Startup(unittest.TestCase):
    def refused(self, message, *arguments):
        ended = serve(*arguments, "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0")
        self.assertNotEqual(ended.returncode, 0)
        self.assertGreaterEqual(ended.returncode, 0, "ended by a signal")
        self.assertIn(message, ended.stderr)

    def damaged_model(self, damage):
        data = bytearray(harness.packed_demo().read_bytes())
        path = harness.scratch() / "damaged.packed"
        path.write_bytes(damage(data))
        return path

    def test_a_model_with_one_bit_of_its_weights_flipped(self):
        def flip(data):
            data[len(data) // 2] ^= 1
            return data

        self.refused("cannot be opened", "--model", self.damaged_model(flip),
                     "--data", harness.scratch() / "startup")

    def test_a_model_that_was_cut_short(self):
        self.refused("cannot be opened", "--model", self.damaged_model(lambda data: data[:-1]),
                     "--data", harness.scratch() / "startup")

    def test_a_model_that_is_not_there(self):
        self.refused("cannot be opened", "--model", harness.scratch() / "nowhere",
                     "--data", harness.scratch() / "startup")

    def test_a_model_without_a_tokenizer(self):
        source = harness.scratch() / "no-tokenizer"
        shutil.copytree(harness.DEMO / "base", source, ignore=shutil.ignore_patterns("tokenizer*"))
        packed = harness.scratch() / "no-tokenizer.packed"
        subprocess.run([harness.BINARY, "quantize", source, packed], check=True,
                       capture_output=True)
        self.refused("has no tokenizer", "--model", packed, "--data", harness.scratch() / "startup")

    @unittest.skipIf(shutil.which("nvidia-smi"), "this machine may have a GPU")
    def test_a_gpu_where_there_is_none(self):
        for option in (["--gpu"], ["--backend", "cuda"]):
            self.refused("no GPU: ", "--model", harness.packed_demo(), "--data",
                         harness.scratch() / "startup", *option)

    def test_a_data_directory_that_another_server_uses(self):
        server = harness.Server().start()
        self.addCleanup(server.close)
        self.refused(str(server.data), "--model", harness.packed_demo(), "--data", server.data)
        self.assertEqual(server.operations("/livez").status, 200)
        self.assertEqual(server.operations("/startupz").json["status"], "started")
        self.assertEqual(server.operations("/version").json["model"], harness.BASE)

    def test_it_chooses_how_its_memory_is_kept_unless_told(self):
        for told in ({}, {"GLIBC_TUNABLES": "glibc.malloc.arena_max=8"}):
            with mock.patch.dict(os.environ, told):
                server = harness.Server().start()
            self.addCleanup(server.close)
            process = pathlib.Path(f"/proc/{server.process.pid}")
            chosen = dict(line.split("=", 1) for line in
                          (process / "environ").read_text().split("\0") if line)
            self.assertEqual(chosen["GLIBC_TUNABLES"],
                             told.get("GLIBC_TUNABLES",
                                      "glibc.malloc.tcache_count=1024"))
            self.assertEqual((process / "comm").read_text().strip(),
                             pathlib.Path(harness.BINARY).name)
            self.assertEqual(server.terminate(), 0)

    def test_an_unknown_option_is_named(self):
        self.refused("--modle", "--modle", "x")
        self.refused("--log-level must be one of", "--model", "x", "--log-level", "loud")

    def test_the_log_has_no_less_than_its_level(self):
        server = harness.Server("--log-level", "warn").start()
        self.addCleanup(server.close)
        server.admin.get("/v1/organization/projects").expect(200)
        self.assertEqual(server.terminate(), 0)
        self.assertNotIn('"level":"info"', server.log.read_text())


if __name__ == "__main__":
    unittest.main()
