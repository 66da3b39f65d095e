"""What is computed in C between the products of a decode step is what PyTorch's operations give."""

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from selfevo.decoder.between import Between
from selfevo.decoder.compiled import Compiled
from selfevo.engines.attention import step_attention
from selfevo.engines.sampling import distribution, draw, uniforms
from selfevo.engines.slots import Slots

DTYPES = st.sampled_from([torch.float32, torch.float64])
WIDTHS = st.sampled_from([2, 8, 32, 34, 64, 128])


def both(heads=4, kv=2, width=8, hidden=24, dtype=torch.float64, length=40):
    """`Between` and `Compiled` for one shape; positions turn by angles of their own."""
    angles = torch.arange(length, dtype=torch.float64)[:, None] / torch.arange(1, width // 2 + 1)
    cos, sin = angles.cos().repeat(1, 2).to(dtype), torch.cat([-angles.sin(), angles.sin()], 1).to(dtype)
    w = SimpleNamespace(
        heads=heads, kv=kv, width=width, eps=1e-6, embedding=torch.nn.Embedding(3, hidden, dtype=dtype),
        last_norm=torch.ones(hidden, dtype=dtype), rope=lambda positions: (cos[positions], sin[positions]),
    )  # fmt: skip
    return Between(w, length), Compiled(w, length)


def drawn(seed, *shape, dtype=torch.float64):
    """Numbers that depend on the seed alone."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(1, 70), st.booleans(), st.integers(0, 99), DTYPES)
def test_norms_are_equal(n, hidden, weighted, seed, dtype):
    plain, in_c = both(hidden=hidden, dtype=dtype)
    x, weight = drawn(seed, n, hidden, dtype=dtype), drawn(seed + 1, hidden, dtype=dtype) if weighted else None
    torch.testing.assert_close(in_c.norm(x, weight), plain.norm(x, weight))
    torch.testing.assert_close(in_c.norm(x.t().contiguous().t(), weight), plain.norm(x, weight))  # whichever way x lies


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(1, 3), st.integers(1, 3), WIDTHS, st.booleans(), st.integers(0, 99), DTYPES)
def test_queries_and_keys_are_normed_and_turned_alike(n, kv, shared, width, normed, seed, dtype):
    plain, in_c = both(kv * shared, kv, width, dtype=dtype)
    states, positions = drawn(seed, n, (kv * shared + 2 * kv) * width, dtype=dtype), torch.randint(0, 40, (n,))
    weight = drawn(seed + 1, kv * shared + kv, width, dtype=dtype) if normed else None
    for mine, theirs in zip(in_c.turn(states.clone(), weight, positions), plain.turn(states, weight, plain.at(positions)), strict=True):
        torch.testing.assert_close(mine, theirs)


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(1, 70), st.integers(0, 99), DTYPES)
def test_gates_are_equal(n, inner, seed, dtype):
    plain, in_c = both(dtype=dtype)
    x = 20 * drawn(seed, n, 2 * inner, dtype=dtype)
    torch.testing.assert_close(in_c.gate(x), plain.gate(x))


@settings(deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), WIDTHS, st.lists(st.integers(0, 30), min_size=1, max_size=5),
       st.sampled_from([None, 1, 7, 99]), st.integers(0, 99), DTYPES)  # fmt: skip
def test_replies_see_their_own_columns_and_no_others(kv, shared, width, positions, window, seed, dtype):
    n, longest = len(positions), max(positions)
    slots = Slots()
    slots.begin(n, longest + 3)
    slots.keys, slots.values = ([drawn(seed + i, n, kv, longest + 3, width, dtype=dtype)] for i in (0, 1))
    slots.column = longest + 1
    at = torch.tensor(positions)
    slots.begin_step(at, longest, len(set(positions)) == 1)
    _, in_c = both(kv * shared, kv, width, dtype=dtype)
    q, k, v = in_c.turn(drawn(seed + 2, n, (shared + 2) * kv * width, dtype=dtype), None, at)
    keys, values = (x[0].clone() for x in (slots.keys, slots.values))
    for row, position in enumerate(positions):  # what nobody may look at
        keys[row, :, : longest + 1 - position] = values[row, :, : longest + 1 - position] = math.nan
    mine = in_c.attend(q, k, v, keys, values, slots.column - 1, at, window)
    slots.write(0, k, v)
    torch.testing.assert_close(mine, step_attention(slots, 0, q, window=window).view(n, -1))
    stored = slice(longest + 1, longest + 2)
    assert torch.equal(keys[:, :, stored], slots.keys[0][:, :, stored]) and torch.equal(values[:, :, stored], slots.values[0][:, :, stored])


@settings(deadline=None)
@given(st.integers(1, 6), st.sampled_from([1, 2, 63, 64, 65, 130, 500]), st.integers(0, 999), st.sampled_from([0.0, 0.5, 1.0, 2.0]))
def test_tokens_are_those_that_pytorch_draws_and_log_probs_agree(n, size, seed, temperature):
    logits, t = 3 * drawn(seed, n, size, dtype=torch.float32), torch.full((n,), temperature)
    seeds, places = torch.randint(0, 2**62, (n,), generator=torch.Generator().manual_seed(seed)), torch.arange(n) * 7
    tokens, logps = in_c_float().draw(logits, t, seeds, places)
    logp = distribution(logits, t)
    u = uniforms(seeds, places)
    wanted = draw(logp.exp(), u) if temperature else logp.argmax(1)
    torch.testing.assert_close(logps, logp.gather(1, tokens[:, None])[:, 0])
    mass = logp.double().exp().cumsum(1)
    near = ((mass - u[:, None] * mass[:, -1:]).abs().min(1).values < 1e-6) & (temperature > 0)  # rounding decides there
    assert torch.equal(tokens[~near], wanted[~near])


def in_c_float():
    """Of float32."""
    return both(dtype=torch.float32)[1]


def test_tokens_without_mass_are_never_drawn():
    logits = torch.full((4000, 130), -math.inf)
    logits[:, [3, 70, 129]] = torch.tensor([0.0, 1.0, 0.5])
    logits[::2, 129] = -math.inf
    tokens, _ = in_c_float().draw(logits, torch.ones(4000), torch.arange(4000), torch.zeros(4000, dtype=torch.long))
    assert set(tokens[::2].tolist()) == {3, 70} and set(tokens[1::2].tolist()) == {3, 70, 129}
    share = (tokens[1::2] == 70).double().mean().item()
    assert abs(share - math.e / (1 + math.e + math.exp(0.5))) < 4 * (0.25 / 2000) ** 0.5


def test_the_exponential_is_within_two_units_in_the_last_place():
    x = torch.linspace(-87, 87, 200001)
    gates = torch.cat([-x[:, None], torch.ones(len(x), 1)], 1)
    silu = in_c_float().gate(gates)[:, 0].double()  # -x / (1 + e^x)
    exact = -x.double() / (1 + x.double().exp())
    assert ((silu - exact).abs() <= 4 * 2**-24 * exact.abs()).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_not_hidden(bad):
    in_c = in_c_float()
    x = torch.ones(2, 24)
    x[1, 5] = bad
    normed = in_c.norm(x, None)
    assert normed[0].isfinite().all() and not normed[1].isfinite().all()
    assert not in_c.gate(x)[1].isfinite().all()
    states = torch.ones(1, 8 * 8)
    states[0, 4 * 8] = bad  # of a key
    keys, values = torch.zeros(1, 2, 3, 8), torch.zeros(1, 2, 3, 8)
    at = torch.tensor([2])
    assert not in_c.attend(*in_c.turn(states, None, at), keys, values, 2, at, None).isfinite().all()
    logits = torch.zeros(1, 70)
    logits[0, 66] = bad
    for temperature in (0.0, 1.0):
        _, logps = in_c.draw(logits, torch.tensor([temperature]), torch.tensor([1]), torch.tensor([1]))
        assert not logps.isfinite().any()
