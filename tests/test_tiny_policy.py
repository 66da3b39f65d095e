"""The bundled policy: its tokenizer, template, size and format, and that help helps."""

from __future__ import annotations

import importlib
import json
import random
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfevo.models import BUNDLED, Pretrained
from selfevo.prompts import render
from selfevo.records import Message
from selfevo.tasks import ChainSum, Operators

ROOT = Path(__file__).parents[1]
ASSETS = BUNDLED["tiny"]
END, USER, ASSISTANT, SYSTEM, NEWLINE = 2, 3, 4, 5, 6


def ids(text: str) -> list[int]:
    """The documented ids: newline is 6, then printable ASCII in order from 7."""
    return [NEWLINE if c == "\n" else 7 + ord(c) - 32 for c in text]


@pytest.fixture(scope="module")
def policy():
    return Pretrained("tiny").load("solver").to_transformers()


def test_whole_policy_takes_at_most_six_megabytes():
    assert sum(path.stat().st_size for path in ASSETS.iterdir()) <= 6_000_000


def test_architecture_is_a_plain_qwen3_in_float32(policy):
    config = json.loads((ASSETS / "config.json").read_text())
    assert config["architectures"] == ["Qwen3ForCausalLM"]
    assert type(policy.model).__name__ == "Qwen3ForCausalLM"
    assert {str(p.dtype) for p in policy.model.parameters()} == {"torch.float32"}
    assert 900_000 < sum(p.numel() for p in policy.model.parameters()) < 1_100_000
    assert config["vocab_size"] == len(policy.tokenizer) == 102


def test_end_of_turn_is_the_end_token_of_model_and_tokenizer(policy):
    assert policy.model.generation_config.eos_token_id == policy.tokenizer.eos_token_id == END
    assert policy.model.generation_config.pad_token_id == policy.tokenizer.pad_token_id == 0


@given(text=st.text(st.sampled_from("\n" + "".join(map(chr, range(32, 127)))), max_size=60))
@settings(max_examples=150, deadline=None)
def test_ascii_text_is_one_documented_id_a_character_and_comes_back(policy, text):
    encoded = policy.tokenizer.encode(text, add_special_tokens=False)
    assert encoded == ids(text)
    assert policy.tokenizer.decode(encoded) == text


def test_other_characters_are_unknown(policy):
    assert policy.tokenizer.encode("aé", add_special_tokens=False) == [*ids("a"), 1]


def test_chat_template_gives_the_hand_written_ids(policy):
    chat = [Message("system", "a@b=a+b"), Message("user", "1@2=?"), Message("assistant", "1+2=3\n#### 3"), Message("user", " wrong ")]
    opening = [SYSTEM, *ids("a@b=a+b"), END, USER, *ids("1@2=?"), END, ASSISTANT]
    assert list(policy.codec.open(chat)) == [*opening, *ids("1+2=3\n#### 3"), END, USER, *ids(" wrong "), END, ASSISTANT]


def test_replies_follow_the_template_of_the_whole_conversation(policy):
    opening, reply, after = [Message("user", "1+2=?")], Message("assistant", "1+2=4"), [Message("user", "wrong")]
    whole = policy.codec.open([*opening, reply, *after])
    assert whole == (*policy.codec.open(opening), *ids("1+2=4"), END, *policy.codec.follow(after, ended=True))


@pytest.fixture(scope="module")
def check():
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        return importlib.import_module("tiny_check")
    finally:
        sys.path.remove(str(ROOT / "scripts"))


@pytest.fixture(scope="module")
def share(policy, check):
    """share(prompt, tasks, **more): the part of the tasks solved with that prompt at temperature 1."""
    ask = check.Asker(policy.model, policy.tokenizer)

    def solved(prompt: str, tasks, **more) -> float:
        chats = [render(check.PROMPTS[prompt], {**t.vars, **{k: v[i] for k, v in more.items()}}) for i, t in enumerate(tasks)]
        return sum(check.solved(t, text) for t, text in zip(tasks, ask(prompt, chats), strict=True)) / len(tasks)

    return solved


def test_policy_is_mediocre_alone_and_better_with_a_hint_or_a_right_peer(share):
    family = ChainSum()
    tasks = [family.draw(random.Random(i), level=3 + i % 3) for i in range(80)]
    alone = share("solve", tasks)
    assert 0.1 < alone < 0.65
    assert share("solve_hint", tasks, hint=["\n".join(family.steps(t)[:2]) for t in tasks]) > alone + 0.1
    assert share("solve_peer", tasks, peer=[family.gold(t) for t in tasks]) > alone + 0.2


def test_rule_in_context_decides_what_an_operator_means(share):
    family = Operators(levels=[1], world=None)
    tasks = [family.draw(random.Random(i)) for i in range(80)]
    assert share("solve", tasks) < 0.35
    assert share("solve_rule", tasks, rule=[t.vars["rule"] for t in tasks]) > 0.6
