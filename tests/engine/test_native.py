"""The native engine against transformers itself, and its promises about batches, seeds and prefixes."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers

from selfevo.codec import ByteCodec
from selfevo.engines import Native
from selfevo.engines.direct import Direct
from selfevo.engines.hooked import Hooked
from selfevo.errors import EngineError, UserError
from selfevo.models import Pretrained, Scripted
from selfevo.policies import LivePolicy
from selfevo.protocols import GenerateRequest, Sampling, ScoreRequest
from selfevo.records import Version

FAMILIES = ["Qwen3", "Qwen2", "Llama", "Gemma2", "Gemma3Text", "Olmo3", "Mistral"]


def contexts(policy, count=7, seed=0, shortest=3, longest=24):
    rng = random.Random(seed)
    return [tuple(rng.randrange(13, 109) for _ in range(rng.randint(shortest, longest))) for _ in range(count)]


def forward(policy, context, tokens, temperature=1.0):
    """Log-probs [T, V] by one plain forward pass of transformers."""
    with torch.no_grad():
        logits = policy.model(torch.tensor([context + tokens])).logits[0].float()
    return torch.log_softmax(logits[len(context) - 1 : -1] / temperature, dim=-1)


def native(policy, **settings):
    engine = Native(**settings)
    engine.load(policy)
    return engine


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_equals_transformers_generate_token_by_token(policies, family):
    policy = policies(family)
    ends = sorted(policy.codec.ends)
    asked = contexts(policy, 6)
    got = native(policy).generate([GenerateRequest(c, 0, Sampling(24, temperature=0.0)) for c in asked])
    for context, completion in zip(asked, got, strict=True):
        out = policy.model.generate(torch.tensor([context]), max_new_tokens=24, do_sample=False, eos_token_id=ends, pad_token_id=0)
        assert completion.tokens == tuple(out[0, len(context) :].tolist())


@pytest.mark.parametrize("family", FAMILIES)
def test_sampled_log_probs_equal_a_forward_pass(policies, family):
    policy = policies(family)
    requests = [GenerateRequest(c, i, Sampling(20, temperature=1.5, top_k=9)) for i, c in enumerate(contexts(policy))]
    for request, completion in zip(requests, native(policy).generate(requests), strict=True):
        expected = forward(policy, request.context, completion.tokens, 1.5).gather(1, torch.tensor(completion.tokens)[:, None])[:, 0]
        np.testing.assert_allclose(completion.logprobs, expected.numpy(), atol=2e-5)


def mixed(policy):
    """Groups, singles, several samplings and lengths."""
    requests = []
    for i, context in enumerate(contexts(policy, 6)):
        sampling = [Sampling(5), Sampling(17, 0.7), Sampling(30, 1.3, top_p=0.8), Sampling(12, top_k=3), Sampling(9, 0.0)][i % 5]
        requests += [GenerateRequest(context, 100 * i + j, sampling) for j in range(1 + i % 3)]
    return requests


def test_a_request_alone_gives_the_same_tokens_as_in_a_batch(policies, engine):
    requests = mixed(policies())
    for request, completion in zip(requests, engine.generate(requests), strict=True):
        alone = engine.generate([request])[0]
        assert alone.tokens == completion.tokens
        np.testing.assert_allclose(alone.logprobs, completion.logprobs, atol=2e-5)


def test_permuting_requests_permutes_completions_bit_for_bit(policies, engine):
    requests = mixed(policies())
    expected = engine.generate(requests)
    order = list(range(len(requests)))
    random.Random(3).shuffle(order)
    assert engine.generate([requests[i] for i in order]) == [expected[i] for i in order]


@pytest.mark.parametrize("settings", [{"max_batch": 1}, {"max_batch": 3}, {"cache_tokens": 100}, {"prefill_tokens": 1}])
def test_batch_sizes_change_no_token(policies, engine, settings):
    requests = mixed(policies())
    assert [c.tokens for c in native(policies(), **settings).generate(requests)] == [c.tokens for c in engine.generate(requests)]


@pytest.mark.parametrize(("family", "where"), [("Qwen3", Direct), ("Gemma2", Hooked)])
def test_equal_contexts_are_prefilled_once_per_call(policies, monkeypatch, family, where):
    policy, seen, prefill = policies(family), [], where.prefill
    a, b = contexts(policy, 2)
    requests = [GenerateRequest(c, i, Sampling(3)) for c in (a, b) for i in range(5)]

    def counted(self, ids, last):
        seen.append(len(ids))
        return prefill(self, ids, last)

    monkeypatch.setattr(where, "prefill", counted)
    native(policy, max_batch=2).generate(requests)
    assert sum(seen) == 2


def test_a_reply_resumed_from_its_prefix_goes_on_as_it_was(policies, engine):
    for context in contexts(policies()):
        whole = engine.generate([GenerateRequest(context, 5, Sampling(20))])[0].tokens
        rest = engine.generate([GenerateRequest(context + whole[:4], 5, Sampling(16))])[0].tokens
        assert whole[:4] + rest == whole


def test_what_earlier_calls_left_in_the_cache_changes_no_bit(policies):
    policy = policies()
    requests = mixed(policy)
    expected = native(policy).generate(requests)
    used = native(policy)
    for longest in (90, 3):
        used.generate([GenerateRequest(c, i, Sampling(longest)) for i, c in enumerate(contexts(policy, 40, seed=longest))])
    assert used.generate(requests) == expected


@pytest.mark.parametrize("family", ["Qwen3", "Gemma2"])
def test_replies_that_end_early_do_not_disturb_those_that_run_to_the_limit(policies, family):
    policy = policies(family)
    limit = policy.codec.limit
    long, *short = contexts(policy, 9)
    requests = [GenerateRequest(long, 0, Sampling(limit)), *(GenerateRequest(c, i, Sampling(3 + i)) for i, c in enumerate(short))]
    together, alone = native(policy).generate(requests), native(policy).generate(requests[:1])
    assert together[0].tokens == alone[0].tokens
    assert len(together[0].tokens) == limit - len(long) or together[0].finish == "stop"


def test_the_cache_grows_with_a_reply(policies, monkeypatch):
    from selfevo.engines import decoding

    requests = [GenerateRequest(c, i, Sampling(60)) for i, c in enumerate(contexts(policies(), 5))]
    expected = native(policies()).generate(requests)
    monkeypatch.setattr(decoding, "ROOM", 1)
    for one, other in zip(native(policies()).generate(requests), expected, strict=True):
        assert one.tokens == other.tokens


def test_another_seed_gives_another_reply_and_the_same_seed_the_same(policies, engine):
    context = contexts(policies())[0]
    a, b, c = engine.generate([GenerateRequest(context, s, Sampling(12)) for s in (1, 2, 1)])
    assert a.tokens == c.tokens != b.tokens


def frequencies(engine, context, sampling, count=4000):
    drawn = engine.generate([GenerateRequest(context, 977 * i, replace(sampling, max_tokens=1)) for i in range(count)])
    return np.bincount([c.tokens[0] for c in drawn], minlength=109)


def chi_square(observed, p):
    """The statistic and its degrees of freedom, with rare tokens pooled."""
    expected = p / p.sum() * observed.sum()
    common = expected >= 5
    o = np.append(observed[common], observed[~common].sum())
    e = np.append(expected[common], max(expected[~common].sum(), 1e-9))
    return ((o - e) ** 2 / e).sum(), len(o) - 1


@pytest.mark.parametrize(
    "sampling", [Sampling(1), Sampling(1, 2.5), Sampling(1, 3.0, top_k=5), Sampling(1, 3.0, top_p=0.7), Sampling(1, 3.0, 0.8, 6)]
)
def test_frequencies_match_the_distribution_and_its_support(policies, engine, sampling):
    context = contexts(policies())[1]
    p = forward(policies(), context, (0,), sampling.temperature)[0].exp().double().numpy()
    order = np.argsort(-p, kind="stable")
    kept = order[: sampling.top_k or len(p)]
    mass = np.cumsum(p[kept]) / p[kept].sum()
    kept = kept[: int(np.searchsorted(mass, sampling.top_p)) + 1]
    expected = np.zeros_like(p)
    expected[kept] = p[kept]
    observed = frequencies(engine, context, sampling)
    assert set(np.flatnonzero(observed)) <= set(kept)
    statistic, freedom = chi_square(observed, expected)
    assert statistic < freedom + 4 * (2 * freedom) ** 0.5


def test_successive_tokens_are_drawn_independently(policies, engine):
    """Over many seeds the second token given the first follows the model too: counters of one seed do not repeat."""
    context = contexts(policies())[2]
    drawn = [c.tokens for c in engine.generate([GenerateRequest(context, i, Sampling(2, 2.0)) for i in range(6000)])]
    first = max({t[0] for t in drawn}, key=[t[0] for t in drawn].count)
    observed = np.bincount([t[1] for t in drawn if t[0] == first], minlength=109)
    statistic, freedom = chi_square(observed, forward(policies(), (*context, first), (0,), 2.0)[0].exp().double().numpy())
    assert statistic < freedom + 4 * (2 * freedom) ** 0.5


def test_stop_strings_end_a_reply_and_are_kept(policies, engine):
    context = contexts(policies())[0]
    free = engine.generate([GenerateRequest(context, i, Sampling(30, 1.5)) for i in range(12)])
    stop = (free[0].text[6:8], free[1].text[9])
    stopped = engine.generate([GenerateRequest(context, i, Sampling(30, 1.5, stop=stop)) for i in range(12)])
    for whole, cut in zip(free, stopped, strict=True):
        ends = [whole.text.find(s) + len(s) for s in stop if s in whole.text]
        assert cut.text == (whole.text[: min(ends)] if ends else whole.text)
        assert cut.finish == ("stop" if ends else whole.finish)
    assert stopped[0].text.endswith(stop)


def test_requests_with_and_without_stop_strings_share_a_batch(policies, engine):
    context = contexts(policies())[0]
    plain = GenerateRequest(context, 1, Sampling(20, 1.5))
    whole = engine.generate([plain])[0]
    cut, same = engine.generate([replace(plain, sampling=replace(plain.sampling, stop=(whole.text[3],))), plain])
    assert same.tokens == whole.tokens
    assert cut.tokens == whole.tokens[: whole.text.index(whole.text[3]) + 1]


def test_max_tokens_and_end_tokens_decide_the_finish(policies, engine):
    ends = policies().codec.ends
    done = engine.generate([GenerateRequest(contexts(policies())[0], i, Sampling(6, 4.0)) for i in range(300)])
    assert {c.finish for c in done} == {"stop", "length"}
    for c in done:
        assert (c.finish == "stop") == (c.tokens[-1] in ends)
        assert c.finish == "stop" or len(c.tokens) == 6
        assert not ends & set(c.tokens[:-1])


def test_a_reply_is_cut_to_the_room_the_context_leaves(policies, engine):
    context = tuple(random.Random(0).choices(range(13, 109), k=122))
    assert policies().codec.limit == 128
    longest = max(len(c.tokens) for c in engine.generate([GenerateRequest(context, i, Sampling(50)) for i in range(8)]))
    assert longest == 6


def test_a_prompt_that_does_not_fit_is_named(policies, engine):
    good = GenerateRequest(contexts(policies())[0], 0)
    with pytest.raises(EngineError, match=r"request 1: prompt longer than the context \(128 of 128 tokens\)"):
        engine.generate([good, GenerateRequest((20,) * 128, 0)])
    with pytest.raises(EngineError, match=r"request 0: .*\(129 of 128 tokens\)"):
        engine.score([ScoreRequest((20,) * 100, (21,) * 29)])


@pytest.mark.parametrize(
    ("sampling", "message"),
    [
        (Sampling(0), "request 0: max_tokens must be at least 1, got 0"),
        (Sampling(temperature=-0.5), "temperature must be at least 0, got -0.5"),
        (Sampling(temperature=float("nan")), "temperature must be at least 0, got nan"),
        (Sampling(top_p=0.0), r"top_p must be in \(0, 1\], got 0.0"),
        (Sampling(top_k=-1), "top_k must be at least 0"),
        (Sampling(stop=("",)), "a stop string is empty"),
    ],
)
def test_impossible_sampling_is_refused(engine, sampling, message):
    with pytest.raises(EngineError, match=message):
        engine.generate([GenerateRequest((20, 21), 0, sampling)])


def test_wrong_settings_and_policies_are_refused():
    with pytest.raises(UserError, match=r"engine.max_batch must be at least 1, got 0"):
        Native(max_batch=0)
    with pytest.raises(UserError, match="policy 'solver' has no weights"):
        Native().load(Scripted().load("solver"))
    with pytest.raises(EngineError, match="no policy yet"):
        Native().generate([GenerateRequest((20,), 0)])


def test_no_requests_give_no_completions(engine):
    assert engine.generate([]) == []
    assert engine.score([]) == []


def test_training_mode_and_attention_survive_a_call(policies):
    model = policies("Olmo3").model
    model.train()
    try:
        native(policies("Olmo3")).generate([GenerateRequest((20, 21, 22), 0, Sampling(3))])
        assert model.training
        assert model.config._attn_implementation == "sdpa"
        loss = model(torch.tensor([[20, 21, 22, 23]]), labels=torch.tensor([[20, 21, 22, 23]])).loss
        assert loss.requires_grad
    finally:
        model.eval()


def test_log_probs_at_temperature_zero_are_those_at_one(policies, engine):
    context = contexts(policies())[3]
    greedy = engine.generate([GenerateRequest(context, 0, Sampling(5, 0.0))])[0]
    scored = engine.score([ScoreRequest(context, greedy.tokens, 0.0), ScoreRequest(context, greedy.tokens)])
    np.testing.assert_allclose(greedy.logprobs, scored[0].logprobs, atol=2e-5)
    np.testing.assert_array_equal(scored[0].logprobs, scored[1].logprobs)


def test_bfloat16_weights_give_float32_log_probs_near_a_forward_pass(checkpoint):
    policy = Pretrained(str(checkpoint()), dtype="bfloat16").load("solver")
    requests = [GenerateRequest(c, i, Sampling(20)) for i, c in enumerate(contexts(policy))]
    for request, completion in zip(requests, native(policy).generate(requests), strict=True):
        expected = forward(policy, request.context, completion.tokens).gather(1, torch.tensor(completion.tokens)[:, None])[:, 0]
        assert np.abs(np.array(completion.logprobs) - expected.numpy()).mean() < 0.1


def test_later_updates_of_the_weights_are_seen_at_once(policies):
    policy = policies().fork()
    engine, request = native(policy), ScoreRequest((20, 21), (22, 23))
    before = engine.score([request])[0].logprobs
    with torch.no_grad():
        policy.model.lm_head.weight.mul_(0.5)
    np.testing.assert_allclose(engine.score([request])[0].logprobs, forward(policy, (20, 21), (22, 23))[[0, 1], [22, 23]], atol=2e-5)
    assert not np.allclose(engine.score([request])[0].logprobs, before)


def bare(kind, **extra):
    """A policy of any architecture of transformers, without a tokenizer: contexts are ids here."""
    size = {"vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(getattr(transformers, f"{kind}Config")(**{**size, **extra})).eval()
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "norm" not in name and "ln" not in name:
                tensor.normal_(0.0, 0.3)
    return LivePolicy("solver", model, None, ByteCodec(128), Version("solver", "000000"))


@pytest.mark.parametrize(
    ("kind", "extra"),
    [
        ("GPT2", {"n_embd": 32, "n_layer": 2, "n_head": 4}),
        ("Qwen3Moe", {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "head_dim": 8}),
    ],
)
def test_absolute_positions_and_experts_are_served_too(kind, extra):
    policy = bare(kind, **extra)
    asked = [(5, 6, 7), (8, 9), tuple(range(20, 31))]
    for context, got in zip(asked, native(policy).generate([GenerateRequest(c, 0, Sampling(8, 0.0)) for c in asked]), strict=True):
        assert forward(policy, context, got.tokens).argmax(-1).tolist() == list(got.tokens)


@pytest.mark.parametrize(
    ("kind", "extra", "reason"),
    [
        ("Llama4Text", {"attention_chunk_size": 8, "num_local_experts": 2}, "chunked attention"),
        ("GptOss", {"num_local_experts": 2, "head_dim": 8}, "attention sinks"),
        ("Bloom", {"n_layer": 2, "n_head": 4}, "an attention of its own"),
    ],
)
def test_attention_it_cannot_compute_is_refused_not_guessed(kind, extra, reason):
    policy = bare(kind, **extra)
    own = policy.model.config._attn_implementation
    with pytest.raises(EngineError, match=f"{reason}.*use engine=vllm"):
        native(policy).generate([GenerateRequest((5, 6), 0)])
    assert policy.model.config._attn_implementation == own
