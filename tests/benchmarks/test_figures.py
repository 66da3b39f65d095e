"""The arithmetic of the benchmark table, on numbers worked by hand."""

from __future__ import annotations

import pytest

from benchmarks.figures import Figure, against_limit, faster, interleaved, ratios


def test_ratios_are_taken_pair_by_pair():
    assert ratios([6.0, 3.0, 8.0], [2.0, 3.0, 2.0]) == (3.0, 1.0, 4.0)
    # The ratio of the medians would be 6 / 2; the third pair alone was slow on both sides.
    assert ratios([2.0, 2.0, 20.0], [1.0, 1.0, 10.0]) == (2.0, 2.0, 2.0)


def test_ratios_need_as_many_of_one_as_of_the_other():
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])


def test_faster_divides_the_peers_seconds_by_ours():
    f = faster("t", "w", "peer", ours=[1.0, 2.0, 2.0], peer=[3.0, 2.0, 8.0], aim=2.5)
    assert (f.ratio, f.low, f.high, f.ours, f.peer, f.repeats, f.better) == (3.0, 1.0, 4.0, 2.0, 3.0, 3, "higher")
    assert f.met is True


def test_against_limit_divides_our_seconds_by_the_limits():
    f = against_limit("t", "w", "limit", ours=[3.0, 4.0, 9.0], bound=[2.0, 2.0, 3.0], aim=1.9)
    assert (f.ratio, f.low, f.high, f.ours, f.peer, f.better) == (2.0, 1.5, 3.0, 4.0, 2.0, "lower")
    assert f.met is False


@pytest.mark.parametrize(
    "better, ratio, aim, met",
    [
        ("higher", 2.5, 2.5, True), ("higher", 2.4, 2.5, False), ("lower", 1.35, 1.35, True), ("lower", 1.4, 1.35, False),
        ("higher", None, 2.5, None), ("lower", 1.0, None, None),
    ],
)  # fmt: skip
def test_the_median_meets_the_aim_from_its_side(better, ratio, aim, met):
    figure = Figure("t", "w", "b", ratio, aim=aim, better=better)
    assert figure.met is met
    assert figure.to_json()["met"] is met


def test_calls_take_turns_after_their_warm_up():
    said = []
    times = interleaved({"a": lambda: said.append("a"), "b": lambda: said.append("b")}, repeats=3, warmup=1)
    assert "".join(said) == "abababab"
    assert {name: len(t) for name, t in times.items()} == {"a": 3, "b": 3}
