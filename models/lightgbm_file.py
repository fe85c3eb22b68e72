"""What a LightGBM model file says of itself, read without LightGBM."""

import json
import re
from dataclasses import dataclass

import pyarrow as pa

from .artifact import Artifact
from .errors import ModelError

_STARTS = (b"tree\nversion=", b"tree\r\nversion=")
_CATEGORIES_KEY = "pandas_categorical:"
_PROBABILITIES = ("binary", "multiclass", "multiclassova")  # objectives that have classes
# What LightGBM calls the columns of a matrix without names.
_MADE_UP = "Column_{}"
# How a feature that was trained as categorical lists the codes it saw; a number has a range.
_CODES = re.compile(r"-?\d+(:-?\d+)*")


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
        return _read(artifact.data.decode())
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(
            f"cannot read model {artifact.uri}: {type(error).__name__}: {error}. It starts as a "
            "LightGBM model does, but the file is damaged or cut short."
        ) from error


def _read(text: str) -> LightGBMFile:
    header = _header(text)
    names = tuple(header["feature_names"].split())
    infos = header["feature_infos"].split()
    num_features = int(header["max_feature_idx"]) + 1
    if not len(names) == len(infos) == num_features:
        raise ValueError(f"{len(names)} names and {len(infos)} ranges of {num_features} features")
    if "\nend of trees" not in text:
        raise ValueError("the end of the trees is missing")
    objective = next(iter(header.get("objective", "").split()), "")
    made_up = tuple(_MADE_UP.format(number) for number in range(num_features))
    return LightGBMFile(
        text=text,
        objective=objective,
        names=None if names == made_up else names,
        num_features=num_features,
        num_classes=2 if objective == "binary" else int(header["num_class"]),
        num_trees=len(header.get("tree_sizes", "").split()),
        version=header["version"],
        categories=_categories(text),
        categorical=tuple(i for i, info in enumerate(infos) if _CODES.fullmatch(info)),
    )


def _header(text: str) -> dict[str, str]:
    """The `key=value` lines before the first tree."""
    head = text[: text.find("\nTree=")]
    pairs = (line.partition("=") for line in head.splitlines())
    return {key: value for key, equals, value in pairs if equals}


def _categories(text: str) -> tuple[pa.Array, ...]:
    """The last line, which LightGBM's Python package adds."""
    last = text.rstrip().rpartition("\n")[2]
    if not last.startswith(_CATEGORIES_KEY):
        return ()
    return tuple(map(pa.array, json.loads(last[len(_CATEGORIES_KEY) :]) or ()))
