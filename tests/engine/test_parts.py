"""Replies drawn in several processes are those of one, with the weights as they are at each call."""

import os

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from selfevo.engines import Native
from selfevo.engines.parts import deal
from selfevo.errors import UserError
from selfevo.protocols import GenerateRequest, Sampling


def native(policy, **settings):
    engine = Native(**settings)
    engine.load(policy)
    return engine


def requests(groups, group, sampling):
    return [GenerateRequest(tuple(range(20, 24 + i)), 100 * i + g, sampling) for i in range(groups) for g in range(group)]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 5))
def test_every_request_is_dealt_once_and_no_part_has_more_than_its_share_and_a_group(sizes, n):
    asked = [GenerateRequest((i,), g, Sampling(4)) for i, size in enumerate(sizes) for g in range(size)]
    dealt = deal(asked, n)
    assert sorted(i for part in dealt for i in part) == list(range(len(asked)))
    share = -(-len(asked) // n)
    assert all(part == sorted(part) and len(part) < share + min(share, max(sizes)) for part in dealt)
    for i, size in enumerate(sizes):
        homes = {at_part for at_part, part in enumerate(dealt) if any(asked[at].context == (i,) for at in part)}
        assert len(homes) == 1 or size > share or len(homes) <= -(-size // share) + 1


def test_equal_contexts_stay_together_and_a_group_beyond_its_share_is_cut():
    asked = [GenerateRequest((i,), g, Sampling(4)) for i, size in enumerate((2, 2, 4)) for g in range(size)]
    assert deal(asked, 2) == [[4, 5, 6, 7], [0, 1, 2, 3]]
    assert deal([GenerateRequest((1,), g, Sampling(4)) for g in range(5)], 2) == [[0, 1, 2], [3, 4]]


@pytest.mark.parametrize("sampling", [Sampling(40), Sampling(24, 0.7, top_p=0.9), Sampling(30, 0.0)])
def test_replies_of_two_processes_are_those_of_one_and_repeat_bit_for_bit(policies, sampling):
    asked = requests(6, 16, sampling)
    one = native(policies(), processes=1).generate(asked)
    two = native(policies(), processes=2).generate(asked)
    assert [r.tokens for r in two] == [r.tokens for r in one]
    assert [(r.text, r.finish) for r in two] == [(r.text, r.finish) for r in one]
    for a, b in zip(two, one, strict=True):
        np.testing.assert_allclose(a.logprobs, b.logprobs, atol=2e-5)
    assert native(policies(), processes=2).generate(asked) == two


def test_weights_that_change_between_calls_are_seen_by_processes_that_live_on(policies, monkeypatch):
    policy, asked, forked, fork = policies().fork(), requests(4, 16, Sampling(12)), [], os.fork
    monkeypatch.setattr(os, "fork", lambda: forked.append(1) or fork())
    engine, seen = native(policy, processes=2), []
    for scale in (1.0, 1.5, 0.25):
        with torch.no_grad():
            for p in policy.model.parameters():
                p.mul_(scale)
        seen.append(engine.generate(asked))
        assert seen[-1] == native(policy.fork(), processes=2).generate(asked), "as of processes that begin now"
    assert len({tuple(r.tokens for r in replies) for replies in seen}) == 3
    assert len(forked) == 1 + 3
    engine.close()


def test_threads_are_as_before(policies, two_threads):
    native(policies(), processes=2).generate(requests(4, 16, Sampling(8)))
    assert torch.get_num_threads() == 2


def test_a_call_is_divided_only_where_nothing_else_is_in_the_process(policies, two_threads, monkeypatch):
    asked, forked, fork = requests(4, 16, Sampling(4)), [], os.fork
    monkeypatch.setattr(os, "fork", lambda: forked.append(1) or fork())
    engine = native(policies())
    engine.generate(asked)
    assert not forked
    engine.alone = True
    engine.generate(asked)
    engine.generate(asked)
    assert len(forked) == 1, "it lives on"
    twin = engine.twin()
    twin.load(policies())
    twin.generate(asked)
    assert len(forked) == 1
    engine.generate(asked[:32])  # too few for two
    assert len(forked) == 1


def test_less_than_one_process_is_refused():
    with pytest.raises(UserError, match=r"engine.processes must be at least 1, got 0"):
        Native(processes=0)
