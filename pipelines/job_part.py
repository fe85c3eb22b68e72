"""What every part of a job is made of: frozen, no unknown keys, one text for a list of one."""

from typing import Annotated, Any, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)


def _listed(value: Any) -> Any:
    """One string may stand for a list of one."""
    return [value] if isinstance(value, str) else value


_STRING_OR_LIST = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
Strings = Annotated[tuple[str, ...], BeforeValidator(_listed), WithJsonSchema(_STRING_OR_LIST)]
_Path = Annotated[str, StringConstraints(min_length=1)]
Paths = Annotated[tuple[_Path, ...], BeforeValidator(_listed), WithJsonSchema(_STRING_OR_LIST)]


class Part(BaseModel):
    """A mapping of a job file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Python's `true` is 1; a person's is a mistake."""
        annotation = cls.model_fields[info.field_name or ""].annotation
        if isinstance(value, bool) and {int, float} & {annotation, *get_args(annotation)}:
            raise ValueError(f"expected a number, got {str(value).lower()}")
        return value
