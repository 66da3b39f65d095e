"""The bundled policy: its tokenizer, template, size and format, the demonstrations it was trained on, and that help helps."""

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
from selfevo.records import Message

ROOT = Path(__file__).parents[1]
ASSETS = BUNDLED["tiny"]
END, USER, ASSISTANT, SYSTEM, NEWLINE = 2, 3, 4, 5, 6


def ids(text: str) -> list[int]:
    """The documented ids: newline is 6, then printable ASCII in order from 7."""
    return [NEWLINE if c == "\n" else 7 + ord(c) - 32 for c in text]


@pytest.fixture(scope="module")
def policy():
    return Pretrained("tiny").load("solver")


@pytest.fixture(scope="module")
def demos():
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        yield importlib.import_module("tiny_demos")
    finally:
        sys.path.remove(str(ROOT / "scripts"))


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


def test_same_seed_makes_the_same_demonstrations(demos):
    def some(seed):
        rng = random.Random(seed)
        return [demos.draw(rng) for _ in range(50)]

    assert some(1) == some(1)
    assert some(1) != some(2)


def test_steps_after_a_slip_follow_from_the_wrong_total(demos):
    rng, slips = random.Random(0), 0
    for _ in range(400):
        task = demos.FAMILIES["chain_sum"].draw(rng)
        solution = demos.attempt_sum(task, rng, demos.Care())
        totals = [line.split("=")[1] for line in solution.lines]
        starts = [line.split("=")[0] for line in solution.lines[1:]]
        assert all(start.startswith(total) for start, total in zip(starts, totals, strict=False))
        assert solution.answer == totals[-1]
        slips += sum(eval(line.replace("=", "==")) is False for line in solution.lines)
    assert 200 < slips < 500


def test_given_steps_and_full_care_never_slip(demos):
    rng = random.Random(1)
    for name, family in demos.FAMILIES.items():
        for _ in range(100):
            task = family.draw(rng)
            steps = family.steps(task)
            assert demos.ATTEMPT[name](task, rng, demos.Care(0.0)).lines == steps
            if name != "countdown":
                assert demos.ATTEMPT[name](task, rng, demos.Care(given=2)).lines[:2] == steps[:2]


def test_advice_makes_the_named_slip_rare_and_no_other(demos):
    none, carry = frozenset(), frozenset({"carry"})
    assert demos.slip_chance(27, "+", 5, carry)[0] == pytest.approx(0.15 * demos.CARRY)
    assert demos.slip_chance(27, "+", 5, none) == (demos.CARRY, -10)
    assert demos.slip_chance(32, "-", 5, carry) == (demos.BORROW, 10)
    assert demos.slip_chance(32, "+", 5, carry) == (demos.PLAIN, 0)


def test_wrong_solutions_are_wrong_and_gold_ones_right(demos):
    rng = random.Random(2)
    for family in demos.FAMILIES.values():
        for _ in range(60):
            task = family.draw(rng)
            assert demos.correct(task, demos.gold(task))
            slipped = demos.wrong(task, rng)
            assert slipped is None or not demos.correct(task, slipped)


def test_demonstrations_hold_only_known_characters(demos, policy):
    rng = random.Random(3)
    for _ in range(300):
        demo = demos.draw(rng)
        text = "".join(m.content for m in demo.messages) + demo.reply
        assert 1 not in ids(text)
        assert set(text) <= set("\n" + "".join(map(chr, range(32, 127))))


@pytest.fixture(scope="module")
def ask(policy):
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        return importlib.import_module("tiny_check").Asker(policy.model, policy.tokenizer)
    finally:
        sys.path.remove(str(ROOT / "scripts"))


def share(ask, demos, prompt: str, tasks, **more) -> float:
    check = importlib.import_module("tiny_check")
    chats = [demos.render(demos.PROMPTS[prompt], {**t.vars, **{k: v[i] for k, v in more.items()}}) for i, t in enumerate(tasks)]
    return sum(check.solved(t, text) for t, text in zip(tasks, ask(prompt, chats), strict=True)) / len(tasks)


def test_policy_is_mediocre_alone_and_better_with_a_hint_or_a_right_peer(ask, demos):
    family = demos.FAMILIES["chain_sum"]
    tasks = [family.draw(random.Random(i), level=3 + i % 3) for i in range(150)]
    alone = share(ask, demos, "solve", tasks)
    hinted = share(ask, demos, "solve_hint", tasks, hint=["\n".join(family.steps(t)[:2]) for t in tasks])
    led = share(ask, demos, "solve_peer", tasks, peer=[family.gold(t) for t in tasks])
    assert 0.1 < alone < 0.6
    assert hinted > alone + 0.1
    assert led > alone + 0.2


def test_rule_in_context_decides_what_an_operator_means(ask, demos):
    family = demos.FAMILIES["operators"]
    tasks = [family.draw(random.Random(i), level=1) for i in range(150)]
    assert share(ask, demos, "solve", tasks) < 0.35
    assert share(ask, demos, "solve_rule", tasks) > 0.5
