"""Finds the runs that folders hold: run directories, whole sweeps, and jobs of a sweep that never became a run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError, nearest
from ..report.read import RunData, read_run
from ..report.series import natural
from ..store import MANIFEST
from ..sweeps.jobs import FOLDER, Jobs, Outcome

DEPTH = 4
"""How far below a folder its runs may lie: outputs/<name>/<time> is two, a sweep's subfolders may nest."""


@dataclass(frozen=True)
class Found:
    """One run: `run` is None for a job that ended before it had a manifest. `label` is the shortest path that tells it from the others.

    `status` as in `RunData`, or "not started"; `error` in one line where a sweep recorded one; `overrides` as they were given.
    """

    label: str
    root: Path
    run: RunData | None
    status: str
    error: str
    overrides: tuple[str, ...]


def find(folders: Sequence[Path]) -> list[Found]:
    """Every run in or below the folders, in natural order within each, none twice. Raises UserError for a folder without any."""
    roots: dict[Path, Outcome | None] = {}
    for folder in folders:
        if not folder.is_dir():
            near = [str(p) for p in folder.parent.iterdir() if p.is_dir()] if folder.parent.is_dir() else []
            raise UserError(f"{folder}: no such folder{nearest(str(folder), near)}")
        below = _below(folder)
        if not below:
            raise UserError(f"{folder}: holds no run (no {MANIFEST} in it or up to {DEPTH} folders below)")
        for root, outcome in below.items():
            if root.resolve() not in {r.resolve() for r in roots}:
                roots[root] = outcome
    labels = _labels(list(roots))
    return [_read(root, label, outcome) for (root, outcome), label in zip(roots.items(), labels, strict=True)]


def _below(folder: Path) -> dict[Path, Outcome | None]:
    """Run directories in a folder, with what a sweep says of them; jobs that have no run among them."""
    outcomes: dict[Path, Outcome] = {}
    for place in (folder, folder.parent, *_folders(folder, DEPTH)):
        if (place / FOLDER).is_dir():
            outcomes |= {_root(place, o): o for o in Jobs(place).read()}
    runs = [p for p in (folder, *_folders(folder, DEPTH)) if (p / MANIFEST).is_file()]
    known = {p.resolve() for p in runs}
    jobs = [p for p in outcomes if p not in known and p.is_relative_to(folder.resolve())]
    here = {p: outcomes.get(p.resolve()) for p in runs} | {_short(p): outcomes[p] for p in jobs}
    return dict(sorted(here.items(), key=lambda item: natural(str(item[0]))))


def _root(sweep: Path, outcome: Outcome) -> Path:
    """A job's run directory. It was written as seen from where the sweep was started: what counts is how it ends below the sweep."""
    root = Path(outcome.root)
    parts = root.parts
    if sweep.name in parts:
        at = len(parts) - 1 - parts[::-1].index(sweep.name)
        return sweep.resolve().joinpath(*parts[at + 1 :])
    return (sweep / root.name).resolve()


def _short(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) and path != here else path


def _folders(folder: Path, depth: int) -> Iterator[Path]:
    """Folders below, but not those inside a run directory."""
    if depth == 0 or (folder / MANIFEST).is_file():
        return
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if e.is_dir() and not e.name.startswith(".")]
    for name in names:
        yield folder / name
        yield from _folders(folder / name, depth - 1)


def _labels(roots: Sequence[Path]) -> list[str]:
    """What tells each path from the others: the part below their common folder."""
    if len(roots) == 1:
        return [roots[0].resolve().name]
    whole = [str(r.resolve()) for r in roots]
    common = os.path.commonpath(whole)
    return [os.path.relpath(path, common) if path != common else Path(path).name for path in whole]


def _read(root: Path, label: str, outcome: Outcome | None) -> Found:
    error = "" if outcome is None or outcome.state == "done" else outcome.line
    overrides = () if outcome is None else outcome.overrides
    if not (root / MANIFEST).is_file():
        assert outcome is not None
        return Found(label, root, None, "failed" if outcome.state == "failed" else "not started", error, overrides)
    run = read_run(root)
    status = run.status
    if status in ("stopped", "unfinished") and (_last_word(run) == "failed" or (outcome is not None and outcome.state == "failed")):
        status = "failed"
    return Found(label, root, run, status, error if status == "failed" else "", overrides or _typed(run))


def _last_word(run: RunData) -> str:
    """How the run's log says that it ended last."""
    words = re.findall(r"^ *[\d.]+  (done|stopped|failed) after ", run.log_tail, re.MULTILINE)
    return words[-1] if words else ""


def _typed(run: RunData) -> tuple[str, ...]:
    """The overrides of a single run's command line."""
    command = run.environment.get("command")
    words = [str(w) for w in command] if isinstance(command, list) else []
    if "run" not in words or "-m" in words or "--multirun" in words:
        return ()
    return tuple(w for w in words[words.index("run") + 1 :] if "=" in w and not w.startswith("-") and not re.match(r"[+~]*hydra[./]", w))
