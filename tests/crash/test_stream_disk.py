"""A disk that is full for a while: the stream waits, goes on by itself, and loses nothing.

The process gets a limit on the size of its files, which takes effect at once: writing fails as on a
full disk, by the kernel, with another number of error.
"""

import resource
import sys
import time

import pytest
from feed import RATE, Account
from live import Scene
from stream_process import Stream

BAD_EVERY = 50
_ROOM = 4_096  # bytes that a file may have: less than a second's predictions

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits another process")


def limit_files(stream: Stream, size: int) -> None:
    """From now on no file of a process may grow beyond so many bytes."""
    _, hard = resource.prlimit(stream.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(stream.pid, resource.RLIMIT_FSIZE, (size, hard))


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("output", "secs"),
    [
        ("files", 3.0),
        pytest.param("files", 20.0, marks=pytest.mark.soak),
        pytest.param("topic", 20.0, marks=pytest.mark.soak),
    ],
)
def test_a_full_disk(scene: Scene, output: str, secs: float) -> None:
    """With a topic as the output it is the dead letters that find no room."""
    words = scene.to_files() if output == "files" else scene.to_topic()
    read = scene.read_files if output == "files" else scene.read_topic
    scene.feed(bad_every=BAD_EVERY)
    stream = scene.start(words)
    scene.wait_until_scoring(stream, RATE)
    scene.wait_until_in_hand(stream)
    limit_files(stream, _ROOM)
    scene.wait(stream, lambda: "File too large" in stream.err(), "an error of the disk")
    time.sleep(secs)
    held = len(scene.front.leases.in_hand())
    assert held, "nothing was in hand while the disk was full"
    assert not stream.ended(), stream.err()
    limit_files(stream, resource.RLIM_INFINITY)

    scene.wait_until_scoring(stream, RATE)
    published = scene.stop_feed()
    account = Account(BAD_EVERY)
    scene.wait_until_found(stream, account, published, read)
    stream.drain()
    read(account)
    title = f"a full disk for {secs:g} s, {held:,} in hand"
    account.check(published, max_duplicates=0, title=title)
    assert not scene.staged()
