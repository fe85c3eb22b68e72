"""Where a run's files go: predictions, dead letters, and the run folder."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from .file_formats import format_of
from .formats.compressed_text import compression_of
from .receipts import Receipt
from .storage import absolute, exists, join, list_files

EXTENSION = ".parquet"

# The number of the split, as a batch job names its parts; or the run, its worker and a number.
_NUMBER = r"(\d{5,}|\d{8}T\d{6}Z-[0-9a-f]{6}-[0-9a-f]{8}-\d{6,})"
_PREDICTIONS = re.compile(rf"part-{_NUMBER}(-\d{{3,}})?\.(parquet|jsonl|csv|avro)")
_DEAD_LETTERS = re.compile(rf"part-{_NUMBER}-[a-z]+(-\d{{3,}})?\.parquet")


@dataclass(frozen=True)
class FileLayout:
    """The names under which the files of a run become visible.

    Attributes:
        output: a folder, or one file if its extension names a format.
        dead_letters: a folder or file of its own; beside or below the output if None.
        report: the folder of run folders; beside or below the output if None.
        part_extension: of the files in an output folder: the format of the predictions.

    Raises:
        ValueError: dead letters or reports would lie among the predictions, dead letters would be
            a file of another format, or the output is one file of a format that cannot be
            compressed as a whole.
    """

    output: str
    dead_letters: str | None = None
    report: str | None = None
    part_extension: str = EXTENSION

    def __post_init__(self) -> None:
        if compression_of(self.output) and format_of(self.output) in ("parquet", "avro"):
            name = PurePosixPath(self.output)
            raise ValueError(
                f"{name.name}: {format_of(self.output)} files are compressed inside, not as a "
                f"whole: name the output {name.stem}."
            )
        dead = self.dead_letters
        if dead is not None and format_of(dead) is not None and not dead.endswith(EXTENSION):
            raise ValueError(
                f"the dead letters cannot go to {dead}: they are always Parquet. Name a folder, or "
                f"one file that ends in {EXTENSION}."
            )
        for what, path in (("dead letters", self.dead_letters), ("reports", self.report)):
            if path is not None:
                self.keep_out(what, path)

    def keep_out(self, what: str, path: str) -> None:
        """Raises ValueError if a reader of the predictions would find a path among them."""
        if self._is_among_predictions(path):
            raise ValueError(
                f"the {what} cannot go to {path}: whoever reads the predictions in "
                f"{self.output} would read them too. Choose a place outside, or a name that "
                "starts with _."
            )

    @property
    def is_one_file(self) -> bool:
        """Whether all predictions go to one file."""
        return format_of(self.output) is not None

    @property
    def extension(self) -> str:
        """What the names of prediction files end in."""
        if not self.is_one_file:
            return self.part_extension
        suffixes = PurePosixPath(self.output).suffixes
        return "".join(suffixes[-2:] if compression_of(self.output) else suffixes[-1:])

    @property
    def dead_letter_path(self) -> str:
        """The folder or file of the dead letters."""
        if self.dead_letters is not None:
            return self.dead_letters
        if self.is_one_file:
            return f"{self.output}.dead_letters{EXTENSION}"
        return join(self.output, "_dead_letters")

    @property
    def own_run_root(self) -> str:
        """The folder for what a run needs while it lives: on the output's own file system."""
        return f"{self.output}.run" if self.is_one_file else join(self.output, "_run")

    @property
    def run_root(self) -> str:
        """The folder that holds one folder for each run."""
        return self.report or self.own_run_root

    def run_folder(self, run_id: str) -> str:
        """The folder of one run."""
        return join(self.run_root, run_id)

    def own_folder(self, run_id: str) -> str:
        """The folder of one run's heartbeat and staged parts; the run folder too by default."""
        return join(self.own_run_root, run_id)

    def staging(self, run_id: str) -> str:
        """Where parts are written, so that a rename makes them final."""
        return join(self.own_folder(run_id), "staged")

    def existing(self) -> list[str]:
        """The final files that stand there already, predictions and dead letters."""
        if self.is_one_file:
            predictions = [self.output] if exists(self.output) else []
        else:
            predictions = [path for path in list_files(self.output) if self._is_prediction(path)]
        return predictions + self._existing_dead_letters()

    def _existing_dead_letters(self) -> list[str]:
        dead = self.dead_letter_path
        if dead.endswith(EXTENSION):
            return [dead] if exists(dead) else []
        return [path for path in list_files(dead) if _is_in(dead, path, _DEAD_LETTERS)]

    def foreign(self) -> list[str]:
        """Files in the output folder that a reader would take for predictions but are not ours."""
        if self.is_one_file:
            return []
        files = [path for path in list_files(self.output) if self._is_visible(path)]
        return [path for path in files if not self._is_prediction(path)]

    def _is_visible(self, path: str) -> bool:
        names = path.removeprefix(join(self.output, "")).split("/")
        return not any(name.startswith(("_", ".")) for name in names)

    def _is_prediction(self, path: str) -> bool:
        return _is_in(self.output, path, _PREDICTIONS)

    def _is_among_predictions(self, path: str) -> bool:
        output, path = absolute(self.output), absolute(path)
        if path == output:
            return True
        inside = path.startswith(join(output, "")) and not self.is_one_file
        names = path.removeprefix(join(output, "")).split("/")
        return inside and not any(name.startswith(("_", ".")) for name in names)

    def moves(self, receipts: Iterable[Receipt]) -> list[tuple[str, str]]:
        """(staged path, final path) of every part; by name, predictions sort in input order.

        Args:
            receipts: of this output; those without a part do not count.
        """
        parts = sorted(
            (receipt for receipt in receipts if receipt.path is not None),
            key=lambda part: (part.kind, part.split, part.codes, part.path),
        )
        shared = Counter(map(self._final_name, parts))
        used: Counter[str] = Counter()
        moves = []
        for part in parts:
            target = self._final_name(part)
            used[target] += 1
            if shared[target] > 1:
                end = EXTENSION if part.kind == "dead_lettered" else self.extension
                target = f"{target.removesuffix(end)}-{used[target]:03d}{end}"
            moves.append((str(part.path), target))
        return moves

    def _final_name(self, receipt: Receipt) -> str:
        if receipt.kind == "predicted":
            if self.is_one_file:
                return self.output
            return join(self.output, f"part-{receipt.split:05d}{self.extension}")
        if self.dead_letter_path.endswith(EXTENSION):
            return self.dead_letter_path
        stage = receipt.codes[0][0].split("/")[0] if receipt.codes else "any"
        return join(self.dead_letter_path, f"part-{receipt.split:05d}-{stage}{EXTENSION}")


class FilelessLayout(FileLayout):
    """Where the run folder goes, and dead letters that are files, of a run that writes no others.

    Predictions in tables or topics have no folder of their own: so the report's is needed.

    Args:
        output: of the predictions, as a person names it: `bq://...`, `pubsub://...`.
        report: the folder of run folders.
        dead_letters: a folder or file; in the report's folder if None.
    """

    def __init__(self, output: str, report: str, dead_letters: str | None = None):
        super().__init__(output, dead_letters, report)

    def __post_init__(self) -> None:
        """Nothing can lie among predictions that are no files."""

    @property
    def is_one_file(self) -> bool:
        """Never."""
        return False

    @property
    def dead_letter_path(self) -> str:
        """The folder or file of dead letters that are files."""
        return self.dead_letters or join(self.run_root, "_dead_letters")

    @property
    def own_run_root(self) -> str:
        """A folder of its own beside the run folders, as jobs of other outputs may share those."""
        return join(self.run_root, "_live_" + re.sub(r"[^\w.-]+", "_", self.output))

    @property
    def run_root(self) -> str:
        """The folder that holds one folder for each run."""
        assert self.report is not None
        return self.report

    def existing(self) -> list[str]:
        """Dead letters of earlier runs: rows of a table are added to, or replaced as a whole."""
        return self._existing_dead_letters()

    def foreign(self) -> list[str]:
        """None: nobody reads a folder of predictions."""
        return []


def _is_in(folder: str, path: str, names: re.Pattern[str]) -> bool:
    return names.fullmatch(path.removeprefix(join(folder, ""))) is not None
