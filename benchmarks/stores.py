"""Many stores in one run of each DAG, on a real scheduler: seconds, calls compared with the minimum, results checked.

Each store belongs to its own seller, with 60 listings and ten fulfillment requests, on one sandbox. Reports and feeds
are done at the first poll. For one store Amazon takes ten seconds to answer each call about reports and feeds; the
others must not wait for it. LocalExecutor runs four tasks at a time, as in `make run`.

    python -m benchmarks.stores [stores]
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from datetime import datetime

import psycopg

from benchmarks.common.minimum_calls import compare_with_minimum
from benchmarks.common.processes import run_python
from benchmarks.common.stacks import DAGS, INVENTORY, SEND, SHIPMENTS, US, Stack, airflow_stack
from devstack.airflow import PROJECT
from devstack.waiting import StackError

SLOW_OPERATIONS = (
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
# Store and time of its last change of data; the summary of all stores, which follows, does not count.
END_OF_STORE = {
    INVENTORY: "SELECT store, applied_at FROM fba.report WHERE report_type = 'GET_AFN_INVENTORY_DATA'",
    SEND: "SELECT store, settled_at FROM fba.feed",
    SHIPMENTS: "SELECT store, applied_at FROM fba.report WHERE report_type LIKE '%SHIPMENTS%'",
}
COLUMNS = ("parse s", "run s", "s per store", "slow store ends, s after the others", "calls", "minimum", "difference")


def main(stores: int) -> None:
    """Run, check and print one Markdown table."""
    with airflow_stack(stores, processing_seconds=0) as (stack, airflow):
        slow = stack.stores[0]
        for operation in SLOW_OPERATIONS:
            stack.amazon.world.add_fault(
                operation, "delay", times=None, seconds=SLOW_SECONDS, seller_id=stack.sellers[slow]
            )
        print(f"| DAG | {stores} stores: tasks | {' | '.join(COLUMNS)} |")
        print(f"|---|---:|{'---:|' * (len(COLUMNS) - 1)}---|", flush=True)
        for dag_id in DAGS:
            stack.prepare_run(dag_id, REQUESTS)
            parse = parse_seconds(stack, dag_id)
            stack.amazon.world.clear_calls()
            seconds = airflow.run(dag_id)
            calls = Counter(stack.amazon.world.calls()["calls"])
            check(stack, dag_id)
            instances = airflow.call("GET", f"/dags/{dag_id}/dagRuns/~/taskInstances", params={"limit": 1})
            cells = (
                f"{instances['total_entries']}",
                f"{parse:.2f}",
                f"{seconds:.0f}",
                f"{seconds / stores:.2f}",
                f"{delay_of_slow_store(stack, dag_id, slow):.0f}",
                *map(str, compare_with_minimum(dag_id, calls, stores)),
            )
            print(f"| `{dag_id}` | {' | '.join(cells)} |", flush=True)


def parse_seconds(stack: Stack, dag_id: str) -> float:
    """Seconds to execute the DAG file when Airflow and the operators are imported already, as in a DAG processor."""
    code = (
        f"import sys, time, runpy, airflow.sdk; sys.path.insert(0, {str(PROJECT)!r}); runpy.run_path(sys.argv[1]);"
        " began = time.perf_counter(); runpy.run_path(sys.argv[1]); print(time.perf_counter() - began)"
    )
    file = str(PROJECT / "dags" / f"{dag_id}.py")
    return float(run_python("-c", code, file, environment=stack.environment).split()[-1])


def delay_of_slow_store(stack: Stack, dag_id: str, slow: str) -> float:
    """Seconds from the end of the last other store to the end of the slow one; negative if the slow one ends first."""
    with psycopg.connect(stack.warehouse_url) as db:
        ends: dict[str, datetime] = dict(db.execute(END_OF_STORE[dag_id].encode()).fetchall())
    slow_end = ends.pop(slow)
    return (slow_end - max(ends.values(), default=slow_end)).total_seconds()


def check(stack: Stack, dag_id: str) -> None:
    """Raise unless the warehouse has, for every store, what is true at the sandbox."""
    is_right = {INVENTORY: inventory_is_right, SEND: orders_are_right, SHIPMENTS: shipments_are_right}[dag_id]
    with psycopg.connect(stack.warehouse_url) as db:
        for store in stack.stores:
            if not is_right(stack, db, store):
                raise StackError(f"{store}: after {dag_id} the warehouse differs from what is true at Amazon")


def inventory_is_right(stack: Stack, db: psycopg.Connection, store: str) -> bool:
    """Whether the pool has every SKU of the store with its true quantity."""
    truth = stack.amazon.world.truth(stack.sellers[store], US, False, False)
    rows = db.execute("SELECT sku, quantity FROM fba.global_inventory_pool WHERE store = %s", (store,))
    return dict(rows.fetchall()) == {sku: stock["quantity"] for sku, stock in truth.items()}


def orders_are_right(stack: Stack, db: psycopg.Connection, store: str) -> bool:
    """Whether all requests of the store are accepted, and each is one order that Amazon received once."""
    query = "SELECT fr_number FROM fba.fulfillment_request WHERE store = %s AND status = 'accepted'"
    accepted = {number for (number,) in db.execute(query, (store,))}
    orders = stack.amazon.world.orders(stack.sellers[store])
    received_once = {number for number, order in orders.items() if order["times_received"] == 1}
    return len(accepted) == REQUESTS and accepted == received_once == orders.keys()


def shipments_are_right(stack: Stack, db: psycopg.Connection, store: str) -> bool:
    """Whether the units shipped for each request of the store are those that Amazon shipped."""
    query = "SELECT fr_number, sum(quantity)::int FROM fba.shipment_item WHERE store = %s GROUP BY 1"
    orders = stack.amazon.world.shipment_truth(stack.sellers[store], US)["orders"]
    shipped = {number: sum(item["quantity"] for item in items.values()) for number, items in orders.items()}
    return dict(db.execute(query, (store,)).fetchall()) == shipped


if __name__ == "__main__":
    began = time.monotonic()
    main(int(sys.argv[1]) if sys.argv[1:] else 50)
    print(f"{time.monotonic() - began:.0f} s in total.", file=sys.stderr)
