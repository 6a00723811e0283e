"""slow_reader_test.py — clients that ask and do not read: what they may cost, and whom.

The bounds are gateway/config.hpp's: kMaxUnsentBytes waits in the kernel, and a client that takes
nothing for kWriteTimeout is cut off.
"""

import json
import select
import socket
import time
import unittest

import harness

WRITE_TIMEOUT = 30           # kWriteTimeout, in seconds
UNSENT_BYTES = 128 * 1024    # kMaxUnsentBytes
RECEIVE_BYTES = 4096         # that the client's own kernel takes for it
# The kernel looks at its bound before each piece that it takes, and a piece is at most so much.
PIECE_BYTES = 64 * 1024
TOKENS = 900


def queued_bytes(server, client):
    """What the server's kernel holds for the client; None if there is no such connection."""
    def place(address):
        host = int.from_bytes(socket.inet_aton(address[0]), "little")
        return f"{host:08X}:{address[1]:04X}"

    with open("/proc/net/tcp") as table:
        for line in table:
            fields = line.split()
            if fields[1:3] == [place(server), place(client)]:
                return int(fields[4].split(":")[0], 16)
    return None


class SlowReader(unittest.TestCase):
    def setUp(self):
        self.server = harness.Server().start()
        self.addCleanup(self.server.close)
        self.tenant = self.server.new_tenant("slow", max_concurrent_requests=1)

    def ask_and_read_nothing(self):
        """A stream of several megabytes."""
        fields = harness.chat_fields(harness.BASE, "Hello!", stream=True, max_tokens=TOKENS,
                                     ignore_eos=True, logprobs=True, top_logprobs=20, n=4)
        body = json.dumps(fields).encode()
        client = socket.socket()
        self.addCleanup(client.close)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        client.connect(self.server.api)
        client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: t\r\n"
                       b"Content-Type: application/json\r\nAuthorization: Bearer "
                       + self.tenant.key.key.encode() +
                       b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        return client

    def test_costs_a_bounded_buffer_for_a_bounded_time_and_nobody_else(self):
        neighbour = self.server.new_tenant("neighbour").key
        before = self.server.resident_bytes()
        client = self.ask_and_read_nothing()
        end = select.poll()
        end.register(client, select.POLLERR)  # not what there is to read
        queued = lambda: queued_bytes(self.server.api, client.getsockname())
        harness.wait_until(lambda: (queued() or 0) >= UNSENT_BYTES, what="a full buffer")
        full_at = time.monotonic()
        busy = self.tenant.key.chat(harness.BASE, "Hello!", max_tokens=1)
        self.assertEqual(busy.status, 429, "its slot is still taken")

        most, slowest = 0, 0.0
        while not end.poll(200):
            self.assertLess(time.monotonic() - full_at, WRITE_TIMEOUT + 5, "still connected")
            most = max(most, queued() or 0)
            began = time.monotonic()
            neighbour.chat(harness.BASE, "Hello!", max_tokens=1).expect(200)
            slowest = max(slowest, time.monotonic() - began)
        cut_off_after = time.monotonic() - full_at
        self.assertGreater(cut_off_after, WRITE_TIMEOUT - 5)
        self.assertLessEqual(most, UNSENT_BYTES + PIECE_BYTES)
        self.assertIsNone(queued(), "the kernel still holds it")
        self.assertLess(self.server.resident_bytes() - before, 64 << 20)
        print(f"cut off {cut_off_after:.1f} s after its buffer was full; {most} bytes queued at "
              f"most; a neighbour waited {slowest * 1e3:.0f} ms at most", flush=True)

        harness.wait_until(
            lambda: self.tenant.key.chat(harness.BASE, "Hello!", max_tokens=1).status == 200, 5,
            "the slot that it had")
        [usage] = self.server.usage(project_id=self.tenant.id)
        self.assertEqual(usage["num_model_requests"], 2)
        self.assertEqual(usage["output_tokens"], 4 * TOKENS + 1, "all that was generated")


if __name__ == "__main__":
    unittest.main()
