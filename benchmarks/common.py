"""What the load benchmarks share: documents, a worker process that is measured, and the limit it is compared with."""

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from devstack.airflow import settings
from devstack.postgres import Server, running_postgres

STORE = "amazon_us"
DURABLE = {"shared_buffers": "256MB", "max_wal_size": "4GB"}
TEMPLATE, DATABASE = "benchmark_template", "benchmark"
SHORT = ">"
NOWHERE = "http://127.0.0.1:9"


class Bench:
    """A durable PostgreSQL with an empty warehouse to copy, and a folder for documents.

    :param module: the benchmark that is run as worker, e.g. ``benchmarks.inventory``
    """

    def __init__(self, module: str, postgres: Server, folder: Path) -> None:
        self.module = module
        self.postgres = postgres
        self.folder = folder
        template = postgres.create_database(TEMPLATE)
        self.environment = settings(folder, "sqlite://", postgres.url(DATABASE), NOWHERE)
        subprocess.run(
            [sys.executable, "-c", "from fba_operators.warehouse.database import Warehouse; Warehouse().migrate()"],
            env={**os.environ, **settings(folder, "sqlite://", template, NOWHERE)},
            check=True,
            capture_output=True,
        )

    def fresh_warehouse(self) -> str:
        """Begin with an empty warehouse; returns its address."""
        return self.postgres.create_database(DATABASE, template=TEMPLATE)

    def write_document(self, name: str, lines: Iterator[str]) -> None:
        """Write a gzip document into the folder."""
        with gzip.open(self.folder / name, "wt", compresslevel=6, encoding="utf-8", newline="\n") as file:
            for line in lines:
                file.write(line + "\n")

    def ledger_entry(self, report_type: str, report_id: str, document: str) -> None:
        """Write a finished report into the ledger, as the request and wait tasks would have."""
        with psycopg.connect(self.postgres.url(DATABASE)) as db:
            db.execute(
                "INSERT INTO fba.report (request_id, store, report_id, report_type, marketplace_id, data_start, data_end,"
                " status, document_id, requested_at) VALUES (gen_random_uuid(), %s, %s, %s, 'ATVPDKIKX0DER',"
                " '2026-10-01', '2026-10-30', 'DONE', %s, clock_timestamp())",
                (STORE, report_id, report_type, document),
            )

    def measured(self, *arguments: str) -> dict[str, Any]:
        """Run the benchmark's worker in a process of its own; returns what :func:`report_cost` printed there."""
        with psycopg.connect(self.postgres.url(DATABASE), autocommit=True) as db:
            db.execute("VACUUM ANALYZE")
            db.execute("CHECKPOINT")
        child = subprocess.run(
            [sys.executable, "-m", self.module, "--work", str(self.folder), *arguments],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        if child.returncode:
            raise RuntimeError(child.stderr[-3000:])
        return dict(json.loads(child.stdout.strip().splitlines()[-1]))

    def limit_seconds(self, documents: tuple[str, ...], tables: tuple[str, ...]) -> float:
        """Seconds to gunzip the documents, plus those of bare COPYs of the filled tables into empty ones with their keys."""
        seconds = self._gunzip_seconds(documents)
        limit = self.postgres.create_database("limit_", template=TEMPLATE)
        for table in tables:
            with tempfile.TemporaryFile() as file:
                filled = self.postgres.url(DATABASE)
                with psycopg.connect(filled) as db, db.cursor().copy(f"COPY fba.{table} TO STDOUT".encode()) as copy:
                    for data in copy:
                        file.write(data)
                file.seek(0)
                with psycopg.connect(limit) as db:
                    db.execute("CHECKPOINT")
                    began = time.perf_counter()
                    with db.cursor().copy(f"COPY fba.{table} FROM STDIN".encode()) as copy:
                        while data := file.read(1 << 20):
                            copy.write(data)
                    db.commit()
                    seconds += time.perf_counter() - began
        with psycopg.connect(self.postgres.url("postgres"), autocommit=True) as db:
            db.execute("DROP DATABASE limit_")
        return seconds

    def _gunzip_seconds(self, documents: tuple[str, ...]) -> float:
        began = time.perf_counter()
        for name in documents:
            member = zlib.decompressobj(wbits=31)
            with (self.folder / name).open("rb") as file:
                while chunk := file.read(4 << 20):
                    member.decompress(chunk)
        return time.perf_counter() - began


@contextmanager
def bench(module: str) -> Iterator[Bench]:
    """Start what a benchmark needs, and stop it."""
    with tempfile.TemporaryDirectory() as folder, running_postgres(DURABLE) as postgres:
        yield Bench(module, postgres, Path(folder))


def read_documents_from(folder: Path) -> None:
    """In a worker: let downloads come from the folder, in the chunks a download would bring."""
    from fba_operators.amazon.hook import SellingPartnerHook
    from fba_operators.amazon.transport import CHUNK, Download

    def from_disk(hook: SellingPartnerHook, document_id: str) -> Download:
        file = (folder / document_id).open("rb")
        return Download("UTF-8", iter(lambda: file.read(CHUNK), b""))

    setattr(SellingPartnerHook, "download_report", from_disk)  # noqa: B010 - mypy would not have it otherwise


def report_cost(work: Callable[[], dict[str, Any]]) -> None:
    """In a worker: do the work and print its seconds, the process's peak memory, and what the work returns."""
    began = time.perf_counter()
    told = work()
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mb": peak, "told": told}))


def print_short(what: str, here: str, beside: str, ratio: float) -> None:
    """Print a row of the table that `make bench` puts before all others: what was measured, and beside what."""
    print(f"{SHORT} {what} | {here} | {beside} | {ratio:.3g}", flush=True)


def print_head(rows: str) -> None:
    """Print the head of the table both benchmarks fill."""
    print(f"| {rows} | limit s | first load s | ratio | unchanged rerun s | ratio | peak MB |")
    print("|---:|---:|---:|---:|---:|---:|---:|")


def print_row(n: int, limit: float, first: dict[str, Any], rerun: dict[str, Any]) -> None:
    """Print one row of it."""
    ratios = [(told["seconds"], told["seconds"] / limit) for told in (first, rerun)]
    cells = " | ".join(f"{seconds:.1f} | {ratio:.2f}" for seconds, ratio in ratios)
    print(f"| {n:,} | {limit:.1f} | {cells} | {max(first['peak_mb'], rerun['peak_mb']):.0f} |", flush=True)


def print_loads(what: str, limit: float, first: dict[str, Any], rerun: dict[str, Any]) -> None:
    """Print what stands before all other tables: the largest load, beside the limit."""
    for how, told in (("first load", first), ("unchanged rerun", rerun)):
        seconds = told["seconds"]
        print_short(f"{what}, {how}", f"{seconds:.1f} s", f"{limit:.1f} s: gunzip and COPY", seconds / limit)
