"""What this project does with a report, run by `benchmarks.beside` in a process of its own. One task a process.

The operators of `fba_get_inventory` without Airflow around them: ask, wait as the triggerer would, load, replace the parsed copy.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from datetime import UTC, datetime
from functools import partial
from typing import Any

CONTEXT: Any = {"run_id": "benchmark"}


def finished(wait: Any) -> str:
    """Let a WaitForReportOperator wait, be deferred and wake until it knows the report that is finished."""
    from airflow.sdk.exceptions import TaskDeferred

    async def event(trigger: Any) -> dict[str, Any]:
        return dict((await anext(trigger.run())).payload)

    step = partial(wait.act, CONTEXT)
    while True:
        try:
            return str(step())
        except TaskDeferred as deferred:
            step = partial(wait.work_after_wait, CONTEXT, asyncio.run(event(deferred.trigger)))


def read_report(task: dict[str, Any]) -> float:
    """From the request to the committed rows: raw copy, parsed copy, ledger, rejected lines; returns the seconds."""
    from fba_operators.amazon.hook import SellingPartnerHook
    from fba_operators.errors import UnavailableError
    from fba_operators.operators import RequestReportOperator, WaitForReportOperator
    from fba_operators.reports.ledger import ReportLedger
    from fba_operators.reports.load import copy_rows, load_report
    from fba_operators.reports.report_types import REPORT_TYPES
    from fba_operators.warehouse.database import Warehouse

    began, store, warehouse = time.perf_counter(), task["store"], Warehouse()  # after the imports, as in the others
    ask = RequestReportOperator(task_id="ask", conn_id=store, report_type=task["report_type"])
    try:
        report_id = ask.work(CONTEXT)
    except UnavailableError:
        report_id = ask.work(CONTEXT)  # Airflow's retry
    report_id = finished(WaitForReportOperator(task_id="wait", conn_id=store, report_id=report_id))
    hook, ledger = SellingPartnerHook(store), ReportLedger(warehouse, store)
    report = load_report(hook, ledger, report_id, REPORT_TYPES[task["report_type"]], max_rejected_share=1.0)
    with warehouse.connect() as db:
        copy_rows(db, store, report, task["table"])
    return time.perf_counter() - began


def main() -> None:
    """Do the task that is given as JSON; print what it took, or how it ended."""
    task = json.loads(sys.stdin.read())
    os.environ[f"AIRFLOW_CONN_{task['store'].upper()}"] = task["connection"]
    from fba_operators.errors import SellingPartnerError, ThrottledError

    try:
        told: dict[str, Any] = {"seconds": read_report(task)}
    except ThrottledError as wait:
        told = {"error": f"waits {(wait.until - datetime.now(UTC)).total_seconds() / 60:.0f} min, deferred"}
    except SellingPartnerError as error:
        told = {"error": f"fails: {type(error).__name__}"}
    told["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(told))


if __name__ == "__main__":
    main()
