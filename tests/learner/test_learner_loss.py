"""The loss does not depend on how rows are packed, and equals an independent computation."""

from __future__ import annotations

import pytest
import torch

from selfevo.objectives import KL, NLL, ClippedRatio, Entropy


def objective():
    return {
        "pg": ClippedRatio("adv", low=0.2, high=0.28, reduce="rows"),
        "kl": KL("solver@base", coef=0.05),
        "entropy": Entropy(0.01),
    }


def close(a, b):
    """Equal to 1e-6, absolute. The weights are in double precision, so that only what the learner itself rounds is left."""
    return (a - b).abs().max() <= 1e-6 and b.abs().max() > 0.01


def drawn(bench, n=8):
    return bench.sampled(bench.samples(n, adv=bench.gaussian, mask=bench.coin_mask), bench.near(bench.policy()))


@pytest.mark.parametrize("micro_tokens", [1, 40, 77])
def test_gradient_does_not_depend_on_micro_batches(bench, micro_tokens):
    samples, base = drawn(bench), {"solver@base": bench.near(bench.policy(), seed=5)}
    whole = bench.gradient(samples, objective(), policies=base)
    split = bench.gradient(samples, objective(), policies=base, micro_tokens=micro_tokens)
    assert close(whole, split)


def test_gradient_does_not_depend_on_the_order_of_samples(bench):
    samples, base = drawn(bench), {"solver@base": bench.near(bench.policy(), seed=5)}
    forwards = bench.gradient(samples, objective(), policies=base)
    backwards = bench.gradient(samples[::-1], objective(), policies=base)
    assert close(forwards, backwards)


def test_nll_gradient_equals_the_one_of_transformers(bench):
    samples = bench.samples(6, mask=bench.coin_mask)
    ours = bench.gradient(samples, {"nll": NLL()}, micro_tokens=50)
    model = bench.model(dtype=torch.float64)
    total, count = torch.zeros(()), sum(sum(s.columns["mask"]) for s in samples)
    for s in samples:
        ids = torch.tensor([s.contexts["train"] + s.response])
        labels = ids.clone()
        labels[0, : len(s.contexts["train"])] = -100
        labels[0, len(s.contexts["train"]) :][torch.tensor(s.columns["mask"]) == 0] = -100
        total = total + model(input_ids=ids, labels=labels).loss * sum(s.columns["mask"]) / count
    total.backward()
    theirs = torch.cat([p.grad.reshape(-1).double() for _, p in sorted(model.named_parameters(), key=lambda x: "model." + x[0])])
    assert close(ours, theirs)


def test_log_probs_do_not_depend_on_padding(bench):
    from selfevo.learning.forward import run

    policy, samples = bench.policy(), bench.samples(8, temperature=lambda r, n: r.choice([0.5, 1.0]))
    with torch.no_grad():
        together = run(policy.model, samples).chosen()[0]
        for row, s in zip(together, bench.sampled(samples, policy), strict=True):
            assert torch.allclose(row[: len(s.response)], torch.tensor(s.columns["logp:sampler"]), atol=1e-5)
            assert not row[len(s.response) :].any()


def test_chosen_log_prob_has_the_gradient_of_log_softmax(bench):
    from selfevo.learning import forward

    logits = torch.randn(7, 11, dtype=torch.float64, requires_grad=True)
    tokens, T = torch.arange(7), torch.linspace(0.5, 2, 7, dtype=torch.float64)
    logp, entropy = forward.ChosenLogProb.apply(logits, tokens, T)
    plain = (logits / T[:, None]).log_softmax(1)
    weight = torch.randn(7, dtype=torch.float64)
    (ours,) = torch.autograd.grad((logp * weight).sum(), logits)
    (theirs,) = torch.autograd.grad((plain[torch.arange(7), tokens] * weight).sum(), logits)
    assert torch.allclose(ours, theirs, atol=1e-12)
    assert torch.allclose(entropy, -(plain.exp() * plain).sum(1), atol=1e-12)


def test_chunks_of_the_vocabulary_pass_change_nothing(bench, monkeypatch):
    from selfevo.learning import forward

    samples = bench.samples(5)
    whole = bench.gradient(samples, {"nll": NLL()})
    monkeypatch.setattr(forward, "CHUNK", 30)
    assert torch.equal(whole, bench.gradient(samples, {"nll": NLL()}))
