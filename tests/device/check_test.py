"""check goes on whatever a case comes to: with programs that crash, hang and say nothing."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest

CHECK = pathlib.Path(__file__).resolve().parent / "check"
NAMES = ("SamplerKernels.TellWhereThereIsNothingToDrawFrom", "AttentionKernels.AcrossSplits",
         "CudaBackendTest.TheResidualStreamCanBeReadAfterAnyStage")
PASSES = "echo '1 passed, 0 failed, 0 skipped'"


class Check(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def program(self, name, script):
        path = self.folder / f"{name}_emulation"
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o755)

    def check(self, **environment):
        out = self.folder / "out"
        begin = time.monotonic()
        done = subprocess.run(
            [sys.executable, str(CHECK), "--dry", "--programs", str(self.folder), "--out", str(out),
             "--only", "6,7,8,9,10,13"], capture_output=True, text=True, check=False,
            env={**os.environ, **environment}, timeout=50)
        self.seconds = time.monotonic() - begin
        self.status = done.returncode
        self.assertEqual((out / "check.txt").read_text(), done.stdout)
        whole = json.loads((out / "check.json").read_text())
        self.output = (out / "output.txt").read_text()
        return whole, {one["name"]: one["result"] for one in whole["cases"]}

    def test_what_passes_is_ok_and_recorded_with_all_that_was_said(self):
        self.program("device_tests", f'case "$1" in --list) printf "%s\\n" {" ".join(NAMES)};;'
                                     f' *) echo said by $1; {PASSES};; esac\n')
        self.program("kernel_timings",
                     """echo '{"kernel": "k", "us": 1, "bytes": 1, "flops": 0}'\n""")
        whole, results = self.check()
        self.assertEqual(self.status, 0)
        self.assertEqual(results["a first kernel"], "ok")
        self.assertEqual(results["timings"], "ok")
        self.assertIn("said by --filter==" + NAMES[1], self.output)
        self.assertEqual({one["name"] for one in whole["tests"]}, set(NAMES))
        self.assertEqual(whole["kernels"][0]["kernel"], "k")

    def test_a_crash_fails_its_own_case_alone(self):
        self.program("device_tests",
                     f'case "$1" in --list) printf "%s\\n" {" ".join(NAMES)};;'
                     f' *AcrossSplits) kill -SEGV $$;; *) {PASSES};; esac\n')
        self.program("kernel_timings", "echo nothing of use\n")
        whole, results = self.check()
        self.assertEqual(self.status, 1)
        self.assertEqual(results["a first kernel"], "ok")
        self.assertEqual(results["kernels against the reference, poisoned"], "FAILED")
        self.assertEqual(results["the backend against the reference"], "ok")
        self.assertEqual(results["timings"], "FAILED")
        failed = [one for one in whole["tests"] if one["result"] == "FAILED"]
        self.assertEqual([one["name"] for one in failed], [NAMES[1]])
        self.assertEqual(failed[0]["status"], -11)

    def test_what_hangs_is_killed_with_what_it_started_and_time_is_kept(self):
        mark = self.folder / "alive"
        self.program("device_tests", f"(sleep 20; touch {mark}) & sleep 30\n")
        _, results = self.check(TESSERA_CHECK_BUDGET="7")
        self.assertLess(self.seconds, 15)
        self.assertEqual(results["a first kernel"], "FAILED")
        self.assertIn("skipped", results.values())
        self.assertIn("killed after", self.output)
        self.assertFalse(mark.exists())

    def test_programs_that_are_not_there_are_skipped(self):
        _, results = self.check()
        self.assertEqual(self.status, 1, "nothing was ok")
        self.assertNotIn("FAILED", results.values())

    def test_a_program_that_lists_nothing_is_no_success(self):
        self.program("device_tests", "exit 0\n")
        self.program("kernel_timings", "exit 0\n")
        _, results = self.check()
        self.assertEqual(self.status, 1)
        self.assertEqual(results["kernels against the reference, poisoned"], "FAILED")
        self.assertEqual(results["rows alone and together, the same bits"], "FAILED")


if __name__ == "__main__":
    unittest.main()
