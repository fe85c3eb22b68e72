"""What a LightGBM model file says of itself, read without LightGBM."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from .artifact import Artifact
from .errors import ModelError
from .tree_shape import check_children, check_features

_STARTS = (b"tree\nversion=", b"tree\r\nversion=")
_CATEGORIES_KEY = "pandas_categorical:"
_PROBABILITIES = ("binary", "multiclass", "multiclassova")  # objectives that have classes
_BY_CATEGORY = 1  # a bit of a node's decision type
# What LightGBM calls the columns of a matrix without names.
_MADE_UP = "Column_{}"
# How a feature that was trained as categorical lists the codes it saw; a number has a range.
_CODES = re.compile(r"-?\d+(:-?\d+)*")
_PARAMETERS, _END_OF_PARAMETERS = "\nparameters:", "\nend of parameters"
_PARAMETER = re.compile(r"\[\w+: .*\]")


def is_lightgbm(artifact: Artifact) -> bool:
    """Whether a file starts as LightGBM's text does."""
    return artifact.data.startswith(_STARTS)


@dataclass(frozen=True)
class LightGBMFile:
    """What stands in the file.

    Attributes:
        text: all of it.
        objective: such as `binary`; empty for one of the user's own.
        names: of the features, in the model's order; None if it was trained on a matrix.
        num_features: how many there are.
        num_classes: 1 for an objective without classes, 2 if it is binary.
        num_trees: of all rounds and classes together.
        version: of the format, such as `v4`.
        categories: for each column that was a pandas category, what it held.
        categorical: the features that were trained as categories, by number.
    """

    text: str
    objective: str
    names: tuple[str, ...] | None
    num_features: int
    num_classes: int
    num_trees: int
    version: str
    categories: tuple[pa.Array, ...]
    categorical: tuple[int, ...]

    @property
    def outputs(self) -> tuple[str, ...]:
        """What may be asked of it, of `scoreline.models.outputs.OUTPUTS`."""
        if self.objective in _PROBABILITIES:
            return ("predict", "predict_proba", "raw_score")
        return ("predict", "raw_score")

    def categories_of(self, names: tuple[str, ...]) -> dict[str, pa.Array]:
        """The categories of each column that has some; none where nobody can tell which these are.

        A frame's ordered category is trained as a number, and a column of whole numbers may be
        trained as a category. So the file tells only if it has as many of both.
        """
        if len(self.categories) != len(self.categorical):
            return {}
        columns = [names[number] for number in self.categorical]
        return dict(zip(columns, self.categories, strict=True))

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The classes by number: LightGBM keeps no names of them."""
        if "predict_proba" not in self.outputs:
            return None
        return tuple(str(number) for number in range(self.num_classes))


def read_lightgbm_file(artifact: Artifact) -> LightGBMFile:
    """Reads what stands in a file, whoever made it.

    Raises:
        ModelError: the file is damaged or cut short.
    """
    try:
        return read_lightgbm_text(artifact.data.decode())
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(
            f"cannot read model {artifact.uri}: {type(error).__name__}: {error}. It starts as a "
            "LightGBM model does, but the file is damaged or cut short."
        ) from error


def read_lightgbm_text(text: str) -> LightGBMFile:
    """Reads what stands in a text that LightGBM made.

    Raises:
        ValueError, KeyError, TypeError, RecursionError: it is damaged or cut short.
    """
    if "\0" in text:  # where text ends for a part of LightGBM
        raise ValueError("a zero byte")
    _check_parameters(text)
    header = _pairs(text[: text.find("\nTree=")])
    names = tuple(header["feature_names"].split())
    infos = header["feature_infos"].split()
    num_features = int(header["max_feature_idx"]) + 1
    if not len(names) == len(infos) == num_features:
        raise ValueError(f"{len(names)} names and {len(infos)} ranges of {num_features} features")
    trees = _trees(text, [int(size) for size in header.get("tree_sizes", "").split()])
    for tree in trees:
        _check_tree(_pairs(tree), num_features)
    objective = next(iter(header.get("objective", "").split()), "")
    made_up = tuple(_MADE_UP.format(number) for number in range(num_features))
    return LightGBMFile(
        text=text,
        objective=objective,
        names=None if names == made_up else names,
        num_features=num_features,
        num_classes=2 if objective == "binary" else int(header["num_class"]),
        num_trees=len(trees),
        version=header["version"],
        categories=_categories(text),
        categorical=tuple(i for i, info in enumerate(infos) if _CODES.fullmatch(info)),
    )


def _pairs(text: str) -> dict[str, str]:
    """The `key=value` lines of a part: of the head, or of a tree."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {key: value for key, equals, value in pairs if equals}


def _trees(text: str, sizes: list[int]) -> list[str]:
    """The texts of the trees, cut as LightGBM cuts them: where the sizes in the head say."""
    if "\nend of trees" not in text:
        raise ValueError("the end of the trees is missing")
    if not sizes:
        return text.split("\nTree=")[1:]
    starts = [text.find("\nTree=") + 1]
    for size in sizes:
        starts.append(starts[-1] + size)
    trees = [text[start:end] for start, end in pairwise(starts)]
    if not all(tree.startswith(f"Tree={number}\n") for number, tree in enumerate(trees)):
        raise ValueError("a tree does not start where the head says")
    if not text.startswith("end of trees", starts[-1]):
        raise ValueError("the trees do not end where the head says")
    return trees


def _check_tree(tree: Mapping[str, str], num_features: int) -> None:
    num_leaves = int(tree["num_leaves"])
    num_splits = num_leaves - 1
    if num_splits == 0:
        return  # a constant
    keys = ("left_child", "right_child", "split_feature", "decision_type")
    left, right, features, decisions = (np.array(tree[key].split(), np.int64) for key in keys)
    if not len(left) == len(right) == len(features) == len(decisions) == num_splits > 0:
        raise ValueError("the parts of a tree are of different length")
    if len(tree["threshold"].split()) != num_splits:
        raise ValueError("the parts of a tree are of different length")
    if len(tree["leaf_value"].split()) != num_leaves:
        raise ValueError("a tree has another number of leaves than it says")
    children = np.concatenate([left, right])
    children = np.where(children < 0, num_splits - 1 - children, children)  # -1 is the first leaf
    check_children(children, num_splits + num_leaves)
    check_features(features, num_features)
    _check_categories(tree, decisions)


def _check_categories(tree: Mapping[str, str], decisions: np.ndarray) -> None:
    """A split by categories has the number of a set of them for its threshold."""
    sets = np.array(tree["threshold"].split(), np.float64)[decisions & _BY_CATEGORY != 0]
    num_sets = int(tree["num_cat"])
    if not len(sets):
        return
    bounds = np.array(tree["cat_boundaries"].split(), np.int64)
    bits = len(tree["cat_threshold"].split())
    if len(bounds) != num_sets + 1 or not (sets.min() >= 0 and sets.max() < num_sets):
        raise ValueError("a tree splits by a set of categories that it does not have")
    if bounds[0] != 0 or bounds[-1] != bits or (np.diff(bounds) < 0).any():
        raise ValueError("a tree's sets of categories are out of bounds")


def _check_parameters(text: str) -> None:
    """LightGBM reads what is behind the colon of each line, whether there is one or not."""
    _, found, rest = text.partition(_PARAMETERS)
    listed, end, _ = rest.partition(_END_OF_PARAMETERS)
    if found and not end:
        raise ValueError("the end of the parameters is missing")
    for line in filter(None, listed.splitlines()):
        if not _PARAMETER.fullmatch(line):
            raise ValueError(
                f"{line[:80]!r} is no parameter of the training: expected [name: value]"
            )


def _categories(text: str) -> tuple[pa.Array, ...]:
    """The last line, which LightGBM's Python package adds."""
    last = text.rstrip().rpartition("\n")[2]
    if not last.startswith(_CATEGORIES_KEY):
        return ()
    return tuple(map(pa.array, json.loads(last[len(_CATEGORIES_KEY) :]) or ()))
