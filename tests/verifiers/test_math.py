"""Mathematical equality in worker processes: verdicts, deadlines, deaths, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from selfevo.errors import SelfevoError, UserError
from selfevo.verifiers import Math
from selfevo.verifiers.math import WORKER
from selfevo.verifiers.pool import TIMEOUT, Pool, shared

BOMB = r"\boxed{9^{9^{9^9}}}"


@pytest.fixture(scope="module", autouse=True)
def _no_worker_left():
    yield
    shared(WORKER, 2, ["2048"]).close()
    shared(WORKER, 1, ["2048"]).close()


def alive(pid):
    """Whether a process exists and is no zombie."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def judge(cases, make_row, ctx, timeout=20.0, workers=2):
    return Math(timeout=timeout, workers=workers)([make_row(text, gold) for text, gold in cases], ctx("math"))


def test_equal_mathematics_scores_one_and_near_misses_zero(make_row, ctx):
    right = [(r"\boxed{\frac{1}{2}}", "0.5"), (r"\boxed{x^2+2x+1}", "(x+1)^2"), (r"\boxed{\sqrt{8}}", r"2\sqrt{2}"),
             (r"\boxed{\{2,1\}}", r"\{1,2\}")]
    wrong = [(r"\boxed{\frac{1}{3}}", "0.5"), (r"\boxed{x^2+2x}", "(x+1)^2"), ("#### 7", "8"), (r"\boxed{((((}", "8"), ("7", "7")]
    rows = judge(right + wrong, make_row, ctx)
    assert [r.reward("math") for r in rows] == [1.0] * len(right) + [0.0] * len(wrong)
    assert rows[0].score.info["answer"] == r"\frac{1}{2}"


@pytest.mark.slow
def test_bombs_time_out_and_the_rows_around_them_are_judged(make_row, ctx):
    cases = [("#### 1+1", "2"), (BOMB, "5"), ("#### 3+1", "4"), (r"\boxed{100000000!!}", "3"), ("#### 6/2", "3"), ("#### 6/2", "4")]
    pool = shared(WORKER, 2, ["2048"])
    pool.run([{"gold": "1", "answer": "1"}], 20.0)
    before = {w.process.pid for w in pool.workers}
    rows = judge(cases, make_row, ctx, timeout=3.0)
    assert [r.score.statuses["math"] for r in rows] == ["ok", "timeout", "ok", "timeout", "ok", "ok"]
    assert [r.reward("math") for r in rows] == [1.0, None, 1.0, None, 1.0, 0.0]
    assert "no verdict within 3 s" in rows[1].score.errors["math"]
    after = {w.process.pid for w in pool.workers}
    assert all(not os.path.exists(f"/proc/{pid}") for pid in before - after)  # gone, not zombies
    assert before - after
    assert [r.reward("math") for r in judge(cases[:1], make_row, ctx)] == [1.0]


def test_a_worker_killed_between_calls_is_replaced_and_the_row_judged(make_row, ctx):
    judge([("#### 1+1", "2")], make_row, ctx, workers=1)
    (worker,) = shared(WORKER, 1, ["2048"]).workers
    os.kill(worker.process.pid, signal.SIGKILL)
    (row,) = judge([("#### 1+1", "2")], make_row, ctx, workers=1)
    assert row.reward("math") == 1.0


def test_warm_workers_are_kept_between_calls(make_row, ctx):
    judge([("#### 1+1", "2")], make_row, ctx, workers=1)
    pids = [w.process.pid for w in shared(WORKER, 1, ["2048"]).workers]
    judge([("#### 1+1", "3")] * 5, make_row, ctx, workers=1)
    assert [w.process.pid for w in shared(WORKER, 1, ["2048"]).workers] == pids


def test_an_unreadable_reference_is_an_error_and_a_missing_one_an_abstention(make_row, ctx):
    rows = judge([("#### 3", " "), ("#### 3", None)], make_row, ctx)
    assert [r.score.statuses["math"] for r in rows] == ["error", "abstain"]
    assert all(r.reward("math") is None for r in rows)


def test_answers_beyond_any_reasonable_length_score_zero_without_a_worker(make_row, ctx):
    (row,) = judge([("#### " + "1+" * 1500 + "1", "3")], make_row, ctx)
    assert row.reward("math") == 0.0


STUB = """
import json, os, sys, time
print('"ready"', flush=True)
for line in sys.stdin:
    what = json.loads(line)["do"]
    if what == "die":
        os._exit(3)
    if what == "sleep":
        time.sleep(60)
    print(json.dumps({"did": what}), flush=True)
"""


@pytest.fixture
def stub(tmp_path, monkeypatch):
    """A pool of tiny workers that die or sleep on command."""
    (tmp_path / "stub_worker.py").write_text(STUB)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    pool = Pool("stub_worker", 2)
    yield pool
    pool.close()


def test_replies_keep_the_order_of_requests_around_deaths_and_deadlines(stub):
    does = ["a", "die", "b", "sleep", "c", "d"]
    replies = stub.run([{"do": d} for d in does], timeout=2.0)
    assert replies[3] is TIMEOUT
    assert replies[1] == {"error": "the worker process died on it twice (exit status 3)"}
    assert [replies[i]["did"] for i in (0, 2, 4, 5)] == ["a", "b", "c", "d"]


def test_close_leaves_no_process(stub):
    stub.run([{"do": "a"}, {"do": "b"}], timeout=5.0)
    pids = [w.process.pid for w in stub.workers]
    assert pids
    stub.close()
    assert not any(map(alive, pids))
    assert stub.run([{"do": "a"}], timeout=5.0) == [{"did": "a"}]


def test_a_worker_that_cannot_start_says_why(monkeypatch):
    with pytest.raises(SelfevoError, match="No module named selfevo_no_such_module"):
        Pool("selfevo_no_such_module", 1).run([{}], timeout=1.0)


def test_workers_end_with_their_parent(tmp_path, monkeypatch):
    (tmp_path / "stub_worker.py").write_text(STUB)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, sys.path)]))
    program = "from selfevo.verifiers.pool import shared; p = shared('stub_worker', 1); p.run([{'do': 'a'}], 5.0); "
    program += "print(p.workers[0].process.pid)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert not alive(int(done.stdout))


def worker_program(code):
    """Exit status of Python code that has imported the worker as `w`."""
    done = subprocess.run([sys.executable, "-c", f"import selfevo.verifiers.math_worker as w\n{code}"], capture_output=True, timeout=60)
    return done.returncode


def test_an_orphaned_worker_ends_itself_even_inside_c_code():
    request = {"gold": "5", "answer": "9^{9^{9^9}}", "timeout": 0.1}
    assert worker_program(f"w.GRACE = 0.1; w.answered({request})") == -signal.SIGALRM


def test_the_memory_limit_holds():
    assert worker_program("w.limit_memory(512)\ntry: bytearray(2**30)\nexcept MemoryError: raise SystemExit(7)") == 7


def test_wrong_settings_are_refused():
    with pytest.raises(UserError, match="timeout > 0"):
        Math(timeout=0)
