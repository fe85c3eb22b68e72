"""Where the things of a job go: predictions, dead letters, run folders."""

import os
from itertools import permutations
from pathlib import Path

from scoreline.transforms.bigquery.names import TableName, temporary_table
from scoreline.transforms.file_formats import PART_EXTENSIONS, format_of
from scoreline.transforms.layout import EXTENSION, FileLayout, FilelessLayout
from scoreline.transforms.storage import is_local
from scoreline.transforms.table_place import TablePlace

from .errors import UsageError
from .job import Job, PubSubSink
from .job_bigquery import BigQueryDeadLetters, BigQuerySink
from .job_files import FilesSink
from .runner_profiles import ENGINES, RunnerProfile


def layouts_of(job: Job) -> tuple[FileLayout, ...]:
    """Where a job's files go; dead letters and run folders go with the first.

    That is the layout of the first sink that is no topic. Where it is a table, and where there are
    topics only, no files go there but dead letters and run folders.

    Raises:
        UsageError: they would lie among each other, or a name and a format do not fit.
    """
    files = [sink for sink in job.sinks if isinstance(sink, FilesSink)]
    try:
        if isinstance(job.home, FilesSink):
            first, others = _layout(files[0], job.dead_letters.path, job.report.path), files[1:]
        else:
            first, others = _layout_without_files(job), files
        layouts = (first, *(_layout(sink, None, first.run_root) for sink in others))
        _check_apart(layouts)
        return layouts
    except ValueError as error:
        raise UsageError(str(error)) from None


def _check_apart(layouts: tuple[FileLayout, ...]) -> None:
    """Raises ValueError if the files of one sink would lie among the predictions of another."""
    for layout, other in permutations(layouts, 2):
        layout.keep_out("predictions of another sink", other.output)
    for layout in layouts[1:]:
        layout.keep_out("dead letters", layouts[0].dead_letter_path)


def layout_of(layouts: tuple[FileLayout, ...], sink: FilesSink) -> FileLayout:
    """The layout of one sink among those of its job."""
    return next(layout for layout in layouts if layout.output == sink.path)


def default_report(job: Job) -> str | None:
    """The folder of run folders beside a table, where none is named: in the current folder."""
    return f"{job.home.table}.run" if isinstance(job.home, BigQuerySink) else None


def _layout_without_files(job: Job) -> FilelessLayout:
    report = job.report.path or default_report(job)
    assert report is not None  # the job was checked
    return FilelessLayout((job.home or job.sinks[0]).path, report, job.dead_letters.path)


def _layout(sink: FilesSink, dead_letters: str | None, report: str | None) -> FileLayout:
    named = format_of(sink.path)
    if named is not None and sink.format not in (None, named):
        raise UsageError(
            f"the output {sink.path} is one file of the format {named}, but the format "
            f"{sink.format} was asked for: leave one of the two out."
        )
    return FileLayout(sink.path, dead_letters, report, PART_EXTENSIONS[sink.format or "parquet"])


def places_of(
    job: Job, layouts: tuple[FileLayout, ...], run_id: str
) -> tuple[FileLayout | TablePlace, ...]:
    """Where the predictions of a job that reads stored data go, for each sink."""
    places: list[FileLayout | TablePlace] = []
    for number, sink in enumerate(job.sinks):
        assert not isinstance(sink, PubSubSink)  # the job was checked
        if isinstance(sink, BigQuerySink):
            places.append(table_place(sink, run_id, number))
        else:
            places.append(layout_of(layouts, sink))
    return tuple(places)


def table_place(sink: BigQuerySink, run_id: str, number: int) -> TablePlace:
    """Where the rows of a run go that are for a table.

    Args:
        sink: of the job.
        run_id: of the run.
        number: of the sink, from 0.
    """
    table = TableName.parse(sink.table)
    if sink.write == "append":
        return TablePlace(table)
    return TablePlace(table, temporary_table(table, run_id, number))


def dead_letters_table(job: Job) -> TablePlace | None:
    """Where rejected rows go that are for a table; None if they go elsewhere."""
    if not isinstance(job.dead_letters, BigQueryDeadLetters):
        return None
    assert job.dead_letters.table is not None  # the job was checked
    return TablePlace(TableName.parse(job.dead_letters.table))


def dead_letters_output(job: Job, layouts: tuple[FileLayout, ...]) -> str:
    """Where rejected rows go, as a person names it."""
    return job.dead_letters.uri or layouts[0].dead_letter_path


def check_report(job: Job, profile: RunnerProfile) -> None:
    """Checks that the workers see the run folder: beside a table it is on this machine.

    Raises:
        UsageError: they are on others.
    """
    beside = default_report(job)
    is_here = profile.is_in_process or (profile.runner in ENGINES and profile.cluster_url is None)
    if beside is not None and job.report.path is None and not is_here:
        raise UsageError(
            f"report: the run folder would be {beside} in the current folder, which the workers "
            f"of {profile.runner} do not see. Name a folder that they see, such as one of a "
            "bucket: --report FOLDER (report.path)"
        )


def check_places(layout: FileLayout) -> None:
    """Checks that each place can be what its name says, a folder or one file, and be written to.

    Raises:
        UsageError: a file is where a folder has to be, or the other way round; no right to write.
    """
    for flag, path in (
        ("--output", layout.output),
        ("--dead-letters", layout.dead_letter_path),
        ("--report", layout.run_root),
    ):
        is_file = format_of(path) is not None and flag != "--report"
        if not is_local(path):
            continue
        if is_file and Path(path).is_dir():
            raise UsageError(
                f"{flag} {path} names one file, but there is a folder of that name. Choose a name "
                f"that ends in no extension of a format for a folder, or a new name."
            )
        above = Path(path).parent if is_file else Path(path)
        blocking = [folder for folder in (above, *above.parents) if folder.is_file()]
        if blocking:
            raise UsageError(
                f"{flag} {path} cannot be a place to write to: {blocking[0]} is a file, not a "
                f"folder. Choose a folder, or one file whose name ends in {EXTENSION}."
            )
        _check_writable(flag, above)


def _check_writable(flag: str, folder: Path) -> None:
    """Local folders only: an object store says it when it is written to."""
    there = next(
        place for place in (folder.absolute(), *folder.absolute().parents) if place.exists()
    )
    if not os.access(there, os.W_OK | os.X_OK):
        raise UsageError(
            f"{flag}: no right to write to {there}. Choose another place, or ask its owner."
        )
