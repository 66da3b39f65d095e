"""What a worker without namespaces has to do itself: a folder for each program, and the end of all that it left running.

Imported only there: what it needs is memory that every program of the others would have to copy and to give back.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile


def folder() -> str:
    """A new folder for a program to work in."""
    return tempfile.mkdtemp(prefix="selfevo-")


def clear(place: str) -> None:
    """Remove that folder with what is in it."""
    shutil.rmtree(place, ignore_errors=True)


def sweep() -> None:
    """Kill what a program left behind: orphans are this process's children (`confine.adopt`)."""
    while True:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            left = file.read().split()
        for child in left:
            os.kill(int(child), signal.SIGKILL)
        for child in left:
            os.waitpid(int(child), 0)
        if not left:
            return
