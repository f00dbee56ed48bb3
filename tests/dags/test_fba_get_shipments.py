"""The DAG as Airflow runs it: by hand, by schedule and by backfill, from params to a red or green run."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from tests.shipping import JAPANESE, PERSON, add_request, document, orders_at_amazon, progress, row
from tests.stores import OTHER_SELLER, SELLER, SHIPMENTS_REPORT, STORE, US

pytestmark = pytest.mark.usefixtures("airflow_database")
DAG_ID = "fba_get_shipments"


def states_of(run):
    return {(ti.task_id, ti.map_index): ti.state for ti in run.get_task_instances()}


def test_one_run_attaches_shipments_and_leaks_no_personal_data(
    amazon, dag, warehouse_url, sql, kept_by_airflow, capfd, caplog
):
    caplog.set_level("DEBUG")
    for number in ("FR-1", "FR-2"):
        add_request(sql, number, ("AFN-PLAIN", 3))
    amazon.world.plan_order(SELLER, "FR-1", parts=2, never=False, late=False)
    amazon.world.plan_order(SELLER, "FR-2", never=True)
    orders_at_amazon(amazon, ["FR-1", "FR-2"], "AFN-PLAIN", 3)
    amazon.world.ship_now(SELLER)
    now = datetime.now(UTC)
    amazon.world.seed_shipments(SELLER, US, 60, (now - timedelta(days=44)).isoformat(), now.isoformat())
    sql("UPDATE fba.fulfillment_request SET sent_at = now() - interval '2 days'")
    run = dag.test(run_conf={"lookback_days": 45})
    assert run.state == "success"
    assert {number: values[4] for (number, _), values in progress(sql).items()} == {"FR-1": "complete", "FR-2": "open"}
    assert states_of(run).keys() >= {("window.load", 0), ("window.load", 1), ("follow_up", 0), ("retention", -1)}
    outcome, summary, rows, changed, calls = sql(
        "SELECT outcome, summary, rows_in, rows_changed, calls FROM fba.run"
    ).fetchone()
    assert (outcome, rows) == ("success", changed)
    assert f"{rows} rows in 2 reports: {rows} new" in summary
    assert "1 accepted request overdue: FR-2" in summary
    at_amazon = amazon.world.calls()["calls"]
    assert {name: calls[name] for name in ("createReport", "getFulfillmentOrder")} == {
        "createReport": at_amazon["createReport"],
        "getFulfillmentOrder": 1,
    }
    output = "".join(capfd.readouterr()) + caplog.text + kept_by_airflow()
    assert "fba_get_shipments" in output
    for secret in ("1 Main St", "A Buyer", "Atza|", "Atzr|", "X-Amz-Signature"):
        assert secret not in output


def test_a_buyer_in_the_report_reaches_no_log_and_no_xcom(
    amazon, dag, warehouse_url, sql, kept_by_airflow, capfd, caplog
):
    caplog.set_level("DEBUG")
    amazon.world.override_document(
        SHIPMENTS_REPORT,
        document(row(), row(shipment_item_id="BAD", quantity_shipped="x"), columns=JAPANESE, charset="cp932"),
        content_type="text/plain; charset=windows-31j",
    )
    run = dag.test()
    assert run.state == "failed"
    assert "1 of 2 lines" in sql("SELECT summary FROM fba.run").fetchone()[0]
    assert sql("SELECT count(*) FROM fba.shipment_item").fetchone() == (1,)
    output = "".join(capfd.readouterr()) + caplog.text + kept_by_airflow()
    assert "could not be read" in output
    for secret in PERSON.values():
        assert secret not in output


def test_one_store_failing_leaves_the_other_complete_and_the_run_red(amazon, dag, warehouse_url, sql, two_stores):
    amazon.world.add_fault("createReport", "fatal", seller_id=OTHER_SELLER)
    amazon.world.override_document(SHIPMENTS_REPORT, document(row()), seller_id=SELLER)
    run = dag.test(run_conf={"stores": ["amazon_us", "amazon_other"]})
    assert run.state == "failed"
    results = {store: (outcome, text) for store, outcome, text in sql("SELECT store, outcome, summary FROM fba.run")}
    assert results["amazon_us"] == (
        "success",
        "1 row in 1 report: 1 new, 0 updated, 0 repeated.\n1 row with a SKU that is not in the pool.",
    )
    assert results["amazon_other"][0] == "failed"
    assert "1 of 1 window not loaded" in results["amazon_other"][1]
    assert re.search(r"FATAL.*[^.]\.\n0 rows in 0 reports", results["amazon_other"][1])


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"start": "2100-11-02", "end": "2100-11-01"}, "must be before end"),
        ({"start": "soon"}, "ISO 8601"),
        ({"start": "2020-01-01"}, "18 months"),
    ],
)
def test_invalid_params_fail_the_first_task_with_a_clear_message(amazon, dag, warehouse_url, sql, conf, message):
    run = dag.test(run_conf=conf)
    assert run.state == "failed"
    states = states_of(run)
    assert states["prepare", -1] == "failed"
    assert {state for (task, _), state in states.items() if task != "summarise"} <= {"failed", "upstream_failed"}
    assert message in sql("SELECT summary FROM fba.run WHERE outcome = 'failed'").fetchone()[0]
    assert amazon.world.calls()["calls"] == {}


def test_a_run_with_nothing_shipped_is_green(amazon, dag, warehouse_url, sql):
    assert dag.test().state == "success"
    assert sql("SELECT outcome, rows_in FROM fba.run").fetchone() == ("success", 0)
    assert sql("SELECT status, applied_at IS NOT NULL FROM fba.report").fetchone() == ("CANCELLED", False)


@pytest.mark.parametrize(("conf", "days"), [(None, 15), ({"lookback_days": 1}, 1)])
def test_airflows_own_backfill_makes_the_windows_of_its_dates(dag, airflow_sql, conf, days):
    """Sixty days, six runs a day: what each run of `airflow backfill create` asks for."""
    from airflow.models.backfill import ReprocessBehavior, _create_backfill
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    from fba_operators.operators import PlanWindowsOperator
    from tests.helpers import context, register

    last = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=3)
    first = last - timedelta(days=60)
    register(dag)
    backfill = _create_backfill(
        dag_id=dag.dag_id,
        from_date=first,
        to_date=last,
        max_active_runs=10,
        reverse=False,
        dag_run_conf=conf,
        triggering_user_name="test",
        reprocess_behavior=ReprocessBehavior.NONE,
    )
    try:
        with create_session() as session:
            runs = session.scalars(select(DagRun).where(DagRun.backfill_id == backfill.id)).all()
        assert len(runs) == 360
        ends = []
        for each in runs:
            assert each.run_type == "backfill"
            ctx = context()
            ctx["dag_run"] = each
            lookback_days = (each.conf or {}).get("lookback_days")
            plan = PlanWindowsOperator(task_id="windows", stores=[STORE], lookback_days=lookback_days)
            (window,) = plan.execute(ctx)
            start, end = (datetime.fromisoformat(window[key]) for key in ("start", "end"))
            assert end == each.data_interval_end
            assert end - start == timedelta(days=days)
            ends.append(end)
        assert min(ends) == first + timedelta(minutes=15)
        assert {late - early for early, late in zip(sorted(ends), sorted(ends)[1:], strict=False)} == {
            timedelta(hours=4)
        }
    finally:
        airflow_sql("DELETE FROM dag_run WHERE backfill_id = %s", backfill.id)
        airflow_sql("DELETE FROM backfill_dag_run WHERE backfill_id = %s", backfill.id)
        airflow_sql("DELETE FROM backfill WHERE id = %s", backfill.id)


def test_the_dag_has_its_documented_interface(dag):
    assert dag.dag_id == "fba_get_shipments"
    assert dag.catchup is False
    assert dag.max_active_runs == 1
    assert set(dag.params) == {"stores", "lookback_days", "start", "end"}
    for name in dag.params:
        assert dag.params.get_param(name).description, name
        assert dag.params.get_param(name).schema["title"], name
    assert [asset.name for asset in dag.get_task("window.load").outlets] == ["fba_shipments"]
