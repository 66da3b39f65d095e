"""Which skills of a library a task is shown: tags first, then shared words (GRASP, arXiv:2605.29668, released code)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from ..errors import UserError, nearest
from ..records import Task
from .skill import Skill


class ByTags:
    """The `k` skills with the highest score above 0, best first, ties by file name:

        score = 10 tag_score + |tokens(context) and tokens(name, description, when)|

    tag_score sums over the tags: 3 where the tag stands in the context as it is, 2 where all its terms do, else the number of its terms
    that do. A skill without tags has tag_score 1. Tokens are words and single other signs, in lower case.

    Args:
        k: most skills shown.
        field: task variable that is the context.
        show: the "content" of a skill, or the whole "file".
    """

    def __init__(self, k: int = 3, field: str = "question", show: Literal["content", "file"] = "file"):
        if k < 1 or show not in ("content", "file"):
            raise UserError(f"memories.ByTags: k is {k} and show '{show}'; expected k of at least 1, and content or file")
        self.k, self.field, self.show = k, field, show

    def __call__(self, files: Mapping[str, str], task: Task) -> dict[str, str]:
        """File to what is shown of it."""
        if self.field not in task.vars:
            raise UserError(f"memories.ByTags: task {task.id} has no variable '{self.field}'{nearest(self.field, task.vars)}")
        skills = {file: Skill.read(file, text) for file, text in files.items()}
        context = str(task.vars[self.field])
        ranked = sorted(((-score(skill, context), file) for file, skill in skills.items()))
        chosen = [file for negative, file in ranked if negative < 0][: self.k]
        return {file: skills[file].content if self.show == "content" else files[file] for file in chosen}


def score(skill: Skill, context: str) -> int:
    """A skill's score in a context."""
    words = tokens(context)
    tagged = sum(_tag(tag, context.casefold(), words) for tag in skill.tags) if skill.tags else 1
    return 10 * tagged + len(words & tokens(" ".join((skill.name, skill.description, skill.when))))


def tokens(text: str) -> set[str]:
    """Words and single other signs, in lower case."""
    return set(re.findall(r"\w+|[^\w\s]", text.casefold()))


def _tag(tag: str, context: str, words: set[str]) -> int:
    terms = tokens(tag)
    if re.search(rf"(?<!\w){re.escape(tag.casefold())}(?!\w)" if tag[:1].isalnum() else re.escape(tag.casefold()), context):
        return 3
    return 2 if terms <= words else len(terms & words)
