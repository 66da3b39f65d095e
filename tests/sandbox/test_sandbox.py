"""Ordinary programs, the pool of workers, and refusals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Literal

import pytest

from selfevo.doctor import parts
from selfevo.errors import UserError
from selfevo.sandbox import Sandbox, bubblewrap, check, workers


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(seconds=5, workers=2)


def test_programs_run_in_order_with_their_input(sandbox: Sandbox) -> None:
    results = sandbox.run([f"print(int(input()) + {i})" for i in range(20)], [str(i) for i in range(20)])
    assert [r.stdout for r in results] == [f"{2 * i}\n" for i in range(20)]
    assert all(r.status == "ok" and r.code == 0 and 0 < r.seconds < 5 for r in results)


@pytest.mark.parametrize("isolation", ["bubblewrap", "none"])
def test_streams_made_ahead_are_each_programs_own(isolation: Literal["bubblewrap", "none"]) -> None:
    text = "é\nsecond\n" + "x" * 100_000
    again = "sys.stdin.seek(0)\nprint(first, len(rest), sys.stdin.read(1), sys.stdout.seekable())"
    codes = [f"import sys\nfirst, rest = input(), sys.stdin.read()\n{again}", "import sys\nprint(repr(sys.stdin.read()), file=sys.stderr)"]
    results = Sandbox(workers=1, isolation=isolation).run(codes * 2, [text, ""] * 2)
    assert [(r.stdout, r.stderr) for r in results] == [("é 100007 é False\n", ""), ("", "''\n")] * 2


def test_a_thread_that_a_module_started_when_it_was_loaded_ahead_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "site-packages"
    place.mkdir()
    (place / "at_work.py").write_text("import threading\nthreading.Thread(target=threading.Event().wait).start()\n")
    monkeypatch.syspath_prepend(str(place))
    result = Sandbox(workers=1, preload=["at_work"]).run(["import at_work, threading\nprint(threading.active_count())"])[0]
    assert (result.status, result.stdout) == ("ok", "1\n")


def test_an_exception_is_told_as_python_tells_it(sandbox: Sandbox) -> None:
    result = sandbox.run(["x = 1\nx / 0"])[0]
    assert (result.status, result.code, result.last_line) == ("error", 1, "ZeroDivisionError: division by zero")
    assert result.stderr.splitlines()[1] == '  File "program.py", line 2, in <module>'
    assert "inside" not in result.stderr


def test_what_does_not_compile_is_an_error(sandbox: Sandbox) -> None:
    assert sandbox.run(["1 +"])[0].last_line == "SyntaxError: invalid syntax"


@pytest.mark.parametrize("code, status", [
    ("import sys; sys.exit(3)", 3), ("raise SystemExit", 0), ("import sys; sys.exit('no')", 1), ("import os; os._exit(5)", 5),
])  # fmt: skip
def test_exit_statuses_are_python_s(sandbox: Sandbox, code: str, status: int) -> None:
    assert sandbox.run([code])[0].code == status


def test_threads_and_exit_functions_end_as_in_python(sandbox: Sandbox) -> None:
    begun = "import threading, atexit, time\natexit.register(print, 'last')\n"
    code = begun + "threading.Thread(target=lambda: (time.sleep(.1), print('thread'))).start()\nprint('first')"
    assert sandbox.run([code])[0].stdout == "first\nthread\nlast\n"


def test_text_of_any_kind_goes_in_and_out(sandbox: Sandbox) -> None:
    result = sandbox.run(["print(input())\nimport sys; sys.stdout.buffer.write(b'\\xff'); print('é')"], "π")[0]
    assert result.stdout == "π\n\ufffdé\n" or result.stdout == "\ufffdπ\né\n"  # two buffers, as in Python


def test_equal_programs_give_equal_output(sandbox: Sandbox) -> None:
    code = "import random\nprint(random.random(), list({'a', 'b', 'c', 'd'}))"
    assert len({r.stdout for r in sandbox.run([code] * 6)}) == 1
    assert sandbox.run([code], seed=1)[0].stdout != sandbox.run([code])[0].stdout


def test_modules_are_loaded_ahead_only_where_they_are_named(sandbox: Sandbox) -> None:
    code = "import sympy; print(sympy.Rational(1, 2) + 1)"
    assert sandbox.run([code])[0].last_line == "ModuleNotFoundError: No module named 'sympy'"
    assert Sandbox(workers=1, preload=["sympy"], memory=1024).run([code])[0].stdout == "3/2\n"


def test_calls_from_several_threads_share_the_workers(sandbox: Sandbox) -> None:
    said: dict[int, str] = {}
    threads = [threading.Thread(target=lambda i=i: said.update({i: sandbox.run([f"print({i})"])[0].stdout})) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == {i: f"{i}\n" for i in range(12)}
    assert sandbox.run(["print(1)"])[0].status == "ok"  # the workers outlive the threads that first asked


def test_a_worker_that_dies_is_replaced_and_its_program_run_again() -> None:
    sandbox = Sandbox(workers=1)
    sandbox.run(["1"])
    worker = next(w for w in sandbox.pool()._idle.queue if w is not None)
    os.kill(worker.process.pid, signal.SIGKILL)
    assert sandbox.run(["print('again')"])[0].stdout == "again\n"


def test_what_the_sandbox_itself_loses_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = Sandbox(workers=1)
    monkeypatch.setattr(workers.Worker, "ask", lambda self, request: (_ for _ in ()).throw(workers.Lost("its worker died")))
    result = sandbox.run(["print(1)"])[0]
    assert (result.status, result.stderr) == ("lost", "its worker died")


def test_a_program_cannot_pass_for_a_failure_of_the_sandbox(sandbox: Sandbox) -> None:
    write = "import os\nfor fd in range(3, 64):\n    try: os.write(fd, b'OSError: x')\n    except OSError: pass\n"
    assert sandbox.run([write + "os.write(2, b'sandbox: x'); os._exit(125)"])[0].status == "error"


def test_what_fails_before_the_program_begins_is_a_failure_of_the_sandbox(sandbox: Sandbox) -> None:
    result = sandbox.run(["print(1)"], stdin="x" * (9 << 20))[0]  # more than its /tmp holds
    assert result.status == "lost" and "No space left" in result.stderr
    assert sandbox.run(["print(1)"])[0].stdout == "1\n"


def test_workers_end_with_the_process_that_made_them(tmp_path) -> None:
    code = "import time\nfrom selfevo.sandbox import Sandbox\nSandbox(workers=1).run(['1'])\nprint('up', flush=True)\ntime.sleep(60)"
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"up\n"
    found = subprocess.run(["ps", "--ppid", str(parent.pid), "-o", "pid="], capture_output=True, text=True).stdout.split()
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while any(os.path.exists(f"/proc/{pid}") for pid in found) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert found and not [pid for pid in found if os.path.exists(f"/proc/{pid}")]


def test_without_bubblewrap_programs_are_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match=r"^sandbox: programs are not run.*not installed.*isolation: none") as caught:
        Sandbox().run(["print(1)"])
    assert "\n" not in str(caught.value)
    assert "not installed" in check() and parts.bubblewrap().state == "missing"


def test_a_bubblewrap_that_does_not_work_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "command", lambda preload: ["bwrap", "--no-such-option"])
    sandbox = Sandbox(preload=["this"], workers=1)  # a pool of its own
    with pytest.raises(UserError, match=r"shut away here: bwrap: Unknown option --no-such-option; `isolation: none`"):
        sandbox.run(["print(1)"])


def test_the_doctor_agrees_with_the_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check() == "" and parts.bubblewrap().state == "ok"
    monkeypatch.setattr("selfevo.sandbox.check", lambda: "namespaces are forbidden")
    assert (parts.bubblewrap().state, parts.bubblewrap().found) == ("problem", "namespaces are forbidden")


def test_no_isolation_runs_with_limits_alone() -> None:
    bare = Sandbox(isolation="none", seconds=1.0, workers=1)
    left = "import os\nif os.fork() == 0:\n    import time; time.sleep(77)"
    ok, late, back = bare.run(["import os; print(os.path.exists('/etc/passwd'))", "while True: pass", left])
    assert (ok.stdout, late.status, back.status) == ("True\n", "timeout", "ok")
    assert bare.run(["x = []\nwhile True: x.append(bytearray(10**6))"])[0].status == "memory"


@pytest.mark.parametrize("settings, message", [
    ({"seconds": 0}, "seconds must be above 0"), ({"memory": 10}, "at least 64"), ({"workers": -1}, "0 or more"),
    ({"isolation": "docker"}, "expected 'bubblewrap' or 'none'"),
])  # fmt: skip
def test_settings_that_make_no_sense_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Sandbox(**settings)


def test_the_filter_knows_both_architectures(monkeypatch: pytest.MonkeyPatch) -> None:
    from selfevo.sandbox.inside import confine

    sizes = set()
    for machine in ("x86_64", "aarch64"):
        monkeypatch.setattr(confine, "MACHINE", machine)
        sizes.add(len(confine.seccomp_filter()))
    monkeypatch.setattr(confine, "MACHINE", "riscv64")
    assert len(sizes) == 1 and not confine.supported() and "x86_64" in bubblewrap.absent()
