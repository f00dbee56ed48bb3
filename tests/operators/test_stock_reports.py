"""Both reports of a store's stock are waited for in one task."""

from __future__ import annotations

from datetime import timedelta

import pytest
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred

from fba_operators.errors import DecisionNeededError
from fba_operators.operators import RequestReportOperator, WaitForStockReportsOperator
from tests.helpers import calls_of, context, run, wait_inline
from tests.stores import AFN, LISTINGS


@pytest.fixture
def ids(amazon, warehouse):
    """Both reports, asked for."""
    return {
        name: run(RequestReportOperator(task_id="request", report_type=report_type))
        for name, report_type in (("listings_report_id", LISTINGS), ("afn_report_id", AFN))
    }


def test_one_wait_is_enough_for_both(ids, amazon):
    operator, ctx = WaitForStockReportsOperator(task_id="wait", **ids), context()
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(ctx)
    amazon.world.set_clock(advance=60)  # both are finished
    event = wait_inline(deferred.value.trigger)
    assert operator.execute_complete(ctx, event=event) == ids
    assert calls_of(amazon, "getReport") == 2


def test_the_slower_one_is_waited_for_as_well(ids, amazon, sql):
    amazon.world.set_clock(advance=60)  # both are finished
    sql("UPDATE fba.report SET status = 'DONE', document_id = 'd' WHERE report_id = %s", ids["listings_report_id"])
    assert run(WaitForStockReportsOperator(task_id="wait", **ids)) == ids


def test_a_report_that_takes_too_long_is_left_to_the_next_run(ids, amazon):
    amazon.world.set_clock(processing_seconds=1000)
    with pytest.raises(AirflowSkipException):
        run(WaitForStockReportsOperator(task_id="wait", patience=timedelta(0), **ids))


def test_a_report_that_amazon_could_not_make_fails_the_task(ids, amazon, sql):
    sql("UPDATE fba.report SET status = 'FATAL' WHERE report_id = %s", ids["afn_report_id"])
    sql("UPDATE fba.report SET status = 'DONE' WHERE report_id = %s", ids["listings_report_id"])
    with pytest.raises(DecisionNeededError, match="FATAL"):
        run(WaitForStockReportsOperator(task_id="wait", **ids))


def test_what_was_asked_for_again_is_not_asked_for_a_third_time(ids, amazon, sql):
    """The task begins anew after each wait: of a report that was CANCELLED twice it must remember that."""
    again = (
        "INSERT INTO fba.report (request_id, store, report_id, report_type, marketplace_id, options, status, requested_at)"
        " SELECT gen_random_uuid(), store, '99', report_type, marketplace_id, options, 'CANCELLED', requested_at"
        " FROM fba.report WHERE report_id = %s"
    )
    sql(again, ids["listings_report_id"])
    first = "UPDATE fba.report SET status = 'CANCELLED', requested_at = requested_at - interval '1 minute' WHERE report_id = %s"
    sql(first, ids["listings_report_id"])
    created = calls_of(amazon, "createReport")
    assert run(WaitForStockReportsOperator(task_id="wait", **ids)) == {**ids, "listings_report_id": "99"}
    assert calls_of(amazon, "createReport") == created
