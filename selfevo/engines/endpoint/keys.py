"""Keys come from the environment and stay there: a spec that seems to hold one is refused, and texts that quote one are cleaned."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ...errors import UserError

VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
LIKE_A_KEY = re.compile(
    r"(?<![A-Za-z0-9])((sk|pk|rk)[-_][\w-]{16,}|(hf|gsk|xai|csk|fw|nvapi|pplx)[-_][A-Za-z0-9]{20,}|AIza[\w-]{20,}|Bearer\s)"
)
"""What keys of well-known providers begin with. It guards against slips; nothing can tell every key from any other text."""
HOW = "keys never stand in a spec: put it into an environment variable, and name that in key_env"


def refuse(where: str, value: Any) -> None:
    """Raise UserError, which does not repeat it, when a value or anything inside it looks like a key."""
    if isinstance(value, Mapping):
        for key, inside in value.items():
            refuse(f"{where}.{key}", inside)
            if re.fullmatch(r"(?i)(x-)?api[-_]?key|authorization", str(key)):
                raise UserError(f"{where}.{key}: {HOW}")
    elif isinstance(value, (list, tuple)):
        for inside in value:
            refuse(where, inside)
    elif isinstance(value, str) and LIKE_A_KEY.search(value):
        raise UserError(f"{where}: holds something like a key; {HOW}")


def checked_url(url: str) -> str:
    """The address without a final slash. Raises UserError for one that is no http address, or that carries more than host and path."""
    refuse("base_url", url)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if host is None or parts.scheme not in ("http", "https") or port == 0:
        raise UserError("base_url: expected an address such as https://api.openai.com/v1 or http://localhost:8000/v1")
    if parts.username is not None or parts.password is not None:
        raise UserError(f"base_url: holds a user name or a password; {HOW}")
    if parts.query or parts.fragment:
        raise UserError(f"base_url: holds more than host and path (a ? or a #); {HOW}")
    return url.rstrip("/")


def checked_variable(name: str | None) -> str | None:
    """The name of an environment variable. Raises UserError, which does not repeat it, when it may be a key itself."""
    if name is not None and not VARIABLE.fullmatch(name):
        raise UserError("key_env: expected the name of an environment variable in capitals, such as OPENAI_API_KEY, or null for no key")
    return name


def read(name: str | None) -> str | None:
    """The key in an environment variable (None for None). Raises UserError when there is none, or none that could be sent."""
    if name is None:
        return None
    key = os.environ.get(name, "").strip()
    if not key:
        raise UserError(f"key_env: the environment variable {name} is not set (key_env: null for an endpoint that wants no key)")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise UserError(f"key_env: the environment variable {name} holds characters that no key has")
    return key


def hide(text: str, key: str | None) -> str:
    """The text with the key blotted out: endpoints like to repeat what they refuse."""
    return text.replace(key, "***") if key else text
