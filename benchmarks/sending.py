"""Calls to Amazon and seconds to send requests as one feed and order by order, at Amazon's rates.

The real DAG runs (`dag.test()`) against the sandbox, which keeps Amazon's quotas in real time.

    python -m benchmarks.sending [requests]
"""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter

import psycopg

from benchmarks.common.processes import run_python
from benchmarks.common.stacks import SEND, US, Stack, stack_of_this_process
from benchmarks.common.summary import tables
from benchmarks.cost import run_dag

REQUESTS = 1000
RATE, BURST = 2, 30  # of createFulfillmentOrder
SKU = "BENCH-SKU"
SETTINGS = {
    "feed": "transport: feed",
    "outbound": "transport: outbound",
    "outbound, with quotes": "transport: outbound, quote: true",
}


def insert_requests(stack: Stack, number: int) -> None:
    """Insert requests for one unit of a SKU of which there is enough."""
    (store, seller_id), *_ = stack.sellers.items()
    stack.amazon.world.put_item(seller_id, US, SKU, offers=[("AMAZON_NA", None)], afn=[("SELLABLE", 10 * number)])
    with psycopg.connect(stack.warehouse_url) as db:
        db.execute(
            "INSERT INTO fba.global_inventory_pool (store, sku, fba_quantity, fbm_quantity, quantity, quantity_source)"
            " VALUES (%s, %s, %s, 0, %s, 'afn_report')",
            (store, SKU, 10 * number, 10 * number),
        )
        db.execute(
            "INSERT INTO fba.fulfillment_request (store, fr_number, shipping_method, ship_to_name, ship_to_address_1,"
            " ship_to_city, ship_to_state, ship_to_postal_code, ship_to_country)"
            " SELECT %s, 'B-' || n, 'Standard', 'Jane Example', '1 Example Street', 'Seattle', 'WA', '98101', 'US'"
            " FROM generate_series(1, %s) AS n",
            (store, number),
        )
        db.execute(
            "INSERT INTO fba.fulfillment_request_item (store, fr_number, line, sku, quantity)"
            " SELECT store, fr_number, 1, %s, 1 FROM fba.fulfillment_request",
            (SKU,),
        )


def measure(kind: str, number: int) -> None:
    """Send requests in one way and print the row."""
    with stack_of_this_process(1) as stack:
        logging.disable(logging.WARNING)
        (stack.folder / "stores.yaml").write_text(
            f"stores: {{{stack.stores[0]}: {{fulfillment: {{{SETTINGS[kind]}}}}}}}\n"
        )
        from fba_operators.warehouse.database import Warehouse

        Warehouse().migrate()
        insert_requests(stack, number)
        stack.amazon.world.clear_calls()
        began = time.monotonic()
        state = run_dag(SEND)
        seconds = time.monotonic() - began
        counted = stack.amazon.world.calls()
        with psycopg.connect(stack.warehouse_url) as db:
            statuses: dict[str, int] = dict(
                db.execute("SELECT status, count(*) FROM fba.fulfillment_request GROUP BY 1").fetchall()
            )
        made = stack.amazon.world.orders(next(iter(stack.sellers.values())))
        if state != "success" or statuses != {"accepted": number} or {o["times_created"] for o in made.values()} != {1}:
            raise RuntimeError(f"{kind}: the run ended as {state}, the requests as {statuses}")
        calls = Counter(counted["calls"])
        throttled = sum(outcomes.get("429", 0) for outcomes in counted["outcomes"].values())
        names = ", ".join(f"{name} {n}" for name, n in calls.most_common() if n > 5)
        least = max(0, number - BURST) / RATE if kind != "feed" else 0
        print(
            f"| {kind} | {number:,} | {calls.total():,} | {names or 'none'} | {throttled} | {seconds:.0f} | {least:.0f} |",
            flush=True,
        )


def main(number: int) -> None:
    """Print the table, each row from a separate process, because Airflow reads its settings once."""
    print("| transport | requests | calls | of which more than five | answered 429 | s | s at Amazon's rate |")
    print("|---|---:|---:|---|---:|---:|---:|", flush=True)
    for kind in SETTINGS:
        print(tables(run_python("-m", __spec__.name, "--part", kind, str(number))), end="", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--part"]:
        measure(sys.argv[2], int(sys.argv[3]))
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else REQUESTS)
