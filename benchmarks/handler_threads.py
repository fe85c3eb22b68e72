"""Predicts with one model in a number of threads, for the memory that this takes.

Every thread predicts an eighth of the batch, sixteen times over, however many threads there are: it
is the model that must not be held eight times, not the rows that each has in hand.

::

    python benchmarks/handler_threads.py xgboost 8
"""

import sys
import threading

from handler_models import ROWS, our_model, rows_for

_CALLS = 16
_ROWS = ROWS // 8


def main(name: str, num_threads: int) -> None:
    """Predicts in threads that share one model."""
    model = our_model(name)
    batch = rows_for(name).to_batches()[0]

    def predict(start: int) -> None:
        for _ in range(_CALLS):
            model.score(batch.slice(start, _ROWS))

    threads = [
        threading.Thread(target=predict, args=(number * _ROWS,)) for number in range(num_threads)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
