"""Multi-Agent Evolve: rewards of the three roles by hand, role by role normalisation, one update of all, collusion in sight."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from method_bench import Named, columns, gradient, scored
from real_runs import run_in

from selfevo import spec
from selfevo.advantages import Raw, Whiten
from selfevo.objectives import ClippedRatio
from selfevo.records import Lineage, Row, Task, Trajectory, Turn
from selfevo.verifiers import verify


@pytest.fixture(scope="module")
def paper():
    return spec.read(["+experiment=mae"])


def stage(paper, name: str):
    return spec.build(paper.stages[name])


def said(text: str, name: str = "p", parent: str | None = None, role: str = "proposer", **rewards: float) -> Row:
    task = Task({"q": name}, lineage=Lineage("follow", parent))
    row = Row.of(Trajectory(name, task, role, "agent@0", (Turn("policy", text),), "e"))
    for reward, value in rewards.items():
        row = row.rewarded(reward, value)
    return row


def judged(parts, row: Row, tables: dict[str, list[Row]]) -> Row:
    def ctx(name: str):
        named = Named()
        named.name = name
        named.rows = tables.__getitem__
        return named

    return verify(parts, [row], ctx)[0]


def proposal(paper, quality: float, answers: list[float], text: str = "<question>q</question>") -> float:
    tables = {"reviews": [said("", "r", "p", score=quality)], "attempted": [said("", f"a{i}", "p", score=a) for i, a in enumerate(answers)]}
    reward = judged(stage(paper, "proposals").verifier, said(text), tables).reward("score")
    assert reward is not None
    return reward


@pytest.mark.parametrize("quality", [0.0, 1 / 3, 0.69, 0.7, 1.0])
@pytest.mark.parametrize("answers", [[0.0] * 5, [0.5, 1.0], [1.0]])
def test_the_proposers_reward_is_the_cards(paper, quality, answers):
    difficulty = 1 - sum(answers) / len(answers)
    expected = quality / 3 + (difficulty / 3 if quality >= 0.7 else 0) + 1 / 3
    assert proposal(paper, quality, answers) == pytest.approx(expected)
    assert 0 <= proposal(paper, quality, answers) <= 1 + 1e-12


def test_the_step_at_the_gate_is_exactly_a_third_of_the_difficulty(paper):
    below, at = proposal(paper, math.nextafter(0.7, 0), [0.25]), proposal(paper, 0.7, [0.25])
    assert at - below == pytest.approx(0.75 / 3, abs=1e-12)


def test_format_of_a_proposal_and_one_without_a_question(paper):
    one, two = proposal(paper, 1.0, [0.0]), proposal(paper, 1.0, [0.0], "<question>a</question> <question>b</question>")
    assert one - two == pytest.approx(0.5 / 3)
    assert proposal(paper, 1.0, [0.0], "What is one and one?") == 0.0
    assert proposal(paper, 1.0, [0.0], "<question>never closed") == 0.0


@pytest.mark.parametrize("marks, text, reward", [
    ([1.0, 0.0], "<answer>4</answer>", 0.75), ([1.0], "4", 0.5), ([], "<answer>4</answer>", 0.75), ([0.0], "<answer>4", 0.0),
])  # fmt: skip
def test_the_solvers_reward_is_half_judgement_half_format(paper, marks, text, reward):
    """Without a judgement that can be read the mean counts as 1/2."""
    tables = {"assessed": [said("", f"j{i}", "s", score=m) for i, m in enumerate(marks)]}
    row = judged(stage(paper, "solutions").verifier, said(text, "s", role="solver"), tables)
    assert row.reward("score") == reward


@pytest.mark.parametrize("text, reward", [
    ("<think>x</think><score>10</score>", 1.0), ("<score>3</score> or <score>4</score>", 0.5), ("ten", 0.0), ("<score>1", 0.0),
])  # fmt: skip
def test_the_judges_reward_is_format_alone(paper, text, reward):
    assert judged(stage(paper, "judged").verifier, said(text, role="judge"), {}).reward("score") == reward


def test_scores_run_from_one_to_ten(paper):
    part = stage(paper, "reviews").verifier
    found = [judged(part, said(f"<score>{n}</score>", role="judge"), {}).reward("mark") for n in (1, 4, 7, 10)]
    assert found == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert judged(part, said("no score", role="judge"), {}).reward("mark") is None


def test_only_good_questions_enter_the_pool(paper):
    pool = spec.build(paper.sources["questions"])
    rows = [said("<question>q1</question>", quality=0.69), said("<question>q2</question>", quality=0.7)]
    assert [row.reward("quality") for row in pool.where.select(rows)] == [0.7]
    pool.update(rows, Named())
    assert len(pool) == 1


# the update


def roles(by_role: dict[str, list[float]]):
    """Samples and rows whose role is the group's name."""
    samples, rows = scored(by_role)
    return samples, [replace(r, trajectory=replace(r.trajectory, role=r.group)) for r in rows]


def whiten(**changes) -> Whiten:
    return Whiten(**{"by": ["role"], "count": "tokens", "std": "sample", "eps": 1e-8, **changes})


def test_roles_of_constant_but_different_rewards_learn_nothing_apart_and_something_together():
    samples, rows = roles({"solver": [0.2] * 3, "judge": [1.0] * 4})
    assert columns(whiten(), samples, rows) == [0.0] * 7
    assert all(a != 0 for a in columns(whiten(by=[]), samples, rows))


def test_one_role_is_reinforce_pp():
    samples, rows = roles({"solver": [0.0, 1.0, 0.5, 0.5, 1.0]})
    assert columns(whiten(), samples, rows) == columns(whiten(by=[]), samples, rows)
    objective = {"pg": ClippedRatio("A", old="old")}
    assert torch.equal(gradient(samples, rows, objective, {"A": whiten()}), gradient(samples, rows, objective, {"A": whiten(by=[])}))


def test_roles_that_agree_in_mean_and_deviation_are_the_same_together():
    samples, rows = scored({"a": [0.0, 1.0]})
    twice = [*samples, *(replace(s, id=f"b{s.id}", row=s.row + 2) for s in samples)]
    both = [*rows, *(replace(r, trajectory=replace(r.trajectory, id=f"b{r.trajectory.id}", role="judge")) for r in rows)]
    population = {"std": "population", "eps": 0.0}
    assert columns(whiten(**population), twice, both) == pytest.approx(columns(whiten(by=[], **population), twice, both))


def test_masked_whitening_over_the_tokens_of_a_role_by_hand():
    samples, rows = roles({"solver": [0.0, 1.0, 0.3], "judge": [0.9, 0.1]})
    raw = columns(Raw(), samples, rows)
    found = columns(whiten(), samples, rows)
    for role in ("solver", "judge"):
        mine = [i for i, s in enumerate(samples) if rows[s.row].trajectory.role == role]
        tokens = torch.cat([torch.full((len(samples[i].response),), raw[i], dtype=torch.float64) for i in mine])
        by_hand = [(raw[i] - tokens.mean().item()) / (tokens.std(unbiased=True).item() + 1e-8) for i in mine]
        assert [found[i] for i in mine] == pytest.approx(by_hand, abs=1e-12)


def test_the_update_does_not_depend_on_micro_batches_or_on_the_order_of_roles():
    samples, rows = roles({"solver": [0.0, 1.0, 0.3], "judge": [0.9, 0.1], "proposer": [0.4, 0.6]})
    objective = {"pg": ClippedRatio("A", old="old")}
    whole = gradient(samples, rows, objective, {"A": whiten()})
    assert torch.allclose(gradient(samples, rows, objective, {"A": whiten()}, micro_tokens=16), whole, atol=1e-10)
    assert torch.allclose(gradient(samples[::-1], rows, objective, {"A": whiten()}), whole, atol=1e-10)


def test_all_three_batches_make_one_update(paper):
    assert paper.stages["train"]["from"] == ["proposals", "solutions", "judged"]
    assert [s for s, node in paper.stages.items() if node["kind"] == "train"] == ["train"]
    assert {role.policy for role in paper.roles.values()} == {"agent"}


@pytest.mark.slow
def test_three_roles_of_one_policy_learn_in_one_step(tmp_path: Path):
    done = run_in(tmp_path, ["+experiment=tiny/mae", "scale=tiny", "scale.iterations=1"])
    counts = [len(done.rows("main.0", name)) for name in ("proposals", "solutions", "judged")]
    assert done.metric("train", "train/rows") == [float(sum(counts))] and done.metric("train", "train/steps") == [1.0]
    trained = done.rows("main.0", "proposals")
    assert all(0 <= r.reward("score") <= 1 for r in trained)
    solutions = done.rows("main.0", "solutions")
    assert {r.trajectory.task.lineage.origin for r in solutions} <= {"proposed", "chain_sum"}


@pytest.mark.slow
def test_a_proposer_that_writes_no_question_earns_nothing_and_the_run_goes_on(tmp_path: Path):
    done = run_in(tmp_path, ["+experiment=tiny/mae", "scale=tiny", "scale.iterations=1", "roles.proposer.prompt=solve"])
    assert done.metric("propose", "rollout/trajectories")[0] == done.metric("attempts", "rollout/unparsed")[0] == 4.0
    assert done.metric("proposals", "score/score") == [0.0]
    assert len(done.metric("evaluate", "eval/chain_sum/pass@1")) == 2
