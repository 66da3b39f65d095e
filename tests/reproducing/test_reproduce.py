"""Reproductions that are really run: tiny scripted ones, through the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from as_user import BARE, Said

from selfevo import cli
from selfevo.reproducing.plan import plan
from selfevo.reproducing.record import read_all, write

EXPERIMENT = """# @package _global_
# A scripted method that differs from its baseline in nothing that lasts.
defaults: [_self_]
name: copycat
reproduce:
  effect: none
  metric: eval/chain_sum/reward
  baseline: {name: worse, experiment: copycat, overrides: [scale.group=3]}
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine/experiment").mkdir(parents=True)
    (tmp_path / "mine/experiment/copycat.yaml").write_text(EXPERIMENT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    def call(*arguments: str) -> Said:
        capsys.readouterr()
        status = cli.main(arguments)
        return Said(status, *capsys.readouterr())

    return call


ASKED = ("reproduce", "copycat", "--config-dir", "mine", "--dir", "out", "--seeds", "3,5")
SETTINGS = [w for w in BARE if not w.startswith(("+experiment", "experiment"))]


@pytest.mark.slow
def test_both_sides_run_once_a_seed_and_finished_runs_are_kept(mine: Path, say: Callable[..., Said]) -> None:
    first = say(*ASKED, "--json", "--at-once", "2", *SETTINGS)
    assert first.status == 0, first.err
    runs = {p.name for p in (mine / "out/copycat").iterdir()} - {"jobs"}
    assert runs == {"baseline-3", "baseline-5", "method-3", "method-5"}
    result = json.loads(first.out)
    assert [p["seed"] for p in result["pairs"]] == [3, 5]
    stamps = {p: p.stat().st_mtime_ns for p in (mine / "out").rglob("manifest.jsonl")}
    again = say(*ASKED, "--json", *SETTINGS)
    assert json.loads(again.out)["pairs"] == result["pairs"]
    assert {p: p.stat().st_mtime_ns for p in (mine / "out").rglob("manifest.jsonl")} == stamps
    other = say(*ASKED, *SETTINGS, "scale.tasks=3")
    assert other.status == 2 and "choose another folder with --dir" in other.err


def test_a_digest_of_the_settings_ignores_the_seeds_and_sees_everything_else(mine: Path) -> None:
    def digest(*overrides: str, seeds: tuple[int, ...] = (0,)) -> str:
        return plan("copycat", seeds, [*SETTINGS, *overrides], ["mine"]).settings

    settings = digest()
    assert digest(seeds=(4, 9)) == settings
    assert digest("scale.tasks=7") != settings


def test_where_evaluations_are_all_there_is_each_seed_has_tasks_of_its_own() -> None:
    first, other = (plan("dser", [seed]) for seed in (0, 7))
    assert first.settings == other.settings
    for arm in (*first.arms, *other.arms):
        assert arm.spec.raw["eval"]["seed"] == arm.spec.seed == arm.seed


@pytest.mark.parametrize("arguments, said", [
    (("copycta", "--config-dir", "mine"), "did you mean 'copycat'"),
    (("copycat", "--seeds", "1"), "at least 2 different seeds"),
    (("copycat", "--seeds", "a,b"), "expected whole numbers"),
    (("copycat", "--at-once", "0"), "--at-once must be 1 or more"),
    (("copycat", "--sedes", "1,2"), "unknown option '--sedes'; did you mean '--seeds'"),
    (("--ledger", "nowhere/methods.md"), "no such folder"),
])
def test_a_wrong_call_is_one_line(mine: Path, say: Callable[..., Said], arguments: tuple[str, ...], said: str) -> None:
    got = say("reproduce", *arguments)
    assert got.status == 2 and said in got.err and got.err.count("\n") == 1


def test_a_result_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    from selfevo.reproducing.effect import Pair, Side, effect
    from selfevo.reproducing.record import Record

    pairs = tuple(Pair(s, 10.0, Side(0.5 + s, 0.6, 12.0, 3.0, ((0.0, 0.1), (12.0, 0.6))), Side(0.4, 0.4, 10.0, 2.0)) for s in (0, 1))
    result = Record("a/b", "tiny/a", "m", "higher", "training", "base", pairs, effect(pairs, "higher"), "d", {"cores": 2})
    write(result, tmp_path)
    assert read_all(tmp_path) == {"a/b": result}
