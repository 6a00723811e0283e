"""preloader.py — asks for adapters in turn, so many a second, over one connection, till killed.

    preloader.py HOST PORT KEY RATE <paths.json

A process of its own that does next to nothing, because what it uses of the processors is missing in
the server that is measured. An answer that is no success ends it.
"""

import http.client
import itertools
import json
import sys
import time


def main():
    host, port, key, rate = sys.argv[1:]
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    due = time.perf_counter()
    for path in itertools.cycle(json.load(sys.stdin)):
        connection.request("POST", path, b"{}", headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status not in (200, 202):
            sys.exit(f"{path}: {answer.status} {body!r}")
        due += 1 / float(rate)
        time.sleep(max(0, due - time.perf_counter()))


if __name__ == "__main__":
    main()
