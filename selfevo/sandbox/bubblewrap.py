"""The command that starts a worker inside bubblewrap, and whether that works here."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

INSIDE = Path(__file__).parent / "inside"
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/localtime")
"""What of the system a program may read: no configuration, no home, no data."""


def absent() -> str:
    """Why nothing can be shut away here, "" where that cannot be told without trying."""
    from .inside import confine  # ctypes: only for who runs programs

    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed (apt install bubblewrap)"
    if not confine.supported():
        return "its filter of system calls is written for x86_64 and aarch64 only"
    return ""


def command(preload: Sequence[str]) -> list[str]:
    """A worker in namespaces of its own: no network, a read-only system, nothing else of this machine, ended with its parent."""
    out = [
        shutil.which("bwrap") or "bwrap", "--unshare-all", "--unshare-user", "--uid", "1000", "--gid", "1000",
        "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL",
    ]  # fmt: skip
    for place in SYSTEM:
        if os.path.islink(place):
            out += ["--symlink", os.readlink(place), place]
        elif os.path.exists(place):
            out += ["--ro-bind", place, place]
    for place in dict.fromkeys([sys.base_prefix, *_packages(preload)]):
        if not place.startswith("/usr/"):
            out += ["--ro-bind", place, place]
    out += ["--ro-bind", str(INSIDE), "/inside", "--proc", "/proc", "--dev", "/dev", "--dir", "/tmp", "--remount-ro", "/"]
    for name, value in environment(preload).items():
        out += ["--setenv", name, value]
    return [*out, "--chdir", "/", *python(), "/inside/zygote.py", "apart", *preload]


def bare_command(preload: Sequence[str]) -> list[str]:
    """The same worker with no isolation at all."""
    return [*python(), str(INSIDE / "zygote.py"), "bare", *preload]


def python() -> list[str]:
    """The interpreter itself, not a virtual environment's link to it; nothing is read from its user's folders."""
    real = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    return [str(real if real.is_file() else sys.executable), "-P", "-s", "-S", "-B"]


def environment(preload: Sequence[str]) -> dict[str, str]:
    """All that a worker's environment holds. Equal programs give equal output: sets keep their order."""
    out = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}
    found = _packages(preload)
    return {**out, "PYTHONPATH": os.pathsep.join(found)} if found else out


def _packages(preload: Sequence[str]) -> list[str]:
    """Folders that the modules to load ahead lie in, beyond Python's own."""
    places = []
    for name in preload:
        spec = find_spec(name.partition(".")[0])
        origin = spec.origin if spec is not None else None
        if origin and "site-packages" in origin:
            places.append(origin[: origin.index("site-packages") + len("site-packages")])
    return list(dict.fromkeys(places))
