"""The same reports read by this project, by python-amazon-sp-api with pandas, and by Airbyte's source for them.

Each does the whole work at the sandbox: asks for the report, waits, downloads, reads. What is right is what the sandbox's
merchant really has. python-amazon-sp-api is used once as everybody writes it (`read_csv` with a tab) and once with every option
right. It and this project end in the same PostgreSQL; Airbyte's source ends in JSON lines, its destinations are other programs.

    python -m benchmarks.beside
"""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.beside_merchants import AFN, JAPAN, LISTINGS, US, Merchant, Told
from benchmarks.common import print_short
from benchmarks.stage import Stage, stage
from devstack.airflow import PROJECT
from sandbox.world.report_desk import Request

NAMES = {
    "plain": "python-amazon-sp-api, read_csv, to_sql",
    "careful": "the same with every option right",
    "airbyte": "Airbyte's source (to JSON lines)",
    "ours": "this project",
}
OTHERS = ("plain", "careful", "airbyte")
SIZES = ((LISTINGS, 2_000), (AFN, 100_000))
AT_ONCE = 3  # readings at the same time where nothing is timed: one of Airbyte's mostly waits
# What is awkward in a document: where, how it is written, and which of the sandbox's odd SKUs are in it beside the ordinary.
CASES: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "ordinary": (US, {}, ()),
    "quotes in SKUs and titles": (US, {}, ('QUOTE"ONE', '"QUOTED"', '"OPEN', "TITLE-QUOTE", "TITLE-OPEN-QUOTE")),
    "SKUs NA, null, None, nan, 00123, 1.0, 1e5": (US, {}, ("NA", "null", "None", "nan", "00123", "1.0", "1e5")),
    "a carriage return in a title": (US, {}, ("TITLE-RETURN",)),
    "letters beyond ASCII, UTF-8": (US, {}, ("ÜNÏCÖDE-é", "日本-SKU")),
    "letters beyond ASCII, cp932 (Japan)": (JAPAN, {"charset": "cp932"}, ("日本-SKU",)),
    "a tab at the end of each row": (US, {"trailing_tab": True}, ()),
    "every oddity the sandbox knows": (US, {"trailing_tab": True}, ("",)),
}


def read_already(merchant: Merchant, way: str) -> None:
    """The same program has just read it."""
    merchant.read(way)


def asked_by_another(merchant: Merchant, way: str) -> None:
    """Another program of the merchant's has just asked for it."""
    world = merchant.on.amazon.world
    with world.lock:
        request = Request(merchant.report_type, (merchant.marketplace_id,), None, None)
        world.desk.create(world.merchant(merchant.seller_id), request, None)


def nothing_there(merchant: Merchant, way: str) -> None:
    """Amazon has no row for it."""
    world = merchant.on.amazon.world
    world.shape_report(merchant.seller_id, merchant.marketplace_id, merchant.report_type, "no_data")


def fault(kind: str) -> Callable[[Merchant, str], None]:
    """The next createReport goes wrong."""

    def prepare(merchant: Merchant, way: str) -> None:
        merchant.on.amazon.world.add_fault("createReport", kind, seller_id=merchant.seller_id)

    return prepare


HAPPENINGS: dict[str, tuple[str, Callable[[Merchant, str], None]]] = {
    "stock, read again at once": (AFN, read_already),
    "stock, another program has just asked: CANCELLED": (AFN, asked_by_another),
    "stock, there is none: CANCELLED": (AFN, nothing_there),
    "stock, the answer to createReport is lost": (AFN, fault("reset_after")),
    "stock, FATAL once": (AFN, fault("fatal")),
    "listings, FATAL once": (LISTINGS, fault("fatal")),
}


def install(folder: Path) -> Path:
    """Make a virtual environment with what others use; returns its Python."""
    uv, python = Path(sys.executable).with_name("uv"), folder / "bin" / "python"
    subprocess.run([uv, "venv", "-q", "-p", sys.executable, folder], check=True)
    packages: list[str | Path] = ["-r", PROJECT / "requirements-bench.txt"]
    subprocess.run([uv, "pip", "install", "-q", "--compile-bytecode", "--python", python, *packages], check=True)
    return python


def listed(calls: Counter[str]) -> str:
    """Calls in words."""
    return ", ".join(f"{n} {operation}" for operation, n in sorted(calls.items())) or "none"


def print_head(*columns: str, numbers: int) -> None:
    """Print the head of a table whose last columns are numbers."""
    print(f"| {' | '.join(columns)} |\n|{'---|' * (len(columns) - numbers)}{'---:|' * numbers}", flush=True)


def awkward(on: Stage, python: Path, numbers: count[int]) -> None:
    """Print the rows read right of awkward documents."""
    print_head("rows read right", *NAMES.values(), numbers=len(NAMES))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        readings = {
            name: [
                pool.submit(Merchant(on, python, next(numbers), marketplace_id).open(100, shape, odd).read, way)
                for way in NAMES
            ]
            for name, (marketplace_id, shape, odd) in CASES.items()
        }
        whole: Counter[str] = Counter()
        for name, told in readings.items():
            print(f"| {name} | {' | '.join(str(each.result()) for each in told)} |", flush=True)
            whole.update(way for way, each in zip(NAMES, told, strict=True) if each.result().whole)
    print()
    for way in OTHERS:
        beside = f"{whole[way]}: {NAMES[way]}"
        print_short(
            f"{len(CASES)} awkward documents, read whole", str(whole["ours"]), beside, whole["ours"] / whole[way]
        )


def cost(on: Stage, python: Path, numbers: count[int]) -> None:
    """Print seconds, memory and calls for larger ordinary documents, one reading after another."""
    for report_type, listings in SIZES:
        print()
        head = (f"{report_type} of {listings:,} listings", "seconds", "peak MB", "rows read right", "calls", "tokens")
        print_head(*head, numbers=len(head) - 1)
        readings = {}
        for way, name in NAMES.items():
            told = readings[way] = Merchant(on, python, next(numbers), US, report_type).open(listings).read(way)
            cells = (name, f"{told.seconds:.1f}", f"{told.peak_mb:.0f}", told, told.calls.total(), told.calls["token"])
            print(f"| {' | '.join(map(str, cells))} |", flush=True)
    print()
    ours, what = readings["ours"], f"{report_type} of {listings:,} listings"
    for way in OTHERS:
        told = readings[way]
        beside = f"{told.seconds:.1f} s: {NAMES[way]}"
        print_short(f"{what}, seconds", f"{ours.seconds:.1f} s", beside, ours.seconds / told.seconds)
        beside = f"{told.peak_mb:.0f} MB: {NAMES[way]}"
        print_short(f"{what}, peak", f"{ours.peak_mb:.0f} MB", beside, ours.peak_mb / told.peak_mb)


def misfortune(on: Stage, python: Path, numbers: count[int]) -> None:
    """Print what Airbyte's source and this project make of a report that does not simply come."""
    print()
    print_head("what happens", NAMES["airbyte"], "its calls", NAMES["ours"], "its calls", numbers=0)

    def read(report_type: str, prepare: Callable[[Merchant, str], None], number: int, way: str) -> Told:
        merchant = Merchant(on, python, number, US, report_type).open(100)
        prepare(merchant, way)
        return merchant.read(way)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        readings = {
            name: [pool.submit(read, *how, next(numbers), way) for way in ("airbyte", "ours")]
            for name, how in HAPPENINGS.items()
        }
        for name, told in readings.items():
            cells = (f"{each.result()} | {listed(each.result().calls)}" for each in told)
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Install what others use, and print three kinds of tables."""
    with tempfile.TemporaryDirectory() as folder, stage(1) as on:
        python = install(Path(folder))
        from fba_operators.warehouse.database import Warehouse

        logging.disable(logging.WARNING)
        Warehouse().migrate()
        numbers = count()
        for table in (awkward, cost, misfortune):
            table(on, python, numbers)


if __name__ == "__main__":
    main()
