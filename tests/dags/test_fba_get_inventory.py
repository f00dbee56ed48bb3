"""The DAG as Airflow runs it: from the schedule's parameters to a red or green run."""

from __future__ import annotations

import importlib
import re
from copy import deepcopy
from datetime import timedelta
from importlib import import_module
from math import ceil

import pytest

from sandbox.world.world import DEFAULT_MERCHANT
from tests.stores import OTHER_SELLER, SELLER, US

pytestmark = pytest.mark.usefixtures("airflow_database")
DAG_ID = "fba_get_inventory"


def quantities(sql, store):
    return dict(sql("SELECT sku, quantity FROM fba.global_inventory_pool WHERE store = %s", store).fetchall())


def truth(amazon, seller, **flags):
    flags = {"include_fbm_quantity": False, "fetch_missing_inventory": False, **flags}
    return {sku: stock["quantity"] for sku, stock in amazon.world.truth(seller, US, **flags).items()}


def test_one_run_fills_the_pool_and_leaks_nothing(amazon, dag, warehouse_url, sql, kept_by_airflow, capfd, caplog):
    caplog.set_level("DEBUG")
    run = dag.test(run_conf={"include_fbm_quantity": True, "fetch_missing_inventory": True})
    assert run.state == "success"
    assert quantities(sql, "amazon_us") == truth(
        amazon, SELLER, include_fbm_quantity=True, fetch_missing_inventory=True
    )
    calls, outcome = sql("SELECT calls, outcome FROM fba.run").fetchone()
    assert outcome == "success"
    assert calls["token"] == 1
    at_amazon = amazon.world.calls()["calls"]
    assert {name: calls.get(name) for name in at_amazon if name != "downloadDocument"} == {
        name: n for name, n in at_amazon.items() if name != "downloadDocument"
    }

    output = "".join(capfd.readouterr()) + caplog.text + kept_by_airflow()
    assert "fba_get_inventory" in output
    for secret in (DEFAULT_MERCHANT.client_secret, DEFAULT_MERCHANT.refresh_token, "Atza|", "Atzr|", "X-Amz-Signature"):
        assert secret not in output
    requests = [task for task in run.get_task_instances() if task.task_id.startswith("store.request_")]
    ids = [task.xcom_pull(task_ids=task.task_id, map_indexes=task.map_index) for task in requests]
    assert len(ids) >= 2
    assert all(re.fullmatch(r'"?\d+"?', str(value)) for value in ids)


def test_two_stores_one_failing_the_other_complete_and_the_run_red(amazon, dag, warehouse_url, sql, two_stores):
    amazon.world.add_fault("createReport", "fatal", seller_id=OTHER_SELLER)
    run = dag.test(run_conf={"stores": ["amazon_us", "amazon_other"]})
    assert run.state == "failed"
    assert quantities(sql, "amazon_us") == truth(amazon, SELLER)
    assert quantities(sql, "amazon_other") == {}
    outcomes = dict(sql("SELECT store, outcome FROM fba.run").fetchall())
    assert outcomes == {"amazon_us": "success", "amazon_other": "failed"}
    ((summary,),) = sql("SELECT summary FROM fba.run WHERE store = 'amazon_other'").fetchall()
    assert "FATAL" in summary


def test_notifications_are_sent_once_and_a_failed_store_is_not_summarised_again(
    amazon, dag, warehouse_url, two_stores, stores_file, caplog, capfd
):
    stores_file("stores: {amazon_us: {}, amazon_other: {}}\nnotifications: [{connection: no_such_chat}]")
    amazon.world.add_fault("createReport", "fatal", seller_id=OTHER_SELLER)
    assert dag.test(run_conf={"stores": ["amazon_us", "amazon_other"]}).state == "failed"
    logged = caplog.text + "".join(capfd.readouterr())
    assert "1 of 2 stores failed" in logged
    assert len(re.findall("connection no_such_chat was not delivered", caplog.text)) == 1


def test_a_slow_report_is_left_to_the_next_run_which_requests_no_other(amazon, warehouse_url, sql, monkeypatch):
    import dags.fba_get_inventory as module

    monkeypatch.setattr(module, "WAIT_IN_THIS_RUN", timedelta(seconds=1))
    amazon.world.set_clock(processing_seconds=1000)
    run = module.fba_get_inventory().test()
    assert run.state == "success"
    outcome, summary = sql("SELECT outcome, summary FROM fba.run").fetchone()
    assert outcome == "skipped"
    assert "still making report" in summary
    assert quantities(sql, "amazon_us") == {}
    amazon.world.advance(1000)
    assert module.fba_get_inventory().test().state == "success"
    assert quantities(sql, "amazon_us") == truth(amazon, SELLER)
    assert set(amazon.world.calls()["reports_created"].values()) == {1}


def test_a_store_that_is_not_in_stores_yaml_is_refused(amazon, dag, warehouse_url):
    run = dag.test(run_conf={"stores": ["amazon_mars"]})
    assert run.state == "failed"
    assert amazon.world.calls()["calls"] == {}


def test_a_backfill_run_is_skipped(amazon, dag, warehouse_url):
    from types import SimpleNamespace

    from airflow.sdk.exceptions import AirflowSkipException

    from fba_operators.operators import PrepareRunOperator
    from tests.helpers import context

    ctx = context()
    ctx["dag_run"] = SimpleNamespace(run_type="backfill")
    with pytest.raises(AirflowSkipException, match="knows only the present"):
        PrepareRunOperator(task_id="prepare").execute(ctx)
    assert ctx["ti"].pushed == {"return_value": []}


def test_a_replay_does_not_call_amazon(amazon, dag, warehouse_url, sql):
    assert dag.test().state == "success"
    ids = [report_id for (report_id,) in sql("SELECT report_id FROM fba.report ORDER BY report_type DESC").fetchall()]
    before = quantities(sql, "amazon_us")
    sql("UPDATE fba.global_inventory_pool SET quantity = 0, fba_quantity = 0")
    calls = amazon.world.calls()["calls"]
    assert dag.test(run_conf={"replay_report_ids": ids}).state == "success"
    assert quantities(sql, "amazon_us") == before
    assert amazon.world.calls()["calls"] == calls


def test_a_replay_needs_the_ids_of_both_reports(dag):
    given = deepcopy(dag.params.get_param("replay_report_ids"))  # resolve() stores the value in it
    for ids in ([], ["1", "2"]):
        assert given.resolve(value=ids, suppress_exception=True) == ids
    for ids in (["1"], ["1", "2", "3"]):
        assert given.resolve(value=ids, suppress_exception=True) is None


@pytest.mark.parametrize("afn_report", ["not stored", "FATAL", "IN_QUEUE"])
def test_a_replay_without_a_usable_stored_report_fails_without_a_call(amazon, dag, warehouse_url, sql, afn_report):
    assert dag.test().state == "success"
    ids = [report_id for (report_id,) in sql("SELECT report_id FROM fba.report ORDER BY report_type DESC").fetchall()]
    if afn_report == "not stored":
        sql("DELETE FROM fba.report_document WHERE report_id = %s", ids[1])
    else:
        sql("UPDATE fba.report SET status = %s WHERE report_id = %s", afn_report, ids[1])
    calls = amazon.world.calls()["calls"]
    assert dag.test(run_conf={"replay_report_ids": ids}).state == "failed"
    assert amazon.world.calls()["calls"] == calls
    ((summary,),) = sql("SELECT summary FROM fba.run WHERE outcome = 'failed'").fetchall()
    assert f"report {ids[1]}" in summary


def test_a_replay_treats_a_cancelled_report_as_empty(amazon, dag, warehouse_url, sql):
    assert dag.test().state == "success"
    ids = [report_id for (report_id,) in sql("SELECT report_id FROM fba.report ORDER BY report_type DESC").fetchall()]
    sql("UPDATE fba.report SET status = 'CANCELLED' WHERE report_id = %s", ids[1])
    before, calls = quantities(sql, "amazon_us"), amazon.world.calls()["calls"]
    assert dag.test(run_conf={"replay_report_ids": ids}).state == "failed"
    assert "the AFN report" in sql("SELECT summary FROM fba.run WHERE outcome = 'failed'").fetchone()[0]
    assert quantities(sql, "amazon_us") == before
    assert dag.test(run_conf={"replay_report_ids": ids, "accept_zeroed_stock": True}).state == "success"
    assert set(sql("SELECT DISTINCT quantity_source FROM fba.global_inventory_pool").fetchall()) == {
        ("listings_report",),
        ("default_zero",),
    }
    assert amazon.world.calls()["calls"] == calls


def test_the_dag_has_its_documented_interface(dag):
    assert dag.dag_id == "fba_get_inventory"
    assert dag.catchup is False
    assert dag.max_active_runs == 1
    assert set(dag.params) == {
        "stores",
        "include_fbm_quantity",
        "fetch_missing_inventory",
        "accept_zeroed_stock",
        "replay_report_ids",
    }
    for name in dag.params:
        assert dag.params.get_param(name).description, name


def test_the_breakdown_is_read_in_the_fewest_calls_also_when_the_pool_is_refused(
    amazon, warehouse_url, sql, stores_file
):
    from fba_operators.reports.report_types import AFN_INVENTORY

    stores_file("stores: {amazon_us: {inventory: {breakdown: true, confirm_vanished: false}}}")
    amazon.world.set_clock(speed=4)  # so that the quota is hardly waited for, and no token of a page is too old
    known = [item for item in amazon.world.merchants[SELLER].catalogue(US).items.values() if item.api_stock is not None]
    amazon.world.shape_report(SELLER, US, AFN_INVENTORY.name, "zero")
    sql(
        "INSERT INTO fba.global_inventory_pool (store, sku, fba_quantity, fbm_quantity, quantity, quantity_source)"
        " SELECT 'amazon_us', 'OLD-' || n, 9, 0, 9, 'afn_report' FROM generate_series(1, 9) AS n"
    )
    module = importlib.reload(import_module("dags.fba_get_inventory"))
    run = module.fba_get_inventory().test()
    assert run.state == "failed"
    assert quantities(sql, "amazon_us") == {f"OLD-{n}": 9 for n in range(1, 10)}
    assert sql("SELECT count(*) FROM fba.stock_breakdown").fetchone() == (len(known),)
    outcome, failure, calls, summary = sql("SELECT outcome, failure, calls, summary FROM fba.run").fetchone()
    assert (outcome, calls["getInventorySummaries"]) == ("failed", ceil(len(known) / 50))
    assert failure.startswith("store.merge: ")
    assert f"Breakdown read of {len(known)} SKUs in all." in summary
    stores_file("stores: {amazon_us: }")
    assert not [task for task in importlib.reload(module).fba_get_inventory().task_ids if "breakdown" in task]
