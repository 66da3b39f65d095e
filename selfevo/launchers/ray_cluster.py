"""Joining a Ray cluster, or starting one on this machine for the length of a run."""

from __future__ import annotations

import io
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from ..errors import UserError

KNOCK = 10.0
"""Seconds that a cluster has to answer at all."""
GOSSIP = "ray_listen_error_messages"
"""Ray's thread that prints what happens to workers; selfevo says it in its own words."""


class _Ours:
    """Standard output without what Ray's own thread prints there."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        return len(text) if threading.current_thread().name == GOSSIP else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _later() -> Iterator[None]:
    """Ctrl-C waits: a Ray that is half started cannot be ended whole."""
    came: list[int] = []
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number)) if main else None
    try:
        yield
    finally:
        if main:
            signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


def _knock(address: str) -> None:
    """Raises OSError where nobody listens at the address: Ray itself would wait for minutes."""
    if address == "auto":
        try:
            from ray._private.services import canonicalize_bootstrap_address
        except ImportError:  # not promised by Ray; without it a cluster that is gone is noticed late
            return
        address = canonicalize_bootstrap_address("auto") or ""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=KNOCK).close()


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """A connection to a Ray cluster, or to a new one on this machine, which ends with it. One that this process has is used as it is.

    Raises UserError in one line when Ray is not installed or the cluster cannot be joined.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # reports to its makers, unless the user wants it to
    try:
        import ray
    except ImportError as error:
        raise UserError(f"launcher: Ray is not installed ({error}): pip install 'selfevo[ray]'") from None
    if ray.is_initialized():
        yield
        return
    main = threading.current_thread() is threading.main_thread()
    terminate, out = signal.getsignal(signal.SIGTERM), sys.stdout
    sys.stdout = _Ours(out)  # type: ignore[assignment]
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    try:
        try:
            if address is None:
                with _later():
                    ray.init(address="local", include_dashboard=False, **options)
            else:
                _knock(address)
                ray.init(address=address, **options)
        except (ConnectionError, RuntimeError, ValueError, TimeoutError, OSError) as error:
            where = "could not be started here" if address is None else f"could not be joined at {address}"
            raise UserError(f"launcher.address: Ray {where} ({' '.join(str(error).split())[:300]})") from None
        yield
    finally:
        sys.stdout = io.StringIO()  # Ray says good-bye to nobody
        ray.shutdown()
        sys.stdout = out
        if main:
            signal.signal(signal.SIGTERM, terminate)
