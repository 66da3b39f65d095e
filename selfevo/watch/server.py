"""The page's server: this machine alone, GET alone, nothing but the page's own files and the desk's answers."""

from __future__ import annotations

import json
import socket
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .. import __version__, report
from .desk import Desk, Missing, Wrong

HOST = "127.0.0.1"
NAMES = ("127.0.0.1", "localhost", "[::1]")
"""What a browser on this machine, or at the other end of a tunnel to it, calls the server. A page from elsewhere whose name was made to
lead here (DNS rebinding) calls it otherwise."""
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; "
          "form-action 'none'; frame-ancestors 'none'")
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".json": "application/json"}
HEADERS = {
    "Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin", "Cache-Control": "no-cache",
}  # fmt: skip


@cache
def files() -> dict[str, Path]:
    """The page's files by address; nothing else is ever served from disk."""
    page, shared = Path(__file__).parent / "page", Path(report.__file__).parent
    own = {f"/{file.name}": file for file in page.iterdir() if file.suffix in TYPES}
    return {"/": page / "page.html", **own, **{f"/{name}": shared / name for name in ("page.css", "browser.css", "browser.js")}}


class Server(ThreadingHTTPServer):
    """Listens on 127.0.0.1. Raises OSError where the port cannot be had."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, desk: Desk, port: int = 0):
        self.desk = desk
        super().__init__((HOST, port), Handler)

    @property
    def url(self) -> str:
        """The page's address."""
        return f"http://{HOST}:{self.server_address[1]}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that went away is no error; anything else is printed, and the server goes on."""
        import sys

        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = f"selfevo/{__version__}", ""
    timeout = 75

    def setup(self) -> None:
        """Small answers leave at once."""
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)

    def do_GET(self) -> None:
        """Answer."""
        host = self.headers.get("Host", "")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if name not in NAMES:
            self._say(403, "this server answers to 127.0.0.1 and localhost only")
            return
        try:
            address = urlsplit(self.path)
            if address.path in files():
                file = files()[address.path]
                self._send(200, file.read_bytes(), TYPES[file.suffix])
            else:
                self._answer(address.path, parse_qs(address.query))
        except Missing as error:
            self._say(404, str(error))
        except Wrong as error:
            self._say(400, str(error))
        except ConnectionError:  # the reader went away
            raise
        except (OSError, ValueError) as error:  # a file was deleted at this moment, or is not what its name says
            self._say(500, " ".join(str(error).split()))

    def _answer(self, path: str, query: dict[str, list[str]]) -> None:
        desk = self.server.desk
        match path.split("/")[1:]:
            case ["api", "runs"]:
                self._cached(None, lambda: desk.overview(query))
            case ["api", "curves"]:
                self._cached(query.get("run", []), lambda: desk.curves(query))
            case ["api", "runs", name]:
                self._cached([name], lambda: desk.panel(name))
            case ["api", "runs", name, "spec"]:
                self._json(desk.spec(name))
            case ["api", "runs", name, ("failures" | "trajectories" | "trajectory" | "words" | "find" | "search") as what]:
                self._json(getattr(desk, what)(name, query))
            case _:
                raise Missing("there is nothing at this address")

    def _cached(self, names: list[str] | None, make: Any) -> None:
        """An answer that depends on these runs alone: not sent again while they have not changed."""
        tag = self.server.desk.tag(names)
        if self.headers.get("If-None-Match") == tag:
            self._send(304, b"", "application/json", tag)
        else:
            self._json(make(), tag)

    def _json(self, value: object, tag: str = "") -> None:
        text = json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        self._send(200, text.encode("utf-8", "replace"), "application/json", tag)

    def _say(self, status: int, text: str) -> None:
        self.close_connection = True
        self._send(status, json.dumps({"error": text}).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str, tag: str = "") -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        if tag:
            self.send_header("ETag", tag)
        if status == 405:
            self.send_header("Allow", "GET")
        if status != 304:
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _refuse(self) -> None:
        self._say(405, "this server only answers to GET: it changes nothing")

    do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = do_CONNECT = _refuse

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged."""


def _finite(value: Any) -> Any:
    """The same value, with null for numbers that JSON does not have."""
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
