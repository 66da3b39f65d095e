"""Training state per GPU: hand-worked figures, what sharing must add up to, and DeepSpeed's own estimators."""

from __future__ import annotations

import pytest

from selfevo.planning.launch import Launch
from selfevo.planning.states import states

N, LARGEST = 4_022_468_096, 151936 * 2560


def test_one_process_holds_what_the_learner_holds():
    # bfloat16: weights 2, gradients 2 and their float32 sum 4, masters 4, moments 8; float32: 4 + 4 + 8
    half, full = states(N, Launch(), True, LARGEST), states(N, Launch(), False, LARGEST)
    assert (half.weights, half.gradients, half.optimizer, half.total) == (2 * N, 6 * N, 12 * N, 20 * N)
    assert (full.weights, full.gradients, full.optimizer, full.total) == (4 * N, 4 * N, 8 * N, 16 * N)


def test_the_learners_own_tensors_are_what_one_process_is_planned_to_hold():
    import torch

    from selfevo.learning.weights import Weights
    from selfevo.models import Pretrained

    for dtype, half in (("bfloat16", True), ("float32", False)):
        policy = Pretrained("tiny", dtype=dtype).load("solver")
        held = Weights(policy, (0.9, 0.999), 1e-8, 0.0)
        held.backward(sum((p * p).sum() for p in policy.model.parameters()), last=True)
        summed = [t.grad for t in held.tensors.values()]
        held.adam.step(0.0)
        moments = [s[k] for s in held.adam.state.values() for k in ("exp_avg", "exp_avg_sq")]
        count = sum(p.numel() for p in policy.model.parameters())
        planned = states(count, Launch(), half, 0)

        def size(tensors: list[torch.Tensor]) -> int:
            return sum(t.numel() * t.element_size() for t in tensors)

        assert size(list(policy.model.parameters())) == planned.weights
        assert size([*moments, *held.masters.values()]) == planned.optimizer
        # beside the float32 sum, gradients of 16-bit weights are there in their own dtype until they are added to it
        assert size(summed) + (2 * count if half else 0) == planned.gradients


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("zero, shared", [(1, ("optimizer",)), (2, ("gradients", "optimizer")), (3, ("weights", "gradients", "optimizer"))])
def test_twice_the_processes_halve_what_a_stage_shares_and_nothing_else(zero, shared, half):
    few, many = (states(N, Launch(processes=w, zero=zero), half, LARGEST) for w in (4, 8))
    for name in ("weights", "gradients", "optimizer"):
        if name in shared:
            assert getattr(many, name) == pytest.approx(getattr(few, name) / 2)
        elif not (name == "gradients" and half):  # stage 1 sums a share of them in float32
            assert getattr(many, name) == getattr(few, name)


def test_higher_stages_never_hold_more():
    for half in (True, False):
        totals = [states(N, Launch(processes=8, zero=z), half, 0).total for z in (0, 1, 2, 3)]
        assert totals == sorted(totals, reverse=True)


def test_what_offload_takes_off_the_gpus_is_in_host_memory():
    plain, moved, all_of_it = (states(N, Launch(processes=8, zero=3, offload=o), True, LARGEST) for o in ("none", "optimizer", "all"))
    assert moved.optimizer == moved.gradients == 0 and moved.host == pytest.approx(8 * (plain.optimizer + plain.gradients))
    assert all_of_it.weights == 0 and all_of_it.host == pytest.approx(moved.host + 8 * plain.weights)


@pytest.mark.scale
@pytest.mark.parametrize("nodes, processes", [(1, 1), (1, 2), (1, 8), (4, 8), (16, 8)])
@pytest.mark.parametrize("offload", ["none", "optimizer"])
def test_stage_2_agrees_with_deepspeeds_estimator(nodes, processes, offload):
    from deepspeed.runtime.zero.stage_1_and_2 import estimate_zero2_model_states_mem_needs as estimate

    # factor 1: its 1.5 is an allowance. It knows float32 models in host memory, and does not share the offloaded state among nodes.
    host, gpu = estimate(N, processes, nodes, cpu_offload=offload != "none", additional_buffer_factor=1.0)
    ours = states(N, Launch(processes, nodes, 2, offload), True, LARGEST, loaded=4)
    held = ours.weights if offload != "none" else ours.total
    assert held == pytest.approx(gpu, rel=0.1)
    if nodes == 1:
        assert ours.host == pytest.approx(host, rel=0.1)


@pytest.mark.scale
@pytest.mark.parametrize("nodes, processes", [(1, 1), (1, 2), (1, 8), (4, 8), (16, 8)])
@pytest.mark.parametrize("offload", ["none", "optimizer", "all"])
def test_stage_3_agrees_with_deepspeeds_estimator(nodes, processes, offload):
    from deepspeed.runtime.zero.stage3 import estimate_zero3_model_states_mem_needs as estimate

    host, gpu, _ = estimate(N, LARGEST, processes, nodes, cpu_offload=offload != "none", cpu_offload_params=offload == "all",
                            zero_init=False, additional_buffer_factor=1.0)  # fmt: skip
    ours = states(N, Launch(processes, nodes, 3, offload), True, LARGEST, loaded=4)
    assert ours.total == pytest.approx(gpu, rel=0.1)
    assert ours.host == pytest.approx(host, rel=0.1)
