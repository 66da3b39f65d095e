"""Writes a run's report.html."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import StoreError
from .page import render
from .read import read_run

NAME = "report.html"


def write(root: Path | str, status: str | None = None) -> Path:
    """Write `root`/report.html and return its path.

    The page is UTF-8 HTML with inline SVG and CSS: no script, no request to anywhere. A directory whose run is still going on is read
    as it is, without its lock. `status` ("done", "stopped", "failed") overrides what the files tell, for the run that ends just now.

    Raises UserError when `root` is no run directory, StoreError when its manifest or metrics are corrupt or the page cannot be written.
    """
    run = read_run(Path(root), status)
    page = run.root / NAME
    part = page.with_name(NAME + ".part")
    text = render(run).encode("utf-8", "replace")  # a lone surrogate in a metric's or a file's name becomes "?"
    try:
        part.write_bytes(text)
        os.replace(part, page)  # whoever looks at the page while the run goes on never sees half of it
    except OSError as error:
        raise StoreError(f"{page}: cannot write ({error.strerror or error})") from error
    return page
