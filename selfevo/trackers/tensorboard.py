"""TensorBoard: event files in the run directory."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..view import committed
from .settings import hyperparameters, measures
from .tracker import Curves, Quiet, load

if TYPE_CHECKING:
    from ..spec import RunSpec


class TensorBoard(Quiet):
    """Writes event files for `tensorboard --logdir`: every metric as a scalar, the spec as text and hyperparameters, a few judged
    trajectories as text, and at the end the report's sections and charts as the layout of "custom scalars".

    dir: folder for them; None: `tensorboard` in the run directory, which a resumed run adds to. samples: trajectories shown of every
    judged table, from the highest to the lowest reward; 0: none, and tables are not read (no `groups/` either).
    """

    def __init__(self, dir: str | None = None, samples: int = 4):
        if samples < 0:
            raise UserError(f"tracker tensorboard: samples must be 0 or more, got {samples}")
        self.dir, self.samples = dir, samples
        self._writer: Any = None

    def start(self, spec: RunSpec, root: Path, resumed: bool) -> None:
        """Open a new event file. Of a resumed run the last committed line is written again: the kill may have come before it was."""
        load("tensorboard", "tensorboard", "tensorboard")
        writer = load("torch.utils.tensorboard", "tensorboard", "torch").SummaryWriter
        self._root, self._spec = root, spec.raw
        before = committed(root) if resumed else []
        self._curves = Curves(spec.raw, before[:-1])
        folder = Path(self.dir) / root.name if self.dir is not None else root / "tensorboard"
        _await_a_later_name(folder)
        self._writer = writer(str(folder), purge_step=self._curves.step if resumed else None)
        if not self._curves.step:
            self._describe()
        for line in before[-1:]:
            self.line(line)

    def line(self, line: Mapping[str, Any]) -> None:
        """Write one line at the next step, and have it on disk: TensorBoard shows it now, and a kill does not lose it."""
        step = self._curves.step
        for name, value in self._curves.take(line).items():
            self._writer.add_scalar(name, value, step)
        if self.samples:
            from .samples import Judged

            judged = Judged(self._root, self._spec, line)
            for name, value in self._curves.groups(line, judged).items():
                self._writer.add_scalar(name, value, step)
            rows = judged.samples(self.samples)
            if rows:
                self._writer.add_text(f"samples/{line['stage']}", "\n\n".join(map(_text, rows)), step)
        self._writer.flush()

    def finish(self, status: str, seconds: Mapping[str, float]) -> None:
        """Write how the run ended and the layout, and close the file."""
        if self._writer is None:
            return
        step = self._curves.step
        self._writer.add_text("status", status, step)
        if status == "done":
            self._writer.file_writer.add_summary(self._session()[2], step)
        self._arrange(step)
        self._writer.close()
        self._writer = None

    def _describe(self) -> None:
        """The spec, as text and as hyperparameters."""
        import yaml

        text = yaml.safe_dump(dict(self._spec), sort_keys=False, allow_unicode=True, width=120)
        self._writer.add_text("spec", _indented(text), 0)
        for summary in self._session()[:2]:
            self._writer.file_writer.add_summary(summary, 0)

    def _session(self) -> tuple[Any, Any, Any]:
        """The experiment, its start and its end as the HParams page of TensorBoard reads them."""
        from torch.utils.tensorboard.summary import hparams

        return hparams(hyperparameters(self._spec), dict.fromkeys(measures(self._spec), 0.0))

    def _arrange(self, step: int) -> None:
        """The report's sections and charts over the names that were written."""
        from torch.utils.tensorboard.summary import custom_scalars

        from .layout import layout

        arranged = layout(self._root, self._spec, self.samples > 0)
        if arranged:
            self._writer.file_writer.add_summary(custom_scalars(arranged), step)


def _await_a_later_name(folder: Path) -> None:
    """Return in a second in which no event file of this folder was opened: at once, but for a run that is resumed within a second.

    TensorBoard reads event files by name: first comes the second of their opening, then the host, then the number of the process. Two of
    one second may thus be read in the wrong order, and the purge of the second one does not reach the first.
    """
    opened = [int(second) for path in folder.glob("events.out.tfevents.*") if (second := path.name.split(".")[3]).isdigit()]
    while opened and int(time.time()) == max(opened):
        time.sleep(0.02)


def _text(row: Mapping[str, Any]) -> str:
    """A trajectory in Markdown. What the model wrote is indented, so that it is a block of code whatever it holds."""
    reward = "no reward" if row["reward"] is None else f"reward {row['reward']:g}"
    head = f"**{reward}** ({row['rewards']}), {row['status']}" if row["rewards"] else f"**{reward}**, {row['status']}"
    facts = [f"{row['path']}/{row['stage']}, {row['id']}, {row['policy']}", row["task"], f"reference: {row['reference']}", "", row["turns"]]
    return f"{head}\n\n{_indented(chr(10).join([*facts, *([row['problem']] if row['problem'] else [])]))}"


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
