"""Paired comparison, the gate part and adoption: hand-worked numbers, pairing, budgets."""

from __future__ import annotations

import random
from itertools import product

import pytest

from selfevo.errors import UserError
from selfevo.memories import AdoptWithinBudget, Memory, Paired, paired
from selfevo.memories.paired import sign_test
from selfevo.verifiers.paired import PairedGate

OLD = [1.0, 0.0, 0.0, 1.0, 1.0]
NEW = [1.0, 1.0, 1.0, 0.0, 1.0]


def memory_of(n: int) -> Memory:
    memory = Memory("skills", {"a.md": "0"})
    for i in range(1, n):
        memory.add({"a.md": str(i)})
    return memory


def test_counts_gain_and_p_by_hand(probe):
    # two wins, one loss, two ties; p = P(X >= 2 | 3 tosses) = (3 + 1) / 8
    assert paired(probe({"000000": OLD, "000001": NEW}), "skills") == Paired("000000", "000001", 2, 1, 2, 0, 0, 0.2, 0.5)


@pytest.mark.parametrize("n", range(8))
def test_the_sign_test_equals_enumeration_of_all_tosses(n):
    for wins in range(n + 1):
        assert sign_test(wins, n - wins) == sum(sum(tosses) >= wins for tosses in product((0, 1), repeat=n)) / 2**n


def test_swapping_the_versions_swaps_wins_and_losses_and_the_sign(probe):
    rows = probe({"000000": OLD, "000001": NEW})
    there, back = paired(rows, "skills", before="000000", after="000001"), paired(rows, "skills", before="000001", after="000000")
    assert (back.wins, back.losses, back.mean_gain) == (there.losses, there.wins, -there.mean_gain)
    assert back.p == 7 / 8  # P(X >= 1 | 3 tosses)


def test_the_order_of_rows_does_not_matter_once_the_versions_are_named(probe):
    rows = probe({"000000": OLD, "000001": NEW})
    shuffled = random.Random(1).sample(rows, len(rows))
    assert paired(shuffled, "skills", before="000000", after="000001") == paired(rows, "skills")


def test_rows_without_a_reward_are_counted_apart(probe):
    result = paired(probe({"000000": [1, None, 0, 1], "000001": [None, 1, 1, 1]}), "skills")
    assert (result.wins, result.losses, result.ties, result.errors, result.dropped, result.mean_gain) == (1, 0, 1, 1, 1, 0.5)


def test_the_baseline_is_what_the_probe_ran_first_even_if_it_is_the_newer_version(probe):
    assert paired(probe({"000004": OLD, "000002": NEW}), "skills").before == "000004"


def test_samples_of_one_task_pair_by_their_number(probe):
    from dataclasses import replace

    rows = probe({"000000": [1, 0], "000001": [0, 1]})
    same = rows[0].trajectory.task
    rows = [replace(r, trajectory=replace(r.trajectory, task=same, keys={"sample": str(i // 2)})) for i, r in enumerate(rows)]
    assert (paired(rows, "skills").wins, paired(rows, "skills").losses) == (1, 1)


def test_unpaired_rows_and_wrong_numbers_of_versions_are_refused(probe):
    rows = probe({"000000": OLD, "000001": NEW})
    with pytest.raises(UserError, match="1 of the probe's rows have no partner"):
        paired(rows[:-1], "skills")
    with pytest.raises(UserError, match="needs rows under two versions, found 000000"):
        paired(rows[::2], "skills")
    with pytest.raises(UserError, match=r"did not read memory 'skils'.*did you mean 'skills'"):
        paired(rows, "skils")


def test_the_gate_gives_each_row_its_gain_and_keeps_the_order(ctx, probe):
    rows = probe({"000000": OLD, "000001": NEW})
    gated = PairedGate("skills", "score")(rows, ctx)
    assert [r.trajectory.id for r in gated] == [r.trajectory.id for r in rows]
    assert [r.reward("gate") for r in gated] == [0, 0, 0, 1, 0, 1, 0, -1, 0, 0]
    assert [r.score.info.get("gate/outcome") for r in gated[1::2]] == ["tie", "win", "win", "loss", "tie"]
    assert gated[1].score.info["gate/wins"] == "2" and [r.reward("score") for r in gated] == [r.reward("score") for r in rows]
    assert (ctx.metrics["gate/wins"], ctx.metrics["gate/mean_gain"], ctx.metrics["gate/p"]) == (2, 0.2, 0.5)


def test_the_gate_abstains_where_a_side_is_missing_and_names_an_unknown_reward(ctx, probe):
    gated = PairedGate("skills", "score")(probe({"000000": [1, None], "000001": [None, 1]}), ctx)
    assert [r.score.statuses["gate"] for r in gated] == ["ok", "abstain", "abstain", "abstain"]
    assert [r.reward("gate") for r in gated] == [0.0, None, None, None]
    with pytest.raises(UserError, match="no part before it gives the reward 'exact'"):
        PairedGate("skills", "exact")(probe({"000000": OLD, "000001": NEW}), ctx)


def test_a_probe_of_one_version_gains_nothing_and_adopts_nothing(ctx, probe):
    rows = probe({"000000": OLD})
    assert [r.reward("gate") for r in PairedGate("skills", "score")(rows, ctx)] == [0.0] * 5
    assert AdoptWithinBudget().update(memory_of(2), rows, ctx) is None and ctx.metrics["gate/candidates"] == 0


@pytest.mark.parametrize("budget, adopted", [(0, False), (1, True), (None, True)])
def test_a_gain_is_adopted_only_within_the_regression_budget(ctx, probe, budget, adopted):
    rows, memory = probe({"000000": OLD, "000001": NEW}), memory_of(2)
    version = AdoptWithinBudget(max_losses=budget).update(memory, rows, ctx)
    assert version == (memory.resolve("000001") if adopted else None) and ctx.metrics["gate/adopted"] == adopted
    assert memory.version.id == "000000"  # promoting is the stage's business


def test_the_least_gain_is_exceeded_strictly_so_that_no_change_is_never_adopted(ctx, probe):
    assert AdoptWithinBudget().update(memory_of(2), probe({"000000": OLD, "000001": OLD}), ctx) is None
    rows = probe({"000000": [0.0] * 4, "000001": [1.0, 0.0, 0.0, 0.0]})  # mean gain 0.25
    assert AdoptWithinBudget(min_gain=0.25).update(memory_of(2), rows, ctx) is None
    assert AdoptWithinBudget(min_gain=0.24).update(memory_of(2), rows, ctx) is not None


def test_the_reverse_of_an_adopted_change_is_rejected(ctx, probe):
    memory = memory_of(2)
    memory.promote("000001")
    rows = probe({"000001": NEW, "000000": OLD})
    assert AdoptWithinBudget(max_losses=None).update(memory, rows, ctx) is None


def test_among_passing_candidates_the_largest_gain_wins_and_a_larger_one_over_budget_does_not(ctx, probe):
    rewards = {"000000": [0.0, 0.0, 0.0, 0.0, 1.0], "000001": [1.0, 0, 0, 0, 1], "000002": [1.0, 1, 0, 0, 1], "000003": [1.0, 1, 1, 1, 0]}
    assert AdoptWithinBudget().update(memory_of(4), probe(rewards), ctx).id == "000002"
    assert AdoptWithinBudget(max_losses=1).update(memory_of(4), probe(rewards), ctx).id == "000003"
    assert ctx.metrics["gate/candidates"] == 3


def test_chance_wins_can_be_refused_by_p(ctx, probe):
    rows = probe({"000000": [0.0] * 4, "000001": [1.0] * 4})  # p = 1/16
    assert AdoptWithinBudget(max_p=0.05).update(memory_of(2), rows, ctx) is None
    assert AdoptWithinBudget(max_p=0.07).update(memory_of(2), rows, ctx).id == "000001"


def test_a_new_error_is_a_loss_unless_errors_are_dropped(ctx, probe):
    rows = probe({"000000": [0.0, 0.0, 1.0], "000001": [1.0, 1.0, None]})
    assert AdoptWithinBudget().update(memory_of(2), rows, ctx) is None
    assert AdoptWithinBudget(errors="drop").update(memory_of(2), rows, ctx).id == "000001"


def test_no_candidate_is_no_version_and_a_probe_without_the_current_version_is_refused(ctx, probe):
    assert AdoptWithinBudget().update(memory_of(1), probe({"000000": OLD}), ctx) is None
    with pytest.raises(UserError, match="no rows under the current version 000000"):
        AdoptWithinBudget().update(memory_of(3), probe({"000001": OLD, "000002": NEW}), ctx)
