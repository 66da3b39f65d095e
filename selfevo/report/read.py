"""What a run directory holds, as plain values. Takes no lock, so a run that is still going on can be read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import StoreError, UserError, nearest
from ..store import MANIFEST, METRICS, SPEC

LOG_LINES = 30


@dataclass(frozen=True)
class Line:
    """One committed stage. `updates` counts the train stages committed before it (itself included when it is one): the x of curves.

    `metrics` and `seconds` as metrics.jsonl has them; `entry` is the manifest's line.
    """

    path: str
    stage: str
    kind: str
    iteration: int
    updates: int
    seconds: float
    metrics: Mapping[str, float]
    entry: Mapping[str, Any]


@dataclass(frozen=True)
class RunData:
    """One run as its directory tells it.

    `status`: "done", "running", "stopped", "failed", or "unfinished" where nothing tells whether a process is still at work.
    `lines`: committed stages in order. `spec` is the parsed spec.yaml, `spec_text` its text, `log_tail` the end of log.txt.
    """

    root: Path
    status: str
    spec: Mapping[str, Any]
    spec_text: str
    environment: Mapping[str, Any]
    changed_lines: int
    manifest: tuple[Mapping[str, Any], ...]
    lines: tuple[Line, ...]
    log_tail: str

    @property
    def name(self) -> str:
        """The experiment's name, or the directory's where the spec has none."""
        return str(self.spec.get("name", self.root.name))


def read_run(root: Path, status: str | None = None) -> RunData:
    """Read a run directory. Raises UserError when it is none, StoreError (file and line) for a broken line before the last."""
    if not (root / MANIFEST).is_file():
        near = [str(p) for p in root.parent.iterdir() if (p / MANIFEST).is_file()] if root.parent.is_dir() else []
        raise UserError(f"{root}: not a run directory (it has no {MANIFEST}){nearest(str(root), near)}")
    manifest = tuple(json_lines(root / MANIFEST))
    spec_text = _text(root / SPEC)
    return RunData(
        root=root, status=status if status is not None else _status(root, manifest), spec=_spec(root / SPEC, spec_text),
        spec_text=spec_text, environment=_environment(root / "environment.json"), changed_lines=_changed(_text(root / "code.diff")),
        manifest=manifest, lines=_lines(manifest, json_lines(root / METRICS)), log_tail=_tail(_text(root / "log.txt")),
    )


def json_lines(file: Path) -> list[dict[str, Any]]:
    """Parsed lines of a JSONL file. A last line without its newline is still being written and is left out."""
    data = file.read_bytes() if file.exists() else b""
    out = []
    for number, line in enumerate(data[: data.rfind(b"\n") + 1].splitlines(), 1):
        try:
            out.append(json.loads(line))
        except ValueError as error:
            raise StoreError(f"{file}:{number}: corrupt line ({error})") from error
    return out


def _lines(manifest: tuple[Mapping[str, Any], ...], metrics: list[dict[str, Any]]) -> tuple[Line, ...]:
    """Metrics lines that a manifest line vouches for, in the manifest's order of commits."""
    logged = {(m["path"], m["stage"]): m for m in metrics}
    out, updates = [], 0
    for entry in manifest:
        line = logged.get((entry["path"], entry["stage"]))
        if line is None:
            continue  # "create" and "end" have no metrics
        updates += line["kind"] == "train"
        out.append(Line(line["path"], line["stage"], line["kind"], line["iteration"], updates, line["seconds"], line["metrics"], entry))
    return tuple(out)


def _status(root: Path, manifest: tuple[Mapping[str, Any], ...]) -> str:
    if any(entry["stage"] == "end" and not entry["path"] for entry in manifest):
        return "done"
    try:  # the kernel lists who holds a lock; trying to take it could make a run that starts at this moment fail
        held = Path("/proc/locks").read_text()
        inode = (root / ".lock").stat().st_ino
    except OSError:
        return "unfinished"
    holders = (line.split()[5].rpartition(":")[2] for line in held.splitlines() if "->" not in line)  # "->" marks one that waits
    return "running" if str(inode) in holders else "stopped"


def _spec(file: Path, text: str) -> Mapping[str, Any]:
    import yaml

    try:
        spec = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise StoreError(f"{file}: not YAML ({' '.join(str(error).split())})") from error
    if spec is None:
        return {}
    if not isinstance(spec, Mapping):
        raise StoreError(f"{file}: expected a mapping, found {type(spec).__name__}")
    return spec


def _environment(file: Path) -> Mapping[str, Any]:
    text = _text(file)
    try:
        return json.loads(text) if text else {}
    except ValueError as error:
        raise StoreError(f"{file}: corrupt ({error})") from error


def _text(file: Path) -> str:
    return file.read_text(errors="replace") if file.is_file() else ""


def _changed(diff: str) -> int:
    """Lines that an uncommitted diff adds or removes."""
    return sum(line[:1] in ("+", "-") and line[:4] not in ("+++ ", "--- ") for line in diff.splitlines())


def _tail(text: str) -> str:
    return "\n".join(text.splitlines()[-LOG_LINES:])
