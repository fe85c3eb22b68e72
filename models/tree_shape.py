"""Whether the nodes of a decision tree in a file really form a tree.

The libraries follow such numbers unchecked: what points outside crashes the process, what points
in a circle never ends. It may take a certain row to get there: trying the file once does not tell.
"""

import numpy as np


def check_children(children: np.ndarray, num_nodes: int) -> None:
    """Raises ValueError unless a walk from the first node ends, whatever way it takes.

    Args:
        children: the numbers of all nodes that are a child of some node.
        num_nodes: how many nodes there are, the first of which is the root.

    >>> check_children(np.array([1, 2]), 3)
    """
    if len(children) and (children.min() < 1 or children.max() >= num_nodes):
        raise ValueError(f"a tree of {num_nodes} nodes has children that are none of them")
    if len(np.unique(children)) != len(children):
        raise ValueError("a node of a tree is the child of two")


def check_features(features: np.ndarray, num_features: int) -> None:
    """Raises ValueError unless the splits of a tree ask for features that there are."""
    if len(features) and (features.min() < 0 or features.max() >= num_features):
        raise ValueError(f"a tree splits by a feature that is none of the {num_features}")
