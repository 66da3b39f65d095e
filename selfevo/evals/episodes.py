"""Judged rows as episodes of hops: what measures of several attempts start from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..records import Row, Task
from ..verifiers.answers import Extract, answer_of


@dataclass(frozen=True, slots=True)
class Attempts:
    """One episode's solutions in order: whether each was right, and what each answered (None: no well-formed answer)."""

    task: Task
    right: tuple[bool, ...]
    answers: tuple[str | None, ...]


def attempts(rows: Iterable[Row], solved: Callable[[Row], bool]) -> list[Attempts]:
    """The episodes of judged rows, sorted by task and by episode, so that nothing depends on the order of rows.

    Solutions are the rows with a key `hop` and the final ones; an episode recorded as one row is one attempt. Critiques are left out.
    Answers are what the verifier left, or extracted here where no part left any.
    """
    extract, found = Extract(), [row for row in rows if "hop" in row.trajectory.keys or row.trajectory.final]
    given = any("answer" in row.score.info for row in found)
    episodes: dict[tuple[str, str], list[Row]] = {}
    for row in found:
        episodes.setdefault((row.trajectory.task.id, row.trajectory.episode), []).append(row)
    out = []
    for _, mine in sorted(episodes.items()):
        mine.sort(key=lambda row: int(row.trajectory.keys.get("hop", "0")))
        answers = tuple(row.score.info.get("answer") if given else answer_of(row, extract) for row in mine)
        out.append(Attempts(mine[0].trajectory.task, tuple(map(solved, mine)), answers))
    return out


def by_task(episodes: Sequence[Attempts]) -> list[list[Attempts]]:
    """The episodes of each task, in the order of `attempts`."""
    tasks: dict[str, list[Attempts]] = {}
    for episode in episodes:
        tasks.setdefault(episode.task.id, []).append(episode)
    return list(tasks.values())
