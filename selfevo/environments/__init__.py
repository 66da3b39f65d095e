"""Environments: games for several seats, and fixed players of them."""

from .game import IllegalMove
from .nim import Nim
from .players import Perfect, RandomPlayer
from .several import Several
from .text_arena import TextArena
from .tic_tac_toe import TicTacToe

__all__ = ["IllegalMove", "Nim", "Perfect", "RandomPlayer", "Several", "TextArena", "TicTacToe"]
