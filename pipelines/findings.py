"""What a person reads of a check: what would be read, by which model, and what would be written."""

from typing import Any

_SHOWN_COLUMNS = 12


def findings_text(found: dict[str, Any]) -> str:
    """Turns what a check found into lines."""
    given, model = found["input"], found["model"]
    rows = "rows not counted yet" if given["rows"] is None else _many(given["rows"], "row")
    lines = [
        f"input      {_many(given['files'], given['format'] + ' file')}, {rows}, "
        f"{_many(given['bytes'], 'byte')}, in {_many(given['splits'], 'split')}",
        *_columns(given["columns"]),
        *_sequential(given["read_by_one_worker"]),
        f"model      {model['name']}, version {model['version']}, takes a {model['takes']}",
        *_columns(model["columns"]),
        *(f"           note: {note}" for note in model["notes"]),
    ]
    for output in found["outputs"]:
        lines.append(f"output     {output['path']} ({output['files']})")
        lines += _columns(output["columns"])
    lines += [
        f"rejected   {found['dead_letters']} (at most {found['max_dead_letter_ratio']:.2%})",
        f"reports    {found['reports']}",
        f"runner     {found['runner']}",
        "nothing was read but heads, and nothing was written: the job can start.",
    ]
    return "\n".join(lines)


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _columns(columns: dict[str, str]) -> list[str]:
    shown = [f"{name}: {type_}" for name, type_ in columns.items()][:_SHOWN_COLUMNS]
    more = [f"... {len(columns) - len(shown)} more"] if len(columns) > len(shown) else []
    return [f"           {line}" for line in [*shown, *more]]


def _sequential(paths: list[str]) -> list[str]:
    if not paths:
        return []
    return [
        f"           {len(paths):,} of them can only be read from start to end, each by one worker:"
        f" compressed text, Avro, or CSV with line breaks in values ({paths[0]})"
    ]
