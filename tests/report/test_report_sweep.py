"""The page of a sweep: ranking, effects and parallel coordinates, as its runs logged them."""

import pytest

from selfevo import report
from selfevo.report import sweep
from selfevo.report.parallel import heads, round_values
from selfevo.sweeps.jobs import Jobs, Outcome

VALUES = {(0, 0.1): 0.2, (0, 0.4): 0.5, (1, 0.1): 0.3, (1, 0.4): 0.9}


@pytest.fixture
def root(run_dir, make, tmp_path):
    """Four runs over two seeds and two learning rates, and a fifth that was never evaluated."""
    for i, ((seed, lr), value) in enumerate(VALUES.items()):
        lines = [make.evaluation("start", 0.1, 0.0, 0.2), make.evaluation("main.0", value, value - 0.1, value + 0.1)]
        run_dir(lines, spec=f"name: x\nseed: {seed}\nlr: {lr}\n", root=tmp_path / f"many/{i}")
    lines = [make.line("main.0", "train", "train", {"train/loss": 1.0})]
    run_dir(lines, end=False, spec="name: x\nseed: 2\nlr: 0.4\n", root=tmp_path / "many/4")
    return tmp_path / "many"


def test_runs_are_ranked_by_the_last_value_and_those_without_one_come_last(root, make):
    seen = make.Page(report.write(root).read_text())
    rows = seen.rows("ranked")
    assert [texts[:2] for texts, _ in rows] == [["1", "3"], ["2", "1"], ["3", "2"], ["4", "0"], ["–", "4"]]
    assert [numbers[:1] for _, numbers in rows] == [[0.9], [0.5], [0.3], [0.2], []]
    assert rows[0][1] == [0.9, 0.8, 1.0] and rows[0][0][3:] == ["0.4", "1", "done"]
    assert ("a", {"href": "3/report.html"}) not in seen.tags  # no page was written there
    assert not seen.scripts and "Best: lr 0.4, seed 1, eval/sums/pass@1 0.9" in str(seen.tags)


def test_the_effect_of_a_key_is_the_mean_over_the_runs_with_each_value(root):
    read = sweep.read(root)
    assert [e.key for e in read.effects] == ["lr", "seed"]
    (low, high) = read.effects[0].levels
    assert (low.value, low.runs, low.low, low.high) == ("0.1", 2, 0.2, 0.3) and (high.value, high.low, high.high) == ("0.4", 0.5, 0.9)
    assert (low.mean, high.mean, read.effects[0].span) == pytest.approx((0.25, 0.7, 0.45))
    assert [(axis.key, axis.marks) for axis in read.picture.axes] == [("lr", ((0, "0.1"), (1, "0.4"))), ("seed", ((0, "0"), (1, "1")))]
    assert [(line.places, line.value) for line in read.picture.lines] == [((1, 1), 0.9), ((1, 0), 0.5), ((0, 1), 0.3), ((0, 0), 0.2)]
    assert read.drawn[0].table[1] == [["0.1", 2, 0.25, 0.2, 0.3], ["0.4", 2, 0.7, 0.5, 0.9]]
    assert {figure.limits for figure in read.drawn} == {(0.2, 0.9)}


def test_runs_that_measured_nothing_are_listed_without_a_rank(run_dir, make, tmp_path):
    (tmp_path / "many/0").parent.mkdir()
    run_dir([make.line("main.0", "train", "train", {})], root=tmp_path / "many/0")
    seen = make.Page(report.write(tmp_path / "many").read_text())
    assert "None has logged an evaluation" in seen.text and [texts for texts, _ in seen.rows("ranked")] == [["–", "0", "done"]]


def test_failed_jobs_are_named_with_their_error_and_pages_are_linked(run_dir, make, tmp_path):
    run_dir([make.evaluation("main.0", 0.5, 0.4, 0.6)], spec="seed: 0\n", root=tmp_path / "many/0")
    (tmp_path / "many/0/report.html").write_text("")
    Jobs(tmp_path / "many").write(Outcome(1, ("seed=<b>1</b>",), "many/1", "failed", 1, "no <i>memory</i>\nmore"))
    seen = make.Page(report.write(tmp_path / "many").read_text())
    assert ("a", {"href": "0/report.html"}) in seen.tags and "no <i>memory</i> (and 1 more)" in seen.text
    assert [texts[:2] for texts, _ in seen.rows("ranked")] == [["1", "0"], ["–", "1"]] and "1 done, 1 failed" in seen.text


def test_runs_that_did_not_finish_have_no_place_where_others_did(run_dir, make, tmp_path):
    for i, (value, end) in enumerate(((0.5, True), (0.9, False), (0.6, True))):
        run_dir([make.evaluation("main.0", value, 0.4, 0.6)], end=end, spec=f"seed: {i}\n", root=tmp_path / f"many/{i}")
    read = sweep.read(tmp_path / "many")
    assert [(r.label, r.counts, r.value) for r in read.runs] == [("2", True, 0.6), ("0", True, 0.5), ("1", False, 0.9)]
    assert [v.value for v in read.effects[0].levels] == ["0", "2"]
    assert "have no place and no part in the effects" in make.Page(report.write(tmp_path / "many").read_text()).text
    (tmp_path / "many/0/manifest.jsonl").unlink()
    (tmp_path / "many/2/manifest.jsonl").unlink()
    assert [(r.label, r.counts) for r in sweep.read(tmp_path / "many").runs] == [("1", True)]


def test_a_key_of_many_numbers_is_drawn_over_them_and_told_by_quarters(run_dir, make, tmp_path):
    for i in range(20):
        run_dir([make.evaluation("main.0", i / 20, 0.0, 1.0)], spec=f"seed: 0\nlr: {10 ** (i / 5 - 5)}\nword: w{i}\nkind: {i % 2}\n",
                root=tmp_path / f"many/{i}")  # fmt: skip
    read = sweep.read(tmp_path / "many")
    assert [e.key for e in read.effects] == ["lr", "kind"]
    lr = read.effects[0]
    assert len(lr.points) == 20 and [v.runs for v in lr.levels] == [5] * 4 and lr.levels[0].mean == pytest.approx(0.1)
    scatter = read.drawn[0]
    assert scatter.kind == "scatter" and scatter.log and scatter.table[0] == ["lr", "eval/sums/pass@1"]
    assert read.words == ("word: of so many different words no effect is shown",)
    axis = next(a for a in read.picture.axes if a.key == "lr")
    assert [text for _, text in axis.marks] == ["1e-05", "0.0001", "0.001", "0.01"][: len(axis.marks)] and len(axis.marks) >= 3
    assert [line.places[0] for line in read.picture.lines] == pytest.approx([i / 19 for i in range(19, -1, -1)])


@pytest.mark.parametrize("keys", [1, 2, 5])
@pytest.mark.parametrize("jobs", [1, 6])
def test_a_page_can_be_drawn_of_any_number_of_keys_and_jobs(run_dir, make, tmp_path, keys, jobs):
    for i in range(jobs):
        spec = "seed: 0\n" + "".join(f"k{n}: {i * (n + 1) if n % 2 else 'abcdef'[i]}\n" for n in range(keys))
        run_dir([make.evaluation("main.0", 0.5, 0.5, 0.5)], spec=spec, root=tmp_path / f"many/{i}")
    seen = make.Page(report.write(tmp_path / "many").read_text())
    assert "Not drawn" not in seen.text and len(seen.rows("ranked")) == jobs
    drawn = sum(t == "figure" for t, _ in seen.tags)
    assert drawn == (0 if jobs == 1 else {1: 1, 2: 3, 5: 4}[keys])  # keys that vary alike count once


def test_round_values_lie_within_and_are_few():
    assert round_values(0.1, 0.4, False) == [0.1, 0.2, 0.3, 0.4]
    assert round_values(1e-5, 0.05, True) == pytest.approx([1e-5, 1e-4, 1e-3, 1e-2])
    assert round_values(0.002, 0.05, True) == pytest.approx([0.003, 0.01, 0.03])
    assert heads(["a.lr", "b.lr", "scale.group", "lr"]) == ["a.lr", "b.lr", "group", "lr"]
