"""SDPO (arXiv:2601.20802): who is shown to the teacher, the divergence, its weights, and that nothing of it leaks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import log

import pytest
import torch
from leaks import fitted, sampled_contexts, trained_contexts
from learner_bench import make_samples, near, sampled, tiny_policy
from method_bench import Named, gradient
from real_runs import run_in

from selfevo.errors import UserError
from selfevo.learner import Learner
from selfevo.objectives import Distill
from selfevo.records import Row, Task, Trajectory, Turn
from selfevo.samples import PeerContext

ALPHAS = {0.0: {"divergence": "forward"}, 0.5: {"divergence": "jsd", "weight": 0.5}, 1.0: {"divergence": "reverse"}}


class Given:
    """A batch of one token per row whose distributions are given, float64. `S` and `T` [B, V] are log-probs, `y` [B] the tokens."""

    def __init__(self, S, T, y=None, **columns):
        self.S, self.T, self.y, self.columns = S, T, y, columns
        self.logp = S.gather(1, y[:, None]) if y is not None else S[:, :1]
        self.mask = torch.ones_like(self.logp).detach()

    def need(self, name):
        if name in self.columns:
            return self.columns[name]
        if name.startswith("logp"):
            return self.T.gather(1, self.y[:, None])
        return {"student": self.S.unsqueeze(1), "teacher": self.T.unsqueeze(1)}

    def value(self, number):
        return float(number)


def distributions(rows=6, vocabulary=5, seed=0):
    torch.manual_seed(seed)
    logits = torch.randn(2, rows, vocabulary, dtype=torch.float64) * 3
    return logits[0].requires_grad_(), logits[1].log_softmax(-1)


def loss(S, T, **settings):
    return Distill(k=None, **settings).loss(Given(S, T), {}).squeeze(1)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_alpha_is_the_papers_divergence(alpha):
    logits, T = distributions()
    S = logits.log_softmax(-1)
    p, q = S.exp(), T.exp()
    M = ((1 - alpha) * p + alpha * q).log()
    expected = (1 - alpha) * (p * (S - M)).sum(-1) + alpha * (q * (T - M)).sum(-1)
    if alpha in (0.0, 1.0):
        expected = (q * (T - S)).sum(-1) if alpha == 0 else (p * (S - T)).sum(-1)
    assert torch.allclose(loss(S, T, **ALPHAS[alpha]), expected, atol=1e-12)


def test_any_alpha_between_is_the_mixture():
    logits, T = distributions()
    S = logits.log_softmax(-1)
    for alpha in (0.1, 0.3, 0.9):
        M = ((1 - alpha) * S.exp() + alpha * T.exp()).log()
        expected = (1 - alpha) * (S.exp() * (S - M)).sum(-1) + alpha * (T.exp() * (T - M)).sum(-1)
        assert torch.allclose(loss(S, T, divergence="jsd", weight=alpha), expected, atol=1e-12)


def test_alpha_one_half_is_symmetric_and_at_most_ln_2():
    for seed in range(20):
        logits, T = distributions(seed=seed)
        S = logits.detach().log_softmax(-1)
        one, other = loss(S, T, divergence="jsd"), loss(T, S, divergence="jsd")
        assert torch.allclose(one, other, atol=1e-12) and one.max() <= log(2) and one.min() > 0
    apart = torch.tensor([[0.0, -60.0], [-60.0, 0.0]], dtype=torch.float64).log_softmax(-1)
    assert torch.allclose(loss(apart, apart.flip(1), divergence="jsd"), torch.full((2,), log(2), dtype=torch.float64))


def test_the_reverse_gradient_is_the_logit_level_policy_gradient_and_the_mean_of_the_sampled_one():
    logits, T = distributions()
    S = logits.log_softmax(-1)
    (exact,) = torch.autograd.grad(loss(S, T, divergence="reverse").sum(), logits, retain_graph=True)
    formula = (S.exp() * (S - T)).detach()  # weight of grad log p_S(v)
    (by_hand,) = torch.autograd.grad((formula * S).sum(), logits, retain_graph=True)
    mean = torch.zeros_like(logits)
    for v in range(logits.shape[1]):
        batch = Given(S, T, torch.full((len(S),), v))
        drawn = Distill(divergence="sampled").loss(batch, {}).squeeze(1)
        mean += torch.autograd.grad((S[:, v].exp().detach() * drawn).sum(), logits, retain_graph=True)[0]
    assert torch.allclose(exact, by_hand, atol=1e-12) and torch.allclose(exact, mean, atol=1e-12)


def test_the_sampled_loss_is_reinforce_with_the_log_ratio_as_advantage():
    logits, T = distributions()
    S, y = logits.log_softmax(-1), torch.tensor([0, 1, 2, 3, 4, 0])
    (ours,) = torch.autograd.grad(Distill(divergence="sampled").loss(Given(S, T, y), {}).sum(), logits, retain_graph=True)
    A = (T.gather(1, y[:, None]) - S.gather(1, y[:, None])).detach()
    (theirs,) = torch.autograd.grad(-(A * S.gather(1, y[:, None])).sum(), logits)
    assert torch.allclose(ours, theirs)


def test_token_weights_are_capped_clamped_and_detached():
    logits, T = distributions(4)
    S = logits.log_softmax(-1)
    gap = torch.tensor([[-1.0], [0.5], [5.0], [90.0]], dtype=torch.float64)  # log pi_theta - log pi_old
    old, sampler = S[:, :1].detach() - gap, S[:, :1].detach() - gap - 0.4
    given = {"logp:old": old, "logp:sampler": sampler}
    plain = Distill(k=None).loss(Given(S, T), {})
    w = gap.exp().clamp(max=2)
    assert torch.allclose(Distill(k=None, old="old").loss(Given(S, T, **given), {}), w * plain)
    both = Distill(k=None, old="old", truncate=1.2).loss(Given(S, T, **given), {})
    assert torch.allclose(both, w * 1.2 * plain)  # e^0.4 is above 1.2
    uncapped = Distill(k=None, old="old", cap=float("inf")).loss(Given(S, T, **given), {})
    assert uncapped[3].item() == pytest.approx(plain[3].item() * 4.85e8, rel=1e-3)  # e^20: the log ratio itself is clamped
    (slope,) = torch.autograd.grad(both.sum(), logits, retain_graph=True)
    (weighted,) = torch.autograd.grad((w * 1.2 * plain).sum(), logits)
    assert torch.allclose(slope, weighted)
    with pytest.raises(UserError, match="truncate"):
        Distill(truncate=2.0)


@pytest.mark.parametrize("settings", [*ALPHAS.values(), {"divergence": "sampled"}], ids=str)
def test_an_empty_template_and_a_teacher_that_is_the_student_give_zero(settings):
    samples = [s.with_context("teacher", s.contexts["train"]) for s in make_samples(4)]
    for k, tail in ((None, True), (5, True), (5, False)):
        term = {"d": Distill(k=k, side="student", tail=tail, **settings)}
        assert gradient(samples, [], term).abs().max() < 1e-9


def test_the_tail_bounds_the_full_divergence_from_below_and_without_it_both_sides_are_renormalised():
    samples = [s.with_context("teacher", (5, *s.contexts["train"], 6)) for s in make_samples(3)]

    def value(**settings):
        ctx = Named()
        Learner({"g": given(samples)}, {"d": Distill(side="student", divergence="reverse", **settings)}, lr=0.0).update(
            tiny_policy(dtype=torch.float64), [], ctx
        )
        return ctx.metrics["train/d"]

    full, cut, bare, every = value(k=None), value(k=4), value(k=4, tail=False), value(k=23, tail=False)
    assert 0 < cut <= full + 1e-9 and bare != pytest.approx(cut)
    assert every == pytest.approx(full, abs=1e-6)  # with all of the vocabulary there is nothing to renormalise


def test_the_trust_region_teacher_lies_between_the_reference_and_the_present_weights():
    base = near(tiny_policy(dtype=torch.float64), 0.1)
    samples = [s.with_context("teacher", (5, *s.contexts["train"], 6)) for s in make_samples(3)]

    def of(**settings):
        ctx = Named({"solver@base": base})
        return gradient(samples, [], {"d": Distill(k=None, divergence="forward", **settings)}, ctx=ctx)

    far, close = of(to="solver@base"), of(to="live")
    assert torch.allclose(of(to="solver@base", trust=0.0), far, atol=1e-12)
    assert torch.allclose(of(to="solver@base", trust=1.0), close, atol=1e-12)
    between = of(to="solver@base", trust=0.5)
    assert not torch.allclose(between, far, atol=1e-4) and not torch.allclose(between, close, atol=1e-4)
    with pytest.raises(UserError, match="trust"):
        Distill(trust=0.1, k=20)


def given(samples):
    class Builder:
        def build(self, rows, ctx):
            return samples

    return Builder()


# -- the teacher's context -----------------------------------------------------------------------------------------------------


@dataclass
class Ctx:
    name: str = "train"
    logged: dict = field(default_factory=dict)

    def value(self, number):
        return float(number)

    def log(self, name, value):
        self.logged[name] = value

    def progress(self, done, total, what):
        assert 0 < done <= total

    def open(self, role, task, prompt=None, **variables):
        return tuple(f"{prompt}|{task.vars['q']}|{'|'.join(variables.values())}".encode())


def rows_of(scores, feedback=None, group="g"):
    rows = []
    for i, score in enumerate(scores):
        turn = Turn("policy", f"<think>x</think>reply {group}{i}", (10 + i, 3), (-1.0, -2.0), (1, 2), "solver@0", finish="stop")
        t = Trajectory(f"{group}{i}", Task({"q": group}), "solver", "solver@0", (turn,), f"e{i}", {"group": group})
        rows.append(Row.of(t).rewarded("score", score, feedback=(feedback or {}).get(i)))
    return rows


def shown(rows, **settings):
    """{sample id: what the teacher reads}."""
    samples = PeerContext("solver", **settings).build(rows, Ctx())
    assert all(s.contexts["train"] == (1, 2) and s.response == rows[s.row].trajectory.turns[0].tokens for s in samples)
    assert all(s.columns["logp:sampler"] == (-1.0, -2.0) for s in samples)  # what is trained on did not change
    return {s.id: bytes(s.contexts["teacher"]).decode() for s in samples}


def test_the_first_other_success_is_shown():
    found = shown(rows_of([0, 1, 0, 1]), forget="<think>.*?</think>")
    assert found == {f"g{i}": f"solve_peer|g|reply g{3 if i == 1 else 1}" for i in range(4)}


def test_a_lone_success_is_masked_and_teaches_the_others():
    found = shown(rows_of([0, 0, 1]))
    assert set(found) == {"g0", "g1"}


def test_feedback_steps_in_where_there_is_no_peer_or_comes_first():
    rows = rows_of([0, 1, 0], {0: "step 2 wrong", 1: "right", 2: ""})
    assert set(shown(rows)) == {"g0", "g2"}
    both = shown(rows, feedback="revise")
    assert both["g1"] == "revise|g|<think>x</think>reply g1|right" and both["g0"].startswith("solve_peer")
    assert shown(rows, feedback="revise", first="feedback")["g0"] == "revise|g|<think>x</think>reply g0|step 2 wrong"
    assert shown(rows, feedback="revise", first="feedback")["g2"].startswith("solve_peer")  # empty feedback is none


def test_groups_threshold_and_length():
    rows = rows_of([1, 0], group="a") + rows_of([0, 0], group="b")
    assert set(shown(rows)) == {"a1"}
    assert set(shown(rows_of([0.4, 0.6, 0.5]))) == {"g0", "g1", "g2"}
    assert set(shown(rows_of([0.4, 0.6, 0.5]), threshold=0.6)) == {"g0", "g2"}
    assert shown(rows, longest=3) == {}
    assert shown(rows_of([1])) == {}  # a group of one has no other


def test_a_group_without_success_and_feedback_contributes_exactly_nothing():
    policy = tiny_policy(dtype=torch.float64)
    drawn = sampled(make_samples(6), policy)
    rows = rows_of([1, 1, 0], group="a") + rows_of([0, 0, 0], group="b")
    rows = [replace(r, trajectory=replace(r.trajectory, turns=(turn_of(s),))) for r, s in zip(rows, drawn, strict=True)]

    class Small(Ctx):
        def open(self, role, task, prompt=None, **variables):
            return (5, 6, 7)

    samples = PeerContext("solver").build(rows, Small())
    assert [s.row for s in samples] == [0, 1, 2]
    nothing = Learner({"p": PeerContext("solver")}, {"d": Distill()}).update(tiny_policy(), rows[3:], small := BenchCtx())
    assert nothing is None and small.metrics["train/no_context"] == 3


def turn_of(s):
    return Turn("policy", "reply", s.response, s.columns["logp:sampler"], s.contexts["train"], "solver@0", finish="stop")


class BenchCtx(Named):
    def open(self, role, task, prompt=None, **variables):
        return (5, 6, 7)


def test_micro_batches_and_padding_change_no_gradient():
    base = tiny_policy(dtype=torch.float64)
    samples = [s.with_context("teacher", (5, 6, *s.contexts["train"][: 1 + i % 2])) for i, s in enumerate(sampled(make_samples(6), base))]
    term = {"d": Distill(to="solver@ema", divergence="jsd", k=6, side="student", old="old", truncate=2.0)}
    teacher = near(tiny_policy(dtype=torch.float64), 0.05)

    def of(order, **settings):
        ctx = Named({"solver@ema": teacher})
        return gradient([samples[i] for i in order], [], term, policy=tiny_policy(dtype=torch.float64), ctx=ctx, **settings)

    whole = of(range(6))
    assert torch.allclose(whole, of(range(6), micro_tokens=20), atol=1e-12)
    assert torch.allclose(whole, of([3, 1, 5, 0, 2, 4]), atol=1e-12) and whole.abs().max() > 1e-4


def test_the_teacher_may_not_be_trained_on():
    with pytest.raises(UserError, match="only the teacher may read"):
        PeerContext("solver", context="train")


@pytest.mark.slow
def test_what_the_teacher_reads_reaches_neither_training_nor_evaluation(tmp_path):
    run = run_in(tmp_path / "run", ["experiment=tiny/sdpo", "scale=tiny", "task=chain_sum", "eval=chain_sum", "scale.group=8"])
    samples = [s for i in (0, 1) for s in fitted(run, f"main.{i}")]
    assert samples and all("peer" in text for text in trained_contexts(run, samples, "teacher"))
    for text in trained_contexts(run, samples):
        assert "peer" not in text and "####" not in text
    for path, stage in (("main.0", "rollout"), ("main.1", "rollout"), ("start", "evaluate"), ("main.1", "evaluate")):
        assert not any("peer" in text or "####" in text for text in sampled_contexts(run, path, stage))
