"""One entry for every experiment: what evolves, its paper, the choices it makes, its time and verdict where they were measured."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UserError, nearest
from .composing import BASE, Composition
from .files import Tree

LEDGER = Path(__file__).resolve().parent.parent / "assets" / "ledger"
QUIET = ("scale", "launcher", "cluster", "tracker", "engine", "prompts", "dataset", "experiment")
"""Groups that say where and how large a run is, not what it does."""


@dataclass(frozen=True)
class Entry:
    """An experiment. `tiny`: the experiment that runs it with the bundled policy, if there is one. `choices`: {group[@key]: choice}.

    `seconds`: mean time of one such run, as recorded with the ledger's result (`ledger`: that file's content)."""

    id: str
    title: str
    evolves: str
    paper: Mapping[str, Any]
    choices: Mapping[str, str]
    tiny: str | None = None
    reproducible: bool = False
    ledger: Mapping[str, Any] | None = field(default=None, repr=False)

    @property
    def seconds(self) -> float | None:
        """Mean wall time of one tiny run."""
        pairs = (self.ledger or {}).get("pairs") or ()
        return sum(p["method"]["seconds"] for p in pairs) / len(pairs) if pairs else None

    @property
    def verdict(self) -> str:
        """The ledger's word; "" for what is no method to be reproduced."""
        if self.ledger is not None:
            return str(self.ledger["effect"]["verdict"])
        return "not measured" if self.reproducible else ""


def results(folder: Path = LEDGER) -> dict[str, dict[str, Any]]:
    """{method: recorded result}, as written by `selfevo reproduce --record`."""
    found = (json.loads(file.read_text()) for file in sorted(folder.glob("*.json")))
    return {data["id"]: data for data in found}


def entries(tree: Tree) -> list[Entry]:
    """Every experiment, by id. Those under tiny/ stand by themselves too; their `tiny` is their own id."""
    return entries_of(tree, tree.choices("experiment"))


def entries_of(tree: Tree, names: Sequence[str]) -> list[Entry]:
    """The entries of these experiments."""
    ledger, known = results(), set(tree.choices("experiment"))
    out = []
    for name in names:
        composed = Composition(tree, [f"experiment={name}"])
        paper: dict[str, Any] = {}
        reproducible = False
        for part in composed.parts:
            paper |= part.file.body.get("paper") or {}
            reproducible |= bool(part.file.body.get("reproduce"))
        method = name.removeprefix("tiny/")
        tiny = f"tiny/{method}" if f"tiny/{method}" in known else None
        reproducible |= tiny is not None and bool(_body(tree, tiny).get("reproduce"))
        choices = {k: v for k, v in composed.choices.items() if k.partition("@")[0] != "experiment"}
        out.append(Entry(name, tree.title("experiment", name), str(paper.get("evolves", "")), paper, choices, tiny, reproducible,
                         ledger.get(method)))  # fmt: skip
    return out


def _body(tree: Tree, name: str) -> Mapping[str, Any]:
    file = tree.file(f"experiment/{name}")
    return {} if file is None else file.body


def defaults(tree: Tree) -> dict[str, str]:
    """The choice of each group where no experiment makes another."""
    base = tree.file(BASE)
    assert base is not None
    return {k: v for d in base.defaults if isinstance(d, Mapping) for k, v in d.items() if v and not str(k).startswith("override ")}


def notable(entry: Entry, tree: Tree) -> dict[str, str]:
    """The choices that say what an experiment does: those that differ from the base config; in any case its optimizer."""
    usual = defaults(tree)
    out = {}
    for group, choice in entry.choices.items():
        top = group.partition("@")[0]
        if top not in QUIET and "." not in top and (usual.get(group) != choice or group == "optimizer"):
            out[group] = choice
    return {k: v for k, v in out.items() if "@" not in k}


def select(found: Sequence[Entry], words: Sequence[str], tree: Tree) -> list[Entry]:
    """Entries that match every word: `group=choice` (or a word of that choice's first line), else text in its id, titles, paper or choices.

    Raises UserError where a group or choice is unknown, or nothing matches."""
    kept = list(found)
    for word in words:
        group, equals, choice = word.partition("=")
        before = kept
        if equals:
            wanted = _choices(group, choice, tree)
            kept = [e for e in kept if any(k.partition("@")[0] == group and v in wanted for k, v in e.choices.items())]
            if not kept:
                used = {v for e in before for k, v in e.choices.items() if k.partition("@")[0] == group}
                raise UserError(f"no experiment uses {word}{nearest(choice, used)}")
        else:
            kept = [e for e in kept if word.lower() in _text(e)]
            if not kept:
                raise UserError(f"no experiment or config group matches '{word}'{nearest(word, [*tree.groups(), *(e.id for e in before)])}")
    return kept


def _choices(group: str, choice: str, tree: Tree) -> set[str]:
    if group not in tree.groups():
        raise UserError(f"no config group '{group}'{nearest(group, tree.groups())}")
    known = tree.choices(group)
    if choice in known:
        return {choice}
    said = re.compile(rf"\b{re.escape(choice)}\b", re.IGNORECASE)
    named = {c for c in known if said.search(tree.title(group, c))}
    if not named:
        raise UserError(f"{group}: no choice '{choice}'{nearest(choice, known)}")
    return named


def _text(entry: Entry) -> str:
    paper = [str(entry.paper.get(k, "")) for k in ("title", "arxiv")]
    return " ".join([entry.id, entry.title, entry.evolves, *paper, *(f"{k}={v}" for k, v in entry.choices.items())]).lower()


def folded(found: Sequence[Entry]) -> list[Entry]:
    """A method once: its tiny experiment is left out where the paper's own is there."""
    ids = {e.id for e in found}
    return [e for e in found if not (e.id.startswith("tiny/") and e.id.removeprefix("tiny/") in ids)]
