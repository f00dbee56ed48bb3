"""Backups: the commands of docs/deploy.md, run; what comes back is the warehouse as it was."""

from __future__ import annotations

import re
import subprocess
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from devstack.airflow import PROJECT, warehouse_connection
from devstack.postgres import PSQL, running_postgres
from fba_operators.warehouse.database import Warehouse
from tests.warehouse.test_upgrades import DATA, digests, everything

ROLES = PROJECT / "include" / "sql" / "roles.sql"
DEPLOY = (PROJECT / "docs" / "deploy.md").read_text()
FENCED = DEPLOY.split("```")[1::2]
(PLAIN, COMPOSE) = (block.strip() for block in FENCED if "pg_dump" in block)


@pytest.fixture(scope="module")
def server():
    with running_postgres() as running:
        yield running


@pytest.fixture
def filled(server, monkeypatch):
    """A warehouse named as in the commands, with a row of every kind."""
    url = server.create_database("warehouse")
    monkeypatch.setenv("AIRFLOW_CONN_FBA_WAREHOUSE", warehouse_connection(url))
    Warehouse().migrate()
    with psycopg.connect(url) as db:
        for statements in DATA.values():
            db.execute(statements.encode())
    return url


def shell(server, folder, command, *, fails=False, **more):
    environment = {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": "postgres"}
    environment["PATH"] = f"{PSQL.parent.resolve()}:/usr/bin:/bin"
    done = subprocess.run(
        ["bash", "-ec", command], cwd=folder, env={**environment, **more}, capture_output=True, check=False
    )
    assert (done.returncode != 0) == fails, done.stderr.decode()


@contextmanager
def connected(monkeypatch, url):
    with monkeypatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_FBA_WAREHOUSE", warehouse_connection(url))
        yield Warehouse()


def test_a_dump_restored_by_another_login_is_the_warehouse_as_it_was(server, filled, monkeypatch, tmp_path):
    before, known = everything(filled), digests(filled)
    shell(server, tmp_path, f"psql --set ON_ERROR_STOP=1 --dbname warehouse --file {ROLES}")
    with psycopg.connect(server.url("postgres"), autocommit=True) as db:
        db.execute("DROP DATABASE IF EXISTS restored")
        db.execute("DROP ROLE IF EXISTS mover")
        db.execute("CREATE ROLE mover LOGIN CREATEDB")
    dump, restore = PLAIN.splitlines()
    shell(server, tmp_path, dump)
    shell(server, tmp_path, restore, PGUSER="mover")
    url = server.url("restored")
    assert everything(url) == before
    assert digests(url) == known
    with connected(monkeypatch, url.replace("postgres@", "mover@")) as warehouse:
        assert warehouse.migrate() == []
    shell(server, tmp_path, f"psql --set ON_ERROR_STOP=1 --dbname restored --file {ROLES}")
    with psycopg.connect(url) as db:
        assert db.execute(
            "SELECT has_table_privilege('fba_merchant', 'fba.fulfillment_request', 'DELETE')"
        ).fetchone() == (True,)


def test_a_dump_put_back_over_a_warehouse_takes_what_came_after_it_away(server, filled, tmp_path):
    before = everything(filled)
    commands = [re.sub(r"^docker compose exec --no-TTY postgres ", "", line) for line in COMPOSE.splitlines()]
    stop, start = (line for line in commands if line.startswith("docker compose "))
    assert (stop.split()[2], start.split()[2]) == ("stop", "start")
    dump, restore = (line for line in commands if line not in (stop, start))
    shell(server, tmp_path, dump)
    with psycopg.connect(filled) as db:
        db.execute("INSERT INTO fba.fulfillment_request (store, fr_number) VALUES ('amazon_us', 'AFTERWARDS')")
    assert everything(filled) != before
    shell(server, tmp_path, restore)
    assert everything(filled) == before
    assert Path(tmp_path / "warehouse.dump").stat().st_size > 0


def test_a_dump_of_an_earlier_version_needs_the_schema_to_go_first(server, filled, tmp_path):
    dump, restore = (
        re.sub(r"^docker compose exec --no-TTY postgres ", "", line)
        for line in COMPOSE.splitlines()
        if "warehouse.dump" in line
    )
    shell(server, tmp_path, dump)
    before = everything(filled)
    with psycopg.connect(filled) as db:
        db.execute(
            "CREATE TABLE fba.of_a_later_version (store text, fr_number text,"
            " FOREIGN KEY (store, fr_number) REFERENCES fba.fulfillment_request)"
        )
        db.execute("INSERT INTO fba.fulfillment_request (store, fr_number) VALUES ('amazon_us', 'AFTERWARDS')")
    later = everything(filled)
    shell(server, tmp_path, restore, fails=True)
    assert everything(filled) == later
    with psycopg.connect(filled) as db, pytest.raises(psycopg.errors.RaiseException, match="cannot go from pending"):
        db.execute("UPDATE fba.fulfillment_request SET status = 'accepted' WHERE fr_number = 'AFTERWARDS'")
    (drop,) = re.findall(r"`docker compose exec postgres (psql .*DROP SCHEMA fba CASCADE\")`", DEPLOY)
    shell(server, tmp_path, drop)
    shell(server, tmp_path, restore)
    assert everything(filled) == before
