"""A hook of mkdocs: README and CONTRIBUTING, which stand outside docs/, become pages, and links to and from them lead there.

So the same Markdown works on a code host and on the built site.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
OUTSIDE = {"README.md": "readme.md", "CONTRIBUTING.md": "contributing.md"}


def on_files(files: Files, config: Any) -> Files:
    """Add the pages."""
    for name, page in OUTSIDE.items():
        text = re.sub(r"\]\(docs/", "](", (ROOT / name).read_text())
        for other, target in OUTSIDE.items():
            text = text.replace(f"]({other}", f"]({target}")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links out of docs/ to those pages; those to other files become their paths."""
    for name, target in OUTSIDE.items():
        markdown = markdown.replace(f"](../{name}", f"]({target}")
    # other files of the repository: on a code host the link opens them, here the path is text
    return re.sub(r"\[([^\]]*)\]\(\.\./((?:selfevo|configs|tests|scripts|benchmarks)/[^)]*)\)", r"\1 (`\2`)", markdown)
