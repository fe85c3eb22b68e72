"""kill -9 at random moments under 2,000 messages a second: every message is accounted for."""

import random
import time

import pytest
from feed import RATE, Account
from live import Scene

BAD_EVERY = 50


def kill_in_a_row(scene: Scene, words: list[str], times: int, *, expire: bool) -> int:
    """Starts a command and kills it, again and again; gives how much was in hand in all.

    Args:
        scene: with a running feed.
        words: of the command.
        times: how often.
        expire: end the leases of the dead process at once, instead of when they end by themselves.
    """
    moments = random.Random(20240229)
    in_hand = 0
    for number in range(times):
        stream = scene.start(words)
        # Each second one dies on the way up, while it works off what has gathered.
        scene.wait_until_scoring(stream, 1 if number % 2 else RATE)
        time.sleep(moments.uniform(0, 1))
        scene.wait_until_in_hand(stream)
        stream.kill()
        held = len(scene.front.leases.in_hand())
        assert held, "nothing was in hand when it was killed"
        in_hand += held
        if expire:
            scene.front.expire(scene.subscription)
        else:
            scene.front.leases.take()
    return in_hand


def check_kills(scene: Scene, output: str, times: int, *, expire: bool) -> None:
    """Kills in a row, then one run to the end; each output must have every message."""
    words, reads = {
        "files": (scene.to_files(), [scene.read_files]),
        "topic": (scene.to_topic(), [scene.read_topic]),
        "both": (scene.to_both(), [scene.read_topic, scene.read_files]),
    }[output]
    feed = scene.feed(bad_every=BAD_EVERY)
    in_hand = kill_in_a_row(scene, words, times, expire=expire)
    stream = scene.start(words)
    scene.wait_until_scoring(stream)
    published = feed.stop()
    accounts = [Account(BAD_EVERY) for _ in reads]
    for account, read in zip(accounts, reads, strict=True):
        scene.wait_until_found(stream, account, published, read)
    stream.drain()
    for account, read in zip(accounts, reads, strict=True):
        read(account)
        title = f"{times} kills with {in_hand:,} in hand, {read.__name__}"
        account.check(published, max_duplicates=in_hand, title=title)
    assert not scene.front.leases.in_hand()
    assert not scene.staged()


def test_three_kills_in_a_row(scene: Scene) -> None:
    check_kills(scene, "both", 3, expire=True)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("output", ["files", "topic", "both"])
def test_ten_kills_in_a_row(scene: Scene, output: str) -> None:
    check_kills(scene, output, 10, expire=False)
