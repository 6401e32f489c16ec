"""A Ray cluster of several nodes on this machine: `python -m tests.training.ray_nodes NODES`.

The head has no core, so that every worker is on one of the NODES of one core each. Prints the cluster's address; ends
the node of each id that it reads, as if its machine had gone, and prints the id again.
"""

import os
import sys

from xmodel_core.cluster.session import RAY_ENVIRONMENT


def main(count: int) -> None:
    os.environ.update(RAY_ENVIRONMENT)
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = {node.node_id: node for node in (cluster.add_node(num_cpus=1) for _ in range(count))}
    try:
        print(cluster.address, flush=True)
        for line in sys.stdin:
            cluster.remove_node(nodes.pop(line.strip()), allow_graceful=False)
            print(line.strip(), flush=True)
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]))
