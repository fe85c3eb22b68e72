"""What every part of a job is made of: frozen, no unknown keys, one text for a list of one."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema


def _listed(value: Any) -> Any:
    """One string may stand for a list of one."""
    return [value] if isinstance(value, str) else value


_STRING_OR_LIST = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
Strings = Annotated[tuple[str, ...], BeforeValidator(_listed), WithJsonSchema(_STRING_OR_LIST)]


class Part(BaseModel):
    """A mapping of a job file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
