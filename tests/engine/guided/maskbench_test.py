"""maskbench_test — what becomes of MaskBench's schemas must be what maskbench.ratchet says, or
better.

  maskbench_test.py DRIVER FOLDER [--write]

A sample by default, every schema with TESSERA_LONG=1; --write runs all and writes the ratchet.
Without the shared data it is skipped (77). FOLDER is where the archive is unpacked, once.
"""

import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "bench" / "guided"))

import maskbench
import worker

RATCHET = HERE / "maskbench.ratchet"
SAMPLE = 150
SECONDS = 60
SKIPPED = 77
HEADING = ("MaskBench's schemas that do not pass, by name: what becomes of each. All others pass.",
           "Written by maskbench_test.py --write.")


def main():
    driver_path, folder, *options = sys.argv[1:]
    shared = maskbench.shared_data()
    if not (shared / maskbench.ARCHIVE).exists():
        print(f"skipped: no {shared / maskbench.ARCHIVE}")
        sys.exit(SKIPPED)
    tokenizer = shared / "tokenizers" / "llama3.tokenizer.json"
    driver = worker.Worker(driver_path, greeting=(dict(tokenizer=str(tokenizer)),))
    files = maskbench.files(maskbench.unpack(shared / maskbench.ARCHIVE, pathlib.Path(folder)))
    every = "--write" in options or "TESSERA_LONG" in os.environ
    known = maskbench.read_ratchet(RATCHET) if RATCHET.exists() else {}
    # Those that do not pass are in every sample: they are where something may change.
    names = sorted({*maskbench.sample(files, len(files) if every else SAMPLE), *known})
    results = maskbench.Results()
    for name in names:
        case = maskbench.tokenized(maskbench.read(files[name]), driver)
        results.add(name, case, driver, SECONDS, order="any", integers="value")
    if "--write" in options:
        failing = {name: what for name, what in results.outcomes.items() if what != "pass"}
        maskbench.write_ratchet(RATCHET, HEADING, failing)
    worse = report(results, known)
    sys.exit(0 if "--write" in options else worse)


def report(results, known):
    changed = 0
    for name, what in results.outcomes.items():
        before = known.get(name, "pass")
        if what == before:
            continue
        changed += what != "pass"
        print(f"{name}: was {before}, is {what}" + ("; write the ratchet" * (what == "pass")))
    differ = results.disagreements()
    print(f"{len(results.outcomes)} schemas, {results.count('pass')} pass, {changed} worse, "
          f"{differ} tokens on which mask and accept differ")
    return int(changed > 0 or differ > 0)


if __name__ == "__main__":
    main()
