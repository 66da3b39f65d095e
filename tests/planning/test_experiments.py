"""The paper-scale experiments: every baseline on both data sets is sound, and fits one node and four."""

from __future__ import annotations

import pytest
import yaml

from selfevo import spec
from selfevo.planning.plan import make
from selfevo.planning.times import total, work

FOLDER = spec.configs() / "experiment" / "qwen3_4b"
BASELINES = sorted(f.stem for f in FOLDER.glob("*.yaml"))
TRAINED = {"gsm8k": "openai/gsm8k", "math": "DigitalLearningGmbH/MATH-lighteval"}


def test_every_baseline_has_an_experiment():
    methods = {f.stem for f in FOLDER.parent.glob("*.yaml")}
    optimizers = {f.stem for f in (spec.configs() / "optimizer").glob("*.yaml")} - {"base"}
    own = {o for o in optimizers for m in methods if o == m or o.startswith(f"{m}_")}  # of a method, which has an experiment
    assert optimizers - own == set(BASELINES)


@pytest.mark.parametrize("dataset, cluster", [
    ("gsm8k", "1x8"), *(pytest.param(*both, marks=pytest.mark.slow) for both in (("gsm8k", "4x8"), ("math", "1x8"), ("math", "4x8"))),
])  # fmt: skip
@pytest.mark.parametrize("baseline", BASELINES)
def test_a_baseline_is_sound_and_fits(baseline, dataset, cluster):
    made = spec.read([f"+experiment=qwen3_4b/{baseline}", f"dataset={dataset}", f"cluster={cluster}"])
    described = spec.build(made.raw["cluster"])
    plan = make(made, described)
    assert plan.problems == []
    assert made.launcher["_target_"] == "selfevo.launchers.Torchrun"
    assert plan.launch.world == described.gpus * described.nodes == {"1x8": 8, "4x8": 32}[cluster]
    assert made.raw["curriculum"]["tasks"]["path"] == TRAINED[dataset]
    (fitted,) = plan.fits
    assert fitted.policy.shape.name == "Qwen/Qwen3-4B"
    assert fitted.optimizer.gradient_checkpointing
    assert total(work(plan), "seconds").high > 0


@pytest.mark.parametrize("dataset, part", [("gsm8k", "Numeric"), ("math", "Math")])
def test_the_data_set_says_who_judges_whatever_the_baseline_adds(dataset, part):
    for baseline in ("grpo", "dapo"):
        made = spec.read([f"+experiment=qwen3_4b/{baseline}", f"dataset={dataset}"])
        assert made.raw["verifier"]["exact"]["_target_"] == f"selfevo.verifiers.{part}"
        assert ("overlong" in made.raw["verifier"]) == (baseline == "dapo")


def test_any_online_optimizer_goes_with_the_experiment_that_they_share():
    for baseline in ("rloo", "cispo", "gspo"):
        made = spec.read(["+experiment=qwen3_4b", f"optimizer={baseline}", "dataset=math", "cluster=4x8"])
        assert make(made, spec.build(made.raw["cluster"])).problems == []


def test_every_number_of_the_experiments_says_where_it_is_from():
    for file in [FOLDER.parent / "qwen3_4b.yaml", *FOLDER.glob("*.yaml")]:
        text = file.read_text()
        head = text.splitlines()[1]
        numbers = [line for line in text.splitlines() if any(ch.isdigit() for ch in line.partition("#")[0].partition(":")[2])]
        for line in numbers:
            plain = line.strip().startswith(("name:", "- ", "defaults", "roles"))
            assert plain or "#" in line or "ours" in head or "released code" in head, f"{file.name}: {line}"
        assert yaml.safe_load(text)["name"].startswith("qwen3_4b")
