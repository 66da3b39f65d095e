"""Against a real vLLM server with the bundled policy: replies, faults it really produces, a judged run, and nothing left of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from as_user import ENVIRONMENT, metrics, start
from endpoint_asks import CODEC, KEY, VARIABLE, ask, texts
from served_vllm import NAME, VllmServer, members

from selfevo.commits import read_rows
from selfevo.engines import Native, OpenAI
from selfevo.errors import EngineError
from selfevo.models import Pretrained
from selfevo.protocols import GenerateRequest, Sampling
from selfevo.records import Message
from selfevo.store import RunDir

pytestmark = pytest.mark.scale
Make = Callable[..., OpenAI]
QUESTIONS = ["3+4=?", "12+5=?", "7-2=?", "8+1+2=?"]


@pytest.fixture
def server(vllm: VllmServer) -> VllmServer:
    """The session's server, running."""
    return vllm.up()


def native(questions: list[str], begun: str = "", **sampling: object) -> list[str]:
    """What the native engine says to the same."""
    policy = Pretrained("tiny").load("solver")
    engine = Native()
    engine.load(policy)
    contexts = [(*policy.codec.open([Message("user", q)]), *policy.codec.fragment(begun)) for q in questions]
    return [c.text for c in engine.generate([GenerateRequest(c, 0, Sampling(**sampling)) for c in contexts])]  # type: ignore[arg-type]


def test_greedy_replies_are_those_of_the_native_engine(make: Make, server: VllmServer) -> None:
    engine = make(server.url)
    replies = engine.generate([ask(q, temperature=0.0, max_tokens=64) for q in QUESTIONS])
    assert texts(replies) == native(QUESTIONS, temperature=0.0, max_tokens=64)
    assert all("####" in r.text and r.finish == "stop" and r.tokens == (*CODEC.fragment(r.text), CODEC.END) for r in replies)
    spent = engine.spent()
    assert spent["calls"] == len(QUESTIONS)
    assert spent["prompt_tokens"] == sum(len(q) + 3 for q in QUESTIONS)  # a token per character, and three of the template
    assert spent["completion_tokens"] == sum(len(r.text) + 1 for r in replies)


def test_a_reply_cut_at_its_length_says_so(make: Make, server: VllmServer) -> None:
    (reply,) = make(server.url).generate([ask(QUESTIONS[0], temperature=0.0, max_tokens=3)])
    assert (reply.finish, len(reply.text), CODEC.ended(reply.tokens)) == ("length", 3, False)
    assert native(QUESTIONS[:1], temperature=0.0, max_tokens=64)[0].startswith(reply.text)


def test_a_stop_string_ends_a_reply_is_kept_and_only_pauses_it(make: Make, server: VllmServer) -> None:
    settings = {"temperature": 0.0, "max_tokens": 64, "stop": ("\n", "####")}
    replies = make(server.url).generate([ask(q, **settings) for q in QUESTIONS])
    assert texts(replies) == native(QUESTIONS, **settings)
    assert all(r.text.endswith(("\n", "####")) and r.finish == "stop" and not CODEC.ended(r.tokens) for r in replies)


def test_a_reply_that_has_begun_goes_on_as_it_would_have(make: Make, server: VllmServer) -> None:
    (whole,) = native(QUESTIONS[:1], temperature=0.0, max_tokens=64)
    begun = whole[: len(whole) // 2]
    context = (*CODEC.open([Message("user", QUESTIONS[0])]), *CODEC.fragment(begun))
    (rest,) = make(server.url, prefill="continue").generate([GenerateRequest(context, 0, Sampling(64, temperature=0.0))])
    assert begun + rest.text == whole


def test_earlier_turns_reach_the_model(make: Make, server: VllmServer) -> None:
    policy = Pretrained("tiny").load("solver")
    chat = [Message("user", "3+4=?"), Message("assistant", "#### 8"), Message("user", "no")]
    engine = Native()
    engine.load(policy)
    request = [GenerateRequest(codec.open(chat), 0, Sampling(64, temperature=0.0)) for codec in (policy.codec, CODEC)]
    assert texts(make(server.url).generate(request[1:])) == texts(engine.generate(request[:1]))


def test_a_seed_decides_the_draw_and_another_draws_anew(make: Make, server: VllmServer) -> None:
    engine = make(server.url, cache=None)
    requests = [ask("propose", seed=i, temperature=1.5, max_tokens=40) for i in range(6)]
    first, again = texts(engine.generate(requests)), texts(engine.generate(requests))
    assert first == again
    assert len(set(first)) > 3


@pytest.mark.parametrize("changes, request_, said", [
    ({"model": "tinny"}, ask(), "has no model 'tinny' (404: The model `tinny` does not exist"),
    ({"model": "tinny"}, ask(), "did you mean 'tiny'? (valid: tiny)"),
    ({}, ask("1" * 2000), "refuses the request (400: "),
    ({}, ask("x", max_tokens=5000), "refuses the request (400: "),
    ({"key_env": "OTHER_KEY"}, ask(), "refuses the key in OTHER_KEY (401: Unauthorized)"),
    ({"key_env": None}, ask(), "asks for a key (401: Unauthorized); put it into an environment variable"),
], ids=["model", "nearest model", "context", "length", "wrong key", "no key"])  # fmt: skip
def test_what_the_server_refuses_is_one_line(
    make: Make, server: VllmServer, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], request_: GenerateRequest, said: str
) -> None:
    monkeypatch.setenv("OTHER_KEY", "sk-wrong-0123456789abcdef")
    with pytest.raises(EngineError) as caught:
        make(server.url, **changes).generate([request_])
    line = str(caught.value)
    assert said in line and "\n" not in line
    assert KEY not in line and "sk-wrong" not in line


def test_a_judge_behind_the_server_judges_a_solver_of_the_native_engine(server: VllmServer, tmp_path: Path) -> None:
    root = tmp_path / "run"
    configs = Path(__file__).parent / "configs"
    overrides = [
        "experiment=judged", f"--config-dir={configs}", "scale=tiny", f"engines.judge.base_url={server.url}",
        f"engines.judge.model={NAME}", f"engines.judge.cache={tmp_path / 'answers'}", f"hydra.run.dir={root}",
    ]  # fmt: skip
    process = start("run", *overrides, env={**ENVIRONMENT, VARIABLE: KEY, "NO_PROXY": "127.0.0.1,localhost"})
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    store = RunDir.open(root)
    judged, solved = list(read_rows(store, "main.1", "judge")), list(read_rows(store, "main.1", "rollout"))
    store.close()
    assert len(judged) == len(solved) > 0
    for row, answer in zip(judged, solved, strict=True):
        (turn,) = row.trajectory.turns
        assert (turn.source, turn.version, turn.logprobs) == ("policy", "judge@000000", None)
        assert answer.trajectory.text in CODEC.messages(turn.context)[0].content
        assert answer.trajectory.turns[0].logprobs is not None
    assert any("####" in row.trajectory.text for row in judged)
    spent = [values for _, stage, values in metrics(root) if stage == "judge"]
    assert all(values["engine/judge/calls"] == len(judged) for values in spent)
    assert all(values["engine/judge/completion_tokens"] > 0 for values in spent)


def test_answers_outlive_the_server_of_which_nothing_is_left(make: Make, server: VllmServer) -> None:
    engine = make(server.url)
    requests = [ask(q, seed=i, temperature=1.0) for i, q in enumerate(QUESTIONS)]
    first = engine.generate(requests)
    group = server.down()
    assert group is not None and members(group) == []
    assert not server.answers()
    assert engine.generate(requests) == first
    assert engine.spent()["cached"] == len(QUESTIONS)
    with pytest.raises(EngineError, match="cannot be reached"):
        engine.generate([ask("another")])
