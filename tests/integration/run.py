#!/usr/bin/env python3
"""run.py — runs the *_test.py files of the folders named, and counts.

run.py [--counts FILE] [-k PATTERN] FOLDER...: FILE gets "passed failed skipped".
"""

import argparse
import pathlib
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent


class CountingResult(unittest.TextTestResult):
    passed = 0

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--counts", type=pathlib.Path)
    arguments.add_argument("-k", dest="patterns", action="append")
    arguments.add_argument("folders", nargs="+", type=pathlib.Path)
    arguments = arguments.parse_args()
    sys.path.insert(0, str(HERE))
    loader = unittest.TestLoader()
    loader.testNamePatterns = [f"*{p}*" for p in arguments.patterns or []] or None
    suite = unittest.TestSuite(loader.discover(str(folder), "*_test.py", str(folder))
                               for folder in arguments.folders)
    result = unittest.TextTestRunner(verbosity=2, resultclass=CountingResult).run(suite)
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    if result.testsRun == 0:
        failed += 1  # nothing was found: that is no success
    if arguments.counts:
        arguments.counts.write_text(f"{result.passed} {failed} {len(result.skipped)}\n")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
