"""The arithmetic of the benchmark table, on numbers worked by hand."""

from __future__ import annotations

import pytest

from benchmarks.figures import Figure, against_limit, faster, interleaved, interval, merged, ratios


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


@pytest.mark.parametrize("n, low, high", [(5, 1, 5), (6, 1, 6), (9, 2, 8), (12, 3, 10), (20, 6, 15), (100, 40, 61)])
def test_the_intervals_ranks_are_those_of_the_sign_tests_tables(n: int, low: int, high: int) -> None:
    assert interval([float(i) for i in range(n, 0, -1)]) == (low, high)


def test_calls_that_alternate_are_first_in_turn() -> None:
    order: list[str] = []
    times = interleaved({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 4, alternate=True)
    assert "".join(order) == "ab" + "abbaabba" and len(times["a"]) == len(times["b"]) == 4


def test_several_passes_are_one_figure_of_medians_and_their_spread() -> None:
    def one_pass(ratio: float, ours: float | None) -> list[Figure]:
        return [Figure("tables", "write", "pickle", ratio, ours=ours), Figure("tables", "space", "pickle", 5.0, ratio, 6.0)]

    first, second = merged([one_pass(3.0, 1.0), one_pass(1.0, None), one_pass(2.0, 4.0)])
    assert (first.ratio, first.low, first.high, first.ours, first.peer, first.repeats) == (2.0, 1.0, 3.0, 2.5, None, 3)
    assert (second.ratio, second.low, second.high) == (5.0, 1.0, 6.0)
