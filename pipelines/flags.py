"""Our own command-line flags, by verb. Beam's are in beam_flags.py."""

import argparse
from typing import Any, NoReturn

from .errors import UsageError

_EPILOG = """\
Beam's own flags are given unchanged, anywhere after the verb: --runner, --direct_num_workers,
--direct_running_mode, ... exit codes: 0 finished, 1 the run failed, 2 usage or input, 3 a limit was
broken, 4 the model is unfit, 130 and 143 interrupted."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}. See {self.prog} --help")


def score_parser() -> argparse.ArgumentParser:
    """The flags of `scoreline score`."""
    parser = _Parser(
        prog="scoreline score",
        description="Score files with a trained model.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_data_flags(parser.add_argument_group("data"))
    _add_model_flags(parser.add_argument_group("model"))
    _add_trust_flags(parser.add_argument_group("trust"))
    _add_run_flags(parser.add_argument_group("run"))
    return parser


def _add_data_flags(group: Any) -> None:
    group.add_argument(
        "--input",
        action="append",
        metavar="PATH",
        required=True,
        help="Parquet file, glob or folder; may be given several times",
    )
    group.add_argument(
        "--output",
        metavar="PATH",
        required=True,
        help="folder for the predictions, or one file that ends in .parquet",
    )
    group.add_argument(
        "--keep",
        type=_names,
        metavar="A,B",
        help="input columns to write beside the predictions (default: all)",
    )
    group.add_argument(
        "--row-id", action="store_true", help="add a column row_id: which file, which row"
    )
    group.add_argument(
        "--dead-letters",
        metavar="PATH",
        help="where rejected rows go (default: OUTPUT/_dead_letters)",
    )
    group.add_argument(
        "--max-dead-letter-ratio",
        type=_ratio,
        default=0.05,
        metavar="R",
        help="more dead letters per row end the run with code 3 (default: 0.05)",
    )
    group.add_argument(
        "--overwrite", action="store_true", help="replace the predictions of an earlier run"
    )


def _add_model_flags(group: Any) -> None:
    group.add_argument(
        "--model", metavar="FILE", required=True, help="scikit-learn model: .joblib, .pkl or .skops"
    )
    group.add_argument(
        "--outputs",
        type=_names,
        default=("predict",),
        metavar="A,B",
        help="what to compute: predict, predict_proba, decision_function, transform, "
        "score_samples (default: predict)",
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
        "--allow-code", action="store_true", help="import and run --preprocess and --postprocess"
    )


def _add_run_flags(group: Any) -> None:
    group.add_argument("--name", metavar="NAME", help="the job's name (default: the model's)")
    group.add_argument(
        "--report", metavar="PATH", help="folder for run folders (default: OUTPUT/_run)"
    )
    group.add_argument("--quiet", action="store_true", help="print only errors")
    group.add_argument("--output-json", action="store_true", help="print the report as JSON")


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
