"""What programs that mean harm come to: each has the outcome that docs/sandbox.md lists, and the next program notices nothing."""

from __future__ import annotations

import os
import subprocess
import time
import uuid
from pathlib import Path

import pytest

from selfevo.sandbox import Result, Sandbox

SANDBOX = Sandbox(seconds=1.5, cpu=5, workers=1)


def run(code: str, **settings: object) -> Result:
    return (Sandbox(**{"seconds": 1.5, "workers": 1, **settings}) if settings else SANDBOX).run([code])[0]  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _the_next_program_is_as_ever():
    yield
    after = run("import os, json\nprint(os.listdir('/tmp'), os.listdir('/dev/shm'), json.dumps([1]), sum([1, 2]))")
    assert (after.status, after.stdout) == ("ok", "[] [] [1] 3\n")


def test_what_is_printed_without_end_is_cut_off_and_said() -> None:
    result = run("while True: print('x' * 10**6)")
    assert result.status == "output" and len(result.stdout) == 64 << 10
    assert result.seconds < 1.5


def test_a_gigabyte_is_printed_by_no_one() -> None:
    assert run("for _ in range(1000): print('x' * 10**6)").status == "output"
    assert run("print('x' * 10**9)").status == "memory"


@pytest.mark.parametrize("code", [
    "while True: pass", "import time; time.sleep(99)", "import os; os.close(1); os.close(2)\nwhile True: pass",
])  # fmt: skip
def test_what_never_ends_is_ended(code: str) -> None:
    result = run(code)
    assert result.status == "timeout" and 1.4 < result.seconds < 6


def test_processor_time_is_a_limit_of_its_own() -> None:
    result = run("while True: pass", seconds=60.0, cpu=1.0)
    assert result.status == "timeout" and result.seconds < 50


def test_a_fork_bomb_is_stopped() -> None:
    assert run("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass").status in ("processes", "timeout")


@pytest.mark.parametrize("code", ["x = [0] * 10**10", "x = []\nwhile True: x.append(bytearray(10**6))"])
def test_memory_has_a_limit(code: str) -> None:
    result = run(code, seconds=20.0)
    assert result.status == "memory" and result.last_line.startswith("MemoryError")


def test_memory_is_counted_over_all_processes() -> None:
    code = "import os, time\nfor _ in range(8):\n    if not os.fork(): break\nx = bytearray(b'x' * (90 << 20)); time.sleep(9)"
    assert run(code, seconds=20.0, memory=256).status == "memory"


@pytest.mark.parametrize("code", [
    "print(open('/etc/shadow').read())", "print(open('/etc/passwd').read())", "import os; print(os.listdir('/home'))",
])  # fmt: skip
def test_the_machines_files_are_not_there(code: str) -> None:
    result = run(code)
    assert result.status == "error" and result.last_line.startswith("FileNotFoundError") and not result.stdout


def test_neither_the_home_nor_the_working_folder_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret"
    secret.write_text("4711")
    here = Path(__file__)
    homes = [secret, here, Path.home() / ".bashrc"]
    result = run(f"import os\nprint([os.path.exists(p) for p in {[str(p) for p in homes]!r}], dict(os.environ).get('USER'))")
    assert result.stdout == "[False, False, False] None\n"


def test_there_is_no_network() -> None:
    code = "import socket\ns = socket.socket(); s.settimeout(1)\ns.connect(('192.0.2.1', 80))"
    assert run(code).last_line == "OSError: [Errno 101] Network is unreachable"


def test_a_server_on_this_machine_cannot_be_reached() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        result = run(f"import socket\nsocket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 1)")
    assert result.status == "error" and "refused" in result.last_line


@pytest.mark.parametrize("place", ["/usr/x", "/x", "/inside/x", "/etc/x"])
def test_the_system_is_read_only(place: str) -> None:
    assert "Read-only file system" in run(f"open({place!r}, 'w')").last_line


def test_files_have_a_limit() -> None:
    assert run("open('/tmp/big', 'wb').write(bytes(10**8))").status == "error"


def test_what_is_left_in_the_background_dies_with_the_program() -> None:
    mark = f"4242{uuid.uuid4().int % 10**6}"
    code = f"import subprocess, os\nif os.fork() == 0:\n    os.setsid()\n    subprocess.run(['sleep', '{mark}'])\nprint('done')"
    result = run(code)
    assert (result.status, result.stdout) == ("ok", "done\n")
    assert mark not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout


def test_a_closed_standard_output_is_an_error_as_in_python() -> None:
    assert (run("import os; os.close(1); print(1)").status, run("import os; os.close(1); print(1)").code) == ("error", 120)


def test_deep_recursion() -> None:
    assert run("def f(): f()\nf()").last_line == "RecursionError: maximum recursion depth exceeded"
    deep = "import sys\nsys.setrecursionlimit(10**9)\nx = []\nfor _ in range(10**6): x = [x]\nrepr(x)"
    assert run(deep).status in ("error", "memory", "timeout")


def test_a_crash_inside_c_is_told_by_its_signal() -> None:
    result = run("import ctypes; ctypes.string_at(0)")
    assert (result.status, result.code) == ("error", -11)


def test_a_program_can_end_neither_its_worker_nor_anything_else() -> None:
    SANDBOX.run(["1"])
    before = _workers()
    code = "import os\nfor pid in (os.getppid(), 1, 2, -1):\n    try: os.kill(pid, 9)\n    except OSError as e: print(e)\nprint('on')"
    assert run(code).stdout.endswith("on\n")
    assert _workers() == before


def _workers() -> set[int]:
    pool = SANDBOX.pool()
    return {w.process.pid for w in list(pool._idle.queue) if w is not None}


def test_nothing_that_is_changed_reaches_the_next_program() -> None:
    evil = "import builtins, json, sys, random\nbuiltins.sum = json.dumps = None\nsys.modules['math'] = None\nrandom.seed(5)\nleft = 1"
    assert run(evil).status == "ok"
    clean = "import math, random\nprint('left' in globals(), math.gcd(4, 6), sum([1]), random.random())"
    assert run(clean).stdout == f"False 2 1 {__import__('random').Random(0).random()}\n"


@pytest.mark.parametrize("call", [
    "unshare(0x10000000)", "ptrace(16, 1, 0, 0)", "mount(b't', b'/tmp', b'tmpfs', 0, None)", "memfd_create(b'x', 0)",
])  # fmt: skip
def test_system_calls_that_open_other_ways_are_denied(call: str) -> None:
    result = run(f"import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nprint(libc.{call}, ctypes.get_errno())")
    assert result.stdout == "-1 1\n"


def test_a_program_has_no_capabilities_and_sees_no_process() -> None:
    assert run("import os\nprint(os.getpid(), os.listdir('/proc'))").stdout == "1 []\n"


def test_this_process_goes_on_and_nothing_is_left() -> None:
    pool = Sandbox(workers=2, seconds=1.0).pool()
    pool.close()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and "zygote.py" in _children():
        time.sleep(0.1)
    others = len([1 for line in _children().splitlines() if "zygote.py" in line and "bwrap" in line])
    assert others <= 1  # the pool of SANDBOX, which goes on


def _children() -> str:
    mine = f"{os.getpid()}"
    lines = subprocess.run(["ps", "-eo", "ppid,args"], capture_output=True, text=True).stdout.splitlines()
    return "\n".join(line for line in lines if line.split()[0] == mine)
