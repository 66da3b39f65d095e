"""SavedRun: a run read from its directory, as a notebook wants it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import batches, curves, evolvable, lineage, shown
from .pick import Iterations, Stages, pick

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from ..report.read import RunData
    from ..versions import Lineages


class SavedRun:
    """A run as its directory tells it at the moment it was loaded. Nothing here writes into the directory but `report`.

    Tables are asked for by `stage` (a name or several), `iteration` (a number of the outermost loop or several; -1 is the last) and
    `path` (a place in the loop: "main.3"); without them all of the kind are read.
    """

    def __init__(self, data: RunData):
        self._data = data

    @property
    def root(self) -> Path:
        """The run's directory."""
        return self._data.root

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self._data.name

    @property
    def status(self) -> str:
        """ "done", "running", "stopped", or "unfinished" where nothing tells whether a process is at work."""
        return self._data.status

    @property
    def spec(self) -> Mapping[str, Any]:
        """The resolved spec, as spec.yaml holds it."""
        return self._data.spec

    @property
    def environment(self) -> Mapping[str, Any]:
        """What the run was made with: versions, commit, machine, command."""
        return self._data.environment

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """A row per place in the loop ("start", "main.0", ...), a column per metric, under the names of metrics.jsonl and the report."""
        return curves.metrics(self._data.lines)

    def curve(self, metric: str, stage: str | None = None) -> pd.Series:
        """One metric over the updates (train stages) so far; `stage` says whose, where several log it."""
        return curves.curve(self._data.lines, metric, stage)

    @cached_property
    def evaluations(self) -> pd.DataFrame:
        """A row per suite and evaluation: path, stage, iteration, updates, suite, then "pass@1", "pass@1/low", "pass@1/high", ..."""
        return curves.evaluations(self._data.lines)

    @cached_property
    def stages(self) -> pd.DataFrame:
        """A row per committed stage, in order; `table` says what kind of table it wrote ("rows": trajectories; "scores"; "samples")."""
        return curves.stages(self._data.lines)

    def trajectories(
        self, stage: Stages = None, iteration: Iterations = None, path: str | None = None, columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """A row per trajectory, judged by the scores that later stages gave it (the last to speak of it counts).

        Columns: path, stage, iteration; id, episode, role, policy ("solver@000003"), status, error, parent, prefix; task (its id),
        category, level, reference (the answer looked for), origin, "var/<name>" (prompt variables); reply (the text that verifiers
        judge), length (sampled tokens); prompt_tokens, generated_tokens, discarded_tokens, calls, seconds; reward (the one that
        counts), keep, answer (what a verifier read), feedback, "reward/<part>"; "key/<name>" (group keys), "memory/<name>" (versions
        read). `columns` picks some, and only these are read from disk.
        """
        from .trajectories import trajectories

        return trajectories(self._data, pick(self._data.lines, ("rows",), stage, iteration, path), columns)

    def turns(
        self, stage: Stages = None, iteration: Iterations = None, path: str | None = None, columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """A row per turn of a trajectory, in order: path, stage, iteration, trajectory, turn (its number), source, text, tokens [T],
        logprobs [T] (natural logarithms, None where none were given), context (every id it was sampled under), version, temperature,
        finish."""
        from .turns import turns

        return turns(self._data, pick(self._data.lines, ("rows",), stage, iteration, path), columns)

    def scores(self, stage: Stages = None, iteration: Iterations = None, path: str | None = None) -> pd.DataFrame:
        """A row per judgement by one part of a verifier: path, stage, iteration, source (the table of the trajectory), trajectory, step
        (NaN: the whole), part, reward, status ("ok", "error", "timeout", "abstain"), error."""
        from .scores import scores

        return scores(self._data, pick(self._data.lines, ("rows", "scores"), stage, iteration, path))

    def samples(self, stage: Stages = None, iteration: Iterations = None, path: str | None = None) -> pd.DataFrame:
        """A row per fitted sample: path, stage, iteration, id, unit, place, response [T], "context/<name>" (ids), and its columns as
        "column/<name>" (advantages, masks, log-probs: a number or an array over the response)."""
        from .turns import samples

        return samples(self._data, pick(self._data.lines, ("samples",), stage, iteration, path))

    def arrow(self, stage: str, iteration: Iterations = None, path: str | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """The tables of a stage as the Parquet files hold them, nested columns and all, with path, stage and iteration in front."""
        lines = pick(self._data.lines, (), stage, iteration, path)
        kind = str(lines[0].entry["table"]) if lines else "rows"
        return batches.together(batches.batches(self.root, lines, columns), kind)

    def batches(
        self, stage: str, iteration: Iterations = None, path: str | None = None, columns: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The same as a stream, for tables that do not fit into memory."""
        return batches.batches(self.root, pick(self._data.lines, (), stage, iteration, path), columns)

    @cached_property
    def lineages(self) -> Lineages:
        """Versions of every policy and memory, and where the aliases point after the last commit."""
        return lineage.lineages(self._data)

    @property
    def versions(self) -> pd.DataFrame:
        """A row per version of a policy or memory: name, version, kind, parents, made_by, updates, aliases, kept (on disk), info."""
        from .optional import pandas

        columns = ["name", "version", "kind", "parents", "made_by", "updates", "aliases", "kept", "info"]
        return pandas().DataFrame(lineage.table(self._data, self.lineages), columns=columns)

    def policy(self, name: str | None = None, version: str | int = "current", device: str | None = None) -> Any:
        """A policy's weights as a transformers model in evaluation mode (with its adapter, where it has one).

        `name` may be left out where there is one policy. `version`: an alias ("current", "base", "best"), an id or its number; the base
        is built from the spec, others are read from `policies/`. `device`: where to put it, default what the spec says. Raises
        UserError that names the kept versions for one that was not.
        """
        chosen = evolvable.one(self._data, "policies", name)
        return evolvable.policy(self._data, self.lineages, chosen, version, device).model

    def tokenizer(self, name: str | None = None) -> Any:
        """The tokenizer of a policy, with the chat template that the run used."""
        return evolvable.tokenizer(self._data, evolvable.one(self._data, "policies", name))

    def memory(self, name: str | None = None, version: str | int = "current") -> dict[str, str]:
        """The texts of a memory: {file: text}."""
        return evolvable.memory(self._data, self.lineages, evolvable.one(self._data, "memories", name), version)

    def report(self) -> Path:
        """Write report.html anew and return its path."""
        from ..report import write

        return write(self.root)

    def __repr__(self) -> str:
        return shown.text(self._data)

    def _repr_html_(self) -> str:
        return shown.html(self._data)
