"""Which texts of a memory are nearest to what a task is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from ..errors import UserError, nearest
from ..records import Task
from ..similarity import alike
from .skill import Skill


class Nearest:
    """The `k` files most like the task's variable `field`, best first: by cosine of character n-grams with a skill's `when` (or what it
    says, where it has none), then by its fact `utility`, then by name. Only files that share anything with it (or `at_least`) are chosen.

    Args:
        k: most files shown.
        field: task variable they are compared with.
        n: characters of an n-gram.
        at_least: least cosine of a file that is shown.
        show: the "content" of a skill, or the whole "file".
    """

    def __init__(
        self, k: int = 3, field: str = "question", n: int = 3, at_least: float = 0.0, show: Literal["content", "file"] = "content"
    ):
        if k < 1 or n < 1 or show not in ("content", "file"):
            raise UserError(f"memories.Nearest: k is {k}, n {n} and show '{show}'; expected 1 or more, and content or file")
        self.k, self.field, self.n, self.at_least, self.show = k, field, n, at_least, show

    def __call__(self, files: Mapping[str, str], task: Task) -> dict[str, str]:
        """File to what is shown of it."""
        if self.field not in task.vars:
            raise UserError(f"memories.Nearest: task {task.id} has no variable '{self.field}'{nearest(self.field, task.vars)}")
        about, ranked = str(task.vars[self.field]), []
        skills = {file: Skill.read(file, text) for file, text in files.items()}
        for file, skill in skills.items():
            likeness = alike(about, skill.when or f"{skill.description} {skill.content}", self.n)
            if likeness > 0 and likeness >= self.at_least:
                ranked.append((-likeness, -float(skill.facts.get("utility", 0.0)), file))
        chosen = [file for _, _, file in sorted(ranked)[: self.k]]
        return {file: skills[file].content if self.show == "content" else files[file] for file in chosen}
