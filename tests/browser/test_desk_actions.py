"""What a person decides in the desk, in Chromium, with real runs behind it: orders at the sandbox's Amazon, stock that vanishes."""

from __future__ import annotations

import re
import time

import psycopg
import pytest
from playwright.sync_api import expect

from sandbox.world.world import DEFAULT_MERCHANT
from tests.deciding import requests_in
from tests.stores import AFN, STORE, US

pytestmark = pytest.mark.timeout(900)  # several real runs in one test
INVENTORY, SEND = "fba_get_inventory", "fba_send_fulfillment_requests"
ADDRESS = {
    "ship_to_name": "Wilhelmina Secret",
    "ship_to_address_1": "77 Hidden Lane",
    "ship_to_address_3": None,
    "ship_to_city": "Seattle",
    "ship_to_postal_code": "98101",
    "order_comment": None,
}


@pytest.fixture(scope="module")
def desk(new_warehouse):
    """Both DAGs switched on, in front of a warehouse without tables."""
    airflow = new_warehouse.airflow
    for dag_id in (INVENTORY, SEND):
        airflow.until_parsed(dag_id)
        airflow.call("PATCH", f"/dags/{dag_id}", json={"is_paused": False})
    return f"{airflow.url}/fba"


@pytest.fixture
def add(stack):
    with requests_in(stack.warehouse_url) as requests:
        yield requests


@pytest.fixture
def sql(stack):
    with psycopg.connect(stack.warehouse_url, autocommit=True) as db:
        yield lambda query, *values: db.execute(query, values or None)


def decide(page, label, tmp_path, *, keyboard=False):
    """Take a decision in its two steps; returns the notice."""
    link = page.get_by_role("link", name=f"{label}…", exact=True)
    if keyboard:
        link.focus()
        page.keyboard.press("Enter")
    else:
        link.click()
    button = page.get_by_role("button", name=re.compile(f"^({re.escape(label)}|Run now|Accept, and run)$"))
    expect(button).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_contain_text("?")
    page.screenshot(path=tmp_path / f"{re.sub('[^a-z]+', '_', label.lower())}.png", full_page=True)
    if keyboard:
        page.keyboard.press("Tab")
        for _ in range(20):
            if button.evaluate("button => button === document.activeElement"):
                break
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
    else:
        button.click()
    notice = page.get_by_role("status")
    expect(notice).to_be_visible()
    page.screenshot(path=tmp_path / f"{re.sub('[^a-z]+', '_', label.lower())}_done.png", full_page=True)
    return notice.inner_text()


def ended(stack, dag_id):
    """Wait until the newest run has ended; returns it."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        (run,) = stack.airflow.call("GET", f"/dags/{dag_id}/dagRuns?order_by=-run_after&limit=1")["dag_runs"]
        if run["state"] in ("success", "failed"):
            return run
        time.sleep(0.5)
    raise AssertionError(f"the run of {dag_id} does not end")


def run_now(page, stack, desk, dag_id, tmp_path):
    page.goto(f"{desk}/")
    if page.get_by_role("link", name=f"Run {dag_id} now…").count() == 0:  # nothing has made the tables yet
        expect(page.get_by_role("alert")).to_contain_text("no tables yet")
        page.goto(f"{desk}/run?dag_id={dag_id}")
        page.get_by_role("button", name="Run now").click()
        expect(page.get_by_role("status")).to_contain_text("was started")
    else:
        assert "was started" in decide(page, f"Run {dag_id} now", tmp_path)
    return ended(stack, dag_id)


def status_of(sql, number):
    return sql("SELECT status FROM fba.fulfillment_request WHERE fr_number = %s", number).fetchone()[0]


def test_orders_from_the_first_run_to_a_second_number(page, stack, desk, add, sql, tmp_path):
    run = run_now(page, stack, desk, INVENTORY, tmp_path)
    assert (run["state"], run["triggering_user_name"]) == ("success", stack.airflow.user)
    sku = sql(
        "SELECT sku FROM fba.global_inventory_pool WHERE quantity > 20 AND fba_quantity > 20 ORDER BY sku LIMIT 1"
    ).fetchone()[0]
    for number in ("DESK-1", "DESK-2"):
        add(number, **ADDRESS)
        sql("UPDATE fba.fulfillment_request_item SET sku = %s, quantity = 1 WHERE fr_number = %s", sku, number)
    sql("UPDATE fba.fulfillment_request SET shipping_method = 'Drone' WHERE fr_number = 'DESK-2'")
    run = run_now(page, stack, desk, SEND, tmp_path)
    assert run["state"] == "success"
    assert (status_of(sql, "DESK-1"), status_of(sql, "DESK-2")) == ("accepted", "invalid")

    sql("UPDATE fba.fulfillment_request SET shipping_method = 'Standard' WHERE fr_number = 'DESK-2'")
    page.goto(f"{desk}/request?store={STORE}&number=DESK-2")
    assert "DESK-2 of amazon_us is now pending" in decide(page, "Set back to pending", tmp_path)
    page.goto(f"{desk}/request?store={STORE}&number=DESK-1")
    assert "to be cancelled" in decide(page, "Cancel", tmp_path)
    run_now(page, stack, desk, SEND, tmp_path)
    assert (status_of(sql, "DESK-1"), status_of(sql, "DESK-2")) == ("cancelled", "accepted")
    orders = stack.amazon.world.orders(DEFAULT_MERCHANT.seller_id)
    assert {number: order["times_created"] for number, order in orders.items()} == {"DESK-1": 1, "DESK-2": 1}

    page.goto(f"{desk}/request?store={STORE}&number=DESK-1")
    assert "sent again as DESK-1-2" in decide(page, "Send again under a new number", tmp_path)
    expect(page.get_by_role("heading", level=1)).to_contain_text("DESK-1-2")
    events = sql(
        "SELECT DISTINCT actor FROM fba.request_event WHERE source = 'merchant' AND what <> 'created'"
    ).fetchall()
    assert events == [(stack.airflow.user,)]
    sql("DELETE FROM fba.fulfillment_request_item WHERE fr_number = 'DESK-1-2'")
    sql("DELETE FROM fba.fulfillment_request WHERE fr_number = 'DESK-1-2'")


def test_the_button_of_a_task_leads_to_the_desk(page, stack, desk, sql, tmp_path):
    run_id = stack.airflow.call("GET", f"/dags/{SEND}/dagRuns?order_by=-run_after&limit=1")["dag_runs"][0]["dag_run_id"]
    path = f"/dags/{SEND}/dagRuns/{run_id}/taskInstances/store.claim/links?map_index=0"
    address = f"{stack.airflow.url}/fba/requests?store={STORE}"
    assert stack.airflow.call("GET", path)["extra_links"] == {"FBA desk": address}
    page.goto(f"{stack.airflow.url}/dags/{SEND}/runs/{run_id}/tasks/store.claim/mapped/0/details")
    button = page.get_by_role("link", name="FBA desk")
    expect(button).to_have_attribute("href", address)
    page.screenshot(path=tmp_path / "button.png")


def test_an_approval_by_keyboard_inside_airflows_own_page(page, stack, desk, add, sql, tmp_path):
    add("DESK-AP", asked=True, **ADDRESS)
    page.goto(f"{stack.airflow.url}/plugin/fba")
    frame = page.frame_locator("iframe")
    expect(frame.get_by_role("heading", level=1)).to_be_visible()
    inside = next(each for each in page.frames if each.parent_frame)
    inside.goto(f"{desk}/request?store={STORE}&number=DESK-AP")
    inside.get_by_role("link", name="Approve…").click()
    expect(frame.get_by_text("for a fee of 12.30 USD")).to_be_visible()
    page.screenshot(path=tmp_path / "in_airflow.png")
    frame.get_by_role("button", name="Approve").focus()
    page.keyboard.press("Enter")
    expect(frame.get_by_role("status")).to_contain_text("DESK-AP of amazon_us is now pending, approved")
    page.screenshot(path=tmp_path / "approved_in_airflow.png")
    approved = sql(
        "SELECT approved_by, approved_fee::float FROM fba.fulfillment_request WHERE fr_number = 'DESK-AP'"
    ).fetchone()
    assert approved == (stack.airflow.user, 12.3)


@pytest.mark.parametrize(
    ("label", "status"),
    [
        ("Amazon does not have it: send it", "pending"),
        ("Amazon has it: set to accepted", "accepted"),
        ("Amazon does not ship it: set to rejected", "rejected"),
    ],
)
def test_a_stuck_request_is_decided_with_the_keyboard(page, desk, add, sql, tmp_path, label, status):
    number = f"DESK-{status}"
    add(number, status="unknown", stuck_since="2026-01-02", **ADDRESS)
    page.goto(f"{desk}/request?store={STORE}&number={number}")
    assert f"{number} of amazon_us is now {status}" in decide(page, label, tmp_path, keyboard=True)
    assert status_of(sql, number) == status
    sql("UPDATE fba.fulfillment_request SET cancel_requested_at = now() WHERE status = 'pending'")


def test_who_is_slower_is_told_how_it_is_now(page, browser, desk, add, sql, tmp_path):
    add("DESK-2P", asked=True, **ADDRESS)
    other = browser.new_page()
    for each in (page, other):
        each.goto(f"{desk}/decide?store={STORE}&number=DESK-2P&action=approve")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("status")).to_contain_text("is now pending, approved")
    other.get_by_role("button", name="Approve").click()
    expect(other.get_by_role("status")).to_contain_text("somebody or a run was faster")
    other.screenshot(path=tmp_path / "slower.png", full_page=True)
    other.close()
    assert sql(
        "SELECT count(*) FROM fba.request_event WHERE fr_number = 'DESK-2P' AND what = 'approved'"
    ).fetchone() == (1,)
    sql("UPDATE fba.fulfillment_request SET cancel_requested_at = now() WHERE status = 'pending'")


def test_zeroed_stock_is_accepted(page, stack, desk, sql, tmp_path):
    in_stock = "SELECT count(*) FROM fba.global_inventory_pool WHERE quantity > 0"
    before = sql(in_stock).fetchone()[0]
    assert before > 100
    stack.amazon.world.shape_report(DEFAULT_MERCHANT.seller_id, US, AFN, mode="zero")
    sql("UPDATE fba.report SET requested_at = requested_at - interval '31 minutes'")
    stack.amazon.world.advance(31 * 60)
    run = run_now(page, stack, desk, INVENTORY, tmp_path)
    assert run["state"] == "failed"
    assert sql(in_stock).fetchone()[0] == before
    page.goto(f"{desk}/")
    page.screenshot(path=tmp_path / "refused.png", full_page=True)
    assert "was started" in decide(page, f"Accept zeroed stock of {STORE}", tmp_path)
    run = ended(stack, INVENTORY)
    assert (run["state"], run["conf"]) == ("success", {"stores": [STORE], "accept_zeroed_stock": True})
    assert sql(in_stock).fetchone()[0] < before / 2


def test_a_dag_that_is_paused_is_not_run(page, stack, desk, tmp_path):
    stack.airflow.call("PATCH", f"/dags/{SEND}", json={"is_paused": True})
    page.goto(f"{desk}/run?dag_id={SEND}")
    expect(page.get_by_role("alert")).to_contain_text("is paused")
    expect(page.get_by_role("button", name="Run now")).to_have_count(0)
    page.screenshot(path=tmp_path / "paused.png", full_page=True)
    stack.airflow.call("PATCH", f"/dags/{SEND}", json={"is_paused": False})
