"""Closed by default: each route is asked without a login, by who may not read, by who may only read, and by who may act."""

from __future__ import annotations

import pytest
from fastapi.routing import APIRoute


def routes():
    """Every route of the desk's app, each as (method, path)."""
    from fba_operators.desk.app import app

    found = []
    for route in app.routes:
        assert isinstance(route, APIRoute), f"{route} is no route whose caller the app checks"
        found += [(method, "/fba" + route.path.replace("{name}", "desk.css")) for method in route.methods]
    return sorted(found)


def test_there_are_routes():
    assert ("GET", "/fba/") in routes()
    assert ("GET", "/fba/static/desk.css") in routes()


@pytest.mark.parametrize("role", [None, "nobody"])
def test_nothing_is_shown_to_who_may_not_read(browse, role):
    client = browse(role)
    answers = {(method, path): client.request(method, path).status_code for method, path in routes()}
    assert set(answers.values()) == {403 if role else 401}, answers


@pytest.mark.parametrize(
    "dag", ["fba_get_inventory", "fba_send_fulfillment_requests", "fba_track_orders", "fba_get_shipments"]
)
def test_who_may_not_read_the_runs_of_one_dag_reads_nothing(browse, monkeypatch, dag):
    """As with an auth manager that gives rights by DAG."""
    from airflow.api_fastapi.app import get_auth_manager

    manager = get_auth_manager()
    real = manager.is_authorized_dag
    monkeypatch.setattr(
        manager, "is_authorized_dag", lambda **asked: asked["details"].id != dag and real(**asked), raising=True
    )
    client = browse("admin")
    assert {client.request(method, path).status_code for method, path in routes()} == {403}


@pytest.mark.parametrize("role", ["viewer", "user", "op", "admin"])
def test_who_may_read_the_runs_reads(browse, role):
    assert browse(role).get("/fba/").status_code == 200
    assert browse(role).get("/fba/static/desk.css").status_code == 200


def test_what_writes_is_closed_to_who_may_only_read(browse):
    viewer = browse("viewer")
    for method, path in routes():
        if method not in ("GET", "HEAD"):
            headers = {"Sec-Fetch-Site": "same-origin"}
            assert viewer.request(method, path, headers=headers).status_code == 403, path


def test_what_writes_is_closed_to_other_sites(browse):
    user = browse("user")
    for method, path in routes():
        if method not in ("GET", "HEAD"):
            for headers in (
                {},
                {"Sec-Fetch-Site": "cross-site"},
                {"Sec-Fetch-Site": "same-site"},
                {"Origin": "https://evil.example"},
                {"Origin": "null"},
            ):
                assert user.request(method, path, headers=headers).status_code == 403, (path, headers)


@pytest.mark.parametrize("path", ["/fba/openapi.json", "/fba/docs", "/fba/redoc", "/fba/nothing"])
def test_the_api_has_no_pages_of_its_own(browse, path):
    assert browse("admin").get(path).status_code == 404
    assert "openapi" not in browse(None).get(path).text
