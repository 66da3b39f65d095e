"""Paired comparison of versions of a memory: the same tasks and draws under each, outcome by outcome."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UserError, nearest
from ..records import Row


@dataclass(frozen=True, slots=True)
class Paired:
    """How version `after` did against `before` on the pairs both were judged on.

    `mean_gain` is the mean of r_after - r_before over those pairs (0.0 without any). `errors` counts pairs where only `before` has a
    reward, `dropped` those where `before` has none; neither is in the other numbers. `p` is the one-sided exact sign test: the
    probability of at least this many wins among wins + losses if each were a coin toss (ties say nothing; 1.0 without any).
    """

    before: str
    after: str
    wins: int
    losses: int
    ties: int
    errors: int
    dropped: int
    mean_gain: float
    p: float

    @property
    def pairs(self) -> int:
        """Number of pairs judged on both sides."""
        return self.wins + self.losses + self.ties


def sign_test(wins: int, losses: int) -> float:
    """P(X >= wins) for X ~ Binomial(wins + losses, 1/2), from exact integers."""
    n = wins + losses
    return sum(math.comb(n, k) for k in range(wins, n + 1)) / 2**n


def versions_in(rows: Sequence[Row], memory: str) -> list[str]:
    """Versions of `memory` that the rows read, in order of first appearance: a probe's `bind` order, baseline first.

    Raises UserError when a row did not read the memory.
    """
    found: dict[str, None] = {}
    for row in rows:
        read = row.trajectory.memories
        if memory not in read:
            hint = nearest(memory, read) if read else ""
            raise UserError(f"trajectory {row.trajectory.id} did not read memory '{memory}': give it to the role under `memories`{hint}")
        found[version_id(read[memory])] = None
    return list(found)


def pair_up(rows: Sequence[Row], memory: str, before: str, after: str) -> list[tuple[Row, Row]]:
    """(row under `before`, row under `after`) of the same task and sample; the n-th of one with the n-th of the other.

    Rows pair by task id and role, and by the key `sample` where they have it. Raises UserError when one side lacks a partner: a comparison
    on different tasks would not be paired.
    """
    sides: dict[str, dict[tuple[str, ...], Row]] = {before: {}, after: {}}
    for row in rows:
        side = sides.get(version_id(row.trajectory.memories[memory]))
        if side is not None:
            t = row.trajectory
            key, place = (t.task.id, t.role, t.keys.get("sample", "")), 0
            while (*key, str(place)) in side:
                place += 1
            side[(*key, str(place))] = row
    alone = sorted(set(sides[before]) ^ set(sides[after]))
    if alone:
        raise UserError(
            f"memory '{memory}': {len(alone)} of the probe's rows have no partner under the other of {before} and {after} "
            f"(first: task {alone[0][0]}); run both on the same tasks with `bind` and `seed_by: [task]`"
        )
    return [(row, sides[after][key]) for key, row in sides[before].items()]


def paired(rows: Sequence[Row], memory: str, reward: str = "score", before: str | None = None, after: str | None = None) -> Paired:
    """Compare two versions of `memory` on a paired probe.

    `before` and `after` are version ids; left out, the rows must hold exactly two versions, the first to appear being `before`.
    Raises UserError when they do not, or when the rows are not paired.
    """
    found = versions_in(rows, memory)
    if before is None or after is None:
        if len(found) != 2:
            raise UserError(f"memory '{memory}': a paired comparison needs rows under two versions, found {', '.join(found) or 'none'}")
        before, after = found
    gains, errors, dropped = [], 0, 0
    for old, new in pair_up(rows, memory, before, after):
        r_old, r_new = old.reward(reward), new.reward(reward)
        if r_old is None:
            dropped += 1
        elif r_new is None:
            errors += 1
        else:
            gains.append(r_new - r_old)
    wins, losses = sum(g > 0 for g in gains), sum(g < 0 for g in gains)
    mean = math.fsum(gains) / len(gains) if gains else 0.0
    return Paired(before, after, wins, losses, len(gains) - wins - losses, errors, dropped, mean, sign_test(wins, losses))


def version_id(version: str) -> str:
    """The id "000003" of "000003" or "skills@000003"."""
    return version.rpartition("@")[2]
