"""Workers see weights as they are, hold nothing of the process they were copied from, and end with it; what ends one ends the call."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from selfevo.engines import workers
from selfevo.engines.shared import Room, share
from selfevo.engines.workers import Workers
from selfevo.errors import EngineError


@pytest.fixture(autouse=True)
def no_one_left():
    """Every process that began meanwhile has ended and been waited for."""
    before = set(children())
    yield
    gc.collect()
    assert set(children()) <= before


@pytest.fixture
def made():
    """`made(work)`: workers that end with the test."""
    every = []

    def make(work, prepare=nothing):
        every.append(Workers(prepare, work))
        return every[-1]

    yield make
    for one in every:
        one.close()


@pytest.fixture
def policy(policies):
    """A policy of the test's own."""
    return policies().fork()


def children():
    """Processes that this one has begun, the ended ones that nobody waited for among them."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                yield int(stat.parent.name)


def nothing(policy, room):
    """Nothing to prepare."""


def who(policy, *_):
    return os.getpid()


def first(policy, *_):
    return os.getpid(), policy.version.ref, float(next(policy.model.parameters()).detach().flatten()[0])


def there(act):
    """Work that is 1 in this process, and `act()` in a worker."""
    here = os.getpid()
    return lambda policy, *_: 1 if os.getpid() == here else act()


def setting(policy, value):
    with torch.no_grad():
        next(policy.model.parameters()).fill_(value)


def test_results_come_in_the_order_of_the_parts_whatever_their_size(policy, made):
    big = list(range(100_000))
    assert made(lambda policy, _, x: x).do(policy, [("here",), (big,), ("third",)]) == ["here", big, "third"]


def test_each_worker_lives_on_and_sees_the_weights_and_the_version_of_the_call(policy, made):
    some = made(first)
    setting(policy, 1.0)
    before = some.do(policy, [(), (), ()])
    setting(policy, 2.0)
    policy.version = replace(policy.version, id="000007")
    after = some.do(policy, [(), (), ()])
    assert [pid for pid, _, _ in before] == [pid for pid, _, _ in after] and len({pid for pid, _, _ in after}) == 3
    assert {(ref, x) for _, ref, x in before} == {("solver@000000", 1.0)} and {(ref, x) for _, ref, x in after} == {("solver@000007", 2.0)}


def test_policies_in_turn_are_known_to_the_same_workers_and_exchanged_tensors_are_not(policies, made):
    some, a, b = made(first), policies().fork(), policies().fork()
    setting(a, 1.0)
    setting(b, 2.0)
    seen = [some.do(x, [(), ()])[1] for x in (a, b, a, b)]
    assert [x for _, _, x in seen] == [1.0, 2.0, 1.0, 2.0]
    assert len({pid for pid, _, _ in seen[1:]}) == 1 and seen[0][0] != seen[1][0], "they began anew for the second alone"
    tensor = next(a.model.parameters())
    tensor.data = torch.full_like(tensor, 3.0)
    setting(b, 4.0)
    assert [some.do(x, [(), ()])[1][2] for x in (a, b)] == [3.0, 4.0]
    assert len(some.known) == 2
    gone = some.known[1].policy() is a
    del a, tensor
    gc.collect()
    c = policies().fork()
    some.do(c, [(), ()])
    assert gone and [k.policy() for k in some.known] == [b, c], "what nobody has any more is forgotten"


def test_more_parts_than_before_have_as_many_processes(policy, made):
    some = made(who)
    for n in (2, 4, 3):
        assert len(set(some.do(policy, [()] * n))) == n


def test_the_error_of_a_worker_is_raised_here_and_the_next_call_has_new_ones(policy, made):
    def fails():
        raise EngineError("request 7: no")

    some = made(there(fails))
    with pytest.raises(EngineError, match="request 7: no"):
        some.do(policy, [(), (), ()])
    assert not some._lines
    some.work = who
    assert len(set(some.do(policy, [(), ()]))) == 2


def test_a_worker_that_is_killed_at_work_is_an_error_that_says_what_to_do(policy, made):
    some = made(there(lambda: os.kill(os.getpid(), signal.SIGKILL)))
    with pytest.raises(EngineError, match=r"has ended without them \(out of memory\?\); engine.processes=1 does without"):
        some.do(policy, [(), ()])


def test_one_that_was_killed_between_calls_is_replaced(policy, made):
    some = made(who)
    _, there = some.do(policy, [(), ()])
    os.kill(there, signal.SIGKILL)
    os.waitid(os.P_PID, there, os.WEXITED | os.WNOWAIT)
    assert some.do(policy, [(), ()])[1] not in (there, os.getpid())


def test_a_worker_that_stalls_is_an_error_that_says_what_to_do(policy, made, monkeypatch):
    monkeypatch.setattr(workers, "PATIENCE", (0.1, 1.0))
    with pytest.raises(EngineError, match=r"has stalled; engine.processes=1 does without"):
        made(there(lambda: time.sleep(600))).do(policy, [(), ()])


def test_an_interrupt_ends_every_worker_of_the_call(policy, made):
    here = os.getpid()

    def work(policy, _):
        if os.getpid() == here:
            raise KeyboardInterrupt
        time.sleep(600)

    some = made(work)
    with pytest.raises(KeyboardInterrupt):
        some.do(policy, [(), ()])
    assert not some._lines


def test_workers_end_with_who_holds_them(policy):
    some = Workers(nothing, who)
    _, other = some.do(policy, [(), ()])
    assert other in children()
    del some
    gc.collect()
    assert other not in children()


def test_a_call_from_another_thread_has_workers_of_its_own_since_they_end_with_it(policy, made):
    some, seen = made(who), []
    seen.append(some.do(policy, [(), ()])[1])
    thread = threading.Thread(target=lambda: seen.append(some.do(policy, [(), ()])[1]))
    thread.start()
    thread.join(60)
    seen.append(some.do(policy, [(), ()])[1])
    assert len({os.getpid(), *seen}) == 4


def test_a_pipe_that_is_closed_here_is_not_held_open_by_a_worker(policy, made):
    reading, writing = os.pipe()
    made(who).do(policy, [(), (), ()])
    os.close(writing)
    assert os.read(reading, 1) == b"", "its end"
    os.close(reading)


@pytest.mark.slow
def test_who_kills_the_first_process_kills_them_all(tmp_path):
    """A run's lock goes with its processes: none may hold it once the run was killed."""
    file = tmp_path / "pid"
    code = (
        "import os, time; from pathlib import Path; from selfevo.engines.workers import Workers; from selfevo.models import Pretrained\n"
        f"some = Workers(lambda policy, room: None, lambda policy, _: Path({str(file)!r}, str(os.getpid())).touch())\n"
        f"Path({str(file)!r}).mkdir(); some.do(Pretrained('tiny').load('solver'), [(), ()]); time.sleep(600)"
    )
    first = subprocess.Popen([sys.executable, "-c", code])
    end = time.monotonic() + 60
    while not file.exists() or len(list(file.iterdir())) < 2:
        assert first.poll() is None and time.monotonic() < end
        time.sleep(0.05)
    (other,) = (int(f.name) for f in file.iterdir() if f.name != str(first.pid))
    first.kill()
    first.wait()
    stat = Path("/proc", str(other), "stat")
    while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":  # a zombie waits for whoever adopted it
        assert time.monotonic() < end
        time.sleep(0.05)


def test_what_is_prepared_is_made_here_and_found_by_the_workers_at_every_call(policy, made):
    calls = []

    def prepare(policy, room):
        calls.append(os.getpid())
        return [room((2, 3), torch.float32, lambda x, n=n: x.fill_(n + len(calls))) for n in (0, 10)]

    some = made(lambda policy, tensors: (os.getpid(), [t.tolist() for t in tensors]), prepare)
    for n in (1.0, 2.0):
        done = some.do(policy, [(), (), ()])
        assert len({pid for pid, _ in done}) == 3
        assert all(values == [[[n] * 3] * 2, [[n + 10] * 3] * 2] for _, values in done)


def test_room_begins_each_tensor_with_a_cache_line_and_ends():
    room = Room(192)
    tensors = [room((n,), torch.float32, lambda x: x.zero_()) for n in (3, 16, 1)]
    assert [t.data_ptr() - tensors[0].data_ptr() for t in tensors] == [0, 64, 128] and tensors[0].data_ptr() % 64 == 0
    with pytest.raises(ValueError, match="offset"):
        room((1,), torch.float32, lambda x: x.zero_())
    (again,) = [room.again(fill=False)((3,), torch.float32, lambda x: x.fill_(7.0))]
    assert again.data_ptr() == tensors[0].data_ptr() and again.tolist() == [0.0] * 3


@given(st.lists(st.sampled_from([(), (3,), (16,), (5, 7), (2, 3, 4)]), max_size=5), st.sampled_from([torch.float32, torch.bfloat16]))
def test_shared_tensors_are_the_same_objects_with_the_same_values_at_cache_lines(shapes, dtype):
    tensors = [torch.nn.Parameter(torch.randn(shape).to(dtype)) for shape in shapes]
    before = [(id(t), t.detach().clone()) for t in tensors]
    share(tensors)
    for t, (object_, values) in zip(tensors, before, strict=True):
        assert id(t) == object_ and torch.equal(t, values) and t.requires_grad and t.data_ptr() % 64 == 0
    if tensors:
        torch.cat([t.flatten() for t in tensors]).square().sum().backward()
        assert all(torch.equal(t.grad, 2 * t.detach()) for t in tensors)


def test_tensors_of_no_numbers_are_left_as_they_are():
    empty = torch.empty(0, 4)
    share([empty])
    assert empty.shape == (0, 4)
