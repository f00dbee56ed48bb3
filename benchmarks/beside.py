"""The same documents read by this project, by python-amazon-sp-api with pandas, and by the decoder of Airbyte's source.

What is right is what the sandbox's merchant really listed: SKU, title, channel and quantity of every row. All download from the
sandbox; python-amazon-sp-api is used once as everybody writes it (`read_csv` with a tab) and once with every option right.
Both end in the same PostgreSQL. Airbyte's source only reads here (its destinations are other programs).

    python -m benchmarks.beside [listings of the large document]
"""

from __future__ import annotations

import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from benchmarks.stage import Stage, stage
from devstack.airflow import PROJECT, store_connection

LISTINGS = "GET_MERCHANT_LISTINGS_ALL_DATA"
COLUMNS = ("seller-sku", "item-name", "fulfillment-channel", "quantity")
WAYS = ("plain", "careful", "airbyte")
NAMES = {
    "plain": "python-amazon-sp-api, read_csv, to_sql",
    "careful": "the same with every option right",
    "airbyte": "Airbyte's decoder (reads only)",
    "ours": "this project",
}
US, JAPAN = "ATVPDKIKX0DER", "A1VC38T7YXB528"
ORDINARY = ("SKU-", "OLD-")
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
Row = tuple[str, ...]


def quantity_of(value: Any) -> str:
    """A quantity as text, kindly: 12.0 is 12, and missing is blank."""
    text = "" if value is None else str(value)
    return "" if text == "nan" else text.removesuffix(".0")


def right_rows(found: Iterable[Row], truth: Counter[Row]) -> int:
    """How many of the true rows were found."""
    told = Counter((*("" if value is None else str(value) for value in row[:3]), quantity_of(row[3])) for row in found)
    return (told & truth).total()


def truth_of(on: Stage, seller_id: str, marketplace_id: str) -> Counter[Row]:
    """The rows the listings report has, from the merchant's items themselves."""
    catalogue = on.amazon.world.merchant(seller_id).catalogue(marketplace_id)
    sent = catalogue.rendering(LISTINGS).as_sent
    return Counter(
        (sent(item.sku), sent(item.title), channel, "" if quantity is None else str(quantity))
        for item in catalogue.items.values()
        for channel, quantity in item.offers
    )


def ours(task: dict[str, Any]) -> dict[str, Any]:
    """Read a report with this project in a process of its own: raw copy, parsed copy, ledger, rejected lines."""
    return _child([sys.executable, "-m", "benchmarks.beside", "--ours"], task)


def theirs(python: Path, task: dict[str, Any]) -> dict[str, Any]:
    """Read a report with something else."""
    return _child([str(python), str(Path(__file__).with_name("beside_theirs.py"))], task)


def _child(command: list[str], task: dict[str, Any]) -> dict[str, Any]:
    child = subprocess.run(command, input=json.dumps(task), capture_output=True, text=True, check=False)
    if child.returncode:
        return {"error": "fails: " + child.stderr.strip().splitlines()[-1].split(":")[0]}
    return dict(json.loads(child.stdout.strip().splitlines()[-1]))


def work() -> None:
    """Be the process of ours: load one listings report."""
    task = json.loads(sys.stdin.read())
    from fba_operators.hook import SellingPartnerHook
    from fba_operators.ledger import ReportLedger
    from fba_operators.loading import copy_rows, load_report
    from fba_operators.report_types import LISTINGS as TYPE
    from fba_operators.warehouse import Warehouse

    began = time.perf_counter()  # after the imports, as in the others
    warehouse = Warehouse()
    hook, ledger = SellingPartnerHook(task["store"]), ReportLedger(warehouse, task["store"])
    report = load_report(hook, ledger, task["report_id"], TYPE, max_rejected_share=1.0)
    with warehouse.connect() as db:
        copy_rows(db, task["store"], report, "amazon_all_listings_report")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": time.perf_counter() - began, "peak_mb": peak}))


def measure(
    on: Stage,
    python: Path,
    number: int,
    *,
    marketplace_id: str,
    listings: int,
    shape: dict[str, Any],
    odd: tuple[str, ...],
) -> dict[str, Any]:
    """Make one merchant with one report and let everybody read it; returns what each found."""
    from fba_operators.hook import SellingPartnerHook
    from fba_operators.ledger import ReportLedger
    from fba_operators.reports import RequestReportOperator
    from fba_operators.warehouse import Warehouse

    store, seller_id, world = f"beside_{number}", f"ABESIDE{number}", on.amazon.world
    world.add_merchant(seller_id, [marketplace_id], listings=listings, oddities=bool(odd))
    if odd and odd != ("",):
        skus = list(world.merchant(seller_id).catalogue(marketplace_id).items)
        world.remove_items(
            seller_id, marketplace_id, [sku for sku in skus if not sku.startswith(ORDINARY) and sku not in odd]
        )
    world.set_rendering(seller_id, marketplace_id, LISTINGS, **shape)
    known = world.credentials(seller_id)
    secrets = {"refresh_token": known["refresh_token"], "seller_id": seller_id, "marketplace_id": marketplace_id}
    os.environ[f"AIRFLOW_CONN_{store.upper()}"] = store_connection(on.amazon.url, **secrets)
    ask = RequestReportOperator(
        task_id="ask", conn_id=store, report_type=LISTINGS, report_options={"preferredReportDocumentLocale": "en_US"}
    )
    report_id = ask.act({"run_id": "benchmark"})
    hook, ledger = SellingPartnerHook(store), ReportLedger(Warehouse(), store)
    while ledger.note(state := hook.get_report(report_id)) != "DONE":
        time.sleep(0.2)
    output = on.folder / "airbyte.jsonl"
    task = {
        "host": urlsplit(on.amazon.url).netloc,
        "credentials": {"lwa_app_id": known["client_id"], "lwa_client_secret": known["client_secret"]},
        "refresh_token": known["refresh_token"],
        "document_id": state["reportDocumentId"],
        "database": on.warehouse_url,
        "table": "theirs",
        "output": str(output),
        "store": store,
        "report_id": report_id,
    }
    truth, results = truth_of(on, seller_id, marketplace_id), {}
    for way in (*WAYS, "ours"):
        result = ours(task) if way == "ours" else theirs(python, {**task, "how": way})
        if "error" not in result:
            result["right"] = right_rows(_found(on, way, store, output), truth)
        results[way] = {**result, "of": truth.total()}
    return results


def _found(on: Stage, way: str, store: str, output: Path) -> list[Row]:
    if way == "airbyte":
        return [tuple(json.loads(line).get(name) or "" for name in COLUMNS) for line in output.open()]
    with psycopg.connect(on.warehouse_url) as db:
        if way == "ours":
            query = "SELECT seller_sku, item_name, fulfillment_channel, quantity FROM fba.amazon_all_listings_report WHERE store = %s"
            return db.execute(query, (store,)).fetchall()
        names = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
        return db.execute(sql.SQL("SELECT {} FROM theirs").format(names)).fetchall()


def main(large: int) -> None:
    """Print rows read right for the awkward documents, then seconds and memory for a large ordinary one."""
    with tempfile.TemporaryDirectory() as folder, stage(1) as on:
        uv, python = Path(sys.executable).with_name("uv"), Path(folder) / "bin" / "python"
        subprocess.run([uv, "venv", "-q", "-p", sys.executable, folder], check=True)
        subprocess.run(
            [
                uv,
                "pip",
                "install",
                "-q",
                "--compile-bytecode",
                "--python",
                python,
                "-r",
                PROJECT / "requirements-bench.txt",
            ],
            check=True,
        )
        from fba_operators.warehouse import Warehouse

        logging.disable(logging.WARNING)
        Warehouse().migrate()
        print(
            f"| rows read right | {' | '.join(NAMES[way] for way in NAMES)} |\n|---|{'---:|' * len(NAMES)}", flush=True
        )
        for number, (name, (marketplace_id, shape, odd)) in enumerate(CASES.items()):
            told_of = measure(on, python, number, marketplace_id=marketplace_id, listings=300, shape=shape, odd=odd)
            cells = [told_of[way].get("error") or f"{told_of[way]['right']} of {told_of[way]['of']}" for way in NAMES]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)
        print(f"\n| {large:,} ordinary listings | seconds | peak MB | rows read right |\n|---|---:|---:|---:|")
        for way, result in measure(on, python, 99, marketplace_id=US, listings=large, shape={}, odd=()).items():
            cells = [f"{result['seconds']:.1f}", f"{result['peak_mb']:.0f}", f"{result['right']:,} of {result['of']:,}"]
            print(f"| {NAMES[way]} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ours"]:
        work()
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)
