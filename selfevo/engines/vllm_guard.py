"""Runs a server as long as its owner lives: `python -m selfevo.engines.vllm_guard FOLDER COMMAND...`, input: a pipe from the owner.

The input ends when the owner closes it or dies, however it dies. Then, and when the server ends by itself, every process of the
group is ended (the server starts several), the guard last. An owner that died can no longer remove its folder: then the guard does.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import time

GRACE = 10.0
"""Seconds the server may take to end by itself."""


def main(folder: str, *command: str) -> None:
    """Watch over a server. The guard must lead a process group of its own: its owner starts it in a new session."""
    owner = os.getppid()
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # the signals it sends to its group, and an owner's Ctrl-C: the owner closes the pipe
    while server.poll() is None and os.getppid() == owner:
        ready, _, _ = select.select([sys.stdin], [], [], 0.5)
        if ready and not os.read(sys.stdin.fileno(), 1024):
            break
    os.killpg(0, signal.SIGTERM)
    until = time.monotonic() + GRACE
    while server.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    if os.getppid() != owner:
        shutil.rmtree(folder, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)  # this process too: nothing of the group is left


if __name__ == "__main__":
    main(*sys.argv[1:])
