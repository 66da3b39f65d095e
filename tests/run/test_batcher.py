"""Batches are a function of the episodes alone."""

import asyncio

import pytest

from selfevo.errors import EngineError
from selfevo.protocols import Completion, GenerateRequest
from selfevo.stages.batcher import Batcher


def recording(batches):
    def serve(target, verb, requests):
        batches.append((target[1], verb, [r.seed for r in requests]))
        return [Completion((r.seed,), None, str(r.seed), "stop") for r in requests]

    return serve


def asking(batcher, number, turns, policy="p", pause=0.0):
    async def episode():
        out = []
        for turn in range(turns):
            if pause:
                await asyncio.sleep(pause * (number % 3))
            done = await batcher.generate(number, ("", policy), GenerateRequest((1,), 100 * number + turn))
            out.append(done.tokens[0])
        return out

    return episode


@pytest.mark.parametrize("pause", [0.0, 0.002])
def test_a_batch_leaves_when_every_unfinished_episode_waits_whatever_the_timing(pause):
    batches = []
    batcher = Batcher(recording(batches))
    results = batcher.run([asking(batcher, i, turns, pause=pause) for i, turns in enumerate((1, 3, 2))])
    assert results == [[0], [100, 101, 102], [200, 201]]
    assert [b[2] for b in batches] == [[0, 100, 200], [101, 201], [102]]


def test_requests_of_several_policies_are_served_apart_in_episode_order():
    batches = []
    batcher = Batcher(recording(batches))
    batcher.run([asking(batcher, i, 1, policy="ab"[i % 2]) for i in range(4)])
    assert batches == [("a", "generate", [0, 200]), ("b", "generate", [100, 300])]


def test_an_engine_error_ends_the_stage_and_leaves_no_task_behind():
    def serve(target, verb, requests):
        raise EngineError("prompt longer than the context")

    batcher = Batcher(serve)
    with pytest.raises(EngineError, match="prompt longer"):
        batcher.run([asking(batcher, i, 2) for i in range(3)])


def test_episodes_that_ask_nothing_and_no_episodes_at_all_end():
    batcher = Batcher(recording([]))
    assert batcher.run([asking(batcher, 0, 0)]) == [[]]
    assert batcher.run([]) == []


def test_one_episode_may_ask_several_things_at_once():
    batches = []
    batcher = Batcher(recording(batches))

    async def episode():
        asks = [batcher.generate(0, ("", "p"), GenerateRequest((1,), s)) for s in (5, 6, 7)]
        return [c.tokens[0] for c in await asyncio.gather(*asks)]

    assert batcher.run([episode]) == [[5, 6, 7]]
    assert sorted(s for b in batches for s in b[2]) == [5, 6, 7]
