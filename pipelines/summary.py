"""What a person reads when a run has ended: a table; nothing in it is cut that could be copied."""

import json
import math
import shlex
from typing import Any

from .durations import duration_text

_BOLD, _RED, _YELLOW, _END = "\x1b[1m", "\x1b[31m", "\x1b[33m", "\x1b[0m"
_MIN_EXAMPLE = 20  # characters; on a terminal that is narrower than this, lines wrap


def summary(report: dict[str, Any], *, width: int | None = None, color: bool = False) -> str:
    """Turns a report into what a person wants to know, in the order in which they ask.

    Args:
        report: of a run.
        width: of the terminal; examples are shortened to it, paths never are.
        color: whether to use the terminal's colours.
    """
    if "rows" not in report:
        return _submitted(report, color)
    rows = [
        ("read", f"{report['rows']['read']:,} rows{_limit(report)}"),
        ("predicted", f"{report['rows']['predicted']:,}"),
        *_deduplicated(report),
        ("dead letters", _dead_letters(report)),
        *_codes(report),
        ("model", f"{report['model']['name']}, version {report['model']['version']}"),
        *(("", _paint(note, _YELLOW, color)) for note in report["model"]["notes"]),
        ("time", f"{report['duration_secs']:.1f} s, {report['rows_per_sec']:,} rows/s"),
        *_latency(report),
        *_outputs(report),
    ]
    if report["rows"]["dead_lettered"]:
        rows.append(("rejected rows", report["dead_letters_output"]))
    rows.append(("report", f"{report['run_folder']}/report.json"))
    rows += _page(report)
    margin = max(len(label) for label, _ in rows) + 2
    lines = []
    for label, value in rows:
        if label.startswith(" ") and width is not None:
            value = _fit(value, max(_MIN_EXAMPLE, width - margin))
        lines.append(_paint(label.ljust(margin), _BOLD, color) + value)
    lines += [_paint(line, _RED, color) for line in _broken(report)]
    return "\n".join(lines + _next(report))


def _submitted(report: dict[str, Any], color: bool) -> str:
    """What is said of a job that goes on without its launcher."""
    place, is_stream = report["submitted"], report.get("mode") == "streaming"
    rows = [
        ("submitted", f"{place['job_name']} to {report['runner']}, {place['region']}"),
        ("model", f"{report['model']['name']}, version {report['model']['version']}"),
        *_page(report),
        ("run folder", report["run_folder"]),
    ]
    if not is_stream:
        rows.append(("report", f"{report['run_folder']}/report.json, when it has ended"))
    elif place["job_id"]:
        drain = f"gcloud dataflow jobs drain {place['job_id']} --project={place['project']}"
        rows.append(("to drain it", f"{drain} --region={place['region']}"))
    margin = max(len(label) for label, _ in rows) + 2
    return "\n".join(_paint(label.ljust(margin), _BOLD, color) + value for label, value in rows)


def _page(report: dict[str, Any]) -> list[tuple[str, str]]:
    """The page of a job that a service runs."""
    place = report.get("submitted") or {}
    return [("job", place["url"])] if place.get("url") else []


def _paint(text: str, code: str, color: bool) -> str:
    return f"{code}{text}{_END}" if color else text


def _limit(report: dict[str, Any]) -> str:
    limit = report.get("limit")
    return f", where --limit {limit} ended the run" if limit == report["rows"]["read"] else ""


def _deduplicated(report: dict[str, Any]) -> list[tuple[str, str]]:
    rows = report["rows"].get("deduplicated")
    return [("deduplicated", f"{rows:,}")] if rows else []


def _latency(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Of a stream, where any message came."""
    latency = report.get("latency")
    if not latency or not latency["messages"]:
        return []
    p50, p99, most = (duration_text(latency[f"{name}_secs"]) for name in ("p50", "p99", "max"))
    return [("latency", f"p50 {p50}, p99 {p99}, at most {most} (from publishing to writing)")]


def _is_stream(report: dict[str, Any]) -> bool:
    return "latency" in report


def _outputs(report: dict[str, Any]) -> list[tuple[str, str]]:
    first, *others = report.get("outputs", [report["output"]])
    return [("predictions", first), *(("", path) for path in others)]


def _dead_letters(report: dict[str, Any]) -> str:
    rows = report["rows"]
    if not rows["dead_lettered"]:
        return "0"
    ratio, limit = rows["dead_lettered"] / rows["read"], report["max_dead_letter_ratio"]
    return f"{rows['dead_lettered']:,}   {ratio:.2%} of the rows (limit {limit:.2%})"


def _codes(report: dict[str, Any]) -> list[tuple[str, str]]:
    """One line for each reason: how many rows, and one of them."""
    lines = []
    for code, count in report["dead_letters"].items():
        example = " ".join(report["dead_letter_examples"][code].split())
        lines.append((f"  {code}", f"{count:,}   e.g. {example}"))
    return lines


def _fit(text: str, width: int) -> str:
    """Shortens an example: first the folders of its file, then its end.

    >>> _fit("1   e.g. /a/long/way/to/part.parquet#5: column 'a': no number", 50)
    "1   e.g. …/part.parquet#5: column 'a': no number"
    """
    if len(text) <= width:
        return text
    count, example = text.split("e.g. ", 1)
    place, hash_, rest = example.partition("#")
    if hash_ and "/" in place:
        example = f"…/{place.rsplit('/', 1)[1]}#{rest}"
    text = f"{count}e.g. {example}"
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _broken(report: dict[str, Any]) -> list[str]:
    """The limits that the run broke."""
    lines = []
    if report["unaccounted"]:
        lines.append(
            "rows are not accounted for: " + "; ".join(report["unaccounted"]) + ". The predictions "
            "are there, but do not rely on them."
        )
    if _is_over(report):
        lines.append(
            "more dead letters than the limit: the predictions are there, but the run ends with "
            "code 3."
        )
    return lines


def _is_over(report: dict[str, Any]) -> bool:
    rows = report["rows"]
    lacking = rows["dead_lettered"] / rows["read"] if rows["read"] else 0.0
    lacking = max(lacking, report.get("dead_letter_ratio", 0.0))  # of the output that lacks most
    return bool(lacking > report["max_dead_letter_ratio"])


def _next(report: dict[str, Any]) -> list[str]:
    """Commands to type next."""
    rows = report["rows"]
    if not rows["dead_lettered"]:
        return []
    lines = _look(report)
    if _is_over(report):
        lines.append(f"if you expect so many, {_again(report)}")
    return lines


def _again(report: dict[str, Any]) -> str:
    """How to allow for more dead letters, without having the rows of this run twice."""
    rows = report["rows"]
    flag = (
        f"--max-dead-letter-ratio {math.ceil(100 * rows['dead_lettered'] / rows['read']) / 100:g}"
    )
    if _is_stream(report):  # it goes on where it was
        return f"give the same command with:  {flag}"
    if any(path.startswith("bq://") for path in report.get("outputs", [report["output"]])):
        return f"give the next run (the rows of this one are in the table):  {flag}"
    return f"give the same command with:  --overwrite {flag}"


def _look(report: dict[str, Any]) -> list[str]:
    dead_letters = report["dead_letters_output"]
    if dead_letters.startswith("pubsub://"):
        return []  # whoever subscribed to the topic has them
    if dead_letters.startswith("bq://"):
        return [_query(dead_letters.removeprefix("bq://"), report["run_id"])]
    where = json.dumps(dead_letters, ensure_ascii=False)
    code = (
        f"import pyarrow.parquet as pq; print(pq.read_table({where}, "
        'columns=["row_id", "error_code", "error_message"]).to_pandas().to_string())'
    )
    return [f"look at them:  python -c {shlex.quote(code)}"]


def _query(table: str, run_id: str) -> str:
    query = (
        f"SELECT row_id, error_code, error_message FROM `{table}` WHERE run_id = '{run_id}' "
        "LIMIT 100"
    )
    return f"look at them:  bq query --nouse_legacy_sql {shlex.quote(query)}"
