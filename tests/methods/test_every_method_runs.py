"""Every method's tiny experiment, at smoke-test sizes: it runs, it can be cut off and resumed, and both it and its baseline log the metric
that the ledger compares."""

from __future__ import annotations

from pathlib import Path

import pytest
from cutting import Cut, CutAfter, state_of

from selfevo.reproducing.plan import methods, plan
from selfevo.running import execute

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("identifier", methods())
def test_a_run_cut_off_in_the_middle_ends_equal_to_one_that_never_was(identifier: str, tmp_path: Path) -> None:
    planned = plan(identifier, [0], ["scale=tiny", "scale.eval_samples=4"])
    method, baseline = planned.arms
    whole = execute(method.spec, tmp_path / "whole")
    expected = state_of(whole)
    assert any(planned.block.metric in metrics for _, _, _, metrics in expected[0])
    with pytest.raises(Cut):
        execute(method.spec, tmp_path / "cut", observers=[CutAfter(1 + len(expected[0]) // 2)])
    assert state_of(execute(method.spec, tmp_path / "cut", resume=True)) == expected
    other = execute(baseline.spec, tmp_path / "baseline")
    assert any(planned.block.metric in metrics for _, _, _, metrics in state_of(other)[0])
