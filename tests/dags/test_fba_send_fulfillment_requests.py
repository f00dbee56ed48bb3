"""The send DAG as Airflow runs it: params, skips, retries, and no personal data in logs, XComs and events."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from tests.hostile import SECRET_PARTS, hostile_body
from tests.sending import GOOD, PERSONAL, Merchant

pytestmark = pytest.mark.usefixtures("airflow_database")
DAG_ID = "fba_send_fulfillment_requests"


@pytest.fixture
def dag(dag):
    """The DAG, with tasks that retry at once."""
    for task in dag.tasks:
        task.retry_delay = timedelta(0)
    return dag


@pytest.fixture
def shop(warehouse_url, amazon, immediate_retries, monkeypatch):
    with Merchant(warehouse_url, amazon, monkeypatch) as merchant:
        yield merchant


def states(run):
    return {task.task_id: str(task.state) for task in run.get_task_instances()}


def outputs(kept_by_airflow, capfd, caplog):
    """What a run leaves outside of the warehouse: logs, and Airflow's own database."""
    return "".join(capfd.readouterr()) + caplog.text + kept_by_airflow()


def test_one_run_sends_every_request_and_leaks_nothing(shop, dag, kept_by_airflow, capfd, caplog):
    caplog.set_level("DEBUG")
    shop.stock("NOT-AT-AMAZON", 5)
    shop.add("FR-1")
    shop.add("FR-2", [("NOT-AT-AMAZON", 1)])
    shop.add("FR-3", ship_to_postal_code=None)
    run = dag.test()
    assert run.state == "success"
    assert shop.statuses() == {"FR-1": "accepted", "FR-2": "rejected", "FR-3": "invalid"}
    outcome, rows_in, rejected, changed, calls = shop.sql(
        "SELECT outcome, rows_in, rows_rejected, rows_changed, calls FROM fba.run"
    )[0]
    assert (outcome, rows_in, rejected, changed) == ("success", 3, 2, 3)
    assert calls["createFeed"] == 1
    assert calls["token"] == 1

    output = outputs(kept_by_airflow, capfd, caplog)
    assert "FR-1" in output
    for text in (*PERSONAL.values(), "X-Amz-Signature", "Atza|", "Atzr|"):
        assert text in {"US", "WA"} or text not in output


@pytest.mark.parametrize("operation", ["createFeedDocument", "createFeed", "getFeed"])
def test_an_error_that_repeats_everything_leaks_nothing(shop, dag, kept_by_airflow, capfd, caplog, operation):
    caplog.set_level("DEBUG")
    shop.add("FR-1")
    shop.amazon.world.add_fault(operation, "status", status=400, body=hostile_body(), times=None)
    dag.test()
    output = outputs(kept_by_airflow, capfd, caplog) + str(shop.sql("SELECT r::text FROM fba.run AS r"))
    assert "Invalid request" in output or operation == "getFeed"  # which is looked up otherwise
    assert [part for part in SECRET_PARTS if part in output and part != "\x1b["] == []
    for text in PERSONAL.values():
        assert text in {"US", "WA"} or text not in output


def test_the_asset_event_has_the_counts(shop, dag, ask_airflow):
    shop.add("FR-1")
    run = dag.test()
    told = ask_airflow("assets/events", source_dag_id=dag.dag_id, source_run_id=run.run_id)
    assert {"store": "amazon_us", "accepted": 1} in [event["extra"] for event in told["asset_events"]]


def test_a_run_with_nothing_to_send_is_green_and_its_tasks_are_skipped(shop, dag):
    run = dag.test()
    assert run.state == "success"
    task_states = states(run)
    assert task_states["store.claim"] == "skipped"
    assert task_states["store.record"] == "skipped"
    assert task_states["summarise"] == "success"


def test_a_dry_run_does_not_call_amazon(shop, dag):
    shop.add("FR-1")
    assert dag.test(run_conf={"dry_run": True}).state == "success"
    assert shop.amazon.world.calls()["calls"] == {}
    assert shop.statuses() == {"FR-1": "pending"}
    assert "would be sent" in shop.summary()


def test_params_choose_what_is_sent(shop, dag, fulfillment):
    fulfillment("hold_hours: 5")
    shop.add("FR-1")
    shop.add("FR-2")
    assert dag.test(run_conf={"fulfillment_request_numbers": ["FR-2"]}).state == "success"
    assert shop.statuses() == {"FR-1": "pending", "FR-2": "pending"}
    dag.test(run_conf={"fulfillment_request_numbers": ["FR-2"], "ignore_hold": True})
    assert shop.statuses() == {"FR-1": "pending", "FR-2": "accepted"}


def test_requests_of_a_store_that_is_not_in_stores_yaml_are_reported(shop, dag):
    shop.add("FR-1", store="amazon_uss")
    shop.add("FR-2", store="amazon_uss", status="rejected")
    shop.add("FR-3")
    assert dag.test().state == "success"
    assert shop.statuses() == {"FR-1": "pending", "FR-2": "rejected", "FR-3": "accepted"}
    assert "stores.yaml has no store of this id" in shop.get("FR-1").waiting_reason
    rows = "SELECT store, outcome, attention FROM fba.run ORDER BY store"
    assert shop.sql(rows) == [("(none)", "skipped", {"of_no_store": 1}), ("amazon_us", "success", {})]
    shop.sql("SET fba.writer = 'product'")
    shop.sql("UPDATE fba.fulfillment_request SET status = 'invalid' WHERE fr_number = 'FR-1'")
    dag.test()
    assert shop.sql("SELECT count(*) FROM fba.run WHERE store = '(none)'") == [(1,)]


def test_a_refused_feed_is_red_and_says_why(shop, dag):
    body = {"errors": [{"code": "InvalidInput", "message": "Invalid Request Parameters", "details": ""}]}
    shop.amazon.world.add_fault("createFeed", "status", status=400, body=body)
    shop.add("FR-1")
    assert dag.test().state == "failed"
    assert "Invalid Request Parameters" in shop.summary()
    assert shop.statuses() == {"FR-1": "pending"}


def test_runs_with_a_bad_network_send_once(shop, dag):
    """The randomized test of tests/fulfillment/test_crashes.py, smaller, with Airflow's own retries."""
    dice = random.Random(3)
    faults = [
        ("createFeed", "reset_after"),
        ("createFeed", "reset_before"),
        ("createFeed", "fatal_some"),
        ("uploadDocument", "reset_after"),
        ("getFeedDocument", "503"),
        ("listAllFulfillmentOrders", "reset_before"),
        ("createFeedDocument", "503"),
    ]
    numbers = []
    for number in range(4):
        numbers.append(shop.add(f"FR-{number}", [(GOOD, dice.randint(1, 3))]))
        shop.amazon.world.add_fault(*dice.choice(faults), times=dice.choice([1, 2]))
        dag.test()
        assert all(times <= 1 for times in shop.orders_made().values())
        shop.pass_time(dice.choice([11, 31]))
    shop.amazon.world.clear_faults()
    for _ in range(6):
        if set(shop.statuses().values()) == {"accepted"}:
            break
        dag.test()
        shop.pass_time(31)
    assert shop.statuses() == dict.fromkeys(numbers, "accepted")
    assert shop.orders_made() == dict.fromkeys(numbers, 1)


def test_the_dag_has_its_documented_interface(dag):
    assert dag.dag_id == "fba_send_fulfillment_requests"
    assert dag.catchup is False
    assert dag.max_active_runs == 1
    assert (dag.timetable.expression, dag.timetable.interval) == ("*/20 * * * *", timedelta(minutes=20))
    assert dag.get_task("store.record").outlets[0].name == "fba_fulfillment_requests"
    assert set(dag.params) == {
        "stores",
        "fulfillment_request_numbers",
        "ignore_hold",
        "ignore_business_hours",
        "dry_run",
    }
    for name in dag.params:
        assert dag.params.get_param(name).description, name
