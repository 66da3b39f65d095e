"""A game for two whose seats one policy, several, or a fixed opponent play."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from ..environments.game import IllegalMove
from ..errors import UserError, nearest
from ..protocols import Dialogue, Environment, EpisodeCtx, Game, Player, Seat
from ..records import Task, Trajectory
from .seating import seat_of


@dataclass(frozen=True, slots=True)
class Move:
    """A policy's turn: whose, which of the seat's moves it was (from 0), and the conversation."""

    seat: int
    number: int
    talk: Dialogue
    counted: bool


class SelfPlay:
    """The seats of a game move in turn, each move a conversation of its own that shows what the seat sees (SPIRAL: Liu et al. 2025,
    arXiv:2506.24119): the prompt has the variables {observation} and {seat}, the history is in the observation.

    One trajectory per move of a policy. Keys: "game", "seat" ("0" moves first), "turn" (the seat's k-th move, from 0), "left" (how many of
    its own follow: K - 1 - k), "final" ("yes" for a seat's last move, which is what evaluations count), "env:reward" (what the game paid
    the seat, the same for all its moves), "env:illegal" (1 for an illegal move). An illegal move ends the game: its trajectory has the
    status "failed", the mover is paid `illegal[0]` and the other `illegal[1]`. A game still going after `max_turns` moves of both, or
    whose observation no longer fits the policy's context, pays nothing to either: its last trajectory is "truncated".

    Args:
        move: regex that finds the move in a reply, its last match, group 1 where it has groups; null takes the whole reply.
        illegal: what the mover of an illegal move and the other are paid.
        max_turns: moves of both seats together.
        players: the episode's seats that play the game's seats 0 and 1; may be left out when the episode has only one, which plays both.
        shuffle: draw for each episode which player has which seat.
        counts: the player whose last moves evaluations count, against another role (an older version); null counts both's.
        opponent: plays one of the game's seats in place of a policy.
        opponent_seat: which one; null draws it for each episode.
    """

    def __init__(
        self,
        move: str | None = None,
        illegal: tuple[float, float] = (-1.5, 0.5),
        max_turns: int = 50,
        players: Sequence[str] = (),
        shuffle: bool = False,
        counts: str | None = None,
        opponent: Player | None = None,
        opponent_seat: int | None = None,
    ):
        if max_turns < 1 or len(players) not in (0, 2) or opponent_seat not in (None, 0, 1):
            raise UserError(
                f"rollouts.SelfPlay: needs max_turns >= 1, two players or none and opponent_seat 0, 1 or null; "
                f"got {max_turns}, {list(players)} and {opponent_seat}"
            )
        if counts is not None and counts not in players:
            raise UserError(f"rollouts.SelfPlay: counts names '{counts}', which is none of the players{nearest(counts, players)}")
        try:
            self.move = None if move is None else re.compile(move)
        except re.error as error:
            raise UserError(f"rollouts.SelfPlay: move is not a regular expression ({error})") from None
        self.illegal, self.max_turns, self.players, self.shuffle, self.counts = illegal, max_turns, tuple(players), shuffle, counts
        self.opponent, self.opponent_seat = opponent, opponent_seat

    async def run(self, task: Task, seats: Mapping[str, Seat], env: Environment | None, ctx: EpisodeCtx) -> list[Trajectory]:
        """The policy's moves, in order. Raises UserError where the stage has no game."""
        seen = "" if env is None else env.start(task, ctx.seed("env"))
        if env is None or not hasattr(env, "seat"):
            raise UserError("rollouts.SelfPlay: the stage needs `environment`, a game such as selfevo.environments.Nim")
        game = cast(Game, env)
        players: Sequence[str | None] = self.players or (None, None)
        players = players[::-1] if self.shuffle and ctx.rng("players").random() < 0.5 else players
        played = {i: seat_of(seats, players[i]) for i in (0, 1)}
        if self.opponent is not None:
            played.pop(ctx.rng("opponent").randrange(2) if self.opponent_seat is None else self.opponent_seat)
        moves: list[Move] = []
        paid, wrong, cut = {"0": 0.0, "1": 0.0}, None, True
        for number in range(self.max_turns):
            mover = game.seat
            if mover in played:
                talk = played[mover].open(task, observation=seen, seat=str(mover))
                if talk.room < 1:
                    break
                said = (await talk.reply("move", number)).text
                counted = self.counts is None or players[mover] == self.counts
                moves.append(Move(mover, sum(m.seat == mover for m in moves), talk, counted))
                action = self._read(said)
            else:
                assert self.opponent is not None
                action = self.opponent.act(game, ctx.rng("opponent", number))
            try:
                seen, done, rewards = game.step(action)
            except IllegalMove:
                wrong, cut = mover, False
                paid = {str(mover): self.illegal[0], str(1 - mover): self.illegal[1]}
                break
            if done:
                paid, cut = {**paid, **rewards}, False
                break
        name = str(getattr(game, "name", type(game).__name__))
        return [self._closed(m, moves, paid, wrong, cut, name) for m in moves]

    def _read(self, text: str) -> str:
        if self.move is None:
            return text
        found = list(self.move.finditer(text))
        return found[-1].group(1 if self.move.groups else 0) or "" if found else ""

    def _closed(self, m: Move, moves: Sequence[Move], paid: Mapping[str, float], wrong: int | None, cut: bool, game: str) -> Trajectory:
        left = sum(other.seat == m.seat for other in moves) - 1 - m.number
        illegal = wrong == m.seat and left == 0
        keys = {
            "game": game, "seat": str(m.seat), "turn": str(m.number), "left": str(left), "final": "yes" if m.counted and not left else "no",
            "env:reward": repr(float(paid[str(m.seat)])), "env:illegal": repr(float(illegal)),
        }  # fmt: skip
        return m.talk.close("failed" if illegal else "truncated" if cut and m is moves[-1] else None, keys=keys)
