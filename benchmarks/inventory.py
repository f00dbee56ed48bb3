"""How far fba_get_inventory's own work is from the limit, for 100 thousand, 1 and 2 million listings.

The work: the operator's load and merge, from the downloaded documents to the committed pool, in a process of its own,
against a PostgreSQL with default durability. Amazon's part (making and sending the documents) is left out: the
documents are read from disk in the chunks a download would bring.

The limit, taken in the same run: gunzip of the same documents, plus bare COPYs of the already prepared rows into the
same tables with their keys (both parsed copies and the pool). Nothing that fills these tables can be faster.

    python -m benchmarks.inventory [listings ...]
"""

from __future__ import annotations

import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from cryptography.fernet import Fernet

from devstack.airflow import settings
from devstack.postgres import Server, running_postgres

SIZES = (100_000, 1_000_000, 2_000_000)
STORE = "amazon_us"
DURABLE = {"shared_buffers": "256MB", "max_wal_size": "4GB"}
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


def write_document(path: Path, lines: Iterator[str]) -> None:
    """Write a gzip document."""
    with gzip.open(path, "wt", compresslevel=6, encoding="utf-8", newline="\n") as file:
        for line in lines:
            file.write(line + "\n")


def gunzip_seconds(paths: list[Path]) -> float:
    """Seconds to decompress the documents, doing nothing with them."""
    began = time.perf_counter()
    for path in paths:
        member = zlib.decompressobj(wbits=31)
        with path.open("rb") as file:
            while chunk := file.read(4 << 20):
                member.decompress(chunk)
    return time.perf_counter() - began


def limit_seconds(postgres: Server, filled: str) -> float:
    """Seconds of bare COPYs of what the operator wrote, into empty tables of the same shape and keys."""
    tables = ("amazon_all_listings_report", "amazon_afn_inventory_report", "global_inventory_pool")
    limit = postgres.create_database("limit_", template="benchmark_template")
    seconds = 0.0
    for table in tables:
        with tempfile.TemporaryFile() as file:
            with psycopg.connect(filled) as db, db.cursor().copy(f"COPY fba.{table} TO STDOUT") as copy:
                for data in copy:
                    file.write(data)
            file.seek(0)
            with psycopg.connect(limit) as db:
                db.execute("CHECKPOINT")
                began = time.perf_counter()
                with db.cursor().copy(f"COPY fba.{table} FROM STDIN") as copy:
                    while data := file.read(1 << 20):
                        copy.write(data)
                db.commit()
                seconds += time.perf_counter() - began
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as db:
        db.execute("DROP DATABASE limit_")
    return seconds


def work() -> None:
    """Be the worker process: merge the documents that the environment names, print what it took."""
    from fba_operators.client import CHUNK, Download
    from fba_operators.hook import SellingPartnerHook
    from fba_operators.inventory import MergeInventoryOperator

    folder = Path(os.environ["BENCHMARK_FOLDER"])

    def from_disk(hook: SellingPartnerHook, document_id: str) -> Download:
        file = (folder / document_id).open("rb")
        return Download("UTF-8", iter(lambda: file.read(CHUNK), b""))

    setattr(SellingPartnerHook, "download_report", from_disk)  # noqa: B010 - mypy would not have it otherwise
    merge = MergeInventoryOperator(
        task_id="merge", listings_report_id=os.environ["BENCHMARK_LISTINGS"], afn_report_id=os.environ["BENCHMARK_AFN"]
    )
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    began = time.perf_counter()
    context: Any = {"run_id": "benchmark", "outlet_events": None}
    counts = merge.act(context)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mb": peak, "base_mb": base, **counts}))


def ledger_entry(url: str, report_type: str, report_id: str, document: str) -> None:
    """Write a finished report into the ledger, as the request and wait tasks would have."""
    with psycopg.connect(url) as db:
        db.execute(
            "INSERT INTO fba.report (request_id, store, report_id, report_type, marketplace_id, status, document_id,"
            " requested_at) VALUES (gen_random_uuid(), %s, %s, %s, 'ATVPDKIKX0DER', 'DONE', %s, now())",
            (STORE, report_id, report_type, document),
        )


def measure(n: int, postgres: Server, folder: Path, environment: dict[str, str]) -> dict[str, float]:
    """Measure a first load and an unchanged rerun (new reports, same stock) of n listings."""
    write_document(folder / "listings", listings(n))
    write_document(folder / "afn", afn(n))
    url = postgres.create_database("benchmark", template="benchmark_template")
    taken: dict[str, float] = {"listings": n}
    for name, number in (("first", 1), ("rerun", 2)):
        ledger_entry(url, "GET_MERCHANT_LISTINGS_ALL_DATA", f"L{number}", "listings")
        ledger_entry(url, "GET_AFN_INVENTORY_DATA", f"A{number}", "afn")
        with psycopg.connect(url, autocommit=True) as db:
            db.execute("VACUUM ANALYZE")
            db.execute("CHECKPOINT")
        child = subprocess.run(
            [sys.executable, "-m", "benchmarks.inventory", "--work"],
            env={
                **os.environ,
                **environment,
                "BENCHMARK_FOLDER": str(folder),
                "BENCHMARK_LISTINGS": f"L{number}",
                "BENCHMARK_AFN": f"A{number}",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        if child.returncode:
            raise RuntimeError(child.stderr[-3000:])
        told = json.loads(child.stdout.strip().splitlines()[-1])
        taken[f"{name}_seconds"], taken[f"{name}_peak_mb"] = told["seconds"], told["peak_mb"]
        if (told["changed"] == 0) != (name == "rerun"):
            raise RuntimeError(f"{name}: {told['changed']} rows changed")
    taken["limit_seconds"] = gunzip_seconds([folder / "listings", folder / "afn"]) + limit_seconds(postgres, url)
    return taken


def main(sizes: tuple[int, ...]) -> None:
    """Measure every size and print one Markdown table."""
    with tempfile.TemporaryDirectory() as folder, running_postgres(DURABLE) as postgres:
        template = postgres.create_database("benchmark_template")
        environment = settings(Path(folder), "sqlite://", postgres.url("benchmark"), "http://127.0.0.1:9")
        environment["AIRFLOW__CORE__FERNET_KEY"] = Fernet.generate_key().decode()
        migrate = "from fba_operators.warehouse import Warehouse; Warehouse().migrate()"
        subprocess.run(
            [sys.executable, "-c", migrate],
            env={**os.environ, **settings(Path(folder), "sqlite://", template, "http://127.0.0.1:9")},
            check=True,
            capture_output=True,
        )
        print("| listings | limit s | first load s | ratio | rerun s | ratio | peak MB |")
        print("|---:|---:|---:|---:|---:|---:|---:|")
        for n in sizes:
            t = measure(n, postgres, Path(folder), environment)
            limit, first, rerun = t["limit_seconds"], t["first_seconds"], t["rerun_seconds"]
            peak = max(t["first_peak_mb"], t["rerun_peak_mb"])
            print(
                f"| {n:,} | {limit:.1f} | {first:.1f} | {first / limit:.2f} | {rerun:.1f} | {rerun / limit:.2f} | {peak:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    if sys.argv[1:] == ["--work"]:
        work()
    else:
        main(tuple(map(int, sys.argv[1:])) or SIZES)
