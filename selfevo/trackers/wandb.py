"""WandB: Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import UserError, nearest
from ..view import committed
from .tracker import Quiet, load, scalars

if TYPE_CHECKING:
    from ..spec import RunSpec

MODES = ("online", "offline", "disabled")
ID_FILE = "wandb_id.txt"


class WandB(Quiet):
    """Logs a run to Weights & Biases; a resumed run continues the same record (its id is kept in the run directory).

    project: project there. entity: user or team; None: your default. mode: "online", "offline" (files in the run directory, sent later
    with `wandb sync`) or "disabled". group: groups runs, for seeds of one setting. tags: labels.
    """

    def __init__(
        self,
        project: str = "selfevo",
        mode: Literal["online", "offline", "disabled"] = "online",
        entity: str | None = None,
        group: str | None = None,
        tags: Sequence[str] = (),
    ):
        if mode not in MODES:
            raise UserError(f"tracker wandb: mode '{mode}' is unknown{nearest(mode, MODES)}")
        self.project, self.mode, self.entity, self.group, self.tags = project, mode, entity, group, tuple(tags)
        self._run: Any = None
        self._step = 0

    def start(self, spec: RunSpec, root: Path, resumed: bool) -> None:
        """Open the record, with the resolved spec as its config."""
        wandb = load("wandb", "wandb", "wandb")
        id_file = root / ID_FILE
        known = id_file.read_text().strip() if id_file.is_file() else None
        self._step = len(committed(root)) if resumed else 0
        try:
            self._run = wandb.init(
                project=self.project, entity=self.entity, group=self.group, tags=self.tags, mode=self.mode, dir=str(root), name=root.name,
                config=dict(spec.raw), id=known, resume="allow" if known else None, settings=wandb.Settings(console="off", silent=True),
            )  # fmt: skip
        except wandb.Error as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise UserError(f"tracker wandb: {reason}; log in with `wandb login`, or set mode to offline") from error
        id_file.write_text(f"{self._run.id}\n")

    def line(self, line: Mapping[str, Any]) -> None:
        """Log one line at the next step."""
        self._run.log({**dict(scalars(line)), "stage": line["stage"]}, step=self._step)
        self._step += 1

    def finish(self, status: str, seconds: Mapping[str, float]) -> None:
        """Store status and times in the summary; a run that was not done is marked as failed or stopped there."""
        if self._run is None:
            return
        self._run.summary.update({"status": status, **{f"total_seconds/{k}": v for k, v in seconds.items()}})
        self._run.finish(exit_code=0 if status == "done" else 1)
        self._run = None
