"""Curves are drawn where their values are, and nothing of them is lost."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfevo.report.charts import sections, spread
from selfevo.report.figures import chart, means, thinned, ticks
from selfevo.report.numbers import duration, number
from selfevo.report.read import Line
from selfevo.report.samples import Example, choose, cut
from selfevo.report.series import Metrics, Point, Series, natural, places

finite = st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: round(x, 6))


def series(values, updates=None, label="x"):
    at = range(len(values)) if updates is None else updates
    return Series("train", "train/x", tuple(Point(u, v, f"main.{i}") for i, (u, v) in enumerate(zip(at, values, strict=True))), label)


def lines(*items):
    out, updates = [], 0
    for i, (stage, kind, metrics) in enumerate(items):
        updates += kind == "train"
        out.append(Line(f"main.{i}", stage, kind, i, updates, 1.0, metrics, {}))
    return out


def coordinates(path):
    return [tuple(map(float, pair.split(","))) for pair in re.findall(r"-?[\d.]+,-?[\d.]+", path)]


@given(finite, st.floats(1e-6, 1e6), st.integers(3, 10))
def test_ticks_enclose_the_range_at_equal_round_steps(low, relative, about):
    high = low + relative * max(1.0, abs(low))
    marks = ticks(low, high, about)
    slack = 1e-6 * max(1.0, abs(low), abs(high))
    assert marks[0] <= low + slack and marks[-1] >= high - slack
    assert 2 <= len(marks) <= about + 3
    step = (marks[-1] - marks[0]) / (len(marks) - 1)
    assert f"{step:.0e}"[0] in "125"


@given(st.lists(finite, min_size=1, max_size=40))
def test_a_higher_value_is_drawn_higher_and_inside_the_axes(values):
    drawn = chart("t", [series(values)])
    points = coordinates(drawn.curves[0].path)
    assert len(points) == len(values)
    for (xa, ya), a in zip(points, values, strict=True):
        assert drawn.left <= xa <= drawn.width - drawn.right and drawn.top - 0.1 <= ya <= drawn.height - drawn.bottom + 0.1
        for (_, yb), b in zip(points, values, strict=True):
            assert a <= b or ya <= yb


def test_a_value_on_a_tick_is_drawn_at_that_tick():
    drawn = chart("t", [series([0.0, 0.5, 1.0])])
    at = {label: y for y, label in drawn.y_ticks}
    assert [y for _, y in coordinates(drawn.curves[0].path)] == [at["0.0"], pytest.approx((at["0.0"] + at["1.0"]) / 2, abs=0.06), at["1.0"]]


def test_ticks_that_are_close_together_still_read_differently():
    for values in ([1.0002, 0.9999, 1.0011], [3.9e-7, 3.7e-7], [1.2e9, 1.3e9], [0.0, 0.0], [5.0]):
        labels = [label for _, label in chart("t", [series(values)]).y_ticks]
        assert len(set(labels)) == len(labels) >= 2


def test_the_band_follows_high_forwards_and_low_backwards():
    drawn = chart("t", [series([0.2, 0.4])], band=(series([0.1, 0.3]), series([0.3, 0.5])))
    (x0, y0), (x1, y1) = coordinates(drawn.curves[0].path)
    band = coordinates(drawn.curves[0].band)
    assert [x for x, _ in band] == [x0, x1, x1, x0]
    assert band[0][1] < y0 < band[3][1] and band[1][1] < y1 < band[2][1]


@given(st.lists(finite, min_size=1, max_size=300), st.integers(10, 60))
def test_thinning_keeps_ends_extremes_and_order(values, limit):
    points = list(enumerate(values))
    kept = thinned(points, limit)
    assert len(kept) <= limit and kept[0] == points[0] and kept[-1] == points[-1]
    assert {max(values), min(values)} <= {v for _, v in kept}
    assert [x for x, _ in kept] == sorted(x for x, _ in kept) and set(kept) <= set(points)


def test_a_long_curve_is_overlaid_with_the_means_of_equal_windows():
    points = [(i, float(i % 2)) for i in range(200)]
    assert means(points, 50) == [(4 * w + 1.5, 0.5) for w in range(50)]
    drawn = chart("t", [series([v for _, v in points])])
    at = {label: y for y, label in drawn.y_ticks}
    middle = (at["0.0"] + at["1.0"]) / 2
    assert [y for _, y in coordinates(drawn.curves[0].mean)] == [pytest.approx(middle, abs=0.06)] * 50 and "50 windows" in drawn.note
    assert chart("t", [series([0.0, 1.0] * 50)]).curves[0].mean == ""


def test_x_is_updates_unless_a_stage_ran_twice_between_two_of_them():
    assert places([series([1, 2, 3], [0, 2, 5])]) == ([[0, 2, 5]], "updates so far")
    xs, label = places([series([1, 2, 3], [0, 0, 5]), series([1, 2], [0, 1])])
    assert xs == [[0, 1, 2], [0, 1]] and label.startswith("executions")


def test_the_evaluation_before_training_stands_at_0_and_the_next_after_its_updates():
    metrics = Metrics(lines(("evaluate", "evaluate", {"eval/s/pass@1": 0.1}), ("train", "train", {"train/loss": 3.0}),
                            ("train", "train", {"train/loss": 2.0}), ("evaluate", "evaluate", {"eval/s/pass@1": 0.2})))
    assert [p.updates for p in metrics.named("eval/s/pass@1")[0].points] == [0, 2]
    assert [p.updates for p in metrics.named("train/loss")[0].points] == [1, 2]


def test_every_moving_metric_is_drawn_or_said_to_equal_a_curve_and_still_ones_are_listed():
    def metrics(i):
        return {"train/loss": i * 1.0, "train/lr": 0.1, "train/grad_norm": 2.0 * i, "new/thing": -1.0 * i, "new/copy": -1.0 * i,
                "eval/s/pass@1/level=2": 0.1 * i, "eval/s/pass@1/level=10": 0.2 * i, "vary/t": 1.0 - i, "alone": 0.5 * i}

    made = sections(Metrics(lines(*[("train", "train", metrics(i)) for i in range(3)])))
    drawn = {c.title: [curve.label for curve in c.curves] for s in made for c in s.charts}
    assert drawn["pass@1 on s by level"] == ["2", "10"]
    assert {"loss", "train/grad_norm", "new/thing", "vary/t", "alone"} <= set(drawn) and "new/copy" not in drawn
    assert [m for s in made for m in s.same] == ["new/copy"]
    assert [c for s in made for c in s.constant] == [("train/lr", "train", 0.1)]


def test_two_stages_that_log_one_metric_are_two_curves_named_by_stage():
    items = [(stage, "rollout", {"rollout/length": float(i + j)}) for i in range(3) for j, stage in enumerate(("rollout", "retry"))]
    (section,) = sections(Metrics(lines(*items)))
    assert [c.label for c in section.charts[0].curves] == ["rollout/length (retry)", "rollout/length (rollout)"]


def test_at_most_eight_curves_share_a_chart_and_the_first_and_last_are_among_them():
    many = [series([0, 1], label=str(i)) for i in range(20)]
    shown = spread(many, 8)
    assert len(shown) == len({s.label for s in shown}) == 8 and shown[0] is many[0] and shown[-1] is many[-1]


def test_levels_are_in_order_of_size():
    assert sorted(["level=10", "level=9", "level=2.5"], key=natural) == ["level=2.5", "level=9", "level=10"]


def test_numbers_and_durations_as_a_reader_writes_them():
    numbers = {0.0: "0", 1.0: "1", 1234567.0: "1,234,567", 0.28125: "0.2812", 2235.4: "2,235", 2.5e-7: "2.5e-07", -0.02: "-0.02"}
    assert {x: number(x) for x in numbers} == numbers
    durations = {0.0: "–", 0.0001: "< 1 ms", 0.038: "38 ms", 1.25: "1.25 s", 59.99: "60 s", 200.0: "3 min 20 s", 7500.0: "2 h 5 min"}
    assert {s: duration(s) for s in durations} == durations


def test_examples_are_the_highest_middle_and_lowest_reward_and_the_first_with_a_problem():
    examples = [Example(str(r), "p", "finished", [], None, [], {"format": 1.0, "score": r}) for r in (0.2, 0.9, 0.5, 0.1, 0.7)]
    examples.append(Example("broken", "p", "error", [], None, [], problems=[("episode", "error", "boom")]))
    assert [e.id for e in choose(examples)] == ["0.9", "0.5", "0.1", "broken"]
    assert [e.id for e in choose(examples[5:])] == ["broken"]


def test_a_very_long_text_keeps_its_ends_and_says_how_much_is_left_out():
    text = "a" * 3000 + "b" * 3000
    assert cut(text) == "a" * 2000 + "\n[… 2,000 characters left out …]\n" + "b" * 2000
    assert cut("tab\tline\n\x07") == "tab\tline\n␇"
