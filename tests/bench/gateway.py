"""gateway — what everything but the model costs: a request, a connection, a start, an attack.

The released server with an engine that answers at once, on one core, with 100,000 keys and 10,000
tenants; the load on another. gateway/README.md says how each figure is taken.
"""

import os
import pathlib
import sys
import traceback

HERE = pathlib.Path(__file__).resolve().parent
os.environ.setdefault("TESSERA_BINARY",
                      str(pathlib.Path(os.environ["TESSERA_DRIVER"]).parents[2] / "tessera"))
sys.path[:0] = [str(HERE), str(HERE / "gateway"), str(HERE.parent / "integration")]

import attacks
import bench_report
import connections
import rate
import start
import throughput

PARTS = {"rate": rate, "throughput": throughput, "connections": connections, "start": start,
         "attacks": attacks}


def main():
    options = bench_report.arguments(__doc__)
    report = bench_report.Report("gateway", options.quick)
    wanted = os.environ.get("TESSERA_BENCH_PARTS", " ".join(PARTS)).split()
    for name in wanted:
        load = " ".join(f"{x:.2f}" for x in os.getloadavg())
        print(f"    {name} (load average {load})", flush=True)
        try:
            PARTS[name].measure(report, options.quick)
        except Exception:  # what the other parts have found is told all the same
            traceback.print_exc()
            report.bar(f"part-{name}-was-measured", 0, 1, at_least=True, digits=0)
    sys.exit(report.finish(options.json))


if __name__ == "__main__":
    main()
