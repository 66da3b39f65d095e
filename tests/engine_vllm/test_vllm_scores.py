"""Scores of given tokens against the native engine's."""

from __future__ import annotations

import numpy as np
import pytest
from vllm_checks import contexts, score_requests

from selfevo.engines import Native
from selfevo.errors import EngineError
from selfevo.protocols import ScoreRequest

pytestmark = pytest.mark.scale


@pytest.fixture(params=["in-process", "server"])
def both(request, running, tiny):
    """(vLLM in each mode, the native engine) with the bundled policy."""
    engine, native = running(request.param), Native()
    engine.load(tiny)
    native.load(tiny)
    return engine, native


def test_scores_are_the_native_engines(both):
    requests = score_requests()
    for mine, theirs in zip(*(e.score(requests) for e in both), strict=True):
        np.testing.assert_allclose(mine.logprobs, theirs.logprobs, atol=1e-3)
        assert mine.logprobs.dtype == np.float32


def test_the_k_likeliest_and_the_mass_of_the_rest_are_the_native_engines(both):
    requests = score_requests()
    for mine, theirs in zip(*(e.score(requests, "topk", 5) for e in both), strict=True):
        np.testing.assert_allclose(mine.logprobs, theirs.logprobs, atol=1e-3)
        np.testing.assert_allclose(mine.topk, theirs.topk, atol=1e-3)
        np.testing.assert_allclose(np.exp(mine.tail), np.exp(theirs.tail), atol=1e-5)
        apart = -np.diff(theirs.topk, axis=1, append=-np.inf) > 1e-3  # near ties may come in either order
        assert (mine.ids == theirs.ids)[:, 1:][apart[:, 1:] & apart[:, :-1]].all()
        assert mine.ids.shape == mine.topk.shape == (len(mine.tail), 5)


def test_more_than_the_vocabulary_is_all_of_it_and_leaves_nothing(both, tiny):
    scores = both[0].score(score_requests(1), "topk", 5000)[0]
    assert scores.ids.shape[1] == tiny.model.get_output_embeddings().weight.shape[0]
    assert (np.exp(scores.tail) < 1e-5).all()
    np.testing.assert_array_equal(np.sort(scores.ids, axis=1), np.broadcast_to(np.arange(scores.ids.shape[1]), scores.ids.shape))


def test_what_fills_the_context_to_its_end_can_be_scored_and_one_token_more_cannot(both, tiny):
    whole = contexts(1, shortest=tiny.codec.limit, longest=tiny.codec.limit)[0]
    mine, theirs = (e.score([ScoreRequest(whole[:-7], whole[-7:])])[0].logprobs for e in both)
    np.testing.assert_allclose(mine, theirs, atol=1e-3)
    with pytest.raises(EngineError, match="request 0: context and tokens longer than the context"):
        both[0].score([ScoreRequest(whole, (9,))])


def test_no_tokens_have_no_scores(both):
    requests = [ScoreRequest((7, 8), ()), *score_requests(1), ScoreRequest((7,), ())]
    scores = both[0].score(requests, "topk", 3)
    assert [len(s.logprobs) for s in scores] == [0, len(requests[1].tokens), 0]
    assert both[0].score([]) == []


@pytest.mark.parametrize(
    "request_, want, k, message",
    [
        (ScoreRequest((7,), (8,), 0.7), "sampled", 0, "request 0: vLLM scores given tokens at temperature 1 only, got 0.7"),
        (ScoreRequest((), (8,)), "sampled", 0, "request 0: the context is empty"),
        (ScoreRequest((7,), (8,)), "full", 0, "want 'full' is not possible with vLLM"),
        (ScoreRequest((7,), (8,)), "topk", 0, "needs k of at least 1"),
    ],
)
def test_what_vllm_cannot_score_is_refused_in_one_line(both, request_, want, k, message):
    with pytest.raises(EngineError, match=message) as error:
        both[0].score([request_], want, k)
    assert "\n" not in str(error.value)
