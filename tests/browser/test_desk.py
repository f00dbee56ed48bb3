"""The FBA desk as a merchant sees it: every page inside Airflow, in both themes and on a telephone, by mouse and by keyboard."""

from __future__ import annotations

import re

import psycopg
import pytest
from playwright.sync_api import expect

from tests.desk.shop import PERSONAL, STORE, fill

PAGES = {
    "overview": "",
    "stock": "stock",
    "sku": f"sku?store={STORE}&sku=BLUE-MUG",
    "requests": "requests",
    "request": f"request?store={STORE}&number=FR-3",
    "rejected request": f"request?store={STORE}&number=FR-2",
    "reports": "reports",
    "rejected lines": f"rejected?store={STORE}&report=A1",
}


@pytest.fixture(scope="module")
def filled(new_warehouse):
    """The stack with a shop of three SKUs and three requests: pending, rejected, and on its way."""
    from fba_operators.warehouse.database import Warehouse

    with pytest.MonkeyPatch.context() as patch:
        from devstack.airflow import warehouse_connection

        patch.setenv("AIRFLOW_CONN_FBA_WAREHOUSE", warehouse_connection(new_warehouse.warehouse_url))
        Warehouse().migrate()
    with psycopg.connect(new_warehouse.warehouse_url, autocommit=True) as db:
        fill(lambda query, *values: db.execute(query, values or None))
    return new_warehouse


@pytest.fixture
def complaints(page):
    """What the browser complains about in a page of the desk: blocked by its policy, not found, an error of the script."""
    found = []
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on(
        "console",
        lambda message: (
            found.append(message.text) if message.type == "error" and "/fba" in str(message.location) else None
        ),
    )
    page.on("requestfailed", lambda request: found.append(request.url) if "/fba/" in request.url else None)
    return found


def test_the_navigation_leads_to_the_desk_and_each_page_is_one_of_airflow(page, filled, tmp_path):
    page.goto(filled.airflow.url)
    page.get_by_role("link", name="FBA", exact=True).click()
    desk = page.frame_locator("iframe")
    for name, heading in (
        ("Stock", "Stock"),
        ("Requests", "Requests"),
        ("Reports and runs", "Reports and runs"),
        ("Overview", "Overview"),
    ):
        desk.get_by_role("navigation").get_by_role("link", name=name).click()
        expect(desk.get_by_role("heading", level=1)).to_have_text(heading)
        expect(desk.get_by_role("link", name=name, exact=True)).to_have_attribute("aria-current", "page")
    expect(desk.get_by_role("heading", name="Needs you")).to_be_visible()
    page.screenshot(path=tmp_path / "inside.png")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1300, 375])
def test_every_page_is_whole_in_both_themes_and_on_a_telephone(page, filled, complaints, tmp_path, theme, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{filled.airflow.url}/fba/")
    page.evaluate("theme => localStorage.setItem('theme', theme)", theme)
    for name, path in PAGES.items():
        page.goto(f"{filled.airflow.url}/fba/{path}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.locator("html")).to_have_attribute("data-theme", theme)
        page.screenshot(path=tmp_path / f"{name}.png", full_page=True)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{name} must be scrolled sideways"
        text = page.inner_text("body")
        assert [value for value in PERSONAL if value in text] == [], name
    assert complaints == []


def test_the_switch_is_airflows_own(page, filled):
    page.goto(f"{filled.airflow.url}/plugin/fba")
    page.evaluate("localStorage.setItem('theme', 'light')")
    page.reload()
    desk = page.frame_locator("iframe")
    desk.get_by_role("button", name=re.compile("Switch Airflow to its dark theme")).click()
    expect(desk.locator("html")).to_have_attribute("data-theme", "dark")
    expect(page.locator("html")).to_have_class(re.compile("dark"))
    page.evaluate("localStorage.setItem('theme', 'light')")


def test_the_list_follows_what_is_typed(page, filled, complaints):
    page.goto(f"{filled.airflow.url}/fba/stock")
    search = page.get_by_role("searchbox")
    search.press_sequentially("red")
    rows = page.locator("#results tbody tr")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("RED-MUG")
    expect(search).to_be_focused()
    assert "q=red" in page.url
    search.fill("")
    expect(rows).to_have_count(3)
    page.locator("select[name=only]").select_option("zero")
    expect(rows).to_have_count(1)
    assert complaints == []


def test_a_search_after_the_login_has_ended_says_so(page, filled):
    page.goto(f"{filled.airflow.url}/fba/stock")
    page.route("**/fba/stock?**", lambda route: route.fulfill(status=401, body="<p>You are not logged in.</p>"))
    page.get_by_role("searchbox").press_sequentially("red")
    expect(page.locator("#results")).to_have_text(re.compile("not logged in any more: load the page again"))
    page.unroute("**/fba/stock?**")
    page.get_by_role("searchbox").press_sequentially("-mug")
    expect(page.locator("#results tbody tr")).to_have_count(1)


def test_by_keyboard_alone_from_the_list_to_a_sku(page, filled):
    page.goto(f"{filled.airflow.url}/fba/stock?q=blue")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the content")).to_be_focused()
    link = page.get_by_role("link", name="BLUE-MUG")
    for _ in range(30):
        if link.evaluate("link => link === document.activeElement"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("BLUE-MUG")


def test_a_parcel_is_followed_beside_airflow_and_a_table_is_downloaded(page, browser, filled):
    browser.route("https://www.ups.com/**", lambda route: route.fulfill(body="the carrier"))
    page.goto(f"{filled.airflow.url}/plugin/fba")
    desk = page.frame_locator("iframe")
    desk.get_by_role("navigation").get_by_role("link", name="Requests").click()
    desk.get_by_role("link", name="FR-3").click()
    with browser.expect_page() as opened:
        desk.get_by_role("link", name="1Z999").click()
    assert opened.value.url == "https://www.ups.com/track?n=1Z999"
    opened.value.close()
    expect(desk.get_by_role("heading", level=1)).to_contain_text("FR-3")  # and the desk stayed
    with page.expect_download() as download:
        desk.get_by_role("link", name="CSV of Items").click()
    assert download.value.path().read_text("utf-8-sig").startswith("line,sku,")
