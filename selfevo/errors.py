"""The errors a user can meet. Each message is one line: what, where, what was expected, and the nearest valid choice."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

EXIT_DONE, EXIT_OTHER, EXIT_USER, EXIT_STOPPED = 0, 1, 2, 3


LOWER = "a new run may want a lower lr or clip_norm"
"""What to do about numbers that are not finite."""


class SelfevoError(Exception):
    """Base of every error that the command line prints as one line. `exit_code` is the process's exit status."""

    exit_code = EXIT_OTHER


class UserError(SelfevoError):
    """A mistake in the spec, the call or the data it names. Exit status 2."""

    exit_code = EXIT_USER


class SpecErrors(UserError):
    """All mistakes of one spec at once, a line each."""

    def __init__(self, lines: Iterable[str]):
        self.lines = list(lines)
        super().__init__("\n".join(self.lines))


class Stopped(SelfevoError):
    """The run stopped at a commit and can be resumed (Ctrl-C, a signal). Exit status 3."""

    exit_code = EXIT_STOPPED


class EngineError(SelfevoError):
    """An engine could not serve a request; the message names it."""


class EpisodesError(SelfevoError):
    """Every episode of a stage failed: what broke them is no chance. The stage is not committed; `selfevo resume` runs it again."""


class TrainingError(SelfevoError):
    """Training cannot go on (NaN loss, nothing but infinities); the last good version is kept."""


class StoreError(SelfevoError):
    """The run directory cannot be written, or what it holds is not what the manifest recorded. Nothing is overwritten."""


def nearest(name: str, valid: Iterable[str], limit: int = 12) -> str:
    """ "; did you mean 'x'? (valid: a, b, c)": the tail of an error about an unknown name."""
    names = sorted(set(map(str, valid)))
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"; did you mean '{close[0]}'?" if close else ""
    shown = ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
    return f"{hint} (valid: {shown})" if names else hint
