"""Which seat of an episode a strategy speaks through."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import UserError, nearest
from ..protocols import Seat


def seat_of(seats: Mapping[str, Seat], role: str | None) -> Seat:
    """The named seat; with None, the only one there is. Raises UserError naming the seats to choose from."""
    if role is None:
        if len(seats) != 1:
            raise UserError(f"the strategy needs its 'role' set: the episode has {len(seats)} seats{nearest('', seats)}")
        return next(iter(seats.values()))
    if role not in seats:
        raise UserError(f"the strategy asks for the seat '{role}', which the episode does not have{nearest(role, seats)}")
    return seats[role]
