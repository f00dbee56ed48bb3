"""Many stores in one run of each DAG, on a real scheduler: seconds to parse the DAG file, seconds of the run, stock checked.

Each store is a seller of its own with 60 listings and ten fulfillment requests, on one sandbox. LocalExecutor runs
four tasks at a time, as `make run` does.

    python -m benchmarks.stores [stores]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg

from devstack.__main__ import AirflowClient, StackError, running_airflow
from devstack.airflow import PROJECT, settings, store_connection
from devstack.postgres import running_postgres
from sandbox.server import Sandbox

US = "ATVPDKIKX0DER"
DAGS = ("fba_get_inventory", "fba_send_fulfillment_requests", "fba_get_shipments")


def main(stores: int) -> None:
    """Run, check and print one Markdown table."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_postgres() as postgres,
        Sandbox(listings=60, processing_seconds=4) as amazon,
    ):
        home, warehouse_url = Path(folder), postgres.create_database("warehouse")
        postgres.create_database("airflow")
        names = [f"store_{n}" for n in range(stores)]
        environment = settings(home, postgres.url("airflow", "postgresql+psycopg2"), warehouse_url, amazon.url)
        environment["FBA_STORES_FILE"] = str(home / "stores.yaml")
        environment["AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE"] = "False"
        (home / "stores.yaml").write_text(f"stores: {{{', '.join(f'{name}: ' for name in names)}}}")
        for name in names:
            seller = f"A{name.upper().replace('_', '')}"
            told = amazon.world.add_merchant(seller, [US], listings=60, oddities=False)
            connection = store_connection(amazon.url, refresh_token=told["refresh_token"], seller_id=seller)
            environment[f"AIRFLOW_CONN_{name.upper()}"] = connection
        with running_airflow(environment, home) as url:
            airflow = AirflowClient(url, home)
            rows = []
            for dag_id in DAGS:
                parse = _parse_seconds(dag_id, environment)
                if dag_id == "fba_send_fulfillment_requests":
                    _insert_requests(warehouse_url, names)
                rows.append((dag_id, parse, airflow.run(dag_id)))
                if dag_id == "fba_get_inventory":
                    _check(warehouse_url, amazon, names)
                elif dag_id == "fba_send_fulfillment_requests":
                    for name in names:
                        amazon.world.ship_now(f"A{name.upper().replace('_', '')}", parts=1)
            _tell(warehouse_url)
    print(f"| DAG | {stores} stores: parse s | run s | s a store |\n|---|---:|---:|---:|")
    for dag_id, parse, seconds in rows:
        print(f"| `{dag_id}` | {parse:.2f} | {seconds:.0f} | {seconds / stores:.2f} |")


def _parse_seconds(dag_id: str, environment: dict[str, str]) -> float:
    """Seconds the DAG file itself takes, Airflow and the operators being imported already, as in a DAG processor."""
    code = (
        f"import sys, time, runpy, airflow.sdk; sys.path.insert(0, {str(PROJECT)!r}); runpy.run_path(sys.argv[1]);"
        " began = time.perf_counter(); runpy.run_path(sys.argv[1]); print(time.perf_counter() - began)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, str(PROJECT / "dags" / f"{dag_id}.py")],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(told.stdout.split()[-1])


def _insert_requests(warehouse_url: str, names: list[str]) -> None:
    with psycopg.connect(warehouse_url) as db:
        for name in names:
            query = (
                "SELECT sku FROM fba.global_inventory_pool WHERE store = %s AND fba_quantity >= 5 ORDER BY sku LIMIT 10"
            )
            skus = [sku for (sku,) in db.execute(query, (name,))]
            for n, sku in enumerate(skus):
                key = (name, f"{name}-{n}")
                db.execute(
                    "INSERT INTO fba.fulfillment_request (store, fr_number, shipping_method, ship_to_name, ship_to_address_1,"
                    " ship_to_city, ship_to_state, ship_to_postal_code, ship_to_country)"
                    " VALUES (%s, %s, 'Standard', 'Jane Example', '1 Example Street', 'Seattle', 'WA', '98101', 'US')",
                    key,
                )
                db.execute(
                    "INSERT INTO fba.fulfillment_request_item (store, fr_number, line, sku, quantity) VALUES (%s, %s, 1, %s, 1)",
                    (*key, sku),
                )


def _check(warehouse_url: str, amazon: Sandbox, names: list[str]) -> None:
    with psycopg.connect(warehouse_url) as db:
        for name in names:
            seller = f"A{name.upper().replace('_', '')}"
            query = "SELECT sku, quantity FROM fba.global_inventory_pool WHERE store = %s"
            pool: dict[str, int] = dict(db.execute(query, (name,)).fetchall())
            truth = amazon.world.truth(seller, US, False, False)
            if pool != {sku: told["quantity"] for sku, told in truth.items()}:
                raise StackError(f"{name}: the pool is not the merchant's true stock")


def _tell(warehouse_url: str) -> None:
    with psycopg.connect(warehouse_url) as db:
        statuses: dict[str, int] = dict(
            db.execute("SELECT status, count(*) FROM fba.fulfillment_request GROUP BY status").fetchall()
        )
        outcomes: dict[str, int] = dict(db.execute("SELECT outcome, count(*) FROM fba.run GROUP BY outcome").fetchall())
    print(f"requests: {statuses}; runs of stores: {outcomes}", file=sys.stderr)


if __name__ == "__main__":
    began = time.monotonic()
    main(int(sys.argv[1]) if sys.argv[1:] else 50)
    print(f"\n{time.monotonic() - began:.0f} s in all.", file=sys.stderr)
