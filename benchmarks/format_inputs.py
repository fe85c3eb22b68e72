"""Turns a source of rows in some format into its file, making it on first use.

As in inputs.py, only the standard library is imported here; format_data.py does the work.
"""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from inputs import WORK, make, need_disk

EXTENSIONS = {"json": "jsonl", "csv": "csv", "avro": "avro", "parquet": "parquet"}
STRINGS = ("created", "updated", "country", "plan", "device")  # behind `id`, before the numbers
FLOATS = tuple(f"f{number:02d}" for number in range(16))
INTEGERS = tuple(f"n{number:02d}" for number in range(4))
NUMBERS = slice(1 + len(STRINGS), 1 + len(STRINGS) + len(FLOATS) + len(INTEGERS))

_INPUTS = WORK / "formats-1"  # count up when format_data.py writes something else
_BYTES_PER_ROW = {"json": 520, "csv": 400, "avro": 400, "parquet": 350}


@dataclass(frozen=True)
class Source:
    """A file of rows.

    Attributes:
        format: `json` (JSON lines), `csv`, `avro` or `parquet`: the same rows in each.
        num_rows: how many, malformed ones included.
        every: one record in so many is malformed, in one of four ways in turn; 0 for none.
        copies: how often the rows stand in the file, one after the other.
    """

    format: str
    num_rows: int
    every: int = 0
    copies: int = 1

    @property
    def name(self) -> str:
        """What files of this source are called."""
        broken = f"-broken-{self.every}" if self.every else ""
        return f"{self.format}-{self.num_rows}{broken}" + f"x{self.copies}" * (self.copies > 1)

    @property
    def clean(self) -> "Source":
        """The same rows, all well-formed, once."""
        return Source(self.format, self.num_rows)

    @property
    def num_broken(self) -> int:
        """How many records are malformed.

        >>> Source("json", 100_000, every=10_000).num_broken
        10
        """
        return len(range(self.every // 2, self.num_rows, self.every)) if self.every else 0

    @property
    def num_bytes(self) -> int:
        """About how large the file is, and what is written of its rows."""
        return self.num_rows * self.copies * _BYTES_PER_ROW[self.format]


def source_file(source: Source) -> Path:
    """Returns the file of a source."""
    path = _INPUTS / f"{source.name}.{EXTENSIONS[source.format]}"
    if path.exists():
        return path
    if source == source.clean:
        need_disk(sum(Source(each, source.num_rows).num_bytes for each in EXTENSIONS))
        _make("rows", str(source.num_rows), *(str(_clean(source.num_rows, e)) for e in EXTENSIONS))
        return path
    clean = str(source_file(source.clean))
    need_disk(source.num_bytes)
    if source.copies > 1:
        _make("copies", source.format, str(source.copies), clean, str(path))
    else:
        _make("broken", source.format, str(source.every), clean, str(path))
    return path


def model_file() -> Path:
    """Returns a joblib file with a linear pipeline that was fitted on a frame with names."""
    path = _INPUTS / f"model-sklearn-{version('scikit-learn')}.joblib"
    if not path.exists():
        _make("model", str(path))
    return path


def _clean(num_rows: int, format_: str) -> Path:
    return _INPUTS / f"{Source(format_, num_rows).name}.{EXTENSIONS[format_]}"


def _make(*arguments: str) -> None:
    _INPUTS.mkdir(parents=True, exist_ok=True)
    make("format_data.py", *arguments)
