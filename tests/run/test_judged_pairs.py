"""Rollouts that judge: every pair of a group in both orders; a judge that is asked again until it can be read."""

from __future__ import annotations

import pytest
from scripted_specs import EXACT, POLICY, engine

from selfevo.errors import SpecErrors


def body(judge, **stages):
    return {
        "policies": {"solver": POLICY, "judge": POLICY},
        "roles": {"solver": {"policy": "solver"}, "judge": {"policy": "judge", "prompt": "duel"}},
        "prompts": {"solve": "Q {question}", "duel": "{question}: {first} or {second}", "grade": "grade {response}"},
        "engine": engine(**{"Q 2+2": ["#### 4", "#### 5", "#### 4"], "Q 1+1": "#### 2", **judge}),
        "stages": {
            "rollout": {"kind": "rollout", "role": "solver", "tasks": "curriculum", "n": 2, "group": 3},
            "score": {"kind": "score", "of": "rollout", "verifier": EXACT},
            **stages,
        },
        "loop": {"main": {"repeat": 1, "do": ["rollout", "score", *stages]}},
    }


def duels(**tasks):
    return {"kind": "rollout", "role": "judge", "tasks": {"compare": "score", **tasks}}


def won():
    part = {"_target_": "selfevo.verifiers.Preference", "table": "duel"}
    trust = {"_target_": "selfevo.verifiers.Agreement", "judge": "won", "reference": "exact"}
    return {"kind": "score", "of": "score", "using": ["duel"], "verifier": {"won": part, "trust": trust}}


FAIR = {"#### 4 or #### 5": "[[A]]", "#### 5 or #### 4": "[[B]]", "#### 4 or #### 4": "[[C]]", "#### 2 or #### 2": "[[C]]"}


def test_pairs_of_a_group_are_judged_in_both_orders(run_of):
    run, lines = run_of(body(FAIR, duel=duels(), decide=won()))
    asked = run.world.rows("duel", "main.0")
    assert len(asked) == 2 * 3 * 2  # two groups of three rows: three pairs each, in both orders
    assert {(t.vars["second_id"], t.vars["first_id"]) for t in (r.trajectory.task for r in asked)} == {
        (t.vars["first_id"], t.vars["second_id"]) for t in (r.trajectory.task for r in asked)
    }
    decided = run.world.rows("decide", "main.0")
    by_answer = sorted((r.trajectory.task.vars["question"], r.trajectory.text, r.reward("won")) for r in decided)
    assert [share for _, _, share in by_answer] == [0.5, 0.5, 0.5, 0.75, 0.75, 0.0]
    metrics = lines[-1]["metrics"]
    assert metrics["judge/won/contradicted"] == 0.0 and metrics["judge/won/ties"] == 4 / 6
    assert metrics["agreement/trust/rate"] == 1.0


def test_a_judge_with_a_place_bias_is_seen(run_of):
    _, lines = run_of(body({" or ": "[[A]]"}, duel=duels(), decide=won()))
    metrics = lines[-1]["metrics"]
    assert metrics["judge/won/contradicted"] == metrics["judge/won/first"] == metrics["judge/won/ties"] == 1.0


def test_one_order_only(run_of):
    run, _ = run_of(body({" or ": "[[A]]"}, duel=duels(swap=False, where={"exact": 1}), decide=won()))
    assert len(run.world.rows("duel", "main.0")) == 1 + 3


def test_comparing_takes_no_keys_of_other_modes(checked):
    with pytest.raises(SpecErrors, match="does not go with `compare`"):
        checked(body(FAIR, duel=duels(by=["task"])))


def test_a_judge_is_asked_again_until_it_can_be_read(run_of):
    retry = {"_target_": "selfevo.rollouts.Retry", "pattern": "<score>", "tries": 3}
    grade = {"kind": "rollout", "role": "judge", "tasks": {"follow": "score"}, "prompt": "grade", "strategy": retry}
    run, _ = run_of(body({"grade #### 2": ["hm", "well", "<score>9</score>"], "grade": "never"}, grade=grade))
    rows = run.world.rows("grade", "main.0")
    by_answer = {r.trajectory.task.vars["response"]: r.trajectory for r in rows}
    read, unread = by_answer["#### 2"], by_answer["#### 5"]
    assert unread.keys["tries"] == "3" and unread.text == "never"
    assert unread.cost.discarded_tokens == 2 * unread.cost.generated_tokens > 0 and unread.cost.calls == 3
    assert read.text in ("hm", "well", "<score>9</score>")
