"""What a call of each curriculum costs, and that it does not grow with the number of tasks. One thread."""

from __future__ import annotations

import json
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from selfevo.curricula import ByLevel, Epochs, Mixture, Pool, Uniform, Window
from selfevo.records import Row, Task, Trajectory, Turn
from selfevo.tasks import Dataset, FromText

from .figures import Figure, exponent, seconds

processor_seconds = partial(seconds, clock=time.process_time, generation=0)
"""Of calls that do nothing but compute: other processes' turns would drown a millisecond of the wall's."""

THREADS = 1
LIMIT = 0.005
SAMPLE, UPDATE = 64, 1024
LEVELS, TOPICS = 10, 5


class Ctx:
    """As much of a run's context as curricula ask for."""

    def __init__(self, call: int):
        self.name, self.iteration, self.path = "curriculum", call, f"main.{call}/rollout"

    def seed(self, *key: object) -> int:
        """A seed per call."""
        return random.Random(f"{self.path}/{key}").getrandbits(63)

    def rng(self, *key: object) -> random.Random:
        """A generator per call."""
        return random.Random(self.seed(*key))

    def value(self, number: float) -> float:
        """Constants only."""
        return float(number)

    def log(self, name: str, value: float) -> None:
        """Nowhere."""


def written(folder: Path, n: int) -> Path:
    """A JSONL file of n tasks."""
    path = folder / f"{n}.jsonl"
    with path.open("w") as file:
        file.writelines(
            f'{{"question": "add {i} and {i % 97}", "answer": "{i + i % 97}", "topic": "t{i % TOPICS}", "level": {i % LEVELS + 1}}}\n'
            for i in range(n)
        )
    return path


def dataset(path: Path) -> Dataset:
    """Its tasks, over 5 categories and 10 levels."""
    fields = {"question": "question", "answer": "answer", "category": "topic", "difficulty": "level"}
    return Dataset(str(path), fields=fields, name="numbers")


def pool(tasks: Dataset) -> Pool:
    """A pool that is full, so that every admission retires a task."""
    n = len(tasks)
    made = Pool(FromText(), capacity=n)
    made.load_state_dict({"proposals": [((f"held {i}", "1", "t"), 1.0, f"h{i}") for i in range(n)]})
    return made


CURRICULA: Mapping[str, Callable[[Dataset], Any]] = {
    "Uniform": lambda tasks: Uniform(tasks),
    "Uniform, one level": lambda tasks: Uniform(tasks, level=3.0),
    "Epochs": lambda tasks: Epochs(tasks),
    "Window by task": lambda tasks: Window(tasks, by="task", size=8, least=2),
    "Window by cell": lambda tasks: Window(tasks, by="cell"),
    "ByLevel": lambda tasks: ByLevel(tasks, start=3, threshold=0.9, frontier=0.5),
    "Mixture": lambda tasks: Mixture({"new": Uniform(tasks), "hard": Window(tasks, by="task", size=8, least=2)}),
    "Pool": pool,
}


def rows(tasks: Sequence[Task], call: int) -> list[Row]:
    """A scored row per task, a third of them solved; the text proposes a task that is new."""
    rng = random.Random(call)
    out = []
    for i, task in enumerate(tasks):
        turn = Turn("policy", f"proposed {call} {i}\n#### {i}")
        row = Row.of(Trajectory(f"t{call}.{i}", task, "solver", "solver@0", (turn,), f"e{i}"))
        out.append(row.rewarded("score", float(rng.random() < 0.34)))
    return out


class Subject:
    """One curriculum over n tasks, called step by step."""

    def __init__(self, make: Callable[[Dataset], Any], tasks: Dataset):
        self.curriculum, self.calls = make(tasks), 0
        self.times: dict[str, list[float]] = {"sample": [], "update": []}
        self.first = processor_seconds(lambda: self.curriculum.sample(SAMPLE, self.ctx()))

    def ctx(self) -> Any:
        """The context of the next call."""
        self.calls += 1
        return Ctx(self.calls)

    def step(self) -> None:
        """Enough samples that an update's rows are all of different tasks, then the update."""
        drawn: list[Task] = []
        while len(drawn) < UPDATE:
            ctx = self.ctx()
            self.times["sample"].append(processor_seconds(lambda ctx=ctx: drawn.extend(self.curriculum.sample(SAMPLE, ctx))))  # type: ignore[misc]
        judged, ctx = rows(drawn, self.calls), self.ctx()
        self.times["update"].append(processor_seconds(lambda: self.curriculum.update(judged, ctx)))


def compared(name: str, sources: Mapping[int, Dataset], steps: int) -> tuple[list[Figure], float, Any]:
    """The two calls of one curriculum at every size, sizes in turn; also the largest exponent and the largest subject."""
    subjects = {n: Subject(CURRICULA[name], tasks) for n, tasks in sources.items()}
    for subject in subjects.values():
        subject.step()  # sets up what the first calls set up
        subject.times = {"sample": [], "update": []}
    for _ in range(steps):
        for subject in subjects.values():
            subject.step()
    out, steepest, sizes = [], 0.0, list(sources)
    for call, rows_ in (("sample", SAMPLE), ("update", UPDATE)):
        middle = [statistics.median(s.times[call]) for s in subjects.values()]
        growth = exponent(sizes, middle)
        steepest = max(steepest, growth)
        times = subjects[sizes[-1]].times[call]
        detail = {"median_ms": {n: round(t * 1e3, 3) for n, t in zip(sizes, middle, strict=True)}, "exponent": round(growth, 3)}
        if call == "sample":
            detail["first_call_s"] = {n: round(s.first, 4) for n, s in subjects.items()}
        note = f"{sizes[-1]:,} tasks; exponent {growth:.2f}"
        out.append(Figure("curriculum", f"{name}: {call} of {rows_}", "5 ms", middle[-1], min(times), max(times), middle[-1], LIMIT,
                          aim=LIMIT, better="lower", repeats=len(times), note=note, detail=detail))  # fmt: skip
    return out, steepest, subjects[sizes[-1]].curriculum


def state(name: str, curriculum: Any) -> Figure | None:
    """What one commit pays for this curriculum's state."""
    if not hasattr(curriculum, "state_dict"):
        return None
    size: list[int] = []
    took = [processor_seconds(lambda: size.append(len(json.dumps(curriculum.state_dict())))) for _ in range(3)]
    middle = statistics.median(took)
    note = f"{size[0] / 1e6:.3g} MB of JSON, written whole with every commit that touched it"
    return Figure("curriculum", f"{name}: state at a commit", "", None, ours=middle, repeats=3, note=note, detail={"bytes": size[0]})


def touched(tasks: Dataset) -> Figure:
    """The state of a Window by task once it has handed out and judged every task."""
    window = Window(tasks, by="task", size=8, least=2)
    n = len(tasks)
    window.load_state_dict({"items": n, "recent": {str(i): "0110" for i in range(n)}, "handed_out": {f"{i:016x}": i for i in range(n)}})
    found = state("Window by task, every task touched", window)
    assert found is not None
    return found


def reading(path: Path, n: int) -> tuple[Figure, Dataset]:
    """Reading the tasks once, and the memory that they take."""
    tasks = dataset(path)
    before = resident()
    took = processor_seconds(lambda: len(tasks.categories))
    grew = (resident() - before) / 1e6
    note = f"{n:,} lines read, checked and sorted into cells; {grew:.0f} MB more resident"
    return Figure("curriculum", "Dataset: reading", "", None, ours=took, note=note, detail={"lines": n, "resident_mb": round(grew)}), tasks


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def figures(quick: bool) -> list[Figure]:
    """Every curriculum at 10^3 to 10^6 tasks (quick: to 10^4)."""
    sizes = (1_000, 10_000) if quick else (1_000, 10_000, 100_000, 1_000_000)
    out: list[Figure] = []
    worst, which = 0.0, ""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        sources = {}
        for n in sizes:
            read, sources[n] = reading(written(Path(folder), n), n)
        out.append(read)
        for name in CURRICULA:
            calls, steepest, largest = compared(name, sources, 2 if quick else 9)
            out += calls
            if steepest > worst:
                worst, which = steepest, name
            if (paid := state(name, largest)) is not None:
                out.append(paid)
            del largest
        out.append(touched(sources[sizes[-1]]))
    note = f"the steepest: {which}; time = a n^b over n = {', '.join(f'{n:,}' for n in sizes)}; a call in O(log n) has about 0.1"
    detail = {"minutes": round((time.perf_counter() - began) / 60, 2)}
    what = "largest exponent of any call"
    return [*out, Figure("curriculum", what, "flat", worst, unit="", aim=0.2, better="lower", note=note, detail=detail)]
