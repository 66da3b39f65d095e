"""Models and tokenizers read without transformers are those that transformers reads."""

from __future__ import annotations

import copy
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from checkpoints import write_checkpoint
from safetensors.torch import load_file, save_file

from selfevo.decoder import files
from selfevo.decoder.model import DecoderLM
from selfevo.errors import UserError
from selfevo.file_tokenizer import FileTokenizer, read
from selfevo.models import BUNDLED, Pretrained

FAMILIES = ["Qwen3", "Llama", "Mistral"]
CHAT = [{"role": "user", "content": "What is 2+2?"}, {"role": "assistant", "content": "4 "}, {"role": "user", "content": "é {x} And?"}]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {family: write_checkpoint(tmp_path_factory.mktemp(family), family) for family in FAMILIES}
    return {**made, "tiny": BUNDLED["tiny"]}


def light(path, **settings):
    return Pretrained(str(path), **settings).load("solver")


@pytest.mark.parametrize("family", [*FAMILIES, "tiny"])
def test_tensors_settings_and_logits_are_those_of_transformers(folders, family):
    from transformers import AutoModelForCausalLM

    policy, theirs = light(folders[family]), AutoModelForCausalLM.from_pretrained(folders[family])
    assert isinstance(policy.model, DecoderLM) and not policy.model.training
    mine = policy.model.state_dict()
    assert mine.keys() == theirs.state_dict().keys()
    assert all(torch.equal(mine[name], tensor) for name, tensor in theirs.state_dict().items())
    ids = torch.randint(0, theirs.config.vocab_size, (3, 17), generator=torch.Generator().manual_seed(0))
    assert torch.equal(policy.model(ids).logits, theirs(ids).logits)
    positions = torch.arange(90)[None]
    for ours, other in zip(*(m.model.rotary_emb(torch.zeros(1), positions) for m in (policy.model, theirs)), strict=True):
        assert torch.equal(ours, other)
    ends = theirs.generation_config.eos_token_id
    assert policy.model.generation_config.eos_token_id == ends


@pytest.mark.parametrize("family", [*FAMILIES, "tiny"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_saved_is_what_transformers_saves(folders, family, dtype, tmp_path):
    from transformers import AutoModelForCausalLM

    policy = light(folders[family], dtype=str(dtype).removeprefix("torch."))
    policy.save(tmp_path / "ours")
    theirs = AutoModelForCausalLM.from_pretrained(folders[family], dtype=dtype)
    theirs.save_pretrained(tmp_path / "theirs")
    for name in (files.CONFIG, files.GENERATION):
        said, expected = (json.loads((tmp_path / who / name).read_text()) for who in ("ours", "theirs"))
        assert said.items() <= expected.items() and {"transformers_version"} >= expected.keys() - said.keys()
    assert (tmp_path / "ours" / files.WEIGHTS).read_bytes() == (tmp_path / "theirs" / files.WEIGHTS).read_bytes()
    again = light(tmp_path / "ours")
    assert isinstance(again.model, DecoderLM) and again.model.dtype == dtype


@pytest.mark.parametrize("family", [*FAMILIES, "tiny"])
def test_ids_texts_and_special_tokens_are_those_of_transformers(folders, family):
    from transformers import AutoTokenizer

    ours, theirs = FileTokenizer(folders[family]), AutoTokenizer.from_pretrained(folders[family])
    rng = random.Random(0)
    special = [token.content for token in ours.added_tokens_decoder.values()]
    pieces = [*map(chr, range(32, 127)), "\n", "é", "数", " ' s", *special]
    for _ in range(200):
        text = "".join(rng.choices(pieces, k=rng.randrange(20)))
        ids = ours(text, add_special_tokens=False)["input_ids"]
        assert ids == theirs(text, add_special_tokens=False)["input_ids"]
        for skip in (True, False):
            assert ours.decode(ids, skip) == theirs.decode(ids, skip_special_tokens=skip, clean_up_tokenization_spaces=False)
    assert len(ours) == len(theirs) and set(ours.all_special_ids) == set(theirs.all_special_ids)
    assert (ours.eos_token_id, ours.pad_token_id) == (theirs.eos_token_id, theirs.pad_token_id)
    specials = {i: t.special for i, t in theirs.added_tokens_decoder.items()}
    assert {i: t.special for i, t in ours.added_tokens_decoder.items()} == specials
    for chat in (CHAT[:1], CHAT):
        for speak in (True, False):
            assert ours.apply_chat_template(chat, add_generation_prompt=speak) == theirs.apply_chat_template(
                chat, tokenize=False, add_generation_prompt=speak
            )


def test_a_template_has_what_transformers_offers_to_templates(folders):
    from transformers import AutoTokenizer

    text = "{% for m in messages %}{% if loop.index0 == 1 %}{% continue %}{% endif %}{{ m | tojson }}{{ eos_token }}{% endfor %}"
    ours, theirs = FileTokenizer(folders["tiny"]), AutoTokenizer.from_pretrained(folders["tiny"])
    ours.chat_template = theirs.chat_template = text + "{{ strftime_now('%Y') }}"
    assert ours.apply_chat_template(CHAT) == theirs.apply_chat_template(CHAT, tokenize=False)
    policy = light(folders["tiny"], chat_template="{{ raise_exception('no such role') }}")
    from selfevo.records import Message

    with pytest.raises(UserError, match="no such role"):
        policy.codec.open([Message("user", "x")])


def test_a_saved_tokenizer_is_the_same_for_transformers(tmp_path, folders):
    policy = light(folders["Llama"], chat_template="plain")
    policy.save(tmp_path)
    again = light(tmp_path)
    assert isinstance(again.tokenizer, FileTokenizer) and again.tokenizer.chat_template == policy.tokenizer.chat_template
    theirs = policy.tokenizer.whole()
    assert type(theirs).__module__.startswith("transformers.") and theirs.chat_template == policy.tokenizer.chat_template
    assert theirs("a b")["input_ids"] == policy.tokenizer("a b", add_special_tokens=True)["input_ids"]


def test_the_class_of_transformers_shares_every_tensor(folders):
    policy = light(folders["Qwen3"])
    before = policy.model
    names = dict(before.named_parameters(remove_duplicate=False))
    after = policy.to_transformers().model
    assert type(after).__module__.startswith("transformers.") and policy.to_transformers().model is after
    assert {n: id(p) for n, p in after.named_parameters(remove_duplicate=False)} == {n: id(p) for n, p in names.items()}
    after(torch.tensor([[20, 21, 22]])).logits.sum().backward()
    assert all(p.grad is not None for p in before.parameters())


def test_a_copy_shares_no_tensor_and_makes_a_class_of_its_own(folders):
    model = light(folders["tiny"]).model
    whole = model.whole()
    twin = copy.deepcopy(model)
    assert twin.lm_head.weight is twin.model.embed_tokens.weight
    with torch.no_grad():
        twin.lm_head.weight.zero_()
    assert twin.whole() is not whole and twin.whole().lm_head.weight is twin.lm_head.weight
    assert model.lm_head.weight.any()


def test_a_call_recomputes_activations_where_the_model_is_to(folders):
    model, ids = light(folders["Qwen3"]).model.train(), torch.tensor([[20, 21, 22]])
    model.gradient_checkpointing_enable()
    model(ids).logits.sum().backward()
    assert model.whole().is_gradient_checkpointing and model.whole().training
    model.gradient_checkpointing_disable()
    model.eval()(ids)
    assert not model.whole().is_gradient_checkpointing and not model.whole().training


def changed(tmp_path: Path, name: str, values: dict) -> Path:
    folder = write_checkpoint(tmp_path, "Qwen3")
    file = folder / name
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))
    return folder


@pytest.mark.parametrize(
    "values",
    [
        {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}},
        {"attention_dropout": 0.1},
        {"hidden_act": "gelu"},
        {"use_sliding_window": True, "sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]},
        {"architectures": ["Qwen2ForCausalLM"]},
    ],
    ids=lambda values: next(iter(values)),
)
def test_what_another_computation_needs_is_left_to_transformers(tmp_path, values):
    folder = changed(tmp_path, files.CONFIG, values)
    assert files.read(folder) is None
    if "architectures" not in values:
        assert type(light(folder).model).__module__.startswith("transformers.")


def test_a_checkpoint_that_lacks_a_tensor_is_refused_in_the_same_words(tmp_path):
    folder = write_checkpoint(tmp_path, "Qwen3")
    state = load_file(folder / files.WEIGHTS)
    del state["model.norm.weight"]
    save_file(state, folder / files.WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(UserError, match="the checkpoint lacks 1 tensors"):
        light(folder)


@pytest.mark.parametrize("values", [{"add_bos_token": True}, {"tokenizer_class": "LlamaTokenizer"}, {"eos_token": "new"}], ids=str)
def test_a_tokenizer_that_says_more_than_its_files_is_left_to_transformers(tmp_path, values):
    assert read(changed(tmp_path, "tokenizer_config.json", values)) is None


def test_a_template_with_tags_of_transformers_is_left_to_it(folders):
    tagged = "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}"
    assert read(folders["tiny"]) is not None and read(folders["tiny"], tagged) is None


@pytest.mark.slow
def test_a_run_of_the_bundled_policy_never_imports_transformers_or_the_compiler(tmp_path):
    """From start to end: rollouts, training, checkpoints, evaluation, report."""
    code = (
        "import sys; from selfevo.cli import main; "
        f"status = main(['run', '+experiment=quickstart', 'scale=tiny', 'scale.iterations=2', 'hydra.run.dir={tmp_path}/run']); "
        "kept_out = ('transformers', 'accelerate', 'peft', 'torch._dynamo'); "
        "print('imported:', [m for m in kept_out if m in sys.modules]); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "imported: []" in done.stdout
