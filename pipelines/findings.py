"""What a person reads of a check: what would be read, by which model, and what would be written."""

from typing import Any

_SHOWN_COLUMNS = 12


def findings_text(found: dict[str, Any]) -> str:
    """Turns what a check found into lines."""
    return "\n".join(_stream(found) if found.get("mode") == "streaming" else _stored(found))


def _stored(found: dict[str, Any]) -> list[str]:
    given, model = found["input"], found["model"]
    lines = [*(_table(given) if "table" in given else _files(given)), *_model(model)]
    for output in found["outputs"]:
        lines.append(f"output     {output['path']} ({_how(output)})")
        lines += _columns(output["columns"])
    return [
        *lines,
        *_places(found),
        *_runner(found),
        *(f"note       {note}" for note in found["notes"]),
        "nothing was read but heads, and nothing was written: the job can start."
        if "files" in given
        else "no row was read, and nothing was written: the job can start.",
    ]


def _files(given: dict[str, Any]) -> list[str]:
    return [
        f"input      {_many(given['files'], given['format'] + ' file')}, {_rows(given['rows'])}, "
        f"{_many(given['bytes'], 'byte')}, in {_many(given['splits'], 'split')}",
        *_columns(given["columns"]),
        *_sequential(given["read_by_one_worker"]),
    ]


def _table(given: dict[str, Any]) -> list[str]:
    size = given["bytes"]
    scanned = "bytes to scan not known" if size is None else f"{_many(size, 'byte')} to scan"
    where = f", where {given['row_filter']}" if given["row_filter"] else ""
    return [
        f"input      {given['table']}{where}, {_rows(given['rows'])}, {scanned}",
        *_columns(given["columns"]),
    ]


def _rows(rows: int | None) -> str:
    return "rows not counted yet" if rows is None else _many(rows, "row")


def _stream(found: dict[str, Any]) -> list[str]:
    given = found["input"]
    lines = [
        f"input      pubsub://{given['subscription']}, {given['format']} messages of "
        f"{given['topic']}",
        *_columns(given["columns"]),
        *_deduplicated(given),
        f"           {_end(given['stop_when_idle_secs'])}",
        *_in_hand(found),
        *_model(found["model"]),
    ]
    for output in found["outputs"]:
        lines.append(f"output     {output['path']} ({_how(output)})")
        lines += _columns(output["columns"])
    return [
        *lines,
        *_places(found),
        *_runner(found),
        *(f"note       {note}" for note in found["notes"]),
        "nothing was pulled, and nothing was written: the job can start.",
    ]


def _in_hand(found: dict[str, Any]) -> list[str]:
    """How much is pulled ahead, where it is we who pull."""
    in_hand = found["in_hand"]
    if in_hand is None:
        return ["in hand    Dataflow pulls, and gives what a bundle of its own holds"]
    deadline_secs = found["input"]["ack_deadline_secs"]
    return [
        f"in hand    at most {_many(in_hand['max_messages'], 'message')} and "
        f"{_many(in_hand['max_bytes'], 'byte')} that wait, each for at most "
        f"{in_hand['max_lease_secs']:g} s; {_many(in_hand['pull_threads'], 'pull')} at a time",
        f"           leases of {deadline_secs:g} s are extended; batches are sized to "
        f"take {found['max_latency_secs']:g} s at most",
    ]


def _runner(found: dict[str, Any]) -> list[str]:
    """The runner, when it acknowledges the messages of a stream, and its flags."""
    said = f": messages are acknowledged {found['acknowledged']}" if "acknowledged" in found else ""
    lines = [f"runner     {found['runner']}{said}"]
    if found.get("readers", 1) > 1:
        lines.append(f"           {found['readers']} readers, one for each subtask")
    for flag, setting in found["runner_settings"].items():
        lines.append(f"           --{flag}={setting['value']}: {setting['reason']}")
    for number, line in enumerate(found.get("workers", ())):
        lines.append(f"{'workers' if number == 0 else '':10} {line}")
    return lines


def _model(model: dict[str, Any]) -> list[str]:
    return [
        f"model      {model['name']}, version {model['version']}, takes a {model['takes']}",
        *_columns(model["columns"]),
        *(f"           note: {note}" for note in model["notes"]),
    ]


def _places(found: dict[str, Any]) -> list[str]:
    return [
        f"rejected   {found['dead_letters']} (at most {found['max_dead_letter_ratio']:.2%})",
        f"reports    {found['reports']}",
    ]


def _deduplicated(given: dict[str, Any]) -> list[str]:
    if given["deduplicate_by"] is None:
        return []
    secs = f"{given['deduplicate_secs']:g} s"
    return [f"           duplicates by {given['deduplicate_by']} within {secs} are dropped"]


def _end(idle_secs: float | None) -> str:
    if idle_secs is None:
        return "runs until it is stopped: SIGTERM drains it"
    return f"ends when nothing has come for {idle_secs:g} s"


def _how(output: dict[str, Any]) -> str:
    if "table" in output:
        rows = "rows are added" if output["write"] == "append" else "all its rows are replaced"
        added = f", new columns: {', '.join(output['new_columns'])}" * bool(output["new_columns"])
        return f"the table {output['table']}, {rows}{added}"
    if "flush_secs" in output:
        return f"{output['files']}, a file each {output['flush_secs']:g} s"
    if "files" in output:
        return str(output["files"])
    return f"attributes {', '.join(output['attributes'])}"


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
