"""Hypothesis strategies for batches of any types that Arrow can hold."""

import datetime as dt

import pyarrow as pa
from hypothesis import strategies as st

_int32 = st.integers(-(2**31), 2**31 - 1)
_micros = st.integers(-(2**50), 2**50)
_text = st.text(max_size=5)

# (type, values); every value may be null too
_PLAIN = [
    (pa.int8(), st.integers(-128, 127)),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.float32(), st.floats(width=32)),
    (pa.float64(), st.floats()),
    (pa.bool_(), st.booleans()),
    (pa.string(), _text),
    (pa.large_string(), _text),
    (pa.binary(), st.binary(max_size=5)),
    (pa.binary(3), st.binary(min_size=3, max_size=3)),
    (pa.date32(), st.dates(dt.date(1900, 1, 1), dt.date(2100, 1, 1))),
    (pa.time64("us"), st.times()),
    (pa.timestamp("us"), _micros),
    (pa.timestamp("ns", "Europe/Paris"), _micros),
    (pa.duration("ms"), _micros),
    (pa.decimal128(20, 3), st.decimals(-1000, 1000, places=3)),
    (pa.decimal256(50, 2), st.decimals(-1000, 1000, places=2)),
    (pa.null(), st.none()),
]
_NESTED = [
    (pa.list_(pa.int32()), st.lists(_int32 | st.none(), max_size=3)),
    (pa.large_list(pa.string()), st.lists(_text, max_size=3)),
    (pa.list_(pa.int32(), 2), st.lists(_int32, min_size=2, max_size=2)),
    (
        pa.struct([("a", pa.int32()), ("b", pa.list_(pa.string()))]),
        st.fixed_dictionaries({"a": _int32 | st.none(), "b": st.lists(_text, max_size=2)}),
    ),
    (
        pa.map_(pa.string(), pa.int32()),
        st.dictionaries(_text, _int32, max_size=2).map(lambda found: list(found.items())),
    ),
]
_DICTIONARIES = [
    (pa.dictionary(pa.int8(), pa.string()), st.sampled_from(["red", "green", ""])),
    (pa.dictionary(pa.int32(), pa.int64()), st.integers(0, 3)),
]
_VIEWS = [
    (pa.string_view(), _text),
    (pa.binary_view(), st.binary(max_size=5)),
    (pa.list_(pa.string_view()), st.lists(_text, max_size=2)),
]
# What a Parquet file gives back as it was.
STORABLE = _PLAIN + _NESTED + [_DICTIONARIES[0]]
ANY = _PLAIN + _NESTED + _DICTIONARIES + _VIEWS


@st.composite
def arrays(draw, num_rows, kinds=ANY):
    type_, values = draw(st.sampled_from(kinds))
    # Arrow writes a null list of fixed size to Parquet, but cannot read it back.
    maybe = values if pa.types.is_fixed_size_list(type_) else st.none() | values
    found = draw(st.lists(maybe, min_size=num_rows, max_size=num_rows))
    if pa.types.is_dictionary(type_):
        return _dictionary(found, type_)
    return pa.array(found, type_)


def _dictionary(values, type_):
    entries = list(dict.fromkeys(value for value in values if value is not None))
    indices = [None if value is None else entries.index(value) for value in values]
    dictionary = pa.array([*entries, *entries[:0]], type_.value_type)
    return pa.DictionaryArray.from_arrays(pa.array(indices, type_.index_type), dictionary)


@st.composite
def batches(draw, min_rows=1, max_rows=8, kinds=ANY, min_columns=1, max_columns=4):
    num_rows = draw(st.integers(min_rows, max_rows))
    names = draw(
        st.lists(
            st.sampled_from(["a", "b.c", "with space", 'quo"te', "é", "x", "_y"]),
            min_size=min_columns,
            max_size=max_columns,
            unique=True,
        )
    )
    return pa.record_batch({name: draw(arrays(num_rows, kinds)) for name in names})


def same_rows(left: pa.RecordBatch, right: pa.RecordBatch) -> bool:
    """Equal schemas and rows, where NaN equals NaN and dictionaries may be ordered otherwise."""
    return left.schema.equals(right.schema) and repr(left.to_pylist()) == repr(right.to_pylist())
