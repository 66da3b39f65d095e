"""What the pages name exists: links, classes, configs, files. Every page can be reached from the index."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from pages import PAGES, ROOT, blocks_of

from selfevo import spec
from selfevo.spec.signatures import locate

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
GROUPS = {p.name: {str(f.relative_to(p).with_suffix("")) for f in p.rglob("*.yaml")} for p in spec.configs().iterdir() if p.is_dir()}
DOCS = [page for page in PAGES if page.parent.name == "docs"]
PLAIN_KINDS = {"bash", "yaml", "python", "text", "json", ""}


def every_page(pages: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", pages, ids=lambda p: p.name)


@every_page(PAGES)
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    targets = [t.partition("#") for t in LINK.findall(page.read_text()) if "://" not in t]
    assert not [t for t, _, _ in targets if t and not (page.parent / t).exists()]


@every_page(PAGES)
def test_every_anchor_names_a_heading(page: Path) -> None:
    for target, _, anchor in (t.partition("#") for t in LINK.findall(page.read_text()) if "://" not in t):
        if anchor:
            headings = re.findall(r"^#+ (.+)$", (page.parent / target if target else page).read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
            assert anchor in slugs, f"{target}#{anchor}"


@every_page([page for page in DOCS if page.name != "index.md"])
def test_every_page_is_linked_from_the_index(page: Path) -> None:
    assert f"({page.name})" in (ROOT / "docs" / "index.md").read_text()


@every_page(PAGES)
def test_every_class_that_a_page_names_exists(page: Path) -> None:
    for name in set(re.findall(r"\bselfevo(?:\.\w+)*\.[A-Z]\w+", page.read_text())):
        locate(name)


@every_page(PAGES)
def test_every_choice_that_a_page_names_exists(page: Path) -> None:
    shown = {Path(b.file).with_suffix("").name for p in PAGES for b in blocks_of(p) if b.file is not None}
    for group, names in re.findall(r"(?<![\w./])\+?(\w+)=(\w[\w./,]*)", prose(page)):
        for name in names.strip(".").split(",") if group in GROUPS else ():
            assert name in GROUPS[group] or name in shown or f"selfevo list {group}={name}" in prose(page), f"{group}={name}"


@every_page(PAGES)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    text = prose(page)
    for name in set(re.findall(r"(?<![\w/.-])(?:configs|selfevo|scripts|tests|docs)/[\w./-]+\.(?:py|yaml|md)\b", text)):
        assert (ROOT / name).is_file(), name


@every_page(PAGES)
def test_yaml_blocks_are_yaml_and_every_block_says_its_kind(page: Path) -> None:
    for block in blocks_of(page):
        assert block.kind in PLAIN_KINDS, block.id
        if block.kind == "yaml":
            assert yaml.safe_load(block.body) is not None, block.id


@every_page(PAGES)
def test_pages_read_well_raw_at_eighty_columns(page: Path) -> None:
    if page.name in ("README.md", "CONTRIBUTING.md"):
        assert not [line for line in page.read_text().splitlines() if len(line) > 80 and not line.startswith("<!--")]


def prose(page: Path) -> str:
    """The page's text but for its YAML blocks, which spell choices in another way, and for mistakes made on purpose with their output."""
    text = page.read_text()
    for block in blocks_of(page):
        if block.kind == "yaml" or block.status:
            text = text.replace(block.body, "").replace(block.shown or "\0", "")
    return text
