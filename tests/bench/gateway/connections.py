"""connections.py — the memory of connections that wait, and of those that stream."""

import resource
import socket

import gateway_server

IDLE, QUICK_IDLE = 5000, 500
STREAMS, QUICK_STREAMS = 1000, 200
BAR_KIB = 32
TOKENS = 900
PAUSE_MS = 1000  # of a step: streams stay open
FIRST = 20  # opened for what is made once; with STREAMS no more than fit into a step


def measure(report, quick):
    raise_descriptor_limit()
    idle, streams = (QUICK_IDLE, QUICK_STREAMS) if quick else (IDLE, STREAMS)
    with gateway_server.served() as server:
        report_kib(report, "idle", idle_kib(server, idle))
    with gateway_server.served("--kv-bytes", "4G", pause=PAUSE_MS) as server:
        report_kib(report, "streaming", streaming_kib(server, streams))


def report_kib(report, name, kib):
    report.row(f"{name} connection", [kib], "KiB")
    report.bar(f"gateway-{name}-connection-kib", kib, BAR_KIB, at_least=False)


def raise_descriptor_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def unlimited_key(server):
    return server.new_tenant("crowd", max_requests_per_1_minute=1_000_000_000,
                             max_tokens_per_1_minute=1_000_000_000,
                             max_concurrent_requests=1_000_000).key


def request(key, body, path=gateway_server.CHAT):
    return (f"POST {path} HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {key.key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            ).encode() + body


def grown_kib(server, open_them, count):
    """What the server's memory grew by for each; a few come first, for what is made once."""
    kept = open_them(FIRST)
    before = server.resident_bytes()
    kept += open_them(count)
    grown = server.resident_bytes() - before
    for connection in kept:
        connection.close()
    return grown / count / 1024


def idle_kib(server, count):
    """Connections that have had an answer and are kept."""
    message = request(unlimited_key(server), gateway_server.BODY.encode())

    def open_them(number):
        opened = []
        for _ in range(number):
            connection = socket.create_connection(server.api, timeout=30)
            connection.sendall(message)
            read_to(connection, b"}\n")
            opened.append(connection)
        return opened

    return grown_kib(server, open_them, count)


def streaming_kib(server, count):
    """Streams that have had their first token and will have many more."""
    body = (gateway_server.BODY.replace('"max_tokens": 1', f'"max_tokens": {TOKENS}')[:-1]
            + ', "stream": true, "ignore_eos": true}').encode()
    message = request(unlimited_key(server), body)

    def open_them(number):
        opened = [socket.create_connection(server.api, timeout=60) for _ in range(number)]
        for connection in opened:
            connection.sendall(message)
        for connection in opened:
            read_to(connection, b'"delta":{"content":"')
        return opened

    return grown_kib(server, open_them, count)


def read_to(connection, mark):
    received = b""
    while mark not in received:
        piece = connection.recv(65536)
        if not piece:
            raise AssertionError(f"the server closed after {received[-500:]!r}")
        received += piece
    if not received.startswith(b"HTTP/1.1 200"):
        raise AssertionError(f"not an answer: {received[:500]!r}")
