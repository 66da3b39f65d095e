"""Reading LaTeX in two stages, as ANTLR's authors advise, and its numbers at once: the same trees as math-verify's own parser, several
times as fast."""

from __future__ import annotations

import re
from typing import Any

_NUMBER = re.compile(r"(0|[1-9][0-9]{0,99})(\.[0-9]{1,99})?", re.ASCII)


def read_in_two_stages() -> None:
    """Have latex2sympy, in this process, try ANTLR's SLL prediction first and the full one only where that meets an error.

    A parse that SLL prediction completes is the one that full prediction gives: at every decision its alternatives include all of the
    full one's, both take the least, and one that the full prediction would have ruled out ends in a syntax error (Parr, Harwell and
    Fisher 2014, Adaptive LL(*) parsing; `ParserATNSimulator`). The grammar's start rule reads to the end of its input.
    """
    from antlr4 import CommonTokenStream
    from antlr4.atn.PredictionMode import PredictionMode
    from latex2sympy2_extended import latex2sympy2

    class TwoStages(latex2sympy2.PSParser):  # type: ignore[misc]  # generated code without types
        def math(self) -> Any:
            tokens = self.getTokenStream()
            self._interp.predictionMode = PredictionMode.SLL
            try:
                tokens.fill()  # a character that is no token is then an error here too, however far either would have looked
                return super().math()
            except Exception:  # whatever the listener raises: the second stage raises it again where it is deserved
                tokens.tokenSource.reset()
                self.setTokenStream(CommonTokenStream(tokens.tokenSource))
                self._interp.predictionMode = PredictionMode.LL
                return super().math()

    latex2sympy2.PSParser = TwoStages


def read_numbers_at_once() -> None:
    """Have latex2sympy, in this process, make a number of plain digits itself; it asks sympy to read a program of one number otherwise,
    which imports all of sympy into a fresh name space each time. Any other text is still read that way."""
    import sympy
    from latex2sympy2_extended import latex2sympy2

    read = latex2sympy2._Latex2Sympy.parse_number

    def parse_number(self: Any, text: str) -> Any:
        plain = _NUMBER.fullmatch(text)
        if plain is None:
            return read(self, text)
        return sympy.Integer(int(text)) if plain[2] is None else sympy.Float(text)

    latex2sympy2._Latex2Sympy.parse_number = parse_number
