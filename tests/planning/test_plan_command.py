"""`selfevo plan` as a user sees it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from selfevo import cli
from selfevo.planning import activations, hours, serving, states
from selfevo.planning.words import formulas

PLANNED = ["plan", "+experiment=qwen3_4b", "cluster=1x8"]


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = cli.main([*arguments])
    out, err = capsys.readouterr()
    return status, out, err


@pytest.mark.parametrize("more", [[], ["-v"], ["dataset=math", "optimizer=dapo", "loop=filled", "verifier=dapo"], ["launcher.zero=0"]])
def test_every_line_fits_eighty_columns_and_is_plain_text(more, capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    _, out, err = said(capsys, *PLANNED, *more)
    assert err == "" and "\x1b" not in out
    assert [line for line in out.splitlines() if len(line) > 80] == []
    assert [line for line in out.splitlines() if line != line.rstrip()] == []


def test_the_status_says_whether_it_fits(capsys):
    assert said(capsys, *PLANNED)[0] == 0
    status, out, _ = said(capsys, *PLANNED, "launcher.zero=0")
    out = " ".join(out.split())
    assert status == 1 and "does not fit: training needs" in out and "it fits with launcher.zero=1" in out


def test_json_holds_what_the_tables_show(capsys):
    _, text, _ = said(capsys, *PLANNED, "--json", "--reply", "1000", "--prompt=100")
    values = json.loads(text)
    assert values["fits"] and values["policies"]["solver"] == {"model": "Qwen/Qwen3-4B", "parameters": 4022468096, "trained": 4022468096}
    assert values["total"]["train"] == pytest.approx(sum(item["train"] for item in values["bytes_per_gpu"].values()))
    assert values["work"]["rollout"]["rows"] == [512000, 512000] and values["work"]["rollout"]["tokens"] == [512e6, 512e6]
    assert values["gpu_hours"][0] == pytest.approx(8 / 3600 * sum(w["seconds"][0] for w in values["work"].values()))
    assert values["assumed"]["prompt"] == 100 and values["assumed"]["reply"] == 1000


def test_it_needs_neither_torch_nor_weights():
    code = (
        "import sys; from selfevo.cli import main\n"
        f"assert main({[*PLANNED, '--json']!r}) == 0 and main(['plan', 'model=tiny']) == 0\n"
        "print([m for m in ('torch', 'transformers', 'deepspeed', 'vllm') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"


def test_without_a_cluster_this_machine_is_planned_for(capsys):
    status, out, _ = said(capsys, "plan", "+experiment=quickstart")
    assert status == 0 and "solver: tiny, 997,824 parameters of 4 bytes" in out


@pytest.mark.parametrize("arguments, line", [
    (["plan", "--reply", "many"], "--reply 'many': expected a number of tokens"),
    (["plan", "--prompt"], "--prompt '': expected a number of tokens"),
    (["plan", "--jsn"], "unknown option '--jsn'"),
    (["plan", "scale.iteratons=3"], "scale.iteratons: unknown key; did you mean 'iterations'?"),
    (["plan", "model.path=some/model"], "model 'some/model': its shape is not known; give a folder that holds its config.json"),
])  # fmt: skip
def test_a_mistake_is_one_line(arguments, line, capsys):
    status, out, err = said(capsys, *arguments)
    assert status == 2 and out == "" and err.startswith(f"selfevo: {line}") and err.count("\n") == 1


def test_the_page_has_every_formula_that_the_command_prints():
    from pathlib import Path

    page = (Path(__file__).parents[2] / "docs" / "planning.md").read_text()
    for module in (states, activations, serving, hours):
        assert len(formulas(module)) > 3
        for line in formulas(module)[1:]:
            assert line in page, f"{module.__name__}: {line}"
