"""The table that a person reads when a run has ended."""

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text


def summary_table(report: dict[str, Any]) -> RenderableType:
    """Turns a report into what a person wants to know, in the order in which they ask."""
    rows = report["rows"]
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    table.add_row("read", f"{rows['read']:,} rows")
    table.add_row("predicted", f"{rows['predicted']:,}")
    table.add_row("dead letters", _dead_letters(report))
    for code, count in report["dead_letters"].items():
        table.add_row(f"  {code}", f"{count:,}   e.g. {report['dead_letter_examples'][code]}")
    model = report["model"]
    table.add_row("model", f"{model['name']}, version {model['version']}")
    for note in model["notes"]:
        table.add_row("", Text(note, style="yellow"))
    table.add_row("time", f"{report['duration_secs']:.1f} s, {report['rows_per_sec']:,} rows/s")
    table.add_row("predictions", report["output"])
    if rows["dead_lettered"]:
        table.add_row("rejected rows", report["dead_letters_output"])
    table.add_row("report", f"{report['run_folder']}/report.json")
    return Group(table, *_verdict(report))


def _dead_letters(report: dict[str, Any]) -> str:
    rows = report["rows"]
    if not rows["dead_lettered"]:
        return "0"
    ratio, limit = rows["dead_lettered"] / rows["read"], report["max_dead_letter_ratio"]
    return f"{rows['dead_lettered']:,}   {ratio:.2%} of the rows (limit {limit:.2%})"


def _verdict(report: dict[str, Any]) -> list[RenderableType]:
    lines: list[RenderableType] = []
    rows = report["rows"]
    if report["unaccounted"]:
        lines.append(Text("rows are not accounted for: " + "; ".join(report["unaccounted"]), "red"))
    if rows["read"] and rows["dead_lettered"] / rows["read"] > report["max_dead_letter_ratio"]:
        lines.append(
            Text(
                "more dead letters than the limit: the predictions are there, but the run ends "
                "with code 3. Raise it with --max-dead-letter-ratio if you expect so many.",
                "red",
            )
        )
    if rows["dead_lettered"]:
        where = report["dead_letters_output"]
        lines.append(
            Text(
                'look at them:  python -c "import pyarrow.parquet as pq; '
                f"print(pq.read_table('{where}', columns=['row_id', 'error_code', "
                "'error_message']).to_pandas())\""
            )
        )
    return lines
