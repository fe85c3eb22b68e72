"""A service that does not answer: the stream waits, goes on by itself, and loses nothing."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import grpc
import pytest
from feed import RATE, Account
from front import ACKNOWLEDGE, MODIFY, PUBLISH, PULL, Front, wait_until
from live import Scene

BAD_EVERY = 50
SECS = 20.0
ACK_DEADLINE_SECS = 10.0

DENIED = f"{PUBLISH} denied"
GONE = "the service is gone"
FAULTS = [PUBLISH, DENIED, f"{PULL} and {MODIFY}", ACKNOWLEDGE, GONE]


@contextmanager
def gone(front: Front) -> Iterator[None]:
    """Nothing listens where the service was."""
    front.stop()
    yield
    front.start()


def fault(scene: Scene, name: str) -> AbstractContextManager[None]:
    """A block in which something fails."""
    if name == GONE:
        return gone(scene.front)
    is_denied = name == DENIED
    code = grpc.StatusCode.PERMISSION_DENIED if is_denied else grpc.StatusCode.UNAVAILABLE
    return scene.front.refusing(*name.removesuffix(" denied").split(" and "), code=code)


def check_outages(scene: Scene, words: list[str], names: list[str], secs: float) -> None:
    """One stream lives through faults, one after the other."""
    feed = scene.feed(bad_every=BAD_EVERY)
    stream = scene.start(words)
    # Only while nothing reaches the service do leases end: they are extended otherwise.
    may_expire = GONE in names and secs > ACK_DEADLINE_SECS / 3
    max_duplicates = 0
    for name in names:
        scene.wait_until_scoring(stream, RATE // 2)
        held = scene.wait_until_in_hand(stream)
        with fault(scene, name):
            time.sleep(secs)
            held = max(held, len(scene.front.leases.in_hand()))
        print(f"{name} for {secs:g} s: {held:,} in hand")
        max_duplicates += held if name == GONE and may_expire else 0
    scene.wait_until_scoring(stream, RATE // 2)
    published = feed.stop()
    account = Account(BAD_EVERY)
    read = scene.read_topic if "--report" in words else scene.read_files
    scene.wait_until_found(stream, account, published, read)
    stream.drain()
    read(account)
    title = f"{', '.join(names)}: {secs:g} s each"
    account.check(published, max_duplicates=max_duplicates, title=title)
    said = stream.err()
    assert "does not answer" in said
    assert "answers again" in said
    assert len(said.splitlines()) < 60, f"too much was said: {said}"


def test_short_outages(scene: Scene) -> None:
    check_outages(scene, scene.to_topic(), FAULTS, 2.0)


@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", FAULTS)
def test_long_outages_with_a_topic(scene: Scene, name: str) -> None:
    check_outages(scene, scene.to_topic(), [name], SECS)


@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", FAULTS[2:])
def test_long_outages_with_files(scene: Scene, name: str) -> None:
    check_outages(scene, scene.to_files(), [name], SECS)


@pytest.mark.soak
@pytest.mark.parametrize("method", [PUBLISH, ACKNOWLEDGE])
def test_lost_answers(scene: Scene, method: str) -> None:
    """What was done, and looks as if it was not, is done again."""
    feed = scene.feed(bad_every=BAD_EVERY)
    stream = scene.start(scene.to_topic())
    scene.wait_until_scoring(stream, RATE // 2)
    in_hand = scene.wait_until_in_hand(stream)
    with scene.front.losing_answers(method):
        time.sleep(3.0)
    unanswered = scene.front.calls[f"{method} unanswered"]
    assert unanswered
    scene.wait_until_scoring(stream, RATE // 2)
    published = feed.stop()
    account = Account(BAD_EVERY)
    scene.wait_until_found(stream, account, published, scene.read_topic)
    stream.drain()
    scene.read_topic(account)
    title = f"{unanswered} calls of {method} without an answer, {in_hand:,} in hand"
    # A request has at most 1,000 messages.
    max_duplicates = unanswered * 1_000 if method == PUBLISH else 0
    account.check(published, max_duplicates=max_duplicates, title=title)


@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize("secs", [8.0, 40.0])
def test_an_emulator_that_stands_still(scene: Scene, secs: float) -> None:
    """All connections stay open, and nobody answers."""
    feed = scene.feed(bad_every=BAD_EVERY)
    stream = scene.start(scene.to_topic())
    scene.wait_until_scoring(stream, RATE // 2)
    scene.wait_until_in_hand(stream)
    scene.emulator.pause()
    try:
        time.sleep(secs)
        in_hand = len(scene.front.leases.in_hand())
    finally:
        scene.emulator.resume()
    assert in_hand
    scene.wait_until_scoring(stream, RATE // 2)
    published = feed.stop()
    account = Account(BAD_EVERY)
    scene.wait_until_found(stream, account, published, scene.read_topic)
    stream.drain()
    scene.read_topic(account)
    title = f"the emulator stood still for {secs:g} s, {in_hand:,} in hand"
    # Leases have ended meanwhile, and a publisher's requests may have arrived though they failed.
    account.check(published, max_duplicates=2 * in_hand, title=title, are_all_confirmed=False)


@pytest.mark.timeout(300)
def test_an_emulator_that_is_killed_and_started(scene: Scene) -> None:
    """It comes back empty, without topics even. What it loses is its fault; the stream goes on.

    So of what was published before, all that was acknowledged must have come out, and what was in
    hand, too; and all that is published to the new one.
    """
    feed = scene.feed(bad_every=BAD_EVERY)
    stream = scene.start(scene.to_files())
    scene.wait_until_scoring(stream, RATE)
    scene.wait_until_in_hand(stream)
    scene.emulator.kill()
    in_hand = scene.front.leases.in_hand()
    assert in_hand
    before = feed.stop()
    old = Account(BAD_EVERY)

    def is_written() -> bool:
        scene.read_files(old)
        return in_hand | scene.front.leases.acknowledged() <= old.found()

    wait_until(is_written, 30, "what was in hand is written")
    print(f"{len(before):,} published before, {len(in_hand):,} of them in hand")

    scene.emulator.start()
    time.sleep(1)  # there is no subscription until its owner makes it again
    scene.create_topics()
    scene.front.forget()  # the emulator counts from 1 again
    feed = scene.feed(bad_every=BAD_EVERY)
    scene.wait_until_scoring(stream, RATE)
    after = feed.stop()
    new = old.without(old)
    scene.wait_until_found(stream, new, after, scene.read_files)
    stream.drain()
    scene.read_files(new)
    new.check(after, max_duplicates=0, title="an emulator that was killed and started")


@pytest.mark.soak
@pytest.mark.parametrize("secs", [3.0, SECS])
def test_a_topic_that_is_deleted_and_made_again(scene: Scene, secs: float) -> None:
    feed = scene.feed(bad_every=BAD_EVERY)
    stream = scene.start(scene.to_topic())
    scene.wait_until_scoring(stream, RATE)
    scene.wait_until_in_hand(stream)
    account = Account(BAD_EVERY)
    # The front holds requests up while there is a topic and no subscription, or the other way.
    with scene.front.refusing(PUBLISH):
        time.sleep(0.2)
        scene.read_topic(account)
        scene.client.delete_topic(scene.output_topic)
    time.sleep(secs)
    in_hand = len(scene.front.leases.in_hand())
    assert in_hand
    with scene.front.refusing(PUBLISH):
        scene.recreate_output()
    scene.wait_until_scoring(stream, RATE)
    published = feed.stop()
    scene.wait_until_found(stream, account, published, scene.read_topic)
    stream.drain()
    scene.read_topic(account)
    title = f"no topic for {secs:g} s, {in_hand:,} in hand"
    account.check(published, max_duplicates=0, title=title)
