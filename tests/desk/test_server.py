"""The desk in a real API server behind a path prefix, with people who log in with a password, each with another role."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import psycopg
import pytest
import requests

from devstack.airflow import warehouse_connection
from devstack.postgres import free_port
from tests.desk.shop import STORE, fill

ROLES = ("viewer", "user", "op", "admin")


@pytest.fixture(scope="module")
def server(airflow_database, postgres, migrated_template, tmp_path_factory):
    url = postgres.create_database("warehouse_of_a_server", template=migrated_template)
    with psycopg.connect(url, autocommit=True) as db:
        fill(lambda query, *values: db.execute(query, values or None))
    folder = tmp_path_factory.mktemp("server")
    (folder / "passwords.json").write_text(json.dumps({role: f"password of {role}" for role in ROLES}))
    port = free_port()
    base = f"http://127.0.0.1:{port}/some/prefix"
    environment = {
        **os.environ,
        "AIRFLOW__API__BASE_URL": base,
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{role}:{role}" for role in ROLES),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(folder / "passwords.json"),
        "AIRFLOW_CONN_FBA_WAREHOUSE": warehouse_connection(url),
    }
    command = [
        sys.executable,
        "-m",
        "airflow",
        "api-server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        ends = time.monotonic() + 200
        while True:
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < ends, (folder / "log").read_text()
            try:
                if requests.get(f"{base}/api/v2/monitor/health", timeout=10).ok:
                    break
            except requests.RequestException:
                time.sleep(0.5)
        yield SimpleNamespace(base=base)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def logged_in(server, role):
    session = requests.Session()
    answer = session.post(
        f"{server.base}/auth/token", json={"username": role, "password": f"password of {role}"}, timeout=30
    )
    session.cookies.set("_token", answer.json()["access_token"], path="/")
    return session


def test_it_is_closed_without_a_login(server):
    for path in ("", "stock", f"request?store={STORE}&number=FR-1", "static/desk.css", "stock?form=csv"):
        answer = requests.get(f"{server.base}/fba/{path}", timeout=30)
        assert answer.status_code == 401, path
        assert "BLUE" not in answer.text


@pytest.mark.parametrize("role", ROLES)
def test_each_role_reads_pages_files_and_csv(server, role):
    session = logged_in(server, role)
    assert "Needs you" in session.get(f"{server.base}/fba/", timeout=30).text
    assert "BLUE-MUG" in session.get(f"{server.base}/fba/stock", timeout=30).text
    assert session.get(f"{server.base}/fba/static/desk.css", timeout=30).headers["content-type"].startswith("text/css")
    assert session.get(f"{server.base}/fba/stock?form=csv", timeout=30).text.count("\n") == 4


def test_a_token_in_place_of_a_cookie_opens_it_and_a_wrong_one_does_not(server):
    token = logged_in(server, "viewer").cookies["_token"]
    for bearer, status in ((token, 200), (token[:-4] + "AAAA", 403)):
        headers = {"Authorization": f"Bearer {bearer}"}
        assert requests.get(f"{server.base}/fba/", headers=headers, timeout=30).status_code == status


def test_airflow_knows_the_plugin_once_and_has_no_complaint(server):
    session = logged_in(server, "admin")
    session.headers["Authorization"] = f"Bearer {session.cookies['_token']}"
    plugins = session.get(f"{server.base}/api/v2/plugins", timeout=30).json()["plugins"]
    (desk,) = [plugin for plugin in plugins if plugin["name"] == "fba_desk"]
    (view,) = desk["external_views"]
    assert (view["href"], view["destination"]) == ("fba/", "nav")
    assert session.get(f"{server.base}/api/v2/plugins/importErrors", timeout=30).json()["import_errors"] == []
    icon = session.get(f"{server.base}/{view['icon']}", timeout=30)
    assert icon.headers["content-type"] == "image/svg+xml"
