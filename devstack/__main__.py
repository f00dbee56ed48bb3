"""`make run` and `make up`: the whole thing on one machine, with a sandbox in Amazon's place."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import requests

from devstack import demo
from devstack.airflow import settings
from devstack.demo import console
from devstack.postgres import PSQL, Server, free_port, running_postgres
from sandbox.server.server import Sandbox

LISTINGS = 5000


class StackError(Exception):
    """The stack could not do what was asked; the message is for people."""


@contextmanager
def running_airflow(environment: dict[str, str], home: Path) -> Iterator[str]:
    """Start ``airflow standalone``; yield its address when it is healthy; stop the whole process tree at the end."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    password_file = home / "passwords.json"
    password_file.write_text(json.dumps({"admin": secrets.token_urlsafe(12)}))
    log = home / "airflow.log"
    environment = {
        **environment,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(password_file),
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow", "standalone"],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _until_healthy(url, process, log)
        yield url
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
        # standalone does not supervise its parts; what is left of its session goes with it.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _until_healthy(url: str, process: subprocess.Popen[bytes], log: Path, patience: float = 180) -> None:
    deadline = time.monotonic() + patience
    with console.status("Airflow starts ..."):
        while time.monotonic() < deadline:
            if process.poll() is not None:
                break
            try:
                health = requests.get(f"{url}/api/v2/monitor/health", timeout=5).json()
                parts = ("metadatabase", "scheduler", "triggerer", "dag_processor")
                if all((health.get(part) or {}).get("status") == "healthy" for part in parts):
                    return
            except (requests.RequestException, ValueError):
                pass
            time.sleep(0.5)
    raise StackError("Airflow did not become healthy. The end of its log:\n" + log.read_text(errors="replace")[-4000:])


class AirflowClient:
    """Airflow's REST API, as the admin of this stack."""

    def __init__(self, url: str, home: Path) -> None:
        self.url = url
        self.session = requests.Session()
        self.user, self.password = next(iter(json.loads((home / "passwords.json").read_text()).items()))
        answer = self.session.post(
            f"{url}/auth/token", json={"username": self.user, "password": self.password}, timeout=30
        )
        answer.raise_for_status()
        self.session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def call(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        """Make one call; raise on anything but success."""
        answer = self.session.request(method, f"{self.url}/api/v2{path}", timeout=60, **arguments)
        if not answer.ok:
            raise StackError(f"Airflow answered {answer.status_code} to {method} {path}: {answer.text[:500]}")
        return dict(answer.json())

    def until_parsed(self, dag_id: str, patience: float = 90) -> None:
        """Wait until Airflow knows the DAG; raise with the import error if it cannot."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            errors = self.call("GET", "/importErrors")["import_errors"]
            if errors:
                raise StackError(f"{errors[0]['filename']} cannot be imported:\n{errors[0]['stack_trace']}")
            if self.session.get(f"{self.url}/api/v2/dags/{dag_id}", timeout=30).ok:
                return
            time.sleep(0.5)
        raise StackError(f"Airflow does not see the DAG {dag_id}")

    def run(self, dag_id: str, conf: dict[str, Any] | None = None) -> float:
        """Trigger a DAG, show its progress, return its seconds; raise if it does not succeed."""
        self.until_parsed(dag_id)
        self.call("PATCH", f"/dags/{dag_id}", json={"is_paused": False})
        began = time.monotonic()
        run_id = self.call("POST", f"/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": conf or {}})[
            "dag_run_id"
        ]
        with console.status(f"{dag_id} runs ...") as status:
            while True:
                run = self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}")
                tasks = self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
                done = sum(task["state"] in ("success", "skipped") for task in tasks)
                busy = [task["task_id"] for task in tasks if task["state"] in ("running", "deferred", "queued")]
                waited = time.monotonic() - began
                status.update(f"{dag_id}: {done} of {len(tasks)} tasks done, {waited:.0f} s. {', '.join(busy)}")
                if run["state"] in ("success", "failed"):
                    break
                time.sleep(1)
        seconds = time.monotonic() - began
        if run["state"] == "failed":
            bad = [task["task_id"] for task in tasks if task["state"] == "failed"]
            raise StackError(f"{dag_id} failed in {', '.join(bad)}. Logs: {self.url}/dags/{dag_id}/runs/{run_id}")
        console.print(f"[green]✓[/] {dag_id}: success in {seconds:.0f} s")
        return seconds


def main(command: str) -> int:
    """Run the stack.

    :param command: ``run`` stops at the end, ``up`` stays until Ctrl-C
    :return: exit code
    """
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="fba-airflow-") as folder, running_postgres() as postgres:
            _run(command, Path(folder), postgres, began)
    except StackError as error:
        console.print(f"[red]✗[/] {error}", markup=True)
        return 1
    except KeyboardInterrupt:
        console.print("Stopped.")
        return 130 if command == "run" else 0
    return 0


def _run(command: str, home: Path, postgres: Server, began: float) -> None:
    console.print(f"[green]✓[/] PostgreSQL on 127.0.0.1:{postgres.port}")
    warehouse_url = postgres.create_database("warehouse")
    postgres.create_database("airflow")
    with Sandbox(listings=LISTINGS, processing_seconds=4) as amazon:
        console.print(f"[green]✓[/] sandbox Amazon on {amazon.url}, a merchant with {LISTINGS} listings")
        (home / "stores.yaml").write_text(demo.STORES_YAML, encoding="utf-8")
        environment = settings(home, postgres.url("airflow", "postgresql+psycopg2"), warehouse_url, amazon.url)
        environment["FBA_STORES_FILE"] = str(home / "stores.yaml")
        if command == "run":
            environment["AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE"] = "False"  # only the runs asked for below
        with running_airflow(environment, home) as url:
            airflow = AirflowClient(url, home)
            console.print(f"[green]✓[/] Airflow on {url} (user {airflow.user}, password {airflow.password})")
            airflow.run("fba_get_inventory")
            demo.show_inventory(warehouse_url)
            _check(demo.wrong_quantities(warehouse_url, amazon))
            demo.insert_requests(warehouse_url)
            airflow.run("fba_send_fulfillment_requests")
            demo.show_requests(warehouse_url)
            _check(demo.wrong_orders(warehouse_url, amazon))
            amazon.world.ship_now(demo.SELLER, parts=1)
            airflow.run("fba_get_shipments", {"lookback_days": 1})
            demo.show_shipments(warehouse_url)
            _check(demo.wrong_shipments(warehouse_url, amazon))
            demo.show_runs(warehouse_url)
            console.print(f"Done in {time.monotonic() - began:.0f} s.")
            if command == "up":
                console.print(f"Airflow stays up: {url} (user {airflow.user}, password {airflow.password})")
                console.print(f"Ask the warehouse: {PSQL} {warehouse_url}", soft_wrap=True)
                console.print(f"Sandbox Amazon: {amazon.url}/control   Ctrl-C stops all.")
                signal.pause()


def _check(wrong: str | None) -> None:
    if wrong:
        raise StackError(wrong)


def _terminated(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in ("run", "up"):
        sys.exit("usage: python -m devstack run|up")
    for end in (signal.SIGTERM, signal.SIGINT):  # also where a shell started us with SIGINT ignored
        signal.signal(end, _terminated)
    sys.exit(main(sys.argv[1]))
