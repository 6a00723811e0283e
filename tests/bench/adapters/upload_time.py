"""upload_time.py — from the first byte of a 90 MB upload to the first token of its adapter."""

import time

import bench_base
import bench_server
import packages

COUNT, QUICK_COUNT = 40, 4
PROMPT = "Tell me of the first order."
BAR_SECONDS = 2


def measure(report, quick):
    maker = packages.Plain(bench_base.NAME, bench_base.config(), bench_server.LARGE_RANK)
    seconds, answers = [], []
    with bench_server.served("--adapter-bytes", "2G", "--adapter-device-bytes", "1G") as server:
        key = server.new_tenant("acme", **bench_server.UNLIMITED).key
        base = bench_server.first_token(key, bench_base.NAME, PROMPT)[1]
        for i in range(QUICK_COUNT if quick else COUNT):
            package = maker.package()
            began = time.perf_counter()
            version = bench_server.upload(key, f"large-{i}", package)
            _, token, headers = bench_server.first_token(key, version.name, PROMPT)
            seconds.append(time.perf_counter() - began)
            answers.append((version, token, headers["x-adapter-sha256"]))
        wrong = sum(not is_correct(key, base, *answer) for answer in answers)
    size = len(maker.file) / 1e6
    report.row("upload to first token", seconds, "s", digits=2, size=f"{size:.0f} MB")
    report.bar("upload-first-token-p99-s", bench_server.percentile(seconds, 99), BAR_SECONDS,
               at_least=False, digits=2)
    report.bar("upload-wrong-answers", wrong, 0, at_least=False)


def is_correct(key, base, version, token, digest):
    again = bench_server.first_token(key, version.name, PROMPT)[1]
    return token == again and token != base and digest == version.digest
