"""The systems on which DAGs and operators run: PostgreSQL, a sandbox Amazon with many stores, and Airflow."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from benchmarks.common.processes import run_python
from devstack.airflow import settings, store_connection
from devstack.client import AirflowClient
from devstack.postgres import Server, running_postgres
from devstack.standalone import running_airflow
from sandbox.server.server import Sandbox

INVENTORY, SEND, SHIPMENTS = DAGS = ("fba_get_inventory", "fba_send_fulfillment_requests", "fba_get_shipments")
US, CANADA = MARKETPLACES = ("ATVPDKIKX0DER", "A2EUQ1WTGCTBG2")


@dataclass(frozen=True)
class Stack:
    """Running databases and a running sandbox, with stores that are set up.

    :param sellers: store → seller id at the sandbox
    :param environment: Airflow's settings and connections
    """

    postgres: Server
    amazon: Sandbox
    folder: Path
    warehouse_url: str
    sellers: dict[str, str]
    environment: dict[str, str]

    @property
    def stores(self) -> list[str]:
        """Connection ids of the stores."""
        return list(self.sellers)

    def prepare_run(self, dag_id: str, requests_per_store: int = 1) -> None:
        """Give a DAG something to do: requests that can be sent, or sent orders that Amazon has shipped."""
        if dag_id == SEND:
            with psycopg.connect(self.warehouse_url) as db:
                for store in self.stores:
                    insert_requests(db, store, requests_per_store)
        elif dag_id == SHIPMENTS:
            for seller_id in dict.fromkeys(self.sellers.values()):
                self.amazon.world.ship_now(seller_id, parts=1)


def insert_requests(db: psycopg.Connection, store: str, count: int) -> None:
    """Insert fulfillment requests, each for one unit of an ordinary SKU in stock."""
    query = (
        "SELECT sku FROM fba.global_inventory_pool WHERE store = %s AND fba_quantity >= 5 AND sku LIKE 'SKU-%%'"
        " ORDER BY sku LIMIT %s"
    )
    for n, (sku,) in enumerate(db.execute(query, (store, count)).fetchall()):
        number = f"{store}-{n}"
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
def running_stack(
    stores: int,
    *,
    marketplaces: tuple[str, ...] = (US,),
    processing_seconds: float = 0.0,
    listings: int = 60,
    edge_cases: bool = False,
    postgres_settings: dict[str, str] | None = None,
) -> Iterator[Stack]:
    """Start PostgreSQL and the sandbox, and set up stores; Airflow's own database is created and left empty.

    :param marketplaces: those of each seller, who has one store in each
    :param processing_seconds: how long a report or feed takes at Amazon
    :param listings: SKUs of each store
    :param edge_cases: whether the SKUs include the edge cases the sandbox knows
    :param postgres_settings: server settings; default: fast, without protection against power cuts
    """
    with (
        tempfile.TemporaryDirectory(prefix="fba-bench-") as name,
        running_postgres(postgres_settings) as postgres,
        Sandbox(listings=listings, processing_seconds=processing_seconds) as amazon,
    ):
        folder, warehouse_url = Path(name), postgres.create_database("warehouse")
        postgres.create_database("airflow")
        environment = settings(folder, postgres.url("airflow", "postgresql+psycopg2"), warehouse_url, amazon.url)
        sellers = {f"store_{n}": f"ABENCHSELLER{n // len(marketplaces)}" for n in range(stores)}
        for n, (store, seller_id) in enumerate(sellers.items()):
            if seller_id not in amazon.world.merchants:
                amazon.world.add_merchant(seller_id, marketplaces, listings=listings, oddities=edge_cases)
            environment[f"AIRFLOW_CONN_{store.upper()}"] = store_connection(
                amazon.url,
                seller_id=seller_id,
                refresh_token=amazon.world.credentials(seller_id)["refresh_token"],
                marketplace_id=marketplaces[n % len(marketplaces)],
            )
        (folder / "stores.yaml").write_text(f"stores: {{{', '.join(f'{store}: {{}}' for store in sellers)}}}\n")
        environment["FBA_STORES_FILE"] = str(folder / "stores.yaml")
        yield Stack(postgres, amazon, folder, warehouse_url, sellers, environment)


@contextmanager
def stack_of_this_process(stores: int) -> Iterator[Stack]:
    """Start a stack for DAGs and operators that run in this process; two stores (US, Canada) to a seller.

    Sets this process's environment. Airflow reads its settings when it is first imported, so import it inside the block.
    """
    with running_stack(stores, marketplaces=MARKETPLACES, edge_cases=True) as stack:
        os.environ.update(stack.environment)
        run_python("-m", "airflow", "db", "migrate")
        yield stack


@contextmanager
def airflow_stack(
    stores: int, *, processing_seconds: float, listings: int = 60, postgres_settings: dict[str, str] | None = None
) -> Iterator[tuple[Stack, AirflowClient]]:
    """Start a stack and a real Airflow, as `make run` does (four tasks at a time); one store to a seller."""
    with running_stack(
        stores, processing_seconds=processing_seconds, listings=listings, postgres_settings=postgres_settings
    ) as stack:
        stack.environment["AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE"] = "False"
        with running_airflow(stack.environment, stack.folder) as url:
            yield stack, AirflowClient(url, stack.folder)
