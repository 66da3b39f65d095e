"""WandB: Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import UserError, nearest
from ..view import committed
from .tracker import Curves, Quiet, load

if TYPE_CHECKING:
    from ..spec import RunSpec

MODES = ("online", "offline", "disabled")
ID_FILE = "wandb_id.txt"


class WandB(Quiet):
    """Logs a run to Weights & Biases: every metric over the updates so far, the spec as its config, a few judged trajectories as tables.
    A resumed run continues the same record (its id is kept in the run directory).

    project: project there. entity: user or team; None: your default. mode: "online", "offline" (files in the run directory, sent later
    with `wandb sync`) or "disabled". group: groups runs, for seeds of one setting. tags: labels. samples: trajectories in the table of
    every judged stage, from the highest to the lowest reward; 0: none, and tables are not read (no `groups/` either).
    """

    def __init__(
        self,
        project: str = "selfevo",
        mode: Literal["online", "offline", "disabled"] = "online",
        entity: str | None = None,
        group: str | None = None,
        tags: Sequence[str] = (),
        samples: int = 4,
    ):
        if mode not in MODES:
            raise UserError(f"tracker wandb: mode '{mode}' is unknown{nearest(mode, MODES)}")
        if samples < 0:
            raise UserError(f"tracker wandb: samples must be 0 or more, got {samples}")
        self.project, self.mode, self.entity, self.group, self.tags, self.samples = project, mode, entity, group, tuple(tags), samples
        self._run: Any = None

    def start(self, spec: RunSpec, root: Path, resumed: bool) -> None:
        """Open the record, with the resolved spec as its config."""
        wandb = load("wandb", "wandb", "wandb")
        id_file = root / ID_FILE
        known = id_file.read_text().strip() if id_file.is_file() else None
        self._root, self._spec = root, spec.raw
        try:
            self._run = wandb.init(
                project=self.project, entity=self.entity, group=self.group, tags=self.tags, mode=self.mode, dir=str(root), name=root.name,
                config=dict(spec.raw), id=known, resume="allow" if known else None, settings=wandb.Settings(console="off", silent=True),
            )  # fmt: skip
        except wandb.Error as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise UserError(f"tracker wandb: {reason}; log in with `wandb login`, or set mode to offline") from error
        id_file.write_text(f"{self._run.id}\n")
        self._run.define_metric("updates", hidden=True)
        self._run.define_metric("*", step_metric="updates")  # the report's x
        self._catch_up(committed(root) if resumed else [])

    def _catch_up(self, before: Sequence[Mapping[str, Any]]) -> None:
        """Log again what was committed before and a kill kept from the record."""
        if self.mode == "offline":
            from .wandb_offline import recorded

            there = recorded(self._root, self._run.id)
        else:
            there = int(self._run.starting_step) if self.mode == "online" else len(before)
        self._curves = Curves(self._spec, before[:there])
        for line in before[there:]:
            self.line(line)

    def line(self, line: Mapping[str, Any]) -> None:
        """Log one line at the next step."""
        step = self._curves.step
        values: dict[str, Any] = {**self._curves.take(line), "stage": line["stage"]}
        if self.samples and self.mode != "disabled":
            from .samples import COLUMNS, Judged

            judged = Judged(self._root, self._spec, line)
            values |= self._curves.groups(line, judged)
            rows = judged.samples(self.samples)
            if rows:
                data = [[row[name] for name in COLUMNS] for row in rows]
                values[f"samples/{line['stage']}"] = load("wandb", "wandb", "wandb").Table(list(COLUMNS), data, allow_mixed_types=True)
        self._run.log(values, step=step)

    def finish(self, status: str, seconds: Mapping[str, float]) -> None:
        """Store status and times in the summary; a run that was not done is marked as failed or stopped there."""
        if self._run is None:
            return
        self._run.summary.update({"status": status, **{f"total_seconds/{k}": v for k, v in seconds.items()}})
        self._run.finish(exit_code=0 if status == "done" else 1)
        self._run = None
