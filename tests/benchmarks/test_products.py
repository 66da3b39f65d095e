"""What the products' limit counts and runs: by hand, and beside the products that a real model runs."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import decode_limit
from benchmarks.decode_limit import Decode, Step, steps
from benchmarks.products import Attention, Block, Linear, Shape, Work, flops, shared_work, work

SMALL = Shape(layers=2, hidden=4, heads=2, kv_heads=1, head_dim=2, intermediate=6, vocabulary=10)


def counted(call) -> int:
    """Floating-point operations of every matrix product that PyTorch runs inside."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def causal_pairs(needed: Work) -> int:
    """Pairs of a query and a key it may read."""
    return sum(n * (b.queries * (b.queries + 1) // 2 if b.causal else b.queries * b.keys) for b, n in needed.blocks.items())


def test_flops_equal_a_hand_count():
    # q|k|v 4x8, output 4x4, gate|up 4x12, down 6x4: 120 multiply-adds a token and layer.
    assert SMALL.matrices == ((4, 8), (4, 4), (4, 12), (6, 4))
    needed = Work(tokens=5, outputs=3, blocks={Block(5, 5, True): 1})
    # 2 layers x 5 tokens x 120; two products over 5 x 5 pairs, 2 heads of 2, 2 layers; 3 outputs x 4 x 10.
    assert flops(SMALL, needed) == 2 * (1200 + 400 + 120)
    assert flops(SMALL, needed, backward=True) == 3 * 2 * (1200 + 400 + 120)


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("piece", [2, 3, 8])
def test_what_runs_is_what_is_counted_whatever_the_pieces(backward, piece):
    needed = Work(5, 3, {Block(5, 5, True): 1, Block(4, 3): 2})
    linear, attention = Linear(SMALL, 8, backward), Attention(SMALL, needed.blocks, backward)
    ran = counted(lambda: (linear.run(needed.tokens, needed.outputs, piece), [attention.bmm() for _ in range(SMALL.layers)]))
    assert ran == flops(SMALL, needed, backward)


@pytest.mark.parametrize("backward", [False, True])
def test_the_count_equals_the_products_of_a_real_model(backward):
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=SMALL.vocabulary, hidden_size=SMALL.hidden, intermediate_size=SMALL.intermediate, num_hidden_layers=SMALL.layers,
        num_attention_heads=SMALL.heads, num_key_value_heads=SMALL.kv_heads, head_dim=SMALL.head_dim, attn_implementation="eager",
    )  # fmt: skip
    model, n = Qwen3ForCausalLM(config), 7
    assert Shape.of(config) == SMALL

    def call() -> None:
        logits = model(input_ids=torch.arange(n)[None], use_cache=False).logits
        if backward:
            logits.sum().backward()

    assert counted(call) == flops(SMALL, Work(n, n, {Block(n, n, True): 1}), backward)


def test_a_row_of_its_own_needs_no_pass_for_its_last_token():
    assert work([(3, 2), (3, 2), (4, 1)]) == Work(12, 5, {Block(4, 4, True): 3})


def test_a_shared_prompt_goes_through_once():
    assert shared_work([(3, [2, 1])]) == Work(4, 3, {Block(3, 3, True): 1, Block(1, 3): 1, Block(1, 1, True): 1})


def test_groups_of_one_need_as_much_shared_as_apart():
    rows = [(3, 2), (5, 1), (4, 9)]
    own, shared = work(rows), shared_work([(p, [r]) for p, r in rows])
    assert (own.tokens, own.outputs, causal_pairs(own)) == (shared.tokens, shared.outputs, causal_pairs(shared))


def test_steps_are_those_of_the_rows_that_still_run():
    # Replies of 1 and 3 tokens: the prompts' pass gives the first token of each, two steps give the rest of the second.
    assert steps([3, 4], [1, 3]) == [Step((5,)), Step((6,))]


def test_a_generation_counts_prompts_and_steps():
    decode = [Step((5, 5)), Step((6,))]
    # 7 prompt tokens as blocks of 3 and 4, 2 outputs; then 3 rows through everything, reading 16 keys.
    prompts = 2 * (2 * 7 * 120 + 2 * 2 * 4 * (9 + 16) + 2 * 40)
    later = 2 * (2 * 3 * 120 + 3 * 40) + 2 * 2 * 4 * 2 * 16
    assert decode_limit.flops(SMALL, [3, 4], decode) == prompts + later
    limit = Decode(SMALL, [3, 4], decode)
    limit.way = "bmm"
    assert counted(limit.run) == prompts + later  # nothing is padded here: the rows of a step are equally long
