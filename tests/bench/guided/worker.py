"""worker — a program that answers one JSON object a line, started again when it hangs or dies."""

import json
import os
import select
import subprocess
import sys


class Gone(Exception):
    """The program gave no answer: "timeout" or "crash"."""


class Worker:
    def __init__(self, *command, greeting=(), cpu=None):
        """`greeting`: requests that every start begins with, such as what to load. `cpu`: the only
        one it runs on, if any."""
        self.command = [str(word) for word in command]
        self.greeting = greeting
        self.cpu = cpu
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        if self.cpu is not None:
            os.sched_setaffinity(self.process.pid, {self.cpu})
        self.pending = b""
        self.name = self.read(600)["name"]
        self.greeted = [self.ask(600, **request) for request in self.greeting]

    def ask(self, seconds, **request):
        """The answer; Gone, and a new process, if there is none after so many seconds."""
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
            answer = self.read(seconds)
        except (Gone, BrokenPipeError) as error:
            self.process.kill()
            self.process.wait()
            self.start()
            raise error if isinstance(error, Gone) else Gone("crash") from error
        if "error" in answer:
            sys.exit(f"{self.command[0]}: {answer['error']}")
        return answer

    def read(self, seconds):
        parts = [self.pending]
        while b"\n" not in parts[-1]:
            if not select.select([self.process.stdout], [], [], seconds)[0]:
                raise Gone("timeout")
            part = self.process.stdout.read1(1 << 20)
            if not part:
                raise Gone("crash")
            parts.append(part)
        line, _, self.pending = b"".join(parts).partition(b"\n")
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait()
