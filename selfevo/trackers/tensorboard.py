"""TensorBoard: event files in the run directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..view import committed
from .tracker import Quiet, load, scalars

if TYPE_CHECKING:
    from ..spec import RunSpec


class TensorBoard(Quiet):
    """Writes event files for `tensorboard --logdir`.

    dir: folder for them; None: `tensorboard` in the run directory, which a resumed run adds to.
    """

    def __init__(self, dir: str | None = None):
        self.dir = dir
        self._writer: Any = None
        self._step = 0

    def start(self, spec: RunSpec, root: Path, resumed: bool) -> None:
        """Open a new event file, with the spec as text; steps that a killed run wrote beyond its last commit are written again."""
        load("tensorboard", "tensorboard", "tensorboard")
        writer = load("torch.utils.tensorboard", "tensorboard", "torch").SummaryWriter
        self._step = len(committed(root)) if resumed else 0
        folder = Path(self.dir) / root.name if self.dir is not None else root / "tensorboard"
        self._writer = writer(str(folder), purge_step=self._step if resumed else None)
        if not resumed:
            self._writer.add_text("spec", f"{spec.name}, seed {spec.seed}; see spec.yaml", 0)

    def line(self, line: Mapping[str, Any]) -> None:
        """Write one line at the next step."""
        for name, value in scalars(line):
            self._writer.add_scalar(name, value, self._step)
        self._step += 1

    def finish(self, status: str, seconds: Mapping[str, float]) -> None:
        """Write how the run ended and close the file."""
        if self._writer is None:
            return
        self._writer.add_text("status", status, self._step)
        self._writer.close()
        self._writer = None
