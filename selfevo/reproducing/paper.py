"""The block `paper` of an experiment: what it reproduces, as facts, and what nobody could confirm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import UserError, nearest

CONFIDENCE = {
    "code": "the released code was read",
    "full-text": "the paper was read, there is no code",
    "partial": "only parts of the paper could be read",
    "abstract-only": "only the abstract could be read; the formulas are the natural reading of it",
    "reconstructed": "the formulas were put together from secondary sources",
}
"""Where an experiment's facts come from."""


@dataclass(frozen=True)
class Claim:
    """A headline number of the paper, as a fact."""

    metric: str
    value: float | str | None
    model: str | None = None
    baseline: str | None = None
    baseline_value: float | str | None = None
    note: str | None = None


@dataclass(frozen=True)
class Paper:
    """`evolves`: what changes over a run, in a short sentence. `unconfirmed`: what the sources leave open, and what was chosen."""

    title: str
    arxiv: str
    year: int
    evolves: str
    confidence: str
    code: str | None = None
    claims: Sequence[Claim] = ()
    unconfirmed: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.confidence not in CONFIDENCE:
            raise UserError(f"paper.confidence: '{self.confidence}'{nearest(self.confidence, CONFIDENCE)}")


def paper(block: Mapping[str, Any], where: str) -> Paper:
    """The block as read from YAML. Raises UserError for unknown or missing keys, naming `where`."""
    given = dict(block)
    try:
        claims = tuple(Claim(**claim) for claim in given.pop("claims", None) or ())
        return Paper(**{**given, "claims": claims, "unconfirmed": tuple(given.pop("unconfirmed", None) or ())})
    except (TypeError, UserError) as error:
        said = str(error).replace("Paper.__init__() ", "").replace("Claim.__init__()", "claims:")
        raise UserError(f"{where}: paper: {said}") from None
