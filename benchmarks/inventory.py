"""How far fba_get_inventory's own work is from the limit, for 100 thousand, 1 and 2 million listings.

The work: the operator's load and merge, from the downloaded documents to the committed pool, in a process of its own,
against a PostgreSQL with default durability. Amazon's part (making and sending the documents) is left out: they are read
from disk in the chunks a download would bring.

The limit, taken in the same run: gunzip of the same documents, plus bare COPYs of the already prepared rows into the
same tables with their keys (both parsed copies and the pool).

    python -m benchmarks.inventory [listings ...]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.common import bench, print_head, print_loads, print_row, read_documents_from, report_cost

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
    """Rows as Amazon writes them: two in three fulfilled by Amazon with a blank quantity."""
    yield "\t".join(HEADER)
    for i in range(n):
        amazon = i % 3 != 0
        row = dict.fromkeys(HEADER, "")
        row |= {
            "item-name": f"Item number {i}, blue, in a box of {i % 12 + 1}, with a title of usual length",
            "item-description": f"What there is to say about item {i}. " * 4,
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
    """Rows for the SKUs at Amazon: SELLABLE, and every fourth also UNSELLABLE."""
    yield "seller-sku\tfulfillment-channel-sku\tasin\tcondition-type\tWarehouse-Condition-code\tQuantity Available"
    for i in range(n):
        if i % 3:
            yield f"SKU-{i:08d}\tX00{i:07d}\tB0{i:08d}\tNewItem\tSELLABLE\t{i % 90}"
            if i % 4 == 0:
                yield f"SKU-{i:08d}\tX00{i:07d}\tB0{i:08d}\tNewItem\tUNSELLABLE\t1"


def work(folder: Path, listings_report_id: str, afn_report_id: str) -> None:
    """Be the worker process: merge two reports, print what it took."""
    import fba_operators.inventory.update_pool  # noqa: F401 - the task imports it when it begins, which is not what is measured
    from fba_operators.operators import MergeInventoryOperator

    read_documents_from(folder)
    merge = MergeInventoryOperator(task_id="merge", listings_report_id=listings_report_id, afn_report_id=afn_report_id)
    context: Any = {"run_id": "benchmark", "outlet_events": None}
    report_cost(lambda: merge.work(context))


def main(sizes: tuple[int, ...]) -> None:
    """Measure a first load, and a rerun on new reports in which nothing changed; print one Markdown table."""
    with bench("benchmarks.inventory") as stand:
        print_head("listings")
        for n in sizes:
            stand.write_document("listings", listings(n))
            stand.write_document("afn", afn(n))
            stand.fresh_warehouse()
            taken = []
            for number in (1, 2):
                stand.ledger_entry("GET_MERCHANT_LISTINGS_ALL_DATA", f"L{number}", "listings")
                stand.ledger_entry("GET_AFN_INVENTORY_DATA", f"A{number}", "afn")
                taken.append(stand.measured(f"L{number}", f"A{number}"))
            if [told["told"]["changed"] for told in taken] != [n, 0]:
                raise RuntimeError(f"not what was to be measured: {taken}")
            limit = stand.limit_seconds(("listings", "afn"), TABLES)
            print_row(n, limit, *taken)
        print_loads(f"{n:,} listings to the pool", limit, *taken)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(Path(sys.argv[2]), *sys.argv[3:])
    else:
        main(tuple(map(int, sys.argv[1:])) or SIZES)
