"""The part of a job that is about its model: which one, what to ask of it, what it may do."""

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from scoreline.models.outputs import OUTPUTS

from .job_part import Part, Strings
from .near import near_name


class ColumnSpec(Part):
    """What a column may hold, on top of what the model refuses by itself."""

    type: Literal["number", "text", "any"] = Field(
        "any", description="What the column holds; any leaves it to the model."
    )
    nullable: bool = Field(True, description="Whether a missing value is accepted.")
    min: float | None = Field(None, description="The least number that is accepted.")
    max: float | None = Field(None, description="The greatest number that is accepted.")
    categories: tuple[bool | int | float | str, ...] | None = Field(
        None, min_length=1, description="The only values that are accepted."
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> "ColumnSpec":
        is_range = self.min is not None or self.max is not None
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"expected min to be at most max, got {self.min:g} and {self.max:g}")
        if is_range and self.type == "text":
            raise ValueError("min and max are of numbers; expected type number, got text")
        texts = [isinstance(category, str) for category in self.categories or ()]
        if any(texts) and not all(texts):
            raise ValueError("categories: expected all to be text or all to be numbers, got both")
        if texts and self.type != "any" and (self.type == "text") != texts[0]:
            came = "text" if texts[0] else "numbers"
            raise ValueError(f"categories: expected values of the type {self.type}, got {came}")
        if texts and texts[0] and is_range:
            raise ValueError("categories: expected numbers beside min and max, got text")
        return self


class TrustSpec(Part):
    """What the model file may do when it is loaded."""

    sha256: str | None = Field(None, description="Load only the file with this hash.")
    allow_pickle: bool = Field(False, description="Load a pickle, which can run any code.")
    allow_code: bool = Field(
        False, description="Run preprocess, postprocess and a uri that is code."
    )
    skops_types: Strings = Field((), description="Types that a .skops file may hold besides ours.")

    @field_validator("sha256")
    @classmethod
    def _is_hash(cls, sha256: str | None) -> str | None:
        if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
            raise ValueError(f"expected 64 hexadecimal digits, got {sha256!r}")
        return sha256


class ModelSpec(Part):
    """A model file, the methods to call, and what it may do."""

    uri: str = Field(
        min_length=1,
        description="The model file, on any Beam file system; or package.module:function, or "
        "beam:package.module:factory.",
    )
    outputs: Strings = Field(
        ("predict",), min_length=1, description=f"What to compute: {', '.join(OUTPUTS)}."
    )
    features: Strings | None = Field(
        None, description="The model's columns in its own order, if it does not know them."
    )
    preprocess: str | None = Field(
        None, description="package.module:function from the input's columns to the model's."
    )
    postprocess: str | None = Field(
        None, description="package.module:function from input and outputs to what is written."
    )
    contract: dict[str, ColumnSpec] = Field(
        default_factory=dict,
        description="What columns may hold, {column: {nullable, min, max, categories}}; a row that "
        "does not is a dead letter.",
    )
    trust: TrustSpec = Field(default_factory=TrustSpec, description="What the file may do.")

    @field_validator("outputs")
    @classmethod
    def _known_outputs(cls, outputs: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [output for output in outputs if output not in OUTPUTS]
        if unknown:
            hint = near_name(unknown[0], OUTPUTS)
            raise ValueError(
                f"expected some of {', '.join(OUTPUTS)}, got {', '.join(unknown)}{hint}"
            )
        return tuple(dict.fromkeys(outputs))
