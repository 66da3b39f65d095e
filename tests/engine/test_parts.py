"""Replies drawn in several processes are those of one, and whatever ends a process ends the call."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from selfevo.engines import Native, parts
from selfevo.engines.parts import deal, divided
from selfevo.errors import EngineError, UserError
from selfevo.protocols import GenerateRequest, Sampling


@pytest.fixture
def no_one_left():
    """Every process that began meanwhile has ended and been waited for."""
    before = set(children())
    yield
    assert set(children()) <= before


def children():
    """Processes that this one has begun, the ended ones that nobody waited for among them."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                yield int(stat.parent.name)


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


def test_threads_are_as_before_and_nothing_is_left_running(policies, two_threads, no_one_left):
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
    assert len(forked) == 1
    twin = engine.twin()
    twin.load(policies())
    twin.generate(asked)
    assert len(forked) == 1
    engine.generate(asked[:32])  # too few for two
    assert len(forked) == 1


def test_the_error_of_another_process_is_raised_here(no_one_left):
    def fails():
        raise EngineError("request 7: no")

    with pytest.raises(EngineError, match="request 7: no"):
        divided([lambda: 1, lambda: 2, fails])


def test_a_process_that_is_killed_is_an_error_that_says_what_to_do(no_one_left):
    with pytest.raises(EngineError, match=r"has ended without them \(out of memory\?\); engine.processes=1 does without"):
        divided([lambda: 1, lambda: os.kill(os.getpid(), signal.SIGKILL)])


def test_a_process_that_stalls_is_an_error_that_says_what_to_do(monkeypatch, no_one_left):
    monkeypatch.setattr(parts, "PATIENCE", (0.1, 1.0))
    with pytest.raises(EngineError, match=r"has stalled; engine.processes=1 does without"):
        divided([lambda: 1, lambda: time.sleep(600)])


def test_an_interrupt_ends_every_process_of_the_call(no_one_left):
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        divided([interrupted, lambda: time.sleep(600)])


def test_who_kills_the_first_process_kills_them_all(tmp_path):
    """A run's lock goes with its processes: none may hold it once the run was killed."""
    file = tmp_path / "pid"
    code = (
        "import os, time; from pathlib import Path; from selfevo.engines.parts import divided\n"
        f"divided([lambda: time.sleep(600), lambda: (Path({str(file)!r}).write_text(str(os.getpid())), time.sleep(600))])"
    )
    first = subprocess.Popen([sys.executable, "-c", code])
    end = time.monotonic() + 60
    while not file.exists() or not file.read_text():
        assert first.poll() is None and time.monotonic() < end
        time.sleep(0.05)
    first.kill()
    first.wait()
    other = Path("/proc", file.read_text(), "stat")
    while other.exists() and other.read_text().rpartition(")")[2].split()[0] != "Z":  # a zombie waits for whoever adopted it
        assert time.monotonic() < end
        time.sleep(0.05)


def test_results_come_in_the_order_of_the_jobs_whatever_their_size():
    big = list(range(100_000))
    assert divided([lambda: "here", lambda: big, lambda: "third"]) == ["here", big, "third"]


def test_less_than_one_process_is_refused():
    with pytest.raises(UserError, match=r"engine.processes must be at least 1, got 0"):
        Native(processes=0)
