"""The command line: what it prints, what it exits with, and that Hydra's own features work through it."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from selfevo import cli, spec

PURE = [
    "model=scripted", "engine=scripted", "engine.replies=['#### 7','#### 8']", "optimizer=grpo", "scale=tiny", "stages.train=null",
    "loop.main.do=[rollout,score,evaluate]",
]
"""A run without weights: real stages, real files, no torch."""


def command(*arguments: str, env: dict[str, str] | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "selfevo", *arguments], capture_output=True, text=True, cwd=cwd,
                          env={**os.environ, **(env or {})}, check=False)


def metrics(root: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (root / "metrics.jsonl").read_text().splitlines()]


def test_help_lists_every_command_and_imports_neither_hydra_nor_torch() -> None:
    code = (
        "import sys; from selfevo.cli import main; main(['--help'])\n"
        "print([m for m in ('hydra', 'omegaconf', 'torch', 'yaml') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"
    assert all(f"\n  {name} " in out for name in cli.COMMANDS)


@pytest.mark.parametrize("name", ["validate", "plan", "list", "show", "reproduce", "doctor", "compare", "report", "resume"])
def test_the_help_of_a_command_fits_eighty_columns_and_shows_a_call(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert out.count(f"selfevo {name} ") >= (1 if name == "doctor" else 2)


@pytest.mark.parametrize("arguments, line", [
    (["lst"], "selfevo: unknown command 'lst'; did you mean 'list'? (valid: compare, "),
    (["seed=1"], "selfevo: unknown command 'seed=1'; overrides go after a command: selfevo run seed=1"),
    (["run", "--confg-dir", "x"], "selfevo: unknown option '--confg-dir'; did you mean '--config-dir'?"),
    (["resume"], "selfevo: usage: selfevo resume DIR [launcher=NAME] [launcher.KEY=VALUE] (the spec is the one in DIR;"),
    (["list", "quikstart"], "selfevo: no experiment or config group matches 'quikstart'; did you mean 'quickstart'?"),
    (["validate", "scale.iteratons=3"], "selfevo: scale.iteratons: unknown key; did you mean 'iterations'?"),
    (["run", "scale.iteratons=3"], "selfevo: scale.iteratons: unknown key; did you mean 'iterations'?"),
    (["run", "hydra.run.dri=here"], "selfevo: hydra.run.dri: unknown key; did you mean 'dir'? (valid: dir)"),
    (["run", "hydra.job.chdir=maybe"], "selfevo: hydra.job.chdir=maybe: Value 'maybe' is not a valid bool"),
    (["run", "-m", "hydra.job.chdir=maybe"], "selfevo: hydra.job.chdir=maybe: Value 'maybe' is not a valid bool"),
    (["validate", "hydra.mode=FOO"], "selfevo: hydra.mode=FOO: Invalid value 'FOO', expected one of [RUN, MULTIRUN]"),
    (["run", "-m", "hydra/launcher=basik"], "selfevo: hydra/launcher: no choice 'basik'; did you mean 'basic'? (valid: basic, "),
    (["run", "optimizer=grpoo", "--cfg", "job"], "selfevo: optimizer: no choice 'grpoo'; did you mean 'grpo'?"),
])
def test_a_mistake_is_one_line_on_stderr_and_exit_status_2(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(line)
    assert err.count("\n") == 1


def test_a_mistake_through_the_real_process_exits_with_2() -> None:
    done = command("run", "+typo=1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("selfevo: typo: unknown key")
    assert done.stderr.count("\n") == 1


def test_validate_says_that_a_sound_spec_is_sound(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["validate", "experiment=quickstart", "scale=tiny"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "quickstart: the spec is sound"
    assert any(line.startswith("main: 2 times: rollout, score, train, evaluate") for line in lines)
    assert "at most 32 episodes in rollouts" in "\n".join(lines)


def test_list_shows_experiments_with_titles_and_the_choices_of_a_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list"]) == 0
    lines = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    assert "The first run" in lines["quickstart"]
    assert cli.main(["list", "scale"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["large", "small", "tiny"]


def test_list_and_validate_import_no_more_than_they_need() -> None:
    names = ("hydra", "omegaconf", "yaml", "asyncio", "torch", "transformers", "numpy", "sympy", "pandas")
    for arguments, allowed in ((["list"], {"yaml"}), (["validate", "+experiment=quickstart"], {"hydra", "omegaconf", "yaml"})):
        code = f"import sys; from selfevo.cli import main; main({arguments})\nprint([m for m in {names} if m in sys.modules])"
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        assert set(ast.literal_eval(out.splitlines()[-1])) <= allowed


def test_flags_and_overrides_mix_in_any_order_and_cfg_prints_the_composed_config(capsys: pytest.CaptureFixture[str]) -> None:
    import yaml

    assert cli.main(["run", "experiment=quickstart", "--cfg", "job", "scale=tiny", "optimizer.ema=0.5"]) == 0
    cfg = yaml.safe_load(capsys.readouterr().out)
    assert cfg["name"] == "quickstart"
    assert cfg["optimizer"]["ema"] == 0.5
    assert cfg["scale"]["iterations"] == 2


@pytest.mark.parametrize("typed, expected", [
    ("selfevo ru", {"run"}),
    ("selfevo run experiment=qu", {"experiment=quickstart"}),
    ("selfevo run sca", {"scale=", "scale."}),
    ("selfevo run experiment=quickstart scale.it", {"scale.iterations="}),
    ("selfevo validate roles.solver.pro", {"roles.solver.prompt="}),
    ("selfevo plan cluster=4", {"cluster=4x8"}),
    ("selfevo resume ", set()),
])
def test_the_shell_completes_commands_groups_choices_and_keys(
    typed: str, expected: set[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COMP_LINE", typed)
    assert cli.main(["-sc", "query=bash"]) == 0
    assert set(capsys.readouterr().out.split()) == expected


def test_the_completion_script_completes_selfevo(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "-sc", "install=bash"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("hydra_bash_completion selfevo")


def test_a_run_fills_its_directory_and_a_second_one_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "a"
    assert cli.main(["run", *PURE, f"hydra.run.dir={root}"]) == 0
    assert spec.load(root / "spec.yaml").raw["engine"]["replies"] == ["#### 7", "#### 8"]
    assert [m["stage"] for m in metrics(root)] == ["evaluate", *["rollout", "score", "evaluate"] * 2]
    assert not list(root.glob(".hydra")) + list(root.glob("*.log"))
    before = sorted(p.name for p in root.iterdir())
    capsys.readouterr()
    assert cli.main(["run", *PURE, f"hydra.run.dir={root}"]) == 2
    assert f"continue it with: selfevo resume {root}" in capsys.readouterr().err
    assert sorted(p.name for p in root.iterdir()) == before


def test_resuming_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    root = tmp_path / "a"
    assert cli.main(["run", *PURE, f"hydra.run.dir={root}"]) == 0
    before = (root / "metrics.jsonl").read_text()
    assert cli.main(["resume", str(root)]) == 0
    assert (root / "metrics.jsonl").read_text() == before


def test_resuming_where_no_run_is_names_the_nearest_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "spec.yaml").write_text("name: x\n")
    assert cli.main(["resume", str(tmp_path / "frist")]) == 2
    assert f"not a run directory (it has no spec.yaml); did you mean '{tmp_path / 'first'}'?" in capsys.readouterr().err


@pytest.mark.slow
def test_a_sweep_makes_a_run_directory_per_job_and_a_failing_job_does_not_stop_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", "-m", *PURE, "roles.solver.top_p=1.0,7.0,0.5", f"hydra.sweep.dir={tmp_path}"]) == 2
    assert capsys.readouterr().err.startswith("selfevo: roles.solver: top_p must be in (0, 1], not 7.0\nselfevo: run 1 (")
    done = {p.name for p in tmp_path.iterdir() if (p / "metrics.jsonl").is_file()}
    assert done == {"0", "2"}
    assert [spec.load(tmp_path / name / "spec.yaml").roles["solver"].top_p for name in ("0", "2")] == [1.0, 0.5]


@pytest.mark.slow
def test_the_default_directory_is_named_after_the_experiment(tmp_path: Path) -> None:
    assert command("run", *PURE, "experiment=quickstart", cwd=tmp_path).returncode == 0
    (root,) = (tmp_path / "outputs" / "quickstart").iterdir()
    assert (root / "manifest.jsonl").is_file()


def test_a_job_returns_the_metric_that_a_sweeper_optimises(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from selfevo.commands.run import launch

    metric = "eval/chain_sum/pass@1"
    value = launch(spec.read([*PURE, f"metric={metric}"]), tmp_path / "a")
    assert value == metrics(tmp_path / "a")[-1]["metrics"][metric]  # type: ignore[index]


def test_a_metric_that_no_stage_logs_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", *PURE, "metric=eval/nothing", f"hydra.run.dir={tmp_path / 'a'}"]) == 2
    assert capsys.readouterr().err.startswith("selfevo: metric: no stage logged 'eval/nothing'")


def test_an_unexpected_error_is_one_line_and_its_traceback_is_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from selfevo.stages import Rollout

    monkeypatch.setattr(Rollout, "run", lambda self, ctx: {}["missing"])
    root = tmp_path / "a"
    assert cli.main(["run", *PURE, f"hydra.run.dir={root}"]) == 1
    assert capsys.readouterr().err == f"selfevo: KeyError: 'missing' (traceback in {root / 'log.txt'})\n"
    assert "Traceback (most recent call last)" in (root / "log.txt").read_text()


def test_a_stop_is_exit_status_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from selfevo.stages import Rollout

    def interrupted(self: Rollout, ctx: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Rollout, "run", interrupted)
    root = tmp_path / "a"
    assert cli.main(["run", *PURE, f"hydra.run.dir={root}"]) == 3
    assert capsys.readouterr().err == f"selfevo: stopped at the last commit; continue with: selfevo resume {root}\n"
