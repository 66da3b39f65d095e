"""The page of a sweep: ranking, effects and parallel coordinates, as its runs logged them."""

import pytest

from selfevo import report
from selfevo.errors import UserError
from selfevo.report import sweep

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
    assert not seen.scripts and "Best: lr 0.4, seed 1, eval/sums/pass@1 0.9" in str(seen.tags)


def test_the_effect_of_a_key_is_the_mean_over_the_runs_with_each_value(root):
    read = sweep.read(root)
    assert [e.key for e in read.effects] == ["lr", "seed"]
    (low, high) = read.effects[0].levels
    assert (low.value, low.runs, low.low, low.high) == ("0.1", 2, 0.2, 0.3) and (high.value, high.low, high.high) == ("0.4", 0.5, 0.9)
    assert (low.mean, high.mean, read.effects[0].span) == pytest.approx((0.25, 0.7, 0.45))
    assert read.picture.axes == (("lr", ("0.1", "0.4")), ("seed", ("0", "1")))
    assert read.picture.lines == (((1, 1), 0.9), ((1, 0), 0.5), ((0, 1), 0.3), ((0, 0), 0.2))


def test_a_folder_whose_runs_measured_nothing_is_refused(run_dir, make, tmp_path):
    run_dir([make.line("main.0", "train", "train", {})], root=tmp_path / "many/0")
    with pytest.raises(UserError, match="none of its 1 runs has logged an evaluation"):
        report.write(tmp_path / "many")
