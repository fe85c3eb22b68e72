"""What a person reads of a check: what would be read, by which model, and what would be written."""

from typing import Any

_SHOWN_COLUMNS = 12


def findings_text(found: dict[str, Any]) -> str:
    """Turns what a check found into lines."""
    given, model = found["input"], found["model"]
    rows = "rows not counted yet" if given["rows"] is None else f"{given['rows']:,} rows"
    lines = [
        f"input      {given['files']:,} {given['format']} files, {rows}, {given['bytes']:,} bytes, "
        f"in {given['splits']:,} splits",
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
