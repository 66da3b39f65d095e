"""selfevo validate: compose and check a spec without starting anything (and without importing torch)."""

from __future__ import annotations

from collections.abc import Sequence

from ..spec import preflight
from . import arguments as args


def main(arguments: Sequence[str]) -> int:
    """Print one line when the spec is sound; raise SpecErrors with all of its mistakes when it is not."""
    if any(a in ("-h", "--help") for a in arguments):
        print("usage: selfevo validate [key=value ...] [--config-dir DIR]   (the same arguments as `selfevo run`)")
        return 0
    options = args.parse(arguments)
    _, spec = preflight(options.overrides, args.folders(options), options.config_name or "config", args.sweeps(options))
    stages = ", ".join(f"{name} ({node['kind']})" for name, node in spec.stages.items())
    print(f"{spec.name}: the spec is sound; stages: {stages}")
    return 0
