"""Turns a model's name and a number of rounds into seconds: ours and the library's, in turns.

::

    python benchmarks/handler_times.py xgboost 9    # prints a line of two numbers for each round
"""

import sys
import time

from handler_models import pair_of

# After a run onnxruntime's threads spin for a while, and would take the processor from whoever
# comes next: that is us, as ours lets its threads sleep.
_QUIET_SECS = 0.2


def main(name: str, rounds: int) -> None:
    """Checks that both predict the same, then prints how long each takes."""
    pair = pair_of(name)
    pair.check()
    for _ in range(rounds):
        secs = []
        for call in (pair.ours, pair.own):
            time.sleep(_QUIET_SECS)
            began = time.perf_counter()
            call()
            secs.append(time.perf_counter() - began)
        print(*secs, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
