"""A warm worker: a Python with its modules loaded that forks a child for every program, so that none sees what another did.

It speaks with the main process over the socket that is its standard input: frames of a 4-byte length and JSON. Requests hold `code`,
`stdin`, `seed` and limits; replies say how the program ended. Arguments: "apart" (inside bubblewrap: each program in namespaces of its
own) or "bare" (no isolation), then modules to load ahead. It ends when the socket does.

Half of what a program costs is memory: its process gets the tables of every page that is here, copies the pages that it writes to (to use
an object writes to it), and gives all of them back. So as little as can be is loaded here, and what programs need alike is made once.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import select
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import confine
import program

bare = importlib.import_module("bare") if sys.argv[1:2] == ["bare"] else None
sys.path.pop(0)

TICK = 0.02
"""Seconds between two looks at how many processes there are and how much memory they hold."""
READ = 1 << 16


class Stopped(Exception):
    """The main process is gone."""


class Zygote:
    """Serves one request after another."""

    def __init__(self, link: int):
        self.link, self.apart = link, bare is None
        self.rules = confine.seccomp_filter() if self.apart else b""
        self.uid, self.gid, self.page = os.getuid(), os.getgid(), resource.getpagesize()
        self.alone = threading.active_count() == 1  # modules that were loaded ahead may have started threads
        if bare:
            confine.adopt()

    def serve(self) -> None:
        """Until the socket ends."""
        self._send({"ready": True})
        while True:
            size = int.from_bytes(self._take(4), "big")
            self._send(self.run(json.loads(self._take(size))))

    def run(self, request: dict) -> dict:
        """One program, from fork to the death of its last descendant."""
        began = time.monotonic()
        folder = bare.folder() if bare else "/tmp"
        out, err, trouble = os.pipe(), os.pipe(), os.pipe()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        pid = confine.fork_apart(self.alone) if self.apart else os.fork()
        if pid == 0:
            self._be(request, out[1], err[1], trouble[1], folder)
        for pipe in (out, err, trouble):
            os.close(pipe[1])
        try:
            reply = self._watch(pid, request, {out[0]: bytearray(), err[0]: bytearray()}, began)
            reply["trouble"] = os.read(trouble[0], READ).decode("utf-8", "replace")
        finally:
            for pipe in (out, err, trouble):
                os.close(pipe[0])
            if bare:
                bare.clear(folder)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        if reply["status"] == "error" and reply["code"] < 0 and cpu >= request["cpu"]:
            reply["status"] = "timeout"  # the kernel's limit on processor time
        return {**reply, "cpu": cpu, "seconds": time.monotonic() - began}

    def _be(self, request: dict, out: int, err: int, trouble: int, folder: str) -> None:
        """The child: give up what it may not have, run, end. Never returns. What fails before the program begins is said to `trouble`,
        which the program no longer has."""
        status = 125
        try:
            os.setsid()
            if self.apart:
                confine.same_user(self.uid, self.gid)
                confine.own_files(int(request["files"]))
            os.chdir(folder)
            program.streams(request["stdin"], out, err, trouble)
            confine.bound(request, self.apart)
            if self.apart:
                confine.lock(self.rules)
            os.close(trouble)
            gc.enable()
            status = program.run(request["code"], request["seed"])
        except BaseException as error:  # nothing of it may reach the zygote's loop
            os.write(trouble, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(status)

    def _watch(self, pid: int, request: dict, heard: dict[int, bytearray], began: float) -> dict:
        """Read what it prints, hold it to its limits, and wait for it."""
        poll, names = select.poll(), list(heard)
        for fd in (*names, self.link):
            poll.register(fd, select.POLLIN)
        watched = os.pidfd_open(pid)
        poll.register(watched, select.POLLIN)
        deadline, look, ended, why = began + request["seconds"], began + TICK, None, ""
        try:
            while ended is None:
                now = time.monotonic()
                for fd, _ in poll.poll(max(0.0, min(deadline, look) - now) * 1000 + 1):
                    if fd == watched:
                        ended = os.waitpid(pid, 0)[1]
                    elif fd == self.link:
                        raise Stopped
                    elif not self._read(fd, heard):
                        poll.unregister(fd)
                if sum(map(len, heard.values())) > request["output"]:
                    why = why or "output"
                now = time.monotonic()
                if now >= look and not why:
                    why, look = self._excess(request), now + TICK
                if now >= deadline:
                    why = why or "timeout"
                if why and ended is None:
                    os.kill(pid, signal.SIGKILL)
                    ended = os.waitpid(pid, 0)[1]
        finally:
            if ended is None:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            os.close(watched)
            if bare:
                bare.sweep()
        for fd in names:  # everything that held the pipe is dead: what is left is little
            while len(heard[fd]) <= request["output"] and self._read(fd, heard):
                continue
        if sum(map(len, heard.values())) > request["output"]:
            why = why or "output"
        texts = [bytes(heard[fd][: int(request["output"])]).decode("utf-8", "replace") for fd in names]
        code = os.waitstatus_to_exitcode(ended)
        status = why or ("ok" if code == 0 else "memory" if code == 1 and _last(texts[1]).startswith("MemoryError") else "error")
        return {"status": status, "code": code, "stdout": texts[0], "stderr": texts[1]}

    def _read(self, fd: int, heard: dict[int, bytearray]) -> bool:
        """Take what is there; False at the end."""
        data = os.read(fd, READ)
        heard[fd] += data
        return bool(data)

    def _excess(self, request: dict) -> str:
        """Which limit over all of a program's processes is passed, "" for none."""
        if not self.apart:
            return ""
        count = pages = 0
        for name in os.listdir("/proc"):
            if name.isdigit() and int(name) != os.getpid() and name != "1":
                count += 1
                try:
                    with open(f"/proc/{name}/statm") as file:
                        fields = file.read().split()
                        pages += int(fields[1]) - int(fields[2])
                except (OSError, IndexError):
                    continue  # it has just ended
        if count > request["processes"]:
            return "processes"
        return "memory" if pages * self.page > request["memory"] * 2**20 else ""

    def _take(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            some = os.read(self.link, size - len(data))
            if not some:
                raise Stopped
            data += some
        return bytes(data)

    def _send(self, reply: dict) -> None:
        body = json.dumps(reply).encode()
        program.write(self.link, len(body).to_bytes(4, "big") + body)


def _last(text: str) -> str:
    return text.rstrip().rsplit("\n", 1)[-1]


def main() -> None:
    """Load, then serve."""
    link = os.dup(0)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    for name in sys.argv[2:]:
        importlib.import_module(name)
    program.open_streams()
    gc.collect()
    gc.freeze()
    gc.disable()  # a collection would copy pages that all children share
    try:
        Zygote(link).serve()
    except (Stopped, BrokenPipeError, ConnectionResetError):
        return


if __name__ == "__main__":
    main()
