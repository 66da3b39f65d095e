"""Runs one program in the process it was forked for: fresh globals, its own standard streams, Python's usual end."""

from __future__ import annotations

import atexit
import builtins
import os
import random
import sys
import threading
import traceback
import types
from typing import Any

NAME = "program.py"


def write(descriptor: int, data: bytes) -> None:
    """All of it, in as many pieces as the descriptor takes."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def open_streams() -> None:
    """Make the standard streams, once for all programs, on descriptors that are nothing yet: pipes as each gets its own."""
    said, pipe = (os.dup(1), os.dup(2)), os.pipe()
    os.dup2(pipe[1], 1)
    os.dup2(pipe[1], 2)
    sys.stdin = open(0, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115 (they live as long as the process)
    sys.stdout = open(1, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="replace", closefd=False, buffering=1)  # noqa: SIM115
    os.dup2(said[0], 1)
    os.dup2(said[1], 2)
    for descriptor in (*said, *pipe):
        os.close(descriptor)


def streams(stdin: str, out: int, err: int, keep: int) -> None:
    """Descriptors 0, 1 and 2 are the given input and pipes; every other one but `keep` is closed."""
    file = os.open(".stdin", os.O_RDWR | os.O_CREAT)
    os.unlink(".stdin")
    write(file, stdin.encode())
    os.lseek(file, 0, os.SEEK_SET)
    os.dup2(file, 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.closerange(3, keep)
    os.closerange(keep + 1, 1 << 16)


def run(code: str, seed: int) -> int:
    """The exit status that Python would end with."""
    module = types.ModuleType("__main__")
    sys.modules["__main__"], sys.argv = module, [NAME]
    builtins.exit = builtins.quit = sys.exit  # type: ignore[attr-defined, assignment]  # as Python's `site` does, which is not loaded
    random.seed(seed)
    status = _outcome(lambda: exec(compile(code, NAME, "exec"), module.__dict__))
    for last in (threading._shutdown, atexit._run_exitfuncs):  # type: ignore[attr-defined]
        status = _outcome(last) or status
    flushed = max(_outcome(sys.stdout.flush), _outcome(sys.stderr.flush))
    return status or (120 if flushed else 0)


def _outcome(call: Any) -> int:
    try:
        call()
    except SystemExit as stop:
        return _status(stop.code)
    except BaseException as error:  # whatever a stranger's program raises, KeyboardInterrupt included, ends it as in Python
        _tell(error)
        return 1
    return 0


def _status(code: Any) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)
    return 1


def _tell(error: BaseException) -> None:
    """The traceback as Python prints it, without the frames of this file."""
    try:
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
            frames = frames.tb_next
        traceback.print_exception(type(error), error, frames)
    except BaseException:  # no memory or stack left to say it in full
        os.write(2, f"{type(error).__name__}\n".encode())
