"""Writes report.html, of a run or of a folder of runs."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import StoreError
from ..store import MANIFEST
from ..sweeps.jobs import FOLDER
from .page import render, render_sweep
from .read import read_run

NAME = "report.html"


def write(root: Path | str, status: str | None = None) -> Path:
    """Write `root`/report.html and return its path.

    The page is UTF-8 HTML that makes no request to anywhere. A directory whose run is still going on is read as it is, without its
    lock. `status` ("done", "stopped", "failed") overrides what the files tell, for the run that ends just now. A folder of several
    runs, or of a sweep's jobs, gets the page of a sweep.

    Raises UserError when `root` holds no run, StoreError when a manifest or metrics are corrupt or the page cannot be written.
    """
    root = Path(root)
    if not (root / MANIFEST).is_file() and root.is_dir() and (any(root.glob(f"*/{MANIFEST}")) or (root / FOLDER).is_dir()):
        from . import sweep

        return put(root / NAME, render_sweep(sweep.read(root)))
    run = read_run(root, status)
    return put(run.root / NAME, render(run))


def put(page: Path, html: str) -> Path:
    """Write a page whole or not at all; returns its path. Raises StoreError where that cannot be."""
    part = page.with_name(page.name + ".part")
    text = html.encode("utf-8", "replace")  # a lone surrogate in a metric's or a file's name becomes "?"
    try:
        part.write_bytes(text)
        os.replace(part, page)  # whoever looks at the page while the run goes on never sees half of it
    except OSError as error:
        raise StoreError(f"{page}: cannot write ({error.strerror or error})") from error
    return page
