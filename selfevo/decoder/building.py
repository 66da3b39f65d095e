"""`kernels.c` as a library, built by the machine's own C compiler when it is first wanted, and kept for later processes."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

SOURCE = Path(__file__).with_name("kernels.c")
COMPILERS = ("cc", "gcc", "clang")
WIDEST = 512
"""Numbers of the widest head that there is room for."""
FLAGS = (
    f"-DWIDEST={WIDEST}", "-std=c11", "-O3", "-march=native", "-fopenmp-simd", "-ffp-contract=fast", "-fno-math-errno",
    "-fno-trapping-math", "-fPIC", "-shared",
)  # fmt: skip
"""Nothing of -ffast-math, which would reorder more than the sums that ask for it, and change how the rest of the process computes."""
PATIENCE = 60
"""Seconds that a compiler may take; it takes less than one."""
WHOLE, FLOAT, WHERE = ctypes.c_int64, None, ctypes.c_void_p
"""What functions take: a count, a number of the library's type, a place in memory."""
TAKES = {
    "normed": (WHOLE, WHOLE, WHERE, WHERE, FLOAT, WHERE),
    "turned": (WHOLE, WHOLE, WHOLE, WHERE, WHOLE, WHERE, FLOAT, WHERE, WHERE, WHERE),
    "gated": (WHOLE, WHOLE, WHERE, WHERE),
    "attended": (*(WHOLE,) * 4, *(WHERE,) * 3, WHOLE, WHERE, WHERE, *(WHOLE,) * 3, WHERE, WHOLE, FLOAT, WHERE, WHERE),
    "drawn": (WHOLE, WHOLE, *(WHERE,) * 7),
}


class Absent(Exception):
    """There is no such library here; the text says why."""


def state() -> tuple[bool, str]:
    """Whether there are kernels here, and who compiles them, or why not."""
    try:
        library("float")
        program, *arguments = _compiler()
        return True, f"compiled by {' '.join([Path(program).name, *arguments])}"
    except Absent as absent:
        return False, str(absent)


def library(real: str) -> ctypes.CDLL:
    """The functions of `kernels.c` for numbers of a type, "float" or "double". Raises Absent."""
    found = _tried(real)
    if isinstance(found, str):
        raise Absent(found)
    return found


@cache
def _tried(real: str) -> ctypes.CDLL | str:
    """The library, or why there is none: nothing is tried twice."""
    try:
        return _library(real)
    except Absent as absent:
        return str(absent)


def _library(real: str) -> ctypes.CDLL:
    command = [*_compiler(), *FLAGS, f"-DREAL={real}", str(SOURCE)]
    try:
        loaded = _loaded(command, _cache() / f"kernels-{real}-{_key(command)}.so")
    except OSError as error:
        raise Absent(str(error)) from error
    for name, takes in TAKES.items():
        function = getattr(loaded, name)
        function.restype = None
        function.argtypes = [(ctypes.c_float if real == "float" else ctypes.c_double) if x is FLOAT else x for x in takes]
    return loaded


def _loaded(command: list[str], kept: Path) -> ctypes.CDLL:
    """What is kept; or what the command gives, which is kept then if the cache can be written. Raises Absent and OSError."""
    with suppress(OSError):  # not there, or damaged
        return ctypes.CDLL(str(kept))
    with TemporaryDirectory(prefix="selfevo-") as folder:
        made = Path(folder) / "kernels.so"
        _build([*command, "-o", str(made), "-lm"])
        loaded = ctypes.CDLL(str(made))
        with suppress(OSError):
            kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            own = kept.with_name(f"{kept.name}.{os.getpid()}")
            shutil.copyfile(made, own)
            os.replace(own, kept)  # another process sees all of it or nothing
        return loaded


def _compiler() -> list[str]:
    """The program that CC names, with its arguments (if that is empty, none), or the first there is. Raises Absent."""
    wanted = os.environ.get("CC")
    if wanted is not None and not wanted.strip():
        raise Absent("CC is empty")
    programs = [[name] for name in COMPILERS] if wanted is None else [shlex.split(wanted)]
    for name, *arguments in programs:
        if (path := shutil.which(name)) is not None:
            return [path, *arguments]
    raise Absent(f"no C compiler ({' or '.join(program[0] for program in programs)})")


def _build(command: list[str]) -> None:
    """Run the compiler. Raises Absent with the last thing it said."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise Absent(f"{command[0]} took more than {PATIENCE} s") from None
    if done.returncode:
        raise Absent(f"{command[0]} failed: {(done.stderr.strip().splitlines() or ['it said nothing'])[-1]}")


def _cache() -> Path:
    """A folder of this user's."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "selfevo" / "kernels"


def _key(command: list[str]) -> str:
    """Of what the result depends on: the source, the command, the compiler, and the processor, since homes are shared among machines."""
    compiler = Path(command[0]).resolve().stat()
    said = repr((command, compiler.st_size, compiler.st_mtime_ns, platform.machine(), _processor()))
    return hashlib.sha256(SOURCE.read_bytes() + said.encode()).hexdigest()[:16]


def _processor() -> str:
    """What the first processor is and can do, as far as the system tells."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return platform.processor()
    return "\n".join(x for x in first.splitlines() if x.startswith(("model name", "flags", "CPU", "Features")))
