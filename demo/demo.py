"""Trains a model on real data, breaks some rows of the rest on purpose, and scores them.

`make demo` runs it. Everything it makes lies in demo/work/. It ends with code 1 if anything that
scoreline did is not as expected.
"""

import io
import shlex
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "demo" / "work"
MODEL = WORK / "price.joblib"
INPUT = WORK / "diamonds"
OUTPUT = WORK / "scores"

CATEGORIES = ["cut", "color", "clarity"]
NUMBERS = ["carat", "depth", "table", "x", "y", "z"]
NUM_FILES = 3


@dataclass(frozen=True)
class Breakage:
    """One thing that goes wrong in real data, done on purpose to some rows."""

    what: str
    column: str
    value: Any
    rows: int
    code: str  # under which scoreline is expected to report them


BREAKAGES = (
    Breakage("carat is missing", "carat", None, 60, "conform/null_value"),
    Breakage("depth is infinite", "depth", float("inf"), 40, "conform/infinite_value"),
    Breakage("table is the text 'n/a'", "table", "n/a", 30, "conform/unsafe_cast"),
    Breakage("cut is 'Excellent', never trained on", "cut", "Excellent", 20, "predict/model_error"),
)


def main() -> int:
    """Runs the demo; gives 0 if all was as expected."""
    shutil.rmtree(WORK, ignore_errors=True)
    INPUT.mkdir(parents=True)
    diamonds = read_diamonds().sample(frac=1, random_state=0).reset_index(drop=True)
    half = len(diamonds) // 2
    heading("1. Train a model, and save it")
    model = train(diamonds[:half])
    heading("2. Write the other half as Parquet files, some rows broken on purpose")
    rest = diamonds[half:].reset_index(drop=True)
    broken = write_input(rest)
    heading("3. Score the files")
    code = run_scoreline()
    if code != 0:
        return fail(f"scoreline ended with code {code}, expected 0")
    heading("4. What came out")
    problems = [*check_dead_letters(broken), *check_predictions(model, rest, broken)]
    heading("5. The same with your own files")
    show_commands()
    return fail("; ".join(problems)) if problems else 0


def read_diamonds() -> pd.DataFrame:
    """Reads the diamonds out of the package that ships them, without importing it.

    Importing `pydataset` unpacks all its data into the home directory.
    """
    archive = distribution("pydataset").locate_file("pydataset/resources.tar.gz")
    with tarfile.open(str(archive)) as tar:
        member = tar.extractfile("resources/rdata/csv/ggplot2/diamonds.csv")
        assert member is not None
        table = pd.read_csv(io.BytesIO(member.read()))
    return table.rename(columns={"Unnamed: 0": "id"})


def train(diamonds: pd.DataFrame) -> Pipeline:
    """Trains price on everything else, and saves the model."""
    features = ColumnTransformer(
        [
            ("categories", OneHotEncoder(handle_unknown="error", sparse_output=False), CATEGORIES),
            ("numbers", StandardScaler(), NUMBERS),
        ]
    )
    trees = GradientBoostingRegressor(n_estimators=60, max_depth=4, subsample=0.5, random_state=0)
    model = make_pipeline(features, trees)
    model.fit(diamonds[CATEGORIES + NUMBERS], diamonds["price"])
    joblib.dump(model, MODEL)
    print("the price of a diamond, by OneHotEncoder, StandardScaler, GradientBoosting")
    print(f"trained on {len(diamonds):,} of {2 * len(diamonds):,} rows -> {shown(MODEL)}")
    return model


def write_input(rest: pd.DataFrame) -> dict[str, set[int]]:
    """Writes the rows to score; gives the ids of the broken ones by expected code."""
    rows = rest.astype({"table": str})  # as a CSV export would have it: numbers as text
    chosen = np.random.default_rng(0).permutation(len(rows))
    broken: dict[str, set[int]] = {}
    for breakage in BREAKAGES:
        now, chosen = chosen[: breakage.rows], chosen[breakage.rows :]
        rows.loc[now, breakage.column] = breakage.value
        broken[breakage.code] = set(rows["id"].iloc[now].tolist())
        print(f"{breakage.rows:>6} rows: {breakage.what}")
    for number, part in enumerate(np.array_split(np.arange(len(rows)), NUM_FILES), start=1):
        table = pa.Table.from_pandas(rows.iloc[part], preserve_index=False)
        pq.write_table(table, INPUT / f"diamonds-{number}.parquet")
    print(f"{len(rows):>6,} rows in all, in {NUM_FILES} files -> {shown(INPUT)}/")
    return broken


def run_scoreline() -> int:
    """Runs the real command line, and gives its exit code."""
    program = shown(Path(sys.executable).with_name("scoreline"))
    arguments = (
        ("score", "--model", shown(MODEL), "--allow-pickle"),
        ("--input", f"{shown(INPUT)}/*.parquet"),
        ("--output", shown(OUTPUT), "--overwrite"),
    )
    lines = [shlex.join(words) for words in arguments]
    print(f"$ {program} " + " \\\n    ".join(lines) + "\n", flush=True)
    command = [program, *(word for words in arguments for word in words)]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def check_dead_letters(broken: dict[str, set[int]]) -> list[str]:
    """Reads the dead letters back and prints them by reason; gives what is not as expected."""
    dead = pq.read_table(OUTPUT / "_dead_letters").to_pylist()
    print(f"dead letters, read back from {shown(OUTPUT)}/_dead_letters/:")
    problems = []
    for code, expected in broken.items():
        stage, _, error_code = code.partition("/")
        found = [row for row in dead if (row["stage"], row["error_code"]) == (stage, error_code)]
        if Counter(original_row(row)["id"] for row in found) != Counter(expected):
            problems.append(f"{code}: {len(found)} dead letters, expected {len(expected)} others")
            continue
        first = found[0]
        print(f"{len(found):>6} {code}\n       {first['error_message']}")
        print(f"       first one: {Path(first['source']).name}, row {first['position']}")
    if len(dead) != sum(map(len, broken.values())):
        problems.append(f"{len(dead)} dead letters in all")
    return problems


def original_row(dead_letter: dict[str, Any]) -> dict[str, Any]:
    """The rejected row as it was in the input, out of the payload of its dead letter."""
    row: dict[str, Any] = pa.ipc.open_stream(dead_letter["payload"]).read_all().to_pylist()[0]
    return row


def check_predictions(
    model: Pipeline, rest: pd.DataFrame, broken: dict[str, set[int]]
) -> list[str]:
    """Compares the predictions with the model's own; gives what is not as expected."""
    scored = pq.read_table(OUTPUT).to_pandas()  # the predictions, and nothing else
    good = rest[~rest["id"].isin(set().union(*broken.values()))]
    if scored["id"].tolist() != good["id"].tolist():
        return [f"{len(scored):,} rows were predicted, expected {len(good):,} others, in order"]
    own = model.predict(good[CATEGORIES + NUMBERS])
    equal = int((scored["prediction"].to_numpy() == own).sum())
    print(f"\npredictions, read back from {shown(OUTPUT)}/:")
    print(f"{equal:>6,} of {len(good):,} are equal to model.predict, to the last bit")
    error = (scored["prediction"] - scored["price"]).abs().median()
    print(f"{error:>6,.0f} dollars is the median error, at a median price of", end=" ")
    print(f"{scored['price'].median():,.0f}")
    return [] if equal == len(good) else [f"{len(good) - equal} predictions differ"]


def show_commands() -> None:
    """Prints what a person types next."""
    print(
        """pip install .
scoreline score --model MODEL.joblib --allow-pickle \\
    --input 'FOLDER/*.parquet' --output scores
python -c "import pandas as pd; print(pd.read_parquet('scores'))"
python -c "import pandas as pd; print(pd.read_parquet('scores/_dead_letters'))"

All flags: scoreline score --help. What comes out: README.md."""
    )


def heading(text: str) -> None:
    """Prints the title of a step."""
    print(f"\n{text}\n{'-' * len(text)}", flush=True)


def shown(path: Path) -> str:
    """A path as it is typed in the checkout."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def fail(problem: str) -> int:
    """Says what is not as expected; gives the exit code for it."""
    print(f"\nthe demo failed: {problem}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
