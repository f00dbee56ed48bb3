"""README and docs: their SQL runs, their links resolve, their examples work, and every setting and param is documented."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import psycopg
import pytest
import yaml

from devstack.__main__ import LISTINGS
from devstack.demo import MARKETPLACE, SELLER
from sandbox.world.world import World
from tests.stores import US

PROJECT = Path(__file__).resolve().parents[2]
README = PROJECT / "README.md"
DOCS = sorted((PROJECT / "docs").glob("*.md"))
PAGES = [
    *(README, PROJECT / "CHANGELOG.md", PROJECT / "CONTRIBUTING.md", *DOCS),
    *(PROJECT / "benchmarks" / "README.md", PROJECT / "tests" / "faults" / "README.md"),
]
CHAPTERS = {
    "fba_get_inventory": PROJECT / "docs" / "inventory.md",
    "fba_send_fulfillment_requests": PROJECT / "docs" / "fulfillment.md",
    "fba_get_shipments": PROJECT / "docs" / "shipments.md",
    "fba_track_orders": PROJECT / "docs" / "tracking.md",
    "fba_publish_stock": PROJECT / "docs" / "stock.md",
}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def prose(page: Path) -> str:
    """The page without its blocks of code, in which a # is no heading."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> list[str]:
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings]


def links(page: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", prose(page))


def relative(page: Path) -> str:
    return str(page.relative_to(PROJECT))


SQL = [(page.name, block) for page in PAGES for block in blocks(page, "sql") if "CREATE TABLE" not in block]


@pytest.mark.parametrize(("page", "block"), SQL, ids=[f"{page}-{n}" for n, (page, _) in enumerate(SQL)])
def test_the_sql_runs_unchanged(warehouse_url, page, block):
    with psycopg.connect(warehouse_url) as db:
        db.execute(block.encode())


def test_the_chapter_explains_every_column_that_a_merchant_may_write():
    page = CHAPTERS["fba_send_fulfillment_requests"].read_text()
    roles = (PROJECT / "include" / "sql" / "roles.sql").read_text()
    columns = re.search(r"'fba_merchant', 'INSERT', 'fulfillment_request',\s+'([^']+)'", roles)[1].split()
    parts_of_the_address = re.compile(r"ship_to_(name|address_\d|city|state|postal_code|country)")
    assert len(columns) > 20
    assert [each for each in columns if f"`{each}`" not in page and not parts_of_the_address.fullmatch(each)] == []


def test_the_example_request_can_be_sent_to_the_sandbox():
    (block,) = [each for each in blocks(CHAPTERS["fba_send_fulfillment_requests"], "sql") if each.startswith("INSERT")]
    [(sku, quantity)] = re.findall(r"1, '([^']+)', (\d+)\)", block)
    stock = World(listings=LISTINGS).truth(SELLER, MARKETPLACE, False, False)
    assert stock[sku]["quantity"] >= int(quantity)


@pytest.mark.parametrize("page", ["docs/shipments.md", "dags/fba_get_shipments.py"])
def test_the_example_of_a_backfill_leaves_no_day_of_its_month_out(page):
    """Airflow reads a date as its midnight: without a run after the month its last day is not requested."""
    [dates] = re.findall(r"--from-date (\S+) --to-date (\S+) ", (PROJECT / page).read_text())
    first, last = map(date.fromisoformat, dates)
    next_month = (first + timedelta(days=31)).replace(day=1)
    assert (first.day, last) == (1, next_month + timedelta(days=1))


def test_there_is_sql_for_each_job():
    assert len(SQL) > 15


def test_no_query_is_repeated():
    titles = [block.splitlines()[0] for _, block in SQL]
    assert len(titles) == len(set(titles))


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_and_anchors_resolve(page):
    for target in links(page):
        path, _, anchor = target.partition("#")
        if path.startswith("http"):
            continue
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_a_heading_is_unique_in_its_page(page):
    """GitHub numbers the anchors of headings that are repeated."""
    if page.name != "CHANGELOG.md":  # every version has the same ones
        assert len(anchors(page)) == len(set(anchors(page)))


def test_the_readme_is_short_and_links_every_page():
    assert len(README.read_text().splitlines()) <= 135
    linked = {(PROJECT / target.partition("#")[0]).resolve() for target in links(README)}
    assert [relative(page) for page in PAGES if page != README and page not in linked] == []


def test_make_has_every_target_that_is_mentioned():
    known = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        mentioned = set(re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(), re.MULTILINE))
        assert mentioned <= known, page.name


def params_of(dag: Path) -> list[str]:
    """The names in ``params={...}``, whatever makes their values."""
    calls = (node for node in ast.walk(ast.parse(dag.read_text())) if isinstance(node, ast.Call))
    given = [word.value for call in calls for word in call.keywords if word.arg == "params"]
    return [ast.literal_eval(key) for value in given if isinstance(value, ast.Dict) for key in value.keys if key]


@pytest.mark.parametrize("dag", sorted((PROJECT / "dags").glob("*.py")), ids=lambda dag: dag.stem)
def test_the_chapter_of_a_dag_explains_every_param(dag):
    params = params_of(dag)
    assert len(params) >= 2
    assert [name for name in params if f"`{name}`" not in CHAPTERS[dag.stem].read_text()] == []


def test_every_setting_is_documented_with_its_default():
    from fba_operators.settings.models import Destination
    from fba_operators.settings.stores_file import load_stores

    file = load_stores()
    store = next(iter(file.stores.values()))
    sections = {
        "fba_get_inventory": [store.inventory],
        "fba_send_fulfillment_requests": [store.fulfillment],
        "fba_get_shipments": [store.shipments, file.retention],
    }
    assert {type(section).__name__ for found in sections.values() for section in found} == {
        *("Inventory", "Fulfillment", "Shipments", "Retention")
    }
    assert {*type(store).model_fields, *type(file).model_fields} == {
        *("inventory", "fulfillment", "shipments", "stores", "retention", "notifications", "publish")
    }
    keys = re.findall(r"^\| `(\w+)` \| (?!`)", CHAPTERS["fba_publish_stock"].read_text(), re.MULTILINE)
    assert set(Destination.model_fields) <= set(keys)
    for dag, found in sections.items():
        rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", CHAPTERS[dag].read_text(), re.MULTILINE)
        documented = {key: yaml.safe_load(default) for key, default in rows}
        fields = {key: field for section in found for key, field in type(section).model_fields.items()}
        defaults = {key: field.get_default(call_default_factory=True) for key, field in fields.items()}
        rules = defaults.get("rules")
        assert documented == defaults | ({"rules": rules.model_dump(exclude_defaults=True)} if rules else {}), dag


def test_yaml_and_json_in_the_docs_can_be_read(monkeypatch, tmp_path):
    from fba_operators.settings.stores_file import load_stores

    for page in PAGES:
        for block in blocks(page, "yaml"):
            text = block if "stores:" in block else f"stores: {{amazon_us: }}\n{block}"
            (tmp_path / "stores.yaml").write_text(text)
            assert load_stores(tmp_path / "stores.yaml").stores
            assert yaml.safe_load(block)
        for conf in re.findall(r"conf '(\{.*?\})'", page.read_text()):
            assert set(json.loads(conf)) <= {"start", "end", "lookback_days"}


def test_the_environment_of_the_connection_example_is_a_connection(monkeypatch):
    from airflow.sdk import BaseHook

    example = re.search(r"AIRFLOW_CONN_AMAZON_US='(\{.*?\}\})'", (PROJECT / "docs/connect.md").read_text(), re.DOTALL)
    monkeypatch.setenv("AIRFLOW_CONN_AMAZON_US", example[1].replace("\n", ""))
    connection = BaseHook.get_connection("amazon_us")
    assert connection.conn_type == "amazon_sp_api"
    assert connection.extra_dejson["marketplace_id"] == US


@pytest.mark.timeout(900)  # an Airflow of its own
def test_a_report_type_is_added_as_extend_md_says(airflow_database, warehouse_url, tmp_path):
    """In a folder and a process of its own, with nothing but what the page says."""
    from airflow.dag_processing.dagbag import DagBag

    page = PROJECT / "docs" / "extend.md"
    for block in (*blocks(page, "sql"), *blocks(page, "python"), *blocks(page, "gitignore")):
        if name := re.match(r"(?:#|--) (acme/\S+)\n", block):
            (tmp_path / name[1]).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name[1]).write_text(block)
    assert len(list((tmp_path / "acme").rglob("*.*"))) == 4
    bag = DagBag(str(tmp_path))
    assert (bag.import_errors, list(bag.dags)) == ({}, ["get_manage_inventory"])
    environment = {name: value for name, value in os.environ.items() if name != "AIRFLOW_CONN_AMAZON_US"}
    environment |= {"AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": ""}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "acme"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_every_command_of_make_help_is_explained():
    output = subprocess.run(["make", "help"], cwd=PROJECT, check=True, capture_output=True, text=True).stdout
    assert {"run", "up", "test", "faults", "bench", "wheel"} <= set(re.findall(r"make ([a-z-]+)", output))
