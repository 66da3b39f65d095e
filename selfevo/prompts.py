"""Prompt templates: a string is one user message, a list gives chat messages; `{name}` is filled from a task's variables."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import UserError, nearest
from .records import Message

Template = str | Sequence[Mapping[str, str]]


def fields(template: Template) -> set[str]:
    """Names of the variables a template needs."""
    texts = [template] if isinstance(template, str) else [m["content"] for m in template]
    return {name for text in texts for _, name, _, _ in string.Formatter().parse(text) if name}


def render(template: Template, variables: Mapping[str, Any], where: str = "prompt") -> list[Message]:
    """Messages of a template. Raises UserError naming a variable that is missing; variables it does not use are ignored."""
    for name in sorted(fields(template)):
        if name not in variables:
            raise UserError(f"{where}: the template needs the variable '{name}', which the task does not have{nearest(name, variables)}")
    parts = [{"role": "user", "content": template}] if isinstance(template, str) else template
    return [Message(p["role"], p["content"].format(**{k: variables[k] for k in fields(p["content"])})) for p in parts]
