"""Turns messages into published predictions without Beam: the honest alternative to a stream.

What a good engineer writes in a week: several threads pull, one call of ``predict`` takes all that
has come, one request publishes it, and only then is it acknowledged; a thread extends the leases of
what is in hand. It publishes the fields and attributes that scoreline publishes. What it has not:
a contract, dead letters (a bad message ends it), retries, flow control by bytes, deduplication,
a status, other sources and sinks.

::

    python benchmarks/stream_loop.py --model m.joblib --input projects/P/subscriptions/S \
        --output projects/P/topics/T --keep tx_id,sent [--stop-when-idle-secs 3]
"""

import argparse
import os
import signal
import threading
import time
import warnings
from collections import deque
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import orjson
from loop import model_version
from pubsub_calls import MAX_MESSAGES, PubsubCalls, PubsubMessage

_MAX_IN_HAND = 20_000  # messages, as scoreline's default
_DEADLINE_SECS = 10
_LOOK_SECS = 0.1
_SCORERS = 2  # threads: one publishes while another scores
_EXTEND_SECS = 4.0  # how often, well below the deadline


class Scorer:
    """Turns messages into the messages to publish."""

    def __init__(self, model: Path, subscription: str, keep: Sequence[str]):
        self._model = joblib.load(model)
        self._version = model_version(model)
        self._features = itemgetter(*self._model.feature_names_in_)
        self._keep = keep
        self._row_id = f"{subscription}#%s"

    def score(self, messages: Sequence[Any]) -> list[Any]:
        """Scores messages in one call of the model."""
        rows = [orjson.loads(message.data) for message in messages]
        predictions = self._model.predict(np.array(list(map(self._features, rows)))).tolist()
        triples = zip(messages, rows, predictions, strict=True)
        return [self._scored(*triple) for triple in triples]

    def _scored(self, message: Any, row: dict[str, Any], prediction: int) -> Any:
        kept = {name: row[name] for name in self._keep}
        known = {"row_id": self._row_id % message.message_id, "model_version": self._version}
        return PubsubMessage(
            data=orjson.dumps({**kept, "prediction": prediction, **known}),
            attributes={**known, **{name: str(value) for name, value in kept.items()}},
        )


class Loop:
    """Pulls, scores, publishes and acknowledges until it is stopped."""

    def __init__(self, scorer: Scorer, subscription: str, topic: str, pull_threads: int):
        self._calls = PubsubCalls()
        self._scorer = scorer
        self._subscription = subscription
        self._topic = topic
        self._pulled: deque[Any] = deque()
        self._in_hand: set[str] = set()
        self._changed = threading.Condition()
        self._stopped = False
        for work in (*[self._pull] * pull_threads, self._extend):
            threading.Thread(target=work, daemon=True).start()

    def run(self, stop_when_idle_secs: float) -> None:
        """Works until `stop` is called, or until nothing has come for so long."""
        workers = [
            threading.Thread(target=self._score, args=[stop_when_idle_secs])
            for _ in range(_SCORERS)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            while worker.is_alive():  # a wait without end might not be woken by a signal
                worker.join(_LOOK_SECS)

    def stop(self) -> None:
        """Has it end after what is being scored; leases of what was pulled beyond that expire."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _score(self, stop_when_idle_secs: float) -> None:
        """Takes what has come, up to one request, and is done with it before it takes more."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pulled or self._stopped, stop_when_idle_secs)
                if self._stopped or not self._pulled:
                    return
                count = min(len(self._pulled), MAX_MESSAGES)
                received = [self._pulled.popleft() for _ in range(count)]
            messages = self._scorer.score([each.message for each in received])
            self._calls.publish(self._topic, messages)
            self._acknowledge([each.ack_id for each in received])

    def _pull(self) -> None:
        while not self._stopped:
            with self._changed:
                self._changed.wait_for(lambda: len(self._in_hand) < _MAX_IN_HAND)
            received = self._calls.pull(self._subscription)
            with self._changed:
                self._in_hand.update(each.ack_id for each in received)
                self._pulled += received
                self._changed.notify_all()

    def _acknowledge(self, ack_ids: list[str]) -> None:
        self._calls.acknowledge(self._subscription, ack_ids)
        with self._changed:
            self._in_hand.difference_update(ack_ids)
            self._changed.notify_all()

    def _extend(self) -> None:
        while True:
            time.sleep(_EXTEND_SECS)
            with self._changed:
                ack_ids = list(self._in_hand)
            self._calls.extend(self._subscription, ack_ids, _DEADLINE_SECS)


def fail(error: threading.ExceptHookArgs) -> None:
    """Ends the process when one of its threads fails: the others would go on without it."""
    threading.__excepthook__(error)
    os._exit(1)


def main() -> None:
    """Reads the command line and runs the loop."""
    threading.excepthook = fail
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--input", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--keep", type=lambda words: words.split(","), default=[])
    parser.add_argument("--pull-threads", type=int, default=4)
    parser.add_argument("--stop-when-idle-secs", type=float, default=threading.TIMEOUT_MAX)
    args = parser.parse_args()
    # A matrix without names is what costs least; scikit-learn warns of it once a call.
    warnings.filterwarnings("ignore", message="X does not have valid feature names")
    scorer = Scorer(args.model, args.input, args.keep)
    loop = Loop(scorer, args.input, args.output, args.pull_threads)
    signal.signal(signal.SIGTERM, lambda *_: loop.stop())
    loop.run(args.stop_when_idle_secs)
    os._exit(0)  # threads wait in calls


if __name__ == "__main__":
    main()
