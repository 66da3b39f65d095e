"""Runs that differ by their seed alone are one arm of a comparison."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from ..report.numbers import short
from .find import Found

SILENT = ("name", "trackers", "paper", "reproduce")
"""Keys of a spec that change nothing in a run."""


@dataclass(frozen=True)
class Arm:
    """Runs of the same settings: their numbers in `Comparison.runs`, in order. `settings`: what tells the arm from the others."""

    label: str
    runs: tuple[int, ...]
    settings: Mapping[str, str]


def seeds(runs: Sequence[Found]) -> list[str]:
    """The seed of every run as text; empty where nothing tells it."""
    out = []
    for found in runs:
        given = dict(o.lstrip("+").partition("=")[::2] for o in found.overrides)
        out.append(str(found.run.spec.get("seed", "")) if found.run is not None else given.get("seed", ""))
    return out


def is_seed(key: str) -> bool:
    """Whether a key of a spec is a seed: `seed`, `eval.seed`, `split_seed`."""
    return re.search(r"(^|[._])seed$", key) is not None


def arms(
    runs: Sequence[Found], own: Sequence[str], settings: Mapping[str, Sequence[str]], spec: Mapping[str, Sequence[str]]
) -> list[Arm]:
    """The arms, in order of their first runs; `own` is each run's seed. A run that another one repeats, seed and all, is of an arm of its
    own. A job that never became a run belongs to the arm that was given the same settings."""
    telling = [column for key, column in spec.items() if not is_seed(key) and key.partition(".")[0] not in SILENT]
    given = [frozenset(o for o in f.overrides if not is_seed(o.partition("=")[0])) for f in runs]
    whole: list[object] = [tuple(column[i] for column in telling) if f.run is not None else None for i, f in enumerate(runs)]
    known = {g: w for g, w in zip(given, whole, strict=True) if w is not None}
    groups: dict[object, list[int]] = {}
    seen: Counter[object] = Counter()
    for i, settled in enumerate(whole):
        key = known.get(given[i], given[i]) if settled is None else settled
        groups.setdefault((key, seen[key, own[i]]), []).append(i)
        seen[key, own[i]] += 1
    members = list(groups.values())
    shown = {key: column for key, column in settings.items() if not is_seed(key) and len({column[m[0]] for m in members}) > 1}
    own_settings = [{key: column[m[0]] for key, column in shown.items()} for m in members]
    return [Arm(label, tuple(m), s) for label, m, s in zip(_labels(runs, members, own_settings), members, own_settings, strict=True)]


def _labels(runs: Sequence[Found], members: Sequence[Sequence[int]], settings: Sequence[Mapping[str, str]]) -> list[str]:
    """A name per arm: that of its only run, what its runs' names have in common, its settings, else its first run."""
    common = [_common([runs[i].label for i in m]) for m in members]
    if all(len(m) == 1 for m in members) or (all(common) and len(set(common)) == len(common)):
        return common
    told = [", ".join(f"{_short(key, s)}={short(value)}" for key, value in s.items()) for s in settings]
    if all(told) and len(set(told)) == len(told):
        return told
    return [_run_and_more(runs, m) for m in members]


def _common(labels: Sequence[str]) -> str:
    if len(labels) == 1:
        return labels[0]
    alike = takewhile(lambda letters: len(set(letters)) == 1, zip(*labels, strict=False))
    shared = "".join(letters[0] for letters in alike)
    if shared[-1:].isdigit():
        shared = shared.rstrip("0123456789.")
    return re.sub(r"([-_/. ]|seed=?)+$", "", shared)


def _short(key: str, among: Mapping[str, str]) -> str:
    """The last part of a key, where no other key ends alike."""
    last = key.rpartition(".")[2]
    return last if sum(k.rpartition(".")[2] == last for k in among) == 1 else key


def _run_and_more(runs: Sequence[Found], member: Sequence[int]) -> str:
    return runs[member[0]].label + (f" and {len(member) - 1} more" if len(member) > 1 else "")
