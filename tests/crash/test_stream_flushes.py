"""How many files a steady stream writes: one for each flush, and no more."""

import math
import time

import pytest
from live import Scene

RATE = 1_000  # messages a second
MOST_FILES, IN_SECS = 70, 60  # at this rate, and with the default flush_secs of 1


@pytest.mark.timeout(300)
@pytest.mark.parametrize("secs", [10, pytest.param(IN_SECS, marks=pytest.mark.soak)])
def test_files_of_a_steady_stream(scene: Scene, secs: int) -> None:
    scene.feed(rate=RATE)
    stream = scene.start(scene.to_files())
    scene.wait_until_scoring(stream, 2 * RATE)  # what has gathered at the start is done

    def so_far() -> tuple[float, int, int]:
        acknowledged = len(scene.front.leases.acknowledged())
        return time.monotonic(), acknowledged, len(list(scene.folder.glob("out/part-*")))

    before = so_far()
    time.sleep(secs)
    took, messages, files = (now - then for now, then in zip(so_far(), before, strict=True))
    stream.drain()
    print(f"\n{files} files of {messages:,} messages in {took:.1f} s")
    assert messages > took * RATE / 2, "the machine was too busy to tell"
    assert 1 <= files <= math.ceil(took * MOST_FILES / IN_SECS)
