"""What the benchmarks that run whole DAGs share: PostgreSQL, a sandbox Amazon with many stores, and Airflow's settings."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from devstack.airflow import settings, store_connection
from devstack.client import AirflowClient
from devstack.postgres import Server, running_postgres
from devstack.standalone import running_airflow
from sandbox.server.server import Sandbox

MARKETPLACES = ("ATVPDKIKX0DER", "A2EUQ1WTGCTBG2")


@dataclass(frozen=True)
class Stage:
    """What is running, and the stores that are set up."""

    postgres: Server
    amazon: Sandbox
    folder: Path
    warehouse_url: str
    stores: list[str]


@dataclass(frozen=True)
class Scheduled:
    """A real Airflow with its scheduler, and stores that are a seller each."""

    airflow: AirflowClient
    amazon: Sandbox
    home: Path
    environment: dict[str, str]
    warehouse_url: str
    stores: list[str]

    @staticmethod
    def seller_of(store: str) -> str:
        """The seller id behind a store."""
        return f"A{store.upper().replace('_', '')}"

    def add_requests(self, each: int) -> None:
        """Give every store requests that are ready to be sent."""
        with psycopg.connect(self.warehouse_url) as db:
            for store in self.stores:
                query = "SELECT sku FROM fba.global_inventory_pool WHERE store = %s AND fba_quantity >= 5 ORDER BY sku LIMIT %s"
                for n, (sku,) in enumerate(db.execute(query, (store, each)).fetchall()):
                    insert_request(db, store, f"{store}-{n}", sku)

    def ship(self) -> None:
        """Let Amazon ship what was ordered."""
        for store in self.stores:
            self.amazon.world.ship_now(self.seller_of(store), parts=1)


def insert_request(db: psycopg.Connection[Any], store: str, number: str, sku: str) -> None:
    """Write a request of one unit."""
    db.execute(
        "INSERT INTO fba.fulfillment_request (store, fr_number, shipping_method, ship_to_name, ship_to_address_1,"
        " ship_to_city, ship_to_state, ship_to_postal_code, ship_to_country)"
        " VALUES (%s, %s, 'Standard', 'Jane Example', '1 Example Street', 'Seattle', 'WA', '98101', 'US')",
        (store, number),
    )
    db.execute(
        "INSERT INTO fba.fulfillment_request_item (store, fr_number, line, sku, quantity) VALUES (%s, %s, 1, %s, 1)",
        (store, number, sku),
    )


@contextmanager
def scheduled(stores: int, *, processing_seconds: float, listings: int = 60) -> Iterator[Scheduled]:
    """Start PostgreSQL, the sandbox and Airflow as `make run` does (four tasks at a time), with stores of sellers of their own."""
    with (
        tempfile.TemporaryDirectory(prefix="fba-bench-") as folder,
        running_postgres() as postgres,
        Sandbox(listings=listings, processing_seconds=processing_seconds) as amazon,
    ):
        home, warehouse_url = Path(folder), postgres.create_database("warehouse")
        postgres.create_database("airflow")
        names = [f"store_{n}" for n in range(stores)]
        environment = settings(home, postgres.url("airflow", "postgresql+psycopg2"), warehouse_url, amazon.url)
        environment["FBA_STORES_FILE"] = str(home / "stores.yaml")
        environment["AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE"] = "False"
        (home / "stores.yaml").write_text(f"stores: {{{', '.join(f'{name}: ' for name in names)}}}")
        for name in names:
            seller_id = Scheduled.seller_of(name)
            told = amazon.world.add_merchant(seller_id, MARKETPLACES[:1], listings=listings, oddities=False)
            secrets = {"refresh_token": told["refresh_token"], "seller_id": seller_id}
            environment[f"AIRFLOW_CONN_{name.upper()}"] = store_connection(amazon.url, **secrets)
        with running_airflow(environment, home) as url:
            yield Scheduled(AirflowClient(url, home), amazon, home, environment, warehouse_url, names)


@contextmanager
def stage(stores: int, *, processing_seconds: float = 0.0, listings: int = 60) -> Iterator[Stage]:
    """Start PostgreSQL and the sandbox, with stores two to a seller (US, Canada), and set this process's environment.

    Airflow reads its settings when it is first imported, so that must happen inside the block.
    """
    with (
        tempfile.TemporaryDirectory(prefix="fba-bench-") as name,
        running_postgres() as postgres,
        Sandbox(listings=listings, processing_seconds=processing_seconds) as amazon,
    ):
        folder, ids = Path(name), [f"store_{n}" for n in range(stores)]
        warehouse = postgres.create_database("warehouse")
        postgres.create_database("airflow")
        os.environ.update(settings(folder, postgres.url("airflow", "postgresql+psycopg2"), warehouse, amazon.url))
        for n, conn_id in enumerate(ids):
            os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"] = store_connection(amazon.url, **_seller(amazon, n))
        (folder / "stores.yaml").write_text(f"stores: {{{', '.join(f'{conn_id}: {{}}' for conn_id in ids)}}}\n")
        os.environ["FBA_STORES_FILE"] = str(folder / "stores.yaml")
        subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, capture_output=True)
        yield Stage(postgres, amazon, folder, warehouse, ids)


def _seller(amazon: Sandbox, n: int) -> dict[str, Any]:
    seller_id = f"ABENCHSELLER{n // 2}"
    if seller_id not in amazon.world.merchants:
        amazon.world.add_merchant(seller_id, MARKETPLACES, listings=60)
    refresh_token = amazon.world.credentials(seller_id)["refresh_token"]
    return {"seller_id": seller_id, "refresh_token": refresh_token, "marketplace_id": MARKETPLACES[n % 2]}
