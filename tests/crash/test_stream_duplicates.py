"""Messages that are published twice, with deduplication on, while bundles fail."""

from collections import Counter

from feed import RATE, Account
from live import TYPES, Scene


def test_duplicates_while_the_first_bundle_fails(scene: Scene) -> None:
    """An id that was seen in a bundle that failed is no duplicate when it comes again."""
    marker = scene.folder / "marker"
    env = {"MARKER": str(marker)}
    flags = ["--preprocess", "odd_streams:lose_a_row_at_first", "--allow-code"]
    words = scene.to_topic(*flags, "--deduplicate-by", "id", types=TYPES)
    feed = scene.feed(copies=2, rate=RATE / 2)
    stream = scene.start(words, **env)
    scene.wait(stream, marker.exists, "the fault")
    held = len(scene.front.leases.in_hand())
    assert held, "nothing was in hand when the first bundle failed"
    held = max(held, scene.in_hand_while(stream))
    assert stream.code() == 1, stream.err()

    stream = scene.start(words, **env)
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
    # The second process knows nothing of what the first one had published.
    assert twice <= held
    assert account.duplicated() <= held
    assert not account.dead_lettered
    assert "deduplicated" in stream.err()
