"""The job that the flags of `scoreline score` stand for."""

from typing import Any

from .errors import UsageError

_PUBSUB, _TABLE = "pubsub://", "bq://"

# What one kind of input or output cannot make use of.
_OF_STORED = ("columns", "limit")
_OF_TABLES = ("row_filter",)
_OF_OUTPUT_TABLES = (
    "write",
    "partition_by",
    "cluster_by",
    "expiration_days",
    "allow_new_columns",
)
_OF_MESSAGES = (
    "types",
    "avro_schema",
    "attributes",
    "message_id_column",
    "publish_time_column",
    "deduplicate_by",
    "deduplicate_secs",
    "max_latency_secs",
    "flush_secs",
    "stop_when_idle_secs",
    "pull_threads",
)


def score_values(flags: dict[str, Any]) -> dict[str, Any]:
    """Turns flags into the values of a job file."""
    return {
        "name": flags["name"] or _name_of(flags["model"]),
        "source": _source(flags),
        "model": {
            "uri": flags["model"],
            **{key: flags[key] for key in ("outputs", "features", "preprocess", "postprocess")},
            "trust": {
                key: flags[key] for key in ("sha256", "allow_pickle", "allow_code", "skops_types")
            },
        },
        **_given(flags, "max_latency_secs"),
        "sinks": [_sink(flags)],
        "dead_letters": _dead_letters(flags),
        "report": {"path": flags["report"]},
    }


def _source(flags: dict[str, Any]) -> dict[str, Any]:
    first = flags["input"][0]
    if first.startswith(_PUBSUB):
        return _messages(flags, first.removeprefix(_PUBSUB))
    if first.startswith(_TABLE):
        return _table(flags, first.removeprefix(_TABLE))
    _refuse(flags, _OF_MESSAGES, "--input names files", "reads a subscription")
    _refuse(flags, _OF_TABLES, "--input names files", "reads a table")
    return {
        "type": "files",
        "path": flags["input"],
        "format": flags["input_format"],
        "columns": flags["columns"],
        "rename": flags["rename"],
        "csv": _csv(flags),
        "limit": flags["limit"],
    }


def _table(flags: dict[str, Any], table: str) -> dict[str, Any]:
    if flags["input"][1:]:
        raise UsageError("--input: a table is the only input; score the others apart")
    _refuse(flags, _OF_MESSAGES, "--input names a table", "reads a subscription")
    _refuse(flags, ("input_format",), "a table has columns, not a format", "reads files")
    return {
        "type": "bigquery",
        "table": table,
        **{key: flags[key] for key in ("columns", "row_filter", "rename", "limit")},
    }


def _messages(flags: dict[str, Any], subscription: str) -> dict[str, Any]:
    if flags["input"][1:]:
        raise UsageError("--input: a subscription is the only input; score the others apart")
    _refuse(flags, _OF_STORED, "--input names a subscription", "reads stored data")
    _refuse(flags, _OF_TABLES, "--input names a subscription", "reads a table")
    if not flags["deduplicate_by"]:
        _refuse(flags, ("deduplicate_secs",), "--deduplicate-by is missing", "drops duplicates")
    return {
        "type": "pubsub",
        "subscription": subscription,
        "format": flags["input_format"] or "json",
        "types": flags["types"],
        "rename": flags["rename"],
        "csv": _csv(flags),
        "avro_schema": flags["avro_schema"],
        "attributes": flags["attributes"],
        "message_id": flags["message_id_column"],
        "publish_time": flags["publish_time_column"],
        "deduplicate_by": flags["deduplicate_by"],
        **_given(flags, "deduplicate_secs", "stop_when_idle_secs", "pull_threads"),
    }


def _sink(flags: dict[str, Any]) -> dict[str, Any]:
    output = flags["output"]
    if output.startswith(_TABLE):
        return _sink_table(flags, output.removeprefix(_TABLE))
    _refuse(flags, _OF_OUTPUT_TABLES, "--output names no table", "writes to one")
    if output.startswith(_PUBSUB):
        if flags["output_format"] not in (None, "json"):
            raise UsageError(
                f"--output-format {flags['output_format']}: a message is one JSON object; leave "
                "the flag out"
            )
        return {"type": "pubsub", "topic": output.removeprefix(_PUBSUB), "keep": flags["keep"]}
    return {
        "path": output,
        "format": flags["output_format"],
        "keep": flags["keep"],
        "row_id": flags["row_id"],
        **_given(flags, "flush_secs"),
    }


def _sink_table(flags: dict[str, Any], table: str) -> dict[str, Any]:
    _refuse(flags, ("output_format",), "a table has columns, not a format", "writes files")
    _refuse(flags, ("flush_secs",), "rows of a table are sent as they come", "writes files")
    return {
        "type": "bigquery",
        "table": table,
        "keep": flags["keep"],
        "row_id": flags["row_id"],
        **_given(flags, "write"),
        "create": _given(flags, "partition_by", "cluster_by", "expiration_days"),
        "allow_new_columns": flags["allow_new_columns"],
    }


def _dead_letters(flags: dict[str, Any]) -> dict[str, Any]:
    place, ratio = flags["dead_letters"] or "", flags["max_dead_letter_ratio"]
    if place.startswith(_PUBSUB):
        return {"type": "pubsub", "topic": place.removeprefix(_PUBSUB), "max_ratio": ratio}
    if place.startswith(_TABLE):
        return {"type": "bigquery", "table": place.removeprefix(_TABLE), "max_ratio": ratio}
    return {"path": flags["dead_letters"], "max_ratio": ratio}


def _given(flags: dict[str, Any], *names: str) -> dict[str, Any]:
    """The flags that were given: the job has defaults for the others."""
    return {name: flags[name] for name in names if flags[name] is not None}


def _refuse(flags: dict[str, Any], names: tuple[str, ...], why: str, only: str) -> None:
    for name in names:
        if flags[name]:
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(f"{flag}: {why}; {flag} is for what {only}")


def _csv(flags: dict[str, Any]) -> dict[str, Any]:
    csv: dict[str, Any] = {
        "delimiter": "\t" if flags["csv_delimiter"] == r"\t" else flags["csv_delimiter"],
        "quote": flags["csv_quote"],
        "newlines_in_values": flags["csv_newlines_in_values"],
    }
    if flags["csv_header"]:
        csv |= {"header": False, "names": flags["csv_header"]}
    if flags["csv_null_values"]:
        csv["null_values"] = flags["csv_null_values"]
    return csv


def _name_of(model: str) -> str:
    """The file's name without its extension, or the function's."""
    name = model.rstrip("/").rsplit("/", 1)[-1]
    return (name.rsplit(":", 1)[1] if ":" in name else name.rsplit(".", 1)[0]) or "score"
