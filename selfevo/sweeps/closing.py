"""The last words of a sweep: every run that did not end well, by its overrides and its error in one line, and how to go on."""

from __future__ import annotations

from ..errors import EXIT_OTHER, EXIT_STOPPED, EXIT_USER, SelfevoError
from .jobs import Jobs, Outcome, names
from .results import say_results


class SweepError(SelfevoError):
    """Not every run of a sweep is done. Exit status 3 when it was stopped, 2 when all failures are mistakes in a spec, else 1."""


def closing(jobs: Jobs, interrupted: bool) -> SweepError | None:
    """What to say of a sweep that is over, or None when every run of it is done. What the others came to is printed before."""
    say_results(jobs)
    outcomes = jobs.read()
    named = names(outcomes)
    lines = [_line(outcome, named[outcome.number]) for outcome in outcomes if outcome.state != "done"]
    if not lines and not interrupted:
        return None
    done = sum(o.state == "done" for o in outcomes)
    lines.append(
        f"{done} of {len(outcomes)} runs of the sweep are done; the same command with hydra.sweep.dir={jobs.sweep} keeps them, "
        "goes on with those that stopped and tries the others again"
    )
    error = SweepError("\n".join(lines))
    error.exit_code = EXIT_STOPPED if interrupted else _status(outcomes)
    return error


def _line(outcome: Outcome, overrides: str) -> str:
    name = f"run {outcome.number}" + (f" ({overrides})" if overrides else "")
    if outcome.state == "waiting":
        return f"{name} was not started"
    if outcome.state == "running":
        return f"{name} began in {outcome.root}, and nothing was heard of it since"
    if outcome.state == "stopped":
        return f"{name} {outcome.line}" if outcome.line.startswith("stopped") else f"{name} stopped: {outcome.line}"
    return f"{name} failed: {outcome.line}"


def _status(outcomes: list[Outcome]) -> int:
    codes = {o.exit_code if o.state in ("failed", "stopped") else EXIT_OTHER for o in outcomes if o.state != "done"}
    return codes.pop() if len(codes) == 1 and codes <= {EXIT_USER, EXIT_STOPPED} else EXIT_OTHER
