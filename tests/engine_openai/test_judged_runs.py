"""Whole runs whose judge is behind an endpoint: what is recorded and counted, where the key is not, and how they end and go on."""

from __future__ import annotations

from pathlib import Path

import pytest
from as_user import ENVIRONMENT, Said, committed, metrics, start
from endpoint_asks import CODEC, KEY, VARIABLE
from faulty_endpoint import STALL, Endpoint, endpoint, raw, refuse, say

from selfevo.commits import read_rows
from selfevo.records import Row
from selfevo.store import RunDir

pytestmark = pytest.mark.scale

CONFIGS = Path(__file__).parent / "configs"
SCRIPTED = ["model=scripted", "engine=scripted", "engine.replies=['#### 7','#### 8']", "scale=tiny"]
ENV = {**ENVIRONMENT, VARIABLE: KEY, "NO_PROXY": "127.0.0.1,localhost"}


def command(server: Endpoint, root: Path, *more: str) -> list[str]:
    """A run of the judged experiment in `root`, its cache beside it; the solver's replies come from a script, so that it starts at once."""
    place = [f"engines.judge.base_url={server.url}", f"engines.judge.cache={root.parent / 'answers'}", f"hydra.run.dir={root}"]
    return ["run", "experiment=judged", f"--config-dir={CONFIGS}", *SCRIPTED, *place, *more]


def selfevo(*arguments: str, **environment: str | None) -> Said:
    """The command in a process of its own."""
    env = {k: v for k, v in {**ENV, **environment}.items() if v is not None}
    process = start(*arguments, env=env)
    out, err = process.communicate(timeout=120)
    assert KEY not in out and KEY not in err
    return Said(process.returncode, out, err)


def rows_of(root: Path, path: str, stage: str) -> list[Row]:
    """Rows that a stage committed."""
    store = RunDir.open(root)
    try:
        return list(read_rows(store, path, stage))
    finally:
        store.close()


def files_with(root: Path, text: str) -> list[Path]:
    """Files below a folder that hold a text, as it is or in UTF-16."""
    words = (text.encode(), text.encode("utf-16-le"))
    return [f for f in root.rglob("*") if f.is_file() and any(word in f.read_bytes() for word in words)]


def test_a_judged_run_records_the_judges_turns_and_what_they_cost(tmp_path: Path) -> None:
    root = tmp_path / "run"
    with endpoint(say("2 is 2\n#### yes", usage=(100, 5))) as server:
        said = selfevo(*command(server, root))
        assert said.status == 0, said.err
        judged, solved = rows_of(root, "main.0", "judge"), rows_of(root, "main.0", "rollout")
        assert len(judged) == len(solved) > 1
        for row, answer in zip(judged, solved, strict=True):
            (turn,) = row.trajectory.turns
            assert (turn.source, turn.text, turn.version, turn.logprobs) == ("policy", "2 is 2\n#### yes", "judge@000000", None)
            assert turn.tokens == (*CODEC.fragment(turn.text), *CODEC.closing)
            question = CODEC.messages(turn.context)[0].content
            assert answer.trajectory.text in question and str(answer.trajectory.task.vars["question"]) in question
        asked = [s.body["messages"][0]["content"] for s in server.asked]
    lines = {(path, stage): values for path, stage, values in metrics(root)}
    first = lines["main.0", "judge"]
    names = ("calls", "cached", "prompt_tokens", "completion_tokens", "cost", "saved")
    n = len(judged)
    assert [first[f"engine/judge/{name}"] for name in names] == [n, 0, 100 * n, 5 * n, pytest.approx(n * 1e-4), 0]
    assert lines["main.0", "verdict"]["score/says"] == 1.0
    assert not [name for name in lines["main.0", "rollout"] if name.startswith("engine/")]
    assert len(asked) == sum(lines[path, "judge"]["engine/judge/calls"] for path, stage in lines if stage == "judge")


def test_the_same_run_again_comes_from_the_cache_although_the_endpoint_is_gone(tmp_path: Path) -> None:
    with endpoint() as server:
        assert selfevo(*command(server, tmp_path / "first")).status == 0
    assert selfevo(*command(server, tmp_path / "second"), **{VARIABLE: None}).status == 0
    costs = [next(m for _, stage, m in metrics(tmp_path / run) if stage == "judge") for run in ("first", "second")]
    assert costs[0]["engine/judge/calls"] == costs[1]["engine/judge/cached"] > 0
    assert costs[0]["engine/judge/cost"] == costs[1]["engine/judge/saved"] > 0
    assert rows_of(tmp_path / "first", "main.1", "judge") == rows_of(tmp_path / "second", "main.1", "judge")


def test_the_key_is_in_no_file_of_the_run_nor_in_the_cache(tmp_path: Path) -> None:
    """Whether the run goes well or the endpoint repeats the key in whatever it refuses."""
    with endpoint() as server:
        assert selfevo(*command(server, tmp_path / "well")).status == 0
        assert server.asked[0].headers["authorization"] == f"Bearer {KEY}"
    for name, fault in {"refused": refuse(401, f"no: {KEY}"), "garbled": raw(f"<p>{KEY}</p>")}.items():
        with endpoint(fault) as server:
            assert selfevo(*command(server, tmp_path / name)).status == 1
    assert files_with(tmp_path, "judge@000000")  # the search finds what is there
    assert files_with(tmp_path, KEY) == []


@pytest.mark.parametrize("fault, said, more", [
    (refuse(401, "wrong key"), f"refuses the key in {VARIABLE} (401: wrong key)", []),
    (refuse(500, "boom"), "fails (500: boom), retries: 1", ["engines.judge.retries=1"]),
    (STALL, "no answer within 0.5 s (timeout), retries: 0", ["engines.judge.retries=0", "engines.judge.timeout=0.5"]),
], ids=["401", "500", "stall"])  # fmt: skip
def test_a_run_that_its_endpoint_failed_ends_in_one_line_and_goes_on(tmp_path: Path, fault, said: str, more: list[str]) -> None:
    root = tmp_path / "run"
    with endpoint(fault) as server:
        ended = selfevo(*command(server, root, *more))
        assert ended.status == 1
        assert ended.line.startswith(f"endpoint {server.url}, request ") and said in ended.line
        assert committed(root) == ["main.0/rollout"]
        before = server.port
        server.replies[:] = [say("#### no")]
        resumed = selfevo("resume", str(root))
        assert resumed.status == 0, resumed.err
    assert server.port == before
    assert committed(root)[-1] == "main.1/verdict"
    assert {row.trajectory.text for row in rows_of(root, "main.0", "judge")} == {"#### no"}


def test_a_run_without_its_key_ends_as_a_mistake_and_goes_on_once_there_is_one(tmp_path: Path) -> None:
    root = tmp_path / "run"
    with endpoint() as server:
        ended = selfevo(*command(server, root), **{VARIABLE: None})
        assert ended.status == 2
        assert ended.line == f"key_env: the environment variable {VARIABLE} is not set (key_env: null for an endpoint that wants no key)"
        assert not server.seen
        assert selfevo("resume", str(root)).status == 0


def test_a_run_that_fails_halfway_through_a_stage_pays_once_for_every_answer(tmp_path: Path) -> None:
    root = tmp_path / "run"
    with endpoint(say(), say(), refuse(400, "too long")) as server:
        assert selfevo(*command(server, root, "engines.judge.concurrency=1")).status == 1
        assert len(server.asked) == 3
        server.replies[:] = [say()] * 4
        assert selfevo("resume", str(root)).status == 0
        judged = len(rows_of(root, "main.0", "judge"))
        again = next(m for path, stage, m in metrics(root) if (path, stage) == ("main.0", "judge"))
        assert (again["engine/judge/cached"], again["engine/judge/calls"]) == (2, judged - 2)
