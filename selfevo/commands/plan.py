"""selfevo plan: what a spec needs of a cluster, and how long it takes, without a GPU, without weights, without starting anything."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import EXIT_DONE, EXIT_OTHER, UserError
from ..spec import build, preflight
from . import arguments as args
from .plain import put

if TYPE_CHECKING:
    from ..planning import Cluster
    from ..planning.plan import Plan
    from ..spec import RunSpec

USAGE = """usage: selfevo plan [key=value ...] [--prompt TOKENS] [--reply TOKENS]
                    [-v] [--json] [--config-dir DIR]

Memory, work and hours of a spec; starts nothing. The other arguments are those
of `selfevo run`. cluster=1x8 (or 4x8; cluster.gpu=a100-80g) describes the
machines; without it they are this one. Exit status 0 when it fits, 1 when it
does not, 2 for a mistake.

  selfevo plan experiment=qwen3_4b/grpo cluster=1x8"""


def main(arguments: Sequence[str]) -> int:
    """Print the plan. Raises SpecErrors for a spec with mistakes and UserError for a model whose shape is not known."""
    if any(a in ("-h", "--help") for a in arguments):
        print(USAGE)
        return EXIT_DONE
    rest, prompt, reply, verbose, as_json = _own(arguments)
    options = args.parse(rest)
    _, spec = preflight(options.overrides, args.folders(options), options.config_name or "config", args.sweeps(options))
    from ..planning.plan import PROMPT, make

    plan = make(spec, cluster_of(spec), PROMPT if prompt is None else prompt, reply)
    show(plan, verbose, as_json)
    return EXIT_OTHER if plan.problems else EXIT_DONE


def cluster_of(spec: RunSpec) -> Cluster:
    """The cluster that a spec describes, or this machine."""
    from ..planning.machine import here

    node = spec.raw.get("cluster")
    return here() if node is None else build(node)


def show(plan: Plan, verbose: bool, as_json: bool) -> None:
    """On standard output."""
    from ..planning import words

    if as_json:
        print(json.dumps(words.values(plan), indent=1))
    else:
        put(words.parts(plan, verbose))


def _own(arguments: Sequence[str]) -> tuple[list[str], int | None, int | None, bool, bool]:
    """The arguments that `run` knows, and ours."""
    rest: list[str] = []
    numbers: dict[str, int] = {}
    flags = {"-v": False, "--json": False}
    given = iter(arguments)
    for argument in given:
        name, equals, value = argument.partition("=")
        if name in ("--prompt", "--reply"):
            said = value if equals else next(given, "")
            if not said.isdigit() or int(said) < 1:
                raise UserError(f"{name} '{said}': expected a number of tokens")
            numbers[name] = int(said)
        elif argument in flags:
            flags[argument] = True
        else:
            rest.append(argument)
    return rest, numbers.get("--prompt"), numbers.get("--reply"), flags["-v"], flags["--json"]
