"""Many stores in one run of each DAG, on a real scheduler: seconds, calls to Amazon beside the least possible, results checked.

Each store is a seller of its own with 60 listings and ten fulfillment requests, on one sandbox. Reports and feeds are done when
first asked about. For one of them Amazon takes
ten seconds to answer each call about reports and feeds; the others must not wait for it. LocalExecutor runs four tasks at a
time, as `make run` does.

    python -m benchmarks.stores [stores]
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from datetime import datetime

import psycopg

from benchmarks.cost import DAGS, beside_least
from benchmarks.stage import MARKETPLACES, Scheduled, scheduled
from devstack.airflow import PROJECT
from devstack.waiting import StackError

SLOW = (
    "createReport",
    "getReport",
    "getReportDocument",
    "createFeedDocument",
    "createFeed",
    "getFeed",
    "getFeedDocument",
)
SLOW_SECONDS = 10.0
REQUESTS = 10  # of each store


def main(stores: int) -> None:
    """Run, check and print one Markdown table."""
    with scheduled(stores, processing_seconds=0) as on:
        slow = on.stores[0]
        for operation in SLOW:
            on.amazon.world.add_fault(
                operation, "delay", times=None, seconds=SLOW_SECONDS, seller_id=on.seller_of(slow)
            )
        print(
            f"| DAG | {stores} stores: tasks | parse s | run s | s a store | slow store done, s after the others | calls | least | beyond the least |"
        )
        print("|---|---:|---:|---:|---:|---:|---:|---:|---|", flush=True)
        for dag_id in DAGS:
            if dag_id == "fba_send_fulfillment_requests":
                on.add_requests(REQUESTS)
            elif dag_id == "fba_get_shipments":
                on.ship()
            parse = _parse_seconds(on, dag_id)
            on.amazon.world.clear_calls()
            seconds = on.airflow.run(dag_id)
            calls = Counter(on.amazon.world.calls()["calls"])
            _check(on, dag_id)
            tasks = on.airflow.call("GET", f"/dags/{dag_id}/dagRuns/~/taskInstances", params={"limit": 1})[
                "total_entries"
            ]
            cells = f"{tasks} | {parse:.2f} | {seconds:.0f} | {seconds / stores:.2f} | {_ahead(on, dag_id, slow):.0f}"
            print(f"| `{dag_id}` | {cells} | {' | '.join(map(str, beside_least(dag_id, calls, stores)))} |", flush=True)


def _parse_seconds(on: Scheduled, dag_id: str) -> float:
    """Seconds the DAG file itself takes, Airflow and the operators being imported already, as in a DAG processor."""
    code = (
        f"import sys, time, runpy, airflow.sdk; sys.path.insert(0, {str(PROJECT)!r}); runpy.run_path(sys.argv[1]);"
        " began = time.perf_counter(); runpy.run_path(sys.argv[1]); print(time.perf_counter() - began)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, str(PROJECT / "dags" / f"{dag_id}.py")],
        env={**os.environ, **on.environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(told.stdout.split()[-1])


def _ahead(on: Scheduled, dag_id: str, slow: str) -> float:
    """Seconds between the end of the last of the other stores and that of the slow one."""
    # The summary of all stores, which comes last, is not what is meant: the last call to Amazon or the last change is.
    last = {
        "fba_get_inventory": "SELECT store, applied_at FROM fba.report WHERE report_type = 'GET_AFN_INVENTORY_DATA'",
        "fba_send_fulfillment_requests": "SELECT store, settled_at FROM fba.feed",
        "fba_get_shipments": "SELECT store, applied_at FROM fba.report WHERE report_type LIKE '%SHIPMENTS%'",
    }[dag_id]
    with psycopg.connect(on.warehouse_url) as db:
        ended: dict[str, datetime] = dict(db.execute(last.encode()).fetchall())
    return float((ended.pop(slow) - max(ended.values())).total_seconds())


def _check(on: Scheduled, dag_id: str) -> None:
    """Raise unless the run did for every store what it had to do."""
    world = on.amazon.world
    with psycopg.connect(on.warehouse_url) as db:
        for store in on.stores:
            seller_id, wrong = on.seller_of(store), False
            if dag_id == "fba_get_inventory":
                query = "SELECT sku, quantity FROM fba.global_inventory_pool WHERE store = %s"
                truth = world.truth(seller_id, MARKETPLACES[0], False, False)
                wrong = dict(db.execute(query, (store,)).fetchall()) != {
                    sku: told["quantity"] for sku, told in truth.items()
                }
            elif dag_id == "fba_send_fulfillment_requests":
                query = "SELECT fr_number FROM fba.fulfillment_request WHERE store = %s AND status = 'accepted'"
                accepted = {number for (number,) in db.execute(query, (store,))}
                orders = world.orders(seller_id)
                once = {number for number, order in orders.items() if order["times_received"] == 1}
                wrong = len(accepted) != REQUESTS or accepted != once or once != orders.keys()
            else:
                query = "SELECT fr_number, sum(quantity)::int FROM fba.shipment_item WHERE store = %s GROUP BY 1"
                told = world.shipment_truth(seller_id, MARKETPLACES[0])["orders"]
                shipped = {number: sum(each["quantity"] for each in skus.values()) for number, skus in told.items()}
                wrong = dict(db.execute(query, (store,)).fetchall()) != shipped
            if wrong:
                raise StackError(f"{store}: {dag_id} did not end in what is true at Amazon")


if __name__ == "__main__":
    began = time.monotonic()
    main(int(sys.argv[1]) if sys.argv[1:] else 50)
    print(f"{time.monotonic() - began:.0f} s in all.", file=sys.stderr)
