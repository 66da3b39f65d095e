"""Saving, reloading, copying policies."""

from __future__ import annotations

import hashlib

import pytest
import torch

from selfevo.engines import Native
from selfevo.errors import StoreError
from selfevo.models import Lora, Pretrained, Scripted
from selfevo.protocols import GenerateRequest, Sampling


def digests(path):
    return {str(f.relative_to(path)): hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(path.rglob("*")) if f.is_file()}


def disturb(policy, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in policy.model.parameters():
            if p.requires_grad:
                p.add_(torch.randn(p.shape, generator=generator) * 0.1)


def equal(a, b):
    b = b.state_dict()
    return all(torch.equal(t, b[n]) for n, t in a.state_dict().items())


@pytest.fixture
def policy(checkpoint):
    return Pretrained(str(checkpoint())).load("solver")


@pytest.fixture
def adapted(checkpoint):
    return Pretrained(str(checkpoint()), lora=Lora(rank=2)).load("solver")


def test_saved_weights_open_in_transformers_as_they_were(policy, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    disturb(policy)
    policy.save(tmp_path)
    assert equal(policy.model, AutoModelForCausalLM.from_pretrained(tmp_path))
    assert AutoTokenizer.from_pretrained(tmp_path).chat_template == policy.tokenizer.chat_template


def test_equal_weights_save_to_equal_bytes(policy, tmp_path):
    policy.save(tmp_path / "a")
    policy.fork().save(tmp_path / "b")
    Pretrained(str(tmp_path / "a")).load("solver").save(tmp_path / "c")
    assert digests(tmp_path / "a") == digests(tmp_path / "b") == digests(tmp_path / "c")


def test_generating_changes_no_byte_of_a_saved_policy(policy, tmp_path):
    policy.save(tmp_path / "a")
    engine = Native()
    engine.load(policy)
    engine.generate([GenerateRequest((20, 21), 0, Sampling(4))])
    policy.save(tmp_path / "b")
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


def test_reload_puts_weights_back_into_the_same_tensors(policy, tmp_path):
    policy.save(tmp_path)
    before = policy.fork()
    addresses = [p.data_ptr() for p in policy.model.parameters()]
    disturb(policy)
    assert not equal(policy.model, before.model)
    policy.reload(tmp_path)
    assert equal(policy.model, before.model)
    assert [p.data_ptr() for p in policy.model.parameters()] == addresses


def test_heads_are_saved_and_rebuilt(policy, tmp_path):
    head = torch.nn.Linear(32, 1)
    policy.heads["value"] = head
    policy.save(tmp_path)
    weight = head.weight.detach().clone()
    torch.nn.init.zeros_(head.weight)
    policy.reload(tmp_path)
    assert torch.equal(head.weight, weight)
    assert policy.heads["value"] is head
    policy.heads.clear()
    policy.reload(tmp_path)
    assert torch.equal(policy.heads["value"].weight, weight)


def test_a_folder_of_another_shape_or_none_is_refused(policy, tmp_path, folder):
    with pytest.raises(StoreError, match="no saved policy here"):
        policy.reload(tmp_path / "none")
    before = policy.fork()
    with pytest.raises(StoreError, match="does not hold the tensors of this policy"):
        policy.reload(folder("Llama"))
    assert equal(policy.model, before.model)


def test_a_frozen_clone_keeps_its_weights_when_the_policy_learns(policy):
    clone, before = policy.clone_frozen(), policy.fork()
    disturb(policy)
    assert equal(clone.model, before.model)
    assert clone.frozen
    assert not clone.model.training
    assert not any(p.requires_grad for p in clone.model.parameters())
    assert all(p.requires_grad for p in policy.model.parameters())


def test_an_adapter_saves_alone_and_comes_back(adapted, tmp_path, checkpoint):
    disturb(adapted)
    adapted.save(tmp_path)
    assert not (tmp_path / "model.safetensors").exists()
    fresh = Pretrained(str(checkpoint()), lora=Lora(rank=2)).load("solver")
    fresh.reload(tmp_path)
    assert equal(adapted.model, fresh.model)
    again = Pretrained(str(tmp_path)).load("solver")
    assert equal(adapted.model, again.model)
    assert any(p.requires_grad for p in again.model.parameters())
    disturb(fresh)
    fresh.save(tmp_path / "b")
    assert digests(tmp_path / "b")["adapter_model.safetensors"] != digests(tmp_path)["adapter_model.safetensors"]


def test_a_merged_policy_computes_what_the_adapted_one_does(adapted, tmp_path):
    from transformers import AutoModelForCausalLM

    disturb(adapted)
    ids = torch.tensor([[20, 30, 40]])
    adapted.merge(tmp_path)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(merged(ids).logits, adapted.model.eval()(ids).logits, atol=1e-3, rtol=1e-4)


def test_clones_of_an_adapted_policy_share_the_base_and_not_the_adapter(adapted):
    clone = adapted.clone_frozen()
    pairs = dict(clone.model.named_parameters())
    for name, p in adapted.model.named_parameters():
        assert (p.data_ptr() == pairs[name].data_ptr()) == ("lora_" not in name)
    assert not any(p.requires_grad for p in clone.model.parameters())
    assert any(p.requires_grad for p in adapted.model.parameters())


def test_a_policy_without_weights_saves_and_reloads_a_mark(tmp_path):
    policy = Scripted().load("solver")
    policy.save(tmp_path)
    policy.reload(tmp_path)
    assert policy.clone_frozen().model is None
    with pytest.raises(StoreError, match="no scripted policy"):
        policy.reload(tmp_path / "none")
