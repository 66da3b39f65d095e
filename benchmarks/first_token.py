"""`python -m benchmarks.first_token OUT ARGUMENTS...`: the `selfevo` command, ended at the first token that the engine draws.

Writes the monotonic clock, which all processes of a machine share, to OUT. The product knows nothing of it: a call of
`engines.draws.Draws` is wrapped as its module is imported.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

MODULE, CLASS = "selfevo.engines.draws", "Draws"


class Watch:
    """An import hook that replaces the call of one module's class as soon as the module has run."""

    def __init__(self, wrap: Callable[[Any], Any]):
        self.wrap = wrap

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The module's own spec, its loader told to wrap; None for every other module."""
        if name != MODULE:
            return None
        sys.meta_path.remove(self)  # type: ignore[arg-type]
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.loader is not None
        execute = spec.loader.exec_module

        def then_wrap(module: ModuleType) -> None:
            execute(module)
            drawing: Any = getattr(module, CLASS)
            drawing.__call__ = self.wrap(drawing.__call__)

        spec.loader.exec_module = then_wrap  # type: ignore[method-assign]
        return spec


def ending_at(out: Path) -> Callable[[Any], Any]:
    """A wrapper after whose first call the process is over."""

    def wrap(draw: Any) -> Any:
        def first(*args: Any, **named: Any) -> None:
            draw(*args, **named)
            out.write_text(repr(time.monotonic()))
            os._exit(0)

        return first

    return wrap


if __name__ == "__main__":
    sys.meta_path.insert(0, Watch(ending_at(Path(sys.argv[1]))))  # type: ignore[arg-type]
    from selfevo.cli import main

    sys.exit(main(sys.argv[2:]))
