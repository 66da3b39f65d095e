"""The page of a comparison: its pictures show the numbers of its tables, and nothing of a run becomes markup."""

import re

import pytest

from selfevo.comparing.comparison import compare
from selfevo.report import compare as page
from selfevo.report.figures import Chart
from selfevo.report.rows import Dots
from selfevo.tables import rows_table

HOSTILE = "</table><script>window.hit = 1</script><img src=x onerror='window.hit = 2'> {{ 7 * 7 }} \u202e"


@pytest.fixture
def arm(run_dir, make, tmp_path):
    """Writes a run of an arm: pass@1 over the updates, and held-out samples of tasks a to d of which `right` are solved."""

    def write(name, seed, lr, values, right, suite="sums", end=True, questions="abcd"):
        rows = [make.judged(f"{q}-{seed}-{k}", "x", float(q in right), question=q * 3) for q in questions for k in range(2)]
        lines = []
        for i, value in enumerate(values):
            if i:
                spent = {"rollout/generated_tokens": 100.0 + 10 * seed, "time/generate": 1.0}
                lines.append(make.line(f"main.{i - 1}", "rollout", "rollout", spent, iteration=i - 1))
                lines.append(make.line(f"main.{i - 1}", "train", "train", {"train/tokens": 50.0}, iteration=i - 1))
            path = f"main.{i - 1}" if i else "start"
            lines.append(make.line(path, "evaluate", "evaluate", {f"eval/{suite}/pass@1": value, f"eval/{suite}/tasks": 4.0}))
        tables = {f"{lines[-1]['path']}/evaluate": (rows_table(rows, True), "rows")}
        spec = f"name: demo\nseed: {seed}\noptimizer: {{lr: {lr}}}\n"
        return run_dir(lines, end=end, spec=spec, tables=tables, root=tmp_path / "many" / name)

    return write


@pytest.fixture
def two(arm, tmp_path):
    for seed in (0, 1):
        arm(f"old-{seed}", seed, 0.1, [0.1, 0.2, 0.25], "a")
        arm(f"new-{seed}", seed, 0.2, [0.1, 0.5, 0.75 + 0.1 * seed], "abc")
    return compare([tmp_path / "many"], baseline=tmp_path / "many/old-0")


def test_the_pictures_show_the_means_of_the_arms_with_their_runs(two):
    (part,) = [page.results(two, "sums", ())]
    (figure,) = part.figures
    assert isinstance(figure, Dots) and [row.label for row in figure.rows] == ["new", "old"]
    new = figure.rows[0]
    assert new.value == pytest.approx(0.8) and new.single == (0.75, 0.85) and new.low < 0.75 < 0.85 < new.high
    assert figure.table[1][0][0] == "new" and "new: 0.8" in figure.spoken


def test_differences_are_drawn_per_arm_and_per_task_with_the_tasks_by_name(two):
    part = page.paired(two, two.against[0], (object(),))
    (figure,) = part.figures
    assert figure.mark == 0.0 and [(row.label, row.value, row.single) for row in figure.rows] == [("new", 0.5, (0.5, 0.5))]
    (duel,) = part.duels
    assert duel.picture.values == (1.0, 1.0, 0.0, 0.0) and duel.picture.counts == (2, 2, 0)
    assert sorted(t.question for t in duel.won) == ["bbb", "ccc"] and duel.lost == ()
    assert {(t.ours, t.theirs) for t in duel.won} == {("4 of 4", "0 of 4")}


def test_curves_are_drawn_over_updates_tokens_and_seconds_with_bands(two):
    figures = page.speeds(two, two.speeds[0], ()).figures
    assert [figure.x_label for figure in figures] == ["updates", "generated tokens", "seconds"]
    assert all(isinstance(figure, Chart) and [c.label for c in figure.curves] == ["new", "old"] for figure in figures)
    updates, tokens, _ = figures
    assert updates.curves[0].points == ((0, 0.1), (1, 0.5), (2, pytest.approx(0.8)))
    assert updates.curves[0].band[-1] == (2, 0.75, 0.85)
    assert tokens.curves[0].points[-1][0] == 200  # where the shorter of its runs ends
    assert tokens.curves[0].band[-1][1] == 0.75


def test_the_page_has_every_section_and_table(two, make):
    seen = make.Page(page.render(two))
    for words in ("Runs and settings", "Results on held-out tasks", "Differences on the same tasks", "Tasks won and lost", "Learning speed",
                  "Generated tokens to reach a pass@1 of sums", "Cost, evaluation included", "optimizer.lr"):  # fmt: skip
        assert words in seen.text, words
    assert not seen.scripts and len([t for t, a in seen.tags if t == "svg" and a.get("class") == "chart"]) == 6
    headers = [a for t, a in seen.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"]
    assert headers and headers[0]["content"].startswith("default-src 'none'")


def test_what_cannot_be_compared_or_was_not_finished_is_named(arm, tmp_path, make):
    arm("a", 0, 0.1, [0.1, 0.2], "a")
    arm("b", 0, 0.2, [0.1, 0.2], "w", questions="wz")
    arm("c", 0, 0.3, [0.1, 0.2], "a", suite="others")
    arm("d", 0, 0.4, [0.3], "ab", end=False)
    text = make.Page(page.render(compare([tmp_path / "many"]))).text
    assert "not compared: run b, for it has no held-out task in common with the baseline (2 and 4 tasks)" in text
    assert "not compared: run c, for it was not measured on sums" in text and "not measured on sums: run c" in text
    assert "Not in the curves, since they broke off or were measured once: d." in text and "unfinished" in text


def test_one_measurement_shows_no_curve_and_says_so(arm, tmp_path, make):
    arm("a", 0, 0.1, [0.2], "a")
    arm("b", 0, 0.2, [0.4], "ab")
    text = make.Page(page.render(compare([tmp_path / "many"]))).text
    assert "sums was measured once in every run, so there is no learning curve" in text


def test_hundreds_of_arms_are_drawn_as_far_as_they_can_be_told_apart(arm, tmp_path, make):
    for i in range(60):
        arm(f"{i}", 0, i, [0.1, i / 60], "abcd"[: i % 5])
    c = compare([tmp_path / "many"])
    html = page.render(c)
    text = make.Page(html).text
    assert "40 of 60: the highest 35 and the lowest 5" in text and "8 of 60: the baseline and the highest at their ends" in text
    assert "Task by task: the 12 of 59 arms that differ most." in text
    assert len(html) < 1_500_000


def test_names_and_tasks_stay_text(run_dir, make, tmp_path):
    for name in ("a", "b"):
        rows = [make.judged(f"{k}", "x", float(name == "b"), question=HOSTILE) for k in range(2)]
        lines = [make.line(path, "evaluate", "evaluate", {"eval/<b>su&ms/pass@1": v, "eval/<b>su&ms/tasks": 1.0})
                 for path, v in (("start", 0.1), ("main.0", 0.5))]  # fmt: skip
        spec = f"name: '<i>x</i>'\nseed: 0\n'<script>': \"{HOSTILE[:-1]}{name}\"\n"
        run_dir(lines, spec=spec, tables={"main.0/evaluate": (rows_table(rows, True), "rows")}, root=tmp_path / f"many/{name}<img>")
    html = page.render(compare([tmp_path / "many"]))
    seen = make.Page(html)
    assert not seen.scripts and not [t for t, a in seen.tags if t in ("img", "i", "iframe") or any(k.startswith("on") for k in a)]
    assert "{{ 7 * 7 }}" in seen.text and "⟨U+202E⟩" in seen.text and "\u202e" not in html
    assert not re.search(r"(src|href)=[\"'](?!#)", html)
