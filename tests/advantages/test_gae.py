"""Generalised advantage estimation against its closed forms."""

from __future__ import annotations

from dataclasses import replace

import pytest

from selfevo.advantages import Gae, Returns, Whiten
from selfevo.advantages.gae import gae
from selfevo.errors import UserError


def closed_form(values, rewards, gamma, lam):
    """A_t = sum over l of (gamma lam)^l delta_{t+l}, summed directly."""
    after = [*values[1:], 0.0]
    deltas = [r + gamma * b - v for r, b, v in zip(rewards, after, values, strict=True)]
    return [sum((gamma * lam) ** k * d for k, d in enumerate(deltas[t:])) for t in range(len(values))]


@pytest.fixture
def one(make):
    """A sample of 5 tokens, the third masked, with values; its reward is 1."""
    samples, rows = make({"a": [1.0]})
    columns = {"mask": (1.0, 1.0, 0.0, 1.0, 1.0), "value": (0.5, 0.25, 99.0, 0.75, 0.5)}
    return [replace(samples[0], response=(1, 2, 3, 4, 5), columns=columns)], rows


def test_recursion_equals_the_sum():
    values, rewards = [0.3, -0.2, 0.7, 0.1], [0.0, 0.5, 0.0, 1.0]
    for gamma, lam in ((1.0, 0.95), (0.9, 0.5), (0.99, 0.0), (0.5, 1.0)):
        assert gae(values, rewards, gamma, lam) == pytest.approx(closed_form(values, rewards, gamma, lam), abs=1e-12)


def test_gamma_and_lambda_one_give_reward_minus_value(one, ctx):
    [a] = Gae(gamma=1.0, lam=1.0)(*one, ctx)
    assert a == (0.5, 0.75, 0.0, 0.25, 0.5)


def test_lambda_zero_gives_the_td_error_which_steps_over_masked_tokens(one, ctx):
    [a] = Gae(gamma=0.5, lam=0.0)(*one, ctx)
    assert a == (0.5 * 0.25 - 0.5, 0.5 * 0.75 - 0.25, 0.0, 0.5 * 0.5 - 0.75, 1.0 - 0.5)


def test_gae_hand_worked(one, ctx):
    [a] = Gae(gamma=1.0, lam=0.5)(*one, ctx)  # deltas -0.25, 0.5, -0.25, 0.5
    assert a == (-0.25 + 0.5 * 0.5, 0.5 + 0.5 * 0.0, 0.0, -0.25 + 0.5 * 0.5, 0.5)


def test_returns_are_advantages_plus_values_on_the_steps(one, ctx):
    [a], [g] = Gae(gamma=0.9, lam=0.7)(*one, ctx), Returns(gamma=0.9, lam=0.7)(*one, ctx)
    values, mask = one[0][0].columns["value"], one[0][0].columns["mask"]
    assert g == tuple(x + v if m else 0.0 for x, v, m in zip(a, values, mask, strict=True))
    [mc] = Returns(gamma=1.0, lam=1.0)(*one, ctx)
    assert mc == (1.0, 1.0, 0.0, 1.0, 1.0)


def test_what_stands_at_masked_tokens_does_not_matter(one, ctx):
    samples, rows = one
    other = [replace(samples[0], columns={**samples[0].columns, "value": (0.5, 0.25, -1.0, 0.75, 0.5)})]
    assert Gae()(samples, rows, ctx) == Gae()(other, rows, ctx)


def test_whitened_gae_counts_unmasked_tokens(one, ctx):
    [a] = Whiten(of=Gae(gamma=1.0, lam=1.0), std="none")(*one, ctx)
    assert a == (0.0, 0.25, 0.0, -0.25, 0.0)


def test_a_missing_value_column_and_bad_numbers_are_named(make, ctx):
    with pytest.raises(UserError, match="sample t0 has no column 'value'"):
        Gae()(*make({"a": [1.0]}), ctx)
    with pytest.raises(UserError, match=r"Gae: lam must lie in \[0, 1\], got 1.5"):
        Gae(lam=1.5)
    with pytest.raises(UserError, match=r"Returns: gamma must lie in \[0, 1\], got -1"):
        Returns(gamma=-1)
