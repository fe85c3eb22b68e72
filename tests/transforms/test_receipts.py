import apache_beam as beam
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given
from hypothesis import strategies as st
from in_process import in_process

from scoreline.transforms import Receipt
from scoreline.transforms.receipts import GatherReceipts, add_up

FINE = [
    Receipt("read", 0, 10),
    Receipt("predicted", 0, 7, "p0"),
    Receipt("dead_lettered", 0, 3, "d0", (("conform/null_value", 2, "f#1: no"), ("x/y", 1, "m"))),
    Receipt("read", 1, 5),
    Receipt("predicted", 1, 5, "p1"),
]
WHY = "(was its file written to meanwhile?)"


def test_a_run_in_which_every_row_is_accounted_for():
    account = add_up(FINE, {0: 10, 1: 5})
    assert account.unbalanced == []
    assert dict(account.rows) == {"read": 15, "predicted": 12, "dead_lettered": 3}
    assert dict(account.codes) == {"conform/null_value": 2, "x/y": 1}
    assert account.examples == {"conform/null_value": "f#1: no", "x/y": "m"}
    assert account.dead_letter_ratio == 0.2


def test_without_a_row_nothing_is_wrong():
    account = add_up([Receipt("read", 0, 0)], {0: 0})
    assert account.unbalanced == []
    assert account.dead_letter_ratio == 0.0
    assert add_up([]).unbalanced == []


def test_the_first_example_of_a_code_is_that_of_the_first_split():
    codes = [Receipt("dead_lettered", n, 1, f"d{n}", (("a/b", 1, f"from {n}"),)) for n in (2, 1)]
    assert add_up(codes).examples == {"a/b": "from 1"}


def test_rows_that_are_gone_are_found_by_split():
    assert add_up([FINE[0], FINE[1]]).unbalanced == [
        "split 0: 10 rows read, but 7 predicted and 0 dead-lettered"
    ]
    assert add_up(FINE[:3], {0: 10, 1: 5}).unbalanced == [
        f"split 1: 5 rows planned, but 0 read {WHY}"
    ]
    assert add_up(FINE, {0: 11, 1: 5}).unbalanced == [
        f"split 0: 11 rows planned, but 10 read {WHY}"
    ]


def test_rows_that_are_gone_from_the_input_as_a_whole_are_found():
    assert add_up(FINE, planned_rows=15).unbalanced == []
    for planned in (14, 16):
        said = f"the input: {planned} rows planned, but 15 read"
        assert add_up(FINE, planned_rows=planned).unbalanced == [said]
    assert add_up([], planned_rows=1).unbalanced == ["the input: 1 rows planned, but 0 read"]


def test_one_split_cannot_hide_what_another_lost():
    moved = [Receipt("read", 0, 5), Receipt("read", 1, 5), Receipt("predicted", 0, 10, "p")]
    assert len(add_up(moved).unbalanced) == 2


def test_rows_of_a_split_that_was_never_planned_are_found():
    assert add_up([Receipt("predicted", 3, 2, "p")]).unbalanced == [
        "split 3: 0 rows read, but 2 predicted and 0 dead-lettered"
    ]


@given(st.permutations(FINE), st.integers(0, len(FINE) - 1))
def test_order_does_not_matter_but_every_receipt_does(receipts, lost):
    assert add_up(receipts, {0: 10, 1: 5}).unbalanced == []
    left = receipts[:lost] + receipts[lost + 1 :]
    assert add_up(left, {0: 10, 1: 5}).unbalanced != []
    assert add_up([*receipts, receipts[lost]], {0: 10, 1: 5}).unbalanced != []


def _as_set(receipts: list[Receipt]) -> frozenset:
    return frozenset(receipts)


def test_all_receipts_are_gathered_in_one_list():
    with in_process() as pipeline:
        gathered = pipeline | beam.Create(FINE) | GatherReceipts() | beam.Map(_as_set)
        assert_that(gathered, equal_to([frozenset(FINE)]))


def test_every_output_must_have_all_predictions():
    second = [Receipt("predicted", 0, 7, "q0", sink=1), Receipt("predicted", 1, 5, "q1", sink=1)]
    account = add_up(FINE + second, {0: 10, 1: 5}, num_sinks=2)
    assert account.unbalanced == []
    assert account.rows["predicted"] == 12
    assert add_up(FINE + second[:1], num_sinks=2).unbalanced == [
        "split 1: 5 rows predicted, but 0 in output 2"
    ]
    assert add_up(FINE + second, num_sinks=3).unbalanced == [
        "split 0: 7 rows predicted, but 0 in output 3",
        "split 1: 5 rows predicted, but 0 in output 3",
    ]
    twice = [*FINE, *second, second[0]]
    assert add_up(twice, num_sinks=2).unbalanced == [
        "split 0: 7 rows predicted, but 14 in output 2"
    ]


REFUSED = (("write/too_large", 2, "f#1: too large"),)


def test_a_row_that_the_first_output_refuses_is_a_dead_letter():
    receipts = [
        Receipt("read", 0, 10),
        Receipt("predicted", 0, 7, "s"),
        Receipt("dead_lettered", 0, 1, "d", (("conform/null_value", 1, "f#0: null"),)),
        Receipt("dead_lettered", 0, 2, "w", REFUSED),
        Receipt("predicted", 0, 9, "q", sink=1),  # the other one has taken all that was scored
    ]
    account = add_up(receipts, num_sinks=2)
    assert account.unbalanced == []
    assert account.rows["dead_lettered"] == 3
    assert account.dead_letter_ratio == 0.3


def test_rows_that_another_output_refuses_count_where_it_lacks_most():
    receipts = [
        Receipt("read", 0, 10),
        Receipt("predicted", 0, 9, "p"),
        Receipt("dead_lettered", 0, 1, "d", (("conform/null_value", 1, "f#0: null"),)),
        Receipt("predicted", 0, 7, "s", sink=1),
        Receipt("dead_lettered", 0, 2, "w", REFUSED, sink=1),
    ]
    account = add_up(receipts, num_sinks=2)
    assert account.unbalanced == []
    assert (account.rows["predicted"], account.rows["dead_lettered"]) == (9, 1)
    assert account.codes == {"conform/null_value": 1, "write/too_large": 2}
    assert account.dead_letter_ratio == 0.3
    assert add_up(receipts[:-1], num_sinks=2).unbalanced == [
        "split 0: 9 rows predicted, but 7 in output 2"
    ]
    assert add_up([*receipts, receipts[-1]], num_sinks=2).unbalanced == [
        "split 0: 9 rows predicted, but 7 in output 2 and 4 refused by it"
    ]
