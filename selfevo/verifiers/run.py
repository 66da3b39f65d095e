"""Applies a verifier (an ordered mapping of parts) to rows, and sums up what it said."""

from __future__ import annotations

import math
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ..errors import SelfevoError, UserError
from ..protocols import Part, RunCtx
from ..records import Row, ScoreStatus

SCORE = "score"
"""Name of the reward that training and evaluation read unless told otherwise."""


Apply = Callable[[Part, str, list[Row], RunCtx], list[Row]]
"""(part, its name, rows of one scope, context) -> the same rows, in order, judged by it. See `applied`."""


def verify(
    parts: Mapping[str, Part], rows: Sequence[Row], ctx_for: Callable[[str], RunCtx], apply: Apply | None = None
) -> list[Row]:
    """`rows`, in order, with the rewards of every part and the final reward `score`.

    Parts run in order; each sees the scores of those before it, on all rows, on one group (`Row.group`) at a time or on one row,
    as its `scope` says (row parts are handed all rows at once so that they may work in parallel). `score` is a part of that name, else a
    copy of the last part's reward and status (parts with `judges = False` are filters and do not count).

    A part that raises marks the rows of its scope "error" and no others; a row part is then called row by row. Errors of
    selfevo itself (a wrong setting) pass through. Rows whose trajectory ended in error are judged by nobody: "abstain".
    A reward that is not finite is an error. Raises UserError when a part does not return its rows in order. `apply` may have parts work
    elsewhere; default: `applied`, here.
    """
    apply = applied if apply is None else apply
    if not parts:
        raise UserError("verifier: it has no parts; give at least one, for example {exact: {_target_: selfevo.verifiers.Exact}}")
    out = list(rows)
    judged = [i for i, row in enumerate(out) if row.trajectory.status != "error"]
    for name, part in parts.items():
        ctx = ctx_for(name)
        for where in _scopes(part, name, out, judged):
            for i, row in zip(where, apply(part, name, [out[i] for i in where], ctx), strict=True):
                out[i] = row
    done = set(judged)
    names = [name for name, part in parts.items() if getattr(part, "judges", True)]
    for i, row in enumerate(out):
        if i not in done:
            for name in names:
                out[i] = out[i].failed(name, "abstain", f"the trajectory ended in error: {row.trajectory.error or 'no message'}")
        if names and SCORE not in parts:
            out[i] = copied(out[i], names[-1], SCORE)
    return out


def copied(row: Row, source: str, name: str) -> Row:
    """`row` with the reward of `source` also under `name`; where there is none, its status and message."""
    reward = row.reward(source)
    if reward is not None and row.score.statuses.get(source, "ok") == "ok":
        return row.rewarded(name, reward)
    return unscored(row, name, row.score.statuses.get(source, "abstain"), row.score.errors.get(source, f"no reward '{source}'"))


def unscored(row: Row, name: str, status: ScoreStatus, message: str) -> Row:
    """`Row.failed`, also dropping a reward that an earlier judgement may have left under `name`."""
    rewards = {k: v for k, v in row.score.rewards.items() if k != name}
    return replace(row, score=replace(row.score, rewards=rewards)).failed(name, status, message)


def summary(rows: Sequence[Row]) -> dict[str, float]:
    """Metrics of scored rows.

    "score/<reward>" is the mean over the rows that have it (absent when none has); "score/<part>_errors", "_timeouts" and "_abstained"
    count rows; "score/keep" is the share of rows kept for training and "score/rows" their number. Empty for no rows.
    """
    if not rows:
        return {}
    out: dict[str, float] = {"score/rows": float(len(rows)), "score/keep": sum(r.score.keep for r in rows) / len(rows)}
    for name in dict.fromkeys(n for row in rows for n in row.score.statuses):
        rewards = [r.score.rewards[name] for r in rows if name in r.score.rewards]
        if rewards:
            out[f"score/{name}"] = math.fsum(rewards) / len(rewards)
        statuses = Counter(r.score.statuses.get(name, "ok") for r in rows)
        out[f"score/{name}_errors"] = float(statuses["error"])
        out[f"score/{name}_timeouts"] = float(statuses["timeout"])
        out[f"score/{name}_abstained"] = float(statuses["abstain"])
    return out


def _scopes(part: Part, name: str, rows: Sequence[Row], judged: list[int]) -> list[list[int]]:
    """Indices of the rows that each call of the part sees."""
    if part.scope not in ("row", "group", "batch"):
        raise UserError(f"verifier.{name}: scope is {part.scope!r}; expected 'row', 'group' or 'batch'")
    if not judged:
        return []
    if part.scope != "group":
        return [judged]
    together: dict[str, list[int]] = {}
    for i in judged:
        together.setdefault(rows[i].group, []).append(i)
    return list(together.values())


def applied(part: Part, name: str, rows: list[Row], ctx: RunCtx) -> list[Row]:
    """One call of a part, its exceptions turned into statuses of the rows it was about."""
    try:
        out = list(part(rows, ctx))
    except SelfevoError:
        raise
    except Exception as e:  # a part's bug must not lose the other rows' scores; it is kept as their status
        if part.scope == "row" and len(rows) > 1:
            return [row for one in rows for row in applied(part, name, [one], ctx)]
        return [unscored(row, name, "error", _said(e)) for row in rows]
    if [r.trajectory.id for r in out] != [r.trajectory.id for r in rows]:
        raise UserError(f"verifier.{name}: a part must return the rows it was given, in order; it got {len(rows)} and returned {len(out)}")
    return [_checked(row, name) if getattr(part, "judges", True) else row for row in out]


def _checked(row: Row, name: str) -> Row:
    """A row on which part `name` has a finite reward or says why not."""
    if name not in row.score.statuses:
        return unscored(row, name, "abstain", "the part gave neither a reward nor a status")
    status, reward = row.score.statuses[name], row.reward(name)
    if status != "ok":
        return row if reward is None else unscored(row, name, status, row.score.errors.get(name, ""))
    if reward is None or not math.isfinite(reward):
        return unscored(row, name, "error", f"the reward is {reward}")
    return row


def _said(e: BaseException) -> str:
    """"ValueError: message (file.py:12)" on one line."""
    at = traceback.extract_tb(e.__traceback__)
    place = f" ({at[-1].filename.rsplit('/', 1)[-1]}:{at[-1].lineno})" if at else ""
    return " ".join(f"{type(e).__name__}: {e}".split()) + place
