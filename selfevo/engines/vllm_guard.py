"""Runs a server as long as its owner lives: `python -m selfevo.engines.vllm_guard COMMAND...`, with a pipe from the owner as input.

The input ends when the owner closes it or dies, however it dies. Then, and when the server ends by itself, every process of the
group is ended (the server starts several), the guard last.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time

GRACE = 10.0
"""Seconds the server may take to end by itself."""


def main(command: list[str]) -> None:
    """Watch over a server. The guard must lead a process group of its own: its owner starts it in a new session."""
    owner = os.getppid()
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # the signals it sends to its group, and an owner's Ctrl-C: the owner closes the pipe
    while server.poll() is None and os.getppid() == owner:
        ready, _, _ = select.select([sys.stdin], [], [], 0.5)
        if ready and not os.read(sys.stdin.fileno(), 1024):
            break
    ended = server.poll()
    os.killpg(0, signal.SIGTERM)
    until = time.monotonic() + GRACE
    while server.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    if ended is not None:
        print(f"[guard] the server ended with status {ended}", file=sys.stderr, flush=True)
    os.killpg(0, signal.SIGKILL)  # this process too: nothing of the group is left


if __name__ == "__main__":
    main(sys.argv[1:])
