"""SPIRAL: the running baseline of (game, seat), its identities, discounts, dropped moves, and whole games."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from method_bench import Named, columns, gradient
from real_runs import run_in

from selfevo import spec
from selfevo.advantages import Decay, Nonzero, Raw, RunningBaseline, Times
from selfevo.objectives import ClippedRatio, PolicyGradient
from selfevo.records import Row, Sample, Task, Trajectory, Turn


def games(results: list[tuple[float, float]], moves: tuple[int, int] = (2, 1), name: str = "nim", start: int = 0):
    """Samples and rows of games that paid so; seats 0 and 1 made `moves` moves in each."""
    samples, rows = [], []
    for g, paid in enumerate(results, start):
        for seat, count in enumerate(moves):
            for k in range(count):
                keys = {"game": name, "seat": str(seat), "turn": str(k), "left": str(count - 1 - k)}
                ident = f"{name}{g}.{seat}.{k}"
                turn = Turn("policy", "1", (17, 2), (-1.0, -0.1), (3, 17, 2, 4), "solver@000000", finish="stop")
                row = Row.of(Trajectory(ident, Task({"deal": g}), "solver", "solver@000000", (turn,), f"{name}{g}", keys))
                rows.append(row.rewarded("score", paid[seat]))
                columns_ = {"mask": (1.0, 1.0), "temperature": 1.0, "logp:sampler": (-1.0, -0.1)}
                samples.append(Sample(ident, (17, 2), {"train": (3, 17, 2, 4)}, columns_, keys, row=len(rows) - 1))
    return samples, rows


def spiral(**changes) -> RunningBaseline:
    return RunningBaseline(**{"by": ["game", "seat"], "decay": 0.95, "start": 0.0, "use": "before", "per": "episode", **changes})


def baselines(made: RunningBaseline) -> dict[tuple[str, ...], float]:
    return {tuple(key): value for key, value in made.state_dict()["baselines"]}


def test_after_one_game_won_the_baseline_is_a_twentieth_and_the_advantage_was_one():
    made = spiral()
    assert columns(made, *games([(1.0, -1.0)])) == [1.0, 1.0, -1.0]  # not 0.95
    assert baselines(made) == pytest.approx({("nim", "0"): 0.05, ("nim", "1"): -0.05})
    paper = spiral(use="after")
    assert columns(paper, *games([(1.0, -1.0)])) == pytest.approx([0.95, 0.95, -0.95])


def test_game_by_game_as_written_down_once_more():
    rng = random.Random(4)
    results = [(r := rng.choice([1.0, -1.0, 0.0]), -r) for _ in range(40)]
    moves = (3, 2)
    mine, b = [], {0: 0.0, 1: 0.0}
    for paid in results:
        for seat in (0, 1):
            mine += [paid[seat] - b[seat]] * moves[seat]
            b[seat] = 0.95 * b[seat] + 0.05 * paid[seat]  # once for each game, however many moves it had
    made = spiral()
    halves = columns(made, *games(results[:15], moves)) + columns(made, *games(results[15:], moves, start=15))
    assert halves == pytest.approx(mine, abs=1e-12)


def test_in_a_zero_sum_game_the_baselines_of_the_seats_are_opposite():
    made, rng = spiral(), random.Random(1)
    for g in range(30):
        r = rng.choice([1.0, -1.0, 0.0])
        columns(made, *games([(r, -r)], start=g))
        b = baselines(made)
        assert b["nim", "0"] == -b["nim", "1"]
    columns(made, *games([(-1.5, 0.5)], start=99))  # an illegal move is not zero-sum
    b = baselines(made)
    assert b["nim", "0"] != -b["nim", "1"]


def test_without_a_baseline_it_is_reinforce():
    samples, rows = games([(1.0, -1.0), (-1.0, 1.0), (-1.5, 0.5)])
    assert columns(spiral(decay=0.0, start=0.0), *games([(1.0, -1.0)])) == columns(Raw(), *games([(1.0, -1.0)]))
    none = {"A": Raw()}  # b = 0
    clipped = gradient(samples, rows, {"pg": ClippedRatio("A", old="old", reduce="sum")}, none)
    plain = gradient(samples, rows, {"pg": PolicyGradient("A", reduce="sum")}, none)
    assert torch.allclose(clipped, plain, atol=1e-12)


def test_the_advantage_of_the_first_seat_vanishes_in_the_mean():
    w, rng = 0.8, random.Random(0)
    made = spiral()
    results = [(1.0, -1.0) if rng.random() < w else (-1.0, 1.0) for _ in range(6000)]
    found = columns(made, *games(results, (1, 1)))
    means = [sum(found[seat::2][500:]) / 5500 for seat in (0, 1)]
    assert means == pytest.approx([0.0, 0.0], abs=0.03)
    raw = columns(Raw(), *games(results, (1, 1)))
    assert [sum(raw[seat::2]) / 6000 for seat in (0, 1)] == pytest.approx([2 * w - 1, 1 - 2 * w], abs=0.03)


def test_games_have_baselines_of_their_own_and_state_survives():
    made = spiral()
    columns(made, *games([(1.0, -1.0)] * 3))
    columns(made, *games([(-1.0, 1.0)], name="poker"))
    assert set(baselines(made)) == {("nim", "0"), ("nim", "1"), ("poker", "0"), ("poker", "1")}
    again = spiral()
    again.load_state_dict(made.state_dict())
    assert columns(again, *games([(0.0, 0.0)])) == columns(made, *games([(0.0, 0.0)]))


def test_the_discount_counts_the_turns_that_follow():
    samples, rows = games([(1.0, -1.0)], (3, 2))
    assert columns(Decay(0.5), samples, rows) == [0.25, 0.5, 1.0, 0.5, 1.0]
    assert columns(Decay(1.0), samples, rows) == [1.0] * 5
    assert columns(Decay(0.0), samples, rows) == [0.0, 0.0, 1.0, 0.0, 1.0]
    scaled = [s.with_columns(A=2.0, d=d) for s, d in zip(samples, columns(Decay(0.5), samples, rows), strict=True)]
    assert columns(Times(["A", "d"]), scaled, rows) == [0.5, 1.0, 2.0, 1.0, 2.0]


def test_moves_without_an_advantage_are_dropped_from_the_mean_too():
    samples, rows = games([(0.0, 0.0), (1.0, -1.0)])  # a draw at b = 0
    made = {"turns": spiral(), "live": Nonzero("turns")}
    dropped = gradient(samples, rows, {"pg": ClippedRatio("turns", old="old", reduce="rows", where="live")}, made)
    kept_samples, kept_rows = games([(1.0, -1.0)])
    alone = gradient(kept_samples, kept_rows, {"pg": ClippedRatio("turns", old="old", reduce="rows")}, {"turns": spiral()})
    assert torch.allclose(dropped, alone, atol=1e-12)
    assert columns(Nonzero("a"), [replace(s, columns={"a": (0.0, 0.0)}) for s in samples[:1]], rows) == [0.0]
    assert columns(Nonzero("a"), [replace(s, columns={"a": (0.0, 1e-9)}) for s in samples[:1]], rows) == [1.0]


def test_the_experiments_say_what_the_card_says():
    made = spec.read(["+experiment=spiral"])
    advantage = spec.build(made.raw["optimizer"]).advantage
    outcome = advantage["outcome"]
    assert (outcome.by, outcome.decay, outcome.start, outcome.use, outcome.per) == (("game", "seat"), 0.95, 0.0, "before", "episode")
    assert made.raw["optimizer"]["epochs"] == 2 and "kl" not in made.raw["optimizer"]["objective"]
    strategy = spec.build(made.raw["rollout"])
    assert strategy.illegal == (-1.5, 0.5) and strategy.max_turns == 50
    assert strategy._read("so \\boxed{4}, or rather \\boxed{5}") == "5"
    assert columns(Raw(), *games([(1.0, -1.0)]), ctx=Named())


@pytest.mark.slow
def test_a_policy_that_never_saw_a_game_learns_to_make_legal_moves(tmp_path: Path):
    done = run_in(tmp_path, ["+experiment=tiny/spiral", "scale.iterations=6", "scale.eval_every=6", "scale.eval_samples=1"])
    illegal = done.metric("score", "score/illegal")
    assert illegal[0] > 0.3 > illegal[-1]
    won = done.metric("evaluate", "eval/nim/pass@1")
    assert won[-1] > won[0]
    rows = done.rows("main.0", "score")
    ended = [r for r in rows if r.trajectory.status == "failed"]
    assert ended and all(r.reward("payoff") == -1.5 and r.reward("illegal") == 1.0 for r in ended)
    assert {r.trajectory.keys["seat"] for r in rows} == {"0", "1"}
