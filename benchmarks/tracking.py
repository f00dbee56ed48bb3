"""What one run of fba_track_orders costs in which every order has changed: calls, seconds, memory.

The work: the operator reads pages of listOrders and keeps them, in a separate process, with PostgreSQL's default durability. The
pages come from the process itself, so the seconds are this project's: reading an answer as Amazon documents it, finding the
requests, and keeping their parcels and timelines. Amazon's rate of 2 pages a second (30 at once) is given beside them.

    python -m benchmarks.tracking [orders ...]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import psycopg

from benchmarks.common.loads import STORE, WAREHOUSE, LoadBench, load_bench, measure
from benchmarks.common.summary import print_summary_row

SIZES = (10_000, 100_000)
PAGE = 100  # orders on a page; Amazon does not document how many there are
RATE, BURST = 2, 30  # of listOrders


def order(n: int, status: str) -> dict[str, Any]:
    """An order of two lines in one shipment of one or two parcels, as Amazon writes it."""
    packages = [
        {
            "packageId": f"PKG-{n}-{parcel}",
            "status": status,
            "deliveryTime": "2026-11-20T20:00:00Z",
            "shipmentItemIds": [f"SI-{n}-{parcel}"],
            "tracking": {
                "carrier": {"carrierCode": "UPS", "trackingNumber": f"1Z{n:010d}{parcel}"},
                "amazon": {"trackingNumber": f"TBA{n:010d}{parcel}"},
            },
        }
        for parcel in range(1 + n % 2)
    ]
    lines = range(2)
    return {
        "orderId": f"FR-{n:08d}",
        "receiveTime": "2026-11-15T10:00:00Z",
        "status": "COMPLETE",
        "statusUpdateTime": "2026-11-16T10:00:00Z",
        "destination": {"deliveryAddress": {"name": "Jane Example", "addressLine1": "100 Example Street"}},
        "lineItems": [
            {
                "lineItemId": str(line),
                "product": {"productIdentifier": {"amazonSku": f"SKU-{line}"}},
                "amount": {"unit": "EACHES", "value": "1.0"},
            }
            for line in lines
        ],
        "shipments": [
            {
                "amazonShipmentId": f"D{n}",
                "status": "SHIPPED",
                "shipTime": "2026-11-16T08:00:00Z",
                "deliveryTime": "2026-11-20T20:00:00Z",
                "items": [
                    {
                        "shipmentItemId": f"SI-{n}-{line % len(packages)}",
                        "productIdentifier": {"amazonSku": f"SKU-{line}"},
                        "amount": {"unit": "EACHES", "value": "1.0"},
                    }
                    for line in lines
                ],
                "packages": packages,
            }
        ],
    }


def work(orders: int, status: str) -> None:
    """Be the worker process: track, print the measurement."""
    from fba_operators.amazon.hook import SellingPartnerHook
    from fba_operators.amazon.operations import LIST_ORDERS, ChangedOrdersPage
    from fba_operators.operators import TrackOrdersOperator

    def pages(hook: SellingPartnerHook, **_: Any) -> Iterator[ChangedOrdersPage]:
        for first in range(0, orders, PAGE):
            last = first + PAGE >= orders
            body = {"orders": [order(n, status) for n in range(first, min(first + PAGE, orders))]}
            yield LIST_ORDERS.read({**body, "pagination": {} if last else {"nextToken": str(first)}})

    setattr(SellingPartnerHook, "list_orders", pages)  # noqa: B010 - mypy refuses an assignment
    track = TrackOrdersOperator(task_id="track")
    measure(lambda: dict(track.work({"run_id": "benchmark", "outlet_events": None})))  # type: ignore[typeddict-item]


def insert_requests(bench: LoadBench, orders: int) -> None:
    """Insert accepted requests of two lines, one for each order."""
    with psycopg.connect(bench.postgres.url(WAREHOUSE)) as db:
        db.execute("SET fba.writer = 'product'")
        db.execute(
            "INSERT INTO fba.fulfillment_request (store, fr_number, status, sent_at)"
            " SELECT %s, 'FR-' || lpad(n::text, 8, '0'), 'accepted', now() - interval '1 day' FROM generate_series(0, %s) AS n",
            (STORE, orders - 1),
        )
        db.execute("ALTER TABLE fba.fulfillment_request_item DISABLE TRIGGER USER")
        db.execute(
            "INSERT INTO fba.fulfillment_request_item (store, fr_number, line, sku, quantity)"
            " SELECT store, fr_number, line, 'SKU-' || line, 1 FROM fba.fulfillment_request, generate_series(0, 1) AS line"
        )


def seconds_of(bench: LoadBench, query: str) -> float:
    """How long a query takes."""
    with psycopg.connect(bench.postgres.url(WAREHOUSE)) as db:
        began = time.perf_counter()
        db.execute(query.encode()).fetchall()
        return time.perf_counter() - began


def main(sizes: tuple[int, ...]) -> None:
    """Print a Markdown table: the first reading, one in which every parcel has a new state, and one without news."""
    print(
        "| orders | calls | Amazon's rate s | first reading s | new states s | no news s | peak MB | progress s | needs_attention s |"
    )
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    with load_bench("benchmarks.tracking") as bench:
        for orders in sizes:
            bench.create_warehouse()
            insert_requests(bench, orders)
            first, states, nothing = (
                bench.run_worker(str(orders), status) for status in ("IN_TRANSIT", "DELAYED", "DELAYED")
            )
            calls = -(-orders // PAGE)
            rate = max(calls - BURST, 0) / RATE
            peak = max(each["peak_mb"] for each in (first, states, nothing))
            views = [
                seconds_of(bench, f"SELECT * FROM fba.{name}") for name in ("fulfillment_progress", "needs_attention")
            ]
            seconds = " | ".join(f"{each['seconds']:.1f}" for each in (first, states, nothing))
            print(
                f"| {orders:,} | {calls:,} | {rate:.0f} | {seconds} | {peak:.0f} | {views[0]:.1f} | {views[1]:.1f} |",
                flush=True,
            )
            if orders == max(sizes):
                print_summary_row(
                    f"{orders:,} changed orders, first reading",
                    f"{first['seconds']:.1f} s",
                    f"{rate:.0f} s: Amazon's rate",
                    first["seconds"] / rate,
                )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(int(sys.argv[3]), sys.argv[4])
    else:
        main(tuple(map(int, sys.argv[1:])) or SIZES)
