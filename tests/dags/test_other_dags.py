"""Operators in a user's DAG: any dag_id, no PrepareRunOperator, no SummariseRunOperator."""

from __future__ import annotations

import pytest
from airflow.sdk import DAG

from fba_operators.operators import LoadShipmentsOperator, RequestReportOperator, WaitForReportOperator
from tests.helpers import register
from tests.stores import AFN

pytestmark = pytest.mark.usefixtures("airflow_database")


def test_two_operators_record_their_run(amazon, sql):
    with DAG("nightly_afn_copy", schedule=None) as dag:
        request = RequestReportOperator(task_id="request", report_type=AFN)
        WaitForReportOperator(task_id="wait", report_id=request.output)
    register(dag)
    assert dag.test().state == "success"
    ((dag_id, store, outcome, failure, finished, calls),) = sql(
        "SELECT dag_id, store, outcome, failure, finished_at IS NOT NULL, calls FROM fba.run"
    ).fetchall()
    assert (dag_id, store, outcome, failure, finished) == ("nightly_afn_copy", "amazon_us", "success", None, True)
    assert calls["createReport"] == 1
    assert calls["getReport"] >= 1


def test_a_failure_is_recorded_and_a_later_task_does_not_hide_it(amazon, sql):
    with DAG("hopeful", schedule=None) as dag:
        load = LoadShipmentsOperator(task_id="load", report_id="no-such-report")
        request = RequestReportOperator(task_id="request", report_type=AFN, trigger_rule="all_done")
        load >> request
    register(dag)
    dag.test()
    ((outcome, failure, summary, calls),) = sql("SELECT outcome, failure, summary, calls FROM fba.run").fetchall()
    assert outcome == "failed"
    assert failure.startswith("load: amazon_us: report no-such-report is not in the ledger")
    assert failure in summary
    assert calls["createReport"] == 1  # the second task did its work
