"""Runs on several ranks: the same numbers as one process, nothing lost when a rank dies, nothing left behind."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import psutil
import pytest
from as_user import TINY, Held, Said, committed, metrics, reached, start, waiting

from selfevo.errors import UserError
from selfevo.launchers import Torchrun

RANKS = ["launcher=torchrun", "launcher.processes=2", "launcher.threads=1"]


def run(root: Path, *more: str, timeout: float = 240) -> Said:
    process = start("run", *TINY, *more, f"hydra.run.dir={root}")
    out, err = process.communicate(timeout=timeout)
    return Said(process.returncode, out, err)


def resume(root: Path, *more: str) -> Said:
    process = start("resume", str(root), *more)
    out, err = process.communicate(timeout=240)
    return Said(process.returncode, out, err)


def same_but_for_rounding(one: Path, other: Path) -> None:
    found, expected = metrics(one), metrics(other)
    assert [m[:2] for m in found] == [m[:2] for m in expected]
    for (path, stage, ours), (_, _, theirs) in zip(found, expected, strict=True):
        assert ours.keys() == theirs.keys(), (path, stage)
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6), (path, stage)


def opened(folder: Path) -> Path:
    """A gate that holds nothing up: the part behind it gives its rewards all the same."""
    (folder / "gate").touch()
    return folder / "gate"


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("alone") / "run"
    assert run(root, waiting(opened(root.parent))).status == 0
    return root


@pytest.fixture
def held(tmp_path: Path) -> Held:
    """A run of two ranks whose main rank waits in its first score stage."""
    root, gate = tmp_path / "run", tmp_path / "gate"
    process = start("run", *TINY, *RANKS, waiting(gate), f"hydra.run.dir={root}")
    reached(gate, process)
    return Held(process, root, gate)


def below(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def gone(processes: list[psutil.Process]) -> bool:
    end = time.monotonic() + 40
    while time.monotonic() < end:
        if not [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
def test_two_ranks_have_the_metrics_of_one_process(alone: Path, tmp_path: Path) -> None:
    said = run(tmp_path / "run", *RANKS, waiting(opened(tmp_path)))
    assert (said.status, said.err) == (0, "")
    assert "report:" in said.out
    same_but_for_rounding(tmp_path / "run", alone)


@pytest.mark.slow
def test_a_dead_rank_ends_the_run_in_one_line_and_nothing_is_lost(held: Held, alone: Path) -> None:
    processes = below(held.process.pid)
    ranks = [p for p in processes if "selfevo.commands.rank" in p.cmdline() and "torch.distributed.run" not in p.cmdline()]
    assert len(ranks) == 2
    follower = next(p for p in ranks if p.environ()["RANK"] == "1")
    os.kill(follower.pid, signal.SIGKILL)
    said = held.ended()
    assert said.status == 3
    assert "rank 1" in said.line and f"continue with: selfevo resume {held.root}" in said.line
    assert gone(processes)
    assert committed(held.root)[-1] == "main.0/rollout"
    held.release()
    assert resume(held.root).status == 0
    same_but_for_rounding(held.root, alone)


@pytest.mark.slow
def test_ctrl_c_stops_all_ranks_after_the_stage_and_one_process_goes_on(held: Held, alone: Path) -> None:
    processes = below(held.process.pid)
    held.process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    held.release()
    said = held.ended()
    assert said.status == 3
    assert f"continue with: selfevo resume {held.root}" in said.line
    assert gone(processes)
    assert committed(held.root)[-1] == "main.0/score"
    assert resume(held.root, "launcher=inline").status == 0
    same_but_for_rounding(held.root, alone)


@pytest.mark.slow
def test_no_rank_outlives_a_killed_command(held: Held) -> None:
    processes = below(held.process.pid)
    held.process.kill()
    held.process.wait()
    assert gone(processes)


@pytest.mark.slow
def test_a_run_of_one_process_goes_on_on_two(tmp_path: Path, alone: Path) -> None:
    root, gate = tmp_path / "run", tmp_path / "gate"
    process = start("run", *TINY, waiting(gate), f"hydra.run.dir={root}")
    reached(gate, process)
    process.kill()
    process.communicate()
    gate.touch()
    assert resume(root, *RANKS).status == 0
    same_but_for_rounding(root, alone)


@pytest.mark.slow
def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        said = run(tmp_path / "run", *RANKS, f"launcher.address=127.0.0.1:{taken.getsockname()[1]}")
    assert said.status != 0
    assert "in use" in said.line


@pytest.mark.slow
def test_a_mistake_that_only_the_ranks_can_find_is_said_once(tmp_path: Path) -> None:
    said = run(tmp_path / "run", *RANKS, "+optimizer.advantage.broken={_target_: selfevo.advantages.Raw, reward: nosuch}")
    assert said.status in (1, 2)
    assert "nosuch" in said.line


@pytest.mark.parametrize("settings, words", [
    ({"processes": 0}, "launcher.processes must be at least 1"),
    ({"zero": 4}, "launcher.zero is 4"),
    ({"offload": "optimizer"}, "so zero must be 1, 2 or 3"),
    ({"offload": "all", "zero": 2}, "which only zero: 3 shares"),
    ({"nodes": 2}, "several nodes need the host:port"),
    ({"nodes": 2, "node": 2, "address": "a:1"}, "launcher.node is 2"),
    ({"address": "here"}, "is not host:port"),
])  # fmt: skip
def test_impossible_settings_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match="launcher") as refused:
        Torchrun(**settings)  # type: ignore[arg-type]
    assert words in str(refused.value)
