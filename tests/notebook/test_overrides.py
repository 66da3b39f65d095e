"""Python values become overrides that the command line's own grammar reads back as the same values."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfevo.errors import UserError
from selfevo.notebook.overrides import overrides, written


def parsed(text: str) -> Any:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import QuotedString

    def plain(value: Any) -> Any:
        if isinstance(value, QuotedString):
            return value.text
        if isinstance(value, dict):
            return {plain(k): plain(v) for k, v in value.items()}
        return [plain(v) for v in value] if isinstance(value, list) else value

    override = OverridesParser.create().parse_override(f"k={text}")
    assert not override.is_sweep_override()
    return plain(override.value())


KEYS = st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True)
TEXT = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=12)
LEAVES = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, width=32) | TEXT
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=6)


@given(VALUES)
def test_a_value_is_read_back_as_it_is(value: Any) -> None:
    back = parsed(written(value, "k"))
    assert back == value and type(back) is type(value)


@pytest.mark.parametrize("value, text", [
    (True, "true"), (None, "null"), ("dapo", "dapo"), ("tiny/sec", "tiny/sec"), ("null", "'null'"), ("1e-4", "'1e-4'"), ((1, 2), "[1,2]"),
    (np.float64(0.5), "0.5"), (np.int32(3), "3"), (np.bool_(True), "true"), (Path("a b"), "'a b'"), (math.inf, "inf"),
])  # fmt: skip
def test_values_look_as_one_would_type_them(value: Any, text: str) -> None:
    assert written(value, "k").replace(", ", ",") == text


def test_strings_mappings_and_keywords_come_in_the_order_of_the_call() -> None:
    given_ = ("scale=tiny", {"optimizer.lr": 1e-3})
    assert overrides("quickstart", given_, {"seed": 1, "optimizer": {"ema": 0.5, "lr": {"linear": [0.001, 0]}}}) == [
        "experiment=quickstart", "scale=tiny", "optimizer.lr=0.001", "seed=1", "optimizer.ema=0.5", "optimizer.lr={linear: [0.001, 0]}",
    ]  # fmt: skip
    assert overrides("experiment=quickstart", (), {}) == ["experiment=quickstart"] and overrides(None, (), {}) == []
    part = {"_target_": "selfevo.objectives.Entropy", "coef": 0.01}
    assert overrides(None, ({"+optimizer.objective.bonus": part},), {}) == [
        "+optimizer.objective.bonus={_target_: selfevo.objectives.Entropy, coef: 0.01}"
    ]


@pytest.mark.parametrize("call, words", [
    (lambda: overrides(None, (3,), {}), "overrides: expected 'key=value' or a mapping of keys, got 3"),  # type: ignore[arg-type]
    (lambda: overrides(None, (), {"seed": object()}), "seed: expected a number, text, list, mapping or None, got object"),
    (lambda: overrides(None, ({"a.b": {"c d": 1}},), {}), "a.b: a key may hold letters, digits"),
    (lambda: overrides(None, ("hydra.run.dir=x",), {}), "settings of Hydra belong to the command line; the directory of a run is dir="),
])  # fmt: skip
def test_what_cannot_be_an_override_is_refused(call: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        call()
