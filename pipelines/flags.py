"""Our own command-line flags, by verb. Beam's are in beam_flags.py."""

import argparse
import math
from typing import Any, NoReturn

from .errors import UsageError

FORMATS = ("parquet", "json", "csv", "avro")

_MAX_PORT = 65_535

_EPILOG = """\
Beam's own flags are given unchanged, anywhere after the verb: --runner, --direct_num_workers,
--direct_running_mode, ... exit codes: 0 finished, 1 the run failed, 2 usage or input, 3 a limit was
broken, 4 the model is unfit, 130 and 143 interrupted."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}. See {self.prog} --help")


def score_parser() -> argparse.ArgumentParser:
    """The flags of `scoreline score`."""
    parser = verb_parser("score", "Score files or a stream with a trained model.")
    data = parser.add_argument_group("data")
    _add_input_flags(data)
    _add_csv_flags(data)
    _add_limit_flag(data)
    _add_output_flags(data)
    _add_dead_letter_flags(data)
    _add_overwrite_flag(data)
    _add_table_flags(parser.add_argument_group("tables, for what reads or writes BigQuery"))
    _add_message_flags(parser.add_argument_group("messages, for what reads a subscription"))
    _add_model_flags(parser.add_argument_group("model"))
    _add_trust_flags(parser.add_argument_group("trust"))
    _add_run_flags(parser.add_argument_group("run"))
    return parser


def run_parser() -> argparse.ArgumentParser:
    """The flags of `scoreline run`."""
    parser = _job_parser("run", "Run a job file.")
    _add_dry_run(parser)  # as check, as Beam's flag of this name would run the job
    _add_report_flags(parser)
    _add_status_flags(parser)
    return parser


def check_parser() -> argparse.ArgumentParser:
    """The flags of `scoreline check`."""
    parser = _job_parser("check", "Say what a job file would do and what does not fit.")
    _add_report_flags(parser)
    return parser


def schema_parser() -> argparse.ArgumentParser:
    """The flags of `scoreline schema`: none."""
    return verb_parser("schema", "Print the job file's JSON Schema.")


def model_parser() -> argparse.ArgumentParser:
    """The flags of `scoreline model`."""
    parser = verb_parser("model", "Look at a model without running anything of it.")
    parser.add_argument("action", choices=("inspect",), help="what to do with the model")
    parser.add_argument("model", metavar="MODEL", help="as for --model of scoreline score")
    _add_trust_flags(parser)
    parser.add_argument(
        "--features",
        type=_names,
        metavar="A,B",
        help="the model's input columns, for --contract-yaml of a model that does not know them",
    )
    parser.add_argument(
        "--contract-yaml",
        action="store_true",
        help="print a draft of the contract block of a job file, and no more",
    )
    parser.add_argument("--output-json", action="store_true", help="print what was found as JSON")
    return parser


def completion_parser() -> argparse.ArgumentParser:
    """The argument of `scoreline completion`."""
    parser = verb_parser("completion", "Print a script for the shell to source.")
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))
    return parser


def _job_parser(verb: str, description: str) -> argparse.ArgumentParser:
    parser = verb_parser(verb, description)
    parser.add_argument("job", metavar="JOB.yaml", help="the job file")
    parser.add_argument(
        "--set",
        action="append",
        metavar="A.B=C",
        help="set one value of the job, as YAML; may be given several times",
    )
    _add_overwrite_flag(parser)
    return parser


def verb_parser(verb: str, description: str) -> argparse.ArgumentParser:
    """A parser of one verb without its flags; whatever is wrong is a UsageError."""
    return _Parser(
        prog=f"scoreline {verb}",
        description=description,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def _add_input_flags(group: Any) -> None:
    group.add_argument(
        "--input",
        action="append",
        metavar="PATH",
        required=True,
        help="file, glob or folder; may be given several times; or a table, "
        "bq://project.dataset.table; or, as a stream that runs until it is stopped, "
        "pubsub://projects/P/subscriptions/S",
    )
    group.add_argument(
        "--input-format",
        choices=(*FORMATS, "raw"),
        help="format of the input (default: told from the extension; json for messages)",
    )
    group.add_argument(
        "--columns", type=_names, metavar="A,B", help="the columns to read (default: all)"
    )
    group.add_argument(
        "--rename",
        type=_renames,
        default={},
        metavar="OLD=NEW,...",
        help="new names for columns of the input",
    )


def _add_output_flags(group: Any) -> None:
    group.add_argument(
        "--output",
        metavar="PATH",
        required=True,
        help="folder for the predictions, or one file such as out.parquet or out.csv; or a table, "
        "bq://project.dataset.table; or, from a subscription, pubsub://projects/P/topics/T",
    )
    group.add_argument(
        "--output-format",
        choices=FORMATS,
        help="format of the files in an output folder (default: parquet)",
    )
    group.add_argument(
        "--keep",
        type=_names,
        metavar="A,B",
        help="input columns to write beside the predictions (default: all; of messages, those of "
        "the model)",
    )
    group.add_argument(
        "--row-id", action="store_true", help="add a column row_id: which file, which row"
    )


def _add_dead_letter_flags(group: Any) -> None:
    group.add_argument(
        "--dead-letters",
        metavar="PATH",
        help="folder or .parquet file for rejected rows; or a table, bq://project.dataset.table; "
        "or, from a subscription, pubsub://projects/P/topics/T (default: OUTPUT/_dead_letters)",
    )
    group.add_argument(
        "--max-dead-letter-ratio",
        type=_ratio,
        default=0.05,
        metavar="R",
        help="more dead letters per row end the run with code 3 (default: 0.05)",
    )


def _add_csv_flags(group: Any) -> None:
    group.add_argument("--csv-delimiter", metavar="C", default=",", help="default: a comma")
    group.add_argument("--csv-quote", metavar="C", default='"', help='default: "; empty for none')
    group.add_argument(
        "--csv-header",
        type=_names,
        metavar="A,B",
        help="the columns' names, where CSV files have no header line",
    )
    group.add_argument(
        "--csv-null-values",
        type=_words,
        metavar="A,B",
        help="spellings of a missing value in CSV (default: an empty field, NA, NULL, ...)",
    )
    group.add_argument(
        "--csv-newlines-in-values",
        action="store_true",
        help="quoted CSV fields may hold line breaks; each file is then read by one worker",
    )


def _add_table_flags(group: Any) -> None:
    """Their defaults are the job's: one that is given for something else is refused."""
    group.add_argument(
        "--row-filter", metavar="SQL", help="read only rows of the table for which this is true"
    )
    group.add_argument(
        "--write",
        choices=("append", "truncate"),
        metavar="HOW",
        help="whether rows are added, or replace all that the table holds (default: append)",
    )
    group.add_argument(
        "--partition-by",
        metavar="COLUMN",
        help="if the table has to be made: a column of dates or times to partition it by, daily",
    )
    group.add_argument(
        "--cluster-by",
        type=_names,
        metavar="A,B",
        help="if the table has to be made: columns to sort its stored rows by",
    )
    group.add_argument(
        "--expiration-days",
        type=_days,
        metavar="N",
        help="if the table has to be made: for how long its rows are kept (default: for ever)",
    )
    group.add_argument(
        "--allow-new-columns",
        action="store_true",
        help="add nullable columns that the table lacks",
    )


def _add_message_flags(group: Any) -> None:
    """Their defaults are the job's: one that is given for files is refused, not ignored."""
    group.add_argument(
        "--types",
        type=_types,
        default={},
        metavar="COLUMN=TYPE,...",
        help="types of columns that the model does not know: string (default), int64, int32, "
        "double, float, bool, timestamp, date",
    )
    group.add_argument(
        "--avro-schema", metavar="FILE", help="the schema of messages that are Avro records"
    )
    group.add_argument(
        "--attributes",
        type=_names,
        default=(),
        metavar="A,B",
        help="attributes of messages to have as columns",
    )
    group.add_argument(
        "--message-id-column", metavar="NAME", help="add a column with each message's id"
    )
    group.add_argument(
        "--publish-time-column",
        metavar="NAME",
        help="add a column with the time at which each message was published",
    )
    group.add_argument(
        "--deduplicate-by",
        metavar="COLUMN",
        help="drop rows whose value in this column, or message_id, was seen a short while ago",
    )
    group.add_argument(
        "--deduplicate-secs",
        type=_secs,
        metavar="S",
        help="for how long that is remembered (default: 600)",
    )
    group.add_argument(
        "--max-latency-secs",
        type=_secs,
        metavar="S",
        help="how long a batch may take; it decides how much is taken at once (default: 0.1)",
    )
    group.add_argument(
        "--flush-secs",
        type=_secs,
        metavar="S",
        help="how long rows are gathered for one file of an output folder (default: 1)",
    )
    group.add_argument(
        "--stop-when-idle-secs",
        type=_secs,
        metavar="S",
        help="end when no message has come for so long (default: never)",
    )
    group.add_argument(
        "--pull-threads",
        type=_count,
        metavar="N",
        help="calls that wait for messages at a time (default: 4)",
    )


def _add_limit_flag(group: Any) -> None:
    group.add_argument(
        "--limit", type=_count, metavar="N", help="read at most N rows, from the start"
    )


def _add_overwrite_flag(group: Any) -> None:
    group.add_argument(
        "--overwrite", action="store_true", help="replace the predictions of an earlier run"
    )


def _add_model_flags(group: Any) -> None:
    group.add_argument(
        "--model",
        metavar="FILE",
        required=True,
        help="a model file of any format that scoreline knows; or code, PKG.MOD:FUNC or "
        "beam:PKG.MOD:FACTORY",
    )
    group.add_argument(
        "--outputs",
        type=_names,
        default=("predict",),
        metavar="A,B",
        help="what to compute: predict, predict_proba, decision_function, transform, "
        "score_samples, raw_score (default: predict)",
    )
    group.add_argument(
        "--features",
        type=_names,
        metavar="A,B",
        help="the model's input columns in its own order, if it does not know them",
    )
    group.add_argument(
        "--preprocess",
        metavar="PKG.MOD:FUNC",
        help="function from the input's RecordBatch to the model's",
    )
    group.add_argument(
        "--postprocess",
        metavar="PKG.MOD:FUNC",
        help="function from input and predictions to what is written",
    )


def _add_trust_flags(group: Any) -> None:
    group.add_argument(
        "--allow-pickle",
        action="store_true",
        help="load a pickle, which can run any code that its author put in",
    )
    group.add_argument("--sha256", metavar="HEX", help="load only the file with this hash")
    group.add_argument(
        "--skops-types",
        type=_names,
        default=(),
        metavar="A,B",
        help="types that a .skops file may hold besides those known to be safe",
    )
    group.add_argument(
        "--allow-code",
        action="store_true",
        help="import and run --preprocess, --postprocess and a --model that is code",
    )


def _add_run_flags(group: Any) -> None:
    group.add_argument("--name", metavar="NAME", help="the job's name (default: the model's)")
    group.add_argument(
        "--report", metavar="PATH", help="folder for run folders (default: OUTPUT/_run)"
    )
    _add_dry_run(group)
    group.add_argument(
        "--print-job", action="store_true", help="print the job file that these flags stand for"
    )
    _add_report_flags(group)
    _add_status_flags(group)


def _add_dry_run(group: Any) -> None:
    group.add_argument(
        "--dry-run", action="store_true", help="check everything, read and write no data"
    )


def _add_status_flags(group: Any) -> None:
    group.add_argument(
        "--status-secs",
        type=_secs,
        metavar="S",
        help="how often a stream writes its status (default: 10)",
    )
    group.add_argument(
        "--metrics-port",
        type=_port,
        metavar="PORT",
        help="serve a stream's metrics at http://127.0.0.1:PORT/metrics (default: not at all)",
    )


def _add_report_flags(group: Any) -> None:
    group.add_argument("--quiet", action="store_true", help="print only errors")
    group.add_argument("--output-json", action="store_true", help="print the report as JSON")


def _renames(text: str) -> dict[str, str]:
    return _pairs(text, "OLD=NEW")


def _types(text: str) -> dict[str, str]:
    return _pairs(text, "COLUMN=TYPE")


def _pairs(text: str, form: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in _names(text)]
    if not all(name and value for name, _, value in pairs):
        raise argparse.ArgumentTypeError(f"expected {form} with commas between, got {text!r}")
    return {name: value for name, _, value in pairs}


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, got {text!r}")
    return int(text)


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > _MAX_PORT:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to {_MAX_PORT}, got {text!r}")
    return int(text)


def _secs(text: str) -> float:
    return _above_zero(text, "seconds")


def _days(text: str) -> float:
    return _above_zero(text, "days")


def _above_zero(text: str, unit: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected {unit}, more than 0, got {text!r}")
    return value


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(f"expected names with commas between, got {text!r}")
    return names


def _ratio(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got {text!r}")
    return value
