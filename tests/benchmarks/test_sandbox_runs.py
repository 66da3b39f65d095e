"""The benchmark of the sandbox runs at its small size; it compares what all sides printed by itself."""

from __future__ import annotations

import pytest

from benchmarks import sandbox


@pytest.mark.slow
def test_every_side_prints_the_same():
    found = sandbox.figures(quick=True)
    assert len(found) == 3 and all(f.ratio is not None and f.ratio > 0 for f in found)
    assert [f.aim for f in found] == [5.0, None, None]
