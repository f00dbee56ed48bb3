"""What the pages show of a merchant's warehouse, and what they never show."""

from __future__ import annotations

import re

import pytest

from tests.desk.shop import PERSONAL, STORE, fill

PAGES = {
    "overview": "/fba/",
    "sku": f"/fba/sku?store={STORE}&sku=BLUE-MUG",
    "sku at zero": f"/fba/sku?store={STORE}&sku=RED-MUG",
    "request": f"/fba/request?store={STORE}&number=FR-1",
    "rejected": f"/fba/request?store={STORE}&number=FR-2",
    "on its way": f"/fba/request?store={STORE}&number=FR-3",
}


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


@pytest.mark.parametrize("path", PAGES.values(), ids=list(PAGES))
def test_no_page_shows_whom_an_order_goes_to(read, path):
    page = read(path).lower()
    assert [value for value in (*PERSONAL, "Wilhelmina", "Secret") if value.lower() in page] == []
    assert "hidden lane" not in re.sub(r"\s+", " ", page)


def test_a_rejected_request_has_amazons_reason(read):
    page = plain(read(PAGES["rejected"]))
    assert "was refused" in page
    assert "8066" in page
    assert "rejected" in page


def test_a_parcel_has_its_link(read):
    page = read(PAGES["on its way"])
    assert 'href="https://www.ups.com/track?n=1Z999"' in page
    assert "in transit" in plain(page)
