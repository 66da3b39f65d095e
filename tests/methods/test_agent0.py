"""Agent0: the identities of ADPO and of the proposer's reward, in the paper's form and the code's; proposals that cannot be read."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from method_bench import Named, Plain, columns, gradient, scored, slope
from real_runs import run_in

from selfevo import spec
from selfevo.advantages import GroupNorm, Ramp, Times
from selfevo.errors import UserError
from selfevo.objectives import ClippedRatio
from selfevo.records import Lineage, Row, Task, Trajectory, Turn
from selfevo.tasks import Labelled
from selfevo.verifiers import Children, Count, MajorityShare, Repetition, Weighted, verify
from selfevo.verifiers.repetition import bleu


def scale_of(s: float, m: float = 0.6) -> float:
    """f(s) as the card writes it."""
    return m + (1 - m) * min(max((s - 0.3) / 0.5, 0), 1)


def upper_of(s: float, eps: float = 0.2, b: float = 0.1) -> float:
    return eps + b * min(max((0.8 - s) / 0.5, 0), 1)


def with_share(s: float | None):
    samples, rows = scored({"a": [1.0, 0.0, 0.0], "b": [1.0, 1.0, 0.0]})
    if s is None:
        return samples, rows
    from dataclasses import replace

    return samples, [replace(r, trajectory=replace(r.trajectory, task=Task({"share": s}, id=r.group))) for r in rows]


def adpo(samples, rows, m: float = 0.6, b: float = 0.1):
    made = {
        "outcome": GroupNorm(eps=1e-6),
        "scale": Ramp("share", 0.3, 0.8, m, 1.0),
        "upper": Ramp("share", 0.3, 0.8, 0.2 + b, 0.2),
        "scaled": Times(["outcome", "scale"]),
    }
    return {"pg": ClippedRatio("scaled", low=0.2, high="upper")}, made


@pytest.mark.parametrize("s", [0.0, 0.1, 0.3, 0.45, 0.55, 0.8, 0.95, 1.0])
def test_the_dynamic_factors_are_the_cards(s):
    samples, rows = with_share(s)
    assert columns(Ramp("share", 0.3, 0.8, 0.6, 1.0), samples, rows) == pytest.approx([scale_of(s)] * 6, abs=1e-12)
    assert columns(Ramp("share", 0.3, 0.8, 0.3, 0.2), samples, rows) == pytest.approx([upper_of(s)] * 6, abs=1e-12)


@pytest.mark.parametrize("s, scale, upper", [(0.8, 1.0, 0.2), (0.9, 1.0, 0.2), (0.3, 0.6, 0.3), (0.1, 0.6, 0.3)])
def test_both_ends_exactly(s, scale, upper):
    samples, rows = with_share(s)
    assert set(columns(Ramp("share", 0.3, 0.8, 0.6, 1.0), samples, rows)) == {scale}
    assert columns(Ramp("share", 0.3, 0.8, 0.3, 0.2), samples, rows) == pytest.approx([upper] * 6, abs=1e-15)


def test_without_scale_and_widening_it_is_grpo():
    samples, rows = with_share(0.4)
    objective, advantage = adpo(samples, rows, m=1.0, b=0.0)
    plain = gradient(samples, rows, {"pg": ClippedRatio("outcome", old="old", low=0.2, high=0.2)}, {"outcome": GroupNorm(eps=1e-6)})
    objective["pg"].old, objective["pg"].needs = "old", frozenset({"logp:old"})
    assert torch.equal(gradient(samples, rows, objective, advantage), plain)
    assert not torch.allclose(gradient(samples, rows, objective, adpo(samples, rows)[1]), plain)


def test_each_row_has_its_own_upper_clip():
    A, high = [1.0, 1.0, -1.0, 1.0], [0.2, 0.3, 0.3, 0.25]
    logp = torch.tensor([[1.25], [1.25], [1.35], [0.5]]).log()
    columns_ = {"A": A, "high": high}
    batch = Plain(logp, columns=columns_, logp_sampler=torch.zeros(4, 1))
    loss = ClippedRatio("A", high="high").loss(batch, {})
    by_hand = [max(-a * r, -a * min(max(r, 0.8), 1 + h)) for a, r, h in zip(A, [1.25, 1.25, 1.35, 0.5], high, strict=True)]
    assert loss.flatten().tolist() == pytest.approx(by_hand)
    moves = slope(ClippedRatio("A", high="high"), batch).flatten() != 0
    assert moves.tolist() == [False, True, True, True]
    same = Plain(logp, columns={**columns_, "high": [0.2] * 4}, logp_sampler=torch.zeros(4, 1))
    assert torch.equal(ClippedRatio("A", high="high").loss(same, {}), ClippedRatio("A", high=0.2).loss(same, {}))


def test_a_task_without_its_share_is_named_and_products_need_their_columns():
    samples, rows = with_share(None)
    with pytest.raises(UserError, match="has no number 'share'"):
        columns(Ramp("share", 0.3, 0.8, 0.6, 1.0), samples, rows)
    assert set(columns(Ramp("share", 0.3, 0.8, 0.6, 1.0, missing=0.8), samples, rows)) == {1.0}
    with pytest.raises(UserError, match="no column 'outcme'"):
        columns(Times(["outcme", "scale"]), samples, rows)


# the proposer's reward


def said(text: str, name: str, task: Task | None = None, group: str = "g") -> Row:
    return Row.of(Trajectory(name, task or Task({"q": "1"}), "solver", "p@0", (Turn("policy", text),), "e", keys={"group": group}))


def votes(answers: list[str], own: str | None = None, **settings) -> list[Row]:
    task = Task({"q": "1"}, answer=own, lineage=Lineage("proposed", "parent"))
    rows = [said(f"#### {a}" if a else "no idea", f"t{i}", task) for i, a in enumerate(answers)]
    return verify({"share": MajorityShare(**settings)}, rows, lambda name: _named(name))


def _named(name: str, tables: dict | None = None) -> Named:
    ctx = Named()
    ctx.name = name
    ctx.rows = lambda table: (tables or {})[table]
    return ctx


def test_the_share_is_that_of_the_largest_cluster_of_all_rows():
    rows = votes(["4", "4", "4", "5", "", "6", "4", "5", "", ""])
    assert {row.reward("share") for row in rows} == {0.4}
    assert rows[0].score.info["label"] == "4"
    assert {row.reward("share") for row in votes(["", ""])} == {0.0} and votes([""])[0].score.info == {}
    assert votes(["7"])[0].reward("share") == 1.0  # a group of one


def test_the_codes_form_wants_the_proposers_own_answer_and_more_than_a_tenth():
    assert votes(["4"] * 6 + ["5"] * 4, own="5", agree=True)[0].reward("share") == 0.0
    assert votes(["4"] * 6 + ["5"] * 4, own="4", agree=True)[0].reward("share") == 0.6
    assert votes([str(i) for i in range(10)], own="0", agree=True, above=0.1)[0].reward("share") == 0.0


@pytest.mark.parametrize("s", [0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0])
def test_the_base_reward_is_symmetric_and_highest_at_one_half(s):
    def paid(p: float, shape: str) -> float:
        child = [r.rewarded("share", p) for r in votes(["1"])]
        parent = said("", "parent")
        return Children("votes", "share", shape)([parent], _named("base", {"votes": child}))[0].reward("base")

    assert paid(s, "least") == pytest.approx(min(s, 1 - s)) == pytest.approx(paid(1 - s, "least"))
    assert paid(s, "half") == pytest.approx(1 - 2 * abs(s - 0.5)) == pytest.approx(2 * paid(s, "least"))
    assert paid(0.5, "least") == 0.5 >= paid(s, "least")


def repetition(texts: list[str], **settings) -> list[float]:
    rows = [said(t, f"t{i}") for i, t in enumerate(texts)]
    return [r.reward("repeated") for r in Repetition(**settings)(rows, _named("repeated"))]


def test_repetition_of_equal_and_of_unlike_questions():
    assert repetition(["a train leaves at noon, when does it arrive?"] * 7) == [1.0] * 7
    unlike = ["how many primes are there", "name a colour", "integrate the sine", "two dice show seven", "what is love"]
    assert repetition(unlike) == [1 / 5] * 5
    assert repetition(["one"]) == [1.0]
    near = ["the sum of three and four is what", "the sum of three and four is what now", *unlike]
    assert repetition(near) == pytest.approx([2 / 7] * 2 + [1 / 7] * 5)


def test_repetition_does_not_depend_on_the_order_and_ignores_what_cannot_be_read():
    texts = [f"{random.Random(i).randint(1, 4)}+{random.Random(-i).randint(1, 9)}+7=?" for i in range(12)]
    order = random.Random(1).sample(range(12), 12)
    mixed = repetition([texts[i] for i in order])
    assert [mixed[order.index(i)] for i in range(12)] == repetition(texts)
    assert repetition(["<q>a b c</q>", "nothing", "<q>a b c</q>"], pattern="<q>(.*)</q>") == [1.0, 0.0, 1.0]


def test_average_linkage_is_that_of_scipy():
    hierarchy = pytest.importorskip("scipy.cluster.hierarchy")
    import numpy as np

    from selfevo.verifiers.repetition import cluster_sizes

    rng = random.Random(3)
    texts = sorted({"".join(rng.choice("abc") + " " for _ in range(rng.randint(4, 7))) for _ in range(24)})
    words = [t.split() for t in texts]
    apart = np.array([[0 if i == j else 1 - (bleu(a, b) + bleu(b, a)) / 2 for j, b in enumerate(words)] for i, a in enumerate(words)])
    for distance in (0.3, 0.5, 0.7):
        tree = hierarchy.linkage(apart[np.triu_indices(len(texts), 1)], "average")
        labels = hierarchy.fcluster(tree, distance - 1e-12, "distance").tolist()
        assert cluster_sizes(texts, [1] * len(texts), distance) == {t: labels.count(x) for t, x in zip(texts, labels, strict=True)}


def test_bleu_by_hand():
    assert bleu(list("abcd"), list("abcd")) == pytest.approx(1.0)
    assert bleu(list("abcde"), list("abcd")) == pytest.approx((4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25)
    assert bleu(list("abcd"), list("abcdef")) == pytest.approx(2.718281828 ** (1 - 6 / 4))
    assert bleu(list("abcd"), list("wxyz")) == pytest.approx((0.1 / 4 * 0.1 / 3 * 0.1 / 2 * 0.1) ** 0.25)
    assert bleu([], ["a"]) == 0.0


def test_the_codes_form_of_the_whole_reward():
    """R = min(s, 1 - s) - rep + 0.05 min(N, 4), and -1 in place of the first where nothing can be read."""
    good, bad = said("q ```output 1``` ```output 2```", "parent"), said("I cannot " + "```output" * 9, "other")
    child = [r.rewarded("share", 0.7) for r in votes(["1"])]
    parts = {
        "base": Children("votes", "share", "least", childless=-1.0),
        "repeated": Repetition(pattern="^q"),
        "tool": Count("```output", most=4),
        "score": Weighted({"base": 1.0, "repeated": -1.0, "tool": 0.05}),
    }
    rows = verify(parts, [good, bad], lambda name: _named(name, {"votes": child}))
    assert rows[0].reward("score") == pytest.approx(0.3 - 1.0 + 0.05 * 2)
    assert rows[1].reward("score") == pytest.approx(-1.0 + 0.05 * 4)


def test_the_papers_form_has_a_floor_and_a_gate():
    made = spec.read(["+experiment=agent0"])
    parts = spec.build(made.stages["reward"])
    child = [r.rewarded("share", 0.6).rewarded("calls", 2.0) for r in votes(["1"])]
    text = "<question>What is {}?</question> so \\boxed{{5}}"
    rows = [said(text.format("the sum of all digits"), "parent"), said("no question, \\boxed{5}", "x"), said(text.format("love"), "y")]
    judged = verify(parts.verifier, rows, lambda name: _named(name, {"votes": child}))
    assert judged[0].reward("score") == pytest.approx(1 - 2 * 0.1 + 0.05 * 2 - 0.5)
    assert judged[0].reward("sum") == judged[0].reward("score")
    assert [r.reward("score") for r in judged[1:]] == [0.0, 0.0]  # not readable; no attempts, and a penalty that the floor takes back


def test_labels_and_their_share_travel_with_the_task():
    row = votes(["4"] * 3 + ["5"], own="9")[3]
    proposal = Labelled().parse(row)
    assert proposal is not None
    task = Labelled().task(proposal)
    assert (task.answer, task.vars["share"], task.id) == ("4", 0.75, row.trajectory.task.id)
    assert task.lineage == Lineage("labelled", "parent")
    assert Labelled().parse(votes(["", ""])[0]) is None


def test_the_filter_keeps_the_window():
    made = spec.read(["+experiment=agent0"])
    pool = spec.build(made.sources["frontier"])
    kept = [s for s in (0.2, 0.3, 0.5, 0.8, 0.9) if pool.where.select([votes(["1"])[0].rewarded("share", s)])]
    assert kept == [0.3, 0.5, 0.8]


@pytest.mark.slow
def test_a_proposer_that_writes_nothing_readable_is_counted_and_the_run_goes_on(tmp_path: Path):
    done = run_in(tmp_path, ["+experiment=tiny/agent0", "scale=tiny", "scale.rounds=1", "roles.proposer.prompt=solve"])
    assert done.metric("attempts", "rollout/tasks")[0] == 0.0
    assert done.metric("attempts", "rollout/unparsed")[0] == done.metric("propose", "rollout/trajectories")[0]
    assert done.metric("reward", "score/score") == [0.0, 0.0]
    assert len(done.metric("evaluate", "eval/chain_sum/pass@1")) > 1  # the executor learned from the seed's tasks


@pytest.mark.slow
def test_the_window_and_the_labels_reach_the_executor(tmp_path: Path):
    done = run_in(tmp_path, ["+experiment=tiny/agent0", "scale=tiny", "scale.rounds=1", "scale.lessons=1"])
    tasks = [row.trajectory.task for row in done.rows("round.0/learn.1", "solve")]
    assert tasks and all(0.3 <= t.vars["share"] <= 0.8 for t in tasks)
    assert {t.lineage.origin for t in tasks} == {"labelled"}
