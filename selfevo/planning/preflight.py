"""Before a run starts: refuse what cannot fit.

Costs nothing where no cluster is described and no GPU is there, or where the launcher has an address: the machines behind it are not this
one, and nobody described them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import UserError

if TYPE_CHECKING:
    from ..spec import RunSpec


def refuse_what_cannot_fit(spec: RunSpec) -> None:
    """Raise UserError, in one line, for a checked spec that does not fit the cluster it describes, or else this machine's GPUs."""
    from .machine import gpus

    described = spec.raw.get("cluster")
    if described is None and (spec.launcher.get("address") is not None or not gpus()):
        return
    from ..spec import build
    from .machine import here
    from .refusal import refusal

    reason = refusal(spec, here() if described is None else build(described))
    if reason is not None:
        raise UserError(reason)
