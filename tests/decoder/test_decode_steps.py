"""A decode step gives the stream's logits, however its matrices lie and whatever computes between its products."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from selfevo.decoder import products, step, weights
from selfevo.decoder.compiled import compiled
from selfevo.decoder.step import Step
from selfevo.engines.direct import Direct
from selfevo.engines.slots import Slots

pytestmark = pytest.mark.usefixtures("two_threads")  # what divides a product


@pytest.fixture(params=["qk norms", "biases"])
def model(request):
    """Four query heads of two key heads, weights drawn, norms and biases not at their start."""
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

    sizes = {
        "vocab_size": 40, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64, "attention_bias": request.param == "biases",
    }  # fmt: skip
    qwen = request.param == "qk norms"
    made = (Qwen3ForCausalLM(Qwen3Config(**sizes)) if qwen else LlamaForCausalLM(LlamaConfig(**sizes))).double().eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for p in made.parameters():
            p.copy_(torch.randn_like(p) * 0.3)
    return made


def logits(model, ids, few):
    """Logits [n, T, V] of ids [n, T]: the first two by a prefill, each further one by a step."""
    n, length = ids.shape
    slots = Slots()
    slots.begin(n, length)
    with torch.no_grad():
        made = Step(model, length, few=few)
        slots.blank = made.compiled is None
        direct = Direct(model, slots, made)
        states, last = direct.prefill(ids[:, :2].contiguous(), torch.full((n,), 1))
        slots.place(states, [(2, 1)] * n, 0)
        out = [last]
        for at in range(2, length):
            positions = torch.full((n,), at)
            slots.begin_step(positions, at, True)
            out.append(direct.step(ids[:, at], positions))
    return torch.stack(out, 1)


@pytest.mark.parametrize("few", [False, True])
@pytest.mark.parametrize("in_c", [True, False])
@pytest.mark.parametrize("joined", [True, False])
def test_steps_give_the_logits_of_one_pass_over_everything(model, few, in_c, joined, monkeypatch):
    monkeypatch.setattr(step, "compiled", compiled if in_c else lambda w, length, few: None)
    monkeypatch.setattr(weights, "JOINED", weights.JOINED if joined else 0)
    monkeypatch.setattr(products, "LARGE", 1)
    ids = torch.randint(0, 40, (3, 9), generator=torch.Generator().manual_seed(1))
    at_once = torch.stack([logits(model, ids[:, :2], False)[:, 0]] + [one_pass(model, ids[:, : t + 1]) for t in range(2, 9)], 1)
    torch.testing.assert_close(logits(model, ids, few), at_once, rtol=1e-11, atol=1e-11)


def one_pass(model, ids):
    """Logits [n, V] after the last of ids [n, T], by a prefill."""
    slots = Slots()
    slots.begin(*ids.shape)
    with torch.no_grad():
        return Direct(model, slots, Step(model, ids.shape[1])).prefill(ids.contiguous(), torch.full((len(ids),), ids.shape[1] - 1))[1]


@given(st.integers(1, 5), st.integers(1, 7), st.integers(1, 12), st.integers(1, 4), st.booleans(), st.integers(0, 99))
def test_a_divided_matrix_gives_the_product_of_the_whole(n, inputs, outputs, parts, lies, seed):
    random = torch.Generator().manual_seed(seed)
    x, h, matrix = (torch.randn(shape, generator=random, dtype=torch.double) for shape in ((n, inputs), (n, outputs), (outputs, inputs)))
    matrix = matrix.t().contiguous() if lies else matrix.t()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "LARGE", 0)
        apart = products.divided(matrix, parts)
    assert (apart.ndim == 3) == (parts > 1 and outputs % parts == 0)
    bias = h[0]
    torch.testing.assert_close(products.times(x, apart), x @ matrix)
    torch.testing.assert_close(products.times(x.t().contiguous().t(), apart), x @ matrix)  # whichever way x lies
    assert products.times(x, apart).is_contiguous()
    torch.testing.assert_close(products.project(x, [apart], bias), x @ matrix + bias)
    torch.testing.assert_close(products.project(x, [apart, apart], None), torch.cat([x @ matrix] * 2, 1))
    torch.testing.assert_close(products.added(h, x, apart, bias), h + x @ matrix + bias)


def test_a_part_is_read_where_it_lies():
    weight = torch.randn(1024, 256)
    assert products.divided(weight.t(), 2).data_ptr() == weight.data_ptr()
    assert products.divided(weight.t(), 2).shape == (2, 512, 256)
    assert products.divided(weight.t(), 3).shape == (256, 1024)  # 1024 outputs are not three equal parts
