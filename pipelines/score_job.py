"""The job that the flags of `scoreline score` stand for."""

from typing import Any


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
        "sinks": [
            {
                "path": flags["output"],
                "format": flags["output_format"],
                "keep": flags["keep"],
                "row_id": flags["row_id"],
            }
        ],
        "dead_letters": {
            "path": flags["dead_letters"],
            "max_ratio": flags["max_dead_letter_ratio"],
        },
        "report": {"path": flags["report"]},
    }


def _source(flags: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "files",
        "path": flags["input"],
        "format": flags["input_format"],
        "columns": flags["columns"],
        "rename": flags["rename"],
        "csv": _csv(flags),
        "limit": flags["limit"],
    }


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
    return model.rstrip("/").rsplit("/", 1)[-1].rsplit(".", 1)[0] or "score"
