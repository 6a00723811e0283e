"""adapters — upload to first token, cold starts, a thousand adapters, loads beside streams, flips.

The released server over HTTP on the CPU backend: a base of Llama-3.2-1B's shape with random weights
for what depends on bytes and times, the demo model with watermark adapters for what must never
happen. adapters/README.md says how each figure is taken.
"""

import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
os.environ.setdefault("TESSERA_BINARY",
                      str(pathlib.Path(os.environ["TESSERA_DRIVER"]).parents[2] / "tessera"))
sys.path[:0] = [str(HERE), str(HERE / "adapters"), str(HERE.parent / "integration")]

import bench_report
import cold
import flips
import load_beside
import upload_time
import zipf

PARTS = {"upload": upload_time, "cold": cold, "zipf": zipf, "loads": load_beside, "flips": flips}


def main():
    options = bench_report.arguments(__doc__)
    report = bench_report.Report("adapters", options.quick)
    wanted = os.environ.get("TESSERA_BENCH_PARTS", " ".join(PARTS)).split()
    for name in wanted:
        print(f"    {name}", flush=True)
        PARTS[name].measure(report, options.quick)
    sys.exit(report.finish(options.json))


if __name__ == "__main__":
    main()
