"""One rank of a run that a launcher started: `python -m selfevo.commands.rank FOLDER`, where the folder holds job.json. Not for users."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from ..cli import complain
from ..errors import SelfevoError, UserError
from ..ranks import Ranks, Zero


def main(folder: Path) -> int:
    """Take part in the job; the main rank writes what came of it to said.json. Returns the exit status."""
    job = json.loads((folder / "job.json").read_text())
    (folder / f"pid.{os.getpid()}").touch()
    _end_with(job["parent"])
    os.environ.setdefault("ACCELERATE_USE_CPU", "false" if _has_gpu() else "true")
    said: dict[str, Any] = {"status": 0, "value": None, "text": "", "printed": False}
    ranks: Ranks | None = None
    try:
        ranks = Ranks(None if job["zero"] is None else Zero(**job["zero"]))
        said["value"] = _run(job, ranks)
    except SelfevoError as error:
        said |= {"status": error.exit_code, "text": str(error), "printed": getattr(error, "printed", False)}
        if not (ranks is not None and ranks.main) and not _main_rank_spoke(folder / "said.json"):
            complain(error)
    except KeyboardInterrupt:
        said |= {"status": 3, "text": "interrupted"}
    if ranks is not None and ranks.main:
        part = folder / "said.part"
        part.write_text(json.dumps(said))
        part.rename(folder / "said.json")
    if ranks is not None and said["status"] == 0:
        ranks.leave()
    return int(said["status"])


def _run(job: dict[str, Any], ranks: Ranks) -> float | None:
    from ..spec import load_text
    from .run import here

    return here(load_text(job["spec"]), Path(job["root"]), job["resume"], ranks)


def _main_rank_spoke(said: Path) -> bool:
    """Wait a moment for the main rank's word: the first rank that ends has torchrun end the others, and what ended them all is said once.
    On another machine than the main rank's there is no such word."""
    end = time.monotonic() + 10.0
    while not said.exists() and time.monotonic() < end:
        time.sleep(0.05)
    return said.exists()


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _end_with(parent: int) -> None:
    """No rank outlives the command that started the run, however that ended."""

    def watch() -> None:
        while True:
            time.sleep(1.0)
            try:
                os.kill(parent, 0)
            except ProcessLookupError:
                os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise UserError("this module is started by selfevo's launchers")
    try:
        code = main(Path(sys.argv[1]))
    except Exception:  # a rank that cannot even begin: torchrun reports its exit, the traceback says why
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    os._exit(code) if code else sys.exit(0)
