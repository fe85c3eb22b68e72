"""Holds a decoder of messages against itself: a batch of them must be what each is alone."""

import pyarrow as pa

from scoreline.transforms.formats.messages import MessageDecoder


def told(decoded):
    """What was decoded, as plain values: rows and rejects by ordinal."""
    found = {
        ordinal: [str(column.slice(row, 1)) for column in decoded.batch.columns]
        for row, ordinal in enumerate(decoded.ordinals.to_pylist())
    }
    for reject in decoded.rejects:
        assert reject.ordinal not in found
        found[reject.ordinal] = (
            reject.error_code,
            reject.error_class,
            reject.error_message,
            reject.payload,
        )
    return found


def check_one_by_one(reading, payloads, decoder=None):
    """Decodes payloads at once and each alone, by a new decoder; returns the former."""
    decoder = decoder or MessageDecoder(reading)
    decoded = decoder.decode(pa.array([b"unused", *payloads], pa.binary())[1:])
    alone = {}
    for ordinal, payload in enumerate(payloads):
        verdict = told(MessageDecoder(reading).decode([payload]))
        assert list(verdict) == [0]
        alone[ordinal] = verdict[0]
    assert told(decoded) == alone
    assert [one.payload for one in decoded.rejects] == [
        payloads[one.ordinal] for one in decoded.rejects
    ]
    if decoded.batch is not None:
        decoded.batch.validate(full=True)
        assert decoded.batch.schema == decoder.schema
    return decoded


def codes(decoded):
    return {reject.ordinal: reject.error_code for reject in decoded.rejects}
