"""selfevo watch: a local page that shows runs live, from their files alone."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import EXIT_DONE, UserError, nearest

USAGE = """usage: selfevo watch [DIR...] [port=N] [open=true]

Serves a page on 127.0.0.1 that shows running and finished runs live: a table
of all runs, and of each one that you open curves, stages, failures and every
trajectory. Reads files alone: it writes into no run and stops none.

  selfevo watch                      the runs in outputs/ and multirun/
  selfevo watch outputs/quickstart   those of a folder, or of a single run
  selfevo watch DIR DIR port=8080    several folders, at a port of your choice
  selfevo watch open=true            opens the page in a browser

DIR is a run or a folder of runs (sweeps too, up to four folders deep); runs
that begin later appear by themselves. Ctrl-C ends the page, never a run.
From another machine: ssh -L 8080:127.0.0.1:8080 HOST, then this page there."""

FOLDERS = ("outputs", "multirun")
"""Where runs and sweeps go unless told otherwise."""
OPTIONS = ("port", "open")


def main(arguments: Sequence[str]) -> int:
    """Serve until Ctrl-C. Raises UserError for a wrong call, a folder that does not exist, or a port that cannot be had."""
    if any(a in ("-h", "--help") for a in arguments):
        print(USAGE)
        return EXIT_DONE
    folders, port, opens = parse(arguments)
    roots = existing(folders)
    from ..watch.desk import Desk
    from ..watch.server import Server

    try:
        server = Server(Desk(roots), port)
    except OSError as error:
        raise unserved(port, error) from error
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        found = server.desk.overview({})["total"]
        print(greeting(roots, found, server.url), flush=True)
        if opens:
            import webbrowser

            webbrowser.open(server.url)
        server.serve_forever()
    except KeyboardInterrupt:
        print("the page is closed; runs go on", file=sys.stderr)
    finally:
        signal.signal(signal.SIGTERM, before)
        server.server_close()
    return EXIT_DONE


def greeting(roots: Sequence[Path], found: int, url: str) -> str:
    """What is watched, and where."""
    names = ", ".join(map(str, roots))
    many = f"{found} run{'' if found == 1 else 's'}"
    none = "no run there yet; the page shows one as soon as it begins (selfevo run experiment=quickstart)"
    return f"watching {names}: {many if found else none}\npage: {url}   (Ctrl-C ends it; runs go on)"


def parse(arguments: Sequence[str]) -> tuple[list[Path], int, bool]:
    """Folders, port and whether to open a browser."""
    folders: list[Path] = []
    said = {"port": "0", "open": "false"}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name in OPTIONS and equals:
            said[name] = value
        elif argument.startswith("-"):
            hint = name.lstrip("-")
            raise UserError(f"watch: unknown option '{argument}'" + (f"; write {hint}={value or 'N'}" if hint in OPTIONS else
                                                                    nearest(hint, [f"{o}=" for o in OPTIONS])))
        elif equals and not Path(argument).exists():
            raise UserError(f"watch: unknown key '{name}'{nearest(name, OPTIONS)}")
        else:
            folders.append(Path(argument))
    if not said["port"].isdigit() or int(said["port"]) > 65535:
        raise UserError(f"watch: port={said['port']}: expected a number from 0 (any free one) to 65535")
    if said["open"].lower() not in ("true", "false"):
        raise UserError(f"watch: open={said['open']}: expected true or false")
    return folders, int(said["port"]), said["open"].lower() == "true"


def existing(folders: Sequence[Path]) -> list[Path]:
    """The folders to watch, those of FOLDERS that there are for none. Raises UserError for one that does not exist."""
    for folder in folders:
        if not folder.is_dir():
            near = [str(p) for p in folder.parent.iterdir() if p.is_dir()] if folder.parent.is_dir() else []
            raise UserError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}{nearest(str(folder), near)}")
    roots = list(folders) or [Path(name) for name in FOLDERS if Path(name).is_dir()]
    if not roots:
        raise UserError(
            f"nothing to watch: there is neither {' nor '.join(FOLDERS)} in {Path.cwd()}; start a run (selfevo run experiment=quickstart), "
            "or say where runs are: selfevo watch DIR"
        )
    return roots


def unserved(port: int, error: OSError) -> UserError:
    """Why there is no page."""
    if error.errno == errno.EADDRINUSE:
        return UserError(f"watch: port {port} is taken by another process; choose another, or leave port= out for a free one")
    why = os.strerror(error.errno or 0)
    return UserError(f"watch: port {port} cannot be had ({why}); choose another, or leave port= out for a free one")
