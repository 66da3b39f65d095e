"""Every YAML file of the tree composes and binds, and none of it imports torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from selfevo import spec
from selfevo.catalogue.files import File

ROOT = spec.configs()
FILES = sorted(p.relative_to(ROOT) for p in ROOT.rglob("*.yaml"))
CHOICES = [(str(f.parts[0]), str(Path(*f.parts[1:]).with_suffix(""))) for f in FILES if len(f.parts) > 1]

UNTRAINED = ["stages.train=null", "loop.main.do=[rollout,score,evaluate]"]

WITH = {
    "curriculum=epochs": ["task=gsm8k"],
    "engine=openai": ["model=endpoint", "engine.model=gpt-5-mini", *UNTRAINED],
    "model=endpoint": ["engine=openai", "engine.model=gpt-5-mini", *UNTRAINED],
    "engine=gpt_oss_120b": ["model=endpoint", *UNTRAINED],
    "rollout=recall": ["+memories.principles={_target_: selfevo.memories.Text}"],
    "engine=scripted": ["model=scripted", "engine.replies=[yes]", *UNTRAINED],
    "model=scripted": ["engine=scripted", "engine.replies=[yes]", *UNTRAINED],
    "optimizer=oprl": ["+policies.prm=${model}"],
    "optimizer=dvao": ["optimizer.advantage.outcome.rewards={score: 1.0}"],
    "optimizer=base": ["+optimizer.objective={nll: {_target_: selfevo.objectives.NLL}}"],
    "task=jsonl": ["task.path=my.jsonl"],
    "verifier=reasoning_gym": ["task=reasoning_gym"],
    "launcher=torchrun_cluster": ["cluster=1x8"],
    "launcher=zero2_cluster": ["cluster=1x8"],
    "launcher=ray_4x8": ["cluster=4x8"],
    "engine=vllm_cluster": ["cluster=1x8"],
    "engine=vllm_cluster_small": ["cluster=1x8"],
    "loop=blank": [
        "+policies.solver=${model}", "+roles.solver={policy: solver}", "+stages.look={kind: evaluate, role: solver, suite: '${eval}'}",
        "+loop.main={do: [look]}",
    ],
}
"""What a choice says it must be combined with."""


@pytest.mark.parametrize("group, choice", CHOICES, ids=lambda x: x)
def test_every_choice_of_every_group_composes_and_binds(group: str, choice: str) -> None:
    spec.read([f"{group}={choice}", *WITH.get(f"{group}={choice}", [])])


@pytest.mark.parametrize("file", FILES, ids=str)
def test_every_config_opens_with_a_line_that_says_what_it_is(file: Path) -> None:
    assert len(File(ROOT / file).title) > 10


@pytest.mark.parametrize("file", FILES, ids=str)
def test_no_config_uses_a_key_that_yaml_reads_as_a_truth_value(file: Path) -> None:
    def keys(node: object) -> list[object]:
        if isinstance(node, dict):
            return [*node, *(k for v in node.values() for k in keys(v))]
        return [k for v in node for k in keys(v)] if isinstance(node, list) else []

    assert not [k for k in keys(yaml.safe_load((ROOT / file).read_text())) if isinstance(k, bool)]


def test_checking_every_component_imports_no_torch() -> None:
    code = (
        "import sys\nfrom selfevo import spec\n"
        "spec.read([]); spec.read(['experiment=quickstart', 'scale=tiny'])\n"
        "print([m for m in ('torch', 'transformers', 'pandas', 'sympy') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
