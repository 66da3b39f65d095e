"""Settings of TRL's trainers are checked from its source, before TRL or torch is imported."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from selfevo import spec
from selfevo.errors import SpecErrors, UserError
from selfevo.samples import Pairs, PolicyTurns
from selfevo.trl import Dpo, Grpo, Sft
from selfevo.trl.settings import CONFIGS, OWNED, OWNED_OF, check, fields, owner
from selfevo.verifiers import Exact


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_fields_read_from_source_are_those_of_the_config_class(kind):
    import trl

    names = {f.name for f in dataclasses.fields(getattr(trl, CONFIGS[kind])) if f.init}
    assert set(fields(kind)) == names


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_default_passes_its_own_check(kind):
    import trl

    for field in dataclasses.fields(getattr(trl, CONFIGS[kind])):
        if field.default is not dataclasses.MISSING:
            assert fields(kind)[field.name].problem(field.default) == "", field.name


def test_every_owned_pattern_names_a_field():
    import fnmatch

    known = {name for kind in CONFIGS for name in fields(kind)}
    patterns = [p for table in (OWNED, *OWNED_OF.values()) for _, ps in table for p in ps]
    assert not [p for p in patterns if not fnmatch.filter(known, p)]


@pytest.mark.parametrize(
    "args, said",
    [
        ({"lerning_rate": 1e-4}, "args.lerning_rate: SFTConfig has no such setting; did you mean 'learning_rate'?"),
        ({"learning_rate": "fast"}, "args.learning_rate: expected a number, got 'fast'"),
        ({"num_train_epochs": True}, "args.num_train_epochs: expected a number, got True"),
        ({"per_device_train_batch_size": 2.5}, "args.per_device_train_batch_size: expected a whole number, got 2.5"),
        ({"lr_scheduler_type": "cosin"}, "args.lr_scheduler_type: unknown value 'cosin'; did you mean 'cosine'?"),
        ({"optim": "adamw"}, "args.optim: unknown value 'adamw'"),
        ({"loss_type": "nil"}, "args.loss_type: unknown value 'nil'; did you mean 'nll'?"),
        ({"output_dir": "here"}, "args.output_dir: cannot be set: selfevo writes the run directory"),
        ({"report_to": "wandb"}, "args.report_to: cannot be set"),
        ({"seed": 1}, "args.seed: cannot be set: seeds are hashes of the run's seed"),
        ({"eval_strategy": "steps"}, "args.eval_strategy: cannot be set: evaluation is a stage of its own"),
        ({"max_length": [3]}, "args.max_length: expected a whole number or null, got [3]"),
    ],
)
def test_a_wrong_setting_is_one_line(args, said):
    with pytest.raises(UserError) as error:
        check("sft", args)
    assert str(error.value).startswith(said) and "\n" not in str(error.value)


def test_all_mistakes_are_said_at_once():
    with pytest.raises(UserError) as error:
        check("dpo", {"bata": 0.1, "seed": 3, "beta": "low"})
    assert len(str(error.value).splitlines()) == 3


def test_whole_numbers_pass_for_numbers_and_null_where_it_is_allowed():
    given = {"learning_rate": 1, "max_length": None, "gradient_checkpointing_kwargs": {"use_reentrant": False}}
    assert check("sft", given) == given


def test_grpo_keeps_the_loop_to_itself():
    assert owner("grpo", "max_steps") and not owner("sft", "max_steps")
    assert owner("grpo", "use_vllm") and owner("grpo", "shuffle_dataset")


def test_a_learning_rate_is_given_once_and_some_builder_too():
    with pytest.raises(UserError, match=r"args\.learning_rate: is given as `lr` too"):
        Sft({"turns": PolicyTurns()}, {"learning_rate": 1e-4}, lr=1e-4)
    with pytest.raises(UserError, match="samples: needs at least one builder"):
        Sft({})


def test_a_penalty_needs_its_reference_and_terms_are_refused():
    with pytest.raises(UserError, match=r"to: args\.beta is not 0"):
        Grpo({"exact": Exact()}, {"beta": 0.1})
    with pytest.raises(UserError, match=r"objective\.pg: the loss is TRL's"):
        Grpo({"exact": Exact()}, objective={"pg": {"coef": 1.0}})
    Grpo({"exact": Exact()}, objective={"kl": None})


def test_a_reference_is_looked_up_by_the_check():
    assert Dpo({"pairs": Pairs()}, "solver@base").needs == {"logp:solver@base"}
    with pytest.raises(SpecErrors, match=r"no policy is named 'solvr'; did you mean 'solver'\?"):
        spec.read(["optimizer=trl/dpo", "optimizer.to=solvr@base"])


def test_a_wrong_setting_names_its_place_in_the_spec():
    with pytest.raises(SpecErrors, match=r"optimizer: args\.batch_size: SFTConfig has no such setting"):
        spec.read(["optimizer=trl/sft", "+optimizer.args.batch_size=3"])


def test_several_processes_are_refused_by_the_check():
    with pytest.raises(SpecErrors, match=r"optimizer: selfevo\.trl\.Sft trains in one process, but the launcher starts 4"):
        spec.read(["optimizer=trl/sft", "launcher=torchrun", "launcher.processes=2", "launcher.nodes=2", "launcher.address=here:1"])
    spec.read(["optimizer=trl/sft", "launcher=torchrun"])
    spec.read(["optimizer=grpo", "launcher=torchrun", "launcher.processes=2"])


def test_checking_the_configs_imports_neither_torch_nor_trl():
    code = (
        "import sys\nfrom selfevo import spec\n"
        "for o in ('sft', 'dpo', 'kto', 'reward', 'grpo'): spec.read([f'optimizer=trl/{o}'])\n"
        "spec.read(['optimizer=trl/grpo', 'loop=trl_grpo'])\n"
        "print([m for m in ('torch', 'transformers', 'trl', 'datasets', 'accelerate') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_a_wrong_setting_ends_the_command_with_status_2():
    command = [sys.executable, "-m", "selfevo", "validate", "optimizer=trl/kto", "+optimizer.args.betta=0.2"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    (line,) = [x for x in (done.stdout + done.stderr).splitlines() if "betta" in x]
    assert "did you mean 'beta'?" in line
