"""What a person does first: connect a store, test it, look at a DAG's params, start a run."""

from __future__ import annotations

import json
import time
from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import Locator, Page, expect

from fba_operators.amazon.marketplaces import MARKETPLACES
from sandbox.world.world import DEFAULT_MERCHANT
from tests.stores import US

NEW_STORE = "store_from_the_form"
DAGS = sorted(path.stem for path in (Path(__file__).parents[2] / "dags").glob("*.py"))


def _extra(dialog: Locator, name: str) -> Locator:
    """The input of one of our own fields; Airflow does not tie their labels to them."""
    return dialog.locator(f"[name=element_{name}]")


def _open(dialog: Locator, section: str) -> None:
    button = dialog.get_by_role("button", name=section, exact=True)
    if button.get_attribute("aria-expanded") == "false":
        button.click()


def _save(dialog: Locator) -> None:
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_be_hidden()


def _verdict(page: Page, title: str) -> str:
    """Press Test Connection and return the text of the message with this title."""
    page.get_by_role("row", name=NEW_STORE).get_by_role("button", name="Test Connection").click()
    toast = page.locator("[data-scope=toast][data-part=root]").filter(has_text=title)
    expect(toast).to_be_visible()
    return toast.inner_text()


def test_a_store_is_connected_and_tested_in_the_form(page, stack, tmp_path):
    page.goto(f"{stack.airflow.url}/connections")
    page.get_by_role("button", name="Add Connection").click()
    dialog = page.get_by_role("dialog")
    dialog.locator("[name=connection_id]").fill(NEW_STORE)
    kind = dialog.get_by_role("combobox").first
    kind.fill("Amazon Selling Partner API")
    kind.press("Enter")
    dialog.get_by_label("Endpoint (optional)").fill(stack.amazon.url)
    dialog.get_by_label("LWA client id").fill(DEFAULT_MERCHANT.client_id)
    secret = dialog.get_by_label("LWA client secret")
    expect(secret).to_have_attribute("type", "password")
    secret.fill(DEFAULT_MERCHANT.client_secret)
    dialog.get_by_label("Port: enter 0").fill("0")
    expect(dialog.get_by_label("Schema")).to_have_count(0)
    page.screenshot(path=tmp_path / "standard_fields.png")

    if not _extra(dialog, "refresh_token").is_visible():  # Airflow 3.4 shows them at once
        _open(dialog, "Extra Fields")
    token = _extra(dialog, "refresh_token")
    expect(token).to_have_attribute("type", "password")
    token.fill(DEFAULT_MERCHANT.refresh_token)
    _extra(dialog, "seller_id").fill(DEFAULT_MERCHANT.seller_id)
    _extra(dialog, "token_url").fill(stack.amazon.token_url)
    shops = dialog.get_by_role("combobox").last
    shops.click()
    page.screenshot(path=tmp_path / "marketplaces.png")
    offered = page.get_by_role("option").all_inner_texts()
    assert offered == sorted(f"{place.name} ({place.id})" for place in MARKETPLACES.values())
    shops.fill("United St")
    shops.press("Enter")
    for help_text in ("365 days", "merchant token", "second shop is a second connection", "Login with Amazon"):
        expect(dialog).to_contain_text(help_text)
    page.screenshot(path=tmp_path / "extra_fields.png")
    _save(dialog)

    stored = stack.airflow.call("GET", f"/connections/{NEW_STORE}")
    assert stored["password"] == "***"
    extra = json.loads(stored["extra"])
    assert (extra["refresh_token"], extra["marketplace_id"]) == ("***", US)

    good = _verdict(page, "Test Connection Successful")
    page.screenshot(path=tmp_path / "good.png")
    for part in (
        "client and refresh token: ok",
        f"region NA and marketplace United States ({US}): ok",
        "FBA stock: ok",
        "fulfillment orders: ok",
    ):
        assert part in good

    page.get_by_role("row", name=NEW_STORE).get_by_role("button", name="Edit Connection").click()
    expect(dialog.get_by_label("LWA client secret")).to_have_value("***")
    dialog.get_by_label("LWA client secret").fill("amzn1.oa2-cs.v1.not-the-secret")
    _save(dialog)
    bad = _verdict(page, "Test Connection Failed")
    page.screenshot(path=tmp_path / "bad.png")
    assert "client and refresh token: FAILED" in bad
    assert "secret" in bad
    assert "not-the-secret" not in bad


@pytest.mark.parametrize("dag_id", DAGS)
def test_the_runbook_of_a_dag_is_seen_without_scrolling_sideways(page, stack, dag_id):
    stack.airflow.until_parsed(dag_id)
    page.goto(f"{stack.airflow.url}/dags/{dag_id}")
    page.get_by_role("button", name="Dag Docs").click()
    table = page.get_by_role("dialog").get_by_role("table")
    expect(table).to_contain_text("when it fails")
    assert table.evaluate("table => table.parentElement.scrollWidth <= table.parentElement.clientWidth")


@pytest.mark.parametrize("dag_id", DAGS)
def test_the_trigger_form_explains_every_param(page, stack, dag_id, tmp_path):
    stack.airflow.until_parsed(dag_id)
    params = stack.airflow.call("GET", f"/dags/{dag_id}/details")["params"]
    assert "stores" in params
    dialog = _trigger_form(page, stack, dag_id)
    page.screenshot(path=tmp_path / "form.png")
    for name, param in params.items():
        expect(_extra(dialog, name), name).to_have_count(1)
        expect(dialog).to_contain_text(param["schema"]["title"])
        expect(dialog).to_contain_text(param["description"])
    expect(dialog.get_by_text("*", exact=True)).to_have_count(0)  # every param has a default, so none is required
    expect(dialog.get_by_label("Remove amazon_us")).to_be_visible()


def test_a_run_is_started_with_params(page, new_warehouse, tmp_path):
    stack = new_warehouse
    dag_id = "fba_get_inventory"
    stack.airflow.until_parsed(dag_id)
    earlier = {run["dag_run_id"] for run in _runs(stack, dag_id)}
    dialog = _trigger_form(page, stack, dag_id)
    choices = dialog.locator("#element_include_fbm_quantity")
    expect(choices).to_contain_text("As configured in stores.yaml")
    choices.click()
    page.get_by_role("option", name="On", exact=True).click()
    expect(choices).to_contain_text("On")
    page.screenshot(path=tmp_path / "chosen.png")
    dialog.get_by_role("button", name="Trigger").click()
    expect(dialog).to_be_hidden()

    deadline = time.monotonic() + 300
    while True:
        runs = [run for run in _runs(stack, dag_id) if run["dag_run_id"] not in earlier]
        if (runs and runs[0]["state"] in ("success", "failed")) or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    assert [run["state"] for run in runs] == ["success"]
    assert runs[0]["conf"]["include_fbm_quantity"] == "on"
    assert runs[0]["conf"]["fetch_missing_inventory"] is None
    truth = stack.amazon.world.truth(
        DEFAULT_MERCHANT.seller_id, US, include_fbm_quantity=True, fetch_missing_inventory=False
    )
    with psycopg.connect(stack.warehouse_url) as db:
        pool = dict(db.execute("SELECT sku, quantity FROM fba.global_inventory_pool").fetchall())
    assert pool == {sku: stock["quantity"] for sku, stock in truth.items()}
    run_id = runs[0]["dag_run_id"]
    page.goto(f"{stack.airflow.url}/dags/{dag_id}/runs/{run_id}")
    expect(page.get_by_text("summarise").first).to_be_visible()
    page.goto(f"{stack.airflow.url}/dags/{dag_id}/runs/{run_id}/tasks/store.merge/mapped")
    expect(page.get_by_role("table").get_by_text("amazon_us").first).to_be_visible()  # the store, not a map index
    page.screenshot(path=tmp_path / "mapped.png")


def _runs(stack, dag_id: str) -> list[dict]:
    return stack.airflow.call("GET", f"/dags/{dag_id}/dagRuns")["dag_runs"]


def _trigger_form(page: Page, stack, dag_id: str) -> Locator:
    page.goto(f"{stack.airflow.url}/dags/{dag_id}")
    page.get_by_role("button", name="Trigger").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Run Parameters")
    return dialog
