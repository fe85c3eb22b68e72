"""Messages that are published twice, with deduplication on, while bundles fail."""

from collections import Counter

from feed import RATE, Account
from live import Scene

AT = "scoreline.transforms.write_pubsub.encode_json_lines"  # behind Deduplicate
COUNT = "3"  # the batch that fails


def test_duplicates_while_the_first_bundle_fails(scene: Scene) -> None:
    """An id that was seen in a bundle that failed is no duplicate when it comes again.

    A failed bundle ends a run, and its ids with it. So both runs are in one process here, and have
    one window: what the first one had learnt too early, the second would drop and acknowledge.
    """
    marker = scene.folder / "marker"
    words = scene.to_topic("--deduplicate-by", "id")
    feed = scene.feed(copies=2, rate=RATE / 2)
    stream = scene.start(words, (AT, COUNT, str(marker)), AGAIN="1")
    scene.wait(stream, marker.exists, "the fault")
    held = 0

    def has_failed() -> bool:
        nonlocal held
        held = max(held, len(scene.front.leases.in_hand()))
        return "start the same command again" in stream.err()

    scene.wait(stream, has_failed, "the end of the first run")
    assert held, "nothing was in hand when the first bundle failed"
    scene.wait_until_scoring(stream, RATE)
    published = feed.stop()
    numbers = set(published.values())
    account = Account()

    def is_found() -> bool:
        scene.read_topic(account)
        return numbers <= account.scored_numbers.keys()

    scene.wait(stream, is_found, "each id")
    stream.drain()
    scene.read_topic(account)
    copies = Counter(account.scored_numbers.values())
    twice = sum((times - 1) * ids for times, ids in copies.items())
    print(
        f"\npublished {len(published):,} messages of {len(numbers):,} ids, scored "
        f"{len(account.scored_numbers):,}, dead-lettered 0, duplicated {twice:,}, "
        f"lost {len(numbers - account.scored_numbers.keys()):,}"
    )
    assert account.scored_numbers.keys() == numbers
    # The second run knows nothing of what the first one had published.
    assert twice <= held
    assert account.duplicated() <= held
    assert not account.dead_lettered
    assert "deduplicated" in stream.err()
