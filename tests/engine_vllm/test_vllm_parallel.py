"""Several processes compute: tensor parallelism and replicas, each rank of which must get new weights."""

from __future__ import annotations

import pytest
from vllm_checks import agree, contexts, drawn, moved

pytestmark = pytest.mark.scale
MANY = contexts(12, seed=6, shortest=200, longest=300)


@pytest.mark.parametrize(
    "settings",
    [{"tensor_parallel": 2}, {"mode": "server", "replicas": 2}],
    ids=["two ranks share a model", "two copies share the requests"],
)
def test_every_rank_has_the_new_weights_after_an_update(start, tiny, settings):
    engine, policy = start(**settings), tiny.fork()
    engine.load(policy)
    agree(policy, MANY, drawn(engine, MANY))
    for seed in (1, 2):
        moved(policy, seed=seed)
        engine.load(policy)
        agree(policy, MANY, drawn(engine, MANY))
