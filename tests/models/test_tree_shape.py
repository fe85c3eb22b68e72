import numpy as np
import pytest

from scoreline.models.tree_shape import check_children, check_features


@pytest.mark.parametrize("children", [[], [1, 2], [3, 1, 4, 2]], ids=str)
def test_a_tree(children: list[int]):
    check_children(np.array(children, int), 5)


@pytest.mark.parametrize("children", [[0, 1], [-1, 1], [1, 5]], ids=str)
def test_children_that_are_no_nodes(children: list[int]):
    with pytest.raises(ValueError, match="a tree of 5 nodes has children that are none of them"):
        check_children(np.array(children), 5)


def test_a_circle():
    with pytest.raises(ValueError, match="a node of a tree is the child of two"):
        check_children(np.array([1, 2, 3, 1]), 5)


def test_features():
    check_features(np.array([], int), 0)
    check_features(np.array([0, 2]), 3)
    for features in ([0, 3], [-1]):
        with pytest.raises(ValueError, match="by a feature that is none of the 3"):
            check_features(np.array(features), 3)
