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

from devstack.airflow import settings, store_connection
from devstack.postgres import Server, running_postgres
from sandbox.server import Sandbox

MARKETPLACES = ("ATVPDKIKX0DER", "A2EUQ1WTGCTBG2")


@dataclass(frozen=True)
class Stage:
    """What is running, and the stores that are set up."""

    postgres: Server
    amazon: Sandbox
    folder: Path
    warehouse_url: str
    stores: list[str]


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
