"""Runs started from Python: the same files as from the command line, mistakes as exceptions, and Ctrl-C that leaves a resumable run."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from as_user import BARE, TINY, committed, metrics, weights

import selfevo
from selfevo import cli
from selfevo.context import StageCtx
from selfevo.errors import SpecErrors, Stopped, UserError
from selfevo.stages import Outcome, Rollout
from selfevo.store import file_sha

Call = Callable[[Callable[[], Any]], Any]


def plainly(work: Callable[[], Any]) -> Any:
    return work()


def in_a_loop(work: Callable[[], Any]) -> Any:
    """As a notebook's cell: an event loop runs in this thread already."""

    async def cell() -> Any:
        return work()

    loop = asyncio.new_event_loop()  # not asyncio.run, whose handler of SIGINT a notebook does not have
    try:
        return loop.run_until_complete(cell())
    finally:
        loop.close()


def tables(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): file_sha(p) for p in sorted(root.glob("tables/**/*.parquet"))}


def press(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Have this process sent SIGINT while main.0/rollout goes on."""
    run = Rollout.run

    def pressed(self: Rollout, ctx: StageCtx) -> Outcome:
        if ctx.where == "main.0/rollout":
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.2)
        return run(self, ctx)

    monkeypatch.setattr(Rollout, "run", pressed)


@pytest.mark.parametrize("call", [plainly, in_a_loop])
def test_a_run_leaves_the_tables_that_the_command_line_leaves(tmp_path: Path, call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", *BARE, "seed=4", f"hydra.run.dir={tmp_path / 'typed'}"]) == 0
    typed = capsys.readouterr().out
    run = call(lambda: selfevo.run(None, *BARE, seed=4, dir=tmp_path / "called"))
    assert tables(run.root) == tables(tmp_path / "typed") and len(tables(run.root)) == 7
    assert (run.root / "spec.yaml").read_bytes() == (tmp_path / "typed/spec.yaml").read_bytes()
    assert metrics(run.root) == metrics(tmp_path / "typed") and (run.root / "report.html").is_file()
    said = capsys.readouterr().out
    assert "\x1b" not in said and len(said.splitlines()) == len(typed.splitlines()) and "done after" in said


def test_nothing_is_printed_where_nothing_is_to_be_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    selfevo.resume(selfevo.run(None, *BARE, dir=tmp_path / "run", show=False).root)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("call", [pytest.param(plainly, marks=pytest.mark.slow), in_a_loop])
@pytest.mark.parametrize("times, words, last", [
    (1, "stopped before main.0/score", "main.0/rollout"),
    pytest.param(2, "stopped at the last commit", "start/evaluate", marks=pytest.mark.slow),
])  # fmt: skip
def test_ctrl_c_leaves_a_run_that_goes_on(
    bare: selfevo.SavedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call, times: int, words: str, last: str
) -> None:
    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as during:
        press(during, times)
        with pytest.raises(Stopped, match=words):
            call(lambda: selfevo.run(None, *BARE, dir=tmp_path / "run", show=False))
    assert signal.getsignal(signal.SIGINT) is before and committed(tmp_path / "run")[-1] == last
    assert selfevo.load_run(tmp_path / "run").status == "stopped"
    assert call(lambda: selfevo.resume(tmp_path / "run", show=False)).status == "done"
    assert tables(tmp_path / "run") == tables(bare.root)


def test_a_finished_run_is_returned_as_it_is(bare: selfevo.SavedRun) -> None:
    before = (bare.root / "manifest.jsonl").read_bytes()
    assert selfevo.resume(bare.root).status == "done" and (bare.root / "manifest.jsonl").read_bytes() == before


def test_a_directory_of_its_own_is_made_and_none_is_taken_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = (selfevo.run(None, *BARE, show=False).root for _ in range(2))
    assert first != second and first.parent == second.parent == Path("outputs/run")
    with pytest.raises(UserError, match=r"dir='.*': exists already and is not empty; resume\('.*'\) goes on with the run there"):
        selfevo.run(None, *BARE, dir=first)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("x")
    with pytest.raises(UserError, match="dir='mine': exists already and is not empty; choose another"):
        selfevo.run(None, *BARE, dir="mine")


@pytest.mark.parametrize("call", [plainly, in_a_loop])
def test_mistakes_are_exceptions_with_the_lines_of_the_command_line(call: Call, tmp_path: Path) -> None:
    with pytest.raises(SpecErrors) as caught:
        call(lambda: selfevo.run("quickstart", scale="tiny", sede=1, dir=tmp_path / "x"))
    assert str(caught.value).startswith("sede: unknown key; did you mean 'seed'?") and not (tmp_path / "x").exists()
    with pytest.raises(SpecErrors, match="several values"):
        call(lambda: selfevo.run(None, "seed=1,2", dir=tmp_path / "x"))


def test_what_breaks_in_a_thread_of_its_own_comes_out_with_its_own_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Rollout, ctx: StageCtx) -> Outcome:
        raise ZeroDivisionError("this part is broken")

    monkeypatch.setattr(Rollout, "run", broken)
    with pytest.raises(selfevo.errors.SelfevoError, match="ZeroDivisionError: this part is broken"):  # type: ignore[attr-defined]
        in_a_loop(lambda: selfevo.run(None, *BARE, dir=tmp_path / "run", show=False))
    assert not [t for t in threading.enumerate() if t.name == "selfevo run"]


def test_a_process_that_lives_on_collects_what_a_run_leaves(bare: selfevo.SavedRun) -> None:
    assert gc.isenabled() and gc.get_freeze_count() == 0


@pytest.mark.slow
def test_a_trained_run_is_bit_for_bit_that_of_the_command_line(trained: selfevo.SavedRun, tmp_path: Path) -> None:
    kept = ["checkpoint.every=1", "checkpoint.keep=9"]
    assert cli.main(["run", *TINY, *kept, f"hydra.run.dir={tmp_path / 'typed'}"]) == 0
    again = in_a_loop(lambda: selfevo.run(None, *TINY, *kept, dir=tmp_path / "looped", show=False))
    assert tables(trained.root) == tables(tmp_path / "typed") == tables(again.root)
    assert weights(trained.root) == weights(tmp_path / "typed") == weights(again.root)
