import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scoreline.models.reserved import user_columns
from scoreline.transforms.file_formats import format_of, inspector
from scoreline.transforms.formats.csv_dialect import CsvDialect
from scoreline.transforms.schemas import SchemaMismatchError, with_one_schema
from scoreline.transforms.splits import plan_splits, read_split


@pytest.fixture
def unify(tmp_path):
    """Writes texts to files of one extension and gives their infos with one schema."""

    def unify(extension, *texts):
        infos = []
        for number, text in enumerate(texts):
            path = str(tmp_path / f"{number}{extension}")
            (tmp_path / f"{number}{extension}").write_text(text)
            infos.append(inspector(format_of(path), CsvDialect())(path))
        return with_one_schema(infos)

    return unify


def rows(infos):
    batches = [batch for split in plan_splits(infos) for batch in read_split(split)]
    return [tuple(row.values()) for batch in batches for row in user_columns(batch).to_pylist()]


CSV_TYPES = [
    (["1", "2.5"], pa.float64(), [1.0, 2.5]),
    (["1", "a"], pa.string(), ["1", "a"]),
    (["true", "1"], pa.string(), ["true", "1"]),
    (["", "1"], pa.int64(), [None, 1]),
    (["1", ""], pa.int64(), [1, None]),
    (["", ""], pa.string(), [None, None]),
    (["", "", "2.5", "1"], pa.float64(), [None, None, 2.5, 1.0]),
]


@pytest.mark.parametrize(("values", "expected", "read"), CSV_TYPES)
def test_types_of_csv_columns_are_widened_until_they_hold_all(unify, values, expected, read):
    infos = unify(".csv", *(f"x,y\n{value},z\n" for value in values))
    assert {info.schema for info in infos} == {pa.schema({"x": expected, "y": pa.string()})}
    assert rows(infos) == [(value, "z") for value in read]


def test_a_csv_file_without_rows_says_nothing_of_the_types(unify):
    assert unify(".csv", "x\n", "x\n1\n")[0].schema.field("x").type == pa.int64()


def test_csv_columns_may_stand_in_another_order(unify):
    infos = unify(".csv", "x,y\n1,a\n", "y,x\nb,2\n")
    assert infos[1].schema.names == ["x", "y"]
    assert rows(infos) == [(1, "a"), (2, "b")]


def test_csv_files_need_the_same_columns(unify):
    with pytest.raises(SchemaMismatchError) as error:
        unify(".csv", "x,y\n1,a\n", "x,z\n1,a\n")
    first, second = str(error.value).split("\n")[1:3]
    assert first.startswith("  y: string in ")
    assert first.endswith("0.csv, missing in " + first.split("missing in ")[1])
    assert second.startswith("  z: missing in ")
    assert "Score them in separate runs" in str(error.value)


JSON_TYPES = [
    (['{"x":1}', '{"y":"a"}'], {"x": pa.int64(), "y": pa.string()}),
    (['{"x":null}', '{"x":1}', '{"x":1.5}'], {"x": pa.float64()}),
    (['{"x":18446744073709551615}', '{"x":1}'], {"x": pa.uint64()}),
    (['{"x":18446744073709551615}', '{"x":1.5}'], {"x": pa.float64()}),
    (['{"x":[]}', '{"x":[1]}'], {"x": pa.list_(pa.int64())}),
    (['{"x":[1]}', '{"x":[1.5]}'], {"x": pa.list_(pa.float64())}),
    (['{"x":{"a":null}}', '{"x":{"a":1}}'], {"x": pa.struct({"a": pa.int64()})}),
    (
        ['{"x":{"a":1}}', '{"x":{"b":[{"c":1}]}}', '{"x":{"b":[{"d":true}]}}'],
        {
            "x": pa.struct(
                {
                    "a": pa.int64(),
                    "b": pa.list_(pa.struct({"c": pa.int64(), "d": pa.bool_()})),
                }
            )
        },
    ),
    (['{"x":1}', '{"x":"a"}', '{"x":2.5}'], {"x": pa.float64()}),
    (['{"x":true}', '{"x":1}'], {"x": pa.bool_()}),
    (['{"x":null}', '{"x":null}'], {"x": pa.string()}),
]


@pytest.mark.parametrize(("texts", "expected"), JSON_TYPES)
def test_types_of_json_columns(unify, texts, expected):
    infos = unify(".jsonl", *texts)
    assert {info.schema for info in infos} == {pa.schema(expected)}


def test_json_files_may_lack_columns(unify):
    infos = unify(".jsonl", '{"x":1}', '{"y":"a"}', '{"y":null,"x":2}')
    assert rows(infos) == [(1, None), (None, "a"), (2, None)]


def test_other_files_must_have_equal_columns(tmp_path):
    for number, table in enumerate([{"x": [1], "y": [1]}, {"x": [1], "y": [0.5], "z": [1]}]):
        pq.write_table(pa.table(table), tmp_path / f"{number}.parquet")
    inspect = inspector("parquet", CsvDialect())
    first, second = (inspect(str(tmp_path / f"{number}.parquet")) for number in range(2))
    assert with_one_schema([first, first]) == [first, first]
    with pytest.raises(SchemaMismatchError) as error:
        with_one_schema([first, second])
    assert str(error.value) == (
        "the input files differ in their columns:\n"
        f"  y: int64 in {first.path}, double in {second.path}\n"
        f"  z: missing in {first.path}, int64 in {second.path}\n"
        "Score them in separate runs, or rewrite them with one schema."
    )


def test_another_order_of_parquet_columns_is_told(tmp_path):
    for number, table in enumerate([{"x": [1], "y": [1]}, {"y": [1], "x": [1]}]):
        pq.write_table(pa.table(table), tmp_path / f"{number}.parquet")
    inspect = inspector("parquet", CsvDialect())
    with pytest.raises(SchemaMismatchError, match="the order or the nullability of the columns"):
        with_one_schema([inspect(str(tmp_path / f"{number}.parquet")) for number in range(2)])
