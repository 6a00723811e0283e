"""cold.py — what a first token costs when its adapter is not on the device, or not in memory."""

import os
import statistics
import time

import bench_base
import bench_server
import harness
import packages

NUM_ADAPTERS = 4  # with two slots, in turn: none is on the device when its turn comes
ROUNDS, QUICK_ROUNDS = 12, 3
HOST_BAR, DISK_BAR = 3, 5


def measure(report, quick):
    maker = packages.Plain(bench_base.NAME, bench_base.config(), bench_server.LARGE_RANK)
    names = [f"large-{i}" for i in range(NUM_ADAPTERS)]
    with bench_server.served("--adapter-slots", 2, "--step-adapters", 2, "--adapter-bytes", "2G",
                             "--adapter-device-bytes", "1G") as server:
        key = server.new_tenant("acme", **bench_server.UNLIMITED).key
        versions = bench_server.upload_many(key, names, maker.package)
        figures = Rounds(server, key, versions)
        for turn in range(QUICK_ROUNDS if quick else ROUNDS):
            figures.run(turn)
    for name, samples in figures.seconds.items():
        report.row(f"first token, {name}", [1000 * s for s in samples], "ms", digits=1)
    report.row("copying its pages", [1000 * s for s in figures.copies], "ms", digits=1)
    report.row("reading its file", [1000 * s for s in figures.reads], "ms", digits=1)
    warm, host, disk = (statistics.median(figures.seconds[name])
                        for name in ("warm", "in host memory", "on disk"))
    report.bar("host-cold-over-copy", (host - warm) / statistics.median(figures.copies), HOST_BAR,
               at_least=False, digits=2)
    report.bar("disk-cold-over-read", (disk - warm) / statistics.median(figures.reads), DISK_BAR,
               at_least=False, digits=2)


class Rounds:
    def __init__(self, server, key, versions):
        self.server, self.key, self.versions = server, key, versions
        self.seconds = {"warm": [], "in host memory": [], "on disk": []}
        self.copies, self.reads, self.asked = [], [], 0

    def ask(self, version):
        self.asked += 1
        prompt = f"Tell me of order {self.asked:06d}."  # nobody's prefix beyond the first block
        return bench_server.first_token(self.key, version.name, prompt)[0]

    def run(self, turn):
        version = self.versions[turn % len(self.versions)]
        for other in self.versions[:2]:
            self.ask(other)
        self.seconds["in host memory"].append(self.ask(self.rotate()))
        self.ask(version)
        self.seconds["warm"].append(self.ask(version))
        self.evict(version)
        file = self.file_of(version)
        drop_from_page_cache(file)
        self.reads.append(read_seconds(file))
        self.copies.append(copy_seconds(file))
        drop_from_page_cache(file)
        self.seconds["on disk"].append(self.ask(version))

    def rotate(self):
        """An adapter that the device does not hold and host memory does."""
        for version in self.versions:
            where = self.resident(version)
            if where["host"] and not where["device"]:
                return version
        raise AssertionError("the device holds them all")

    def resident(self, version):
        path = f"/v1/adapters/{version.name}/versions/{version.number}"
        return self.key.get(path).expect(200).json["resident"]

    def evict(self, version):
        bench_server.post(self.key,
                          f"/v1/adapters/{version.name}/versions/{version.number}/evict")
        harness.wait_until(lambda: not self.resident(version)["host"], what="eviction")

    def file_of(self, version):
        return next((self.server.data / "packed").glob(f"{version.digest}.*"))


def drop_from_page_cache(path):
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_seconds(path):
    """One sequential read into memory that is there already."""
    buffer = bytearray(b"\1") * path.stat().st_size
    view = memoryview(buffer)
    began = time.perf_counter()
    with open(path, "rb", buffering=0) as file:
        done = 0
        while done < len(buffer):
            done += file.readinto(view[done:done + (1 << 20)])
    return time.perf_counter() - began


def copy_seconds(path):
    """One copy between memory that is there already."""
    source = b"\1" * path.stat().st_size
    target = bytearray(source)
    began = time.perf_counter()
    target[:] = source
    return time.perf_counter() - began
