"""Uniforms, truncation and drawing, against hand-worked numbers and a scalar splitmix64."""

from __future__ import annotations

import random

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from selfevo.engines.sampling import distribution, draw, truncate, uniforms

WORD = (1 << 64) - 1


def mix(x: int) -> int:
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & WORD
    return x ^ (x >> 31)


def test_mixing_is_splitmix64():
    """First output of splitmix64 seeded with 0, as published with its reference implementation."""
    assert mix(0x9E3779B97F4A7C15) == 0xE220A8397B1DCDAF


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**31))
@settings(max_examples=50, deadline=None)
def test_uniforms_equal_a_scalar_implementation(seed, position):
    golden = 0x9E3779B97F4A7C15
    bits = mix((mix((seed + golden) & WORD) + (position + 1) * golden) & WORD)
    assert uniforms(torch.tensor([seed]), torch.tensor([position])).item() == (bits >> 11) * 2.0**-53


def test_uniforms_are_uniform_and_uncorrelated_along_seeds_and_positions():
    u = uniforms(torch.arange(400).repeat_interleave(400), torch.arange(400).repeat(400)).view(400, 400).numpy()
    counts = np.histogram(u, bins=100, range=(0, 1))[0]
    assert ((counts - 1600) ** 2 / 1600).sum() < 99 + 4 * 198**0.5
    for a, b in ((u[1:], u[:-1]), (u[:, 1:], u[:, :-1])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.01


def test_draw_inverts_the_cumulative_distribution():
    p = torch.tensor([[0.0, 0.25, 0.0, 0.5, 0.25, 0.0]]).expand(6, -1)
    u = torch.tensor([0.0, 0.2499, 0.25, 0.7499, 0.75, 1.0 - 2.0**-53], dtype=torch.float64)
    assert draw(p, u).tolist() == [1, 1, 3, 3, 4, 4]


def test_draw_never_takes_a_token_without_mass():
    torch.manual_seed(0)
    p = torch.rand(500, 50) * (torch.rand(500, 50) < 0.1)
    p[:, 7] += 0.01
    for value in (0.0, 1.0 - 2.0**-53):
        drawn = draw(p, torch.full((500,), value, dtype=torch.float64))
        assert (p[torch.arange(500), drawn] > 0).all()


def kept(p, top_p=1.0, top_k=0):
    return truncate(torch.tensor([p]).log(), torch.tensor([top_p]), torch.tensor([top_k]))[0].nonzero().squeeze(1).tolist()


def test_truncation_by_hand():
    p = [0.1, 0.4, 0.2, 0.3]
    assert kept(p) == [0, 1, 2, 3]
    assert kept(p, top_k=2) == [1, 3]
    assert kept(p, top_p=0.69) == [1, 3]
    assert kept(p, top_p=0.71) == [1, 2, 3]
    assert kept(p, top_p=1e-6) == [1]
    # top-p is of the mass that top-k left: 0.4 of 0.7 is 0.571.
    assert kept(p, top_p=0.57, top_k=2) == [1]
    assert kept(p, top_p=0.58, top_k=2) == [1, 3]


def test_ties_keep_the_lower_id():
    assert kept([0.25, 0.25, 0.25, 0.25], top_k=2) == [0, 1]


def test_truncation_leaves_probabilities_as_they_are():
    p = torch.tensor([[0.1, 0.4, 0.2, 0.3]])
    torch.testing.assert_close(truncate(p.log(), torch.tensor([0.71]), torch.tensor([0])), torch.tensor([[0.0, 0.4, 0.2, 0.3]]))


def test_rows_are_truncated_and_scaled_each_by_its_own_settings():
    rng = random.Random(0)
    logits = torch.randn(4, 9, generator=torch.Generator().manual_seed(1))
    t, p, k = torch.tensor([1.0, 0.5, 2.0, 0.0]), torch.tensor([1.0, 0.6, 0.9, 0.3]), torch.tensor([0, 4, 2, 1])
    whole = truncate(distribution(logits, t), p, k)
    for row in rng.sample(range(4), 4):
        one = slice(row, row + 1)
        torch.testing.assert_close(truncate(distribution(logits[one], t[one]), p[one], k[one]), whole[one])
    torch.testing.assert_close(distribution(logits, t)[1], torch.log_softmax(logits[1] / 0.5, -1))
