"""Scores of given tokens against plain forward passes of transformers."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from selfevo.engines import Native
from selfevo.engines.hooked import logits_at
from selfevo.errors import EngineError
from selfevo.protocols import ScoreRequest


def requests(count=9, seed=1):
    rng = random.Random(seed)

    def ids(n):
        return tuple(rng.randrange(109) for _ in range(n))

    return [ScoreRequest(ids(rng.randint(1, 20)), ids(rng.randint(1, 15)), rng.choice([1.0, 0.5, 2.0])) for _ in range(count)]


def forward(policy, request):
    with torch.no_grad():
        logits = policy.model(torch.tensor([request.context + request.tokens])).logits[0]
    return torch.log_softmax(logits[len(request.context) - 1 : -1] / request.temperature, dim=-1).numpy()


@pytest.mark.parametrize("family", ["Qwen3", "Gemma2", "Gemma3Text", "Olmo3"])
@pytest.mark.parametrize("budget", [1, 60, 10000])
def test_scores_equal_a_forward_pass_whatever_the_batch(policies, family, budget):
    engine = Native(score_tokens=budget)
    engine.load(policies(family))
    for request, scores in zip(requests(), engine.score(requests(), "full"), strict=True):
        full = forward(policies(family), request)
        np.testing.assert_allclose(scores.full, full, atol=3e-5)
        np.testing.assert_allclose(scores.logprobs, full[np.arange(len(request.tokens)), request.tokens], atol=3e-5)


@pytest.mark.parametrize("k", [1, 5, 108])
def test_top_k_and_tail_make_up_the_whole_mass(policies, engine, k):
    for request, scores in zip(requests(), engine.score(requests(), "topk", k), strict=True):
        full = forward(policies(), request)
        assert scores.ids.shape == scores.topk.shape == (len(request.tokens), k)
        np.testing.assert_allclose(np.exp(scores.topk).sum(1) + np.exp(scores.tail), 1.0, atol=1e-5)
        np.testing.assert_allclose(scores.topk, np.sort(full, axis=1)[:, ::-1][:, :k], atol=3e-5)
        np.testing.assert_allclose(np.take_along_axis(full, scores.ids, 1), scores.topk, atol=3e-5)


def test_top_k_of_the_whole_vocabulary_leaves_no_tail(engine):
    assert np.isneginf(engine.score(requests(2), "topk", 500)[0].tail).all()


def test_scores_are_numpy_of_the_documented_kinds(engine):
    scores = engine.score(requests(1), "topk", 3)[0]
    assert (scores.logprobs.dtype, scores.topk.dtype, scores.ids.dtype) == (np.float32, np.float32, np.int32)


def test_no_tokens_score_to_nothing_beside_others(engine):
    empty, full = engine.score([ScoreRequest((20, 21), ()), ScoreRequest((20,), (21, 22))])
    assert len(empty.logprobs) == 0
    assert len(full.logprobs) == 2


def test_bad_requests_are_named(engine):
    with pytest.raises(EngineError, match="request 1: the context is empty"):
        engine.score([*requests(1), ScoreRequest((), (20,))])
    with pytest.raises(EngineError, match="did you mean 'topk'"):
        engine.score(requests(1), "top_k", 3)
    with pytest.raises(EngineError, match="k of at least 1"):
        engine.score(requests(1), "topk")


def test_logits_at_chosen_positions_have_the_gradients_of_the_whole(policies):
    model = policies().fork().model.double()
    ids, rows, columns = torch.tensor([[20, 30, 40, 50], [25, 35, 45, 55]]), torch.tensor([0, 1, 1]), torch.tensor([2, 0, 3])
    model(ids).logits[rows, columns].square().sum().backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    logits_at(model, rows, columns, input_ids=ids).square().sum().backward()
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.grad, expected[name], rtol=1e-9, atol=1e-9)
