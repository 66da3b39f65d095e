"""Parameter counts: against weights, against transformers' own modules, and against what the models' makers publish."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import yaml
from checkpoints import FAMILIES, write_checkpoint

from selfevo import spec
from selfevo.errors import UserError
from selfevo.models import BUNDLED
from selfevo.planning.policies import held
from selfevo.planning.shapes import parse, shape_of, table

PUBLISHED = {
    "Qwen/Qwen3-0.6B": 0.596e9, "Qwen/Qwen3-1.7B": 1.72e9, "Qwen/Qwen3-4B": 4.02e9, "Qwen/Qwen3-8B": 8.19e9, "Qwen/Qwen3-14B": 14.8e9,
    "Qwen/Qwen3-32B": 32.8e9, "Qwen/Qwen2.5-0.5B": 0.494e9, "Qwen/Qwen2.5-1.5B": 1.54e9, "Qwen/Qwen2.5-3B": 3.09e9,
    "Qwen/Qwen2.5-7B": 7.61e9,
    "meta-llama/Llama-3.2-1B-Instruct": 1.23e9, "meta-llama/Llama-3.2-3B-Instruct": 3.21e9, "meta-llama/Llama-3.1-8B-Instruct": 8.03e9,
    "google/gemma-2-2b-it": 2.61e9, "google/gemma-2-9b-it": 9.24e9, "google/gemma-3-1b-it": 1.00e9, "allenai/Olmo-3-7B-Instruct": 7.30e9,
}
"""As their model cards say."""
WITHOUT_EMBEDDING = {
    "Qwen/Qwen3-0.6B": 0.44e9, "Qwen/Qwen3-1.7B": 1.4e9, "Qwen/Qwen3-4B": 3.6e9, "Qwen/Qwen3-8B": 6.95e9, "Qwen/Qwen3-14B": 13.2e9,
    "Qwen/Qwen3-32B": 31.2e9, "Qwen/Qwen2.5-0.5B": 0.36e9, "Qwen/Qwen2.5-1.5B": 1.31e9, "Qwen/Qwen2.5-3B": 2.77e9,
    "Qwen/Qwen2.5-7B": 6.53e9,
}
"""Non-embedding parameters, as their model cards say."""


def stored(file: Path) -> int:
    """Numbers in a safetensors file, read from its header alone."""
    with file.open("rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
    shapes = [entry["shape"] for name, entry in header.items() if name != "__metadata__"]
    total = 0
    for shape in shapes:
        count = 1
        for n in shape:
            count *= n
        total += count
    return total


def test_the_bundled_policy_has_as_many_parameters_as_its_file_holds():
    assert shape_of("tiny").parameters == shape_of("selfevo:tiny").parameters == stored(BUNDLED["tiny"] / "model.safetensors")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_has_as_many_parameters_as_its_file_holds(family, tmp_path):
    folder = write_checkpoint(tmp_path / family, family)
    assert shape_of(str(folder)).parameters == stored(folder / "model.safetensors")


@pytest.mark.parametrize("model", PUBLISHED)
def test_counts_are_the_published_ones(model):
    shape = shape_of(model)
    assert shape.parameters == pytest.approx(PUBLISHED[model], rel=0.01)
    if model in WITHOUT_EMBEDDING:
        rest = shape.parameters - shape.embedding * (1 if shape.tied else 2)
        assert rest == pytest.approx(WITHOUT_EMBEDDING[model], rel=0.016)  # cards round to two digits


@pytest.mark.parametrize("model", ["Qwen/Qwen3-0.6B", "Qwen/Qwen2.5-0.5B", "meta-llama/Llama-3.2-1B-Instruct", "google/gemma-2-2b-it",
                                   "google/gemma-3-1b-it", "allenai/Olmo-3-7B-Instruct"])  # fmt: skip
def test_a_real_shape_has_as_many_parameters_as_the_modules_of_transformers(model):
    import torch
    import transformers

    entry = dict(table()[model])
    config = transformers.AutoConfig.for_model(entry.pop("model_type"), **entry)
    with torch.device("meta"):
        made = transformers.AutoModelForCausalLM.from_config(config)
    shape = shape_of(model)
    assert shape.parameters == sum(p.numel() for p in made.parameters())
    assert shape.largest == max(sum(p.numel() for p in m.parameters(recurse=False)) for m in made.modules())


def test_every_model_config_has_a_shape():
    for file in sorted((spec.configs() / "model").glob("*.yaml")):
        path = yaml.safe_load(file.read_text()).get("path")
        if path is not None:
            assert shape_of(path).parameters > 0, file


@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "v_proj"], ".*down_proj"])
def test_an_adapter_has_as_many_parameters_as_peft_makes(targets, tmp_path):
    from transformers import AutoModelForCausalLM

    from selfevo.models import Lora

    folder = write_checkpoint(tmp_path / "m", "Llama")
    lora = {"_target_": "selfevo.models.Lora", "rank": 3, "targets": targets}
    policy = held("solver", {"_target_": "selfevo.models.Pretrained", "path": str(folder), "dtype": "float32", "lora": lora})
    model = Lora(3, targets=targets).wrap(AutoModelForCausalLM.from_pretrained(folder))
    assert policy.trained == sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_a_saved_adapter_has_the_shape_of_its_base(tmp_path):
    base = write_checkpoint(tmp_path / "base", "Qwen3")
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)}))
    assert shape_of(str(tmp_path / "adapter")) == shape_of(str(base))


@pytest.mark.parametrize("change, said", [
    ({"model_type": "qwen4"}, "nothing is known of the parameters of model_type 'qwen4'; did you mean 'qwen3'?"),
    ({"vocab_size": None}, "its config.json lacks vocab_size"),
])
def test_a_config_that_cannot_be_counted_is_refused_in_one_line(change, said):
    with pytest.raises(UserError, match="model 'mine': ") as error:
        parse({**table()["Qwen/Qwen3-4B"], **change}, "mine")
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_model_of_unknown_shape_is_refused_with_the_nearest_known_one():
    with pytest.raises(UserError, match=r"model 'Qwen/Qwen3-5B': its shape is not known; .* did you mean 'Qwen/Qwen3-"):
        shape_of("Qwen/Qwen3-5B")
