"""What a notebook and a prompt show of runs: the numbers of the files, with every text escaped."""

from __future__ import annotations

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

import selfevo
from selfevo.notebook.view import NotebookView

HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e&amp;"


class Seen(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        assert not [name for name, _ in attrs if name.startswith("on") or name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def renamed(run: selfevo.SavedRun, root: Path, name: str) -> selfevo.SavedRun:
    shutil.copytree(run.root, root)
    spec = yaml.safe_load((root / "spec.yaml").read_text())
    (root / "spec.yaml").write_text(yaml.safe_dump({**spec, "name": name}))
    for file in ("metrics.jsonl", "manifest.jsonl"):
        text = (root / file).read_text()
        (root / file).write_text(text.replace("chain_sum/pass@1", json.dumps(HOSTILE.replace("/", ""))[1:-1] + "/pass@1"))
    return selfevo.load_run(root)


def test_a_prompt_shows_status_place_and_what_was_measured(bare: selfevo.SavedRun) -> None:
    lines = repr(bare).splitlines()
    assert lines[0] == "SavedRun run" and lines[1].split() == ["status", "done"] and str(bare.root) in lines[2]
    first, last = (bare.evaluations["pass@1"].iloc[i] for i in (0, -1))
    (measured,) = [line for line in lines if "pass@1" in line]
    assert f"{first:.3f}" in measured and f"{last:.3f}" in measured.partition("→")[2]


def test_a_notebook_shows_the_same_and_text_stays_text(bare: selfevo.SavedRun, tmp_path: Path) -> None:
    seen = Seen(bare._repr_html_())
    assert set(seen.tags) <= {"div", "table", "caption", "tbody", "tr", "th", "td"} and "done" in seen.text
    hostile = renamed(bare, tmp_path / "run", HOSTILE)
    seen = Seen(hostile._repr_html_())
    assert "script" not in seen.tags and "<script>alert(1)</script>" in seen.text and "<script>alert(1)<script>" in seen.text
    for shown in (hostile._repr_html_(), repr(hostile)):
        assert "\x1b" not in shown and "\u202e" not in shown
    runs = selfevo.load_runs(tmp_path)
    assert "script" not in Seen(runs._repr_html_()).tags and "\x1b" not in repr(runs)


class Output:
    """An output of a cell, as `IPython.display` gives it: what it showed, oldest first."""

    def __init__(self) -> None:
        self.shown: list[Any] = []

    def __call__(self, picture: Any) -> Output:
        self.shown.append(picture)
        return self

    update = __call__


def test_a_cell_has_one_output_that_is_kept_up_to_date(tmp_path: Path) -> None:
    output, clock = Output(), [0.0]
    said: list[str] = []
    view = NotebookView(output, said.append, lambda: clock[0])
    view.start(SimpleNamespace(name=HOSTILE), tmp_path, False)  # type: ignore[arg-type]
    assert "loading" in Seen(output.shown[0]._repr_html_()).text
    for i in range(4):
        view.stage(f"main.{i}", "score", "score", i, 4)
        for episode in range(50):
            clock[0] += 0.01
            view.progress(episode, 50, "episodes")
        view.line({"path": f"main.{i}", "stage": "score", "kind": "score", "iteration": i, "seconds": 1.0,
                   "metrics": {"score/score": 0.25 * i, "eval/<i>/pass@1": 0.5}})  # fmt: skip
    view.finish("done", {"total": clock[0]})
    assert 5 < len(output.shown) < 20  # not one for each of 200 episodes
    last = Seen(output.shown[-1]._repr_html_())
    assert "0.750" in last.text and "<i>" in last.text and "4/4" in last.text and "left" not in last.text and "script" not in last.tags
    assert said == ["\n".join(said[0].splitlines())] and said[0].startswith("done after 2.0 s") and str(tmp_path) in said[0]


def test_a_view_that_never_began_says_nothing() -> None:
    output = Output()
    said: list[str] = []
    NotebookView(output, said.append).finish("failed", {})
    assert output.shown == said == []
