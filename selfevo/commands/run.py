"""selfevo run: Hydra composes, sweeps and picks the directory; every job is checked, then executed."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cli import complain
from ..errors import SelfevoError, StoreError, UserError, nearest
from ..preload import preload
from ..spec import RunSpec, build, check, configs, dump
from ..spec.compose import checked
from ..spec.sources import BASE, VERSION_BASE, Configs, hydra_line
from . import arguments as args

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from ..place import Place
    from ..ranks import Ranks


class Crash(SelfevoError):
    """Something that should not happen; the traceback is in the run's log.txt."""


def main(arguments: Sequence[str]) -> int:
    """Check the overrides, then hand over to Hydra: `-m`, `--cfg`, `--info`, `hydra.*` keys and plugins work as in any Hydra app."""
    options = args.parse(arguments)
    if options.help:
        return say_help(arguments)
    if options.hydra_help:
        return through_hydra(arguments)
    if options.shell_completion:
        return complete(arguments)
    if alone := args.only_runs(options):
        preload()
    tree = Configs(args.folders(options), options.config_name or BASE, again=alone)
    overrides, _ = checked(tree, options.overrides, args.sweeps(options))
    flags = args.flags_only(arguments, options.overrides)
    if not args.sweeps(options):
        return one_job(tree, overrides) if alone and not tree.loader.multirun else through_hydra([*flags, *overrides])
    from ..sweeps.announce import Announce

    Announce.jobs = None
    try:
        return through_hydra([*flags, *overrides, Announce.OVERRIDE])
    finally:
        Announce.jobs = None


USAGE = """usage: selfevo run [key=value ...] [group=choice ...] [--config-dir DIR]
       selfevo run -m a=1,2 b=x,y ...     every combination, as a sweep

Executes what the config says, in outputs/<name>/<time>. hydra.run.dir=DIR names
another place, hydra.sweep.dir=DIR that of a sweep.

  selfevo run experiment=quickstart optimizer=rloo scale=tiny
"""


def say_help(arguments: Sequence[str]) -> int:
    """Print the call, then Hydra's list of groups and keys, at a terminal broken between words."""
    from .plain import say

    held = io.StringIO()
    with contextlib.redirect_stdout(held), contextlib.suppress(SystemExit):  # how Hydra ends after its help
        through_hydra(arguments)
    print(USAGE)
    for line in held.getvalue().removeprefix("selfevo is powered by Hydra.\n").strip().splitlines():
        say(line)
    return 0


def through_hydra(arguments: Sequence[str]) -> int:
    """Call Hydra's main with these arguments. Its errors come out as ours."""
    import hydra

    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors pass through to us instead of being printed with a traceback
    before = sys.argv
    sys.argv = ["selfevo", *arguments]
    try:
        return ending(hydra.main(config_path=str(configs()), config_name=BASE, version_base=VERSION_BASE)(job))
    finally:
        sys.argv = before


def one_job(tree: Configs, overrides: list[str]) -> int:
    """What Hydra's main does for one job, in the tree in which its spec was checked: main would compose the config twice more, once to
    see whether it is one job."""
    from hydra._internal.hydra import Hydra
    from hydra.core.global_hydra import GlobalHydra

    hydra = Hydra("selfevo", tree.loader)
    GlobalHydra.instance().initialize(hydra)
    try:
        return ending(lambda: hydra.run(tree.base, job, overrides))
    finally:
        GlobalHydra.instance().clear()


def ending(work: Callable[[], Any]) -> int:
    """Do what calls `job`; Hydra's errors come out as ours."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    _failures.clear()
    try:
        with last_words():
            work()
    except (HydraException, OmegaConfBaseException) as error:
        if isinstance(error.__cause__, SelfevoError):  # a launcher or sweeper of ours refuses its settings
            raise error.__cause__ from None
        raise UserError(hydra_line(error)) from error
    except ValueError as error:  # Hydra's word for flags that exclude each other
        raise UserError(str(error)) from error
    except OSError as error:  # Hydra makes the directory; whatever a job meets comes out of `launch` as our own error
        if isinstance(error, BrokenPipeError) or error.filename is None:
            raise
        raise unmade(error) from error
    if _failures:
        raise _failures[0]
    return 0


@contextmanager
def last_words() -> Iterator[None]:
    """After a sweep, however it ends: raises SweepError that names every run that did not end well; for a single run, nothing."""
    from ..sweeps.announce import Announce
    from ..sweeps.closing import closing

    interrupted = False
    try:
        yield
    except KeyboardInterrupt:
        if Announce.jobs is None:
            raise
        interrupted = True
    except SelfevoError as error:
        if Announce.jobs is None or not Announce.jobs.begun or not (last := closing(Announce.jobs, False)):
            raise
        complain(error)
        raise last from error
    if Announce.jobs is not None and (last := closing(Announce.jobs, interrupted)):
        raise last


def unmade(error: OSError) -> SelfevoError:
    """What to say of a run directory that cannot be made."""
    line = f"{error.filename}: the run directory cannot be made ({error.strerror}); choose another with hydra.run.dir=DIR"
    return StoreError(line) if error.errno in (errno.ENOSPC, errno.EDQUOT) else UserError(line)


_failures: list[SelfevoError] = []
"""The error of the run, kept until Hydra is done: it would print more about it than its line."""


def job(cfg: DictConfig) -> float | None:
    """One job of Hydra: check its spec, run it, return the metric a sweeper optimises."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    hydra_config = HydraConfig.get()
    root = shortest(Path(hydra_config.runtime.output_dir))
    if hydra_config.mode == RunMode.MULTIRUN:
        from ..sweeps.here import run_here

        return run_here(cfg, hydra_config, root)
    try:
        return launch(check(cfg), root)
    except SelfevoError as error:
        complain(error)
        _failures.append(error)
        return None


def shortest(root: Path) -> Path:
    """A directory as one would type it here: relative where it lies below."""
    here = Path.cwd()
    return root.relative_to(here) if root.is_relative_to(here) and root != here else root


def launch(
    spec: RunSpec, root: Path, resume: bool = False, place: Place | None = None, stopping: threading.Event | None = None
) -> float | None:
    """Have the spec's launcher execute it in a directory; returns the last value of `spec.metric`, if it names one.

    `place`, `stopping`: as `here` takes them, for a launcher that runs it in this process."""
    from ..launchers import Job
    from ..planning.preflight import refuse_what_cannot_fit

    refuse_what_cannot_fit(spec)
    return build(spec.launcher).launch(Job(dump(spec), root, resume, lambda ranks: here(spec, root, resume, ranks, place, stopping)))


def here(
    spec: RunSpec, root: Path, resume: bool, ranks: Ranks, place: Place | None = None, stopping: threading.Event | None = None
) -> float | None:
    """Execute a spec as one of these ranks, the main one with everything that watches a run; the last value of `spec.metric`.
    `place`: where its engines and verifiers work (default: here). `stopping`: set by whoever wants it to stop after a stage."""
    from ..place import Place
    from ..running import execute
    from .observe import observers

    try:
        place = Place() if place is None else place
        done = execute(spec, root, resume, observers(spec, place.view()) if ranks.main else [], ranks, place, stopping)
        if spec.metric is None:
            return None
        if spec.metric not in done.world.history:
            raise UserError(f"metric: no stage logged '{spec.metric}'{nearest(spec.metric, done.world.history)}")
        return done.world.history[spec.metric][-1]
    except (SelfevoError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise crash(error, root) from error


def crash(error: Exception, root: Path) -> Crash:
    """One line about an unexpected error; its traceback goes to the run's log.txt (to stderr where there is no such directory)."""
    what = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
    text = "".join(traceback.format_exception(error))
    try:
        with (root / "log.txt").open("a") as log:
            log.write(text)
    except OSError:
        sys.stderr.write(text)
        return Crash(what)
    return Crash(f"{what} (traceback in {root / 'log.txt'})")


def complete(arguments: Sequence[str]) -> int:
    """Shell completion: Hydra answers for groups, choices and keys; command names are ours."""
    from ..cli import COMMANDS

    line = os.environ.get("COMP_LINE", "")
    words = line.split()
    if any(a.startswith("query=") for a in arguments):
        if len(words) < 2 or (len(words) == 2 and not line.endswith(" ")):
            print(" ".join(name for name in COMMANDS if name.startswith(words[1] if len(words) == 2 else "")))
            return 0
        if words[1] not in ("run", "validate", "plan"):
            return 0
        os.environ["COMP_LINE"] = _as_hydra(line, words[2:])
    return through_hydra(arguments)


def _as_hydra(line: str, words: Sequence[str]) -> str:
    """The line as Hydra would have to be asked: without our command, and with the groups before the cursor as it wants them."""
    from ..spec.overrides import prepare
    from ..spec.sources import Configs

    done, last = (words, "") if line.endswith(" ") or not words else (words[:-1], words[-1])
    flags = [w for w in done if w.startswith("-")]
    try:
        overrides = prepare(Configs(), [w for w in done if not w.startswith("-")], multirun=True).hydra
    except SelfevoError:
        overrides = []
    return " ".join(["selfevo", *flags, *overrides, last])
