import decimal
import random

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.models.numeric import as_numbers

DECIMALS = [
    pa.decimal32(6, 2),
    pa.decimal64(15, 3),
    pa.decimal128(15, 15),
    pa.decimal128(12, 0),
    pa.decimal128(9, -2),
    pa.decimal128(38, 18),
    pa.decimal256(76, 30),
]


@pytest.mark.parametrize("type_", DECIMALS, ids=str)
def test_decimals_become_the_nearest_float(type_: pa.DataType):
    digits = random.Random(1)
    largest = 10**type_.precision - 1
    integers = [
        0,
        1,
        -1,
        largest,
        -largest,
        *(digits.randint(-largest, largest) for _ in range(99)),
    ]
    with decimal.localcontext(prec=100):
        values = [None, *(decimal.Decimal(integer).scaleb(-type_.scale) for integer in integers)]
    column = pa.array(values, type_).slice(0, 101)
    expected = [None if value is None else float(value) for value in values[:101]]
    assert as_numbers(column)[0].to_pylist() == expected
    assert as_numbers(column.slice(7))[0].to_pylist() == expected[7:]
    indices = pa.array(range(101), pa.int8())
    dictionary = pa.DictionaryArray.from_arrays(indices, column)
    assert as_numbers(dictionary)[0].to_pylist() == expected


@given(st.lists(st.one_of(st.none(), st.floats(allow_nan=False), st.integers()), min_size=1))
def test_text_becomes_the_float_that_python_reads(values: list):
    text = pa.array([None if value is None else str(value) for value in values], pa.string())
    numbers, unsafe = as_numbers(text)
    assert unsafe is None
    assert numbers.to_pylist() == [None if value is None else float(str(value)) for value in values]
