"""Messages that cannot be scored, or hardly: poison, empty, huge, not UTF-8."""

import json

import pyarrow.parquet as pq
from feed import BAD, Account, message, message_id
from live import Scene

HUGE = 9_000_000  # bytes; a message has 10 MB at most
GOOD = {"id": 1, "a": 0.5, "b": 0.5, "c": 0.5}


def test_each_message_is_scored_or_a_dead_letter_with_its_bytes(scene: Scene) -> None:
    """Between them good ones flow; each bad one is acknowledged, and does not come again."""
    note = "x" * HUGE
    odd = {
        "poison": [message(index, 1) for index in range(len(BAD))],
        "huge and malformed": [b"{" + b"x" * HUGE],
        "huge and not utf-8": [b'{"id": 1, "a": "' + b"\xff" * HUGE + b'"}'],
        "huge, and nothing": [b" " * HUGE],
        "a number of a million digits": [b'{"id": 1, "a": ' + b"9" * 1_000_000 + b"}"],
        "deep": [b'{"id": 1, "a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"],
        "a NUL": [b"\x00"],
        "a BOM only": [b"\xef\xbb\xbf"],
        "half a UTF-8 character": [b'{"id": 1, "a": 0.5, "b": 0.5, "c": 0.5, "d": "\xe2\x82"}'],
    }
    fine = {
        "huge": [json.dumps(GOOD | {"note": note}).encode()],
        "pretty": [json.dumps(GOOD, indent=2).encode()],
    }
    feed = scene.feed(bad_every=0)
    stream = scene.start(scene.to_topic())
    scene.wait_until_scoring(stream)
    scene.wait_until_in_hand(stream)
    bad = _publish(scene, odd)
    good = _publish(scene, fine)
    scene.wait_until_scoring(stream, 1_000)
    published = feed.stop() | dict.fromkeys([*bad, *good], 1)
    account = Account()
    scene.wait_until_found(stream, account, published, scene.read_topic)
    stream.drain()
    scene.read_topic(account)

    print(f"\n{account.summary(published)}")
    assert not account.missing(published)
    assert account.duplicated() == 0
    assert account.dead_lettered.keys() == bad.keys()
    assert good.keys() <= account.scored.keys()
    payloads = {
        message_id(row["row_id"]): row["payload"]
        for path in (scene.folder / "dead").rglob("*.parquet")
        for row in pq.read_table(path).to_pylist()
    }
    assert payloads == bad


def test_huge_dead_letters_and_predictions_in_topics(scene: Scene) -> None:
    """A prediction that keeps a huge column may fit no message: then it is a dead letter."""
    words = scene.to_topic(
        *("--max-dead-letter-ratio", "1"),
        dead=f"pubsub://{scene.dead_topic}",
        keep="id,note",
        types="id=int64,note=string",
    )
    kept = ["x" * size for size in (10, 2_000, 8_000_000, 9_400_000)]
    fine = {f"{len(note)}": [json.dumps(GOOD | {"note": note}).encode()] for note in kept}
    odd = {"malformed": [b"{" + b"x" * HUGE], "empty": [b""]}
    stream = scene.start(words)
    good, bad = _publish(scene, fine), _publish(scene, odd)
    published = dict.fromkeys([*good, *bad], 1)
    account = Account()

    def read() -> bool:
        scene.read_topic(account)
        for each in scene.client.pull_all(scene.dead, quiet_secs=0.5):
            account.add_dead_letters([each.attributes["row_id"]])
        return not account.missing(published)

    scene.wait(stream, read, "each message")
    stream.drain()
    read()
    print(f"\n{account.summary(published)}")
    assert account.duplicated() == 0
    assert account.scored.keys() | account.dead_lettered.keys() == published.keys()
    assert bad.keys() <= account.dead_lettered.keys()
    assert set(list(good)[:2]) <= account.scored.keys()


def _publish(scene: Scene, payloads: dict[str, list[bytes]]) -> dict[str, bytes]:
    """Publishes messages; gives their bytes by the queue's ids."""
    flat = [payload for some in payloads.values() for payload in some]
    ids = scene.client.publish(scene.input_topic, flat, [{"odd": "yes"}] * len(flat))
    return dict(zip(ids, flat, strict=True))
