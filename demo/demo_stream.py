"""Scores the demo's data as a live stream: publishes it to the Pub/Sub emulator and drains.

`make demo-stream` runs it. It starts the emulator itself, on a free port of this machine, and ends
it again. Everything it makes lies in demo/work/. It ends with code 1 if anything that scoreline did
is not as expected.
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from sklearn.pipeline import Pipeline

from demo import CATEGORIES, MODEL, NUMBERS, ROOT, WORK, fail, heading, read_diamonds, shown, train

sys.path.append(str(ROOT / "tests"))
from emulator import Client, Emulator, missing

STREAM = WORK / "stream"
SECS = 20
RATE = 1_000  # messages per second
STEPS_PER_SEC = 20
DRAIN_SECS = 60.0  # 0.1 s as a rule
START_SECS = 60.0  # 3 s as a rule

# What goes wrong in real data, done on purpose to each so many rows: column and value.
BREAKAGES = (
    ("carat is missing", 400, {"carat": None}),
    ("depth is the text 'n/a'", 600, {"depth": "n/a"}),
    ("table is NaN, which no JSON may say", 800, {"table": float("nan")}),
    ("cut is 'Excellent', never trained on", 1_000, {"cut": "Excellent"}),
    ("the message is empty", 1_500, None),
)


def main() -> int:
    """Runs the demo; gives 0 if all was as expected."""
    reason = missing()
    if reason is not None:
        print(f"The demo cannot start: {reason}. Then: make demo-stream", file=sys.stderr)
        return 1
    shutil.rmtree(STREAM, ignore_errors=True)
    STREAM.mkdir(parents=True)
    diamonds = read_diamonds().sample(frac=1, random_state=0).reset_index(drop=True)
    half = len(diamonds) // 2
    heading("1. Train a model, and save it")
    model = train(diamonds[:half])
    heading("2. Start the Pub/Sub emulator, with a topic to score and one for the predictions")
    with Emulator() as emulator:
        return run(model, diamonds[half:].reset_index(drop=True), emulator)


def run(model: Pipeline, rows: pd.DataFrame, emulator: Emulator) -> int:
    """Streams the rows, looks at what came out, and says how to do it again."""
    client = emulator.client
    topic = client.create_topic("diamonds")
    subscription = client.create_subscription("scorer", topic)
    prices = client.create_topic("prices")
    reader = client.create_subscription("reader", prices, ack_deadline_secs=600)
    print(f"PUBSUB_EMULATOR_HOST={emulator.address}")
    for path in (topic, subscription, prices):
        print(path)
    heading(f"3. Score the stream, while {RATE:,} messages a second are published for {SECS} s")
    command = scoreline_command(subscription, prices)
    process = start(command, emulator.address)
    try:
        published = publish(client, topic, messages(rows), process)
        heading("4. SIGTERM: stop pulling, finish what is in hand, publish it, acknowledge it, end")
        process.send_signal(signal.SIGTERM)
        code = process.wait(DRAIN_SECS)
    finally:
        process.kill()
    if code != 0:
        return fail(f"scoreline ended with code {code}, expected 0")
    heading("5. What came out")
    received = client.pull_all(reader)
    left = client.pull_all(subscription)
    problems = check(model, rows, published, received, [message.message_id for message in left])
    heading("6. The same by hand, with your own model and messages")
    show_commands()
    return fail("; ".join(problems)) if problems else 0


def scoreline_command(subscription: str, prices: str) -> list[str]:
    """Prints the command line as a person types it, and gives its words."""
    program = shown(Path(sys.executable).with_name("scoreline"))
    arguments = (
        ("score", "--model", shown(MODEL), "--allow-pickle"),
        ("--input", f"pubsub://{subscription}", "--keep", "id", "--types", "id=int64"),
        ("--output", f"pubsub://{prices}"),
        ("--dead-letters", f"{shown(STREAM)}/dead", "--report", f"{shown(STREAM)}/runs"),
        ("--status-secs", "5"),
    )
    lines = [shlex.join(words) for words in arguments]
    print(f"$ {program} " + " \\\n    ".join(lines) + "\n", flush=True)
    return [program, *(word for words in arguments for word in words)]


def start(command: list[str], address: str) -> "subprocess.Popen[bytes]":
    """Starts scoreline, and waits until it reads; what it says goes to the terminal."""
    env = os.environ | {"PUBSUB_EMULATOR_HOST": address}
    process = subprocess.Popen(command, cwd=ROOT, env=env)
    deadline = time.monotonic() + START_SECS
    while not list(STREAM.glob("runs/*/job.yaml")):
        if process.poll() is not None or time.monotonic() > deadline:
            break  # whatever is wrong, it has said so
        time.sleep(0.1)
    return process


def messages(rows: pd.DataFrame) -> list[bytes]:
    """The rows as JSON, some of them broken on purpose."""
    records = rows.drop(columns="price").to_dict("records")
    payloads = []
    for number, record in enumerate(records):
        change: dict[str, Any] | None = {}
        for _, every, values in BREAKAGES:
            if number % every == every - 1:
                change = values
        payloads.append(b"" if change is None else json.dumps(record | change).encode())
    return payloads


def publish(
    client: Client, topic: str, payloads: list[bytes], process: "subprocess.Popen[bytes]"
) -> dict[str, int]:
    """Publishes at a steady rate, again from the first row after the last.

    Returns:
        The index of the row, by the id that Pub/Sub gave the message.
    """
    published: dict[str, int] = {}
    size = RATE // STEPS_PER_SEC
    started = time.monotonic()
    for step in range(SECS * STEPS_PER_SEC):
        if process.poll() is not None:
            break
        indices = [(step * size + at) % len(payloads) for at in range(size)]
        ids = client.publish(
            topic,
            [payloads[index] for index in indices],
            [{"sent_by": "demo_stream.py"}] * size,  # an empty message needs an attribute
        )
        published |= dict(zip(ids, indices, strict=True))
        time.sleep(max(0.0, started + (step + 1) / STEPS_PER_SEC - time.monotonic()))
    return published


def check(
    model: Pipeline,
    rows: pd.DataFrame,
    published: dict[str, int],
    received: list[Any],
    left: list[str],
) -> list[str]:
    """Prints what became of each message; gives what is not as expected."""
    scored = Counter(message_id(message.attributes["row_id"]) for message in received)
    dead_files = sorted((STREAM / "dead").rglob("*.parquet"))
    dead = [row for path in dead_files for row in pq.read_table(path).to_pylist()]
    dead_ids = Counter(message_id(row["row_id"]) for row in dead)
    found = scored.keys() | dead_ids.keys() | set(left)
    lost = published.keys() - found
    print(f"{len(published):>7,} messages were published")
    print(f"{len(scored):>7,} predictions came out, {scored.total() - len(scored)} of them twice")
    print(f"{len(dead):>7,} dead letters, in {len(dead_files)} files below {shown(STREAM)}/dead/:")
    for (stage, code), rows_ in Counter((row["stage"], row["error_code"]) for row in dead).items():
        print(f"{rows_:>11,} {stage}/{code}")
    print(f"{len(left):>7,} were not scored: they wait for the next process")
    print(f"{len(lost):>7,} are lost")
    problems = [f"{len(lost)} messages are lost"] if lost else []
    if received:
        print(f"\na prediction as it was published:\n  {received[0].data.decode()}")
        print(f"  {dict(received[0].attributes)}")
        problems += check_predictions(model, rows, published, received)
    else:
        problems.append("nothing was scored")
    return problems


def check_predictions(
    model: Pipeline, rows: pd.DataFrame, published: dict[str, int], received: list[Any]
) -> list[str]:
    """Compares the predictions with the model's own."""
    indices = [published[message_id(message.attributes["row_id"])] for message in received]
    got = np.array([json.loads(message.data)["prediction"] for message in received])
    own = model.predict(rows.iloc[indices][CATEGORIES + NUMBERS])
    equal = int((got == own).sum())
    print(f"{equal:,} of {len(got):,} predictions are equal to model.predict, to the last bit")
    return [] if equal == len(got) else [f"{len(got) - equal} predictions differ"]


def message_id(row_id: str) -> str:
    """The id that Pub/Sub gave a message, out of a row's id."""
    return row_id.rpartition("#")[2]


def show_commands() -> None:
    """Prints what a person types next; each terminal starts in the checkout."""
    program = shown(Path(sys.executable).with_name("scoreline"))
    python = shown(Path(sys.executable))
    api = "http://127.0.0.1:8085/v1/projects/demo"
    print(
        f"""In one terminal:
  gcloud beta emulators pubsub start --project=demo --host-port=127.0.0.1:8085

In another:
  curl -X PUT {api}/topics/diamonds
  curl -X PUT {api}/subscriptions/scorer \\
      -H 'Content-Type: application/json' -d '{{"topic": "projects/demo/topics/diamonds"}}'
  PUBSUB_EMULATOR_HOST=127.0.0.1:8085 {program} score \\
      --model {shown(MODEL)} --allow-pickle \\
      --input pubsub://projects/demo/subscriptions/scorer --keep carat,cut \\
      --output {shown(WORK)}/live --status-secs 5

In a third, a message, as often as you like; then Ctrl-C in the second one, and a look:
  curl -X POST {api}/topics/diamonds:publish -H 'Content-Type: application/json' \\
      -d "{{\\"messages\\": [{{\\"data\\": \\"$(base64 <<< '{EXAMPLE}' | tr -d '\\n')\\"}}]}}"
  {python} -c "import pandas as pd; print(pd.read_parquet('{shown(WORK)}/live'))"

On Google Cloud: no PUBSUB_EMULATOR_HOST, and gcloud auth application-default login.
All flags: scoreline score --help. How to run it for weeks: docs/streaming.md."""
    )


EXAMPLE = json.dumps(
    {
        "carat": 0.7,
        "cut": "Ideal",
        "color": "E",
        "clarity": "SI1",
        "depth": 61.5,
        "table": 56,
        "x": 5.7,
        "y": 5.72,
        "z": 3.5,
    }
)

if __name__ == "__main__":
    sys.exit(main())
