"""Commits are written while the next stage works, in their order, and nothing is committed behind one that failed."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cutting import state_of
from scripted_specs import coevolution

from selfevo.behind import ROOM, Behind
from selfevo.errors import Stopped
from selfevo.observer import Observer
from selfevo.running import execute
from selfevo.store import DiskFull, RunDir

SOON = 30.0
"""Seconds after which something is not coming."""


def entry(stage: str) -> dict[str, Any]:
    return {"path": "main.0", "stage": stage, "outputs": {}}


def line(stage: str) -> dict[str, Any]:
    return {"path": "main.0", "stage": stage, "metrics": {}}


@pytest.fixture
def store(tmp_path: Path) -> Any:
    made = RunDir.create(tmp_path / "run", "name: x\n", {}, "")
    yield made
    made.close()


def test_pieces_are_done_in_order_and_one_too_many_waits() -> None:
    done: list[int] = []
    go = threading.Event()
    behind = Behind()

    def first() -> None:
        assert go.wait(SOON)
        done.append(0)

    behind.do(first)
    for n in range(1, ROOM):
        behind.do(lambda n=n: done.append(n))
    assert not done
    threading.Timer(0.05, go.set).start()
    behind.do(lambda: done.append(ROOM))
    assert done[:1] == [0]
    behind.settle()
    assert done == list(range(ROOM + 1))


def test_a_failure_is_told_whenever_someone_waits_and_nothing_is_done_after_it() -> None:
    behind, done, go = Behind(), [], threading.Event()

    def fails() -> None:
        assert go.wait(SOON)
        raise ZeroDivisionError

    behind.do(fails)
    behind.do(lambda: done.append(1))
    go.set()
    for wait in (behind.settle, lambda: behind.do(lambda: done.append(2)), behind.settle):
        with pytest.raises(ZeroDivisionError):
            wait()
    assert not done
    assert behind.close() is None


def test_a_failure_nobody_heard_of_is_known_at_the_end() -> None:
    behind = Behind()
    behind.do(lambda: 1 / 0)
    assert isinstance(behind.close(), ZeroDivisionError)


def test_what_is_asked_about_a_commit_under_way_waits_for_it(store: RunDir) -> None:
    go = threading.Event()

    def write() -> None:
        assert go.wait(SOON)
        store.commit(entry("rollout"), line("rollout"))

    store.behind("main.0", "rollout", write)
    assert store.entry("main.0", "score") is None and len(store.manifest) == 1
    threading.Timer(0.05, go.set).start()
    assert store.entry("main.0", "rollout") == entry("rollout")
    assert store.place("main.0", "rollout") == 1


def test_a_commit_of_any_kind_comes_after_the_one_under_way(store: RunDir) -> None:
    go = threading.Event()

    def write() -> None:
        assert go.wait(SOON)
        store.commit(entry("train"), line("train"))

    store.behind("main.0", "train", write)
    threading.Timer(0.05, go.set).start()
    store.commit(entry("checkpoint"))
    assert [e["stage"] for e in store.manifest] == ["create", "train", "checkpoint"]


def test_no_commit_stands_behind_one_that_failed(store: RunDir) -> None:
    def write() -> None:
        raise DiskFull("no space left")

    store.behind("main.0", "rollout", write)
    for _ in range(2):
        with pytest.raises(DiskFull):
            store.commit(entry("score"), line("score"))
    assert [e["stage"] for e in store.manifest] == ["create"]
    assert store.close() is None


class Heard(Observer):
    """The stages that began and the lines that were told, in order."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def stage(self, path: str, stage: str, kind: str, iteration: int, total: int) -> None:
        self.said.append(f"begin {path}/{stage}")

    def line(self, line: Mapping[str, Any]) -> None:
        self.said.append(f"told {line['path']}/{line['stage']}")


def test_the_next_stage_begins_while_a_commit_is_written_and_its_line_is_told_once_it_is(
    checked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = threading.Event()
    real = RunDir.write_table

    class Begun(Heard):
        def stage(self, path: str, stage: str, *rest: Any) -> None:
            super().stage(path, stage, *rest)
            if len(self.said) > 1:
                began.set()

    def held(self: RunDir, name: str, parts: Any) -> str:
        assert began.wait(SOON), "the first table is written before the second stage begins"
        return real(self, name, parts)

    monkeypatch.setattr(RunDir, "write_table", held)
    heard = Begun()
    run = execute(checked(coevolution()), tmp_path / "run", observers=[heard])
    stages = [f"{e['path']}/{e['stage']}" for e in run.store.manifest if "kind" in e]
    assert [s.removeprefix("told ") for s in heard.said if s.startswith("told ")] == stages
    assert heard.said[:2] == [f"begin {s}" for s in stages[:2]]


@pytest.mark.parametrize("full", [1, 4])
def test_a_disk_that_fills_under_a_commit_stops_the_run_which_then_ends_as_if_it_had_not(
    full: int, checked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = checked(coevolution())
    expected = state_of(execute(spec, tmp_path / "whole"))
    tables: list[str] = []
    real = RunDir.write_table

    def fills(self: RunDir, name: str, parts: Any) -> str:
        tables.append(name)
        if len(tables) > full:
            with self._writing(self.root / name):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(self, name, parts)

    heard = Heard()
    with monkeypatch.context() as patched:
        patched.setattr(RunDir, "write_table", fills)
        with pytest.raises(DiskFull, match="no space left"):
            execute(spec, tmp_path / "run", observers=[heard])
    assert len(tables) == full + 1, "nothing more was written"
    assert sum(s.startswith("told") for s in heard.said) >= full
    assert state_of(execute(spec, tmp_path / "run", resume=True)) == expected


def test_a_run_that_is_stopped_tells_every_line_that_it_committed(checked: Any, tmp_path: Path) -> None:
    stopping = threading.Event()

    class Stops(Heard):
        def stage(self, path: str, stage: str, *rest: Any) -> None:
            super().stage(path, stage, *rest)
            stopping.set()

    heard = Stops()
    with pytest.raises(Stopped):
        execute(checked(coevolution()), tmp_path / "run", observers=[heard], stopping=stopping)
    again = RunDir.open(tmp_path / "run")
    again.close()
    committed = [f"{e['path']}/{e['stage']}" for e in again.manifest if "kind" in e]
    assert heard.said == [f"begin {committed[0]}", f"told {committed[0]}"]
