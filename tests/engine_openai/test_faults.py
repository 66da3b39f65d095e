"""What an endpoint may do wrong, over real sockets: what is tried again, what ends at once, and how each is said in one line."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest
from endpoint_asks import KEY, VARIABLE, ask, texts
from faulty_endpoint import DROP, STALL, TRICKLE, Reply, endpoint, raw, refuse, say
from served_vllm import free_port

from selfevo.engines import OpenAI
from selfevo.errors import EngineError, UserError

pytestmark = pytest.mark.scale
Make = Callable[..., OpenAI]


def fails(engine: OpenAI, *requests: object) -> str:
    """The one line in which the engine fails."""
    with pytest.raises(EngineError) as caught:
        engine.generate(requests or [ask()])  # type: ignore[arg-type]
    line = str(caught.value)
    assert line.startswith(f"endpoint {engine.url}, request ") and "\n" not in line and len(line) < 500
    assert KEY not in line
    assert caught.value.__cause__ is None and caught.value.__suppress_context__
    return line


@pytest.mark.parametrize("fault", [
    refuse(429), refuse(429, retry_after="0.1"), refuse(500), refuse(503), refuse(408), refuse(409), DROP
], ids=["429", "429 with Retry-After", "500", "503", "408", "409", "dropped"])  # fmt: skip
def test_faults_that_may_pass_are_tried_again(make: Make, fault: Reply) -> None:
    with endpoint(fault, fault, say("fine")) as server:
        engine = make(server.url, retries=2)
        assert texts(engine.generate([ask()])) == ["fine"]
        assert len(server.asked) == 3
        assert engine.spent() == {"calls": 1, "cached": 0, "prompt_tokens": 10, "completion_tokens": 5, "retries": 2}


def test_retry_after_is_waited_for(make: Make) -> None:
    with endpoint(refuse(429, retry_after="1.5"), say()) as server:
        make(server.url, retries=1).generate([ask()])
        first, second = server.asked
        assert second.at - first.at >= 1.5


@pytest.mark.parametrize("fault, said", [
    (refuse(429, "slow down"), "is asked too much (429: slow down), retries: 1; lower requests_per_minute, tokens_per_minute or"),
    (refuse(500, "boom"), "fails (500: boom), retries: 1"),
    (Reply(b"<html>gate\n\nway</html>", 502), "fails (502: <html>gate way</html>), retries: 1"),
    (DROP, "cannot be reached ("),
])  # fmt: skip
def test_faults_that_stay_are_told_after_the_last_try(make: Make, fault: Reply, said: str) -> None:
    with endpoint(fault) as server:
        assert said in fails(make(server.url, retries=1))
        assert len(server.asked) == 2


@pytest.mark.parametrize("fault, said", [
    (refuse(400, "This model's maximum context length is 8 tokens"), "refuses the request (400: This model's maximum context length is 8"),
    (refuse(401, "wrong"), f"refuses the key in {VARIABLE} (401: wrong)"),
    (refuse(403, "not for you"), f"refuses the key in {VARIABLE} (403: not for you)"),
    (refuse(404, "no such model"), "has no model 'tiny' (404: no such model); did you mean 'tinier'? (valid: other, tinier)"),
    (refuse(422, "top_k: extra"), "refuses the request (422: top_k: extra)"),
    (refuse(429, "out of money", retry_after="3600"), "is asked too much (429: out of money); it asks to come back in 3600 s"),
    (raw("<html>a portal</html>", "text/html"), "is no chat completion (no JSON): <html>a portal</html>; is base_url right, up to /v1?"),
    (raw('{"choices": [{"mess'), 'is no chat completion (no JSON): {"choices": [{"mess; is'),
    (raw("{}"), "is no chat completion (no choices in it): {}; is"),
    (raw('{"choices": []}'), "(no choices in it)"), (raw('{"choices": [7]}'), "(no message in it)"), (raw("[1]"), "(no choices in it)"),
    (raw('{"choices": [{"message": {"content": ["x"]}}]}'), "(no message in it)"),
    (raw('{"error": {"message": "upstream"}}'), '(no choices in it): {"error": {"message": "upstream"}}'),
    (raw(""), "(no JSON): nothing"),
], ids=str)  # fmt: skip
def test_faults_that_would_not_pass_end_at_once(make: Make, fault: Reply, said: str) -> None:
    with endpoint(fault) as server:
        server.models = ("other", "tinier")
        assert said in fails(make(server.url, retries=5))
        assert len(server.asked) == 1


def test_an_endpoint_that_stalls_is_left_after_the_timeout_and_its_retries(make: Make) -> None:
    with endpoint(STALL) as server:
        assert "no answer within 0.3 s (timeout), retries: 1" in fails(make(server.url, timeout=0.3, retries=1))
        assert len(server.asked) == 2


@pytest.mark.parametrize("fault", [STALL, TRICKLE], ids=["silence", "a byte now and then"])
def test_an_endpoint_that_never_comes_to_an_end_is_given_up(make: Make, fault: Reply) -> None:
    with endpoint(fault) as server:
        assert "no answer within 0.7 s, retries included (give_up)" in fails(make(server.url, give_up=0.7, retries=5))
        assert len(server.asked) == 1


def test_an_endpoint_that_is_not_there_is_named(make: Make) -> None:
    engine = make(f"http://127.0.0.1:{free_port()}/v1", retries=1)
    assert "cannot be reached (" in fails(engine, ask("who is\nthere?"))
    assert "request 0 ('who is there?')" in fails(engine, ask("who is\nthere?"))


def test_the_request_that_failed_is_named(make: Make) -> None:
    with endpoint(say(), refuse(400), say()) as server:
        assert "request 1 ('second')" in fails(make(server.url, concurrency=1), ask("first"), ask("second"), ask("third"))


def test_an_endpoint_that_wants_a_key_and_gets_none_says_how(make: Make) -> None:
    with endpoint(refuse(401, "who?")) as server:
        line = fails(make(server.url, key_env=None))
        assert "asks for a key (401: who?); put it into an environment variable, and name that in key_env" in line


def test_the_key_is_sent_and_blotted_out_where_the_endpoint_repeats_it(make: Make) -> None:
    with endpoint(refuse(401, f"Incorrect key: {KEY}"), raw(f"I heard {KEY}")) as server:
        engine = make(server.url)
        assert f"refuses the key in {VARIABLE} (401: Incorrect key: ***)" in fails(engine)
        assert "I heard ***" in fails(engine)
        assert server.asked[0].headers["authorization"] == f"Bearer {KEY}"


def test_an_absent_key_ends_before_anything_is_sent(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE)
    with endpoint() as server, pytest.raises(UserError, match=f"{VARIABLE} is not set"):
        make(server.url).generate([ask()])
    assert not server.seen


def test_what_was_answered_before_a_failure_is_not_asked_again(make: Make) -> None:
    with endpoint(say("paid"), refuse(400), say("later")) as server:
        engine = make(server.url, concurrency=1)
        requests = [ask("first"), ask("second")]
        fails(engine, *requests)
        assert texts(engine.generate(requests)) == ["paid", "later"]
        assert [s.body["messages"][0]["content"] for s in server.asked] == ["first", "second", "second"]
        assert engine.spent()["cached"] == 1


@pytest.mark.parametrize("after", [None, *(n / 1000 for n in range(0, 60, 3))])
def test_an_interruption_ends_the_requests_and_their_thread_whenever_it_comes(make: Make, after: float | None) -> None:
    """After some milliseconds, so perhaps while the thread is starting, or once a request is under way."""
    with endpoint(STALL) as server:
        engine = make(server.url)
        called = threading.Event()

        def press() -> None:
            called.wait()
            while after is None and not server.asked:
                time.sleep(0.01)
            time.sleep(after or 0.0)
            os.kill(os.getpid(), signal.SIGINT)

        def call() -> None:
            called.set()
            engine.generate([ask(seed=i) for i in range(20)])

        presser = threading.Thread(target=press)
        presser.start()
        with pytest.raises(KeyboardInterrupt):
            call()
        presser.join()
        while [t for t in threading.enumerate() if t.name == "endpoint"]:
            time.sleep(0.01)
