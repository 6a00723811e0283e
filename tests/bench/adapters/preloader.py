"""preloader.py — asks for adapters in turn, so many a second in every other window of time, over one
connection, till killed.

    preloader.py HOST PORT KEY RATE BEGIN WINDOW <paths.json

Windows have WINDOW seconds each and begin at BEGIN of the monotonic clock, with a silent one.

A process of its own that does next to nothing, because what it uses of the processors is missing in
the server that is measured: requests are made beforehand, and of an answer only its status and end are
looked for. An answer that is no success ends it.
"""

import itertools
import json
import socket
import sys
import time


def requests_of(paths, host, key):
    return [f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}".encode()
            for path in paths]


def answer_to(request, connection):
    """Status line, headers and body of one answer."""
    connection.sendall(request)
    answer = b""
    while (end := answer.find(b"\r\n\r\n")) < 0:
        answer += received(connection)
    name = b"\r\ncontent-length:"
    start = answer[:end].lower().index(name) + len(name)
    size = end + 4 + int(answer[start:answer.index(b"\r", start)])
    while len(answer) < size:
        answer += received(connection)
    return answer


def received(connection):
    piece = connection.recv(1 << 16)
    if not piece:
        sys.exit("the server closed the connection")
    return piece


def main():
    host, port, key, rate, begin, window = sys.argv[1:]
    begin, window = float(begin), float(window)
    requests = requests_of(json.load(sys.stdin), host, key)
    connection = socket.create_connection((host, int(port)), timeout=30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    due = begin + window
    for request in itertools.cycle(requests):
        time.sleep(max(0, due - time.monotonic()))
        answer = answer_to(request, connection)
        if not answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 202")):
            sys.exit(f"{request!r}: {answer!r}")
        due += 1 / float(rate)
        windows = int((due - begin) // window)
        if windows % 2 == 0:  # the silent one has begun
            due = begin + (windows + 1) * window


if __name__ == "__main__":
    main()
