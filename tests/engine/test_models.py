"""Loading models: what is refused, in one line, and what is filled in."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch
import yaml

import selfevo.models
from selfevo.engines import Native
from selfevo.errors import UserError
from selfevo.models import Lora, Pretrained
from selfevo.protocols import GenerateRequest, Sampling
from selfevo.records import Message

CONFIGS = Path(__file__).parents[2] / "configs"


def refused(*args, **kwargs):
    with pytest.raises(UserError) as caught:
        Pretrained(*args, **kwargs).load("solver")
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_model_that_cannot_be_had_is_one_line_that_names_it(monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    message = refused("nobody/no-such-model")
    assert message.startswith("model 'nobody/no-such-model': not downloaded")
    assert "model=tiny" in message


def test_a_path_that_is_no_folder_names_the_nearest():
    assert refused("./no/such/folder").startswith("model './no/such/folder': no such folder")
    assert "did you mean 'tiny'" in refused("tinny")


def test_an_empty_folder_is_refused(tmp_path):
    assert refused(str(tmp_path)).startswith(f"model '{tmp_path}': the folder holds no usable model")


def test_a_tokenizer_without_a_pad_token_pads_with_its_end_token_and_generates_the_same(folder, policies):
    policy = Pretrained(str(folder(pad=None))).load("solver")
    assert policy.tokenizer.pad_token_id == policy.tokenizer.eos_token_id
    request = GenerateRequest(policies().codec.open([Message("user", "hi")]), 3, Sampling(12))
    longer = GenerateRequest(policies().codec.open([Message("user", "hi there")]), 4, Sampling(12))
    results = []
    for each in (policy, policies()):
        engine = Native()
        engine.load(each)
        results.append(engine.generate([request, longer]))
    assert results[0] == results[1]


def test_a_tokenizer_with_neither_pad_nor_end_token_is_refused(folder):
    assert "neither a pad token nor an end token" in refused(str(folder(pad=None, eos_token=None)))


def test_a_tokenizer_without_a_chat_template_is_refused_unless_one_is_given(folder):
    path = folder()
    (path / "chat_template.jinja").unlink()
    assert "set model.chat_template" in refused(str(path))
    codec = Pretrained(str(path), chat_template="{% for m in messages %}{{ m.content }};{% endfor %}").load("solver").codec
    assert codec.decode(codec.open([Message("user", "hi")])) == "hi;"


def test_a_checkpoint_that_lacks_tensors_is_refused(folder):
    from safetensors.torch import load_file, save_file

    path = folder()
    state = load_file(path / "model.safetensors")
    del state["model.layers.1.mlp.up_proj.weight"]
    save_file(state, path / "model.safetensors", {"format": "pt"})
    assert "lacks 1 tensors (model.layers.1.mlp.up_proj.weight" in refused(str(path))


def test_the_limit_is_what_the_positions_allow(checkpoint):
    path = str(checkpoint())
    assert Pretrained(path).load("solver").codec.limit == 128
    assert Pretrained(path, max_length=50).load("solver").codec.limit == 50
    assert "max_length 129 is beyond its 128 positions" in refused(path, max_length=129)


def test_wrong_settings_are_refused_before_anything_is_loaded():
    for kwargs, message in (({"dtype": "float16"}, "model.dtype 'float16'"), ({"max_length": 1}, "at least 2")):
        with pytest.raises(UserError, match=message):
            Pretrained("tiny", **kwargs)
    with pytest.raises(UserError, match="rank must be at least 1"):
        Lora(rank=0)


def test_dtype_is_the_checkpoints_unless_given(checkpoint):
    assert Pretrained(str(checkpoint())).load("solver").model.dtype == torch.float32
    assert Pretrained(str(checkpoint()), dtype="bfloat16").load("solver").model.dtype == torch.bfloat16


def test_fresh_adapters_change_no_reply_and_depend_on_the_policys_name_only(checkpoint, policies):
    path = str(checkpoint())
    a, b, c = (Pretrained(path, lora=Lora(rank=4)).load(name) for name in ("solver", "solver", "other"))
    request = GenerateRequest((20, 30, 40), 1, Sampling(20))
    replies = []
    for policy in (policies(), a):
        engine = Native()
        engine.load(policy)
        replies.append(engine.generate([request])[0].tokens)
    assert replies[0] == replies[1]
    trained = {n: p for n, p in a.model.named_parameters() if p.requires_grad}
    assert trained
    assert all("lora_" in n for n in trained)
    same = [torch.equal(p, dict(b.model.named_parameters())[n]) for n, p in trained.items() if "lora_A" in n]
    other = [torch.equal(p, dict(c.model.named_parameters())[n]) for n, p in trained.items() if "lora_A" in n]
    assert all(same)
    assert not any(other)


def test_adapters_for_layers_that_are_not_there_are_refused(checkpoint):
    assert "lora.targets" in refused(str(checkpoint()), lora=Lora(targets=["no_such_proj"]))


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("model/*.yaml")), ids=lambda f: f.stem)
def test_model_configs_bind_to_their_constructors(file):
    text = file.read_text()
    assert text.startswith("#")
    spec = yaml.safe_load(text)
    module, name = spec.pop("_target_").rsplit(".", 1)
    assert module == "selfevo.models"
    inspect.signature(getattr(selfevo.models, name)).bind(**{k: v for k, v in spec.items() if k != "defaults"})


def test_the_bundled_policy_needs_no_path_and_speaks():
    policy = Pretrained("tiny").load("solver")
    assert (policy.source, policy.version.ref) == ("tiny", "solver@000000")
    engine = Native()
    engine.load(Pretrained("selfevo:tiny").load("solver"))
    reply = engine.generate([GenerateRequest(policy.codec.open([Message("user", "3+4=?")]), 0, Sampling(64, temperature=0.0))])[0]
    assert reply.finish == "stop"
    assert "####" in reply.text


def test_loaded_weights_lie_where_those_of_a_copy_do():
    policy = Pretrained("tiny").load("solver")
    for live in (policy, policy.fork()):
        assert {t.data_ptr() % 64 for t in (*live.model.parameters(), *live.model.buffers())} == {0}
    assert policy.model.lm_head.weight is policy.model.model.embed_tokens.weight
