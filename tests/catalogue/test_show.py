"""selfevo show and validate's sentences: every experiment can be told, and what is told is what the spec holds."""

from __future__ import annotations

import subprocess
import sys

import pytest

from selfevo import cli
from selfevo.catalogue.composing import Composition
from selfevo.catalogue.diagram import lines
from selfevo.catalogue.files import Tree

NAMES = Tree().choices("experiment")


@pytest.mark.parametrize("name", NAMES)
def test_the_picture_of_every_experiment_holds_each_of_its_stages(name: str, tree: Tree) -> None:
    spec = Composition(tree, [f"experiment={name}"]).resolved()
    drawn = {line.name for line in lines(spec) if line.kind != "block"}
    assert drawn == {k for k, v in spec["stages"].items() if v is not None}
    assert all(line.flow for line in lines(spec) if line.kind != "block")
    assert all(line.guide.isascii() for line in lines(spec, ascii_only=True))


def test_show_tells_baseline_paper_result_and_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show", "sec"]) == 0
    out = capsys.readouterr().out
    assert "Against its baseline, uniform curriculum (experiment=tiny/sec)\ncurriculum.tau  0.2  (there: inf)\n" in out
    for said in ("curriculum → solver → Single  128 tasks x 8 each", "+33%", "selfevo run experiment=tiny/sec", "Not confirmed"):
        assert said in out
    assert max(map(len, out.splitlines())) <= 80


def test_an_unknown_experiment_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show", "sek"]) == 2
    assert capsys.readouterr().err.startswith("selfevo: no experiment 'sek'; did you mean 'sec'?")


def test_show_imports_neither_hydra_nor_torch() -> None:
    code = (
        "import sys; from selfevo.cli import main; main(['show', 'tiny/hgm'])\n"
        "assert not {'hydra', 'omegaconf', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def explained(*overrides: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(["validate", *overrides]) == 0
    return capsys.readouterr().out


def test_sentences_change_with_the_spec(capsys: pytest.CaptureFixture[str]) -> None:
    out = explained("experiment=quickstart", "scale=tiny", "scale.tasks=5", "optimizer.lr=0.25", capsys=capsys)
    assert "answers 5 tasks from curriculum" in out and "4 times each" in out
    assert "learning rate 0.25" in out
    assert "In all at most 40 episodes in rollouts, 2,560 tokens" in out
    assert "In all at most 48 episodes in evaluations" in out  # 8 tasks twice: at the start and after each of two iterations


def test_a_citation_in_a_docstring_ends_no_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert "by nft (NFT: Negative-aware fine-tuning)" in explained("experiment=tiny/nft", capsys=capsys)


@pytest.mark.parametrize("name", ["tiny/hgm", "tiny/agent0", "tiny/nft", "tiny/rlccf"])
def test_each_stage_of_unusual_loops_has_a_sentence(name: str, capsys: pytest.CaptureFixture[str], tree: Tree) -> None:
    out = explained(f"experiment={name}", capsys=capsys)
    stages = [k for k, v in Composition(tree, [f"experiment={name}"]).resolved()["stages"].items() if v is not None]
    assert all(f"\n  {stage}: " in out for stage in stages)
    assert "None" not in out and "_target_" not in out
