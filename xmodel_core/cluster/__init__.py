"""Where work runs: two verbs, a function over items and training workers.

Takes plain functions and plain values; gives results in item order. Each verb has a local form and a Ray form behind
one interface, so that Ray is an option, never a prerequisite. Results that matter are on disk, so any worker may die.
"""

from xmodel_core.cluster.config import ClusterConfig
from xmodel_core.cluster.session import Cluster, open_cluster

__all__ = ["Cluster", "ClusterConfig", "open_cluster"]
