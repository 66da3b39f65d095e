"""The command line's front door: picks a command, and prints every expected error as one line with its exit status.

Imports nothing but the standard library until a command is chosen, so that `selfevo --help` answers at once.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from . import __version__
from .collecting import none_at_exit, without_collector
from .errors import EXIT_OTHER, EXIT_STOPPED, SelfevoError, UserError, nearest

COMMANDS = {
    "run": "run an experiment: selfevo run experiment=quickstart (-m sweeps)",
    "resume": "go on with a run that was stopped: selfevo resume outputs/a/<time>",
    "validate": "check a spec and say what it does: the same arguments as run",
    "plan": "memory, work and hours of a spec: the same arguments, cluster=1x8",
    "doctor": "what this machine can run, and what to do about the rest",
    "list": "find experiments and choices: selfevo list curriculum=sec",
    "show": "one experiment in full: loop, settings, paper: selfevo show sec",
    "report": "write the page of a run or a sweep again: selfevo report DIR",
    "reproduce": "a method against its baseline over seeds: selfevo reproduce nft",
    "watch": "a local page that shows runs live: selfevo watch outputs",
    "compare": "compare runs, or those of a sweep: selfevo compare multirun/<time>",
}
"""Every command, with what `--help` says of it; each lives in `selfevo.commands.<name>`."""


def usage() -> str:
    """The text of `selfevo --help`."""
    width = max(map(len, COMMANDS))
    return "\n".join([
        "usage: selfevo COMMAND [ARGUMENTS]", "",
        *(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()), "",
        "Arguments of run, validate and plan: key=value sets a key, group=choice picks a",
        "config, --config-dir DIR adds your own configs. `selfevo COMMAND --help` says",
        "more; `selfevo run --help` lists every group and key, --cfg job prints the",
        "config, -sc install=bash prints shell completion.",
        "Exit status: 0 done, 1 failed, 2 a mistake in the spec or the call, 3 stopped",
        "and resumable.",
    ])


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the process's exit status."""
    none_at_exit()
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return dispatch(arguments)
    except SelfevoError as error:
        complain(error)
        return error.exit_code
    except KeyboardInterrupt:
        print("selfevo: interrupted", file=sys.stderr)
        return EXIT_STOPPED
    except BrokenPipeError:  # the reader of a pipe (head, less) has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OTHER


def dispatch(arguments: list[str]) -> int:
    """Find the command and call it with the arguments after it."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    name = arguments[0]
    if name in ("-V", "--version"):
        print(f"selfevo {__version__}")
        return 0
    if name in ("-sc", "--shell-completion"):  # the shell asks without knowing our commands
        return importlib.import_module("selfevo.commands.run").complete(arguments)
    if name not in COMMANDS:
        hint = "; overrides go after a command: selfevo run " + name if "=" in name else nearest(name, COMMANDS)
        raise UserError(f"unknown command '{name}'{hint}")
    with without_collector():
        command = importlib.import_module(f"selfevo.commands.{name}")
    return command.main(arguments[1:])


def complain(error: SelfevoError) -> None:
    """Print an error's lines on stderr, once however often it is passed on."""
    if not getattr(error, "printed", False):
        for line in str(error).splitlines() or [type(error).__name__]:
            line = f"selfevo: {line}"
            if sys.stderr.isatty():
                from .view import wrapped

                line = wrapped(line, os.get_terminal_size(sys.stderr.fileno()).columns or 80)
            print(line, file=sys.stderr)
        error.printed = True  # type: ignore[attr-defined]


if __name__ == "__main__":
    sys.exit(main())
