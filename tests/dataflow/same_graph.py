"""A submitted graph without what differs between two submissions of the same pipeline."""

import base64
import binascii
import bz2
import re

from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2 as api

_PARDO = common_urns.primitives.PAR_DO.urn
# The clock, what Beam makes up or takes from memory for each model handler (a key, a tag, an
# address), and where this submission was staged.
_VARYING = re.compile(
    rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00"
    rb"|[0-9a-f]{8}-[0-9a-f]{4}-1[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"
    rb"|(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])"
    rb"|(?<= at )0x[0-9a-f]+"
    rb"|(?<=\.)\d{10}\.\d{6}(?=/)"
)


def without_varying(graph: api.Pipeline) -> api.Pipeline:
    """Gives a copy in which pickles are unpacked, and what varies is blotted out of them."""
    plain = api.Pipeline.FromString(graph.SerializeToString())
    for transform in plain.components.transforms.values():
        if transform.spec.urn == _PARDO:
            payload = api.ParDoPayload.FromString(transform.spec.payload)
            payload.do_fn.payload = _blotted(payload.do_fn.payload)
            transform.spec.payload = payload.SerializeToString(deterministic=True)
        for name, value in list(transform.annotations.items()):
            transform.annotations[name] = _blotted(value)
    for environment in plain.components.environments.values():
        for artifact in environment.dependencies:
            artifact.type_payload = _blotted(artifact.type_payload)
    return plain


def _blotted(payload: bytes) -> bytes:
    return _VARYING.sub(b"VARIES", _unpacked(payload))


def _unpacked(payload: bytes) -> bytes:
    """Beam packs pickles with bz2, and writes them in base64."""
    try:
        return bz2.decompress(base64.b64decode(payload, validate=True))
    except (binascii.Error, OSError):
        return payload
