"""Final answers: how they are found in a reply and brought to one form before they are compared.

The answer is what follows the last `####` (GSM8K's convention), else the content of the last `\\boxed{...}`, else what a regex
finds. Parts leave it under `Score.info["answer"]`, so later parts (votes, pass@k, distinct answers) agree on what was answered.
"""

from __future__ import annotations

import re
from typing import Literal

from ..errors import UserError, nearest
from ..records import Row

Where = Literal["marked", "hash", "boxed", "pattern", "text"]
"""marked: `####`, else boxed, else the pattern if one is given; hash, boxed, pattern: that alone; text: the whole reply."""

WHERES = ("marked", "hash", "boxed", "pattern", "text")

_HASH = re.compile(r"(?<!#)####(?!#)((?:(?!####)[^\n])*)")
_THOUSANDS = re.compile(r"[-+]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?%?")


def after_hash(text: str) -> str | None:
    """What follows the last `####` that something follows on its line. Five or more hashes are a heading, not a mark."""
    found = [m.group(1).strip() for m in _HASH.finditer(text)]
    return next((x for x in reversed(found) if x), None)


def boxed(text: str) -> str | None:
    """Content of the last `\\boxed{...}` (or `\\fbox`) whose braces balance; escaped braces do not count."""
    for start in reversed([m.end() for m in re.finditer(r"\\f?box(?:ed)?\s*\{", text)]):
        depth, at = 1, start
        while at < len(text) and depth:
            if text[at] == "\\":
                at += 1  # skips the escaped character, so \{ and \} leave the depth alone
            else:
                depth += {"{": 1, "}": -1}.get(text[at], 0)
            at += 1
        if depth == 0 and text[start : at - 1].strip():
            return text[start : at - 1].strip()
    return None


def normalise(answer: str, fold_case: bool = False) -> str:
    """One form for answers that differ only in dress: outer and repeated white space, `$`, thousands commas, a final full stop.

    Commas go only when the whole answer is one number ("1,234.5"), so that lists keep theirs.
    """
    text = " ".join(answer.replace("\\$", "").replace("$", "").split())
    if text.endswith(".") and not text.endswith(".."):
        text = text[:-1].rstrip()
    if _THOUSANDS.fullmatch(text):
        text = text.replace(",", "")
    return text.casefold() if fold_case else text


class Extract:
    """Finds the final answer of a reply.

    Args:
        where: see `Where`.
        pattern: a regex; its last match counts, and of it group 1 where it has groups. Needed for where="pattern", a fallback for "marked".
    """

    def __init__(self, where: Where = "marked", pattern: str | None = None):
        if where not in WHERES:
            raise UserError(f"extract: unknown value '{where}'{nearest(where, WHERES)}")
        if where == "pattern" and pattern is None:
            raise UserError("extract: 'pattern' needs a regex under `pattern`")
        if pattern is not None and where not in ("marked", "pattern"):
            raise UserError(f"extract: '{where}' ignores `pattern`; use 'pattern' or 'marked'")
        self.where, self.pattern = where, compiled(pattern) if pattern is not None else None

    def __call__(self, text: str) -> str | None:
        """The answer as written, or None where there is none."""
        if self.where == "text":
            return text.strip() or None
        answer = None
        if self.where in ("marked", "hash"):
            answer = after_hash(text)
        if answer is None and self.where in ("marked", "boxed"):
            answer = boxed(text)
        if answer is None and self.pattern is not None:
            answer = self._last_match(text)
        return answer

    def _last_match(self, text: str) -> str | None:
        assert self.pattern is not None
        found = list(self.pattern.finditer(text))
        return (found[-1].group(1 if self.pattern.groups else 0) or "").strip() or None if found else None


def compiled(pattern: str) -> re.Pattern[str]:
    """The regex, or UserError saying where it breaks."""
    try:
        return re.compile(pattern)
    except re.error as e:
        raise UserError(f"pattern: {pattern!r} is not a regular expression: {e}") from None


def answer_of(row: Row, extract: Extract) -> str | None:
    """The answer an earlier part left on the row, else the one extracted now, normalised."""
    if "answer" in row.score.info:
        return row.score.info["answer"]
    found = extract(row.trajectory.text)
    return None if found is None else normalise(found)
