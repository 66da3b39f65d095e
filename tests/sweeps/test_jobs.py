"""What is known of a sweep's jobs: files that survive the process, and the last words made from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from selfevo.errors import SpecErrors, Stopped, UserError
from selfevo.sweeps.closing import closing
from selfevo.sweeps.jobs import Jobs, Outcome, varying

JOB = Outcome(3, ("seed=1", "optimizer=grpo"), "multirun/x/3", "running")


def test_an_outcome_comes_back_as_it_was_written(tmp_path: Path) -> None:
    for outcome in (JOB, JOB.done(0.25), JOB.done(None), JOB.ended(UserError("no")), JOB.ended(Stopped("stopped before main.0/score"))):
        Jobs(tmp_path).write(outcome)
        assert Jobs(tmp_path).get(3) == outcome
        assert Jobs(tmp_path).read() == [outcome]
    assert {p.name for p in (tmp_path / "jobs").iterdir()} == {"3.json"}


def test_what_cannot_be_written_is_still_known_to_the_process_that_wanted_to(tmp_path: Path) -> None:
    (tmp_path / "jobs").write_text("a file where the folder would be")
    jobs = Jobs(tmp_path)
    jobs.write(JOB)
    assert jobs.read() == [JOB]


def test_an_error_of_several_lines_is_told_in_one() -> None:
    assert JOB.ended(SpecErrors(["a: wrong", "b: wrong", "c: wrong"])).line == "a: wrong (and 2 more)"
    assert JOB.ended(UserError("a: wrong")).line == "a: wrong"


def test_a_new_command_forgets_what_did_not_finish_and_any_wish_to_stop(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path)
    jobs.write(JOB.done(1.0))
    jobs.write(Outcome(4, (), "4", "failed", 1, "broken"))
    jobs.stop()
    assert jobs.asked == 1
    jobs.stop(now=True)
    assert jobs.asked == 2
    again = Jobs(tmp_path)
    again.begin()
    assert again.asked == 0
    assert [o.number for o in Jobs(tmp_path).read()] == [3]


def test_only_overrides_that_differ_name_a_run() -> None:
    jobs = [["scale=tiny", "seed=0", "optimizer=grpo", "hydra/launcher=joblib"], ["scale=tiny", "seed=1", "optimizer=grpo"]]
    assert varying(jobs) == [["seed=0"], ["seed=1"]]
    assert varying([["scale=tiny", "seed=0"]]) == [["scale=tiny", "seed=0"]]
    assert varying([]) == []


@pytest.mark.parametrize("ends, interrupted, status", [
    ([(2, "failed"), (0, "done")], False, 2),
    ([(2, "failed"), (1, "failed")], False, 1),
    ([(3, "stopped"), (0, "done")], False, 3),
    ([(3, "stopped"), (2, "failed")], False, 1),
    ([(2, "failed"), (1, "failed")], True, 3),
    ([(0, "running")], False, 1),
    ([(0, "waiting")], True, 3),
])
def test_the_exit_status_tells_mistakes_from_failures_from_stops(
    tmp_path: Path, ends: list[tuple[int, str]], interrupted: bool, status: int
) -> None:
    jobs = Jobs(tmp_path)
    for number, (code, state) in enumerate(ends):
        jobs.write(Outcome(number, (f"seed={number}",), str(number), state, code, "x"))  # type: ignore[arg-type]
    said = closing(jobs, interrupted)
    assert said is not None
    assert said.exit_code == status
    named = [n for n, (_, state) in enumerate(ends) if state != "done"]
    assert [line.split()[1] for line in str(said).splitlines()[:-1]] == [str(n) for n in named]


def test_a_sweep_of_which_every_run_is_done_has_no_last_words(tmp_path: Path) -> None:
    Jobs(tmp_path).write(JOB.done(1.0))
    assert closing(Jobs(tmp_path), interrupted=False) is None
