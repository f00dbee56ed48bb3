"""How long fba_get_inventory's own work takes compared with the lower bound, for 100 thousand, 1 and 2 million listings.

The work: the operator's load and merge, from the downloaded documents to the committed pool, in a separate process,
with PostgreSQL's default durability. Amazon's part (generating and sending the documents) is left out: they are read
from disk in chunks of the size of a download's.

The lower bound, measured in the same run: gunzip of the same documents, plus bare COPYs of the finished rows into the
same tables with their keys (both parsed copies and the pool).

    python -m benchmarks.inventory [listings ...]
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks.common.loads import (
    LoadBench,
    load_bench,
    measure,
    print_bounds,
    print_head,
    print_row,
    print_summary,
    read_documents_from,
)
from benchmarks.common.summary import print_summary_row
from sandbox.merchant.merchant import AFN, LISTINGS

SIZES = (100_000, 1_000_000, 2_000_000)
RERUNS, RERUN_LISTINGS = 30, 50_000
WITHOUT_HISTORY = ", without history"
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


WORDS = [
    "steel",
    "cotton",
    "blue",
    "large",
    "kettle",
    "grinder",
    "garden",
    "hose",
    "adapter",
    "cable",
    "pack",
    "premium",
    "organic",
    "wireless",
    "charger",
    "holder",
    "stand",
    "mount",
    "filter",
    "compatible",
    "universal",
    "heavy",
    "duty",
    "stainless",
    "brushed",
    "matte",
    "indoor",
    "outdoor",
    "kids",
    "women",
    "running",
    "camping",
    "kitchen",
    "bathroom",
    "travel",
    "portable",
    "foldable",
    "durable",
    "waterproof",
    "rechargeable",
    "electric",
    "ceramic",
    "glass",
    "wooden",
    "bamboo",
    "silicone",
    "leather",
]
MARKETING = (
    "Designed for everyday use and tested in our own workshop.",
    "Ships in recyclable packaging with all screws and a printed manual.",
    "Please check the size chart before you order, returns are free for thirty days.",
    "Made of certified materials, easy to clean, and a good gift for any occasion.",
)
CHARACTERS = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"


def listing(i: int, version: int) -> str:
    """One line of a listings report as Amazon writes it: two in three fulfilled by Amazon, with a blank quantity.

    :param version: of its price and quantity; all else belongs to ``i``
    """
    rng, amazon = random.Random(i), i % 3 != 0
    asin = "B0" + "".join(rng.choices(CHARACTERS, k=8))
    row = dict.fromkeys(HEADER, "")
    row |= {
        "item-name": " ".join(rng.choices(WORDS, k=9)).title(),
        "item-description": f"{rng.choice(MARKETING)} {' '.join(rng.choices(WORDS, k=5))}. {rng.choice(MARKETING)}",
        "listing-id": f"0708Q{i:07d}",
        "seller-sku": f"SKU-{i:08d}",
        "price": f"{(i + version) % 500 + 1}.99",
        "quantity": "" if amazon else str((i + version) % 40),
        "open-date": f"20{rng.randrange(15, 26)}-0{rng.randrange(1, 10)}-{rng.randrange(10, 29)} 20:35:17 PDT",
        "item-is-marketplace": "y",
        "product-id-type": "1",
        "item-condition": "11",
        "asin1": asin,
        "product-id": asin,
        "pending-quantity": "" if amazon else "0",
        "fulfillment-channel": "AMAZON_NA" if amazon else "DEFAULT",
        "merchant-shipping-group": "Migrated Template",
        "status": "Active",
    }
    return "\t".join(row.values())


def listings(order: Iterable[int], version_of: Callable[[int], int]) -> Iterator[str]:
    """Lines of a listings report."""
    yield "\t".join(HEADER)
    for i in order:
        yield listing(i, version_of(i))


def afn(order: Iterable[int], version_of: Callable[[int], int]) -> Iterator[str]:
    """Lines of an AFN inventory report for the SKUs fulfilled by Amazon: SELLABLE, and every fourth also UNSELLABLE."""
    yield "seller-sku\tfulfillment-channel-sku\tasin\tcondition-type\tWarehouse-Condition-code\tQuantity Available"
    for i in order:
        if i % 3:
            asin = "B0" + "".join(random.Random(i).choices(CHARACTERS, k=8))
            yield f"SKU-{i:08d}\tX00{i:07d}\t{asin}\tNewItem\tSELLABLE\t{(i + version_of(i)) % 90 + 1}"
            if i % 4 == 0:
                yield f"SKU-{i:08d}\tX00{i:07d}\t{asin}\tNewItem\tUNSELLABLE\t1"


def work(folder: Path, listings_report_id: str, afn_report_id: str) -> None:
    """Be the worker process: merge two reports, print the measurement."""
    import fba_operators.inventory.update_pool  # noqa: F401 - so that the import, which the task does first, is not measured
    from fba_operators.operators import MergeInventoryOperator

    read_documents_from(folder)
    merge = MergeInventoryOperator(task_id="merge", listings_report_id=listings_report_id, afn_report_id=afn_report_id)
    context: Any = {"run_id": "benchmark", "outlet_events": None}
    measure(lambda: merge.work(context))


def shuffled(n: int) -> list[int]:
    """The same listings in another order."""
    order = list(range(n))
    random.Random(0).shuffle(order)
    return order


def changed(part: int) -> Callable[[int], int]:
    """Another version of one listing in a hundred.

    :param part: which ones
    """
    return lambda i: int(i % 100 == part)


def changed_up_to(number: int, i: int) -> int:
    """Another version of one more listing in a hundred with each number."""
    return int(i % 100 < number)


# What each report is compared with the one before it: name, aim of the CPU ratio, order of its lines, versions, end.
LOADS: tuple[tuple[str, float | None, Callable[[int], Iterable[int]], Callable[[int], int], str], ...] = (
    ("first load", 1.4, range, lambda i: 0, ""),
    ("equal documents", 0.15, range, lambda i: 0, ""),
    ("every line compared, none changed", 0.5, range, lambda i: 0, "\n"),
    ("1 % changed", 0.8, range, changed(0), ""),
    ("one line inserted at the top", 0.8, lambda n: [n, *range(n)], changed(0), ""),
    ("lines in another order", 0.8, lambda n: [n, *shuffled(n)], changed(0), ""),
    ("1 % changed, in another order", None, lambda n: [n, *shuffled(n)], partial(changed_up_to, 2), ""),
    (
        f"1 % changed, in another order{WITHOUT_HISTORY}",
        None,
        lambda n: [n, *shuffled(n)],
        partial(changed_up_to, 3),
        "",
    ),
)


def main(sizes: tuple[int, ...]) -> None:
    """Measure loads of reports, each compared with the one before; print one Markdown table."""
    raw_mb = 0.0
    with load_bench("benchmarks.inventory") as bench:
        print_head("listings")
        for n in sizes:
            bench.create_warehouse()
            rows = []
            for number, (name, aim, order, versions, end) in enumerate(LOADS):
                bench.write_document("listings", chain(listings(order(n), versions), [end] if end else []))
                bench.write_document("afn", chain(afn(order(n), versions), [end] if end else []))
                bench.insert_ledger_entry(LISTINGS, f"L{number}", "listings")
                bench.insert_ledger_entry(AFN, f"A{number}", "afn")
                if name.endswith(WITHOUT_HISTORY):
                    bench.stop_history()
                load = bench.run_worker(f"L{number}", f"A{number}")
                rows.append((name, aim, load))
                if number == 0:
                    raw_mb = bench.size_mb("report_document")
                print(f"{n:,} {name}: {load}", file=sys.stderr, flush=True)
            written = [load["counts"]["changed"] for *_, load in rows]
            if written != [n, 0, 0, n // 100, 1, 0, n // 100, n // 100]:
                raise RuntimeError(f"another number of SKUs has changed than should have: {written}")
            bound = bench.lower_bound(("listings", "afn"), TABLES)
            print_bounds(n, bound, bench.lower_bound(("listings", "afn"), TABLES, only_keys=False))
            for name, aim, load in rows:
                print_row(n, name, bound, load, aim)
                print_summary(f"{n:,} listings to the pool, {name}", bound, load)
        kept = raw_mb * 24 * 30 / 2 / 1000
        print_summary_row(
            f"raw copies of 30 days, {n:,} listings, hourly, half of them equal",
            f"{kept:.1f} GB",
            f"{raw_mb:.0f} MB a pair, every one stored",
            kept / (raw_mb * 24 * 30 / 1000),
        )
        print_size_after_reruns(bench)


def print_size_after_reruns(bench: LoadBench) -> None:
    """Measure how the copies and the pool grow over a day and more of hourly reports of which 1 % has changed."""
    bench.create_warehouse()
    sizes = []
    for number in range(RERUNS + 1):
        versions = partial(changed_up_to, number)
        bench.write_document("listings", listings(range(RERUN_LISTINGS), versions))
        bench.write_document("afn", afn(range(RERUN_LISTINGS), versions))
        bench.insert_ledger_entry(LISTINGS, f"L{number}", "listings")
        bench.insert_ledger_entry(AFN, f"A{number}", "afn")
        bench.run_worker(f"L{number}", f"A{number}")
        sizes.append(bench.size_mb(*TABLES))
    what = f"size of copies and pool after {RERUNS} reruns of 1 %, {RERUN_LISTINGS:,} listings"
    print_summary_row(what, f"{sizes[-1]:.0f} MB", f"{sizes[0]:.0f} MB after the first load", sizes[-1] / sizes[0])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(Path(sys.argv[2]), *sys.argv[3:])
    else:
        main(tuple(map(int, sys.argv[1:])) or SIZES)
