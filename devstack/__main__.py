"""`make run` and `make up`: PostgreSQL, the sandbox Amazon and Airflow on one machine, and the DAGs run once.

python -m devstack run|up
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
from rich.markup import escape

from devstack import demo
from devstack.airflow import settings
from devstack.client import AirflowClient
from devstack.postgres import PSQL, running_postgres
from devstack.standalone import environment_file, running_airflow
from devstack.waiting import Progress, StackError, console
from sandbox.server.server import Sandbox

LISTINGS = 5000


def main(command: str) -> int:
    """Run the stack.

    :param command: ``run`` stops at the end, ``up`` stays until Ctrl-C
    :return: exit code
    """
    began = time.monotonic()
    try:
        with airflow_home() as home:
            _run(command, home, began)
    except StackError as error:
        return _failed(str(error))
    except KeyboardInterrupt:
        console.print("Stopped.")
        return 130 if command == "run" else 0
    except (OSError, RuntimeError, psycopg.Error, subprocess.SubprocessError) as error:
        return _failed(f"The stack stopped because of an error ({type(error).__name__}): {error}")
    return 0


def _failed(reason: str) -> int:
    console.print(f"[red]✗[/] {escape(reason)}", soft_wrap=True)
    return 1


@contextmanager
def airflow_home() -> Iterator[Path]:
    """Yield a new AIRFLOW_HOME; delete it at the end. After a failure its logs stay, because they show the cause."""
    home = Path(tempfile.mkdtemp(prefix="fba-airflow-"))
    try:
        yield home
    except Exception:
        for path in home.iterdir():
            if path.is_dir() and path.name != "logs":
                shutil.rmtree(path, ignore_errors=True)
            elif path.name not in ("airflow.log", "logs"):
                path.unlink(missing_ok=True)
        raise
    except BaseException:
        shutil.rmtree(home, ignore_errors=True)
        raise
    shutil.rmtree(home, ignore_errors=True)


def _run(command: str, home: Path, began: float) -> None:
    with ExitStack() as stack:
        with Progress("PostgreSQL starts"):
            postgres = stack.enter_context(running_postgres())
            warehouse_url = postgres.create_database("warehouse")
            postgres.create_database("airflow")
        console.print(f"[green]✓[/] PostgreSQL on 127.0.0.1:{postgres.port}")
        with Progress("The sandbox Amazon starts"):
            amazon = stack.enter_context(Sandbox(listings=LISTINGS, processing_seconds=4))
        console.print(f"[green]✓[/] sandbox Amazon on {amazon.url}, a merchant with {LISTINGS} listings")
        amazon.world.inventory_page_size = 1000  # Amazon's 50 would be half a minute of waiting for its quota
        folder = home / "published"
        (home / "stores.yaml").write_text(demo.STORES_YAML.format(folder=folder), encoding="utf-8")
        environment = settings(home, postgres.url("airflow", "postgresql+psycopg2"), warehouse_url, amazon.url)
        environment["FBA_STORES_FILE"] = str(home / "stores.yaml")
        if command == "run":
            environment["AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE"] = "False"  # only the runs asked for below
        url = stack.enter_context(running_airflow(environment, home))
        airflow = AirflowClient(url, home)
        console.print(f"[green]✓[/] Airflow on {url} (user {airflow.user}, password {airflow.password})")
        run_dags(airflow, amazon, warehouse_url, home / "stores.yaml", folder)
        console.print(f"Done in {time.monotonic() - began:.0f} s.")
        if command == "up":
            console.print(f"Airflow stays up: {url} (user {airflow.user}, password {airflow.password})")
            console.print("For `airflow` commands in a second terminal, first enter this there:")
            console.print(f"  . {environment_file(home)}", soft_wrap=True)
            console.print(f"SQL in the warehouse: {PSQL} {warehouse_url}", soft_wrap=True)
            console.print(f"Sandbox Amazon: {amazon.url}/control   Ctrl-C stops everything.", soft_wrap=True)
            signal.pause()


def run_dags(airflow: AirflowClient, amazon: Sandbox, warehouse_url: str, stores_yaml: Path, folder: Path) -> None:
    """Run each DAG, sending by both transports, show what it filled, and compare that with the sandbox.

    :param folder: where stock is published
    """
    airflow.run("fba_get_inventory")
    demo.show_inventory(warehouse_url)
    _check(demo.wrong_quantities(warehouse_url, amazon))
    demo.insert_requests(warehouse_url)
    airflow.run("fba_send_fulfillment_requests")
    demo.show_requests(warehouse_url)
    _check(demo.wrong_orders(warehouse_url, amazon))
    stores_yaml.write_text(demo.ORDER_BY_ORDER_YAML.format(folder=folder), encoding="utf-8")
    demo.insert_orders(warehouse_url)
    airflow.run("fba_send_fulfillment_requests")
    demo.show_quotes(warehouse_url)
    _check(demo.wrong_orders(warehouse_url, amazon))
    amazon.world.ship_now(demo.SELLER, parts=1)
    airflow.run("fba_get_shipments", {"lookback_days": 1})
    demo.show_shipments(warehouse_url)
    _check(demo.wrong_shipments(warehouse_url, amazon))
    amazon.world.advance(demo.DAYS_UNDER_WAY * 86400)
    airflow.run("fba_track_orders")
    demo.show_parcels(warehouse_url)
    _check(demo.wrong_parcels(warehouse_url, amazon))
    airflow.run("fba_publish_stock")
    demo.show_stock(warehouse_url)
    _check(demo.wrong_deliveries(warehouse_url, folder))
    demo.show_runs(warehouse_url)


def _check(wrong: str | None) -> None:
    if wrong:
        raise StackError(wrong)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in ("run", "up"):
        sys.exit("usage: python -m devstack run|up")
    for end in (signal.SIGTERM, signal.SIGINT):  # a shell can start a background process with SIGINT ignored
        signal.signal(end, _interrupt)
    sys.exit(main(sys.argv[1]))
