"""Every optimizer config, through the real run: the reward rises when it is paid for, and falls when its opposite is.

Half of the first replies hold a lower-case letter. With 128 replies an iteration the standard error of a mean is at most 0.044.
"""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.slow

PLAIN = ["reinforce", "rloo", "reinforce_pp", "grpo", "dr_grpo", "gspo", "cispo", "ppo", "rejection_sft", "kto", "simpo"]
NO_WARMUP = ["optimizer.warmup_steps=0"]  # six steps are all there is
EXTRA = {"dpo": NO_WARMUP, "ipo": NO_WARMUP}
GAIN = 0.2
QUESTIONS = ("pppp", "qqqq")


def hits(run):
    return run.metric("score", "score/hit")


@pytest.mark.parametrize("name", [*PLAIN, *EXTRA])
def test_the_reward_rises_and_the_opposite_reward_makes_it_fall(bandit, name):
    extra = [f"optimizer={name}", *EXTRA.get(name, [])]
    run, back = bandit(*extra), bandit(*extra, "verifier=unwanted")
    wanted, unwanted = hits(run), hits(back)
    assert wanted[0] == unwanted[0]  # the same draws of the same policy
    assert wanted[-1] > wanted[0] + GAIN
    assert unwanted[-1] < unwanted[0] - GAIN
    if name in ("dpo", "ipo", "simpo"):  # terms on pairs watch how far the chosen one is ahead of the rejected one
        for one in (run, back):
            margins = one.metric("train", f"train/{name}/margin")
            assert margins[-1] > margins[0]
        assert name == "simpo" or margins[0] == pytest.approx(0, abs=1e-5)  # the reference is the policy itself


@pytest.mark.parametrize("verifier, sign", [("dapo_wanted", 1), ("dapo_unwanted", -1)])
def test_dapo_samples_until_enough_rows_have_a_signal_and_trains_on_those_alone(bandit, verifier, sign):
    iterations, most = 5, 10
    run = bandit("optimizer=dapo", "loop=filled", f"verifier={verifier}", f"scale.iterations={iterations}", "optimizer.lr=3e-2")
    assert sign * (hits(run)[-1] - hits(run)[0]) > GAIN
    scored = [line["path"].split("/")[0] for line in run.lines if line["stage"] == "score"]
    counts = [scored.count(f"main.{i}") for i in range(iterations)]
    assert counts[0] == 1  # half of the replies are right: one batch has 96 rows of mixed groups
    assert max(counts) > 1  # nearly all are, or nearly none: it takes more batches
    trained = run.metric("train", "train/rows")
    for i, count in enumerate(counts):
        batches = [[r for r in run.rows(f"main.{i}/fill.{k}", "score") if r.score.keep] for k in range(count)]
        assert sum(map(len, batches)) == trained[i]
        assert sum(map(len, batches[:-1])) < 96 and (trained[i] >= 96 or count == most)
        groups: dict[str, set[float]] = {}
        for row in (r for batch in batches for r in batch):
            groups.setdefault(row.group, set()).add(row.reward("exact"))
        assert all(rewards == {0.0, 1.0} for rewards in groups.values())


def demonstrated(bandit, tmp_path, loop, tasks, *overrides):
    """A run on recorded replies."""
    file = tmp_path / f"{len(list(tmp_path.iterdir()))}.jsonl"
    file.write_text("".join(json.dumps(task) + "\n" for task in tasks))
    fields = "{" + ",".join(f"{k}: {k}" for k in tasks[0]) + "}"
    data = ["task=jsonl", f"task.path={file}", f"task.fields={fields}", "task.levels=[]", "curriculum=epochs", "scale.tasks=2"]
    return bandit(f"loop={loop}", *data, *overrides)


def says(policy, question):
    from selfevo.engines import Native
    from selfevo.protocols import GenerateRequest, Sampling
    from selfevo.records import Message

    engine = Native()
    engine.load(policy)
    reply = engine.generate([GenerateRequest(policy.codec.open([Message("user", question)]), 0, Sampling(8, temperature=0.0))])[0]
    return reply.text, reply.finish


@pytest.mark.parametrize("words", [("abc", "zyx"), ("zyx", "abc")])
def test_sft_teaches_the_recorded_reply_to_each_question_and_where_to_stop(bandit, tmp_path, words):
    tasks = [{"question": q, "answer": w, "solution": w} for q, w in zip(QUESTIONS, words, strict=True)]
    run = demonstrated(bandit, tmp_path, "supervised", tasks, "optimizer=sft", "scale.iterations=30", "optimizer.lr=1e-2")
    losses = run.metric("train", "train/nll")
    assert losses[0] == pytest.approx(4.69, abs=0.05)  # ln 109: every token as likely as any other
    assert losses[-1] < 0.1
    policy = run.run.world.policies["solver"]
    assert [says(policy, q) for q in QUESTIONS] == [(w, "stop") for w in words]


@pytest.mark.parametrize("name", ["dpo", "ipo", "simpo", "kto"])
def test_recorded_preferences_turn_the_odds_of_the_two_replies(bandit, tmp_path, name):
    slow = ["scale.iterations=6", "optimizer.lr=4e-3"]  # IPO stops at a log-odds of 1 / (2 beta) = 5: a large step would pass it

    def odds(chosen, rejected):
        tasks = [{"question": q, "answer": "", "chosen": chosen, "rejected": rejected} for q in QUESTIONS]
        run = demonstrated(bandit, tmp_path, "preferences", tasks, f"optimizer={name}", *EXTRA.get(name, []), *slow)
        return margin(run.run.world.policies["solver"], "abc", "XYZ")

    assert odds("abc", "XYZ") > 1
    assert odds("XYZ", "abc") < -1


def margin(policy, one, other):
    """Log-odds of two replies to a question, each with its end token."""
    from selfevo.engines import Native
    from selfevo.protocols import ScoreRequest
    from selfevo.records import Message

    engine = Native()
    engine.load(policy)
    context = policy.codec.open([Message("user", QUESTIONS[0])])
    requests = [ScoreRequest(context, (*policy.codec.fragment(text), policy.tokenizer.eos_token_id)) for text in (one, other)]
    a, b = (float(scores.logprobs.sum()) for scores in engine.score(requests))
    return a - b
