"""A role: which policy speaks, from which prompt, how it samples, and what it may read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .errors import UserError, nearest
from .protocols import Number, Retriever, RunCtx, Sampling, Varying


@dataclass(frozen=True, slots=True)
class Role:
    """Binding of a policy version to a prompt template, sampling settings and memories.

    `policy` is a policy's name ("solver", meaning its current version) or a version reference ("solver@base").
    `prompt` names a template under `prompts`. `memories` lists memories whose text fills template variables of the same name;
    "skills@best" reads that version. `retrieve` {memory: retriever} shows only what the retriever chooses for the task, one text a line
    and a line break after the last (so that nothing chosen leaves no gap: "{skills}{question}"); the names of the chosen files become
    the trajectory's key "read:<memory>". `engine` overrides the run's engine for this role (a name under `engines`).
    """

    policy: str
    prompt: str = "solve"
    max_tokens: int = 256
    temperature: Number = 1.0
    top_p: Number = 1.0
    top_k: int = 0
    stop: Sequence[str] = ()
    memories: Sequence[str] = ()
    engine: str | None = None
    retrieve: Mapping[str, Retriever] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise UserError(f"max_tokens must be at least 1, not {self.max_tokens}")
        if not isinstance(self.temperature, Varying) and self.temperature < 0:
            raise UserError(f"temperature must be 0 (greedy) or more, not {self.temperature}")
        if not isinstance(self.top_p, Varying) and not 0 < self.top_p <= 1:
            raise UserError(f"top_p must be in (0, 1], not {self.top_p}")
        read = {split_ref(ref)[0] for ref in self.memories}
        for name in self.retrieve:
            if name not in read:
                raise UserError(f"retrieve: the role reads no memory '{name}'{nearest(name, read)}")
        if self.top_k < 0:
            raise UserError(f"top_k must be 0 (off) or more, not {self.top_k}")

    def sampling(self, ctx: RunCtx) -> Sampling:
        """Sampling settings at this moment of the run (schedules and metrics resolved)."""
        return Sampling(self.max_tokens, ctx.value(self.temperature), ctx.value(self.top_p), self.top_k, tuple(self.stop))


def split_ref(ref: str, default: str = "current") -> tuple[str, str]:
    """ "solver@base" -> ("solver", "base"); "solver" -> ("solver", default)."""
    name, _, alias = ref.partition("@")
    return name, alias or default
