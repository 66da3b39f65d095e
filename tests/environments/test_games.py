"""The bundled games, their fixed players, and TextArena's."""

from __future__ import annotations

import random

import pytest

from selfevo.environments import IllegalMove, Nim, Perfect, RandomPlayer, Several, TextArena, TicTacToe
from selfevo.errors import UserError
from selfevo.records import Task


def deal(number: int = 0, game: str = "nim") -> Task:
    return Task({"game": game, "deal": number}, category=game)


def played(game, players, number: int = 0, seed: int = 0) -> dict[str, float]:
    rng = random.Random(seed)
    game.start(deal(number), 0)
    while True:
        _, done, paid = game.step(players[game.seat].act(game, rng))
        if done:
            return dict(paid)


def test_nim_by_hand():
    game = Nim(stones=(6, 6))
    assert game.start(deal(), 0) == "nim 6" and game.seat == 0
    assert game.step("2") == ("nim 4", False, {}) and game.seat == 1
    assert game.legal() == ["1", "2", "3"]
    assert game.step(" 3\n") == ("nim 1", False, {})
    assert game.legal() == ["1"]
    assert game.step("1") == ("nim 0", True, {"0": 1.0, "1": -1.0})


@pytest.mark.parametrize("move", ["0", "4", "", "x", "-1", "1 2", "2."])
def test_an_illegal_move_changes_nothing(move):
    game = Nim(stones=(6, 6))
    game.start(deal(), 0)
    with pytest.raises(IllegalMove):
        game.step(move)
    assert game.position == (6, 0)


def test_a_deal_decides_the_heap_whatever_the_seed():
    heaps = {Nim().start(deal(n), seed) for n in range(60) for seed in (0, 1)}
    assert heaps == {f"nim {n}" for n in range(5, 13)}
    assert Nim().start(deal(7), 0) == Nim().start(deal(7), 99)


def test_perfect_play_leaves_a_multiple_of_four():
    player = Perfect()
    for heap in range(1, 13):
        game = Nim(stones=(heap, heap))
        game.start(deal(), 0)
        move = int(player.act(game, random.Random(0)))
        assert (heap - move) % 4 == 0 or heap % 4 == 0
        assert game.position == (heap, 0)  # looking ahead moves nothing


def test_the_first_player_wins_nim_exactly_off_the_multiples():
    for heap in range(1, 13):
        paid = played(Nim(stones=(heap, heap)), [Perfect(), Perfect()])
        assert paid["0"] == (-1.0 if heap % 4 == 0 else 1.0) == -paid["1"]


def test_tic_tac_toe_by_hand():
    game = TicTacToe()
    assert game.start(deal(), 0) == "123456789"
    for move in "14253":
        seen, done, paid = game.step(move)
    assert (seen, done, paid) == ("xxxoo6789", True, {"0": 1.0, "1": -1.0})
    game.start(deal(), 0)
    game.step("5")
    with pytest.raises(IllegalMove):
        game.step("5")
    assert game.seat == 1


def test_perfect_tic_tac_toe_is_a_draw_and_never_lost_to_chance():
    player = Perfect()
    assert played(TicTacToe(), [player, player]) == {"0": 0.0, "1": 0.0}
    assert all(played(TicTacToe(), [RandomPlayer(), player], seed=s)["1"] >= 0 for s in range(30))
    assert sum(played(TicTacToe(), [player, RandomPlayer()], seed=s)["0"] for s in range(30)) > 25


def test_slips_go_from_perfect_to_random():
    paid = [sum(played(Nim(), [Perfect(slip), Perfect()], n, n)["0"] for n in range(60)) for slip in (0.0, 1.0)]
    assert paid[0] > paid[1]


def test_several_games_by_category():
    games = Several({"nim": Nim(), "ttt": TicTacToe()})
    assert games.start(deal(game="ttt"), 0) == "123456789" and games.name == "tic_tac_toe"
    assert played(games, [Perfect(), Perfect()], 3) in ({"0": 1.0, "1": -1.0}, {"0": -1.0, "1": 1.0})
    with pytest.raises(UserError, match="no game for the category 'tt'; did you mean 'ttt'"):
        games.start(deal(game="tt"), 0)


def test_settings_and_players_that_cannot_be():
    for wrong in ({"stones": (0, 3)}, {"stones": (4, 3)}, {"most": 0}):
        with pytest.raises(UserError):
            Nim(**wrong)
    with pytest.raises(UserError, match="chance"):
        Perfect(slip=2)
    with pytest.raises(UserError, match="must hold"):
        TextArena("KuhnPoker-v0", wrap="x")


class TestTextArena:
    @pytest.fixture(autouse=True)
    def _installed(self):
        pytest.importorskip("textarena")

    def test_tic_tac_toe_to_its_end(self):
        game = TextArena("TicTacToe-v0")
        first = game.start(deal(), 0)
        assert "Player 0" in first and game.seat == 0
        for move in "03142":
            seen, done, paid = game.step(move)
        assert done and paid == {"0": 1.0, "1": -1.0} and seen == ""

    def test_what_a_seat_sees_holds_the_history(self):
        game = TextArena("TicTacToe-v0")
        game.start(deal(), 0)
        seen, done, _ = game.step("4")
        assert not done and game.seat == 1 and "[4]" in seen

    @pytest.mark.parametrize("name, move", [("TicTacToe-v0", "nonsense"), ("KuhnPoker-v0", "dance"), ("TicTacToe-v0", "99")])
    def test_an_invalid_move_is_illegal_at_once(self, name, move):
        game = TextArena(name)
        game.start(deal(1), 0)
        with pytest.raises(IllegalMove):
            game.step(move)

    def test_a_deal_seeds_the_cards(self):
        shown = [TextArena("KuhnPoker-v0").start(deal(n), 0) for n in (5, 5, *range(12))]
        assert shown[0] == shown[1] and len(set(shown)) > 2

    def test_a_game_that_it_does_not_have_is_one_line(self):
        with pytest.raises(UserError, match="no game 'Chequers'"):
            TextArena("Chequers").start(deal(), 0)

    def test_fixed_players_say_what_they_need(self):
        game = TextArena("TicTacToe-v0")
        game.start(deal(), 0)
        with pytest.raises(UserError, match="does not list its legal moves"):
            RandomPlayer().act(game, random.Random(0))
