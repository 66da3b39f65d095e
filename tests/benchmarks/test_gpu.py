"""The figures of a GPU: what they count, by hand, and the whole measurement at small sizes on the CPU."""

from __future__ import annotations

import pytest
import torch

from benchmarks import gpu, policies
from benchmarks.decode_limit import Step
from benchmarks.products import Shape

SMALL = Shape(layers=2, hidden=4, heads=2, kv_heads=1, head_dim=2, intermediate=6, vocabulary=10)


def test_bytes_of_decode_steps_equal_a_hand_count() -> None:
    # 2 layers of 120 numbers and an output layer of 40, once a step; 9 keys and values of 1 head of 2 in 2 layers.
    walked = [Step((3, 2)), Step((4,))]
    assert gpu.decode_bytes(SMALL, walked, 2) == 2 * (2 * 280 + 9 * 2 * 2 * 2)


@pytest.mark.parametrize("name, stated", [
    ("NVIDIA H200", 4.8e12), ("NVIDIA GH200 480GB", 4.0e12), ("NVIDIA H100 80GB HBM3", 3.35e12), ("NVIDIA H100 PCIe", 2.0e12),
    ("NVIDIA A100-SXM4-40GB", 1.555e12), ("NVIDIA A100-SXM4-80GB", 2.039e12), ("NVIDIA A100 80GB PCIe", 1.935e12),
])  # fmt: skip
def test_a_card_is_not_taken_for_another_whose_name_is_part_of_its_own(name: str, stated: float) -> None:
    found = gpu.card(name)
    assert found is not None and found.bandwidth == stated


def test_of_a_card_that_nobody_has_entered_nothing_is_stated() -> None:
    assert gpu.card("Some Accelerator") is None


def test_the_random_model_has_as_many_parameters_as_qwen3_0_6b() -> None:
    with torch.device("meta"):
        assert policies.parameters(policies.random_model("0.6B")) == 596_049_920


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_its_figures_say_so() -> None:
    for figure in gpu.figures(quick=False):
        assert figure.ratio is None and figure.met is None and "no GPU" in figure.note


@pytest.mark.slow
def test_shares_are_what_was_counted_over_what_was_stated_and_measured() -> None:
    setting = gpu.Setting("1M", (16, 24, 48), ((8, 16, 32),), 64, 1 << 20)
    found = gpu.measured(setting, torch.device("cpu"), gpu.Card("", 2e12, 3e11), 1)
    assert [f.beside for f in found] == ["TRL 1.16's step", gpu.FLOPS, gpu.PRODUCT, gpu.HF, gpu.BANDWIDTH, gpu.COPY]
    _, stated, product, _, bandwidth, copied = found
    training, decoding = stated.detail["seconds"], bandwidth.detail["seconds"]
    assert stated.ratio == pytest.approx(stated.detail["flops"] / training["ours"][0] / 2e12)
    assert product.ratio == pytest.approx(stated.detail["flops"] / training["ours"][0] * training["product"][0] / (2 * 64**3))
    assert bandwidth.ratio == pytest.approx(bandwidth.detail["bytes"] / decoding["ours"][0] / 3e11)
    assert copied.ratio == pytest.approx(bandwidth.detail["bytes"] / decoding["ours"][0] * decoding["copy"][0] / (2 << 20))
    assert bandwidth.detail["ours_tokens"] == bandwidth.detail["peer_tokens"] > 0
    assert stated.detail["parameters"] == policies.parameters(policies.policy("1M").model)
