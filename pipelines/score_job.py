"""The job that the flags of `scoreline score` stand for."""

from typing import Any

from .errors import UsageError

_PUBSUB = "pubsub://"

# What one kind of input cannot make use of.
_OF_FILES = ("columns", "limit")
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
    subscription = _resource(flags["input"][0])
    if subscription is not None:
        return _messages(flags, subscription)
    _refuse(flags, _OF_MESSAGES, "--input names files", "reads a subscription")
    return {
        "type": "files",
        "path": flags["input"],
        "format": flags["input_format"],
        "columns": flags["columns"],
        "rename": flags["rename"],
        "csv": _csv(flags),
        "limit": flags["limit"],
    }


def _messages(flags: dict[str, Any], subscription: str) -> dict[str, Any]:
    if flags["input"][1:]:
        raise UsageError("--input: a subscription is the only input; score the others apart")
    _refuse(flags, _OF_FILES, "--input names a subscription", "reads files")
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
    topic = _resource(flags["output"])
    if topic is not None:
        if flags["output_format"] not in (None, "json"):
            raise UsageError(
                f"--output-format {flags['output_format']}: a message is one JSON object; leave "
                "the flag out"
            )
        return {"type": "pubsub", "topic": topic, "keep": flags["keep"]}
    return {
        "path": flags["output"],
        "format": flags["output_format"],
        "keep": flags["keep"],
        "row_id": flags["row_id"],
        **_given(flags, "flush_secs"),
    }


def _dead_letters(flags: dict[str, Any]) -> dict[str, Any]:
    topic = _resource(flags["dead_letters"] or "")
    ratio = flags["max_dead_letter_ratio"]
    if topic is not None:
        return {"type": "pubsub", "topic": topic, "max_ratio": ratio}
    return {"path": flags["dead_letters"], "max_ratio": ratio}


def _given(flags: dict[str, Any], *names: str) -> dict[str, Any]:
    """The flags that were given: the job has defaults for the others."""
    return {name: flags[name] for name in names if flags[name] is not None}


def _resource(uri: str) -> str | None:
    """What a pubsub:// URI names; None for any other."""
    return uri.removeprefix(_PUBSUB) if uri.startswith(_PUBSUB) else None


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
