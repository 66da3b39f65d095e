"""What a pass with gradients holds beside the training state: activations, and logits with their gradient. In bytes.

With b bytes per number, hidden size D, q = heads x width and k = key-value heads x width of attention, MLP width I, L layers:

    stream   A = b (4 D + 3 q + 2 k + 4 I)
             + b (q + 2 k)                  where queries and keys are normed
    modules  A = norms (4 + n) D + b (2 D + 2 q + 2 k + 4 I)
             + (4 + n) (q + k)              where queries and keys are normed
             n = 4 in families whose norms stay in float32, else n = b
    adapter  A = 4 norms D + b (2 q + 2 k + 3 I)
             + 4 (q + k)                    where queries and keys are normed
             + 4 for every input of every adapted map
    eager    + heads (4 + 2 b) row length   where attention keeps its scores
    kept     L A per token; L b D + A with gradient checkpointing
    working  b (3 I + 2 D) per token: gradients of one layer
    logits   2 V b per response token, for logits and their gradient,
             and 12 for each of at most 2^24 numbers of a softmax at a time
    whole    12 V more per response token where a term reads whole
             distributions, or an entropy with gradient

"stream" is how Llama-shaped policies are computed (`decoder.stream`), "modules" is transformers' own layers: other families, and ZeRO
stage 3. Under an adapter the frozen weights keep no inputs. Unless it is eager, attention is taken to keep no scores (FlashAttention,
Dao et al. 2022).
"""

from __future__ import annotations

from dataclasses import dataclass

from .shapes import Shape

CHUNK = 1 << 24
"""Elements of a float32 softmax at once: `learning.forward.CHUNK`."""
SAME = {"k_proj": "q_proj", "v_proj": "q_proj", "up_proj": "gate_proj", "o_proj": "attention"}
"""Maps that read what another one reads; all of them have copies of their own where the adapter is wider than the model."""
ATTENDED = "attention"
"""What attention gives is kept anyway."""


@dataclass(frozen=True, slots=True)
class Pass:
    """How a policy is passed through. bytes: of a number. adapted: names of the layers with an adapter. eager: tokens of the rows whose
    attention scores are kept; 0: they are not."""

    bytes: int
    stream: bool
    checkpointing: bool = False
    adapted: tuple[str, ...] = ()
    eager: int = 0


def layer(shape: Shape, how: Pass) -> float:
    """A: bytes per token that one layer keeps for its backward pass."""
    b, D, I = how.bytes, shape.hidden, shape.inner
    q, k = shape.heads * shape.width, shape.kv_heads * shape.width
    normed = shape.traits.qk_norm != "none"
    if how.stream:
        return b * (4 * D + 3 * q + 2 * k + 4 * I + (q + 2 * k if normed else 0))
    scores = shape.heads * (4 + 2 * b) * how.eager
    if how.adapted:
        inputs = {(name if b == 2 else SAME.get(name, name)): shape.linears[name][0] for name in how.adapted}
        read = sum(size for name, size in inputs.items() if name != ATTENDED)
        frozen = 4 * shape.traits.norms * D + b * (2 * q + 2 * k + 3 * I) + (4 * (q + k) if normed else 0)
        return frozen + scores + 4.0 * read
    n = 4 if shape.traits.wide else b
    kept = shape.traits.norms * (4 + n) * D + b * (2 * D + 2 * q + 2 * k + 4 * I) + ((4 + n) * (q + k) if normed else 0)
    return float(kept + scores)


def activations(shape: Shape, how: Pass, tokens: float) -> float:
    """Of one micro-batch of `tokens`."""
    A = layer(shape, how)
    kept = shape.layers * how.bytes * shape.hidden + A if how.checkpointing else shape.layers * A
    return tokens * (kept + how.bytes * (3 * shape.inner + 2 * shape.hidden))


def logits(shape: Shape, how: Pass, responses: float, whole: bool = False) -> float:
    """Of the `responses` tokens of one micro-batch; `whole`: a term reads distributions rather than log-probs."""
    numbers = responses * shape.vocabulary
    return 2 * how.bytes * numbers + 12.0 * min(numbers, CHUNK) + (12.0 * numbers if whole else 0.0)
