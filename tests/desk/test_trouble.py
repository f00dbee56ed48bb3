"""Where the warehouse is missing, old, slow or closed, a page says so and what to do."""

from __future__ import annotations

import re
import subprocess
import sys

import psycopg
import pytest

from devstack.airflow import PROJECT, warehouse_connection
from tests.desk.test_pages import plain


def trouble(browse, path="/fba/"):
    answer = browse("viewer").get(path)
    assert answer.status_code == 503, answer.text
    assert "Traceback" not in answer.text
    assert 'role="alert"' in answer.text
    return plain(answer.text)


def test_no_connection(browse, monkeypatch):
    client = browse("viewer")
    monkeypatch.delenv("AIRFLOW_CONN_FBA_WAREHOUSE")
    page = plain(client.get("/fba/stock").text)
    assert "There is no connection fba_warehouse" in page
    assert "Make a Postgres connection" in page


def test_no_server(browse, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_FBA_WAREHOUSE", warehouse_connection("postgresql://postgres@127.0.0.1:9/none"))
    assert "The warehouse does not answer (connection fba_warehouse)" in trouble(browse)


def test_a_warehouse_without_tables(browse, postgres, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_FBA_WAREHOUSE", warehouse_connection(postgres.create_database("bare")))
    for path in ("/fba/", "/fba/stock", "/fba/requests", "/fba/reports", "/fba/stock?form=csv"):
        assert "has no tables yet" in trouble(browse, path)


def test_a_warehouse_of_an_older_version(browse, sql):
    sql("ALTER TABLE fba.stock_total_change RENAME COLUMN units TO other")
    assert "older than the desk" in trouble(browse)


def test_a_slow_warehouse_and_a_held_table(browse, warehouse_url, monkeypatch):
    monkeypatch.setattr("fba_operators.desk.reading.PATIENCE", 1)
    with psycopg.connect(warehouse_url) as other:
        other.execute("LOCK TABLE fba.global_inventory_pool IN ACCESS EXCLUSIVE MODE")
        assert "did not answer within" in trouble(browse, "/fba/stock")


def test_a_login_that_may_not_read(browse, sql, warehouse_url, postgres):
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as db:
        db.execute("DROP ROLE IF EXISTS stranger")
        db.execute("CREATE ROLE stranger LOGIN")
    sql("GRANT USAGE ON SCHEMA fba TO stranger")
    with pytest.MonkeyPatch.context() as patch:
        url = warehouse_url.replace("postgres@", "stranger@")
        patch.setenv("AIRFLOW_CONN_FBA_DESK", warehouse_connection(url))
        assert "may not read a table" in trouble(browse)
    sql("DROP OWNED BY stranger")


def test_the_connection_fba_desk_is_used_where_there_is_one(browse, monkeypatch, warehouse_url):
    monkeypatch.setenv("AIRFLOW_CONN_FBA_DESK", warehouse_connection(warehouse_url))
    monkeypatch.setenv("AIRFLOW_CONN_FBA_WAREHOUSE", warehouse_connection("postgresql://postgres@127.0.0.1:9/none"))
    assert browse("viewer").get("/fba/").status_code == 200


def test_a_page_can_write_nothing(warehouse_url, api):
    from fba_operators.desk.reading import reading

    for db in reading():
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            db.execute("DELETE FROM fba.run")


def test_more_pages_than_places_wait_and_then_are_refused(browse, monkeypatch):
    import threading

    monkeypatch.setattr("fba_operators.desk.reading.PATIENCE", 0.2)
    monkeypatch.setattr("fba_operators.desk.reading._places", threading.BoundedSemaphore(1))
    from fba_operators.desk.reading import reading

    held = reading()
    next(held)
    assert "Too many pages" in trouble(browse)
    held.close()
    assert browse("viewer").get("/fba/").status_code == 200


def test_where_the_app_cannot_be_imported_everything_is_refused(monkeypatch):
    import asyncio

    from fba_operators.desk.plugin import AppWhenAsked

    monkeypatch.setitem(sys.modules, "fba_operators.desk.app", None)
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(AppWhenAsked()({"type": "http", "path": "/"}, None, send))
    assert sent[0]["status"] == 503
    assert b"cannot start" in sent[1]["body"]


def test_to_know_the_plugin_costs_next_to_nothing():
    """Every task imports it."""
    code = "import airflow.plugins_manager, sys; before = set(sys.modules); import fba_operators.desk.plugin; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert set(done.stdout.split()) <= {"fba_operators", "fba_operators.desk", "fba_operators.desk.plugin"}


@pytest.mark.parametrize("installed", [True, False])
def test_the_folder_brings_the_plugin_where_no_package_does(installed, monkeypatch):
    import importlib.metadata

    if not installed:
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: [])
    names = {}
    exec((PROJECT / "plugins/fba_plugin.py").read_text(), names)
    assert ("FbaDesk" in names) is not installed


def test_every_colour_of_text_can_be_read():
    """4.5:1 or more, in both themes, of each text on each ground that it stands on."""
    css = (PROJECT / "plugins/fba_operators/desk/static/desk.css").read_text()
    themes = re.findall(r"(?::root|:root\[data-theme=\"dark\"\]) \{(.*?)\}", css, re.DOTALL)[:2]
    pairs = [
        *((text, ground) for text in ("fg", "muted", "link") for ground in ("bg", "panel")),
        *(("good", "good-bg"), ("bad", "bad-bg"), ("warn", "warn-bg"), ("fg", "plain-bg"), ("on-accent", "accent")),
    ]
    for theme in themes:
        colours = dict(re.findall(r"--([\w-]+): ([^;]+);", theme))
        for text, ground in pairs:
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)


def contrast(one, other):
    lights = sorted((luminance(one), luminance(other)))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def luminance(colour):
    """WCAG's relative luminance of #fff or oklch(l c h)."""
    import math

    if colour == "#fff":
        return 1.0
    lightness, chroma, hue = map(float, re.fullmatch(r"oklch\(([\d.]+) ([\d.]+) ([\d.]+)\)", colour).groups())
    a, b = chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue))
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    red = 4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short
    green = -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short
    blue = -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short
    red, green, blue = (min(max(each, 0), 1) for each in (red, green, blue))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
