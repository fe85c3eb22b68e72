"""An exception in the middle of a stream ends it with code 1, and loses nothing."""

import pytest
from feed import RATE, Account
from live import HERE, TYPES, Scene

BAD_EVERY = 50
DECODE = "scoreline.transforms.decode.decode"
CONFORM = "scoreline.transforms.conform.conform"
PUBLISH = "scoreline.transforms.write_pubsub.encode_json_lines"
WRITE = "scoreline.transforms.part_writer.PartWriter.write"
MOVE = "scoreline.transforms.stream_files.move"


def check_failure(scene: Scene, words: list[str], *program: str, **env: str) -> None:
    """Runs a command that fails once, and again; each message must have come out."""
    marker = scene.folder / "marker"
    feed = scene.feed(bad_every=BAD_EVERY)
    env = {"PYTHONPATH": str(HERE), "MARKER": str(marker), **env}
    stream = scene.start(words, *program, **env)
    scene.wait(stream, marker.exists, "the fault")
    held = len(scene.front.leases.in_hand())
    assert held, "nothing was in hand when it failed"
    held = max(held, scene.in_hand_while(stream))
    assert stream.code() == 1, stream.err()
    # What an orderly end leaves is not leased any more.
    assert not scene.front.leases.in_hand(), stream.err()

    stream = scene.start(words, *program, **env)
    scene.wait_until_scoring(stream, RATE)
    published = feed.stop()
    account = Account(BAD_EVERY)
    read = scene.read_topic if "--report" in words else scene.read_files
    scene.wait_until_found(stream, account, published, read)
    stream.drain()
    read(account)
    account.check(published, max_duplicates=held, title=f"{held:,} in hand")
    assert not scene.staged()


@pytest.mark.parametrize(("where", "output"), [(DECODE, "topic"), (MOVE, "files")])
def test_in_our_own_code(scene: Scene, where: str, output: str) -> None:
    words = scene.to_topic() if output == "topic" else scene.to_files()
    check_failure(scene, words, str(HERE / "raising.py"), where, "5", str(scene.folder / "marker"))


@pytest.mark.soak
@pytest.mark.parametrize(
    ("where", "output"),
    [(CONFORM, "files"), (PUBLISH, "topic"), (WRITE, "files"), (WRITE, "topic")],
)
def test_in_more_of_our_own_code(scene: Scene, where: str, output: str) -> None:
    test_in_our_own_code(scene, where, output)


def test_in_the_users_code(scene: Scene) -> None:
    flags = ["--preprocess", "odd_streams:lose_a_row_once", "--allow-code"]
    check_failure(scene, scene.to_topic(*flags, types=TYPES))
