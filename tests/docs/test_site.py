"""The site builds without a warning, asks nothing of other machines, and its reference is what the docstrings say."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import reference
import yaml
from pages import ROOT
from playwright.sync_api import sync_playwright


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return reference.pages()


def test_the_reference_is_what_the_docstrings_say(made: dict[str, str]) -> None:
    wrong = [name for name, text in made.items() if (ROOT / "docs" / "reference" / name).read_text() != text]
    assert not wrong, "run `make reference`"
    assert {p.name for p in (ROOT / "docs" / "reference").glob("*.md")} == set(made)


def test_every_class_that_configs_write_has_its_section(made: dict[str, str]) -> None:
    from selfevo.catalogue.files import Tree

    told = set(re.findall(r"^`(selfevo[\w.]+)`$", "\n".join(made.values()), re.MULTILINE))
    written = {t for t in reference.uses(Tree()) if t.startswith("selfevo.")}
    assert not written - told


def test_every_argument_of_every_component_has_a_meaning(made: dict[str, str]) -> None:
    bare = []
    for name, text in made.items():
        for section in text.split("\n## ")[1:]:
            rows = section.partition("| argument | type | default | meaning |")[2].splitlines()
            bare += [f"{name}: {section.split()[0]} {row.split('|')[1].strip()}" for row in rows if row.endswith("|  |")]
    assert not bare


def test_every_page_is_in_the_navigation_once() -> None:
    def names(node: object) -> list[str]:
        if isinstance(node, str):
            return [node]
        return [n for item in (node.values() if isinstance(node, dict) else node) for n in names(item)]  # type: ignore[attr-defined]

    text = (ROOT / "mkdocs.yml").read_text()
    listed = names(yaml.safe_load(text)["nav"])
    there = {p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md")} | {"readme.md", "contributing.md"}
    assert sorted(listed) == sorted(there)


@pytest.mark.slow
def test_the_site_builds_strictly_loads_nothing_from_elsewhere_and_finds_what_is_searched(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 45
    for page in pages:
        loaded = re.findall(r"<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=\"?(https?:)?//", page.read_text())
        assert not loaded, page.name
    with serving(tmp_path) as address, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = browser.new_page()
        asked: list[str] = []
        wrong: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        for name in ("index", "readme", "architecture", "glossary", "reference/index", "reference/optimizer"):
            page.goto(f"{address}/{name}.html")
        page.locator("input[name=query]").first.click()
        page.locator("input[name=query]").first.fill("Boltzmann")
        page.wait_for_selector(".md-search-result__link", timeout=20_000)
        found = page.locator(".md-search-result__link").evaluate_all("links => links.map(a => a.href)")
        browser.close()
    assert any("reference/curriculum" in link for link in found)
    assert not [url for url in asked if not url.startswith((address, "data:", "blob:"))]
    assert not wrong


def chromium() -> str:
    """Debian's browser. Its absence is a failure, not a skip."""
    found = shutil.which("chromium")
    assert found is not None, "chromium is not installed: apt-get install chromium"
    return found


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The folder on a free port of this machine."""
    handler = functools.partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    """Serves files without a log line for each."""

    def log_message(self, *said: object) -> None:
        """Nothing."""
