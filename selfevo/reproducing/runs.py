"""Has the runs of a reproduction done, each in a process of its own. Finished ones are kept, stopped ones gone on with."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

from ..errors import SelfevoError, UserError
from ..sweeps import again
from ..sweeps.jobs import Jobs, Outcome
from ..sweeps.launcher import stopping
from ..sweeps.worker import Worker
from .plan import Arm, Plan, text


def carry_out(plan: Plan, folder: Path, at_once: int, say: Callable[[Arm, Outcome], None]) -> list[Path]:
    """Run directories of the plan's arms, in its order, when all of them are finished. `say` hears of each run as it ends.

    A run has one thread unless OMP_NUM_THREADS says otherwise, so that its numbers do not depend on how many run at once.
    Raises UserError where the folder holds runs of other settings, KeyboardInterrupt after a Ctrl-C, when every run has stopped at
    a commit, and SelfevoError naming every run that failed.
    """
    jobs = Jobs(folder)
    jobs.folder.mkdir(parents=True, exist_ok=True)
    jobs.begin()
    waiting: list[int] = []
    for number, arm in enumerate(plan.arms):
        outcome = _prepared(jobs, number, arm, folder / arm.folder)
        if outcome.state == "done":
            say(arm, outcome)
        else:
            waiting.append(number)
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    with stopping(jobs), ThreadPoolExecutor(at_once) as pool:
        futures = {pool.submit(Worker(str(folder), n, str(Path.cwd()), threads)): n for n in waiting}
        for future in as_completed(futures):
            outcome = future.result()
            if outcome.state != "waiting":
                say(plan.arms[futures[future]], outcome)
    if jobs.asked:
        raise KeyboardInterrupt
    failed = [o for o in jobs.read() if o.state != "done"]
    if failed:
        raise SelfevoError("\n".join(f"{plan.id}: run {plan.arms[o.number].folder} {o.state}: {o.line}" for o in failed))
    return [folder / arm.folder for arm in plan.arms]


def _prepared(jobs: Jobs, number: int, arm: Arm, root: Path) -> Outcome:
    outcome = Outcome(number, arm.overrides, str(root), "waiting")
    try:
        state = again.found(arm.spec, root)
    except UserError:
        raise UserError(f"{root}: holds a run with other settings; choose another folder with --dir DIR, or remove it") from None
    if state == "finished":
        outcome = replace(outcome, state="done")
    else:
        jobs.file(number, "yaml").write_text(text(arm))
    jobs.write(outcome)
    return outcome
