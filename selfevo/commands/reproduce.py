"""selfevo reproduce: a method's tiny run against its named baseline, over several seeds, at equal cost."""

from __future__ import annotations

import json
import shlex
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

from ..errors import UserError, nearest
from .plain import columns, say, typed

USAGE = """usage: selfevo reproduce [ID...] [--seeds 0,1,2] [--at-once N] [--dir DIR]
                         [--config-dir DIR] [key=value ...]
                         [--record] [--json] [--dry-run]
       selfevo reproduce --ledger FILE

Without an ID: the methods there are, with their last recorded verdict. With
IDs: runs each method's tiny experiment and its named baseline once per seed,
reads both at equal generated tokens, and prints the effect with its interval
over seeds. Finished runs in DIR (outputs/reproduce) are kept, so the same
command goes on after a Ctrl-C. --at-once N runs N at a time. key=value goes to
both sides. --dry-run lists the runs and starts none. --record keeps the result
with the package, --ledger writes the page of all methods from what is recorded.

  selfevo reproduce sec --seeds 0,1,2 --at-once 2"""

OPTIONS = ("--seeds", "--at-once", "--dir", "--record", "--json", "--dry-run", "--ledger", "--config-dir", "--help")


def main(arguments: Sequence[str]) -> int:
    """Carry out the call. Raises UserError for a wrong one, SelfevoError when a run fails."""
    if any(a in ("-h", "--help") for a in arguments):
        print(USAGE)
        return 0
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--dir", type=Path, default=Path("outputs/reproduce"))
    parser.add_argument("--config-dir", action="append", default=[])
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--ledger", type=Path)

    def refuse(message: str) -> NoReturn:
        raise UserError(f"{message}; selfevo reproduce --help shows the call")

    parser.error = refuse  # type: ignore[method-assign, assignment]
    options, unknown = parser.parse_known_intermixed_args(list(arguments))
    if unknown:
        raise UserError(f"unknown option '{unknown[0]}'{nearest(unknown[0], OPTIONS)}")
    overrides = [w for w in options.words if "=" in w]
    names = [w for w in options.words if "=" not in w]
    if options.ledger is not None:
        if options.words:
            raise UserError("--ledger takes no method: it writes the page of all of them")
        from ..reproducing import ledger

        ledger.write(options.ledger)
        return 0
    if not names:
        return _list(options.config_dir)
    if options.at_once < 1:
        raise UserError(f"--at-once must be 1 or more, not {options.at_once}")
    seeds = _seeds(options.seeds)
    for name in names:
        _one(name, seeds, overrides, options)
    return 0


def _seeds(text: str) -> list[int]:
    try:
        seeds = [int(word) for word in text.split(",")]
    except ValueError:
        raise UserError(f"--seeds {text}: expected whole numbers with commas between them, such as 0,1,2") from None
    if len(set(seeds)) < 2 or len(set(seeds)) < len(seeds):
        raise UserError(f"--seeds {text}: expected at least 2 different seeds: one alone gives no interval")
    return seeds


def _list(config_dirs: Sequence[str]) -> int:
    from ..reproducing.plan import methods
    from ..reproducing.record import read_all

    results = read_all()
    known = methods(config_dirs)
    width = max(map(len, known), default=0)
    for identifier in known:
        result = results.get(identifier)
        verdict = "not measured"
        if result is not None:
            verdict = f"{result.effect.verdict:<10}  {result.effect.mean:+.3f}  against {result.baseline}"
        say(f"{identifier:<{width}}  {verdict}", hang=width + 22)
    return 0


def _one(name: str, seeds: Sequence[int], overrides: Sequence[str], options: Namespace) -> None:
    from ..report.read import read_run
    from ..reproducing import show
    from ..reproducing.effect import pair
    from ..reproducing.plan import Arm, plan
    from ..reproducing.record import record, write
    from ..reproducing.runs import carry_out
    from ..sweeps.jobs import Outcome

    planned = plan(name, seeds, overrides, options.config_dir)
    total, ended = len(planned.arms), [0]
    own = options.dir / planned.id.replace("/", "-")
    if options.dry_run:
        for arm in planned.arms:
            words = ["run", *arm.overrides, f"hydra.run.dir={own / arm.folder}"]
            if sys.stdout.isatty():
                say(f"{arm.name}, seed {arm.seed}:")
                print("  " + typed(["selfevo", *words], columns() - 2).replace("\n", "\n  "))
            else:
                print(f"{arm.name}, seed {arm.seed}: selfevo {shlex.join(words)}")
        return
    say(f"{planned.id}: {total} runs in {own}, {options.at_once} at once", sys.stderr)

    def told(arm: Arm, outcome: Outcome) -> None:
        ended[0] += 1
        say(f"{ended[0]}/{total}  {arm.name}, seed {arm.seed}: {outcome.state}, in {outcome.root}", sys.stderr)

    runs = [read_run(root) for root in carry_out(planned, own, options.at_once, told)]
    pairs = [pair(planned.block, seed, *runs[2 * i : 2 * i + 2]) for i, seed in enumerate(seeds)]
    result = record(planned, pairs, runs[0])
    if options.json:
        print(json.dumps(asdict(result)))
    else:
        for line in show.lines(result, planned.block):
            say(line)
    if options.record:
        print(f"recorded in {write(result)}", file=sys.stderr)
