"""What the pages show of a merchant's warehouse, and what they never show."""

from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser

import pytest

from tests.desk.shop import PERSONAL, STORE, add_request, fill

PAGES = {
    "overview": "/fba/",
    "stock": "/fba/stock",
    "zero": "/fba/stock?only=zero&sort=most",
    "low": "/fba/stock?only=low",
    "changed": "/fba/stock?only=changed",
    "unconfirmed": "/fba/stock?only=unconfirmed",
    "conflicts": "/fba/stock?only=conflicts",
    "search": "/fba/stock?q=mug",
    "sku": f"/fba/sku?store={STORE}&sku=BLUE-MUG",
    "sku at zero": f"/fba/sku?store={STORE}&sku=RED-MUG",
    "requests": "/fba/requests",
    "found requests": "/fba/requests?q=fr-2&sku=BLUE-MUG&status=rejected&channel=walmart&store=amazon_us",
    "request": f"/fba/request?store={STORE}&number=FR-1",
    "rejected": f"/fba/request?store={STORE}&number=FR-2",
    "on its way": f"/fba/request?store={STORE}&number=FR-3",
    "reports": "/fba/reports",
    "rejected lines": f"/fba/rejected?store={STORE}&report=A1",
}


class Links(HTMLParser):
    """Collects where the links, forms and files of a page go, and what a strict policy would not run."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.forbidden: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name in ("href", "src", "action"):
                self.targets.append(value)
            if name == "style" or name.startswith("on"):
                self.forbidden.append(f"{tag} {name}")

    @classmethod
    def of(cls, html):
        links = cls()
        links.feed(html)
        return links


@pytest.fixture
def read(browse, sql):
    """Fill the warehouse, and read a page as somebody who may only read."""
    fill(sql)
    viewer = browse("viewer")

    def get(path):
        answer = viewer.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    return get


def plain(html):
    """The text of a page as somebody reads it."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_every_page_and_every_table_as_csv_shows_no_buyer_and_leads_to_pages_that_are_there(read):
    """All pages are found by following the links of the first one, as somebody who reads them does."""
    seen, waiting = {}, [*PAGES.values()]
    while waiting:
        path = waiting.pop()
        seen[path] = html = read(path)
        assert [value for value in (*PERSONAL, "Wilhelmina", "Secret") if value.lower() in html.lower()] == [], path
        assert "hidden lane" not in re.sub(r"\s+", " ", html).lower(), path
        links = Links.of(html)
        assert links.forbidden == [], path
        for target in links.targets:
            if target.startswith("https://www.ups.com"):
                continue
            assert not re.match(r"[a-z]+:|/", target), f"{path} has a link that is not relative: {target}"
            there = "/fba/" + target.removeprefix("./").partition("#")[0]
            if there not in seen and there not in waiting and not target.startswith("#"):
                waiting.append(there)
    assert sum("form=" in path for path in seen) > 12
    assert len(seen) < 200


def test_the_overview_says_what_needs_somebody_and_where(read):
    html = read(PAGES["overview"])
    page = plain(html)
    for words in ("failed run", "rejected lines", "Units in stock, amazon_us", "in transit", "Requests by day"):
        assert words in page
    assert f'href="request?store={STORE}&amp;number=FR-2"' in html
    assert f'href="reports?store={STORE}&amp;only=all"' in html
    assert "125" in page  # 5 + 0 + 120 units


def test_the_stock_is_found_filtered_and_sorted(read):
    def skus(path):
        return re.findall(r'href="sku\?store=amazon_us&amp;sku=([\w-]+)"', read(path))

    assert skus("/fba/stock") == ["BLUE-MUG", "RED-MUG", "TEAPOT"]
    assert skus("/fba/stock?sort=most") == ["TEAPOT", "BLUE-MUG", "RED-MUG"]
    assert skus("/fba/stock?sort=fewest") == ["RED-MUG", "BLUE-MUG", "TEAPOT"]
    assert skus("/fba/stock?only=zero") == ["RED-MUG"]
    assert skus("/fba/stock?only=unconfirmed") == []
    assert skus("/fba/stock?q=blu") == ["BLUE-MUG"]
    assert skus("/fba/stock?q=mug") == ["BLUE-MUG", "RED-MUG"]
    assert skus("/fba/stock?q=red+MU") == ["RED-MUG"]
    assert skus("/fba/stock?q=b0teap") == ["TEAPOT"]
    assert skus("/fba/stock?q=%25") == []
    assert skus("/fba/stock?q=%27+%7C+%21%28") == []
    assert sorted(set(skus("/fba/stock?only=changed"))) == ["BLUE-MUG", "RED-MUG", "TEAPOT"]


def test_a_sku_has_its_reasons_evidence_history_and_what_is_promised(read):
    page = plain(read(PAGES["sku"]))
    for words in (
        "5 FBA units: the sum of 1 SELLABLE line of the AFN inventory report",
        "(it was 7 before)",
        "UNSELLABLE",
        "X00BLUE",
        "Inbound, shipped 40",
        "FR-1",
    ):
        assert words in page
    assert "<svg" in read(PAGES["sku"])


def test_a_sku_at_zero_says_why_and_since_when(read):
    page = plain(read(PAGES["sku at zero"]))
    assert "0 FBA units, because nothing says otherwise" in page
    assert "It is 0 since 20" in page
    assert "quantity is no number" in page


def test_a_rejected_request_has_amazons_reason(read):
    page = plain(read(PAGES["rejected"]))
    for words in ("was refused", "8066", "rejected", "5001"):
        assert words in page


def test_a_parcel_has_its_link_and_opens_beside_airflow(read):
    page = read(PAGES["on its way"])
    assert 'href="https://www.ups.com/track?n=1Z999" target="_blank" rel="noopener noreferrer"' in page
    assert "in transit" in plain(page)


def test_a_link_that_is_no_web_address_is_none(read, sql):
    for number, url in enumerate(
        ("javascript:alert(1)", "http://x.example/", 'https://x.example/"onclick="y', "data:text/html,x")
    ):
        sql("UPDATE fba.package SET tracking_url = %s", url)
        html = read(PAGES["on its way"])
        assert [each for each in Links.of(html).targets if ":" in each] == [], number


def test_what_is_not_known_is_a_dash_and_never_zero(read, sql):
    sql("UPDATE fba.stock_breakdown SET inbound_shipped = NULL")
    page = plain(read(PAGES["sku"]))
    assert "Inbound, shipped –" in page


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "\u202egpj.exe\u2066\u2067",
    "'; DROP TABLE fba.report; --",
    "{{ 7907 * 7919 }}",
    "%s%(x)s",
    '=HYPERLINK("https://evil.example")',
)


@pytest.mark.parametrize("words", HOSTILE)
def test_texts_of_others_do_no_harm(read, sql, words):
    sql("SET fba.writer = 'product'")
    sql(
        "UPDATE fba.global_inventory_pool SET title = %s, brand = %s, asin = %s WHERE sku = 'BLUE-MUG'",
        words,
        words,
        words,
    )
    sql("INSERT INTO fba.global_inventory_pool (store, sku, title, fba_quantity, fbm_quantity, quantity, quantity_source)"
        " VALUES (%s, %s, %s, 1, 0, 1, 'fba_api')", STORE, words, words)  # fmt: skip
    sql("UPDATE fba.package SET carrier = %s, tracking_number = %s", words, words)
    sql("UPDATE fba.feed_message SET description = %s, message_code = %s", words, words)
    sql("UPDATE fba.amazon_afn_inventory_report SET warehouse_condition_code = %s", words)
    add_request(sql, words, sku=words, channel=words)
    sql("RESET fba.writer")
    plain_pages = {path: Links.of(read(path)).tags for path in ("/fba/", "/fba/reports")}
    assert all(tags.count("script") == 1 for tags in plain_pages.values())
    from urllib.parse import urlencode

    for path in (
        *("/fba/", "/fba/stock", "/fba/requests", PAGES["sku"], PAGES["rejected"], PAGES["on its way"]),
        "/fba/sku?" + urlencode({"store": STORE, "sku": words}),
        "/fba/request?" + urlencode({"store": STORE, "number": words}),
        "/fba/stock?" + urlencode({"q": words}),
    ):
        links = Links.of(read(path))
        assert (links.tags.count("script"), links.tags.count("img"), links.forbidden) == (1, 0, []), path
        assert all(not target or not re.match(r"(?i)javascript|data", target) for target in links.targets)
    assert str(7907 * 7919) not in plain(read("/fba/requests"))


def test_a_text_of_five_megabytes_is_cut_by_the_database(read, sql):
    long = "x<" * 2_500_000
    sql("SET fba.writer = 'product'")
    sql("UPDATE fba.global_inventory_pool SET title = %s, brand = %s, description = %s", long, long, long)
    sql("UPDATE fba.amazon_all_listings_report SET quantity = %s", long)
    sql("UPDATE fba.fulfillment_request SET status_reason = %s WHERE fr_number = 'FR-2'", long)
    sql("UPDATE fba.feed_message SET description = %s", long)
    sql("UPDATE fba.fulfillment_request_item SET title = %s WHERE fr_number = 'FR-1'", long)
    sql("RESET fba.writer")
    for path in ("/fba/", "/fba/stock", "/fba/requests", PAGES["sku"], PAGES["request"], PAGES["rejected"]):
        page = read(path)
        assert len(page) < 60_000, path
    assert "…" in read("/fba/stock")


def rows_of(text):
    assert text.startswith("\ufeff")  # or Excel takes UTF-8 for something else
    return list(csv.DictReader(io.StringIO(text[1:], newline="")))


def test_csv_has_numbers_as_numbers_and_no_formula(read, sql):
    for sku in ("=1+1", "+1", "-A", "@SUM(A1)", "\tx", "\rx", " =1"):
        sql("INSERT INTO fba.global_inventory_pool (store, sku, title, fba_quantity, fbm_quantity, quantity, quantity_source)"
            " VALUES (%s, %s, %s, 1, 0, 1, 'fba_api')", STORE, sku, sku)  # fmt: skip
    rows = rows_of(read("/fba/stock?form=csv"))
    assert len(rows) == 10
    assert {row["quantity"] for row in rows} == {"0", "1", "5", "120"}
    assert [row for row in rows if row["sku"][0] in "=+-@\t\r" or row["sku"].startswith(" =")] == []
    assert "'=1+1" in {row["sku"] for row in rows}


def test_csv_has_texts_whole_up_to_what_a_spreadsheet_takes(read, sql):
    title, reason = "A mug for tea. " * 60, "This address is refused. " * 20
    sql("SET fba.writer = 'product'")
    sql("UPDATE fba.global_inventory_pool SET title = %s WHERE sku = 'BLUE-MUG'", title)
    sql("UPDATE fba.fulfillment_request SET status_reason = %s WHERE fr_number = 'FR-2'", reason)
    sql("RESET fba.writer")
    for path in ("/fba/stock?form=csv", "/fba/stock?form=csv&q=blue-mug"):
        (row,) = [row for row in rows_of(read(path)) if row["sku"] == "BLUE-MUG"]
        assert row["title"] == title, path
    (row,) = [row for row in rows_of(read("/fba/requests?form=csv")) if row["fr_number"] == "FR-2"]
    assert row["reason"] == reason
    assert title not in read("/fba/stock")
    sql("UPDATE fba.global_inventory_pool SET title = repeat('x', 100000) WHERE sku = 'BLUE-MUG'")
    (row,) = [row for row in rows_of(read("/fba/stock?form=csv")) if row["sku"] == "BLUE-MUG"]
    assert len(row["title"]) < 32_767


def test_a_long_list_has_screens_and_its_csv_has_all(read, sql):
    sql(
        "INSERT INTO fba.global_inventory_pool (store, sku, fba_quantity, fbm_quantity, quantity, quantity_source)"
        " SELECT %s, 'N' || lpad(n::text, 5, '0'), n %% 7, 0, n %% 7, 'fba_api' FROM generate_series(1, 4100) AS n",
        STORE,
    )
    assert len({row["sku"] for row in rows_of(read("/fba/stock?form=csv"))}) == 4103
    for choice in ("only=all&sort=sku", "only=zero&sort=most", "only=changed", "only=all&sort=fewest"):
        path, seen = f"/fba/stock?{choice}", []
        while path and len(seen) < 400:
            html = read(path)
            seen += re.findall(r'href="sku\?store=amazon_us&amp;sku=([\w-]+)"', html)
            found = re.search(r'rel="next" href="([^"]+)"', html)
            path = found and "/fba/" + found[1].replace("&amp;", "&")
        assert len(seen) == len(set(seen)) or choice == "only=changed", choice
        assert len(seen) >= 400, choice


def test_requests_have_screens_too(read, sql):
    sql("SET fba.writer = 'product'")
    for n in range(120):
        sql(
            "INSERT INTO fba.fulfillment_request (store, fr_number, created_at) VALUES (%s, %s, '2026-01-01')",
            STORE,
            f"N-{n:03}",
        )
    path, seen = "/fba/requests", []
    while path:
        html = read(path)
        seen += re.findall(r"number=([\w-]+)\"", html)
        found = re.search(r'rel="next" href="([^"]+)"', html)
        path = found and "/fba/" + found[1].replace("&amp;", "&")
    assert len(seen) == len(set(seen)) == 123
    assert len(rows_of(read("/fba/requests?form=csv&status=pending"))) == 121


@pytest.mark.parametrize("path", ["/fba/sku?store=s&sku=x", "/fba/request?store=s&number=x"])
def test_what_is_not_there_is_said(browse, path):
    answer = browse("viewer").get(path)
    assert answer.status_code == 404
    assert "has no such SKU" in plain(answer.text) or "There is no request of this number" in plain(answer.text)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/fba/nothing", "There is nothing here."),
        ("/fba/static/nothing.js", "There is no such file."),
        ("/fba/decide?store=s&number=x&action=cancel", "There is no request of this number in this store."),
        ("/fba/decide?store=s&number=x&action=odd", "There is no such decision."),
        ("/fba/run?dag_id=another", "The desk runs no such DAG."),
    ],
)
def test_an_address_of_nothing_is_a_sentence(browse, warehouse, path, says):
    warehouse.migrate()
    answer = browse("admin").get(path)
    assert answer.status_code == 404
    assert says in plain(answer.text)


@pytest.mark.parametrize(
    "path",
    [
        "/fba/sku",
        "/fba/stock?only=odd",
        "/fba/requests?day=x",
        "/fba/reports?after=x",
        "/fba/stock?q=%00",
        "/fba/stock?after=a&after_units=99999999999999999999",
        "/fba/decide?store=amazon_us&number=%00&action=cancel",
        "/fba/accept?store=%00",
    ],
)
def test_a_broken_address_is_a_sentence(browse, path):
    answer = browse("user").get(path)
    assert answer.status_code == 422
    assert "incomplete or wrong" in plain(answer.text)


def test_an_empty_warehouse_says_what_to_do_first(browse):
    viewer = browse("viewer")
    for path in ("/fba/", "/fba/stock", "/fba/reports"):
        page = plain(viewer.get(path).text)
        assert "fba_get_inventory" in page, path
    assert "There are no requests yet" in plain(viewer.get("/fba/requests").text)


def test_every_answer_lets_nothing_foreign_run(read, browse):
    for path in (*PAGES.values(), "/fba/static/desk.js", "/fba/nothing"):
        headers = browse("viewer").get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
