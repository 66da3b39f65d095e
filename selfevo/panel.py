"""What a run looks like at a moment: its state from metrics lines, and pure functions that put it into words and panels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .clock import KINDS

if TYPE_CHECKING:
    from rich.console import OverflowMethod, RenderableType

BLOCKS, ASCII_BLOCKS = "▁▂▃▄▅▆▇█", "_.:-=+*#"
SUITES_SHOWN = 5
PASS = re.compile(r"eval/(.+)/pass@1")
REWARD = "score/score"

SHOWN: Mapping[str, Mapping[str, str]] = {
    "rollout": {"rollout/trajectories": "trajectories", "rollout/length": "length", "rollout/truncated": "truncated"},
    "score": {REWARD: "reward", "score/keep": "kept"},
    "train": {"train/loss": "loss", "train/grad_norm": "grad norm", "gate/mean_gain": "gain", "gate/adopted": "adopted"},
}
"""Metrics worth a place in a stage's log line, by kind, and the words for them. Failures are shown whenever there are any."""


@dataclass
class Measure:
    """A metric's value with its 95% interval, where one was logged."""

    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        return f"{self.value:.3f}" + ("" if self.low is None or self.high is None else f" [{self.low:.3f}, {self.high:.3f}]")


@dataclass
class State:
    """Everything the view shows. `rewards` and `passes` hold one entry per committed line that had the metric, oldest first."""

    name: str = ""
    root: str = ""
    began: float = 0.0
    stage: str = ""
    iteration: int = 0
    total: int = 0
    first: tuple[int, float] | None = None
    entered: float = 0.0
    progress: tuple[int, int, str] | None = None
    rewards: list[float] = field(default_factory=list)
    passes: dict[str, list[Measure]] = field(default_factory=dict)
    rate: float | None = None
    note: str = ""

    def enter(self, path: str, stage: str, iteration: int, total: int, now: float) -> None:
        """A stage begins at time `now` (seconds, any origin)."""
        if self.first is None:
            self.first = (iteration, now)
        if iteration != self.iteration:
            self.entered = now
        self.stage, self.iteration, self.total, self.progress = f"{path}/{stage}", iteration, total, None

    def add(self, line: Mapping[str, Any]) -> None:
        """Take in a metrics line."""
        metrics = line["metrics"]
        if REWARD in metrics:
            self.rewards.append(metrics[REWARD])
        for suite, measure in measures(metrics):
            self.passes.setdefault(suite, []).append(measure)
        self.rate = token_rate(metrics) or self.rate

    def remaining(self, now: float) -> float | None:
        """Seconds left, from the mean time of the iterations seen to their end; None before the first has ended."""
        if self.first is None or self.iteration <= self.first[0]:
            return None
        each = (self.entered - self.first[1]) / (self.iteration - self.first[0])
        return max(0.0, each * (self.total - self.iteration) - (now - self.entered))


def measures(metrics: Mapping[str, float]) -> Iterator[tuple[str, Measure]]:
    """(suite, pass@1 with interval) of every suite in a line."""
    for name, value in metrics.items():
        match = PASS.fullmatch(name)
        if match:
            yield match[1], Measure(value, metrics.get(f"{name}/low"), metrics.get(f"{name}/high"))


def token_rate(metrics: Mapping[str, float]) -> float | None:
    """Generated tokens per second of generation, or None for a line without both."""
    tokens = sum(v for k, v in metrics.items() if k.endswith("/generated_tokens"))
    seconds = metrics.get("time/generate", 0.0)
    return tokens / seconds if tokens > 0 and seconds > 0 else None


def sparkline(values: Sequence[float], width: int = 24, blocks: str = BLOCKS) -> str:
    """The last `width` values as blocks from their least to their greatest; a flat line is drawn low."""
    shown = list(values[-width:])
    if not shown:
        return ""
    low, high = min(shown), max(shown)
    scale = (len(blocks) - 1) / (high - low) if high > low else 0.0
    return "".join(blocks[int((v - low) * scale + 0.5)] for v in shown)


def duration(seconds: float) -> str:
    """Seconds in words: "4.2 s", "3 min 20 s", "5 h 07 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def log_line(line: Mapping[str, Any], total: int) -> str:
    """A committed stage in one plain line, ASCII only."""
    metrics = line["metrics"]
    words = [f"{label} {metrics[name]:.4g}" for name, label in SHOWN.get(line["kind"], {}).items() if name in metrics]
    words += [f"{suite} pass@1 {measure}" for suite, measure in measures(metrics)]
    rate = token_rate(metrics)
    if rate is not None:
        words.append(f"{rate:.0f} tokens/s")
    words += [f"{name.partition('/')[2]} {value:g}" for name, value in metrics.items() if _failure(name) and value > 0]
    place = f"iteration {line['iteration'] + 1}/{total}" if total > 1 else ""
    return "  ".join(filter(None, (f"{line['path']}/{line['stage']}", place, *words, f"({duration(line['seconds'])})")))


def _failure(name: str) -> bool:
    return bool(re.fullmatch(r"score/.+_(errors|timeouts)|rollout/(error|failed)|eval/[^/]+/errors", name))


def closing(state: State, status: str, seconds: Mapping[str, float], report: bool) -> list[str]:
    """The run's last words: what improved, where the time went, where everything is or how to go on. Plain lines.

    `seconds`: by kind of work, "total" of the wall, and "overlapped" of work beside other work. `report`: whether report.html is there.
    """
    total = seconds.get("total", 0.0)
    lines = [f"{status} after {duration(total)}"]
    for suite, seen in state.passes.items():
        lines.append(f"  {suite} pass@1: {_change(seen)}")
    if len(state.rewards) > 1:
        n = max(1, min(5, len(state.rewards) // 2))
        first, last = sum(state.rewards[:n]) / n, sum(state.rewards[-n:]) / n
        lines.append(f"  reward: {first:.3f} -> {last:.3f} (mean of the first and last {n} of {len(state.rewards)} score stages)")
    if total > 0:
        beside = {"overlapped": seconds["overlapped"]} if seconds.get("overlapped") else {}
        other = max(0.0, total + sum(beside.values()) - sum(seconds.get(k, 0.0) for k in KINDS))
        shares = {**{k: seconds.get(k, 0.0) for k in KINDS}, "other": other, **beside}
        lines.append("  time: " + ", ".join(f"{k} {100 * v / total:.0f}%" for k, v in shares.items()))
    lines.append(f"  directory: {state.root}")
    if status == "done":
        lines.append(f"  report: {state.root}/report.html" if report else f"  report: make it with: selfevo report {state.root}")
    elif status == "failed":
        lines.append(f"  once its cause is gone, continue with: selfevo resume {state.root} (a change of the spec needs a new run)")
    else:
        lines.append(f"  continue with: selfevo resume {state.root}")
    return lines


def _change(seen: Sequence[Measure]) -> str:
    first, last = seen[0], seen[-1]
    if len(seen) == 1:
        return f"{first} (measured once)"
    if first.low is None or first.high is None or last.low is None or last.high is None:
        verdict = "no intervals"
    elif last.low > first.high:
        verdict = "higher, intervals apart"
    elif last.high < first.low:
        verdict = "lower, intervals apart"
    else:
        verdict = "intervals overlap"
    return f"{first} -> {last} ({last.value - first.value:+.3f}, {verdict})"


def panel(state: State, now: float, ascii_only: bool = False, width: int | None = None) -> RenderableType:
    """The live panel: iteration, stage, reward, pass@1, tokens/s, time left. Fits any width from 40 columns (None: the console's)."""
    from rich.panel import Panel
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    blocks = ASCII_BLOCKS if ascii_only else BLOCKS
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(style="dim", no_wrap=True, width=10)
    cut: OverflowMethod = "crop" if ascii_only else "ellipsis"
    grid.add_column(no_wrap=True, overflow=cut, ratio=3)
    grid.add_column(no_wrap=True, overflow=cut, ratio=2, justify="right")
    left = state.remaining(now)
    eta = f"{duration(left)} left" if left is not None else ""
    if state.total > 1:
        bar = ProgressBar(total=state.total, completed=state.iteration, width=None)
        grid.add_row(f"{state.iteration + 1}/{state.total}", bar, eta)
    doing = "" if state.progress is None else f"{state.progress[2]} {state.progress[0]}/{state.progress[1]}"
    grid.add_row("stage", Text(state.stage or "loading"), doing)
    if state.rewards:
        grid.add_row("reward", Text(f"{state.rewards[-1]:.3f}"), Text(sparkline(state.rewards, blocks=blocks), style="cyan"))
    for suite, seen in list(state.passes.items())[:SUITES_SHOWN]:
        values = [measure.value for measure in seen]
        grid.add_row("pass@1", Text(f"{seen[-1]}  {suite}"), Text(sparkline(values, blocks=blocks), style="green"))
    speed = "" if state.rate is None else f"{state.rate:,.0f} tokens/s"
    grid.add_row("time", Text(duration(now - state.began)), speed)
    if state.note:
        grid.add_row("note", Text(state.note, style="yellow"), "")
    return Panel(grid, title=Text(state.name), title_align="left", border_style="dim", width=width)
