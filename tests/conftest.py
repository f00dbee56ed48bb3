"""One PostgreSQL and one Airflow home for the whole session; a fresh warehouse and a fresh Amazon for each test."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

# Airflow reads its settings when it is first imported, which collecting the tests does; so they are made here.
_stack = ExitStack()
_numbers = itertools.count(1)
_home = Path(_stack.enter_context(tempfile.TemporaryDirectory(prefix="fba-tests-")))

from devstack.airflow import settings, store_connection, warehouse_connection  # noqa: E402
from devstack.postgres import Server, running_postgres  # noqa: E402
from sandbox.server.server import Sandbox  # noqa: E402

_postgres: Server = _stack.enter_context(running_postgres())
_NOWHERE = "http://127.0.0.1:9"
os.environ.update(
    settings(_home, _postgres.url("airflow", "postgresql+psycopg2"), _postgres.url("warehouse"), _NOWHERE)
)

# The same examples each time, however slow the machine; others with `pytest --hypothesis-profile default`.
hypothesis_settings.register_profile(
    "repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("repeatable")


def pytest_sessionfinish() -> None:
    """Stop the server: pytest_unconfigure would be later, but it does not happen in the workers of pytest-xdist."""
    if airflow := sys.modules.get("airflow.settings"):
        airflow.dispose_orm(do_log=False)  # which Airflow does at exit, when the server is gone
    _stack.close()


@pytest.fixture(scope="session")
def postgres() -> Server:
    return _postgres


@pytest.fixture(scope="session")
def airflow_database(postgres: Server) -> None:
    """Airflow's own database, migrated once; needed by dag.test() only."""
    postgres.create_database("airflow")
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, capture_output=True)


@pytest.fixture(scope="session")
def migrated_template(postgres: Server) -> str:
    from fba_operators.warehouse.database import Warehouse

    url = postgres.create_database("warehouse_template")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_FBA_WAREHOUSE", warehouse_connection(url))
        Warehouse().migrate()
    return "warehouse_template"


@pytest.fixture
def warehouse_url(postgres: Server, migrated_template: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A warehouse of this test's own, reached by the connection fba_warehouse."""
    url = postgres.create_database(f"warehouse_{next(_numbers)}", template=migrated_template)
    monkeypatch.setenv("AIRFLOW_CONN_FBA_WAREHOUSE", warehouse_connection(url))
    return url


@pytest.fixture
def warehouse(warehouse_url: str):
    from fba_operators.warehouse.database import Warehouse

    return Warehouse()


@pytest.fixture
def amazon(monkeypatch: pytest.MonkeyPatch):
    """A sandbox Amazon with a small merchant, reached by the connection amazon_us."""
    with Sandbox(listings=300, processing_seconds=0.3) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_AMAZON_US", store_connection(sandbox.url))
        yield sandbox


@pytest.fixture(autouse=True)
def _quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask the sandbox, which needs no mercy, ten times a second."""
    monkeypatch.setattr("fba_operators.amazon.trigger.MIN_POLL_INTERVAL", 0.1)


@pytest.fixture
def shop(warehouse_url, amazon, monkeypatch):
    """A merchant with requests, and an Amazon that is quick; see :class:`tests.sending.Merchant`."""
    from tests.sending import Merchant

    monkeypatch.setattr("fba_operators.amazon.transport.MAX_INLINE_SLEEP", 0.0)  # short faults are tried again at once
    monkeypatch.setattr("fba_operators.amazon.trigger.MIN_POLL_INTERVAL", 0.005)
    amazon.world.set_clock(processing_seconds=0.01)
    with Merchant(warehouse_url, amazon, monkeypatch) as merchant:
        yield merchant


@pytest.fixture
def fulfillment(tmp_path, monkeypatch):
    """Write stores.yaml: ``fulfillment("hold_hours: 4")``."""

    def write(section: str, stores=("amazon_us",)):
        path = tmp_path / "stores.yaml"
        body = "".join(f"  {store}:\n    fulfillment: {{{section}}}\n" for store in stores)
        path.write_text(f"stores:\n{body}")
        monkeypatch.setenv("FBA_STORES_FILE", str(path))

    return write
