"""Planning: what a spec needs, reckoned from shapes alone. No GPU, no torch and no weights are needed.

`plan.make` reckons, `words` tells, `refusal.refusal` says no; what a spec itself may name is the cluster.
"""

from .cluster import GPUS, Cluster

__all__ = ["GPUS", "Cluster"]
