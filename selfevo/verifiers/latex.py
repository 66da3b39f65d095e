"""Reading LaTeX in two stages, as ANTLR's authors advise: the same trees as math-verify's own parser, several times as fast."""

from __future__ import annotations

from typing import Any


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
