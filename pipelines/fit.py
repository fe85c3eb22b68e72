"""Whether the columns of an input are those that a model takes; what to change if they are not."""

import json
import shlex
from difflib import get_close_matches

import pyarrow as pa

from scoreline.models.contract import Contract
from scoreline.models.errors import ContractError

from .inputs import Input
from .job import StoredSource
from .job_files import FilesSource


def check_fit(contract: Contract, input_: Input, source: StoredSource, model_name: str) -> None:
    """Checks the columns of an input against a model's contract.

    Raises:
        ContractError: names the columns that are missing or of another type, and the fix.
    """
    names = input_.schema.names
    missing = [name for name in contract.names if name not in names]
    if missing:
        raise ContractError(
            f"model {model_name!r} needs columns {missing} that the input lacks; it has {names}. "
            f"{_fix(missing, contract, input_, source)}"
        )
    contract.check(input_.schema, model_name)


def _fix(missing: list[str], contract: Contract, input_: Input, source: StoredSource) -> str:
    left_out = [name for name in missing if name in input_.left_out]
    if left_out:
        return f"The input has {left_out}: add them to --columns (source.columns)."
    has_header = isinstance(source, FilesSource) and source.csv.header
    if input_.format == "csv" and has_header and _are_data(input_.schema.names):
        return (
            "That looks like a row, not like names: if the files have no header line, name their "
            "columns with --csv-header A,B,... (source.csv.header: false and source.csv.names)."
        )
    if input_.format == "csv" and input_.schema.names[0].lstrip().startswith("{"):
        return "That looks like JSON lines: give --input-format json (source.format)."
    near = _near(missing, [name for name in input_.schema.names if name not in contract.names])
    if near:
        pairs = {input_.file_names[old]: new for old, new in near.items()}
        looks = "; ".join(f"{old!r} looks like {new!r}" for old, new in near.items())
        return f"{looks}: {_rename(pairs)}, or rename them in the input."
    if contract.advice:
        return contract.advice
    return (
        "If they have other names in the input, give --rename OLD=NEW,... (source.rename); if "
        "they have to be computed first, --preprocess (model.preprocess)."
    )


def _rename(pairs: dict[str, str]) -> str:
    """What to type; a job file where a flag, which has commas between names, cannot say it."""
    names = [name for pair in pairs.items() for name in pair]
    if any(name != name.strip() or "," in name or "=" in name for name in names):
        values = json.dumps(pairs, ensure_ascii=False)
        return f"write rename: {values} below source in a job file, which --print-job drafts"
    given = shlex.quote(",".join(f"{old}={new}" for old, new in pairs.items()))
    return f"give --rename {given} (source.rename)"


def _near(missing: list[str], present: list[str]) -> dict[str, str]:
    """A column of the input, used once, for each missing name that one looks like."""
    near: dict[str, str] = {}
    for name in missing:
        free = {other: other.casefold() for other in present if other not in near}
        close = get_close_matches(name.casefold(), free.values(), n=1)
        if close:
            near[next(other for other, folded in free.items() if folded == close[0])] = name
    return near


def _are_data(names: list[str]) -> bool:
    """Whether what should be names are rather values: half of them numbers."""
    return 2 * sum(map(_is_number, names)) >= len(names)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def input_columns(schema: pa.Schema) -> str:
    """The rest of a message that asks for columns.

    >>> input_columns(pa.schema([("age", pa.int64())]))
    " (model.features). The input has the columns ['age']."
    """
    return f" (model.features). The input has the columns {schema.names}."
