"""What `selfevo doctor` finds: one line about each thing that a run may use."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

State = Literal["ok", "missing", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """name: what was looked at; found: what there is; advice: what to do about it ("" when nothing). needed: selfevo runs nothing
    without it."""

    name: str
    state: State
    found: str
    advice: str = ""
    needed: bool = False

    @property
    def fatal(self) -> bool:
        """Whether nothing runs until this is put right."""
        return self.needed and self.state != "ok"


def version(*names: str) -> str | None:
    """Version of the first of these distributions that is installed. Nothing is imported."""
    for name in names:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def package(name: str, extra: str, *distributions: str, uses: str) -> Finding:
    """An optional package: its version, or how to get it and for what."""
    found = version(*distributions)
    if found is None:
        return Finding(name, "missing", f"not installed; for {uses}", f"pip install 'selfevo[{extra}]'")
    return Finding(name, "ok", found)


def said(command: list[str], seconds: float = 20.0) -> tuple[int, str]:
    """Exit status and output of a short command; 127 where it is not there, 124 where it does not end."""
    if shutil.which(command[0]) is None:
        return 127, ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, errors="replace")
    except subprocess.TimeoutExpired:
        return 124, ""
    return done.returncode, (done.stdout + done.stderr).strip()


def first_line(text: str) -> str:
    """The first line that says something."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
