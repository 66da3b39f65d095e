"""Whether something that only a teacher may read got where it must not: into what is trained on, or into an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from real_runs import Finished

from selfevo.commits import table_name
from selfevo.records import Sample
from selfevo.tables import samples_from

Found = Callable[[str], bool]
"""Whether a text (a decoded context) shows it."""


def fitted(run: Finished, path: str, stage: str = "train") -> list[Sample]:
    """Samples that a train stage recorded."""
    return samples_from(run.run.store.read_table(table_name(path, stage)))


def sampled_contexts(run: Finished, path: str, stage: str) -> list[str]:
    """What the policy had read whenever it spoke in a rollout or an evaluation."""
    codec = run.run.world.codec("solver")
    return [codec.decode(t.context) for row in run.rows(path, stage) for t in row.trajectory.turns if t.source == "policy"]


def trained_contexts(run: Finished, samples: Sequence[Sample], context: str = "train") -> list[str]:
    """One context of each sample, as text."""
    return [run.run.world.codec("solver").decode(s.contexts[context]) for s in samples]
