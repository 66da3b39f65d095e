"""Arguments of `run` and `validate`: Hydra's flags and overrides, in any order, with mistakes as one line."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import NoReturn

from ..collecting import without_collector
from ..errors import UserError, nearest


@without_collector()
def parse(arguments: Sequence[str]) -> Namespace:
    """Hydra's options and `overrides`. Raises UserError for a flag that does not exist."""
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    flags = [flag for action in parser._actions for flag in action.option_strings]
    for argument in arguments:
        name = argument.partition("=")[0]
        if name.startswith("--") and name not in flags:
            raise UserError(f"unknown option '{name}'{nearest(name, [f for f in flags if f.startswith('--')], limit=20)}")

    def refuse(message: str) -> NoReturn:
        raise UserError(message)

    parser.error = refuse  # type: ignore[method-assign, assignment]
    return parser.parse_intermixed_args(list(arguments))


def flags_only(arguments: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """The arguments without the overrides, in order."""
    left = list(overrides)
    out = []
    for argument in arguments:
        if argument in left:
            left.remove(argument)
        else:
            out.append(argument)
    return out


def folders(options: Namespace) -> list[str]:
    """Config folders the user adds."""
    return [options.config_dir] if options.config_dir is not None else []


def sweeps(options: Namespace) -> bool:
    """Whether several values of a key are several jobs."""
    return options.multirun or any(o.lower() == "hydra.mode=multirun" for o in options.overrides)


def only_runs(options: Namespace) -> bool:
    """Whether nothing but a job is asked of Hydra, and from the packaged configs."""
    asked = (options.cfg, options.info, options.experimental_rerun, options.config_path, options.package, options.resolve or None)
    return not sweeps(options) and all(value is None for value in asked)
