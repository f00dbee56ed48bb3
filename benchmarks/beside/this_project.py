"""This project reads one report; run by :mod:`benchmarks.beside` in a separate process for each reading.

The operators of `fba_get_inventory` without Airflow around them: request, wait as the triggerer would, load, replace the
parsed copy.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from datetime import UTC, datetime
from functools import partial
from typing import Any

from benchmarks.common.processes import print_result

CONTEXT: Any = {"run_id": "benchmark"}  # all that the operators read of Airflow's context


def finished_report(operator: Any) -> str:
    """Run a WaitForReportOperator, and its trigger whenever it defers; returns the id of the finished report."""
    from airflow.sdk.exceptions import TaskDeferred

    async def first_event(trigger: Any) -> dict[str, Any]:
        return dict((await anext(trigger.run())).payload)

    step = partial(operator.work, CONTEXT)
    while True:
        try:
            return str(step())
        except TaskDeferred as deferred:
            event = asyncio.run(first_event(deferred.trigger))
            step = partial(operator.work_after_wait, CONTEXT, event)


def read_report(task: dict[str, Any]) -> float:
    """From the request to the committed rows: raw copy, parsed copy, ledger, rejected lines; returns the seconds."""
    from fba_operators.amazon.hook import SellingPartnerHook
    from fba_operators.errors import UnavailableError
    from fba_operators.operators import RequestReportOperator, WaitForReportOperator
    from fba_operators.reports.ledger import ReportLedger
    from fba_operators.reports.load import copy_rows, load_report
    from fba_operators.reports.report_types import REPORT_TYPES
    from fba_operators.warehouse.database import Warehouse

    began, store, warehouse = (
        time.perf_counter(),
        task["store"],
        Warehouse(),
    )  # after the imports, as for the other tools
    request = RequestReportOperator(task_id="request", conn_id=store, report_type=task["report_type"])
    try:
        report_id = request.work(CONTEXT)
    except UnavailableError:
        report_id = request.work(CONTEXT)  # as Airflow retries the task
    report_id = finished_report(WaitForReportOperator(task_id="wait", conn_id=store, report_id=report_id))
    hook, ledger = SellingPartnerHook(store), ReportLedger(warehouse, store)
    report = load_report(hook, ledger, report_id, REPORT_TYPES[task["report_type"]], max_rejected_share=1.0)
    with warehouse.connect() as db:
        copy_rows(db, store, report, task["table"])
    return time.perf_counter() - began


def main() -> None:
    """Do the task that is given as JSON; print the measurement, or how it failed."""
    task = json.loads(sys.stdin.read())
    os.environ[f"AIRFLOW_CONN_{task['store'].upper()}"] = task["connection"]
    from fba_operators.errors import SellingPartnerError, ThrottledError

    try:
        result: dict[str, Any] = {"seconds": read_report(task)}
    except ThrottledError as wait:
        result = {"error": f"waits {(wait.until - datetime.now(UTC)).total_seconds() / 60:.0f} min, deferred"}
    except SellingPartnerError as error:
        result = {"error": f"fails: {type(error).__name__}"}
    print_result(result)


if __name__ == "__main__":
    main()
