"""Answers kept on disk, so that what was asked once is not paid for again."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from ...errors import EngineError
from ...records import digest
from .ask import Answer, Ask


class Answers:
    """A folder with a JSON file per answer, named by a digest of url, body and seed.

    A file holds the request it answers, the answer, and a digest of both. It is written beside and renamed, so it is there whole or
    not at all, whoever else writes; of two runs that ask the same at once, the later answer stays. A file that is damaged anyway is
    not trusted: `get` calls `damaged`, the request is asked anew and its file replaced.
    """

    def __init__(self, root: Path, damaged: Callable[[], None] = lambda: None):
        self.root, self._damaged = root, damaged

    def prepare(self) -> None:
        """Make the folder. Raises EngineError when there can be none, before anything is paid for."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            if not os.access(self.root, os.W_OK | os.X_OK):
                raise PermissionError(13, "not writable")
        except OSError as error:
            raise self._unusable(error) from error

    def get(self, ask: Ask) -> Answer | None:
        """The answer that is kept, or None."""
        try:
            text = self._file(ask).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except UnicodeDecodeError:
            text = ""
        except OSError as error:
            raise self._unusable(error) from error
        try:
            held = json.loads(text)
            if held["digest"] != digest([held["request"], held["answer"]], 64) or held["request"] != json.loads(json.dumps(ask.content)):
                raise ValueError("not what was written")
            return Answer(**held["answer"])
        except (ValueError, KeyError, TypeError):
            self._damaged()
            return None

    def put(self, ask: Ask, answer: Answer) -> None:
        """Keep an answer."""
        held = {"request": ask.content, "answer": asdict(answer)}
        text = json.dumps({**held, "digest": digest(list(held.values()), 64)}, ensure_ascii=False, indent=1)
        file = self._file(ask)
        try:
            file.parent.mkdir(exist_ok=True)
            handle, part = tempfile.mkstemp(dir=file.parent, prefix=".", suffix=".part")  # readable by its owner only
            try:
                with open(handle, "w", encoding="utf-8") as out:
                    out.write(text + "\n")
                os.replace(part, file)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(part)
                raise
        except OSError as error:
            raise self._unusable(error) from error

    def _file(self, ask: Ask) -> Path:
        return self.root / ask.key[:2] / f"{ask.key}.json"

    def _unusable(self, error: OSError) -> EngineError:
        return EngineError(f"cache: '{self.root}' cannot be used ({error.strerror}); name another folder in `cache`, or null for none")
