"""An endpoint on a loopback port that does what a test tells it: a real server, for answers and faults that no sound one will give."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal


@dataclass(frozen=True)
class Reply:
    """What is sent for one request. `manner`: "whole"; "stall" says nothing; "trickle" sends a byte now and then; "drop" hangs up;
    "wait" answers once the server's gate is open."""

    body: bytes = b""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    manner: Literal["whole", "stall", "trickle", "drop", "wait"] = "whole"


def say(text: str | None = "#### yes", manner: Literal["whole", "wait"] = "whole", usage: Any = (10, 5), **choice: Any) -> Reply:
    """A sound chat completion; `usage` is (prompt tokens, completion tokens) or None."""
    message = {"role": "assistant", "content": text}
    body: dict[str, Any] = {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop", **choice}]}
    if usage is not None:
        body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
    return Reply(json.dumps(body).encode(), headers=(("content-type", "application/json"),), manner=manner)


def refuse(status: int, message: str = "no", **headers: str) -> Reply:
    """An error in OpenAI's shape; `retry_after="2"` becomes a header."""
    body = json.dumps({"error": {"message": message, "type": "some_error"}}).encode()
    return Reply(body, status, tuple((k.replace("_", "-"), v) for k, v in headers.items()))


def raw(text: str, kind: str = "application/json") -> Reply:
    """Any body at all, with status 200."""
    return Reply(text.encode(), headers=(("content-type", kind),))


STALL, TRICKLE, DROP = (Reply(manner=manner) for manner in ("stall", "trickle", "drop"))


@dataclass
class Seen:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: float


@dataclass
class Endpoint:
    """A running server. Chat completions get `replies` in turn, and the last one from then on; models are `models`."""

    replies: list[Reply]
    models: tuple[str, ...] = ("tiny",)
    seen: list[Seen] = field(default_factory=list)
    port: int = 0
    gate: threading.Event = field(default_factory=threading.Event)
    ending: threading.Event = field(default_factory=threading.Event)
    crowd: int = 0
    peak: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        """What base_url is to be."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def asked(self) -> list[Seen]:
        """Requests for completions."""
        return [s for s in self.seen if s.path.endswith("/chat/completions")]

    def next(self, seen: Seen) -> Reply:
        """Note a request, and find its reply."""
        with self.lock:
            self.seen.append(seen)
            if not seen.path.endswith("/chat/completions"):
                return raw(json.dumps({"object": "list", "data": [{"id": m, "object": "model"} for m in self.models]}))
            return self.replies[min(len(self.asked), len(self.replies)) - 1]

    def entered(self, change: int) -> None:
        """Count those inside."""
        with self.lock:
            self.crowd += change
            self.peak = max(self.peak, self.crowd)


@contextmanager
def endpoint(*replies: Reply, port: int = 0) -> Iterator[Endpoint]:
    """A server for the time of the block."""
    state = Endpoint(list(replies or [say()]))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            """Nothing on stderr."""

        def handle_any(self) -> None:
            size = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(size)) if size else {}
            headers = {k.lower(): v for k, v in self.headers.items()}
            state.entered(1)
            try:
                with suppress(BrokenPipeError, ConnectionResetError):
                    self.give(state.next(Seen(self.path, headers, body, time.monotonic())))
            finally:
                state.entered(-1)

        do_GET = do_POST = handle_any

        def give(self, reply: Reply) -> None:
            if reply.manner == "drop":
                self.close_connection = True
                return
            if reply.manner == "stall":
                state.ending.wait(60)
                self.close_connection = True
                return
            if reply.manner == "wait":
                state.gate.wait(60)
            self.send_response(reply.status)
            for name, value in reply.headers:
                self.send_header(name, value)
            self.send_header("content-length", str(len(reply.body) if reply.manner != "trickle" else 1 << 20))
            self.end_headers()
            while reply.manner == "trickle" and not state.ending.wait(0.05):
                self.wfile.write(b" ")
                self.wfile.flush()
            self.wfile.write(reply.body)

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        allow_reuse_address = True
        request_queue_size = 128

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that hangs up is no news."""

    server = Server(("127.0.0.1", port), Handler)
    state.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state
    finally:
        state.ending.set()
        state.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()


def bodies(given: Sequence[Seen]) -> list[dict[str, Any]]:
    """What was asked."""
    return [s.body for s in given]
