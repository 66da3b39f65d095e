"""What is sent, how much at once, what it costs, and what the replies become; over real sockets."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest
from endpoint_asks import CODEC, ask, texts
from faulty_endpoint import bodies, endpoint, say

from selfevo.engines import OpenAI
from selfevo.engines.endpoint.pace import Pace
from selfevo.errors import EngineError
from selfevo.protocols import GenerateRequest, Sampling
from selfevo.records import Message

pytestmark = pytest.mark.scale
Make = Callable[..., OpenAI]

CHAT = [
    Message("system", "be terse"), Message("user", "1+1=2\nok? ⟨ß⟩"), Message("assistant", ""), Message("tool", "hm"), Message("user", ""),
]  # fmt: skip


def test_the_messages_the_sampling_and_the_seed_are_sent(make: Make) -> None:
    sampling = Sampling(max_tokens=7, temperature=0.5, top_p=0.25, top_k=3, stop=("\n", "."))
    with endpoint() as server:
        make(server.url).generate([GenerateRequest(CODEC.open(CHAT), (5 << 31) + 11, sampling)])
    assert bodies(server.asked) == [{
        "model": "tiny", "messages": [{"role": m.role, "content": m.content} for m in CHAT], "temperature": 0.5, "top_p": 0.25,
        "max_tokens": 7, "top_k": 3, "stop": ["\n", "."], "seed": 11,
    }]  # fmt: skip


def test_settings_change_the_request(make: Make) -> None:
    changes = {"send_seed": False, "limit_key": "max_completion_tokens", "body": {"temperature": None, "reasoning_effort": "low"}}
    with endpoint() as server:
        make(server.url, **changes).generate([ask("x", top_p=1.0, max_tokens=9)])
    messages = [{"role": "user", "content": "x"}]
    expected = {"model": "tiny", "messages": messages, "top_p": 1.0, "max_completion_tokens": 9, "reasoning_effort": "low"}
    assert bodies(server.asked) == [expected]


def test_a_reply_that_has_begun_is_refused_or_continued(make: Make) -> None:
    request = GenerateRequest((*CODEC.open([Message("user", "x")]), *CODEC.fragment("It ")), 0)
    with endpoint(say("is.")) as server:
        with pytest.raises(EngineError, match=r"request 0: its reply has a beginning already.*prefill=continue"):
            make(server.url).generate([request])
        assert texts(make(server.url, prefill="continue").generate([request])) == ["is."]
    (body,) = bodies(server.asked)
    assert body["messages"] == [{"role": "user", "content": "x"}, {"role": "assistant", "content": "It "}]
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)


@pytest.mark.parametrize("given, text, ended, finish", [
    (say("a c"), "a c", True, "stop"),
    (say("a c", finish_reason="length"), "a c", False, "length"),
    (say("a ", stop_reason="b"), "a b", False, "stop"),                       # the stop string is told
    (say("a ", matched_stop="b"), "a b", False, "stop"),
    (say("a ", stop_reason=151645), "a ", True, "stop"),                      # an end token's id is told
    (say("a b.c b"), "a b", False, "stop"),                                   # stop strings were kept, or ignored
    (say("a b.c b", finish_reason="length"), "a b", False, "stop"),
    (say(""), "", True, "stop"), (say(None), "", True, "stop"), (say(None, finish_reason="length"), "", False, "length"),
    (say("a", finish_reason="content_filter"), "a", True, "stop"),
    (say("ß\ud83d!"), "ß?!", True, "stop"),                                   # half a character, which JSON can hold
], ids=str)  # fmt: skip
def test_a_reply_becomes_ids_that_end_where_it_ended(make: Make, given, text: str, ended: bool, finish: str) -> None:
    with endpoint(given) as server:
        (done,) = make(server.url).generate([ask(stop=("b", "zz"))])
    assert (done.text, done.finish, done.logprobs) == (text, finish, None)
    assert done.tokens == (*CODEC.fragment(text), *(CODEC.closing if ended else ()))


def test_replies_are_in_the_order_of_the_requests_whoever_answers_first(make: Make) -> None:
    with endpoint() as server:
        server.replies = [say(str(i)) for i in range(40)]
        engine = make(server.url)
        requests = [ask(str(i), seed=i) for i in range(40)]
        replies = texts(engine.generate(requests))
        heard = {s.body["messages"][0]["content"]: str(n) for n, s in enumerate(server.asked)}
        assert replies == [heard[str(i)] for i in range(40)]


def test_as_many_requests_as_allowed_are_under_way_and_no_more(make: Make) -> None:
    with endpoint(say(manner="wait")) as server:

        def opened() -> None:
            while server.crowd < 5:
                time.sleep(0.01)
            server.gate.set()

        opener = threading.Thread(target=opened)
        opener.start()
        make(server.url, concurrency=5).generate([ask(seed=i) for i in range(30)])
        opener.join()
        assert (server.peak, len(server.asked)) == (5, 30)


def test_requests_per_minute_are_spaced_across_calls(make: Make) -> None:
    """20 requests at 1200 a minute: the last is sent 19 x 50 ms after the first at the earliest."""
    with endpoint() as server:
        engine = make(server.url, requests_per_minute=1200.0)
        began = time.monotonic()
        for call in range(2):
            engine.generate([ask(seed=10 * call + i) for i in range(10)])
        assert server.asked[-1].at - began >= 19 * 0.05
        assert len(server.asked) == 20


def test_tokens_per_minute_wait_for_what_was_taken_and_not_for_what_was_feared(make: Make) -> None:
    """Each answer took 15 tokens, at 600 a minute 1.5 s; asking for up to 6000 would have meant 10 minutes."""
    with endpoint(say(usage=(10, 5))) as server:
        engine = make(server.url, tokens_per_minute=600.0, concurrency=1)
        began = time.monotonic()
        engine.generate([ask(seed=i, max_tokens=6000) for i in range(2)])
        _, second = server.asked
        assert second.at - began >= 1.5


def test_a_pace_gives_each_amount_its_share_of_time() -> None:
    """At one a millisecond: 30, then 20, then 10 of which 5 turn out not to be needed."""

    async def starts() -> list[float]:
        pace, began, out = Pace(60_000.0), time.monotonic(), []
        for amount in (30.0, 20.0, 10.0):
            await pace.wait(amount)
            out.append(time.monotonic() - began)
        pace.correct(-5.0)
        await pace.wait()
        return [*out, time.monotonic() - began]

    assert all(at >= earliest - 0.001 for at, earliest in zip(asyncio.run(starts()), (0.0, 0.03, 0.05, 0.055), strict=True))


def test_calls_tokens_and_money_are_counted_and_start_anew(make: Make) -> None:
    """10 prompt tokens at 2 and 5 completion tokens at 8 per million: 60 millionths a call."""
    with endpoint(say(usage=(10, 5))) as server:
        engine = make(server.url, prompt_price=2.0, completion_price=8.0)
        assert engine.spent() == {}
        engine.generate([ask(seed=i) for i in range(3)])
        spent = engine.spent()
        assert spent.pop("cost") == pytest.approx(180e-6, rel=1e-12)
        assert spent == {"calls": 3, "cached": 0, "prompt_tokens": 30, "completion_tokens": 15, "saved": 0}
        engine.generate([ask(seed=i) for i in range(2, 5)])
        spent = engine.spent()
        assert spent.pop("cost") == pytest.approx(120e-6, rel=1e-12)
        assert spent.pop("saved") == pytest.approx(60e-6, rel=1e-12)
        assert spent == {"calls": 2, "cached": 1, "prompt_tokens": 20, "completion_tokens": 10}
        assert engine.spent() == {}


def test_an_endpoint_that_counts_no_tokens_is_counted_as_such(make: Make) -> None:
    with endpoint(say(usage=None)) as server:
        engine = make(server.url)
        engine.generate([ask()])
        assert engine.spent() == {"calls": 1, "cached": 0, "prompt_tokens": 0, "completion_tokens": 0, "unmetered": 1}


def test_a_group_stays_distinct_and_comes_from_the_cache_without_server_or_key(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = [ask(seed=i, temperature=1.0) for i in range(6)]
    with endpoint() as server:
        server.replies = [say(f"draw {i}") for i in range(6)]
        engine = make(server.url)
        first = engine.generate(requests)
        assert len(set(texts(first))) == 6
    monkeypatch.delenv("JUDGE_KEY")
    engine.spent()
    assert engine.generate(requests[::-1]) == first[::-1]
    assert make(server.url).generate(requests) == first
    assert engine.spent() == {"calls": 0, "cached": 6, "prompt_tokens": 0, "completion_tokens": 0}


def test_without_a_cache_every_request_is_asked(make: Make) -> None:
    with endpoint() as server:
        engine = make(server.url, cache=None)
        for _ in range(2):
            engine.generate([ask()])
        assert len(server.asked) == 2


def test_a_damaged_answer_is_asked_for_anew_and_counted(make: Make, tmp_path) -> None:
    with endpoint(say("one"), say("two")) as server:
        engine = make(server.url)
        engine.generate([ask()])
        (file,) = (tmp_path / "answers").rglob("*.json")
        file.write_text(file.read_text().replace("one", "won"))
        assert texts(engine.generate([ask()])) == texts(engine.generate([ask()])) == ["two"]
        assert engine.spent() == {"calls": 2, "cached": 1, "prompt_tokens": 20, "completion_tokens": 10, "damaged": 1}


def test_contexts_of_another_policy_and_scores_are_refused(make: Make) -> None:
    engine = make("http://127.0.0.1:1/v1")
    with pytest.raises(EngineError, match="request 1: the context holds no messages"):
        engine.generate([ask(), GenerateRequest((1, 2, 3), 0)])
    with pytest.raises(EngineError, match="an endpoint cannot score tokens"):
        engine.score([])
    with pytest.raises(EngineError, match="no policy yet"):
        OpenAI("tiny", cache=None).generate([ask()])
    assert engine.generate([]) == []
