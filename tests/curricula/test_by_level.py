"""ByLevel: what is open when, mastery judged on the hardest open level only, exact continuation."""

from __future__ import annotations

import pytest

from selfevo.curricula import ByLevel
from selfevo.errors import UserError
from selfevo.tasks import ChainSum
from selfevo.tasks.dataset import Dataset


def levels(tasks):
    return {task.difficulty for task in tasks}


def test_a_schedule_opens_a_level_every_few_iterations_and_never_closes_one(ctx_at, source):
    curriculum, seen = ByLevel(source(), start=1, every=2), []
    for iteration in (0, 1, 2, 3, 4, 9, 2):
        ctx = ctx_at(iteration)
        drawn = curriculum.sample(20, ctx)
        assert max(levels(drawn)) <= ctx.metrics["curriculum/open_levels"]
        seen.append(ctx.metrics["curriculum/open_levels"])
    assert seen == [1, 1, 2, 2, 3, 3, 3]


def test_with_every_level_open_it_draws_as_uniform_over_levels(ctx_at):
    counts = [t.difficulty for t in ByLevel(ChainSum(levels=[1, 2]), start=9, every=1).sample(400, ctx_at())]
    assert 150 < counts.count(1.0) < 250


def test_mastery_needs_a_full_window_at_the_threshold(ctx_at, source, rows_of):
    curriculum = ByLevel(source(), threshold=0.75, window=4)
    easy = [t for t in source() if t.difficulty == 1.0][:4]
    curriculum.update(rows_of(easy[:3], [1, 1, 1]), ctx_at())
    assert levels(curriculum.sample(9, ctx_at())) == {1.0}  # three outcomes are not a window
    curriculum.update(rows_of(easy[:2], [0, 0]), ctx_at())  # last four: 1 1 0 0
    assert levels(curriculum.sample(9, ctx_at())) == {1.0}
    curriculum.update(rows_of(easy[:3], [1, 1, 1]), ctx_at())  # last four: 0 1 1 1, exactly 0.75
    assert levels(curriculum.sample(30, ctx_at())) == {1.0, 2.0}


def test_only_the_hardest_open_level_counts_and_errors_do_not(ctx_at, source, rows_of):
    curriculum = ByLevel(source(), start=2, threshold=1.0, window=2)
    by = {level: [t for t in source() if t.difficulty == level][:4] for level in (1.0, 2.0)}
    curriculum.update(rows_of(by[1.0], [1, 1, 1, 1]), ctx_at())
    curriculum.update(rows_of(by[2.0], [1, None, None, None]), ctx_at())
    assert curriculum.state_dict() == {"open": 2, "recent": "1"}
    curriculum.update(rows_of(by[2.0][:1], [1]), ctx_at())
    assert curriculum.state_dict() == {"open": 3, "recent": ""}


def test_the_frontier_gets_its_share(ctx_at):
    drawn = ByLevel(ChainSum(levels=[1, 2, 3]), start=3, every=1, frontier=0.8).sample(500, ctx_at())
    assert 0.74 < sum(t.difficulty == 3.0 for t in drawn) / 500 < 0.86  # 3.3 standard deviations


def test_state_round_trip_continues_exactly(ctx_at, source, rows_of):
    one, two = (ByLevel(source(), threshold=0.5, window=3) for _ in range(2))
    easy = [t for t in source() if t.difficulty == 1.0][:2]
    one.update(rows_of(easy, [1, 0]), ctx_at())
    two.load_state_dict(one.state_dict())
    for curriculum in (one, two):
        curriculum.update(rows_of(easy[:1], [1]), ctx_at())
    assert one.state_dict() == two.state_dict() == {"open": 2, "recent": ""}
    assert one.sample(9, ctx_at(1)) == two.sample(9, ctx_at(1))
    with pytest.raises(ValueError, match="not a state of ByLevel with window 3"):
        two.load_state_dict({"open": 1, "recent": "1111"})


@pytest.mark.parametrize("settings, words", [
    ({}, "either 'every'"), ({"every": 2, "threshold": 0.5}, "not both"), ({"every": 0}, "every is 0"),
])  # fmt: skip
def test_bad_settings_are_refused(source, settings, words):
    with pytest.raises(UserError, match=words):
        ByLevel(source(), **settings)


def test_a_source_without_levels_is_refused(ctx_at, tmp_path):
    (tmp_path / "plain.jsonl").write_text('{"question": "a"}\n')
    plain = Dataset(str(tmp_path / "plain.jsonl"), fields={"question": "question"})
    with pytest.raises(UserError, match="has no levels"):
        ByLevel(plain, every=1).sample(1, ctx_at())
