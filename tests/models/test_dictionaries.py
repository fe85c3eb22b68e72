import numpy as np
import pyarrow as pa
import pytest

from scoreline.models.dictionaries import clean_dictionary, decode_dictionary

VALUES = [
    pa.array(["a", "b"]),
    pa.array(["a", None], pa.large_string()),
    pa.array(["a", "b"], pa.string_view()),
    pa.array([1.5, None]),
    pa.array([np.nan, 1.5]),
    pa.array(np.array([1, 2], np.float16)),
    pa.array([None, True]),
    pa.nulls(2),
]


@pytest.mark.parametrize("values", VALUES, ids=lambda values: str(values.type))
def test_dictionary_columns_stand_for_plain_ones(values: pa.Array):
    column = pa.DictionaryArray.from_arrays(pa.array([1, None, 0, 1], pa.int8()), values)
    meant = [None if value != value else value for value in column.to_pylist()]
    plain = decode_dictionary(column).to_pylist()
    assert [None if value != value else value for value in plain] == meant
    assert not pa.types.is_dictionary(decode_dictionary(column).type)
    came = pa.record_batch({"x": clean_dictionary(column)}).to_pandas()["x"]
    assert [None if value != value else value for value in came] == meant


def test_other_columns_are_left_alone():
    column = pa.array([1])
    assert decode_dictionary(column) is column
    assert clean_dictionary(column) is column
    clean = pa.array(["a"]).dictionary_encode()
    assert clean_dictionary(clean) is clean
