"""How long the load of a shipments report takes compared with the lower bound, for 100 thousand and 1 million rows.

The work: the operator's load, from the downloaded document to the committed rows, in a separate process, with
PostgreSQL's default durability. The lower bound, measured in the same run: gunzip of the same document, plus bare COPYs
of the finished rows into the same two tables with their keys.

    python -m benchmarks.shipments [rows ...]
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.common.loads import (
    load_bench,
    measure,
    print_bounds,
    print_head,
    print_row,
    print_summary,
    read_documents_from,
)
from benchmarks.inventory import WORDS
from sandbox.merchant.merchant import SHIPMENTS

SIZES = (100_000, 1_000_000)
TABLES = ("amazon_fulfilled_shipments_report", "shipment_item")


def shipments(numbers: range) -> Iterator[str]:
    """Lines as Amazon writes them: three rows in four with a shipment-item-id, one in ten of a fulfillment request."""
    from fba_operators.reports.report_types import FULFILLED_SHIPMENTS

    header = FULFILLED_SHIPMENTS.amazon_columns[:48]
    yield "\t".join(header)
    for i in numbers:
        rng = random.Random(i)
        day = f"2026-10-{i % 28 + 1:02d}T{i % 24:02d}:00:00+00:00"
        row = dict.fromkeys(header, "")
        row |= {
            "amazon-order-id": f"S01-{i:07d}-0000001" if i % 10 == 0 else f"111-{i:07d}-0000001",
            "merchant-order-id": f"FR-{i:08d}" if i % 10 == 0 else "",
            "shipment-id": f"D{i:09d}",
            "shipment-item-id": "" if i % 4 == 0 else f"DI{i:09d}",
            "amazon-order-item-id": f"{i:014d}",
            "purchase-date": day,
            "payments-date": day,
            "shipment-date": day,
            "reporting-date": day,
            "sku": f"SKU-{i % 50_000:08d}",
            "product-name": " ".join(random.Random(i % 50_000).choices(WORDS, k=9)).title(),
            "quantity-shipped": "1",
            "currency": "USD",
            "item-price": "19.99",
            "item-tax": "1.60",
            "shipping-price": "0.00",
            "ship-service-level": "Standard",
            "recipient-name": f"{rng.choice(WORDS).title()} {rng.choice(WORDS).title()}",
            "ship-address-1": f"{rng.randrange(1, 9999)} {rng.choice(WORDS).title()} Street",
            "ship-city": "SEATTLE",
            "ship-state": "WA",
            "ship-postal-code": f"{rng.randrange(10_000, 99_999)}",
            "ship-country": "US",
            "item-promotion-discount": "0.00",
            "ship-promotion-discount": "0.00",
            "carrier": "AMZN_US",
            "tracking-number": f"TBA{i:012d}",
            "estimated-arrival-date": day,
            "fulfillment-center-id": "BFI4",
            "fulfillment-channel": "AFN",
            "sales-channel": "amazon.com",
        }
        yield "\t".join(row.values())


def work(folder: Path, report_id: str) -> None:
    """Be the worker process: load one report, print the measurement."""
    import fba_operators.shipments.load_rows  # noqa: F401 - so that the import, which the task does first, is not measured
    from fba_operators.operators import LoadShipmentsOperator

    read_documents_from(folder)
    load = LoadShipmentsOperator(task_id="load", report_id=report_id)
    context: Any = {"run_id": "benchmark", "outlet_events": None}
    measure(lambda: dict(load.work(context)["counts"]))


# Name, aim of the CPU ratio, rows of the report.
LOADS: tuple[tuple[str, float, Callable[[int], range]], ...] = (
    ("first load", 1.6, range),
    ("same rows", 0.6, range),
    ("overlapping window, half the rows new", 0.8, lambda n: range(n // 2, n // 2 + n)),
)


def main(sizes: tuple[int, ...]) -> None:
    """Measure a first load, the same rows in a later report, and a window half of which is new; print one Markdown table."""
    with load_bench("benchmarks.shipments") as bench:
        print_head("rows")
        for n in sizes:
            bench.create_warehouse()
            rows = []
            for number, (name, aim, numbers) in enumerate(LOADS):
                bench.write_document("shipments", shipments(numbers(n)))
                bench.insert_ledger_entry(SHIPMENTS, f"S{number}", "shipments")
                rows.append((name, aim, bench.run_worker(f"S{number}")))
                if number == 0:
                    bound = bench.lower_bound(("shipments",), TABLES)
                    with_indexes = bench.lower_bound(("shipments",), TABLES, only_keys=False)
            if [load["counts"].get("new", 0) for *_, load in rows] != [n, 0, n // 2]:
                raise RuntimeError(f"another number of rows is new than should be: {rows}")
            print_bounds(n, bound, with_indexes)
            for name, aim, load in rows:
                print_row(n, name, bound, load, aim)
                print_summary(f"{n:,} shipments to their rows, {name}", bound, load)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(Path(sys.argv[2]), *sys.argv[3:])
    else:
        main(tuple(map(int, sys.argv[1:])) or SIZES)
