"""After `-m`: a ranking, the effect of each key, and the sweep's page, which costs the sweep nothing when it cannot be written."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from as_user import Said

from selfevo.report import page
from selfevo.stages import Rollout

Say = Callable[..., Said]
pytestmark = pytest.mark.slow


def test_a_sweep_ends_with_its_ranking_and_its_page_which_opens_in_a_browser(say: Say, quick: list[str], tmp_path: Path) -> None:
    said = say("run", "-m", *quick, "seed=0,1", "scale.eval_tasks=4,6", "roles.solver.top_p=0.9,1.0", f"hydra.sweep.dir={tmp_path}")
    assert said.status == 0 and said.err == ""
    file = tmp_path / "report.html"
    text = said.out[said.out.index("Ranking by eval/chain_sum/pass@1, highest first") :]
    assert text.endswith(f"\nreport of the sweep: {file}\n")
    head, *rows = text.split("\n\n")[0].splitlines()[1:]
    assert head.split()[:3] == ["run", "place", "pass@1"] and set(head.split()[3:]) == {"seed", "eval_tasks", "top_p"} and len(rows) == 8
    values = [float(row.split()[2]) for row in rows]
    assert values == sorted(values, reverse=True)
    effects = text.split("\n\n")[1].splitlines()
    assert effects[0] == "Effect of each key: means over all runs with a value" and len(effects) == 5

    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    assert chromium, "this test needs Debian's package chromium (apt-get install chromium)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": 400, "height": 800})
        troubles: list[str] = []
        opened.on("console", lambda m: troubles.append(m.text))
        opened.on("pageerror", lambda e: troubles.append(str(e)))
        opened.goto(file.as_uri())
        assert opened.locator("#ranked tbody tr").count() == 8
        assert opened.locator("figure.parallel svg path[stroke^='var(--c']").count() >= 8
        assert opened.locator("figure.dots").count() == 3 and opened.locator("figure.dots svg .mark-symbol path").count() > 6
        assert opened.evaluate("document.documentElement.scrollWidth") <= 400
        opened.locator("#ranked a").first.click()
        assert opened.title().endswith(": done")  # the best run's own page
        browser.close()
    assert troubles == []


def test_runs_that_failed_are_on_the_page_with_their_error(say: Say, quick: list[str], tmp_path: Path) -> None:
    said = say("run", "-m", *quick, "roles.solver.top_p=1.0,7.0,0.5", f"hydra.sweep.dir={tmp_path}")
    assert said.status == 2
    assert "1 run without a place: 1 failed\n" in said.out and f"report of the sweep: {tmp_path}/report.html\n" in said.out
    html = (tmp_path / "report.html").read_text()
    assert "2 done, 1 failed" in html and "top_p must be in (0, 1], not 7.0" in html


def test_a_sweep_of_which_every_run_failed_has_a_page_too(
    say: Say, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Rollout, ctx: object) -> object:
        raise RuntimeError("a wire came loose")

    monkeypatch.setattr(Rollout, "run", broken)
    said = say("run", "-m", *quick, "seed=0,1", f"hydra.sweep.dir={tmp_path}")
    html = (tmp_path / "report.html").read_text()
    assert said.status == 1 and [line.split()[:2] for line in said.out.splitlines() if line.endswith("failed")] == [["0", "1"], ["1", "2"]]
    assert "2 failed" in html and html.count("RuntimeError: a wire came loose (traceback in ") == 2


def test_a_launcher_that_runs_jobs_elsewhere_ends_with_the_page_as_well(say: Say, quick: list[str], tmp_path: Path) -> None:
    said = say("run", "-m", *quick, "seed=0,1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", f"hydra.sweep.dir={tmp_path}")
    assert said.status == 0 and said.out.endswith(f"report of the sweep: {tmp_path}/report.html\n")
    assert said.out.count("Ranking by ") == 1


def test_a_page_that_cannot_be_written_is_one_line_and_costs_nothing(say: Say, quick: list[str], tmp_path: Path) -> None:
    (tmp_path / "report.html.part").mkdir()  # where the page is put together
    said = say("run", "-m", *quick, "seed=0,1", f"hydra.sweep.dir={tmp_path}")
    assert said.status == 0 and not (tmp_path / "report.html").exists()
    assert said.err.startswith(f"note: no page of the sweep: {tmp_path}/report.html: cannot write (")
    assert said.err.endswith(f"); selfevo report {tmp_path} writes it\n") and said.err.count("\n") == 1
    (tmp_path / "report.html.part").rmdir()
    assert say("report", str(tmp_path)).out == f"{tmp_path}/report.html\n"


def test_ctrl_c_while_the_page_is_drawn_drops_it(say: Say, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(sweep: object) -> str:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
        raise AssertionError("not reached")

    monkeypatch.setattr(page, "render_sweep", pressed)
    said = say("run", "-m", *quick, "seed=0,1", f"hydra.sweep.dir={tmp_path}")
    assert (said.status, said.err) == (0, "") and not (tmp_path / "report.html").exists()


def test_after_ctrl_c_the_page_shows_what_there_is(say: Say, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Rollout.run

    def pressed(self: Rollout, ctx: object) -> object:
        if ctx.world.seed == 1:  # type: ignore[attr-defined]
            os.kill(os.getpid(), signal.SIGINT)
        return run(self, ctx)  # type: ignore[arg-type]

    monkeypatch.setattr(Rollout, "run", pressed)
    said = say("run", "-m", *quick, "seed=0,1,2", f"hydra.sweep.dir={tmp_path}")
    assert said.status == 3 and f"report of the sweep: {tmp_path}/report.html\n" in said.out
    assert "1 done, 1 stopped" in (tmp_path / "report.html").read_text()


@pytest.mark.scale
def test_a_search_for_the_lowest_value_ranks_it_first(say: Say, quick: list[str], tmp_path: Path) -> None:
    said = say("run", "-m", *quick, "hydra/sweeper=optuna", "hydra.sweeper.n_trials=3", "hydra.sweeper.direction=minimize", "seed=0,1,2",
               "metric=eval/chain_sum/length", f"hydra.sweep.dir={tmp_path}")  # fmt: skip
    assert said.status == 0
    text = said.out[said.out.index("Ranking by eval/chain_sum/length, lowest first") :]
    values = [float(row.split()[2]) for row in text.splitlines()[2:5]]
    assert values == sorted(values)
