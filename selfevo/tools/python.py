"""The Python interpreter as a tool."""

from __future__ import annotations

from ..errors import UserError
from ..sandbox import Sandbox
from .answer import Answer


class Python:
    """Runs the call as a program of its own in a sandbox and says what it printed, and the last line of its errors.

    Calls share no state: a later one does not know an earlier one's variables. What is longer than `longest` characters is cut in the
    middle. A program that fails, or is stopped for time, memory, output or processes, says so in its last line; the call's status is the
    sandbox's. Should the sandbox itself fail, the text is "[lost]".

    Args:
        sandbox: where and within which limits.
        longest: characters that are passed on, at least 40.
    """

    def __init__(self, sandbox: Sandbox | None = None, longest: int = 2000):
        if longest < 40:
            raise UserError(f"tools.Python: longest must be at least 40 characters, got {longest}")
        self.sandbox, self.longest = Sandbox() if sandbox is None else sandbox, longest

    def __call__(self, call: str, seed: int) -> Answer:
        """What the program said. Raises UserError where programs cannot be shut away."""
        result = self.sandbox.run([call], seed=seed)[0]
        said = result.stdout.rstrip("\n")
        if result.status == "error":
            said += f"\n{result.last_line or f'[ended with status {result.code}]'}"
        elif result.status != "ok":
            said += f"\n[{result.status}]"
        return Answer(_cut(said.strip("\n"), self.longest), result.status)


def _cut(text: str, longest: int) -> str:
    half = (longest - 20) // 2
    return text if len(text) <= longest else f"{text[:half]}\n[...]\n{text[-half:]}"
