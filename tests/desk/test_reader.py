"""The desk with a login that may do no more than read what the role fba_reader gives it."""

from __future__ import annotations

import psycopg

from devstack.airflow import warehouse_connection
from tests.desk.shop import fill
from tests.desk.test_pages import PAGES
from tests.warehouse.test_roles import give_roles, of, server, warehouse_url  # noqa: F401 - its server has the roles


def test_every_page_is_whole_for_a_login_in_fba_reader(browse, warehouse_url, monkeypatch):  # noqa: F811
    superuser = of(warehouse_url.replace("airflow@", "postgres@"), "postgres")
    give_roles(superuser)
    with psycopg.connect(superuser, autocommit=True) as db:
        fill(lambda query, *values: db.execute(query, values or None))
    monkeypatch.setenv("AIRFLOW_CONN_FBA_DESK", warehouse_connection(of(superuser, "dashboard")))
    viewer = browse("viewer")
    found = {name: viewer.get(path) for name, path in PAGES.items()}
    assert {name: answer.status_code for name, answer in found.items()} == dict.fromkeys(PAGES, 200)
    assert "was refused" in found["rejected"].text
