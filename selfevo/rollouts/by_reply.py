"""A conversation of several replies as one trajectory per reply."""

from __future__ import annotations

from dataclasses import replace

from ..records import Cost, Trajectory


def by_reply(whole: Trajectory) -> list[Trajectory]:
    """One trajectory per policy turn, each holding the conversation up to its end.

    Their keys `hop` count from 0; all but the last have `final: "no"`, finish by themselves (or are truncated where the reply was) and
    drop what only the end of the episode knows (keys "env:..."). Each is the child of the one before, whose tokens are its `prefix`, so
    builders with `prefix: mask` train on every token once; each costs its own reply. Fewer than one reply: the trajectory as it is.
    """
    ends = [i + 1 for i, turn in enumerate(whole.turns) if turn.source == "policy"]
    if not ends:
        return [whole]
    keys = {name: value for name, value in whole.keys.items() if not name.startswith("env:")}
    out: list[Trajectory] = []
    for hop, end in enumerate(ends):
        turn, last = whole.turns[end - 1], end == ends[-1]
        t = replace(
            whole,
            id=whole.id if last else f"{whole.id}.{hop}",
            turns=whole.turns if last else whole.turns[:end],
            keys={**(whole.keys if last else keys), "hop": str(hop), "final": "yes" if last else "no"},
            status=whole.status if last else "truncated" if turn.finish == "length" else "finished",
            cost=Cost(len(turn.context), len(turn.tokens), calls=1),
        )
        if out:
            prefix = sum(len(turn.tokens) for turn in out[-1].turns)
            t = replace(t, parent=out[-1].id, prefix=prefix)
        out.append(t)
    return out
