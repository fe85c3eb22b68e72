import pickle

import pytest

from scoreline.transforms.bigquery.names import TableName, is_temporary_of, temporary_table

ORDERS = TableName("p-1", "sales", "orders")


@pytest.mark.parametrize("text", ["p-1.sales.orders", "bq://p-1.sales.orders"])
def test_a_name_is_read_and_written(text):
    name = TableName.parse(text)
    assert name == ORDERS
    assert str(name) == "p-1.sales.orders"
    assert name.path == "projects/p-1/datasets/sales/tables/orders"
    assert name.uri == "bq://p-1.sales.orders"
    assert name.sql == "`p-1.sales.orders`"
    assert pickle.loads(pickle.dumps(name)) == name


def test_a_project_may_belong_to_a_domain():
    assert TableName.parse("example.com:p.sales.orders").project == "example.com:p"


def test_a_table_may_have_a_name_of_any_script():
    assert TableName.parse("p.sales.Aufträge 2024-01").table == "Aufträge 2024-01"


@pytest.mark.parametrize("text", ["orders", "sales.orders", ""])
def test_too_few_parts_are_refused(text):
    with pytest.raises(ValueError, match=r"expected a table as project\.dataset\.table, got"):
        TableName.parse(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("P.sales.orders", "'P' in P.sales.orders cannot name a project"),
        ("p.my-sales.orders", "'my-sales' .* cannot name a dataset .* letters, digits and under"),
        ("p..orders", "'' .* cannot name a dataset"),
        ("p.sales.", "'' .* cannot name a table"),
        ("p.sales.orders$20240131", "cannot name a table"),
        ("p.sales.orders_*", "cannot name a table"),
        ("p.sales.x` WHERE TRUE --", "cannot name a table"),
    ],
)
def test_what_is_no_name_is_refused(text, said):
    with pytest.raises(ValueError, match=said):
        TableName.parse(text)


def test_a_temporary_table_lies_beside_its_target():
    made = temporary_table(ORDERS, "20240131T120000Z-0a1b2c", 7)
    assert made == ORDERS.sibling("scoreline_tmp_20240131T120000Z_0a1b2c_7")


@pytest.mark.parametrize(
    "table",
    [
        "orders",
        "scoreline_tmp_",
        "scoreline_tmp_r_1",
        "scoreline_tmp_r_1_",
        "scoreline_tmp_r_1_x",
        "scoreline_tmp_r_10_0",
        "scoreline_tmp_r_1_0_0",
        "my_scoreline_tmp_r_1_0",
    ],
)
def test_other_tables_are_none_of_this_run(table):
    assert is_temporary_of(ORDERS.sibling("scoreline_tmp_r_1_0"), "r-1")
    assert not is_temporary_of(ORDERS.sibling(table), "r-1")


def test_no_table_is_of_a_run_without_a_name():
    assert not is_temporary_of(ORDERS.sibling("scoreline_tmp__0"), "")
