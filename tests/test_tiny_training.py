"""How the bundled policy is trained: demonstrations that slip as documented, batches, Muon, and repeatable steps."""

from __future__ import annotations

import argparse
import importlib
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPTS = str(Path(__file__).parents[1] / "scripts")


def script(name: str):
    """A module of the scripts folder."""
    sys.path.insert(0, SCRIPTS)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(SCRIPTS)


@pytest.fixture(scope="module")
def solvers():
    return script("tiny_solvers")


@pytest.fixture(scope="module")
def demos():
    return script("tiny_demos")


@pytest.fixture(scope="module")
def training():
    return script("train_tiny")


@pytest.fixture(scope="module")
def tokenizer():
    return script("tiny_model").new_tokenizer()


def test_same_seed_makes_the_same_demonstrations(demos):
    def some(seed):
        rng = random.Random(seed)
        return [demos.draw(rng) for _ in range(50)]

    assert some(1) == some(1)
    assert some(1) != some(2)


def test_demonstrations_do_not_depend_on_the_process():
    code = "import random, tiny_demos; r = random.Random(0); print([tiny_demos.draw(r) for _ in range(200)])"
    paths = os.pathsep.join([SCRIPTS, str(Path(SCRIPTS).parent)])

    def said(hash_seed: str) -> bytes:
        env = {"PYTHONPATH": paths, "PYTHONHASHSEED": hash_seed}
        return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True).stdout

    assert said("1") == said("2") != b""


def test_steps_after_a_slip_follow_from_the_wrong_total(solvers):
    rng, slips = random.Random(0), 0
    for _ in range(400):
        task = solvers.FAMILIES["chain_sum"].draw(rng)
        solution = solvers.attempt_sum(task, rng, solvers.Care())
        totals = [line.split("=")[1] for line in solution.lines]
        starts = [line.split("=")[0] for line in solution.lines[1:]]
        assert all(start.startswith(total) for start, total in zip(starts, totals, strict=False))
        assert solution.answer == totals[-1]
        slips += sum(eval(line.replace("=", "==")) is False for line in solution.lines)
    assert 200 < slips < 500


def test_given_steps_and_full_care_never_slip(solvers):
    rng = random.Random(1)
    for name, family in solvers.FAMILIES.items():
        for _ in range(100):
            task = family.draw(rng)
            steps = family.steps(task)
            assert solvers.ATTEMPT[name](task, rng, solvers.Care(0.0)).lines == steps
            if name != "countdown":
                assert solvers.ATTEMPT[name](task, rng, solvers.Care(given=2)).lines[:2] == steps[:2]


def test_advice_makes_the_named_slip_rare_and_no_other(solvers):
    none, carry = frozenset(), frozenset({"carry"})
    assert solvers.slip_chance(27, "+", 5, carry)[0] == pytest.approx(solvers.ADVISED * solvers.CARRY)
    assert solvers.slip_chance(27, "+", 5, none) == (solvers.CARRY, -10)
    assert solvers.slip_chance(32, "-", 5, carry) == (solvers.BORROW, 10)
    assert solvers.slip_chance(32, "+", 5, carry) == (solvers.PLAIN, 0)


def test_wrong_solutions_are_wrong_and_gold_ones_right(solvers):
    rng = random.Random(2)
    for family in solvers.FAMILIES.values():
        for _ in range(60):
            task = family.draw(rng)
            assert solvers.correct(task, solvers.gold(task))
            slipped = solvers.wrong(task, rng)
            assert slipped is None or not solvers.correct(task, slipped)


def test_demonstrations_hold_only_known_characters(demos, tokenizer):
    rng = random.Random(3)
    for _ in range(300):
        demo = demos.draw(rng)
        text = "".join(m.content for m in demo.messages) + demo.reply
        assert tokenizer.unk_token_id not in tokenizer.encode(text)


def test_verdicts_are_yes_exactly_where_the_attempt_is_right(demos, solvers):
    rng, verdicts = random.Random(4), []
    for _ in range(400):
        task = solvers.FAMILIES["sorting"].draw(rng)
        demo = demos.demo_verify(task, rng)
        answer = demo.messages[0].content.splitlines()[-2]
        verdict = demo.reply.splitlines()[-1]
        assert demo.right == ((verdict == "#### yes") == (answer == f"#### {task.answer}"))
        verdicts.append(verdict == "#### yes")
    assert 0.4 < sum(verdicts) / len(verdicts) < 0.62


def test_only_the_reply_and_its_end_are_trained(demos, training, tokenizer):
    demo = demos.draw(random.Random(5))
    short = demos.Demo(demo.messages[:1], "#### 1", True)
    rows = [training.encode(demo, tokenizer), training.encode(short, tokenizer)]
    ids, mask = training.pad(rows, tokenizer.pad_token_id)
    for row, text, (whole, _) in zip(range(2), (demo.reply, short.reply), rows, strict=True):
        trained = ids[row, 1:][mask[row].bool()].tolist()
        assert tokenizer.decode(trained[:-1]) == text
        assert trained[-1] == tokenizer.eos_token_id
        assert ids[row, len(whole) :].eq(tokenizer.pad_token_id).all()


def test_orthogonal_brings_singular_values_near_one(training):
    x = torch.randn(3, 20, 50, generator=torch.Generator().manual_seed(0))
    for matrices in (x, x.mT):
        values = torch.linalg.svdvals(training.orthogonal(matrices))
        assert values.min() > 0.6
        assert values.max() < 1.3


@pytest.mark.slow
def test_equal_seeds_give_equal_weights_bit_for_bit(training, tokenizer):
    settings = argparse.Namespace(steps=3, mix="first", minutes=0.0, seed=5, tokens=400, lr=0.01, adamw=False, check=99.0, out=None)

    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        model = script("tiny_model").new_model(tokenizer)
        training.train(model, tokenizer, settings, final=0)
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))
