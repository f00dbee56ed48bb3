"""A store that has nothing to do costs no tasks when requests are sent."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fba_operators.operators import PrepareRequestsOperator
from tests.helpers import context
from tests.shipping import add_request
from tests.stores import STORE

DAG_ID = "fba_send_fulfillment_requests"


def prepared(**arguments):
    """The stores that get tasks, and all stores of the run."""
    ctx = context()
    ctx["dag"] = SimpleNamespace(params={}, dagrun_timeout=None)
    stores = PrepareRequestsOperator(task_id="prepare", **arguments).execute(ctx)
    return stores, ctx["ti"].pushed["stores"]


@pytest.fixture
def stores(stores_file):
    stores_file("stores: {amazon_us: {}, amazon_de: {}}")


def test_a_store_with_nothing_to_do_is_recorded_and_left_out(stores, warehouse, sql):
    add_request(sql, "FR-1", ("A", 1), status="accepted")
    assert prepared() == ([], [STORE, "amazon_de"])
    rows = sql("SELECT store, outcome, summary FROM fba.run ORDER BY store").fetchall()
    assert rows == [("amazon_de", "success", "No request is pending."), (STORE, "success", "No request is pending.")]


@pytest.mark.parametrize("status", ["pending", "sending", "submitted", "unknown"])
def test_a_request_that_is_not_settled_is_something_to_do(stores, warehouse, sql, status):
    sql("SET fba.writer = 'product'")
    add_request(sql, "FR-1", ("A", 1), status="pending")
    sql("SET fba.writer = 'product'")
    for step in ("sending", "submitted", "unknown"):
        if sql("SELECT status FROM fba.fulfillment_request").fetchone() != (status,):
            sql("UPDATE fba.fulfillment_request SET status = %s", step)
    assert prepared() == ([STORE], [STORE, "amazon_de"])
    assert sql("SELECT outcome FROM fba.run WHERE store = 'amazon_us'").fetchone() == (None,)


@pytest.mark.parametrize(
    ("age", "said", "work"),
    [
        ("1 hour", "not cancelled: too late", [STORE]),
        ("4 days", "not cancelled: too late", []),
        ("4 days", None, [STORE]),  # Amazon was not asked yet
    ],
)
def test_a_cancellation_is_something_to_do_for_three_days(stores, warehouse, sql, age, said, work):
    add_request(sql, "FR-1", ("A", 1), status="accepted")
    sql("SET fba.writer = 'product'")
    sql(
        f"UPDATE fba.fulfillment_request SET cancel_requested_at = now() - interval '{age}', resolved_at = now() - interval '5 days',"
        " status_reason = %s",
        said,
    )
    assert prepared()[0] == work


def test_a_feed_that_is_not_settled_is_something_to_do(stores, warehouse, sql):
    sql(
        "INSERT INTO fba.feed (store, document_id, claim_id, run_id, message_count) VALUES ('amazon_de', 'd', gen_random_uuid(), 'r', 1)"
    )
    assert prepared()[0] == ["amazon_de"]
    sql("SET fba.writer = 'product'")
    sql("UPDATE fba.feed SET settled_at = now()")
    assert prepared()[0] == []


def test_of_numbers_that_were_asked_for_every_store_says_what_became_of_them(stores, warehouse):
    assert prepared(fulfillment_request_numbers=["FR-1"])[0] == [STORE, "amazon_de"]


def test_a_run_without_work_ends_green_without_a_task_for_a_store(airflow_database, amazon, dag, warehouse_url, sql):
    run = dag.test()
    assert run.state == "success"
    assert sql("SELECT outcome FROM fba.run").fetchall() == [("success",)]
    assert [task.task_id for task in run.get_task_instances() if task.map_index >= 0] == []
    assert amazon.world.calls()["calls"] == {}
