"""Curves are drawn where their values are, and nothing of them is lost."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfevo.report.charts import sections, spread
from selfevo.report.figures import Heat, chart, limits, means, thinned
from selfevo.report.numbers import duration, number
from selfevo.report.read import Line
from selfevo.report.samples import Example, choose, cut
from selfevo.report.series import Metrics, Point, Series, natural, places
from selfevo.report.vega import svg

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


def coordinates(drawing, colour=0):
    """Points of the first line of a colour in an SVG."""
    path = re.search(rf'<path [^>]*d="([^"]*)"[^>]*stroke="var\(--c{colour}\)"', drawing)[1]
    return [tuple(map(float, pair)) for pair in re.findall(r"(-?[\d.]+),(-?[\d.]+)", path)]


def test_a_higher_value_is_drawn_higher_and_inside_the_picture():
    values = [0.5, 0.25, 1.0, 0.0, 0.75]
    drawing = svg(chart("t", [series(values)]))
    points = coordinates(drawing)
    assert len(points) == len(values) and [x for x, _ in points] == sorted(x for x, _ in points)
    assert [y for _, y in sorted((-y, v) for (_, y), v in zip(points, values, strict=True))] == sorted(values)
    top, bottom = min(y for _, y in points), max(y for _, y in points)
    assert [(y - top) / (bottom - top) for _, y in points] == pytest.approx([1 - v for v in values], abs=0.02)
    assert 'viewBox="0 0 380 180"' in drawing and "<title" not in drawing and "<script" not in drawing


def test_values_that_are_close_together_or_equal_still_give_ticks_that_differ():
    for values in ([1.0002, 0.9999, 1.0011], [3.9e-7, 3.7e-7], [1.2e9, 1.3e9], [0.0, 0.0], [5.0]):
        words = re.findall(r'text-anchor="end"[^>]*>([^<]+)<', svg(chart("t", [series(values)])))
        assert len(set(words)) == len(words) >= 2, words


def test_the_interval_and_every_series_get_into_the_drawing_without_their_names():
    hostile = "</svg><script>alert(1)</script>"
    drawing = svg(chart("t", [series([0.2, 0.4], label=hostile), series([0.3, 0.1], label=hostile)],
                        band=(series([0.1, 0.3]), series([0.3, 0.5]))))
    assert drawing.count('fill="var(--c0)"') >= 1 and 'stroke="var(--c1)"' in drawing and "alert" not in drawing
    assert chart("t", [series([0.2, 0.4])], band=(series([0.1, 0.3]), series([0.3, 0.5]))).curves[0].band == ((0, 0.1, 0.3), (1, 0.3, 0.5))


def test_a_heat_map_has_a_cell_for_every_value_and_escapes_its_names():
    hostile = "</svg><script>alert(1)</script>"
    drawing = svg(Heat("t", "", ("a", hostile), ("0", "1", "2"), ((0.25, 1.0, None), (0.75, 0.0, None)), "executions"))
    assert len(re.findall(r'<path [^>]*fill="var\(--c0\)"', drawing)) == 4 and "<script" not in drawing and "&lt;/svg&gt;" in drawing


def test_the_table_under_a_chart_has_every_value_of_a_short_curve():
    header, rows = chart("t", [series([0.5, 0.25], [0, 2], "a"), series([1.0], [2], "b")]).table
    assert (header, rows) == (["updates so far", "a", "b"], [[0, 0.5, None], [2, 0.25, 1.0]])


@given(st.lists(finite, min_size=1, max_size=20))
def test_limits_hold_every_value_and_have_room(values):
    low, high = limits(values)
    assert low < high and low - 1e-6 * abs(low) <= min(values) and max(values) <= high + 1e-6 * abs(high) + 1e-12


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
    assert drawn.curves[0].mean == tuple(means(points, 50)) and "50 windows" in drawn.note
    assert chart("t", [series([0.0, 1.0] * 50)]).curves[0].mean == ()


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
