"""A number for each value of a key: which turn, hop, role or source a sample comes from, as a column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import UserError
from ..protocols import Number, RunCtx
from ..records import Column, Row, Sample
from ..samples.common import key_of


class ByKey:
    """The number given for the row's value of a key; `default` for values not listed.

    No advantage by itself: with 0 and 1 it is a term's `where` (a coefficient per turn is one term per turn), with other numbers a
    weight column. Numbers may vary over the run. One number per sample. The key is the sample's where its builder set it (`turn` of
    `EachTurn`), else the row's.

    Args:
        key: name of the key.
        values: value of the key to number.
        default: number of every other value; None: such a value is an error.
    """

    def __init__(self, key: str, values: Mapping[str, Number], default: Number | None = 0.0):
        if not values:
            raise UserError("advantages.ByKey: `values` is empty; expected {value of the key: number}")
        self.key, self.values, self.default = key, dict(values), default

    def __call__(self, samples: Sequence[Sample], rows: Sequence[Row], ctx: RunCtx) -> list[Column]:
        """One number per sample. Raises UserError where a row lacks the key, or has a value without a number."""
        numbers = {value: ctx.value(number) for value, number in self.values.items()}
        other = None if self.default is None else ctx.value(self.default)
        out: list[Column] = []
        for s in samples:
            value = s.keys[self.key] if self.key in s.keys else key_of(rows[s.row], (self.key,), f"advantage '{ctx.name}'")[0]
            number = numbers.get(value, other)
            if number is None:
                raise UserError(f"advantage '{ctx.name}': the key '{self.key}' is '{value}', for which `values` has no number")
            out.append(number)
        return out
