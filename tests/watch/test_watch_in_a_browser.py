"""The page as a reader meets it: Debian's Chromium, a server in its own process, and a real run that goes on meanwhile."""

import json
import os
import re
import signal
import time
from urllib.parse import urlsplit

import pytest
from as_user import TINY, reached, start, waiting

from selfevo.records import Row, Task, Trajectory, Turn

pytestmark = pytest.mark.slow

HOSTILE = {
    "closing": "</pre></script></title><script>window.hit = 1</script>",
    "handler": "<img src=x onerror='window.hit = 2'><svg onload='window.hit = 3'>\" onmouseover=\"window.hit = 4",
    "address": "javascript:window.hit=5 <a href='javascript:window.hit=6'>x</a> <iframe srcdoc='<script>parent.hit=7</script>'>",
    "foreign": "<style>*{display:none}</style><link rel=stylesheet href=//evil.example/x><base href=//evil.example>",
    "template": "{{ constructor.constructor('window.hit = 8')() }} ${window.hit = 9} %3Cscript%3E __proto__",
}


class Opened:
    """A page, its server's process, and everything the page complained about or asked the network for."""

    def __init__(self, browser, *arguments, **context):
        self.process = start("watch", *map(str, arguments))
        self.process.stdout.readline()
        said = self.process.stdout.readline()
        self.url = re.search(r"http://127\.0\.0\.1:\d+/", said)[0]
        self.page = browser.new_context(**context).new_page()
        self.page.set_default_timeout(60_000)
        self.troubles, self.requests = [], []
        self.page.on("console", lambda m: self.troubles.append(m.text))
        self.page.on("pageerror", lambda e: self.troubles.append(str(e)))
        self.page.on("dialog", lambda d: self.troubles.append(f"dialog {d.message}"))
        self.page.on("request", lambda r: self.requests.append((r.method, r.url)))
        self.page.goto(self.url)

    def names(self):
        """The paths of the rows, from top to bottom."""
        return self.page.locator("#runs tbody .path").all_inner_texts()

    def until(self, script, arg=None):
        """Wait until a condition holds in the page."""
        end = time.monotonic() + 60  # Playwright's own waiting evaluates text, which the page's policy forbids
        while not self.page.evaluate(script, arg):
            assert time.monotonic() < end, script
            self.page.wait_for_timeout(50)

    def open(self, label):
        """Open a run."""
        self.page.locator("#runs tbody tr", has=self.page.get_by_text(label, exact=True)).locator(".open").click()

    def stop(self):
        """End the server."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.communicate(timeout=20)


@pytest.fixture
def opened(chromium):
    """Opens a page over folders; at the end it must not have complained, nor have asked for anything but its own server."""
    made = []

    def open_(*arguments, **context):
        made.append(Opened(chromium, *arguments, **context))
        return made[-1]

    yield open_
    for one in made:
        one.page.context.close()
        one.stop()
        here = urlsplit(one.url).netloc
        assert {(method, urlsplit(url).netloc) for method, url in one.requests} == {("GET", here)}
        assert one.troubles == []


STATE = "state => document.querySelector('#runs .is').textContent === state"


def points(page):
    """How many rows of numbers the first chart has."""
    figure = page.locator(".panel:not([hidden]) figure").first
    if not figure.locator("details[open]").count():
        figure.locator("summary").click()
        figure.locator("tbody tr").first.wait_for()  # a browser reports an opened fold in a later task, and the page then fills it
    return figure.locator("tbody tr").count()


def test_a_real_run_is_watched_from_its_beginning_to_its_end(tmp_path, opened):
    root, gate = tmp_path / "runs", tmp_path / "gate"
    root.mkdir()
    seen = opened(root)
    page = seen.page
    page.get_by_text("No run here yet").wait_for()
    run = start("run", *TINY, "scale.iterations=3", waiting(gate), f"hydra.run.dir={root}/first/run", cwd=tmp_path)
    try:
        reached(gate, run)
        seen.until(STATE, "running")
        assert seen.names() == ["first/run"]
        assert "0 / 3" in page.locator("#runs td.c-iteration").inner_text()
        seen.open("first/run")
        page.locator(".steps li").first.wait_for()
        seen.until("() => document.querySelector('.steps .at-work b').textContent === 'score'")
        assert "a process on this machine is at work in it" in page.locator(".why").inner_text().lower()
        page.locator(".panel:not([hidden]) figure").first.wait_for()
        before = points(page)
        assert before == 1, "the evaluation at the start"
        page.locator(".browse summary").first.click()
        page.wait_for_selector(".browser .rows .row")
        few = page.locator(".browser .count").inner_text()
        page.locator(".browser .rows .row").first.click()
        page.wait_for_selector(".browser .turn.policy")
        shown = page.locator(".browser .detail h3").inner_text()
        os_files = {p: p.stat().st_mtime_ns for p in root.rglob("*") if p.is_file()}
        page.wait_for_timeout(1500)
        assert {p: p.stat().st_mtime_ns for p in root.rglob("*") if p.is_file()} == os_files, "the run waits, and nobody else writes"
        gate.touch()
        _, err = run.communicate(timeout=240)
        assert run.returncode == 0, err
    finally:
        run.kill()
    seen.until(STATE, "done")
    assert "3 / 3" in page.locator("#runs td.c-iteration").inner_text()
    seen.until("few => document.querySelector('.browser .count').textContent !== few", few)
    assert page.locator(".browser .detail h3").inner_text() == shown, "what is being read stays"
    seen.until("document.querySelector('.panel:not([hidden]) figure tbody').rows.length === 4")
    assert page.locator(".steps .done").count() == page.locator(".steps li").count() == 4
    assert page.locator("#link").inner_text() == "live"


def test_sorting_filtering_and_two_runs_at_once(tmp_path, write, opened):
    for name, values in (("alpha", (0.5, 0.25)), ("beta", (0.75, 0.5, 1.0)), ("gamma10", ()), ("gamma9", (0.125,))):
        run = write(tmp_path / "runs" / name)
        for n, value in enumerate(values):
            run.iteration(n, value)
        if name == "beta":
            run.end()
        os.utime(run.root / "manifest.jsonl", (1e9, 1e9 + len(values)))
    seen = opened(tmp_path / "runs")
    page = seen.page
    seen.until("document.querySelectorAll('#runs tbody tr').length === 4")
    head = page.locator("#runs thead")
    head.get_by_role("button", name="Run", exact=True).click()
    assert seen.names() == ["alpha", "beta", "gamma9", "gamma10"], "natural order"
    head.get_by_role("button", name="Main metric").click()
    assert seen.names()[:3] == ["beta", "alpha", "gamma9"]
    assert page.locator("#runs th[aria-sort=descending]").inner_text() == "Main metric"
    page.keyboard.press("Enter")
    assert seen.names() == ["gamma9", "alpha", "beta", "gamma10"], "a run without a value is last either way"
    page.keyboard.press("Space")
    assert page.locator("#runs th[aria-sort=none]").count() == 9
    for name in ("Iteration", "Tokens", "Elapsed", "Last change", "Trend"):
        head.get_by_role("button", name=name).click()
        assert seen.names()[0] == "beta", name
    head.get_by_role("button", name="State").click()
    assert seen.names()[-1] == "beta", "the only one that is done"
    page.locator("#filter").fill("gamma")
    assert sorted(seen.names()) == ["gamma10", "gamma9"] and "2 of 4 runs" in page.locator("#count").inner_text()
    page.locator("#filter").fill("done sums")
    assert seen.names() == ["beta"]
    page.locator("#filter").fill("nowhere")
    assert page.get_by_text("No run matches the filter").is_visible()
    page.locator("#filter").fill("")

    seen.open("alpha")
    page.locator("#runs .open", has_text="demo").nth(seen.names().index("beta")).focus()
    page.keyboard.press("Enter")
    page.get_by_role("tab", name="Compare").click()
    page.wait_for_selector("#panel-compared figure .legend li")
    assert page.locator("#panel-compared figure").first.locator(".legend li").all_inner_texts() == ["alpha", "beta"]
    page.locator("#panel-compared select").first.select_option("tokens")
    seen.until("document.querySelector('#panel-compared figure .picture').getAttribute('aria-label').includes('tokens sampled')")
    labels = [page.locator("#panel-compared figure").nth(i).locator("[role=img]").get_attribute("aria-label") for i in range(2)]
    assert "alpha: from 0.5 to 0.25" in labels[0] and "beta: from 0.75 to 1" in labels[0]
    page.get_by_role("tab", name="Compare").focus()
    page.keyboard.press("ArrowLeft")
    assert page.locator("[role=tab][aria-selected=true]").inner_text() == "beta"
    page.reload()
    page.wait_for_selector(".panel:not([hidden]) figure")
    assert page.locator("[role=tab]").all_inner_texts() == ["alpha", "beta", "Compare"], "the address holds what is open"
    page.locator("[role=tab][aria-selected=true]").focus()
    page.keyboard.press("Delete")
    assert page.locator("[role=tab]").all_inner_texts() == ["alpha"]
    page.get_by_role("button", name="Stop watching").click()
    assert page.locator("[role=tab]").count() == 0 and page.locator("#opened").is_hidden()


def test_a_run_that_is_deleted_or_half_written_does_not_break_the_page(tmp_path, write, opened):
    import shutil

    a, b = write(tmp_path / "runs/a"), write(tmp_path / "runs/b")
    for run in (a, b):
        run.iteration(0, 0.5)
    seen = opened(tmp_path / "runs")
    page = seen.page
    seen.open("a")
    page.wait_for_selector(".panel:not([hidden]) figure")
    a.append("manifest.jsonl", {"path": "main.1", "stage": "rollout"}, half=True)
    b.iteration(1, 0.75)
    seen.until("[...document.querySelectorAll('#runs td.c-iteration')].some(x => x.textContent.includes('2 / 4'))")
    assert page.locator("#runs td.c-iteration").all_inner_texts().count("1 / 4") == 1
    shutil.rmtree(a.root)
    seen.until("document.querySelectorAll('#runs tbody tr').length === 1")
    assert seen.names() == ["b"] and page.locator("[role=tab]").count() == 0


@pytest.mark.parametrize("kind", list(HOSTILE))
def test_hostile_outputs_are_shown_and_stay_inert(kind, tmp_path, write, opened):
    text = HOSTILE[kind]
    spec = f"name: {json.dumps(text)}\nseed: {json.dumps(text)}\n"
    spec += "stages: {rollout: {kind: rollout}}\nloop: {main: {repeat: 2, do: [rollout]}}\n"
    run = write(tmp_path / "runs/a", spec=spec)
    turns = (Turn("policy", text), Turn("tool", text))
    task = Task({"question": text, text: text}, answer=text, category=text)
    one = Row.of(Trajectory("main.0/rollout/0.0", task, text, "solver@000000", turns, "e", error=text, keys={text: text}, status="error"))
    run.put("main.0", "rollout", [one.rewarded(text, 1.0, feedback=text, info={text: text})])
    metrics = {"rollout/error": 1.0, "rollout/trajectories": 1.0, "rollout/reward": 0.5, f"score/{text}_errors": 3.0}
    metrics[f"eval/{text.replace('/', '')}/pass@1"] = 0.5
    run.commit("main.0", "rollout", "rollout", metrics, table="rows")
    run.log("running demo", text, "failed after 3.0 s")
    seen = opened(tmp_path / "runs")
    page = seen.page
    seen.open("a")
    page.wait_for_selector(".panel:not([hidden]) figure")
    page.locator(".browse summary").first.click()
    page.locator(".browser .rows .row").first.click()
    page.wait_for_selector(".browser .turn.policy")
    page.locator(".panel details:not(.browse)").last.locator("summary").click()
    page.locator("#filter").fill(text[:6])
    page.mouse.move(300, 300)
    page.wait_for_timeout(300)
    assert page.evaluate("window.hit") is None
    assert page.locator(".browser .turn.policy pre").inner_text() == text
    page.locator(".failures button").first.wait_for()
    assert text in page.locator(".failures").inner_text()
    page.locator(".browser .detail").evaluate("x => x.querySelector('h3').textContent = 'another'")
    page.locator(".failures button").first.click()
    seen.until("() => document.querySelector('.browser .detail h3').textContent === 'main.0/rollout/0.0'")
    seen.until("text => document.querySelector('.log pre').textContent.includes(text)", text)
    assert page.locator(".panel:not([hidden]) h2").inner_text() == text
    assert page.locator("main img, main iframe, main style, main link, main base, main script, main a[href]").count() == 0
    assert page.locator("script:not([src^='/'])").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth + 1")


def test_a_server_that_is_killed_is_said_and_its_return_is_noticed(tmp_path, write, opened):
    run = write(tmp_path / "runs/a")
    run.iteration(0, 0.5)
    seen = opened(tmp_path / "runs")
    page = seen.page
    seen.open("a")
    page.wait_for_selector(".panel:not([hidden]) figure")
    port = urlsplit(seen.url).port
    seen.process.kill()
    seen.process.communicate()
    page.locator("#lost").wait_for()
    assert "does not answer" in page.locator("#lost").inner_text() and page.locator("#link").inner_text() == "not connected"
    assert page.locator(".panel figure").count() > 0, "what was there stays readable"
    run.iteration(1, 0.75)
    seen.process = start("watch", str(tmp_path / "runs"), f"port={port}")
    page.locator("#lost").wait_for(state="hidden")
    seen.until("document.querySelector('#runs td.c-iteration').textContent.includes('2 / 4')")
    assert all("Failed to load resource" in t for t in seen.troubles)
    seen.troubles.clear()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_page_keeps_its_width(scheme, tmp_path, write, opened):
    run = write(tmp_path / "runs" / ("a-long-name-" * 6))
    run.iteration(0, 0.5)
    turns = (Turn("policy", "y" * 500),)
    run.put("main.1", "rollout", [Row.of(Trajectory("main.1/rollout/0.0", Task({"q": "x" * 300}), "solver", "s@0", turns, "e"))])
    run.commit("main.1", "rollout", "rollout", {"rollout/reward": 0.5}, 1, table="rows")
    seen = opened(tmp_path / "runs", viewport={"width": 400, "height": 800}, color_scheme=scheme)
    page = seen.page
    page.locator(".open").first.click()
    page.wait_for_selector(".panel:not([hidden]) figure")
    page.locator(".browse summary").first.click()
    page.locator(".browser .rows .row").first.click()
    page.wait_for_selector(".browser .turn.policy")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_a_hundred_thousand_trajectories_come_in_portions_and_scroll(tmp_path, write, opened):
    run = write(tmp_path / "runs/big")
    for i in range(5):
        path = f"main.{i}/rollout"
        rows = []
        for n in range(20_000):
            task, turns = Task({"question": f"{n}+{i}"}), (Turn("policy", f"say {n}"),)
            rows.append(Row.of(Trajectory(f"{path}/{n:05d}.0", task, "solver", "solver@000000", turns, "e")))
        run.put(f"main.{i}", "rollout", rows, judged=False)
        run.commit(f"main.{i}", "rollout", "rollout", {"rollout/reward": i / 5}, i, table="rows")
    seen = opened(tmp_path / "runs")
    page, answers = seen.page, []
    page.on("response", lambda r: answers.append(r) if "/trajectories?" in r.url else None)
    seen.open("big")
    page.wait_for_selector(".panel:not([hidden]) figure")
    began = time.perf_counter()
    page.locator(".browse summary").first.click()
    page.wait_for_selector(".browser .rows .row")
    first = time.perf_counter() - began
    seen.until("document.querySelector('.browser .count').textContent === '100,000 of 100,000 trajectories'")
    print(f"first portion after {first:.1f} s, all after {time.perf_counter() - began:.1f} s")
    assert len([r for r in answers if r.status == 200]) >= 5 and max(len(r.body()) for r in answers) < 400_000
    page.locator(".browser [role=listbox]").focus()
    page.keyboard.press("End")
    page.wait_for_selector(".browser .turn.policy")
    assert page.locator(".browser .turn.policy pre").inner_text() == "say 19999"
    seen.until("document.querySelector('.browser .rows [aria-selected=true] .task').textContent === '19999+4'")
    page.locator(".browser input[type=search]").fill("say 1234")
    seen.until("document.querySelector('.browser .count').textContent.startsWith('55 of')")
