"""Run directories that are written line by line, as a run does, and a server that watches them."""

import http.client
import json
import threading

import pytest

from selfevo.watch.desk import Desk
from selfevo.watch.server import Server

SPEC = """name: demo
seed: 7
metric: null
stages: {rollout: {kind: rollout}, train: {kind: train}, evaluate: {kind: evaluate}}
loop: {start: {do: [evaluate]}, main: {repeat: 4, do: [rollout, train, evaluate]}}
"""


class Writing:
    """A run directory that a test commits stages to."""

    def __init__(self, root, spec=SPEC):
        self.root = root
        root.mkdir(parents=True)
        (root / "spec.yaml").write_text(spec)
        (root / "metrics.jsonl").touch()
        self.append("manifest.jsonl", {"path": "", "stage": "create"})

    def append(self, name, value, half=False):
        """A line, or the half of one."""
        text = json.dumps(value) + "\n"
        with (self.root / name).open("a") as file:
            file.write(text[: len(text) // 2] if half else text)

    def commit(self, path, stage, kind, metrics=None, iteration=0, table="", seconds=1.0):
        """A stage."""
        line = {"path": path, "stage": stage, "kind": kind, "iteration": iteration, "versions": {}, "seconds": seconds,
                "metrics": metrics or {}}
        self.append("metrics.jsonl", line)
        self.append("manifest.jsonl", {"path": path, "stage": stage, "kind": kind, "table": table, "versions": [], "promotions": {}})

    def evaluate(self, path, value, iteration=0):
        """An evaluation."""
        self.commit(path, "evaluate", "evaluate", {"eval/sums/pass@1": value}, iteration)

    def iteration(self, n, value, seconds=1.0):
        """A whole iteration of SPEC's loop."""
        self.commit(f"main.{n}", "rollout", "rollout", {"rollout/reward": value, "rollout/generated_tokens": 100.0}, n, seconds=seconds)
        self.commit(f"main.{n}", "train", "train", {"train/loss": 1 - value}, n, seconds=seconds)
        self.evaluate(f"main.{n}", value, n)

    def end(self):
        """The last line."""
        self.append("manifest.jsonl", {"path": "", "stage": "end", "seconds": {"total": 9.5}})

    def log(self, *lines):
        """Lines of log.txt."""
        with (self.root / "log.txt").open("a") as file:
            file.writelines(f"{n:10.1f}  {line}\n" for n, line in enumerate(lines))

    def put(self, path, stage, rows, judged=True):
        """A table of trajectories."""
        import pyarrow.parquet as pq

        from selfevo.tables import rows_table

        file = self.root / f"tables/{path}/{stage}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows_table(rows, judged), file)


@pytest.fixture
def write():
    """Begins a run directory."""
    return Writing


class Now(Desk):
    """A desk that looks at the files whenever it is asked."""

    def overview(self, query=None):
        self.runs._looked = self.runs._found = -1e9
        return super().overview(query or {})

    def only(self):
        """The one run's row."""
        (row,) = self.overview()["rows"]
        return row

    def id(self):
        """The one run's id."""
        return self.only()["id"]


@pytest.fixture
def watching():
    """A desk over folders."""
    return lambda *roots: Now(list(roots))


class Asking:
    """A server in this process, and questions to it over HTTP as any program could ask them."""

    def __init__(self, desk):
        self.server = Server(desk)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()
        self.port = self.server.server_address[1]

    def ask(self, path, method="GET", host=None, **headers):
        """(status, headers, body)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.putrequest(method, path, skip_host=True)
        connection.putheader("Host", host if host is not None else f"127.0.0.1:{self.port}")
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, dict(answer.getheaders()), body

    def json(self, path, **more):
        """The value of an answer that is there."""
        status, _, body = self.ask(path, **more)
        assert status == 200, (status, body)
        return json.loads(body)

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def serving(watching):
    """Starts servers over folders, and ends them."""
    made = []

    def serve(*roots):
        made.append(Asking(watching(*roots)))
        return made[-1]

    yield serve
    for one in made:
        one.close()
