"""HGM (arXiv:2510.21614): clade counts, the two samplers, the widening rule and the final pick; a simulator of lineages."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from statistics import mean

import pytest
from real_runs import run_in

from selfevo.curricula import Archive
from selfevo.curricula.archive import beta_quantile
from selfevo.errors import UserError
from selfevo.memories import BestBelief, Edits, Memory
from selfevo.records import Row, Task, Trajectory, Turn, Version
from selfevo.tasks import ChainSum


class Ctx:
    """A stage over a tree given as {version: parent}."""

    name, path = "nodes", "main.0"

    def __init__(self, tree, seed=0, held_out=()):
        self.tree, self.seed, self.held_out, self.logged = tree, seed, frozenset(held_out), {}

    def versions(self, name):
        return [Version("programs", v, () if parent is None else (parent,), "text") for v, parent in self.tree.items()]

    def rng(self, *key):
        return random.Random(f"{self.seed}{key}")

    def log(self, name, value):
        self.logged[name] = value


def row(node, ok, task):
    turns = (Turn("policy", f"reply {ok}"),)
    return Row.of(Trajectory(f"{node}{task.id}", task, "a", "p@0", turns, "e", {}, {"programs": node})).rewarded("score", float(ok))


def archive(pick="evaluate", **settings):
    return Archive("programs", pick, ChainSum(levels=[3]), **{"size": 40, **settings})


def tell(archive, ctx, outcomes):
    """Outcomes {node: [1, 0, ...]} on the first tasks of the list."""
    archive.sample(1, ctx)
    for node, found in outcomes.items():
        archive.update([row(node, ok, task) for ok, task in zip(found, archive._list, strict=False)], ctx)


TREE = {"0": None, "1": "0", "2": "0", "3": "1", "4": "3"}
OUTCOMES = {"0": [1, 0, 0], "1": [1, 1], "2": [0], "3": [1, 0, 1, 1]}


def test_a_clade_is_a_node_with_all_its_descendants_and_the_roots_is_everything_ever():
    one, ctx = archive(), Ctx(TREE)
    tell(one, ctx, OUTCOMES)
    assert one.clades(ctx.versions("")) == {"0": (6, 4), "1": (5, 1), "2": (0, 1), "3": (3, 1), "4": (0, 0)}
    assert sum(one.clades(ctx.versions(""))["0"]) == one.n == 10


def test_in_a_tree_of_leaves_only_clade_counts_are_own_counts_so_both_samplers_have_one_law():
    leaves = {"1": None, "2": None, "3": None}
    outcomes = {"1": [1, 0, 0], "2": [1, 1, 0, 0, 0], "3": [1]}
    picks = {}
    for pick in ("evaluate", "expand"):
        one = archive(pick, alpha=9.0)
        tell(one, Ctx(leaves), outcomes)
        assert one.clades(Ctx(leaves).versions("")) == {v: one.own(v) for v in leaves}
        picks[pick] = [one.sample(1, Ctx(leaves, seed))[0].vars["node"] for seed in range(40)]
    assert Counter(picks["evaluate"]).keys() == Counter(picks["expand"]).keys()
    # the same generator gives the same draws of theta, so even the choices agree
    assert picks["evaluate"] == picks["expand"]


def test_reading_clades_touches_no_list_of_outcomes():
    one, ctx = archive("expand"), Ctx(TREE)
    tell(one, ctx, OUTCOMES)
    before = json.dumps(one.state_dict())
    for _ in range(5):
        one.clades(ctx.versions(""))
        one.sample(3, ctx)
    assert json.dumps(one.state_dict()) == before and one.own("0") == (1, 2)


def test_at_alpha_zero_growth_stops_at_the_root_and_two_children():
    tree, one = {"0": None}, archive("expand", alpha=0.0)
    tell(one, Ctx(tree), {"0": [1]})
    for turn in range(6):
        for _ in one.sample(1, Ctx(tree, turn)):
            tree[str(len(tree))] = "0"
    assert len(tree) == 3


@pytest.mark.parametrize("n, nodes, due", [(0, 1, 0), (8, 1, 4), (8, 4, 1), (8, 5, 0), (27, 5, 4)])
def test_the_widening_rule_counts_what_is_pending(n, nodes, due):
    """N^0.6: 8 -> 3.48, 27 -> 7.22; expand while it is at least nodes - 1 + pending."""
    one, tree = archive("expand", alpha=0.6), {str(i): None if not i else "0" for i in range(nodes)}
    tell(one, Ctx(tree), {"0": [1] * n})
    assert len(one.sample(20, Ctx(tree))) == due
    assert due == (max(0, math.floor(n**0.6) - (nodes - 1) + 1) if n else 0)


def test_the_first_children_come_at_once_when_the_root_has_solved_something():
    tree = {"0": None}
    one = archive("expand", alpha=0.0, initial=5)
    tell(one, Ctx(tree), {"0": [0, 0]})
    assert one.sample(20, Ctx(tree)) == []
    tell(one, Ctx(tree), {"0": [1]})
    assert len(one.sample(20, Ctx(tree))) == 5


def test_nodes_without_a_success_or_without_outcomes_have_no_children():
    one, ctx = archive("expand", alpha=9.0), Ctx(TREE)
    tell(one, ctx, OUTCOMES)
    chosen = {task.vars["node"] for seed in range(60) for task in one.sample(1, Ctx(TREE, seed))}
    assert chosen <= {"0", "1", "3"} and "4" not in chosen


def test_by_its_own_score_a_node_gets_no_credit_for_its_descendants():
    tree, outcomes = {"0": None, "1": "0", "2": "0", "3": "1"}, {"1": [1] + [0] * 9, "2": [1] * 4 + [0] * 6, "3": [1] * 30}
    counts = {}
    for clade in (True, False):
        one = archive("expand", alpha=9.0, clade=clade)
        tell(one, Ctx(tree), outcomes)
        known = one.clades(Ctx(tree).versions("")) if clade else {v: one.own(v) for v in tree}
        counts[clade] = Counter(one._thompson({v: known[v] for v in ("1", "2")}, random.Random(seed)) for seed in range(200))
        assert one.sample(1, Ctx(tree))[0].vars["node"] in ("1", "2", "3")
    assert counts[True]["1"] > counts[True]["2"] and counts[False]["2"] > counts[False]["1"]


def test_an_unseen_task_is_drawn_once_for_a_node_and_none_is_left_at_the_end():
    one, tree = archive(size=3), {"0": None, "1": "0"}
    tasks = one.sample(99, Ctx(tree))
    assert len(tasks) == 6 and len({(t.id, t.vars["node"]) for t in tasks}) == 6
    one.update([row(t.vars["node"], 1, t) for t in tasks], Ctx(tree))
    assert one.sample(5, Ctx(tree)) == []


def test_in_fixed_order_the_next_unseen_task_is_tried():
    one, tree = archive(random_level=0.0), {"0": None}
    one.sample(1, Ctx(tree))
    assert [t.id for t in one.sample(4, Ctx(tree))] == [t.id for t in one._list[:4]]


def test_the_budget_counts_task_evaluations():
    one, tree = archive(budget=5), {"0": None}
    assert len(one.sample(9, Ctx(tree))) == 5
    tell(one, Ctx(tree), {"0": [1, 0, 1]})
    assert len(one.sample(9, Ctx(tree))) == 2
    tell(one, Ctx(tree), {"0": [1, 0]})
    assert one.sample(9, Ctx(tree)) == []


def test_held_out_tasks_are_left_out_of_the_list():
    one, tree = archive(size=5), {"0": None}
    ids = [t.id for t in one.sample(99, Ctx(tree))]
    other = archive(size=5)
    assert not set(ids[:2]) & {t.id for t in other.sample(99, Ctx(tree, held_out=ids[:2]))} and len(other._list) == 5


def test_a_sharp_tau_is_greedy_on_the_posterior_mean():
    tree = {"0": None, "1": "0", "2": "0"}
    one = archive(cooldown=1.0, budget=40)
    tell(one, Ctx(tree), {"0": [1, 0, 0, 0], "1": [1, 1, 0], "2": [1, 1, 1, 1, 0, 0, 0]})
    means = {v: (1 + s) / (2 + s + f) for v in tree for s, f in [one.own(v)]}
    counts = {v: one.own(v) for v in tree}
    one.budget = one.n  # at N = B, tau is 10000
    assert {one._thompson(counts, random.Random(i)) for i in range(30)} == {max(means, key=means.get)}
    one.budget = 28  # tau = (28 / 14)^1 = 2
    drawn = random.Random(1)
    theta = {v: drawn.betavariate(2 * (1 + s), 2 * (1 + f)) for v, (s, f) in counts.items()}
    assert one._thompson(counts, random.Random(1)) == max(theta, key=theta.get)


def test_a_node_with_very_many_outcomes_enters_as_so_many_of_its_mean():
    one, ctx = archive(pseudo=4), Ctx({"0": None, "1": "0"})
    tell(one, ctx, {"0": [1, 0] * 5, "1": [1, 1, 0]})
    assert one.clades(ctx.versions("")) == {"0": (2 + 2, 2 + 1), "1": (2, 1)}


def test_the_archive_survives_a_restart_and_refuses_another_state():
    one, other, ctx = archive(), archive(), Ctx(TREE)
    tell(one, ctx, OUTCOMES)
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    assert other.sample(7, ctx) == one.sample(7, ctx) and other.n == one.n
    with pytest.raises(ValueError, match="not the state of an Archive"):
        other.load_state_dict({"outcomes": {}})
    with pytest.raises(UserError, match="expected 'evaluate' or 'expand'"):
        archive("both")


# -- the final pick -----------------------------------------------------------------------------------------------------------


def test_the_quantile_of_a_beta_distribution():
    assert beta_quantile(1, 1, 0.3) == pytest.approx(0.3)
    assert beta_quantile(3, 1, 0.05) == pytest.approx(0.05 ** (1 / 3))
    assert beta_quantile(1, 4, 0.2) == pytest.approx(1 - 0.8**0.25)
    rng = random.Random(0)
    draws = sorted(rng.betavariate(7, 4) for _ in range(20000))
    assert beta_quantile(7, 4, 0.1) == pytest.approx(draws[2000], abs=0.01)


def test_much_certainty_beats_a_high_mean_of_few_tries(tmp_path):
    memory = Memory("programs")
    for n in range(2):
        memory.add({"a": str(n)})
    ctx = Ctx({})
    few, many = [row("000001", 1, Task({"q": i})) for i in range(2)], [row("000002", i < 18, Task({"q": i})) for i in range(20)]
    assert BestBelief(0.05).update(memory, few + many, ctx).id == "000002"  # 2 of 2 against 18 of 20
    assert BestBelief(0.95).update(memory, few + many, ctx).id == "000001"
    assert BestBelief().update(memory, [], ctx) is None


def test_a_child_is_made_of_the_version_its_author_read():
    memory, ctx = Memory("programs"), Ctx({})
    memory.add({"a.md": "text"}, ("000000",))
    said = json.dumps([{"action": "ADD", "name": "b", "content": "new"}])
    reply = Row.of(Trajectory("t", Task({"q": 1}), "author", "p@0", (Turn("policy", said),), "e", {}, {"programs": "000001"}))
    (child,) = Edits(parent="read").update(memory, [reply], ctx)
    assert child.parents == ("000001",) and sorted(memory.at(child.id)) == ["a.md", "b.md"] and memory.version.id == "000000"


# -- simulator: nodes have a skill and a productivity that their children inherit ------------------------------------------------


def searched(clade, seed, rounds=30):
    """Mean skill of the final pick when some lineages bring forth better children than others."""
    rng = random.Random(seed)
    tree, skill, gift = {"0": None}, {"0": 0.3}, {"0": 0.0}
    settings = {"size": 60, "budget": 4 * rounds, "alpha": 0.6}
    grow, test, seen = archive("expand", clade=clade, **settings), archive("evaluate", **settings), {}
    for turn in range(rounds):
        ctx = Ctx(dict(tree), f"{seed}{turn}")
        for task in grow.sample(2, ctx):
            parent, child = task.vars["node"], f"{len(tree):06d}"
            gift[child] = gift[parent] if parent != "0" else rng.choice([-0.08, 0.08])  # a lineage's own productivity
            tree[child], skill[child] = parent, min(0.95, max(0.05, skill[parent] + gift[child] + rng.gauss(0, 0.08)))
        ctx = Ctx(dict(tree), f"{seed}{turn}t")
        rows = [row(t.vars["node"], rng.random() < skill[t.vars["node"]], t) for t in test.sample(4, ctx)]
        for one in (grow, test):
            one.update(rows, ctx)
        for r in rows:
            seen.setdefault(r.trajectory.memories["programs"], []).append(r.reward("score"))
    return skill[max(seen, key=lambda v: beta_quantile(1 + int(sum(seen[v])), 1 + len(seen[v]) - int(sum(seen[v])), 0.05))]


def test_where_productivity_varies_between_lineages_clades_do_not_do_worse_than_own_scores():
    clade, own = ([searched(which, seed) for seed in range(10)] for which in (True, False))
    assert mean(clade) >= mean(own) - 0.05  # the property, up to the noise of 10 searches
    assert mean(clade) > 0.35


@pytest.mark.slow
def test_a_run_grows_a_tree_and_spends_its_budget(tmp_path):
    sizes = ["scale=tiny", "scale.workers=6", "scale.iterations=6", "scale.eval_every=3", "nodes.budget=30", "parents.budget=30"]
    run = run_in(tmp_path / "run", ["+experiment=tiny/hgm", *sizes])
    assert run.run.world.history["archive/evaluations"][-1] == 30
    versions = run.run.world.lineages.versions["programs"]
    assert len(versions) > 2 and all(v.parents for v in list(versions.values())[1:])
    nodes = {r.trajectory.memories["programs"] for i in range(5) for r in run.rows(f"main.{i}", "judged")}
    assert len(nodes) > 1 and run.run.world.lineages.aliases["programs"]["best"] in nodes
