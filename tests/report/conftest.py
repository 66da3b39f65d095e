"""Run directories written by hand, and the page read back with the standard library's HTML parser."""

import json
from html.parser import HTMLParser

import pytest

from selfevo.records import Cost, Row, Task, Trajectory, Turn

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """Every tag with its attributes, the text outside <style> and <script>, the scripts as (attributes, text), and tables by id as rows of
    cells (text, values of <data>)."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.tags, self.text, self.style, self.tables, self.scripts = [], "", "", {}, []
        self._open, self._table, self._cell = [], None, None
        self.feed(html)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        attrs = dict(attrs)
        if tag not in VOID:
            self._open.append(tag)
        if tag == "script":
            self.scripts.append((attrs, ""))
        if tag == "table" and "id" in attrs:
            self._table = self.tables.setdefault(attrs["id"], [])
        elif tag == "tr" and self._table is not None:
            self._table.append([])
        elif tag in ("td", "th") and self._table is not None:
            self._cell = ["", []]
            self._table[-1].append(self._cell)
        elif tag == "data" and self._cell is not None:
            self._cell[1].append(float(attrs["value"]))

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open and self._open[-1] == tag, f"</{tag}> closes {self._open[-3:]}"
        self._open.pop()
        if tag == "table":
            self._table = None
        elif tag in ("td", "th"):
            self._cell = None

    def handle_data(self, data):
        if self._open and self._open[-1] == "style":
            self.style += data
            return
        if self._open and self._open[-1] == "script":
            attributes, before = self.scripts[-1]
            self.scripts[-1] = (attributes, before + data)
            return
        self.text += data
        if self._cell is not None:
            self._cell[0] += data

    def rows(self, table):
        """Body rows of a table: {text of the first cells: values of the others}."""
        return [([c[0].strip() for c in row], [v for c in row for v in c[1]]) for row in self.tables[table][1:]]


@pytest.fixture
def run_dir(tmp_path):
    """Writes a run directory from metrics lines; `tables` maps "path/stage" to a table and its kind."""

    def make(lines, end=True, spec="name: demo\nseed: 7\n", tables=None, environment=None, root=None):
        import pyarrow.parquet as pq

        root = root or tmp_path / "run"
        root.mkdir(parents=True, exist_ok=True)
        (root / "spec.yaml").write_text(spec)
        (root / "environment.json").write_text(json.dumps(environment or {"selfevo": "0.1.0", "commit": None}))
        (root / "code.diff").write_text("")
        (root / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        manifest = [{"path": "", "stage": "create"}]
        for line in lines:
            kind = (tables or {}).get(f"{line['path']}/{line['stage']}", (None, ""))[1]
            manifest.append({k: line[k] for k in ("path", "stage", "kind")} | {"table": kind, "versions": [], "promotions": {}})
        manifest += [{"path": "", "stage": "end"}] if end else []
        (root / "manifest.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in manifest))
        for name, (table, _) in (tables or {}).items():
            file = root / f"tables/{name}.parquet"
            file.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, file)
        return root

    return make


def line(path, stage, kind, metrics, seconds=1.0, iteration=0):
    """One line of metrics.jsonl."""
    return {"path": path, "stage": stage, "kind": kind, "iteration": iteration, "versions": {}, "seconds": seconds, "metrics": metrics}


def judged(name, text, reward=None, question="2+2", **changes):
    """A row whose policy wrote `text`; rewarded as `score` unless `reward` is None."""
    turn = Turn("policy", text, tuple(range(len(text))), context=(1, 2))
    task = Task({"question": question}, answer="4")
    row = Row.of(Trajectory(f"main.0/rollout/{name}", task, "solver", "solver@000000", (turn,), name, cost=Cost(2, len(text)), **changes))
    return row if reward is None else row.rewarded("score", reward)


def evaluation(path, value, low, high, iteration=0):
    """An evaluate line with an interval."""
    metrics = {"eval/sums/pass@1": value, "eval/sums/pass@1/low": low, "eval/sums/pass@1/high": high, "eval/sums/errors": 0.0}
    return line(path, "evaluate", "evaluate", metrics, iteration=iteration)


@pytest.fixture
def make():
    """The helpers above, for test modules that cannot import this one."""

    class Make:
        pass

    for helper in (line, judged, evaluation, Page):
        setattr(Make, helper.__name__, staticmethod(helper))
    return Make
