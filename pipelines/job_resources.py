"""The part of a job that is about the machine that a model needs."""

from pydantic import Field, field_validator

from .job_part import Part

_ACCELERATOR = r"^type:[a-z0-9-]+;count:[1-9][0-9]*(;[a-z0-9:_-]+)*$"
_RAM = r"^[0-9]+(\.[0-9]+)? ?(B|[KMGTP]i?B)$"


class ResourcesSpec(Part):
    """What the step that calls the model needs of its machine; Dataflow alone can be told."""

    accelerator: str | None = Field(
        None,
        pattern=_ACCELERATOR,
        description="type:nvidia-l4;count:1;install-nvidia-driver, or another of Google's.",
    )
    min_ram: str | None = Field(None, pattern=_RAM, description="Memory of a worker, as 16GB.")

    @field_validator("accelerator")
    @classmethod
    def _has_driver(cls, accelerator: str | None) -> str | None:
        if accelerator is not None and "nvidia" in accelerator and "driver" not in accelerator:
            raise ValueError(
                f"expected ;install-nvidia-driver at the end, got {accelerator!r}: without a "
                "driver no library sees the GPU"
            )
        return accelerator

    @property
    def hints(self) -> dict[str, str]:
        """What is named, as Beam's resource hints."""
        return {name: value for name, value in self.model_dump().items() if value is not None}
