"""The view: plain lines where there is no terminal, a panel that fits 80 columns where there is, and honest last words."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace

import pytest
from rich.console import Console

from selfevo.panel import Measure, State, closing, duration, log_line, panel, sparkline, token_rate
from selfevo.view import LogFile, View, committed

SPEC = SimpleNamespace(name="quickstart", seed=0)


def line(stage: str, kind: str, iteration: int = 0, seconds: float = 1.0, **metrics: float) -> dict:
    named = {name.replace("__", "/").replace("pass1", "pass@1"): value for name, value in metrics.items()}
    return {"path": f"main.{iteration}", "stage": stage, "kind": kind, "iteration": iteration, "versions": {}, "seconds": seconds,
            "metrics": named}  # fmt: skip


def evaluation(iteration: int, value: float, low: float, high: float, suite: str = "chain_sum") -> dict:
    return line("evaluate", "evaluate", iteration, **{f"eval/{suite}/pass@1": value, f"eval/{suite}/pass@1/low": low,
                                                      f"eval/{suite}/pass@1/high": high, f"eval/{suite}/pass@1/level=1": 1.0})  # fmt: skip


def state(iterations: int = 3, suites: int = 1) -> State:
    s = State(name="quickstart", root="outputs/quickstart/x")
    for i in range(iterations):
        s.enter(f"main.{i}", "rollout", i, 40, now=10.0 * i)
        s.add(line("rollout", "rollout", i, rollout__generated_tokens=5000, time__generate=2.0))
        s.add(line("score", "score", i, score__score=0.1 * i))
        for k in range(suites):
            s.add(evaluation(i, 0.3 + 0.1 * i, 0.25 + 0.1 * i, 0.35 + 0.1 * i, f"suite_with_quite_a_long_name_{k}"))
    return s


def shown(s: State, now: float = 25.0, width: int = 80, **options) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=False, **options)
    console.print(panel(s, now, console.options.ascii_only))
    return console.file.getvalue()


def test_a_log_line_says_where_what_and_how_long():
    text = log_line(line("score", "score", 4, 0.25, score__score=0.4123, score__keep=1.0, score__exact_errors=0.0), 40)
    assert text == "main.4/score  iteration 5/40  reward 0.4123  kept 1  (0.2 s)"


def test_failures_are_in_the_log_line_whenever_there_are_any():
    text = log_line(line("score", "score", score__math_timeouts=3.0, score__math_errors=0.0), 1)
    assert "math_timeouts 3" in text and "errors" not in text and "iteration" not in text


def test_evaluations_show_pass_at_1_with_its_interval_and_no_breakdown():
    assert log_line(evaluation(1, 0.45, 0.41, 0.49), 2) == "main.1/evaluate  iteration 2/2  chain_sum pass@1 0.450 [0.410, 0.490]  (1.0 s)"


def test_tokens_per_second_are_generated_tokens_over_generation_time():
    assert token_rate({"rollout/generated_tokens": 900, "time/generate": 3.0, "time/score": 9.0}) == 300
    assert token_rate({"rollout/generated_tokens": 900}) is None and token_rate({"time/generate": 1.0}) is None


def test_a_sparkline_spans_least_to_greatest_and_keeps_the_last_values():
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█" and sparkline([]) == "" and sparkline([5, 5]) == "▁▁"
    assert sparkline([9, 0, 1], width=2) == "▁█" and sparkline([0, 7], blocks="_*") == "_*"


@pytest.mark.parametrize("seconds, words", [(4.23, "4.2 s"), (200, "3 min 20 s"), (59.99, "60.0 s"), (18420, "5 h 07 min")])
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words


def test_time_left_is_the_mean_iteration_times_those_to_come():
    s = State()
    s.enter("start", "evaluate", 0, 4, 0.0)
    s.enter("main.0", "rollout", 0, 4, 5.0)
    assert s.remaining(9.0) is None
    s.enter("main.1", "rollout", 1, 4, 10.0)
    s.enter("main.1", "score", 1, 4, 12.0)
    assert s.remaining(14.0) == 26.0  # three of 10 s to come, 4 s of them gone
    s.enter("main.3", "rollout", 3, 4, 30.0)
    assert s.remaining(99.0) == 0.0


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_panel_fits_its_width(width):
    s = state(suites=8)
    s.progress, s.note = (12, 256, "episodes"), "x" * 300
    lines = shown(s, width=width).splitlines()
    assert max(map(len, lines)) <= width and len(lines) <= 12


def test_the_panel_shows_iteration_stage_reward_pass_at_1_speed_and_time_left():
    s = state()
    s.progress = (12, 256, "episodes")
    text = shown(s)
    for words in ("quickstart", "3/40", "main.2/rollout", "episodes 12/256", "0.200", "0.500 [0.450, 0.550]", "2,500 tokens/s", "left"):
        assert words in text, words
    assert "▁▅█" in text or "▁▄█" in text


def test_the_panel_of_an_ascii_terminal_is_ascii():
    class Ascii(io.StringIO):
        encoding = "ascii"

    console = Console(width=80, file=Ascii(), force_terminal=False)
    console.print(panel(state(), 25.0, console.options.ascii_only))
    assert console.file.getvalue().isascii()


def test_markup_in_names_is_shown_as_it_is():
    s = state()
    s.note, s.name = "[red]careful[/nothing]", "[bold]x"
    assert "[red]careful[/nothing]" in shown(s) and "[bold]x" in shown(s)


def test_the_last_words_say_first_to_last_with_intervals_and_where_time_went():
    s = state()
    lines = closing(s, "done", {"start": 0.5, "generate": 5.0, "score": 1.0, "train": 3.0, "io": 0.1, "total": 10.0}, report=True)
    assert lines[0] == "done after 10.0 s"
    assert "pass@1: 0.300 [0.250, 0.350] -> 0.500 [0.450, 0.550] (+0.200, higher, intervals apart)" in lines[1]
    assert "  time: start 5%, generate 50%, score 10%, train 30%, io 1%, other 4%" in lines
    assert lines[-2:] == ["  directory: outputs/quickstart/x", "  report: outputs/quickstart/x/report.html"]


@pytest.mark.parametrize("ends, verdict", [
    ([Measure(0.3, 0.2, 0.4), Measure(0.35, 0.25, 0.45)], "intervals overlap"),
    ([Measure(0.5, 0.4, 0.6), Measure(0.3, 0.2, 0.39)], "lower, intervals apart"),
    ([Measure(0.5), Measure(0.3)], "no intervals"),
    ([Measure(0.5, 0.4, 0.6)], "measured once"),
])  # fmt: skip
def test_nothing_is_called_better_that_the_intervals_do_not_show(ends, verdict):
    text = "\n".join(closing(State(passes={"s": ends}), "done", {}, False))
    assert verdict in text and "higher" not in text


def test_a_stopped_run_says_how_to_go_on_instead_of_where_the_report_is():
    lines = closing(state(), "stopped", {"total": 1.0}, report=False)
    assert lines[-1] == "  continue with: selfevo resume outputs/quickstart/x" and not any("report" in text for text in lines)


def play(view, root, resumed=False) -> None:
    view.start(SPEC, root, resumed)
    view.stage("main.0", "rollout", "rollout", 0, 2)
    view.progress(3, 4, "episodes")
    view.line(line("rollout", "rollout", rollout__length=31.5))
    view.note("stopping after this stage")
    view.stage("main.0", "score", "score", 0, 2)
    view.line(line("score", "score", score__score=0.5))
    view.finish("stopped", {"generate": 1.0, "total": 2.0})


def test_without_a_terminal_there_is_one_plain_line_per_stage(tmp_path):
    console = Console(file=io.StringIO(), force_terminal=False, width=30)
    play(View(console, now=lambda: 0.0), tmp_path)
    text = console.file.getvalue()
    assert "\x1b" not in text and text.isascii()
    lines = text.splitlines()
    assert lines[0] == f"running quickstart in {tmp_path}"  # never wrapped, though the width is 30
    assert lines[1] == "main.0/rollout  iteration 1/2  length 31.5  (1.0 s)" and lines[2] == "note: stopping after this stage"
    assert lines[3] == "main.0/score  iteration 1/2  reward 0.5  (1.0 s)" and lines[4] == "stopped after 2.0 s"
    assert sum("main.0" in text for text in lines) == 2


def test_at_a_terminal_the_panel_is_live_and_the_last_words_stay(tmp_path):
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system="standard", _environ={"TERM": "xterm"})
    view = View(console, now=lambda: 0.0)
    play(view, tmp_path)
    text = console.file.getvalue()
    assert "\x1b[" in text and "quickstart" in text and "main.0/rollout  iteration" not in text
    assert "stopped after 2.0 s" in text and text.rstrip().endswith(f"selfevo resume {tmp_path}")
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor is given back


def test_no_color_is_respected_at_a_terminal(tmp_path):
    console = Console(file=io.StringIO(), force_terminal=True, width=80, _environ={"TERM": "xterm-256color", "NO_COLOR": "1"})
    play(View(console, now=lambda: 0.0), tmp_path)
    import re

    codes = re.findall(r"\x1b\[([\d;]*)m", console.file.getvalue())
    assert not [c for code in codes for c in code.split(";") if c and 30 <= int(c) <= 107]


def test_a_resumed_run_keeps_its_first_measurement_and_skips_a_torn_line(tmp_path):
    lines = [evaluation(0, 0.3, 0.2, 0.4), evaluation(1, 0.4, 0.3, 0.5), evaluation(1, 0.4, 0.3, 0.5)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines) + '{"path": "main.2", "sta')
    assert len(committed(tmp_path)) == 2
    console = Console(file=io.StringIO(), force_terminal=False)
    view = View(console, now=lambda: 0.0)
    view.start(SPEC, tmp_path, True)
    view.line(evaluation(2, 0.6, 0.55, 0.65))
    view.finish("done", {"total": 1.0})
    assert "0.300 [0.200, 0.400] -> 0.600 [0.550, 0.650] (+0.300, higher" in console.file.getvalue()


def test_the_log_file_grows_over_resumes_and_holds_no_control_codes(tmp_path):
    ticks = iter(range(100))
    play(LogFile(now=lambda: float(next(ticks))), tmp_path)
    play(LogFile(now=lambda: 0.0), tmp_path, resumed=True)
    text = (tmp_path / "log.txt").read_text()
    assert text.count("running quickstart, seed 0") == text.count("resuming quickstart, seed 0") == 1
    assert text.count("main.0/score") == 2 and "\x1b" not in text and text.splitlines()[0].startswith("       1.0  ")


def test_a_run_that_never_began_has_no_last_words():
    console = Console(file=io.StringIO(), force_terminal=False)
    View(console).finish("failed", {"total": 1.0})
    LogFile().finish("failed", {"total": 1.0})
    assert console.file.getvalue() == ""
