"""How long fba_get_inventory's own work takes compared with the lower bound, for 100 thousand, 1 and 2 million listings.

The work: the operator's load and merge, from the downloaded documents to the committed pool, in a separate process,
with PostgreSQL's default durability. Amazon's part (generating and sending the documents) is left out: they are read
from disk in chunks of the size of a download's.

The lower bound, measured in the same run: gunzip of the same documents, plus bare COPYs of the finished rows into the
same tables with their keys (both parsed copies and the pool).

    python -m benchmarks.inventory [listings ...]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.common.loads import load_bench, measure, print_head, print_row, print_summary, read_documents_from
from sandbox.merchant.merchant import AFN, LISTINGS

SIZES = (100_000, 1_000_000, 2_000_000)
TABLES = ("amazon_all_listings_report", "amazon_afn_inventory_report", "global_inventory_pool")
HEADER = [
    "item-name",
    "item-description",
    "listing-id",
    "seller-sku",
    "price",
    "quantity",
    "open-date",
    "image-url",
    "item-is-marketplace",
    "product-id-type",
    "zshop-shipping-fee",
    "item-note",
    "item-condition",
    "zshop-category1",
    "zshop-browse-path",
    "zshop-storefront-feature",
    "asin1",
    "asin2",
    "asin3",
    "will-ship-internationally",
    "expedited-shipping",
    "zshop-boldface",
    "product-id",
    "bid-for-featured-placement",
    "add-delete",
    "pending-quantity",
    "fulfillment-channel",
    "merchant-shipping-group",
    "status",
]


def listings(n: int) -> Iterator[str]:
    """Lines of a listings report as Amazon writes them: two rows in three fulfilled by Amazon, with a blank quantity."""
    yield "\t".join(HEADER)
    for i in range(n):
        amazon = i % 3 != 0
        row = dict.fromkeys(HEADER, "")
        row |= {
            "item-name": f"Item number {i}, blue, in a box of {i % 12 + 1}, with a title of usual length",
            "item-description": f"The description of item number {i}. " * 4,
            "listing-id": f"0708Q{i:07d}",
            "seller-sku": f"SKU-{i:08d}",
            "price": f"{i % 500 + 1}.99",
            "quantity": "" if amazon else str(i % 40),
            "open-date": "2021-08-15 20:35:17 PDT",
            "item-is-marketplace": "y",
            "product-id-type": "1",
            "item-condition": "11",
            "asin1": f"B0{i:08d}",
            "product-id": f"B0{i:08d}",
            "pending-quantity": "" if amazon else "0",
            "fulfillment-channel": "AMAZON_NA" if amazon else "DEFAULT",
            "merchant-shipping-group": "Migrated Template",
            "status": "Active",
        }
        yield "\t".join(row.values())


def afn(n: int) -> Iterator[str]:
    """Lines of an AFN inventory report for the SKUs fulfilled by Amazon: SELLABLE, and every fourth also UNSELLABLE."""
    yield "seller-sku\tfulfillment-channel-sku\tasin\tcondition-type\tWarehouse-Condition-code\tQuantity Available"
    for i in range(n):
        if i % 3:
            yield f"SKU-{i:08d}\tX00{i:07d}\tB0{i:08d}\tNewItem\tSELLABLE\t{i % 90}"
            if i % 4 == 0:
                yield f"SKU-{i:08d}\tX00{i:07d}\tB0{i:08d}\tNewItem\tUNSELLABLE\t1"


def work(folder: Path, listings_report_id: str, afn_report_id: str) -> None:
    """Be the worker process: merge two reports, print the measurement."""
    import fba_operators.inventory.update_pool  # noqa: F401 - so that the import, which the task does first, is not measured
    from fba_operators.operators import MergeInventoryOperator

    read_documents_from(folder)
    merge = MergeInventoryOperator(task_id="merge", listings_report_id=listings_report_id, afn_report_id=afn_report_id)
    context: Any = {"run_id": "benchmark", "outlet_events": None}
    measure(lambda: merge.work(context))


def main(sizes: tuple[int, ...]) -> None:
    """Measure a first load, and a rerun with new reports of the same rows; print one Markdown table."""
    with load_bench("benchmarks.inventory") as bench:
        print_head("listings")
        for n in sizes:
            bench.write_document("listings", listings(n))
            bench.write_document("afn", afn(n))
            bench.create_warehouse()
            loads = []
            for number in (1, 2):
                bench.insert_ledger_entry(LISTINGS, f"L{number}", "listings")
                bench.insert_ledger_entry(AFN, f"A{number}", "afn")
                loads.append(bench.run_worker(f"L{number}", f"A{number}"))
            if [load["counts"]["changed"] for load in loads] != [n, 0]:
                raise RuntimeError(f"the first load must change {n} SKUs and the rerun none: {loads}")
            bound = bench.lower_bound(("listings", "afn"), TABLES)
            print_row(n, bound, *loads)
        print_summary(f"{n:,} listings to the pool", bound, *loads)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(Path(sys.argv[2]), *sys.argv[3:])
    else:
        main(tuple(map(int, sys.argv[1:])) or SIZES)
