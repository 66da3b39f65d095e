"""Keys come from the environment alone: whatever looks like one in a spec is refused without being repeated. Needs no client."""

from __future__ import annotations

import sys

import pytest
from endpoint_asks import KEY, VARIABLE, ask

from selfevo import spec
from selfevo.engines import OpenAI
from selfevo.engines.endpoint import keys
from selfevo.errors import SpecErrors, UserError

HUGGING = "hf_abcdefghijklmnopqrstuvwxyzABCDEFGH"


@pytest.mark.parametrize("changes", [
    {"api_key": KEY}, {"api_key": "anything"}, {"api_key": 5},
    {"base_url": f"https://user:{KEY}@host/v1"}, {"base_url": "https://user@host/v1"}, {"base_url": f"https://host/v1?key={KEY}"},
    {"base_url": "https://host/v1?a=b"}, {"base_url": f"https://host/{KEY}/v1"}, {"base_url": f"https://host/v1#{KEY}"},
    {"key_env": KEY}, {"key_env": HUGGING}, {"key_env": "gsk_abc"}, {"key_env": ""},
    {"model": KEY}, {"body": {"metadata": {"a": [HUGGING]}}}, {"body": {"extra": {"Authorization": "Basic x"}}}, {"body": {"api_key": "x"}},
    {"body": {"note": f"Bearer {KEY}"}},
], ids=str)  # fmt: skip
def test_what_looks_like_a_key_is_refused_and_not_repeated(changes: dict[str, object]) -> None:
    with pytest.raises(UserError, match="key") as caught:
        OpenAI(**{"model": "tiny", **changes})  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert not [secret for secret in (KEY, HUGGING, "gsk_abc") if secret in str(caught.value)]


@pytest.mark.parametrize("override", ["api_key={}", "key_env={}", "base_url=https://{}@host/v1", "model={}", "body={{a: {}}}", "apikey={}"])
def test_a_spec_that_holds_a_key_is_refused_and_the_key_not_repeated(override: str) -> None:
    with pytest.raises(SpecErrors) as caught:
        spec.read(["engine=openai", "model=endpoint", "engine.model=x", f"engine.{override.format(KEY)}"])
    assert caught.value.lines
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("changes", [
    {"model": "hf-internal-testing/tiny-random-model"}, {"model": "gpt-oss-120b"},
    {"model": "accounts/fireworks/models/qwen3-235b-a22b"},
    {"base_url": "https://gateway.example.com/v1/0123456789abcdef0123456789abcdef/name/openai"}, {"base_url": "http://[::1]:8000/v1/"},
    {"key_env": None}, {"body": {"reasoning_effort": "low", "metadata": {"run": "sk"}}},
], ids=str)  # fmt: skip
def test_names_and_addresses_without_a_key_are_taken(changes: dict[str, object]) -> None:
    OpenAI(**{"model": "tiny", **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("changes, said", [
    ({"base_url": "localhost:8000"}, "base_url: expected an address such as"), ({"base_url": "ftp://host"}, "base_url: expected"),
    ({"base_url": "http://host:99999999/v1"}, "base_url: expected"), ({"concurrency": 0}, "concurrency must be at least 1, got 0"),
    ({"retries": -1}, "retries must be at least 0, got -1"), ({"timeout": 0.0}, "timeout must be above 0, got 0.0"),
    ({"give_up": float("nan")}, "give_up must be above 0, got nan"), ({"requests_per_minute": 0.0}, "requests_per_minute must be above 0"),
    ({"prompt_price": -1.0}, "prompt_price must be 0 or more"), ({"prefill": "refuze"}, "did you mean 'refuse'"),
    ({"limit_key": "max_token"}, "did you mean 'max_tokens'"),
])  # fmt: skip
def test_settings_out_of_range_are_one_line(changes: dict[str, object], said: str) -> None:
    with pytest.raises(UserError) as caught:
        OpenAI(**{"model": "tiny", **changes})  # type: ignore[arg-type]
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_an_absent_key_names_its_variable_and_a_broken_one_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert keys.read(None) is None
    monkeypatch.setenv(VARIABLE, f" {KEY}\n")
    assert keys.read(VARIABLE) == KEY
    monkeypatch.setenv(VARIABLE, f"{KEY} twice")
    with pytest.raises(UserError, match=f"{VARIABLE} holds characters that no key has$") as caught:
        keys.read(VARIABLE)
    assert KEY not in str(caught.value)
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(UserError, match=f"the environment variable {VARIABLE} is not set"):
        keys.read(VARIABLE)


def test_a_text_that_quotes_the_key_is_cleaned() -> None:
    assert keys.hide(f"bad key {KEY}, really {KEY}", KEY) == "bad key ***, really ***"
    assert keys.hide("text", None) == "text"


def test_without_the_client_the_engine_says_what_to_install(make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(UserError, match=r"pip install 'selfevo\[openai\]'") as caught:
        make("http://127.0.0.1:1/v1").generate([ask()])
    assert "\n" not in str(caught.value)


def test_a_policy_that_keeps_no_messages_is_refused_before_anything_starts() -> None:
    with pytest.raises(SpecErrors) as caught:
        spec.read(["engine=openai", "model=scripted", "engine.model=x", "stages.train=null", "loop.main.do=[rollout,score,evaluate]"])
    assert [line for line in caught.value.lines if "policy 'solver' (selfevo.models.Scripted) keeps no messages" in line]
    assert [line for line in caught.value.lines if "use model=endpoint" in line]


def test_a_policy_behind_an_endpoint_cannot_be_trained() -> None:
    with pytest.raises(SpecErrors, match="has no weights to train"):
        spec.read(["engine=openai", "model=endpoint", "engine.model=x"])
