"""The fields of the Dataflow template's form: options of the command line in a colleague's words.

What a field is called, what it takes and what it is by default come from the option; here is what a
form has besides: where it stands, its label, an example, and what a value must look like.
"""

import argparse
import re
from dataclasses import dataclass
from functools import cache

from .errors import UsageError
from .flags import score_parser

JOB_FILE = "job_file"
# A choice that a form may fill in by itself, as it has no empty one.
AUTO = "auto"

# What a person at a terminal asks for: nobody reads it where the launcher runs.
OF_A_TERMINAL = frozenset(
    {"dry_run", "print_job", "quiet", "output_json", "status_secs", "metrics_port"}
)

# POSIX extended expressions: the service knows no \d, and no group that is not captured.
_BUCKET = "gs://[a-z0-9][-a-z0-9_.]*"
_FILE = f"{_BUCKET}/[^ ].*"
_FOLDER = f"{_BUCKET}(/.*)?"
_RESOURCE = "pubsub://projects/[^/ ]+/{}/[^/ ]+"
_TABLE = "bq://[^/ ]+[.][^./ ]+[.][^./]+"
_NAMES = "[^,]+(,[^,]+)*"
_NUMBER = "[0-9]+([.][0-9]+)?"
_DATA, _RESULTS, _REJECTED = "What to score", "Where predictions go", "What cannot be scored"
_TRUST, _STREAM, _MORE = "What the model file may do", "Streams only", "Everything else"


@dataclass(frozen=True)
class Field:
    """How an option looks in a form.

    Attributes:
        group: the heading that it stands below.
        label: its name for a person.
        help_text: what it does; what a value looks like is said by the example.
        param_type: what the service calls its kind.
        forms: expressions of which a value matches one, whole.
        example: of a value, or several with ` or ` between.
    """

    group: str
    label: str
    help_text: str
    param_type: str = "TEXT"
    forms: tuple[str, ...] = ()
    example: str = ""


# In the order of the form. The names are those of the options of `scoreline score`.
_FIELDS = {
    "input": Field(
        _DATA,
        "Input",
        "The rows to score: files (a file, a folder or a pattern; Parquet, CSV, JSON lines or "
        "Avro), a BigQuery table, or a Pub/Sub subscription. A subscription makes the job a "
        "stream, which runs until it is drained.",
        forms=(_FOLDER, _RESOURCE.format("subscriptions"), _TABLE),
        example="gs://bucket/customers/*.parquet or bq://project.dataset.table or "
        "pubsub://projects/PROJECT/subscriptions/NAME",
    ),
    "model": Field(
        _DATA,
        "Model",
        "The trained model: a file of scikit-learn (.joblib, .pkl, .skops), ONNX, XGBoost, "
        "LightGBM or CatBoost.",
        param_type="GCS_READ_FILE",
        forms=(_FILE,),
        example="gs://bucket/models/churn.onnx",
    ),
    "outputs": Field(
        _DATA,
        "What to compute",
        "Methods of the model, with commas between: predict, predict_proba (the probability of "
        "each class), decision_function, transform, score_samples, raw_score.",
        forms=("[a-z_]+(,[a-z_]+)*",),
        example="predict,predict_proba",
    ),
    "input_format": Field(
        _DATA,
        "Format of the input",
        "Needed only if it cannot be told: auto takes the extension of the files, and JSON for "
        "messages.",
        param_type="ENUM",
    ),
    "output": Field(
        _RESULTS,
        "Output",
        "Where the predictions go: a folder for files, a BigQuery table, or, from a subscription, "
        "a Pub/Sub topic too.",
        forms=(_FOLDER, _RESOURCE.format("topics"), _TABLE),
        example="gs://bucket/scores or bq://project.dataset.scores or "
        "pubsub://projects/PROJECT/topics/NAME",
    ),
    "keep": Field(
        _RESULTS,
        "Columns to keep",
        "Columns of the input to write beside the predictions, with commas between, such as an id "
        "to join on. If empty: all of them; of messages those that the model takes.",
        forms=(_NAMES,),
        example="customer_id,amount",
    ),
    "overwrite": Field(
        _RESULTS,
        "Replace earlier predictions",
        "Whether predictions of an earlier run at the same place are replaced. If not, the job "
        "refuses to start when there are some. Not for a stream, which adds to what is there.",
        param_type="BOOLEAN",
    ),
    "report": Field(
        _RESULTS,
        "Folder for reports",
        "Where each run leaves a folder with its report: how many rows were read, scored and "
        "rejected. If empty: beside the output. Needed if the output is a topic or a table.",
        param_type="GCS_WRITE_FOLDER",
        forms=(_FOLDER,),
        example="gs://bucket/runs",
    ),
    "dead_letters": Field(
        _REJECTED,
        "Rejected rows",
        "Where rows go that cannot be scored, each with the reason: a folder, a BigQuery table, "
        "or, from a subscription, a Pub/Sub topic too. If empty: beside the output. Needed if the "
        "output is a topic.",
        forms=(_FOLDER, _RESOURCE.format("topics"), _TABLE),
        example="gs://bucket/rejected",
    ),
    "max_dead_letter_ratio": Field(
        _REJECTED,
        "How many may be rejected",
        "Part of the rows, from 0 to 1. If more are rejected, everything is written nevertheless "
        "and the run counts as bad.",
        param_type="NUMBER",
        forms=("0|1|1[.]0+|0?[.][0-9]+",),
        example="0.05",
    ),
    "allow_pickle": Field(
        _TRUST,
        "Allow a pickle",
        "Whether the model may be a pickle (.pkl, .joblib), which can run any code that its author "
        "put in. Better name its hash below, which allows just that file.",
        param_type="BOOLEAN",
    ),
    "sha256": Field(
        _TRUST,
        "Hash of the model file",
        "The SHA-256 of the model file. If it is named, no other file is loaded, and this one may "
        "be a pickle.",
        forms=("[0-9a-fA-F]{64}",),
        example="the 64 digits that `sha256sum churn.joblib` prints",
    ),
    "skops_types": Field(
        _TRUST,
        "More types in a .skops file",
        "Types that a .skops file may hold besides those known to be safe, with commas between. A "
        "job that refuses a file names them.",
        forms=(_NAMES,),
        example="mypackage.transformers.Ratio",
    ),
    "allow_code": Field(
        _TRUST,
        "Allow code",
        "Whether functions that the job file names (preprocess, postprocess, a model that is code) "
        "may be run. The image must hold them.",
        param_type="BOOLEAN",
    ),
    "max_latency_secs": Field(
        _STREAM,
        "Latency in seconds",
        "How long a batch of messages may take: less means sooner answers, more means fewer calls "
        "of the model.",
        param_type="NUMBER",
        forms=(_NUMBER,),
        example="0.1",
    ),
    "types": Field(
        _STREAM,
        "Types of columns",
        "Types of columns that are kept and that the model does not know: string (also if not "
        "named), int64, int32, double, float, bool, timestamp, date.",
        forms=("[^,=]+=[a-z0-9]+(,[^,=]+=[a-z0-9]+)*",),
        example="order_id=int64,ordered_at=timestamp",
    ),
    JOB_FILE: Field(
        _MORE,
        "Job file",
        "A scoreline job file, for all that this form has no field for: contracts, new names for "
        "columns, several outputs, functions of yours. It can be all that is filled in. What else "
        "is filled in replaces what the job file says; Output is then its first output. What is "
        "left as it was replaces nothing.",
        param_type="GCS_READ_FILE",
        forms=(_FILE,),
        example="gs://bucket/jobs/fraud.yaml",
    ),
}


@dataclass(frozen=True)
class Parameter:
    """One field of the form.

    Attributes:
        name: of the option, as the launcher spells it: `dead_letters`.
        field: how it looks.
        default: what it is if it is left as it was; None if it is empty then.
        choices: what it may be, if only some words may come.
    """

    name: str
    field: Field
    default: str | None
    choices: tuple[str, ...]

    @property
    def flag(self) -> str:
        """As a person writes it on a command line."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def regexes(self) -> list[str]:
        """What the service holds a value against: the forms as one expression."""
        return [f"^({'|'.join(self.field.forms)})$"] if self.field.forms else []

    @property
    def help_text(self) -> str:
        """What stands below the field."""
        example = f" Example: {self.field.example}" if self.field.example else ""
        return f"{self.field.help_text}{example}"

    def check(self, value: str) -> None:
        """Checks that a value has a form that the service would accept.

        Raises:
            UsageError: what was expected, what came.
        """
        if self.field.forms and not re.fullmatch("|".join(self.field.forms), value):
            is_path = "gs://" in self.field.example and "://" not in value
            hint = ". Workers on Dataflow see no file of another machine" if is_path else ""
            raise UsageError(
                f"{self.flag}: expected a value such as {self.field.example}, got {value!r}{hint}"
            )
        if self.choices and value not in self.choices:
            raise UsageError(
                f"{self.flag}: expected one of {', '.join(self.choices)}, got {value!r}"
            )


@cache
def parameters() -> dict[str, Parameter]:
    """All fields of the form by name, in their order."""
    options = {action.dest: action for action in score_parser()._actions}
    return {name: _parameter(name, field, options.get(name)) for name, field in _FIELDS.items()}


def left_to_job_file() -> frozenset[str]:
    """Options of `scoreline score` that have no field: a job file says them."""
    options = {action.dest for action in score_parser()._actions} - {"help"}
    return frozenset(options - set(_FIELDS) - OF_A_TERMINAL)


def _parameter(name: str, field: Field, option: argparse.Action | None) -> Parameter:
    if option is None:  # the job file, of which `scoreline run` takes one, and `score` none
        return Parameter(name, field, None, ())
    choices = tuple(map(str, option.choices or ()))
    default = AUTO if choices and option.default is None else _default_of(option)
    return Parameter(name, field, default, (AUTO, *choices) if default == AUTO else choices)


def _default_of(option: argparse.Action) -> str | None:
    """What an option is if nobody gives it; a number that only its help names counts, too."""
    if option.nargs == 0:
        return "false"
    if isinstance(option.default, tuple):
        return ",".join(option.default) or None
    if isinstance(option.default, float):
        return f"{option.default:g}"
    said = re.search(rf"\(default: ({_NUMBER})\)$", option.help or "")
    return said[1] if said else None
