"""Train stages that step one AdamW between them: two objectives, one optimizer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import UserError, nearest


def join(stages: Mapping[str, tuple[str, Any]]) -> Iterator[tuple[str, str]]:
    """Tie each learner that `shares` a stage's AdamW to that stage's learner; gives (stage, why not) for every one that cannot be.

    `stages`: {train stage of a policy: (the policy's name, its optimizer)}.
    """
    for name, (policy, optimizer) in stages.items():
        other = getattr(optimizer, "shares", None)
        if other is None:
            continue
        others = [s for s in stages if s != name]
        if other not in others:
            yield name, f"no other stage that trains a policy is named '{other}'{nearest(other, others)}"
        elif stages[other][0] != policy:
            yield name, f"stage '{other}' trains policy '{stages[other][0]}', not '{policy}'"
        elif not hasattr(stages[other][1], "join"):
            yield name, f"the optimizer of stage '{other}' ({type(stages[other][1]).__name__}) has no state that can be shared"
        else:
            try:
                optimizer.join(stages[other][1])
            except UserError as error:
                yield name, str(error)
