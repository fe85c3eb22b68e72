"""SIGTERM and Ctrl-C under 2,000 messages a second: a prompt end that leaves nothing leased."""

import json
import signal
import time

import pytest
from feed import RATE, Account
from front import PUBLISH
from live import Scene

BAD_EVERY = 50
DRAIN_SECS = 10.0  # 1 s where nothing else keeps the machine busy: benchmarks/streaming.py


@pytest.mark.parametrize(
    ("output", "number"),
    [
        ("topic", signal.SIGTERM),
        pytest.param("topic", signal.SIGINT, marks=pytest.mark.soak),
        pytest.param("files", signal.SIGTERM, marks=pytest.mark.soak),
        pytest.param("files", signal.SIGINT, marks=pytest.mark.soak),
    ],
)
def test_a_drain_under_load(scene: Scene, output: str, number: signal.Signals) -> None:
    """Nothing is scored twice, and what was not scored can be had at once by the next process."""
    is_topic = output == "topic"
    words = scene.to_topic() if is_topic else scene.to_files()
    feed = scene.feed(bad_every=BAD_EVERY)
    stream = scene.start(words)
    scene.wait_until_scoring(stream, RATE)
    in_hand = scene.wait_until_in_hand(stream)
    started = time.monotonic()
    stream.signal(number)
    code = stream.wait(DRAIN_SECS)
    secs = time.monotonic() - started
    assert code == 0, stream.err()
    left = len(scene.front.leases.in_hand())
    published = feed.stop()

    reports = list(
        scene.folder.glob("runs/*/report.json" if is_topic else "out/_run/*/report.json")
    )
    assert len(reports) == 1
    report = json.loads(reports[0].read_text())
    assert report["exit_code"] == 0
    rows = report["rows"]
    assert rows["read"] == rows["predicted"] + rows["dead_lettered"] + rows["deduplicated"]
    account = Account(BAD_EVERY)
    read = scene.read_topic if is_topic else scene.read_files
    read(account)
    assert rows["predicted"] == account.scored.total()
    assert rows["dead_lettered"] == account.dead_lettered.total()
    print(f"\ndrained in {secs:.2f} s with {in_hand:,} in hand; {left} leased afterwards")
    assert left == 0
    waiting = {message.message_id for message in scene.left_in_subscription()}
    done = {id_: number for id_, number in published.items() if id_ not in waiting}
    print(f"{len(waiting):,} wait for the next process; of the rest: {account.summary(done)}")
    assert account.found() == done.keys()
    assert account.duplicated() == 0


@pytest.mark.soak
def test_a_second_signal_ends_it_at_once_and_loses_nothing(scene: Scene) -> None:
    """While the drain waits for a sink that does not answer."""
    feed = scene.feed(bad_every=BAD_EVERY)
    words = scene.to_topic()
    stream = scene.start(words)
    scene.wait_until_scoring(stream, RATE)
    with scene.front.refusing(PUBLISH):
        time.sleep(1)
        stream.signal(signal.SIGTERM)
        time.sleep(1)
        assert not stream.ended(), stream.err()
        started = time.monotonic()
        stream.signal(signal.SIGTERM)
        code = stream.wait(DRAIN_SECS)
    assert code == 130, stream.err()
    assert time.monotonic() - started < 5
    in_hand = len(scene.front.leases.in_hand())
    scene.front.expire(scene.subscription)

    stream = scene.start(words)
    scene.wait_until_scoring(stream, RATE)
    published = feed.stop()
    account = Account(BAD_EVERY)
    scene.wait_until_found(stream, account, published, scene.read_topic)
    stream.drain()
    scene.read_topic(account)
    account.check(published, max_duplicates=in_hand, title=f"two signals, {in_hand:,} in hand")
