"""An engine from outside the package: the native one behind a door for one caller, with a bill of what it was asked."""

from __future__ import annotations

import threading

from selfevo.engines import Native


class OneAtATime:
    """Raises RuntimeError when two threads are in it at once, or when a call is not for the policy of the load before it."""

    capabilities = frozenset({"generate", "score"})
    needs_weights = True

    def __init__(self) -> None:
        self.native = Native()
        self.inside = threading.Lock()
        self.asked = 0
        self.loader = 0

    def load(self, policy):
        self.loader = threading.get_ident()
        self.native.load(policy)

    def generate(self, requests):
        return self._alone(self.native.generate, requests)

    def score(self, requests, want="sampled", k=0):
        return self._alone(self.native.score, requests, want, k)

    def spent(self):
        asked, self.asked = self.asked, 0
        return {"requests": float(asked)} if asked else {}

    def _alone(self, call, requests, *more):
        if not self.inside.acquire(blocking=False):
            raise RuntimeError("two callers at once")
        try:
            if self.loader != threading.get_ident():
                raise RuntimeError("another caller's policy is loaded")
            self.asked += len(requests)
            return call(requests, *more)
        finally:
            self.inside.release()
