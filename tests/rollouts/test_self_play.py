"""Games in episodes: who moves, what is paid, what an illegal move does."""

from __future__ import annotations

import random

import pytest

from selfevo import seeds
from selfevo.environments import Nim, Perfect, RandomPlayer
from selfevo.errors import UserError
from selfevo.records import Row, Task
from selfevo.rollouts import SelfPlay
from selfevo.verifiers import FromEnvironment

TASK = Task({"question": "q", "deal": 0}, category="nim")


@pytest.fixture
def door(ctx):
    ctx.rng = lambda *key: random.Random(seeds.derive(0, *key))
    return ctx


def game(heap: int = 6) -> Nim:
    return Nim(stones=(heap, heap))


def by_key(trajectories, name):
    return [t.keys[name] for t in trajectories]


def test_one_policy_plays_both_seats(bench, voice, door, run):
    seat = bench(voice=voice(replies=["2", "3", "1"]))
    moves = run(SelfPlay().run(TASK, {"solver": seat}, game(), door))
    assert [by_key(moves, name) for name in ("seat", "turn", "left")] == [["0", "1", "0"], ["0", "0", "1"], ["1", "0", "0"]]
    assert by_key(moves, "final") == ["no", "yes", "yes"]
    assert [float(x) for x in by_key(moves, "env:reward")] == [1.0, -1.0, 1.0]
    assert {t.episode for t in moves} == {"e0"} and len({t.id for t in moves}) == 3
    assert {t.keys["game"] for t in moves} == {"nim"} and {t.status for t in moves} == {"finished"}
    assert seat.heard == {"observation": "nim 1", "seat": "0"}  # the last move's
    assert len({key for _, _, key in seat.voice.asked}) == 3  # no two moves share a draw
    door.name = "payoff"
    assert [FromEnvironment("reward")([Row.of(t)], door)[0].reward("payoff") for t in moves] == [1.0, -1.0, 1.0]


def test_two_policies_play_a_seat_each(bench, voice, door, run):
    seats = {"a": bench(voice=voice(replies=["1"]), name="a"), "b": bench(voice=voice(replies=["2"]), name="b")}
    moves = run(SelfPlay(players=["b", "a"]).run(TASK, seats, game(), door))
    assert [t.role for t in moves] == ["b", "a", "b", "a"]
    assert [float(x) for x in by_key(moves, "env:reward")] == [-1.0, 1.0, -1.0, 1.0]


def test_against_another_role_one_player_is_counted_and_seats_are_drawn(bench, voice, door, run):
    first = set()
    for i in range(12):
        door.rng = lambda *key, i=i: random.Random(seeds.derive(i, *key))
        seats = {name: bench(voice=voice(replies=["1"]), name=name) for name in ("new", "old")}
        moves = run(SelfPlay(players=["new", "old"], shuffle=True, counts="new").run(TASK, seats, game(), door))
        assert [t.role for t in moves if t.final] == ["new"]
        first.add(moves[0].role)
    assert first == {"new", "old"}
    with pytest.raises(UserError, match="none of the players; did you mean 'new'"):
        SelfPlay(players=["new", "old"], counts="nwe")


@pytest.mark.parametrize("replies, seat, paid", [
    (["9"], 0, [-1.5]), (["2", "no"], 1, [0.5, -1.5]), (["2", "2", "3"], 0, [-1.5, 0.5, -1.5]),
])  # fmt: skip
def test_an_illegal_move_ends_the_game(bench, voice, door, run, replies, seat, paid):
    moves = run(SelfPlay().run(TASK, {"solver": bench(voice=voice(replies=replies))}, game(), door))
    assert [float(x) for x in by_key(moves, "env:reward")] == paid
    assert [float(x) for x in by_key(moves, "env:illegal")] == [0.0] * (len(paid) - 1) + [1.0]
    assert [t.status for t in moves] == ["finished"] * (len(paid) - 1) + ["failed"]
    assert moves[-1].keys["seat"] == str(seat)


def test_what_an_illegal_move_costs_can_be_said(bench, voice, door, run):
    moves = run(SelfPlay(illegal=(-1.0, 1.0)).run(TASK, {"solver": bench(voice=voice(replies=["1", "x"]))}, game(), door))
    assert [float(x) for x in by_key(moves, "env:reward")] == [1.0, -1.0]


def test_a_game_that_does_not_end_pays_nothing(bench, voice, door, run):
    moves = run(SelfPlay(max_turns=3).run(TASK, {"solver": bench(voice=voice(replies=["1"]))}, game(9), door))
    assert [float(x) for x in by_key(moves, "env:reward")] == [0.0] * 3
    assert [t.status for t in moves] == ["finished", "finished", "truncated"]


def test_a_full_context_pays_nothing(bench, voice, door, run):
    from selfevo.codec import ByteCodec

    moves = run(SelfPlay().run(TASK, {"solver": bench(voice=voice(replies=["1"]), codec=ByteCodec(limit=2))}, game(), door))
    assert moves == []


@pytest.mark.parametrize("own", [0, 1])
def test_a_fixed_opponent_takes_the_other_seat(bench, voice, door, run, own):
    moves = run(SelfPlay(opponent=Perfect(), opponent_seat=1 - own).run(TASK, {"solver": bench(voice=voice(replies=["1"]))}, game(6), door))
    assert {t.keys["seat"] for t in moves} == {str(own)}
    assert {float(x) for x in by_key(moves, "env:reward")} == {-1.0}  # both 5 and 4 lose to it
    assert sum(t.final for t in moves) == 1


def test_the_seat_against_an_opponent_is_drawn_for_each_episode(bench, voice, door, run):
    seats = set()
    for i in range(12):
        door.rng = lambda *key, i=i: random.Random(seeds.derive(i, *key))
        moves = run(SelfPlay(opponent=RandomPlayer()).run(TASK, {"solver": bench(voice=voice(replies=["1"]))}, game(12), door))
        seats |= {t.keys["seat"] for t in moves}
    assert seats == {"0", "1"}


def test_the_move_is_found_in_the_reply(bench, voice, door, run):
    strategy = SelfPlay(move=r"\\boxed\{(.*?)\}")
    said = ["I think \\boxed{1}, no, \\boxed{3}", "\\boxed{3}"]
    moves = run(strategy.run(TASK, {"solver": bench(voice=voice(replies=said))}, game(), door))
    assert [float(x) for x in by_key(moves, "env:reward")] == [-1.0, 1.0]
    lost = run(strategy.run(TASK, {"solver": bench(voice=voice(replies=["three"]))}, game(), door))
    assert lost[0].status == "failed"


def test_a_stage_without_a_game_and_wrong_settings_are_refused(bench, door, run):
    with pytest.raises(UserError, match="needs `environment`"):
        run(SelfPlay().run(TASK, {"solver": bench()}, None, door))
    for wrong in ({"max_turns": 0}, {"players": ["a"]}, {"opponent_seat": 2}, {"move": "("}):
        with pytest.raises(UserError):
            SelfPlay(**wrong)
