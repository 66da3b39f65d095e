"""A skill: a Markdown file with a few fields at its head, as agents' skill libraries keep them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_HEAD = re.compile(r"\A---\n(?P<head>.*?)\n---\n?(?P<body>.*)\Z", re.DOTALL)
_FIELD = re.compile(r"^(?P<key>[\w-]+):[ \t]*(?P<value>.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Skill:
    """`description` says what it is for, `tags` name what it belongs to, `when` when it applies; `content` is the advice itself. `facts`
    are other fields of the head, kept as they are."""

    name: str
    description: str = ""
    tags: tuple[str, ...] = ()
    when: str = ""
    content: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, file: str, text: str) -> Skill:
        """From a file of a memory; a text without a head is all content, its name the file's."""
        name = file.rpartition("/")[2].removesuffix(".md")
        match = _HEAD.match(text)
        if match is None:
            return cls(name, content=text.strip())
        fields = {m["key"]: m["value"].strip() for m in _FIELD.finditer(match["head"])}
        tags = tuple(tag.strip() for tag in fields.get("tags", "").split(",") if tag.strip())
        facts = {key: value for key, value in fields.items() if key not in ("name", "description", "tags", "when")}
        return cls(fields.get("name", name), fields.get("description", ""), tags, fields.get("when", ""), match["body"].strip(), facts)

    @property
    def file(self) -> str:
        """The file that holds it: its name in small letters, digits and dashes."""
        return (re.sub(r"[^a-z0-9]+", "-", self.name.casefold()).strip("-") or "skill") + ".md"

    @property
    def text(self) -> str:
        """The file's text; `read` gives the skill back."""
        one_line = {"name": self.name, "description": self.description, "tags": ", ".join(self.tags), "when": self.when}
        one_line.update(self.facts)
        head = "\n".join(f"{key}: {' '.join(value.split())}" for key, value in one_line.items() if value)
        return f"---\n{head}\n---\n{self.content.strip()}\n"
