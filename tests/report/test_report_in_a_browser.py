"""The page as a reader meets it: Debian's Chromium, driven by Playwright."""

import time
from pathlib import Path

import pyarrow as pa
import pytest

from selfevo import report
from selfevo.records import Row, Task, Trajectory, Turn
from selfevo.tables import rows_table, scores_table

pytestmark = pytest.mark.slow

HOSTILE = {
    "closing": "</pre></script><script>window.hit = 1</script>",
    "handler": "<img src=x onerror='window.hit = 2'><svg onload='window.hit = 3'>\" onmouseover=\"window.hit = 4",
    "address": "[x](javascript:window.hit=5) <a href='javascript:window.hit=6'>x</a> data:text/html,<script>window.hit=7</script>",
    "template": "{{ constructor.constructor('window.hit = 8')() }} ${window.hit = 9} <%= 1 %> {% raw %}",
    "bidi": "safe \u202egnp.exe\u202c \u2066x\u2069 \u200bhidden",
    "terminal": "\x1b[31mred\x1b]0;title\x07 \x00 nul \x08\x7f \x9b31m",
    "comment": "<!-- <script> --> ]]> <![CDATA[ &lt;b&gt; &#60;i&#62;",
    "long": "x" * 1_000_000,
}


class Opened:
    """An open page and everything it complained about or asked the network for."""

    def __init__(self, browser, file, **context):
        self.page = browser.new_context(**context).new_page()
        self.troubles, self.requests = [], []
        self.page.on("console", lambda m: self.troubles.append(m.text))
        self.page.on("pageerror", lambda e: self.troubles.append(str(e)))
        self.page.on("dialog", lambda d: self.troubles.append(f"dialog {d.message}"))
        self.page.on("request", lambda r: self.requests.append(r.url))
        started = time.perf_counter()
        self.page.goto(file.as_uri())
        if context.get("java_script_enabled", True):
            self.page.wait_for_selector("#browser .rows .row")
        self.seconds = time.perf_counter() - started

    def count(self):
        """What the filter says it shows."""
        return self.page.locator("#browser .count").inner_text()

    def filtered(self, name, value):
        """Set a filter, wait, and return the count."""
        before = self.count()
        box = self.page.locator(f"#filter-{name}")
        box.select_option(label=value) if box.evaluate("x => x.tagName") == "SELECT" else box.fill(value)
        self.page.wait_for_function("before => document.querySelector('#browser .count').textContent !== before", arg=before)
        return self.count()


@pytest.fixture
def opened(chromium):
    """Opens a page; at the end it must not have complained, nor have asked for anything but itself."""
    made = []

    def open_(file, **context):
        made.append(Opened(chromium, file, **context))
        return made[-1]

    yield open_
    for one in made:
        assert one.troubles == []
        assert len(one.requests) == 1 and one.requests[0].startswith("file:")
        one.page.context.close()


def row(path, number, text, reward=None, question="1+1=?", role="solver", category="sum", level=1.0, **changes):
    turns = (Turn("policy", text, tuple(range(5, 5 + len(text))), tuple(-0.1 * i for i in range(len(text)))), Turn("env", "an observation"))
    task = Task({"question": question}, answer="2", category=category, difficulty=level)
    one = Row.of(Trajectory(f"{path}/{number:05d}.0", task, role, f"{role}@000000", turns, f"{path}/{number:05d}", **changes))
    return one if reward is None else one.rewarded("score", reward)


@pytest.fixture
def small(run_dir, make):
    """Two iterations: 6 trajectories each by two roles, one broken, one branch of another."""
    tables, lines = {}, []
    for i in range(2):
        path = f"main.{i}/rollout"
        rows = [row(path, n, f"answer {n}", n / 5, f"{n}+{i}=?", "solver" if n % 2 else "judge", level=float(n % 3)) for n in range(5)]
        rows.append(row(path, 5, "", None, status="error", error="boom"))
        rows[4] = row(path, 4, "answer branch", 1.0, parent=f"{path}/00003.0", prefix=3)
        tables[path] = (rows_table(rows, False), "rows")
        tables[f"main.{i}/score"] = (scores_table(rows, {r.trajectory.id: path for r in rows}), "scores")
        lengths, rewards = {"rollout/length": 5.0 + i, "rollout/entropy": 0.5 - 0.1 * i}, {"rollout/reward": 0.4 + 0.1 * i}
        lines.append(make.line(f"main.{i}", "rollout", "rollout", lengths, iteration=i))
        lines.append(make.line(f"main.{i}", "score", "score", rewards, iteration=i))
        lines.append(make.evaluation(f"main.{i}", 0.2 + 0.3 * i, 0.1 + 0.3 * i, 0.3 + 0.3 * i, iteration=i))
    return report.write(run_dir(lines, tables=tables))


def test_filters_leave_exactly_what_they_name(small, opened):
    seen = opened(small)
    assert seen.count() == "12 of 12 trajectories"
    assert seen.filtered("role", "judge").startswith("4 of 12")
    assert seen.filtered("from", "1").startswith("2 of 12")
    seen.page.get_by_role("button", name="Clear").click()
    assert seen.filtered("status", "error").startswith("2 of 12")
    seen.page.get_by_role("button", name="Clear").click()
    assert seen.filtered("low", "0.4").startswith("6 of 12")
    assert seen.filtered("high", "0.6").startswith("4 of 12")
    seen.page.get_by_role("button", name="Clear").click()
    assert seen.filtered("text", "BRANCH").startswith("2 of 12")
    assert seen.filtered("text", "nowhere to be found").startswith("0 of 12")


def test_the_keyboard_reaches_searches_moves_and_reads(small, opened):
    page = opened(small).page
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "filter-text"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.getAttribute('role')") == "listbox"
    for _ in range(5):
        page.keyboard.press("ArrowDown")
    assert page.locator("#browser .detail h3").inner_text() == "main.0/rollout/00004.0"
    assert page.locator("[role=listbox]").get_attribute("aria-activedescendant") == page.locator("[aria-selected=true]").get_attribute("id")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.className") == "detail"
    tree = page.locator("#browser .tree")
    assert "shares 3 tokens" in tree.inner_text()
    tree.get_by_role("button", name="main.0/rollout/00003.0").click()
    page.wait_for_function("() => document.querySelector('#browser .detail h3').textContent === 'main.0/rollout/00003.0'")
    page.keyboard.press("Escape")
    page.keyboard.press("End")
    assert page.locator("#browser .detail h3").inner_text() == "main.1/rollout/00005.0"
    assert "episode: boom" in page.locator("#browser .detail").inner_text()
    page.keyboard.press("/")
    order = []
    while "listbox" not in order and len(order) < 20:
        page.keyboard.press("Tab")
        order.append(page.evaluate("(x => x.getAttribute('role') || x.name || x.textContent)(document.activeElement)"))
    assert order == ["role", "status", "from", "to", "low", "high", "order", "Clear", "listbox"]


def test_turns_show_their_source_and_the_charts_have_data(small, opened):
    page = opened(small).page
    page.locator("#browser .rows .row").nth(1).click()
    assert [h.split()[0] for h in page.locator("#browser .turn h4").all_inner_texts()] == ["policy", "env"]
    lines = page.locator("figure.lines svg.chart path[stroke^='var(--c']")
    assert lines.count() >= 3 and all(len(lines.nth(i).get_attribute("d")) > 8 for i in range(lines.count()))
    assert page.locator("figure.heat").count() == 1
    for i in range(page.locator("figure").count()):
        figure = page.locator("figure").nth(i)
        assert len(figure.locator("[role=img]").get_attribute("aria-label")) > 30
        assert figure.locator("tbody tr").count() >= 1


@pytest.mark.parametrize("kind", list(HOSTILE))
def test_hostile_outputs_are_shown_and_stay_inert(kind, run_dir, make, opened):
    text = HOSTILE[kind]
    one = row("main.0/rollout", 0, "", 1.0, text, text if kind != "long" else "solver", text[:500])
    turns = (Turn("policy", text), Turn("tool", text), Turn("judge", text))
    one = Row.of(Trajectory("main.0/rollout/00000.0", one.trajectory.task, one.trajectory.role, "solver@000000", turns, "e", error=text,
                            keys={text[:200]: text}, status="error")).rewarded(text[:300], 1.0, feedback=text, info={text[:200]: text})
    lines = [make.line("main.0", "rollout", "rollout", {f"rollout/{text[:99]}": 1.0})]
    lines += [make.line(f"main.{i}", "score", "score", {f"score/{text[:99]}": float(i)}) for i in range(3)]
    tables = {"main.0/rollout": (rows_table([one], True), "rows")}
    seen = opened(report.write(run_dir(lines, tables=tables)))
    page = seen.page
    page.locator("#browser .rows .row").first.click()
    page.mouse.move(300, 300)
    page.wait_for_timeout(200)
    assert page.evaluate("window.hit") is None
    assert page.locator("main img, main iframe, main object, main a[href^='javascript']").count() == 0
    assert page.locator("script").count() == 2
    shown = page.locator("#browser .turn.policy pre").inner_text()
    if kind == "bidi":
        assert "⟨U+202E⟩gnp.exe⟨U+202C⟩" in shown and "\u202e" not in page.content().split('id="trajectory-data"')[0]
    elif kind == "terminal":
        assert "␛[31mred␛]0;title␇ ␀ nul ␈␡ ⟨U+009B⟩31m" in shown
    elif kind == "long":
        assert "993,000 characters left out" in shown and len(shown) < 8000
    else:
        assert shown == text
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth + 1")


def test_without_script_all_but_the_browser_is_there(small, opened):
    page = opened(small, java_script_enabled=False).page
    assert page.locator("figure svg.chart").count() >= 3 and page.locator("#gains").is_visible()
    assert page.locator("#browser").inner_text() == "" and page.locator(".static-only article").count() >= 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark_and_nothing_overflows_a_phone(small, opened, scheme):
    page = opened(small, color_scheme=scheme, viewport={"width": 400, "height": 800}).page
    page.locator("#browser .rows .row").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    ratios = page.evaluate("""() => {
      const linear = v => v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4;
      const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(linear);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
      const back = light(getComputedStyle(document.body).backgroundColor);
      const texts = 'h1, h2, td, dt, caption, a, .count, .row span, .detail h4, figcaption, svg.chart text';
      return [...document.querySelectorAll(texts)].map(x => {
        const style = getComputedStyle(x), ink = light(x.closest('svg') ? style.fill : style.color);
        return (Math.max(ink, back) + 0.05) / (Math.min(ink, back) + 0.05); });
    }""")
    assert len(ratios) > 50 and min(ratios) >= 4.5


def test_100_000_trajectories_open_in_under_3_seconds_and_scroll(run_dir, make, opened, capsys):
    tables, lines, n = {}, [], 2000
    rows = [row("main.0/rollout", j, f"{j} plus {j} is {2 * j}. " * 8, (j % 11) / 10, f"{j}+{j}=?", level=float(j % 5)) for j in range(n)]
    table = rows_table(rows, True)
    for i in range(50):
        path = f"main.{i}/rollout"
        ids = pa.array([f"{path}/{j:05d}.0" for j in range(n)])
        tables[path] = (table.set_column(0, table.schema.field(0), ids), "rows")
        lines.append(make.line(f"main.{i}", "rollout", "rollout", {"rollout/length": 10.0 + i}, iteration=i))
    root = run_dir(lines, tables=tables)
    started = time.perf_counter()
    file = report.write(root)
    written = time.perf_counter() - started
    size = file.stat().st_size
    seen = opened(file)
    page = seen.page
    with capsys.disabled():
        print(f"\n100,000 trajectories: written in {written:.1f} s, {size / 1e6:.1f} MB, opened in {seen.seconds:.2f} s")
    assert size < 6_000_000 and seen.seconds < 3
    assert seen.count() == "100,000 of 100,000 trajectories"
    assert "All 100,000 trajectories of the run are listed; the text of" in page.locator(".scripted-only").inner_text()
    box = page.locator("[role=listbox]")
    assert page.locator("#browser .rows .row").count() < 100
    box.evaluate("x => { x.scrollTop = x.scrollHeight / 2; }")
    page.wait_for_function("() => [...document.querySelectorAll('#browser .rows .row')].some(r => r.id === 'entry-50000')")
    box.focus()
    page.keyboard.press("End")
    page.wait_for_function("() => document.querySelector('#browser [aria-selected=true]')?.id === 'entry-99999'")
    assert seen.filtered("low", "1").startswith("9,050 of 100,000")
    page.locator("#filter-whole").check()
    page.wait_for_function("() => !document.querySelector('#browser .count').textContent.startsWith('9,050')")
    page.locator("#browser .rows .row").first.click()
    assert " plus " in page.locator("#browser .turn.policy").inner_text()


def test_the_browser_works_over_a_source_that_answers_later_and_grows(chromium):
    """What a page that loads trajectories over HTTP relies on: the interface in the head of browser.js."""
    page = chromium.new_page()
    page.set_content('<!DOCTYPE html><title>x</title><style>.list { height: 300px; overflow: auto }</style><div id="place"></div>')
    folder = Path(report.__file__).parent
    page.add_style_tag(content=(folder / "page.css").read_text() + (folder / "browser.css").read_text())
    page.add_script_tag(content=(folder / "browser.js").read_text())
    page.evaluate("""() => {
      const table = n => ({path: 'main.0', stage: 'rollout', kind: 'rollout', iteration: 0, rows: n});
      const make = n => ({tables: [table(n)], total: n, entries: n, row: null,
        names: {role: ['solver'], status: ['finished'], category: ['']}, table: [[0, n]], role: [[0, n]], status: [[0, n]],
        category: [[0, n]], reward: Array(n).fill(1), level: Array(n).fill(null), length: Array(n).fill(3)});
      const later = value => new Promise(done => setTimeout(() => done(value), 30));
      const node = i => ({id: 't' + i, parent: i ? 't0' : null, prefix: i, entry: i, note: ''});
      window.view = selfevoBrowser.start(document.getElementById('place'), {
        index: make(3), scope: 'all texts', known: () => true, snippet: i => 'task ' + i, missing: i => 'entry ' + i + ' is gone',
        find: id => later(+id.slice(1)), search: text => later(new Set([1])),
        detail: i => later(i === 2 ? null : {id: 't' + i, parent: i ? 't0' : null, task: {vars: []}, tree: [node(0), node(1)],
          turns: [{source: 'policy', text: 'said ' + i}]})});
      window.grow = () => window.view.update(make(5));
    }""")
    count, rows, title = page.locator(".count"), page.locator(".rows .row"), page.locator(".detail h3")
    assert page.get_by_label("Search all texts").count() == 1
    rows.nth(1).click()
    page.wait_for_function("() => document.querySelector('.detail h3')?.textContent === 't1'")
    page.get_by_role("button", name="t0").click()
    page.wait_for_function("() => document.querySelector('.detail h3')?.textContent === 't0'")
    rows.nth(2).click()
    page.wait_for_function("() => document.querySelector('.detail').textContent.includes('entry 2 is gone')")
    assert title.inner_text() == "main.0/rollout, row 2"
    page.fill("#filter-text", "x")
    page.wait_for_function("() => document.querySelector('.count').textContent === '1 of 3 trajectories'")
    page.evaluate("grow()")
    page.wait_for_function("() => document.querySelector('.count').textContent === '1 of 5 trajectories'")
    page.get_by_role("button", name="Clear").click()
    page.wait_for_function("() => document.querySelector('.count').textContent === '5 of 5 trajectories'")
    assert rows.count() == 5 and count.get_attribute("aria-live") == "polite"
    page.close()


def test_the_page_of_a_sweep_opens_without_script_or_complaint(run_dir, make, tmp_path, chromium):
    for i in range(4):
        spec = f"name: <i>x</i>\nseed: {i % 2}\nodd: '</svg><script>window.hit = {i // 2}</script>'\n"
        run_dir([make.evaluation("main.0", 0.2 + i / 10, 0.1, 0.9)], spec=spec, root=tmp_path / f"many/{i}")
    page = chromium.new_page(viewport={"width": 400, "height": 800})
    troubles = []
    page.on("console", lambda m: troubles.append(m.text))
    page.goto(report.write(tmp_path / "many").as_uri())
    assert page.locator("figure.parallel svg path[stroke^='var(--c']").count() == 5 and page.locator("#ranked tbody tr").count() == 4
    assert page.evaluate("[window.hit, document.scripts.length, document.documentElement.scrollWidth]") == [None, 0, 400]
    assert troubles == []
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_of_a_comparison_opens_without_script_or_complaint(run_dir, make, tmp_path, chromium, scheme):
    from selfevo.comparing.comparison import compare
    from selfevo.report.compare import write

    for i in range(4):
        rows = [make.judged(f"{q}{k}", "x", float(q < "abcd"[i]), question=f"{q}<img src=x onerror='window.hit = 7'>")
                for q in "abc" for k in range(2)]  # fmt: skip
        lines = []
        for n in range(3):
            train = {"rollout/generated_tokens": 1000.0 + 40 * i}
            lines += [make.line(f"main.{n}", "train", "train", train, iteration=n), make.evaluation(f"main.{n}", (n + i) / 6, 0.1, 0.9, n)]
        spec = f"name: <i>x</i>\nseed: {i % 2}\nodd: '</svg><script>window.hit = {i // 2}</script>'\n"
        tables = {"main.2/evaluate": (rows_table(rows, True), "rows")}
        run_dir(lines, spec=spec, tables=tables, root=tmp_path / f"many/{'ab'[i // 2]}-{i % 2}")
    page = chromium.new_context(viewport={"width": 400, "height": 800}, color_scheme=scheme).new_page()
    troubles, requests = [], []
    page.on("console", lambda m: troubles.append(m.text))
    page.on("request", lambda r: requests.append(r.url))
    file = write(compare([tmp_path / "many"]), tmp_path / "compare.html")
    page.goto(file.as_uri())
    assert page.locator("figure.dots svg path[aria-label], figure.dots svg .mark-symbol path").count() >= 6
    assert page.locator("figure.lines svg .mark-line path").count() == 6 and page.locator("figure.lines svg .mark-area path").count() == 6
    assert page.locator("figure.bars svg .mark-rect path").count() == 3
    assert page.locator(".duel summary", has_text="differ most").count() == 1
    page.locator(".duel summary", has_text="differ most").click()
    assert "onerror" in page.locator(".duel details[open] table").first.inner_text()
    assert page.evaluate("[window.hit, document.scripts.length, document.documentElement.scrollWidth]") == [None, 0, 400]
    assert troubles == [] and requests == [file.as_uri()]
    page.close()
