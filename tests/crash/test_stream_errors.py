"""An exception in the middle of a stream ends it with code 1, and loses nothing."""

import pytest
from feed import RATE, Account
from live import TYPES, Scene

BAD_EVERY = 50
COUNT = "5"  # the call that raises

DECODE = "scoreline.transforms.decode.decode"
CONFORM = "scoreline.transforms.conform.conform"
ENCODE = "scoreline.transforms.write_pubsub.encode_json_lines"
CREATE = "scoreline.transforms.stream_files.create"
MOVE = "scoreline.transforms.stream_files.move"


def fail(scene: Scene, words: list[str], where: str | None = None) -> int:
    """Runs a command until an exception ends it; gives how much was in hand.

    Args:
        scene: with a running feed.
        words: of the command.
        where: the function that raises; by default it is the user's own, with --preprocess.
    """
    marker = scene.folder / f"marker-{where}"
    raising = () if where is None else (where, COUNT, str(marker))
    stream = scene.start(words, raising, MARKER=str(marker))
    scene.wait(stream, marker.exists, f"the fault in {where}")
    held = len(scene.front.leases.in_hand())
    assert held, f"nothing was in hand when {where} failed"
    held = max(held, scene.in_hand_while(stream))
    assert stream.code() == 1, stream.err()
    assert "start the same command again" in stream.err()
    leased = len(scene.front.leases.in_hand())
    print(f"failed in {where or 'preprocess'}: {held:,} in hand, {leased:,} leased after its end")
    scene.front.expire(scene.subscription)
    return held


def check_rest(scene: Scene, words: list[str], held: int) -> None:
    """Runs the command undisturbed until something has come of each message."""
    stream = scene.start(words, MARKER=str(scene.folder))
    scene.wait_until_scoring(stream, RATE)
    published = scene.stop_feed()
    accounts = {scene.read_topic: Account(BAD_EVERY), scene.read_files: Account(BAD_EVERY)}
    if "--report" in words:  # no files of predictions
        del accounts[scene.read_files]
    for read, account in accounts.items():
        scene.wait_until_found(stream, account, published, read)
    stream.drain()
    for read, account in accounts.items():
        read(account)
        title = f"{read.__name__}, {held:,} in hand"
        account.check(published, max_duplicates=held, title=title)
    assert not scene.staged()


def test_in_decode_in_predict_and_in_write(scene: Scene) -> None:
    """One after the other, into the same outputs: a topic and files."""
    words = scene.to_both()
    scene.feed(bad_every=BAD_EVERY)
    held = fail(scene, words, DECODE)
    held += fail(scene, scene.to_both("odd_streams:lose_a_row_once"))
    held += fail(scene, words, MOVE)
    check_rest(scene, words, held)


@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize("where", [DECODE, CONFORM, ENCODE, CREATE])
def test_in_our_own_code(scene: Scene, where: str) -> None:
    words = scene.to_topic()
    scene.feed(bad_every=BAD_EVERY)
    check_rest(scene, words, fail(scene, words, where))


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_in_the_users_code(scene: Scene) -> None:
    flags = ["--preprocess", "odd_streams:lose_a_row_once", "--allow-code"]
    words = scene.to_topic(*flags, types=TYPES)
    scene.feed(bad_every=BAD_EVERY)
    check_rest(scene, words, fail(scene, words))
