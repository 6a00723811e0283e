"""suite_ratchet_test — the official suite's required tests must come out as suite.ratchet says.

  suite_ratchet_test.py DRIVER FOLDER [--write]

All groups of all drafts, through the compiler and the matcher, byte by byte. Without the shared
data it is skipped (77). FOLDER is where the archive is unpacked, once.
"""

import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "bench" / "guided"))

import maskbench
import suite
import worker

RATCHET = HERE / "suite.ratchet"
SKIPPED = 77
HEADING = ("Groups of the official suite of which not every test is right. All others are.",
           "Required tests, and optional/format with formats asserted. Written by",
           "suite_ratchet_test.py --write.")


def main():
    driver_path, folder, *options = sys.argv[1:]
    shared = maskbench.shared_data()
    if not (shared / suite.ARCHIVE).exists():
        print(f"skipped: no {shared / suite.ARCHIVE}")
        sys.exit(SKIPPED)
    folder = maskbench.unpack(shared / suite.ARCHIVE, pathlib.Path(folder))
    driver = worker.Worker(driver_path, greeting=(suite.VOCABULARY,))
    run = suite.Run()
    for draft in suite.DRAFTS:
        run.add(driver, folder, draft)
        run.add(driver, folder, draft, part="optional/format", formats=True)
    failing = {name: what for name, what in run.groups.items() if what != "right"}
    if "--write" in options:
        maskbench.write_ratchet(RATCHET, HEADING, failing)
    known = maskbench.read_ratchet(RATCHET)
    changed = [name for name in run.groups if failing.get(name) != known.get(name)]
    for name in changed:
        print(f"{name}: was {known.get(name, 'right')}, is {run.groups[name]}")
    print(f"{len(run.groups)} groups, {len(failing)} not wholly right, {len(changed)} changed")
    sys.exit(int(bool(changed)))


if __name__ == "__main__":
    main()
