"""A disk that is full, and has room again: nothing is lost, and nothing half is left.

The process gets a limit on the size of its files, which takes effect at once: writing fails as on a
full disk, by the kernel, with another number of error.
"""

import resource
import sys

import pytest
from feed import RATE, Account
from live import Scene, Stream

BAD_EVERY = 50
_ROOM = 4_096  # bytes that a file may have: less than a second's predictions

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="limits another process: Linux only"
)


def fill_disk(stream: Stream) -> None:
    """From now on no file of a process may grow beyond a few bytes."""
    _, hard = resource.prlimit(stream.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(stream.pid, resource.RLIMIT_FSIZE, (_ROOM, hard))


@pytest.mark.parametrize("output", ["files", pytest.param("topic", marks=pytest.mark.soak)])
def test_a_full_disk(scene: Scene, output: str) -> None:
    """The run fails and says why; the messages in hand go back. With room, all comes out.

    With a topic as the output it is the dead letters that find no room.
    """
    words = scene.to_files() if output == "files" else scene.to_topic()
    read = scene.read_files if output == "files" else scene.read_topic
    feed = scene.feed(bad_every=BAD_EVERY)
    stream = scene.start(words)
    scene.wait_until_scoring(stream, RATE)
    scene.wait_until_in_hand(stream)
    fill_disk(stream)
    held = scene.in_hand_while(stream)
    assert held, "nothing was in hand when the disk was full"
    assert stream.code() == 1, stream.err()
    assert "File too large" in stream.err()
    assert not scene.front.leases.in_hand()

    stream = scene.start(words)
    scene.wait_until_scoring(stream, RATE)
    published = feed.stop()
    account = Account(BAD_EVERY)
    scene.wait_until_found(stream, account, published, read)
    stream.drain()
    read(account)
    account.check(published, max_duplicates=held, title=f"a full disk, {held:,} in hand")
    assert not scene.staged()
