"""One PostgreSQL and one Airflow home for the session; a new warehouse and a new Amazon for each test."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from psycopg.sql import SQL, Identifier
from xdist.scheduler import LoadScopeScheduling

# Airflow reads its settings when it is first imported, which collecting the tests does; so they are made here.
_stack = ExitStack()
_home = Path(_stack.enter_context(tempfile.TemporaryDirectory(prefix="fba-tests-")))

from devstack.airflow import settings, store_connection, warehouse_connection  # noqa: E402
from devstack.postgres import Server, running_postgres  # noqa: E402
from sandbox.server.server import Sandbox  # noqa: E402
from tests.fresh_warehouse import FreshWarehouse  # noqa: E402

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


# Files of which all tests share something that takes seconds to make.
WHOLE_FILES = {
    *("tests/amazon/test_wire.py", "tests/desk/test_server.py", "tests/warehouse/test_backup.py", "tests/warehouse/test_check.py"),
    *("tests/warehouse/test_pooler.py", "tests/warehouse/test_roles.py", "tests/warehouse/test_waits.py"),
    *("tests/faults/test_crashes.py", "tests/faults/test_frozen.py", "tests/faults/test_matrix.py"),
}  # fmt: skip


class Apart(LoadScopeScheduling):
    """Tests go to the workers of pytest-xdist one by one, but those of the browser and of some files to one worker."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if file.startswith("tests/browser/"):
            return "browser"
        return file if file in WHOLE_FILES else nodeid


def pytest_xdist_make_scheduler(config, log):
    # Not for `make faults`: there such a file takes an hour, and several workers share it.
    return None if os.environ.get("FBA_FAULTS") else Apart(config, log)


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


@pytest.fixture(scope="session")
def _fresh_warehouse(postgres: Server, migrated_template: str) -> FreshWarehouse:
    return FreshWarehouse(postgres, migrated_template)


@pytest.fixture
def warehouse_url(_fresh_warehouse: FreshWarehouse, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new warehouse, reached by the connection fba_warehouse."""
    url = _fresh_warehouse.url()
    monkeypatch.setenv("AIRFLOW_CONN_FBA_WAREHOUSE", warehouse_connection(url))
    return url


@pytest.fixture
def warehouse(warehouse_url: str):
    from fba_operators.warehouse.database import Warehouse

    return Warehouse()


@pytest.fixture
def sql(warehouse_url: str):
    """Run a statement in the warehouse: ``sql("SELECT …", value)`` returns the cursor."""
    with psycopg.connect(warehouse_url, autocommit=True) as db:
        yield lambda query, *values: db.execute(query, values or None)


@pytest.fixture
def airflow_sql(postgres: Server, airflow_database: None):
    """Run a statement in Airflow's own database."""
    with psycopg.connect(postgres.url("airflow"), autocommit=True) as db:
        yield lambda query, *values: db.execute(query, values or None)


@pytest.fixture(scope="session")
def api(airflow_database):
    """Airflow's own app, with every plugin that it finds."""
    import json
    import os
    from pathlib import Path

    with pytest.MonkeyPatch.context() as patch:
        passwords = Path(os.environ["AIRFLOW_HOME"]) / "passwords.json"
        roles = {"viewer": "viewer", "user": "user", "op": "op", "admin": "admin", "nobody": None}
        passwords.write_text(json.dumps(dict.fromkeys(roles, "secret")))
        patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", ",".join(f"{n}:{r}" for n, r in roles.items() if r))
        patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", str(passwords))
        patch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
        from airflow.api_fastapi.app import create_app, purge_cached_app

        purge_cached_app()
        yield create_app()
        purge_cached_app()


@pytest.fixture
def ask_airflow(api):
    """Ask Airflow's REST API: ``ask_airflow("eventLogs", event="…")`` returns the answer's JSON."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from fastapi.testclient import TestClient

    token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="admin", role="admin"))
    client = TestClient(api, headers={"Authorization": f"Bearer {token}"})

    def ask(path, **query):
        answer = client.get(f"/api/v2/{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return ask


@pytest.fixture
def kept_by_airflow(airflow_sql):
    """All that Airflow's own database holds, as one text: XComs, rendered fields, events and whatever a version calls them."""

    def read() -> str:
        tables = airflow_sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        assert len(tables) > 20
        return "\n".join(
            f"{table} {row}"
            for (table,) in tables
            for (row,) in airflow_sql(SQL("SELECT t::text FROM {} AS t").format(Identifier(table)))
        )

    return read


@pytest.fixture
def amazon(monkeypatch: pytest.MonkeyPatch):
    """A sandbox Amazon with a small merchant, reached by the connection amazon_us."""
    with Sandbox(listings=300, processing_seconds=0.01) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_AMAZON_US", store_connection(sandbox.url))
        yield sandbox


@pytest.fixture(autouse=True)
def fast_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Poll a hundred times a second: the sandbox has no other callers."""
    from tests import timing

    timing.poll_every(monkeypatch, 0.01)


@pytest.fixture
def immediate_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry a call at once after a short fault, and defer whatever would have to sleep."""
    from tests import timing

    timing.sleep_inline_at_most(monkeypatch, 0.0)


@pytest.fixture
def no_retry_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry a call as often as ever, but without a pause between the attempts."""
    from tests import timing

    timing.replace_retry_sleep(monkeypatch, lambda seconds: None)


@pytest.fixture
def no_real_sleep(amazon, sql, monkeypatch) -> None:
    """Let the seconds that a call sleeps, for its quota and between its attempts, pass at once, in the warehouse and at Amazon."""
    from tests import timing

    def sleep(seconds: float) -> None:
        sql("UPDATE fba.rate_limit SET refilled_at = refilled_at - make_interval(secs => %s)", seconds)
        amazon.world.advance(seconds)

    timing.replace_quota_sleep(monkeypatch, sleep)
    timing.replace_retry_sleep(monkeypatch, sleep)


@pytest.fixture
def short_waits(monkeypatch):
    """Give up a row or a lock after a fifth of a second instead of half a minute."""
    from fba_operators.warehouse import statements

    real = statements.statement

    def shortened(name):
        text = real(name)
        if name == "warehouse.limit_lock":
            return text.replace(b"%(patience)s", b"'200ms'")
        return text.replace(b"'30s'", b"'200ms'") if name == "warehouse.begin" else text

    monkeypatch.setattr(statements, "statement", shortened)


@pytest.fixture
def short_idle(monkeypatch, request):
    """Let the database end a transaction that does nothing for some seconds (2, or the test's param), instead of ten minutes."""
    from fba_operators.warehouse import statements

    real, limit = statements.statement, f"'{getattr(request, 'param', 2)}s'".encode()
    monkeypatch.setattr(statements, "statement", lambda name: real(name).replace(b"'10min'", limit))


@pytest.fixture
def pass_cooldown(amazon, sql):
    """Let the cool-down of reports pass, in the ledger and at Amazon; as ``on_wait`` it collects the moments waited for."""
    from fba_operators.reports.ledger import COOLDOWN

    def pass_time(moment=None):
        pass_time.moments.append(moment)
        sql("UPDATE fba.report SET requested_at = requested_at - interval '31 minutes'")
        amazon.world.advance(COOLDOWN.total_seconds() + 60)

    pass_time.moments = []
    return pass_time


@pytest.fixture
def shop(warehouse_url, amazon, immediate_retries, monkeypatch):
    """A merchant with requests, and an Amazon that answers fast; see :class:`tests.sending.Merchant`."""
    from tests.sending import Merchant

    with Merchant(warehouse_url, amazon, monkeypatch) as merchant:
        yield merchant


@pytest.fixture
def stores_file(tmp_path, monkeypatch):
    """Write stores.yaml and use it: ``stores_file("stores: {amazon_us: }")``."""

    def write(text: str) -> None:
        path = tmp_path / "stores.yaml"
        path.write_text(text)
        monkeypatch.setenv("FBA_STORES_FILE", str(path))

    return write


@pytest.fixture
def fulfillment(stores_file):
    """Write stores.yaml: ``fulfillment("hold_hours: 4")``."""

    def write(section: str, stores=("amazon_us",)) -> None:
        body = "".join(f"  {store}:\n    fulfillment: {{{section}}}\n" for store in stores)
        stores_file(f"stores:\n{body}")

    return write
