"""Read the same reports with this project, with python-amazon-sp-api and pandas, and with Airbyte's source.

Each does all the work at the sandbox: requests the report, waits, downloads, reads. The rows are compared with what the
sandbox's merchant really has. python-amazon-sp-api is used with the usual options (`read_csv` with a tab), and with every
option set correctly. It and this project write to the same PostgreSQL; Airbyte's source writes JSON lines, because its
destinations are separate programs.

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

from benchmarks.beside.merchants import JAPAN, Merchant, Reading
from benchmarks.common.processes import migrate_warehouse
from benchmarks.common.stacks import US, Stack, stack_of_this_process
from benchmarks.common.summary import print_summary_row
from devstack.airflow import PROJECT
from sandbox.merchant.merchant import AFN, LISTINGS
from sandbox.world.report_desk import Request

THIS_PROJECT = "this_project"
OTHER_TOOLS = {
    "usual_options": "python-amazon-sp-api, read_csv, to_sql",
    "correct_options": "the same with every option correct",
    "airbyte": "Airbyte's source (to JSON lines)",
}
TOOLS = {**OTHER_TOOLS, THIS_PROJECT: "this project"}
SIZES = ((LISTINGS, 2_000), (AFN, 100_000))
READINGS_AT_ONCE = 3  # where nothing is timed; Airbyte's source mostly sleeps
ALL_EDGE_CASES = ("",)
# Documents with edge cases: marketplace, rendering, and the sandbox's special SKUs in addition to the ordinary ones.
DOCUMENTS: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "ordinary": (US, {}, ()),
    "quotes in SKUs and titles": (US, {}, ('QUOTE"ONE', '"QUOTED"', '"OPEN', "TITLE-QUOTE", "TITLE-OPEN-QUOTE")),
    "SKUs NA, null, None, nan, 00123, 1.0, 1e5": (US, {}, ("NA", "null", "None", "nan", "00123", "1.0", "1e5")),
    "a carriage return in a title": (US, {}, ("TITLE-RETURN",)),
    "letters beyond ASCII, UTF-8": (US, {}, ("ÜNÏCÖDE-é", "日本-SKU")),
    "letters beyond ASCII, cp932 (Japan)": (JAPAN, {"charset": "cp932"}, ("日本-SKU",)),
    "a tab at the end of each row": (US, {"trailing_tab": True}, ()),
    "all edge cases of the sandbox": (US, {"trailing_tab": True}, ALL_EDGE_CASES),
}


def read_before(merchant: Merchant, tool: str) -> None:
    """The same tool has just read the report."""
    merchant.read(tool)


def requested_by_another_program(merchant: Merchant, tool: str) -> None:
    """Another program of the merchant has just requested the report."""
    world = merchant.stack.amazon.world
    with world.lock:
        request = Request(merchant.report_type, (merchant.marketplace_id,), None, None)
        world.desk.create(world.merchant(merchant.seller_id), request, None)


def no_data(merchant: Merchant, tool: str) -> None:
    """Amazon has no row for the report."""
    world = merchant.stack.amazon.world
    world.shape_report(merchant.seller_id, merchant.marketplace_id, merchant.report_type, "no_data")


def create_report_fault(fault: str) -> Callable[[Merchant, str], None]:
    """The next createReport has this fault of the sandbox."""

    def script(merchant: Merchant, tool: str) -> None:
        merchant.stack.amazon.world.add_fault("createReport", fault, seller_id=merchant.seller_id)

    return script


# What happens at Amazon: report type, and what sets it up before the tool reads the report.
SITUATIONS: dict[str, tuple[str, Callable[[Merchant, str], None]]] = {
    "stock, read twice in a row": (AFN, read_before),
    "stock, just requested by another program: CANCELLED": (AFN, requested_by_another_program),
    "stock, no data: CANCELLED": (AFN, no_data),
    "stock, the answer to createReport is lost": (AFN, create_report_fault("reset_after")),
    "stock, FATAL once": (AFN, create_report_fault("fatal")),
    "listings, FATAL once": (LISTINGS, create_report_fault("fatal")),
}


def install_other_tools(folder: Path) -> Path:
    """Create a virtual environment with the other tools; returns its Python."""
    uv, python = Path(sys.executable).with_name("uv"), folder / "bin" / "python"
    subprocess.run([uv, "venv", "-q", "-p", sys.executable, folder], check=True)
    packages: list[str | Path] = ["-r", PROJECT / "requirements-bench.txt"]
    subprocess.run([uv, "pip", "install", "-q", "--compile-bytecode", "--python", python, *packages], check=True)
    return python


def format_calls(calls: Counter[str]) -> str:
    """Calls as text, e.g. ``1 createReport, 2 getReport``."""
    return ", ".join(f"{n} {operation}" for operation, n in sorted(calls.items())) or "none"


def print_head(*columns: str, numbers: int) -> None:
    """Print the head of a table whose last columns are numbers."""
    print(f"| {' | '.join(columns)} |\n|{'---|' * (len(columns) - numbers)}{'---:|' * numbers}", flush=True)


def compare_correctness(stack: Stack, python: Path, numbers: count[int]) -> None:
    """Print how many rows each tool reads correctly from documents with edge cases."""
    print_head("rows read correctly", *TOOLS.values(), numbers=len(TOOLS))

    def read(document: str, number: int, tool: str) -> Reading:
        marketplace_id, rendering, special_skus = DOCUMENTS[document]
        merchant = Merchant(stack, python, number, marketplace_id)
        merchant.add(100, rendering, special_skus)
        return merchant.read(tool)

    complete: Counter[str] = Counter()
    with ThreadPoolExecutor(READINGS_AT_ONCE) as pool:
        readings = {
            document: {tool: pool.submit(read, document, next(numbers), tool) for tool in TOOLS}
            for document in DOCUMENTS
        }
        for document, by_tool in readings.items():
            results = {tool: future.result() for tool, future in by_tool.items()}
            print(f"| {document} | {' | '.join(map(str, results.values()))} |", flush=True)
            complete.update(tool for tool, reading in results.items() if reading.complete)
    print()
    ours = complete[THIS_PROJECT]
    for tool, name in OTHER_TOOLS.items():
        ratio = ours / complete[tool] if complete[tool] else float("inf")
        print_summary_row(f"{len(DOCUMENTS)} documents, read completely", str(ours), f"{complete[tool]}: {name}", ratio)


def compare_cost(stack: Stack, python: Path, numbers: count[int]) -> None:
    """Print seconds, memory and calls for larger ordinary documents, one reading after another."""
    for report_type, listings in SIZES:
        what = f"{report_type} of {listings:,} listings"
        print()
        print_head(what, "seconds", "peak MB", "rows read correctly", "calls", "tokens", numbers=5)
        readings = {}
        for tool, name in TOOLS.items():
            merchant = Merchant(stack, python, next(numbers), US, report_type)
            merchant.add(listings)
            reading = readings[tool] = merchant.read(tool)
            calls = f"{reading.calls.total()} | {reading.calls['token']}"
            print(f"| {name} | {reading.seconds:.1f} | {reading.peak_mb:.0f} | {reading} | {calls} |", flush=True)
    print()
    ours = readings[THIS_PROJECT]  # of the last size, as the others
    for tool, name in OTHER_TOOLS.items():
        other = readings[tool]
        seconds, peak = (f"{other.seconds:.1f} s: {name}", f"{other.peak_mb:.0f} MB: {name}")
        print_summary_row(f"{what}, seconds", f"{ours.seconds:.1f} s", seconds, ours.seconds / other.seconds)
        print_summary_row(f"{what}, peak", f"{ours.peak_mb:.0f} MB", peak, ours.peak_mb / other.peak_mb)


def compare_faults(stack: Stack, python: Path, numbers: count[int]) -> None:
    """Print how Airbyte's source and this project handle a report that is cancelled, fails, or whose answer is lost."""
    tools = ("airbyte", THIS_PROJECT)
    print()
    print_head("what happens", *(column for tool in tools for column in (TOOLS[tool], "its calls")), numbers=0)

    def read(situation: str, number: int, tool: str) -> Reading:
        report_type, set_up = SITUATIONS[situation]
        merchant = Merchant(stack, python, number, US, report_type)
        merchant.add(100)
        set_up(merchant, tool)
        return merchant.read(tool)

    with ThreadPoolExecutor(READINGS_AT_ONCE) as pool:
        readings = {
            situation: [pool.submit(read, situation, next(numbers), tool) for tool in tools] for situation in SITUATIONS
        }
        for situation, futures in readings.items():
            results = [future.result() for future in futures]
            cells = (f"{reading} | {format_calls(reading.calls)}" for reading in results)
            print(f"| {situation} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Install the other tools, and print three kinds of tables."""
    with tempfile.TemporaryDirectory() as folder, stack_of_this_process(1) as stack:
        python = install_other_tools(Path(folder))
        migrate_warehouse(stack.environment)
        logging.disable(logging.WARNING)
        numbers = count()
        for compare in (compare_correctness, compare_cost, compare_faults):
            compare(stack, python, numbers)


if __name__ == "__main__":
    main()
