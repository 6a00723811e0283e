"""bench_report.py — how every measuring suite reports: one table, then its bars.

A Report collects rows of samples and bars; `finish` prints the table with medians and spread (the
quartiles), one line `bar <name>: <value> <limit> ok|MISSED` a bar, writes the JSON file if one was
asked for, and gives the exit code: 1 if a bar was missed.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics


def arguments(doc):
    """The command line that every suite has."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="fewer samples")
    return parser.parse_args()


def quartiles(samples):
    if len(samples) == 1:
        return samples[0], samples[0], samples[0]
    return tuple(statistics.quantiles(samples, n=4, method="inclusive"))


class Report:
    def __init__(self, suite, quick):
        self.suite, self.quick = suite, quick
        self.rows, self.bars = [], []

    def row(self, name, samples, unit, digits=1, **notes):
        """`notes` are single figures of the row, columns of their own."""
        self.rows.append(dict(name=name, unit=unit, digits=digits, samples=list(samples), **notes))

    def bar(self, name, value, limit, at_least, digits=1):
        met = value >= limit if at_least else value <= limit
        sign = ">=" if at_least else "<="
        self.bars.append(dict(name=name, value=round(value, digits), limit=f"{sign}{limit}",
                              met=met))

    def finish(self, json_path=None):
        self.print_table()
        for bar in self.bars:
            print(f"bar {bar['name']}: {bar['value']} {bar['limit']} "
                  f"{'ok' if bar['met'] else 'MISSED'}")
        if json_path:
            machine = dict(cpu=cpu_name(), cores=os.cpu_count(), system=platform.platform())
            json_path.write_text(json.dumps(dict(
                suite=self.suite, quick=self.quick, machine=machine, rows=self.rows,
                bars=self.bars), indent=1) + "\n")
        return 0 if all(bar["met"] for bar in self.bars) else 1

    def print_table(self):
        fixed = ("name", "unit", "digits", "samples")
        notes = list(dict.fromkeys(key for row in self.rows for key in row if key not in fixed))
        lines = [["", *notes, "median", "quartiles", "unit", "n"]]
        for row in self.rows:
            low, middle, high = (f"{x:.{row['digits']}f}" for x in quartiles(row["samples"]))
            lines.append([row["name"], *(str(row.get(key, "")) for key in notes), middle,
                          f"{low} .. {high}", row["unit"], str(len(row["samples"]))])
        widths = [max(map(len, column)) for column in zip(*lines)]
        for line in lines:
            first, *others = (cell.rjust(width) for cell, width in zip(line, widths))
            print(first.strip().ljust(widths[0]), *others, sep="  ")


def cpu_name():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()
