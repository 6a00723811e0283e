"""demo-accuracy — held-out prompts over HTTP: exact match with the right adapter, base and others.

Two tenants share the three demo adapters. Each adapter's held-out prompts go through
/v1/chat/completions, several at a time, greedy, to the right adapter, to the base and to the other
adapters; an answer counts when it equals the expected text exactly. The table also tells how long
an answer took under that load.
"""

import concurrent.futures
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "integration")]

import bench_report
import harness

PROMPTS, QUICK_PROMPTS = 200, 40
AT_ONCE = 16
MAX_TOKENS = 128
UNLIMITED = {"max_requests_per_1_minute": 1_000_000, "max_tokens_per_1_minute": 1_000_000_000}
RIGHT_PERCENT, WRONG_PERCENT = 90, 10


def ask(key, model, example):
    """(whether the answer is the expected one, milliseconds)."""
    began = time.monotonic()
    said = key.say(model, example["prompt"], max_tokens=MAX_TOKENS)
    return said == example["expected"], (time.monotonic() - began) * 1000


def main():
    options = bench_report.arguments(__doc__)
    report = bench_report.Report("demo-accuracy", options.quick)
    adapters = harness.demo_adapters()
    server = harness.Server().start()
    try:
        tenants = [server.new_tenant(name, **UNLIMITED).key for name in ("acme", "globex")]
        for key in tenants:
            for name in adapters:
                key.upload(name, *harness.demo_package(name)).expect(200, 201, 202)
        for task in adapters:
            examples = harness.held_out(task, QUICK_PROMPTS if options.quick else PROMPTS)
            for model in [task, harness.BASE, *(other for other in adapters if other != task)]:
                measure(report, tenants, task, model, examples)
    finally:
        server.close()
    sys.exit(report.finish(options.json))


def measure(report, tenants, task, model, examples):
    keys = [tenants[i % len(tenants)] for i in range(len(examples))]
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(ask, keys, [model] * len(examples), examples))
    percent = 100 * sum(right for right, _ in answers) / len(answers)
    report.row(f"{task} asked of {model}", [ms for _, ms in answers], "ms",
               **{"exact %": f"{percent:.1f}"})
    right = model == task
    report.bar(f"{task}/{model}", percent, RIGHT_PERCENT if right else WRONG_PERCENT,
               at_least=right)


if __name__ == "__main__":
    main()
