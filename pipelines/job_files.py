"""The parts of a job that are about files: stored ones to read, and those to write."""

from typing import Literal

from pydantic import Field, field_validator

from .job_part import Part, Paths, Strings

FileFormat = Literal["parquet", "json", "csv", "avro"]


class CsvSpec(Part):
    """How a CSV file is written."""

    delimiter: str = Field(",", min_length=1, max_length=1, description="Between two fields.")
    quote: str = Field('"', max_length=1, description="Around a field; empty for none.")
    header: bool = Field(True, description="Whether the first line holds the columns' names.")
    names: Strings | None = Field(
        None, description="The columns' names, where the file has no header."
    )
    null_values: Strings = Field(
        ("", "NA", "N/A", "n/a", "#N/A", "NULL", "null", "NaN", "nan", "None"),
        description="Spellings of a missing value.",
    )
    newlines_in_values: bool = Field(
        False, description="Whether a quoted field may hold a line break; read by one worker then."
    )


class FilesSource(Part):
    """Stored files, by paths or globs on any Beam file system."""

    type: Literal["files"] = "files"
    path: Paths = Field(min_length=1, description="Paths, globs or folders.")
    format: FileFormat | None = Field(
        None, description="The files' format; told from their extension if left out."
    )
    columns: Strings | None = Field(
        None, description="The columns to read, by their names in the files; all if left out."
    )
    rename: dict[str, str] = Field(
        default_factory=dict, description="New names: {name in the file: name from here on}."
    )
    csv: CsvSpec = Field(default_factory=CsvSpec, description="For the format csv.")
    limit: int | None = Field(None, ge=1, description="Read at most so many rows, then stop.")

    @field_validator("columns")
    @classmethod
    def _some(cls, columns: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if columns == ():
            raise ValueError("expected a list that is not empty; leave it out for all columns")
        return columns

    @field_validator("csv")
    @classmethod
    def _named_once(cls, csv: CsvSpec) -> CsvSpec:
        if csv.header and csv.names is not None:
            raise ValueError(
                "expected names only with header: false; with a header its names count, and "
                "source.rename changes them"
            )
        return csv


class FilesSink(Part):
    """Predictions as files: a folder of parts, or one file if the path ends in an extension."""

    type: Literal["files"] = "files"
    path: str = Field(min_length=1, description="A folder, or one file such as out.parquet.")
    format: FileFormat | None = Field(
        None, description="The format; told from the path's extension, else parquet."
    )
    keep: Strings | None = Field(
        None, description="Input columns to write beside the predictions; all if left out."
    )
    row_id: bool = Field(
        False, description="Add a column row_id: which file, which row. A stream always has it."
    )
    flush_secs: float | None = Field(
        None,
        gt=0,
        description="In a stream, how long rows are gathered for one file; 1 if left out, 5 on "
        "Flink.",
    )


class FilesDeadLetters(Part):
    """Where rejected rows go, and how many of them a run may have."""

    type: Literal["files"] = "files"
    path: str | None = Field(None, description="A folder, or one file that ends in .parquet.")
    max_ratio: float = Field(
        0.05, ge=0, le=1, description="More dead letters per row end the run with code 3."
    )

    @property
    def uri(self) -> None:
        """The layout of the files knows where they are."""
