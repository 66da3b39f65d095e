"""Replies: seeds, stop strings, end tokens, limits, prefixes, truncation; in this process and through a server."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from vllm_checks import agree, contexts, drawn, forward

from selfevo.errors import EngineError
from selfevo.protocols import GenerateRequest, Sampling

pytestmark = pytest.mark.scale


@pytest.fixture(params=["in-process", "server"])
def either(request, running, tiny):
    """vLLM with the bundled policy, in each mode."""
    engine = running(request.param)
    engine.load(tiny)
    return engine


def solve(tiny, question="7 + 5 - 3"):
    """A prompt the policy knows, so that it ends its reply by itself."""
    from selfevo.records import Message

    return tiny.codec.open([Message("user", f"solve {question}\n")])


def test_the_same_seed_gives_the_same_reply_and_another_seed_another(either):
    context = contexts()[0]
    a, b, c = either.generate([GenerateRequest(context, s, Sampling(24)) for s in (1, 2, 1)])
    assert a.tokens == c.tokens != b.tokens
    assert either.generate([GenerateRequest(context, 1, Sampling(24))])[0].tokens == a.tokens


def test_a_reply_does_not_depend_on_what_else_is_in_the_batch(either):
    asked = contexts(12)
    together = drawn(either, asked)
    for i, context in enumerate(asked[:4]):
        assert either.generate([GenerateRequest(context, 7 * i, Sampling(24))])[0].tokens == together[i].tokens


def test_seeds_of_63_bits_are_told_apart(either):
    context, high = contexts()[0], 1 << 62
    replies = either.generate([GenerateRequest(context, s, Sampling(24)) for s in (5, 5 + high)])
    assert replies[0].tokens != replies[1].tokens


def test_the_end_token_is_kept_and_its_log_prob_too(either, tiny):
    context = solve(tiny)
    replies = either.generate([GenerateRequest(context, i, Sampling(200)) for i in range(8)])
    ended = [r for r in replies if r.finish == "stop"]
    assert ended
    for reply in ended:
        assert tiny.codec.ended(reply.tokens)
        assert reply.text == tiny.codec.decode(reply.tokens)
        assert len(reply.logprobs) == len(reply.tokens)
    agree(tiny, [context] * len(ended), ended)


def test_stop_strings_end_a_reply_and_are_kept(either):
    context = contexts()[0]
    free = either.generate([GenerateRequest(context, i, Sampling(30, 1.5)) for i in range(12)])
    stop = (free[0].text[6:8], free[1].text[9])
    stopped = either.generate([GenerateRequest(context, i, Sampling(30, 1.5, stop=stop)) for i in range(12)])
    for whole, cut in zip(free, stopped, strict=True):
        ends = [whole.text.find(s) + len(s) for s in stop if s in whole.text]
        assert cut.text == (whole.text[: min(ends)] if ends else whole.text)
        assert cut.finish == ("stop" if ends else whole.finish)
        assert len(cut.logprobs) == len(cut.tokens)
    assert stopped[0].text.endswith(stop)


def test_a_reply_ends_at_max_tokens_or_at_the_longest_context(either, tiny):
    limit = tiny.codec.limit
    short, long = contexts(1)[0], contexts(1, shortest=limit - 5, longest=limit - 5)[0]
    replies = either.generate([GenerateRequest(short, 0, Sampling(9, 1.9)), GenerateRequest(long, 0, Sampling(50, 1.9))])
    assert [len(r.tokens) for r in replies if r.finish == "length"] == [9, 5][: sum(r.finish == "length" for r in replies)]
    assert len(replies[1].tokens) <= 5
    with pytest.raises(EngineError, match=f"request 1: prompt longer than the context .{limit} of {limit} tokens."):
        either.generate([GenerateRequest(short, 0), GenerateRequest((*long, *long)[:limit], 0)])


def test_a_reply_resumed_from_its_prefix_is_conditioned_on_it(either, tiny):
    asked = contexts(4)
    whole = drawn(either, asked)
    prefixes = [(*context, *reply.tokens[:5]) for context, reply in zip(asked, whole, strict=True)]
    agree(tiny, prefixes, drawn(either, prefixes, Sampling(12)))


def test_the_greedy_reply_is_the_likeliest_token_at_each_place_and_the_native_engines(either, tiny):
    from selfevo.engines import Native

    native = Native()
    native.load(tiny)
    asked = contexts(4)
    mine, theirs = (drawn(e, asked, Sampling(16, 0.0)) for e in (either, native))
    for context, a, b in zip(asked, mine, theirs, strict=True):
        gap = np.abs(forward(tiny, context, a.tokens) - np.array(a.logprobs)).max()
        assert a.tokens == b.tokens and gap < 1e-3


def test_truncation_leaves_log_probs_before_it_at_temperature_1_and_none_elsewhere(either, tiny):
    asked = contexts()
    for sampling in (Sampling(16, top_p=0.6), Sampling(16, top_k=3)):
        agree(tiny, asked, drawn(either, asked, sampling))
    assert [r.logprobs for r in drawn(either, asked, Sampling(16, 0.8, top_k=3))] == [None] * len(asked)


def test_one_call_may_mix_settings(either, tiny):
    asked = contexts(6)
    plain = [Sampling(8), Sampling(12, 0.5), Sampling(16, top_k=2), Sampling(8, 0.0), Sampling(8, 1.5, stop=("e",))]
    settings = [*plain, Sampling(8, 0.7, top_p=0.5)]
    replies = either.generate([GenerateRequest(c, i, s) for i, (c, s) in enumerate(zip(asked, settings, strict=True))])
    for context, s, reply in zip(asked, settings, replies, strict=True):
        if reply.logprobs is not None:
            agree(tiny, [context], [reply], s.temperature or 1.0)
    assert [r.logprobs is None for r in replies] == [False] * 5 + [True]


@pytest.mark.parametrize("sampling", [Sampling(1), Sampling(1, 1.7), Sampling(1, 1.7, top_k=4), Sampling(1, 1.7, top_p=0.7)])
def test_tokens_are_drawn_as_often_as_the_distribution_says(engine, tiny, sampling):
    import torch

    context, count = contexts()[1], 3000
    with torch.no_grad():
        p = torch.softmax(tiny.model(torch.tensor([context])).logits[0, -1].double() / sampling.temperature, dim=-1).numpy()
    order = np.argsort(-p, kind="stable")
    kept = order[: sampling.top_k or len(p)]
    kept = kept[: int(np.searchsorted(np.cumsum(p[kept]) / p[kept].sum(), sampling.top_p)) + 1]
    replies = engine.generate([GenerateRequest(context, 977 * i, replace(sampling, max_tokens=1)) for i in range(count)])
    observed = np.bincount([r.tokens[0] for r in replies], minlength=len(p))
    assert set(np.flatnonzero(observed)) <= set(kept)
    expected = p[kept] / p[kept].sum() * count
    common = expected >= 5
    o, e = np.append(observed[kept][common], observed[kept][~common].sum()), np.append(expected[common], max(expected[~common].sum(), 1e-9))
    assert ((o - e) ** 2 / e).sum() < len(o) - 1 + 4 * (2 * (len(o) - 1)) ** 0.5


def test_global_random_state_and_threads_are_as_they_were(engine, tiny):
    import random

    import torch

    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist(), torch.get_num_threads()
    drawn(engine, contexts())
    fork = tiny.fork()
    engine.load(fork)
    assert before == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist(), torch.get_num_threads())
    torch.set_num_threads(torch.get_num_threads())


@pytest.mark.parametrize(
    "sampling, message",
    [
        (Sampling(0), "max_tokens must be at least 1, got 0"),
        (Sampling(1, 2.5), "temperature 0 or from 0.01 to 2, got 2.5"),
        (Sampling(1, 0.001), "temperature 0 or from 0.01 to 2, got 0.001"),
        (Sampling(1, float("nan")), "temperature 0 or from 0.01 to 2, got nan"),
        (Sampling(1, top_p=0.0), "top_p must be in .0, 1., got 0.0"),
        (Sampling(1, top_k=-1), "top_k must be at least 0"),
        (Sampling(1, stop=("",)), "a stop string is empty"),
    ],
)
def test_settings_vllm_cannot_follow_are_refused_naming_the_request(engine, sampling, message):
    with pytest.raises(EngineError, match=f"^request 1: .*{message}"):
        engine.generate([GenerateRequest((7, 8), 0), GenerateRequest((7, 8), 0, sampling)])
