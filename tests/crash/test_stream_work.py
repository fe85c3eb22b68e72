"""Work that takes longer than the acknowledgement deadline: nothing is delivered twice."""

import pytest
from feed import RATE, Account
from live import TYPES, Scene

BAD_EVERY = 50


@pytest.mark.timeout(300)
@pytest.mark.parametrize("secs", [12, pytest.param(35, marks=pytest.mark.soak)])
def test_long_work_on_a_deadline_of_10_seconds(scene: Scene, secs: int) -> None:
    marker = scene.folder / "marker"
    env = {"MARKER": str(marker), "WORK_SECS": str(secs)}
    flags = ["--preprocess", "odd_streams:sleep_once", "--allow-code"]
    feed = scene.feed(bad_every=BAD_EVERY, rate=RATE)
    stream = scene.start(scene.to_topic(*flags, types=TYPES), **env)
    scene.wait(stream, marker.exists, "the long work")
    in_hand = scene.wait_until_in_hand(stream)
    scene.wait_until_scoring(stream)
    published = feed.stop()
    account = Account(BAD_EVERY)
    scene.wait_until_found(stream, account, published, scene.read_topic)
    stream.drain()
    scene.read_topic(account)
    assert scene.front.leases.redelivered() == 0
    account.check(published, max_duplicates=0, title=f"{secs} s of work, {in_hand:,} in hand")
