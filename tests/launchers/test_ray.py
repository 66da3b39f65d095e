"""Runs on a Ray cluster of two nodes: the numbers of one process, whoever dies, and nothing left behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from as_user import committed, metrics, start
from holding import waiting_in
from ray_runs import Pair, begun, below, commits, ended, gone, living, logged, pair, processes_of, resume, run, same_but_for_rounding

pytestmark = pytest.mark.scale


@pytest.fixture(scope="module")
def two() -> Iterator[Pair]:
    with pair() as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    """End the runs a failed test left waiting: they hold what the next test asks the cluster for."""
    yield
    for process in psutil.Process().children():
        if process.status() != psutil.STATUS_ZOMBIE and "selfevo" in process.cmdline():
            process.kill()
            process.wait()


def opened(folder: Path) -> Path:
    """A gate that holds nothing up."""
    folder.mkdir()
    (folder / "gate").touch()
    return folder


def held_engine(folder: Path, free: int = 0) -> list[str]:
    """Overrides: the engine waits in `folder` before it generates, but not the first `free` times."""
    return ["engine._target_=holding.Holds", f"+engine.folder={folder}", f"+engine.free={free}"]


def held_part(folder: Path) -> str:
    """An override: a row part waits in `folder` before it judges."""
    return f"+verifier.held={{_target_: holding.Judged, folder: {folder}}}"


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process that the others are held against."""
    root = tmp_path_factory.mktemp("alone") / "run"
    gate = opened(root.parent / "gate")
    assert run(root, *held_engine(gate), held_part(gate)).status == 0
    return root


def test_training_on_one_node_and_rollouts_on_the_other_give_the_metrics_of_one_process(two: Pair, alone: Path, tmp_path: Path) -> None:
    root, gates = tmp_path / "run", tmp_path / "gates"
    judging = tmp_path / "judging"
    gates.mkdir()
    judging.mkdir()
    process = begun(root, *two.settings(engines=2, verifiers=2), *held_engine(gates), held_part(judging))
    replicas = waiting_in(gates, 2, process)
    assert sorted(processes_of(root, "engine replicas")) == replicas
    assert [two.node_of(pid) for pid in replicas] == ["rollouts", "rollouts"]
    ranks = processes_of(root, "training ranks")
    assert [two.node_of(pid) for pid in ranks] == ["training"]
    (gates / "gate").touch()
    workers = waiting_in(judging, 2, process)
    assert [two.node_of(pid) for pid in workers] == ["rollouts", "rollouts"]
    (judging / "gate").touch()
    said = ended(process)
    assert (said.status, said.err) == (0, "")
    assert said.out.startswith(f"running quickstart in {root}\n") and f"report: {root}/report.html" in said.out
    assert "(raylet)" not in said.out and "pid=" not in said.out
    same_but_for_rounding(root, alone)
    assert gone([*ranks, *replicas, *workers])


def test_a_replica_killed_in_the_middle_of_a_rollout_loses_nothing(two: Pair, alone: Path, tmp_path: Path) -> None:
    root, gates, done = tmp_path / "run", tmp_path / "gates", opened(tmp_path / "open")
    gates.mkdir()
    process = begun(root, *two.settings(engines=2), *held_engine(gates, free=1), held_part(done))
    first, second = waiting_in(gates, 2, process)
    commits(root, "start/evaluate")
    os.kill(first, signal.SIGKILL)
    logged(root, "is now process")
    (gates / "gate").touch()
    said = ended(process)
    assert (said.status, said.err) == (0, "")
    same_but_for_rounding(root, alone, besides=("engine/replicas_lost",))
    lost = [(stage, m["engine/replicas_lost"]) for _, stage, m in metrics(root) if "engine/replicas_lost" in m]
    assert lost == [("rollout", 1.0)]
    log = (root / "log.txt").read_text()
    assert f"ended: process {first} on " in log and "(its process was killed); what it was doing goes to another" in log
    assert gone([second])


def test_a_killed_verifier_worker_loses_nothing(two: Pair, alone: Path, tmp_path: Path) -> None:
    root, judging, done = tmp_path / "run", tmp_path / "judging", opened(tmp_path / "open")
    judging.mkdir()
    process = begun(root, *two.settings(verifiers=2), *held_engine(done), held_part(judging))
    first, _ = waiting_in(judging, 2, process)
    os.kill(first, signal.SIGKILL)
    (judging / "gate").touch()
    said = ended(process)
    assert (said.status, said.err) == (0, "")
    same_but_for_rounding(root, alone, besides=("score/workers_lost",))
    assert f"ended: process {first} on " in (root / "log.txt").read_text()
    assert [m["score/workers_lost"] for _, _, m in metrics(root) if "score/workers_lost" in m] == [1.0]


def test_two_ranks_have_the_metrics_of_one_process_and_a_part_that_needs_the_run_stays_on_the_main_one(
    two: Pair, tmp_path: Path
) -> None:
    counted = "+verifier.counted={_target_: holding.Counted}"
    assert run(tmp_path / "one", counted).status == 0
    said = run(tmp_path / "two", *two.settings(ranks=2, verifiers=1), counted)
    assert (said.status, said.err) == (0, "")
    assert said.out.count("\n16 rows seen\n") == 2
    same_but_for_rounding(tmp_path / "two", tmp_path / "one")


def test_two_ranks_train_while_a_replica_rolls_out_ahead_as_one_process_does(two: Pair, tmp_path: Path) -> None:
    assert run(tmp_path / "one", "scale.staleness=1").status == 0
    said = run(tmp_path / "two", *two.settings(ranks=2, engines=1), "scale.staleness=1")
    assert (said.status, said.err) == (0, "")
    same_but_for_rounding(tmp_path / "two", tmp_path / "one")


def test_ctrl_c_stops_after_the_stage_and_one_process_goes_on(two: Pair, alone: Path, tmp_path: Path) -> None:
    root, judging, done = tmp_path / "run", tmp_path / "judging", opened(tmp_path / "open")
    judging.mkdir()
    process = begun(root, *two.settings(ranks=2, engines=1), *held_engine(done), held_part(judging))
    waiting_in(judging, 1, process)
    pids = [*processes_of(root, "training ranks"), *processes_of(root, "engine replicas")]
    assert len(living(pids)) == 3
    process.send_signal(signal.SIGINT)
    logged(root, "stopping after this stage")
    (judging / "gate").touch()
    said = ended(process)
    assert said.status == 3
    assert f"continue with: selfevo resume {root}" in said.line
    assert gone(pids)
    assert committed(root)[-1] == "main.0/score"
    assert resume(root, "launcher=inline").status == 0
    same_but_for_rounding(root, alone)


def test_ctrl_c_while_ray_starts_leaves_nothing(tmp_path: Path) -> None:
    process = begun(tmp_path / "run", "launcher=ray")
    while not (started := below(process.pid)):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    said = ended(process)
    assert (said.status, said.line) == (3, "interrupted")
    assert gone(started)


def test_a_second_ctrl_c_stops_at_once_and_the_room_is_free_again(two: Pair, tmp_path: Path) -> None:
    root, judging, done = tmp_path / "run", tmp_path / "judging", opened(tmp_path / "open")
    judging.mkdir()
    everything = two.settings(ranks=2, rank_cpus=2, engines=1)
    process = begun(root, *everything, *held_engine(done), held_part(judging))
    waiting_in(judging, 1, process)
    pids = processes_of(root, "training ranks")
    refused = run(tmp_path / "other", *everything, "launcher.wait=1")
    assert refused.status == 2
    assert "asked for 2 training ranks with CPU 2, training 1 each, 1 engine replica with CPU 1, rollouts 1, placed" in refused.line
    assert refused.line.endswith("of which CPU 3, rollouts 3, training 2 was free, for 1 s")
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(1)
    said = ended(process)
    assert said.status == 3
    assert f"stopped at the last commit; continue with: selfevo resume {root}" in said.line
    assert gone(pids)
    assert two.free() == {"CPU": 8, "training": 4, "rollouts": 4}


def test_a_dead_rank_ends_the_run_in_one_line_and_nothing_is_lost(two: Pair, alone: Path, tmp_path: Path) -> None:
    root, judging, done = tmp_path / "run", tmp_path / "judging", opened(tmp_path / "open")
    judging.mkdir()
    process = begun(root, *two.settings(ranks=2), *held_engine(done), held_part(judging))
    waiting_in(judging, 1, process)
    main, follower = processes_of(root, "training ranks")
    os.kill(follower, signal.SIGKILL)
    said = ended(process)
    assert said.status == 3
    assert f"rank 1 of the run ended: process {follower} on " in said.line and f"continue with: selfevo resume {root}" in said.line
    assert gone([main, follower])
    (judging / "gate").touch()
    assert resume(root).status == 0
    same_but_for_rounding(root, alone)


def test_replicas_that_die_whatever_is_done_end_the_run_in_one_line(two: Pair, tmp_path: Path) -> None:
    said = run(tmp_path / "run", *two.settings(engines=2), "engine._target_=holding.Kills")
    assert said.status == 1
    assert said.line.startswith("3 engine replicas ended one after another while they worked on the same (the last one: its process was ki")
    assert said.line.endswith(f"continue with: selfevo resume {tmp_path / 'run'}")


@pytest.mark.parametrize("settings, words", [
    ({"ranks": 9}, "9 training ranks with CPU 1, training 1 each, placed 'pack'; the cluster has 1 node with CPU 4, rollouts 4"),
    ({"rank_cpus": 5}, "asked for 1 training rank with CPU 5, training 1, placed 'pack'; the cluster has 1 node with CPU 4, "),
    ({"rank_gpus": 1}, "asked for 1 training rank with CPU 1, GPU 1, training 1, placed 'pack'; the cluster has"),
    ({"engines": 1, "strategy": "strict_pack"}, "1 engine replica with CPU 1, rollouts 1, placed 'strict_pack'; the cluster has"),
    ({"engines": 2, "strategy": "strict_spread"}, "placed 'strict_spread'; the cluster has"),
])  # fmt: skip
def test_what_cannot_be_placed_is_refused_in_one_line(two: Pair, tmp_path: Path, settings: dict[str, object], words: str) -> None:
    said = run(tmp_path / "run", *two.settings(**settings))
    assert said.status == 2
    assert words in said.line
    assert not (tmp_path / "run" / "manifest.jsonl").exists()


def test_a_cluster_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    said = run(tmp_path / "run", "launcher=ray", "launcher.address=127.0.0.1:1")
    assert said.status == 2
    assert "Ray could not be joined at 127.0.0.1:1" in said.line


def test_a_mistake_that_only_the_ranks_can_find_is_said_once(two: Pair, tmp_path: Path) -> None:
    broken = "+optimizer.advantage.broken={_target_: selfevo.advantages.Raw, reward: nosuch}"
    said = run(tmp_path / "run", *two.settings(ranks=2), broken)
    assert said.status in (1, 2)
    assert "nosuch" in said.line


def test_a_ray_of_its_own_ends_with_the_run_however_that_ends(tmp_path: Path) -> None:
    root, judging = tmp_path / "run", tmp_path / "judging"
    judging.mkdir()
    process = begun(root, "launcher=ray", "launcher.engines=1", "launcher.wait=240", held_part(judging))
    waiting_in(judging, 1, process)
    started = below(process.pid)
    assert set(processes_of(root, "training ranks")) < set(started)
    agents = [pid for pid in started if "Agent" in psutil.Process(pid).name()]  # Ray's own, which give their node a minute to come back
    process.kill()
    process.wait()
    assert gone([pid for pid in started if pid not in agents])
    (judging / "gate").touch()
    process = start("resume", str(root))
    waiting_in(judging, 2, process)
    restarted = below(process.pid)
    said = ended(process)
    assert (said.status, said.err) == (0, "")
    assert not living(restarted)
    assert gone(agents, 180)
