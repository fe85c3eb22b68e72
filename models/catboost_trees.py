"""Whether the trees of a CatBoost file point at splits and leaves that there are.

CatBoost does not look: it reads beyond its tables and may take the process with it, or not.
"""

from itertools import accumulate

from .flatbuffer import Table

# The numbers of fields in CatBoost's schema (catboost/libs/model/flatbuffers/*.fbs).
_DIMENSION, _SPLITS, _SIZES, _STARTS = 0, 1, 2, 3
_NUMBERS, _ONE_HOT, _CTRS, _LEAVES = 5, 6, 7, 8
_STEP_NODES, _ESTIMATED = 10, 13
_BORDERS_OF_NUMBER, _VALUES_OF_ONE_HOT = 3, 1
_MAX_DEPTH = 16  # of CatBoost's symmetric trees


def check_trees(trees: Table) -> None:
    """Raises ValueError for trees that CatBoost would read beyond its tables for."""
    splits, sizes, starts = (trees.integers(field) for field in (_SPLITS, _SIZES, _STARTS))
    if any(size < 0 for size in sizes) or sum(sizes) != len(splits):
        raise ValueError(f"its trees have {sum(sizes)} splits and {len(splits)} are there")
    if starts and starts != tuple(accumulate((0, *sizes[:-1]))):
        raise ValueError("its trees do not start where the one before ends")
    if any(split < 0 for split in splits):
        raise ValueError("a tree points at a split of a negative number")
    known = _num_splits(trees)
    if known is not None and splits and max(splits) >= known:
        raise ValueError(f"a tree points at split {max(splits)} of {known}")
    if not trees.length(_STEP_NODES):
        _check_leaves(trees, sizes)


def _num_splits(trees: Table) -> int | None:
    """How many splits there are to point at; None where features are made from others."""
    if trees.length(_CTRS) or trees.length(_ESTIMATED):
        return None
    borders = [number.length(_BORDERS_OF_NUMBER) for number in trees.tables(_NUMBERS)]
    values = [feature.length(_VALUES_OF_ONE_HOT) for feature in trees.tables(_ONE_HOT)]
    return sum(borders) + sum(values)


def _check_leaves(trees: Table, depths: tuple[int, ...]) -> None:
    """A symmetric tree of depth d has 2**d leaves, with one value for each dimension."""
    if max(depths, default=0) > _MAX_DEPTH:
        raise ValueError(f"a tree has depth {max(depths)}, expected at most {_MAX_DEPTH}")
    expected = sum(2**depth for depth in depths) * trees.integer(_DIMENSION, 1)
    if expected != trees.length(_LEAVES):
        raise ValueError(f"its trees have {expected} leaves and {trees.length(_LEAVES)} are there")
