"""The client: pages, batches, times, and texts without tokens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fba_operators.amazon.client import Client, amazon_time, without_tokens
from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.errors import ThrottledError, UnavailableError
from tests.stores import LISTINGS, SELLER, US


def test_get_reports_reads_every_page(amazon, warehouse):
    hook = SellingPartnerHook()
    ids = {hook.create_report(LISTINGS) for _ in range(3)}
    since = datetime.now(UTC) - timedelta(hours=1)
    found = list(hook.get_reports(LISTINGS, created_since=since))
    assert {report.report_id for report in found} == ids


def test_inventory_summaries_are_requested_in_a_form_amazon_accepts(amazon, warehouse):
    truth = amazon.world.truth(SELLER, US, False, True)
    known = {sku: stock["fba"] for sku, stock in truth.items() if stock["source"] == "fba_api"}
    plain = {sku: quantity for sku, quantity in known.items() if "," not in sku}
    assert plain
    assert SellingPartnerHook().get_inventory_summaries([*plain, "no-such-sku"][:50]) == plain
    with pytest.raises(ValueError, match="comma"):
        SellingPartnerHook().get_inventory_summaries(["a,b", "c"])


def test_times_are_written_in_utc():
    moment = datetime(2026, 11, 23, 1, 2, 3, 456000, tzinfo=UTC).astimezone()
    assert amazon_time(moment) == "2026-11-23T01:02:03.456Z"


def test_tokens_are_removed_from_texts():
    assert without_tokens("bad Atza|IwEB and Atz.sprdt|x.") == "bad (token removed) and (token removed)"


# Lists end


def tokens_of(monkeypatch, *, elements, next_token):
    """Let listAllFulfillmentOrders answer pages: the n-th has these elements and leads on with this token."""
    asked = []

    def call(client, operation, params):
        asked.append(params.get("nextToken"))
        orders = [{"sellerFulfillmentOrderId": "1"}] * elements(len(asked))
        return operation.read({"payload": {"fulfillmentOrders": orders, "nextToken": next_token(len(asked))}})

    monkeypatch.setattr(Client, "call", call)
    return asked


def list_orders():
    return SellingPartnerHook(warehouse_conn_id=None).list_all_fulfillment_orders(since=datetime.now(UTC))


def test_a_list_that_goes_round_in_circles_ends(amazon, monkeypatch):
    asked = tokens_of(monkeypatch, elements=lambda n: 1, next_token=lambda n: "AB"[n % 2])
    with pytest.raises(UnavailableError, match="leads back"):
        list_orders()
    assert len(asked) == 3


def test_a_list_of_empty_pages_ends(amazon, monkeypatch):
    asked = tokens_of(monkeypatch, elements=lambda n: int(n == 40), next_token=str)
    with pytest.raises(UnavailableError, match="50 empty pages"):
        list_orders()
    assert len(asked) == 90


def test_a_list_without_end_ends(amazon, monkeypatch):
    asked = tokens_of(monkeypatch, elements=lambda n: 1, next_token=str)
    with pytest.raises(UnavailableError, match="more than 10000 pages"):
        list_orders()
    assert len(asked) == 10_000


def test_some_empty_pages_are_no_end(amazon, monkeypatch):
    tokens_of(monkeypatch, elements=lambda n: n % 40 == 0, next_token=lambda n: str(n) if n < 200 else "")
    assert len(list_orders()) == 5


def throttled_after(monkeypatch, pages):
    """Let getReports be throttled after so many pages of a long list."""

    def call(client, operation, params):
        if int(params.get("nextToken", 0)) >= pages:
            raise ThrottledError("slowly", until=datetime.now(UTC) + timedelta(seconds=45))
        return operation.read({"reports": [], "nextToken": str(int(params.get("nextToken", 0)) + 1)})

    monkeypatch.setattr(Client, "call", call)
    return SellingPartnerHook(warehouse_conn_id=None).get_reports(LISTINGS, created_since=datetime.now(UTC))


@pytest.mark.parametrize(("pages", "seconds"), [(0, 45), (1, 90), (9, 450)])
def test_a_list_that_the_quota_interrupts_is_read_to_its_end_the_next_time(amazon, monkeypatch, pages, seconds):
    with pytest.raises(ThrottledError) as caught:
        list(throttled_after(monkeypatch, pages))
    assert seconds - 2 < (caught.value.until - datetime.now(UTC)).total_seconds() < seconds + 2


def test_a_list_longer_than_the_quota_is_not_begun_for_ever(amazon, monkeypatch):
    with pytest.raises(UnavailableError, match="beyond Amazon's quota"):
        list(throttled_after(monkeypatch, 10))
