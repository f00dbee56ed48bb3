"""What Amazon's answers about an order mean: absent is not other, unknown is not fine."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

import pytest

from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.amazon.operations import GET_FULFILLMENT_ORDER, LIST_ALL_FULFILLMENT_ORDERS
from fba_operators.errors import DecisionNeededError, RequestRefusedError, UnavailableError
from fba_operators.fulfillment.amazon_orders import compare_with_request, documented, end_of_request
from tests.fulfillment.test_settle import lose_answer
from tests.sending import GOOD, look_up_unknown
from tests.stores import SELLER, US

STATUSES = ("New", "Received", "Planning", "Processing", "Cancelled", "Complete", "CompletePartialled", "Unfulfillable", "Invalid")  # fmt: skip
OURS = Counter({"A": 2, "B": 1})


def spellings(status):
    words = "".join(f" {letter}" if letter.isupper() else letter for letter in status).split()
    return {status, status.upper(), status.lower(), "_".join(words).upper(), "-".join(words), " ".join(words).lower()}


def order(*, status="Received", items=None, **header):
    header = {"sellerFulfillmentOrderId": "FR-1", "marketplaceId": US, "fulfillmentOrderStatus": status, **header}
    answer = {"fulfillmentOrder": {key: value for key, value in header.items() if value is not ...}}
    if items is not ...:
        answer["fulfillmentOrderItems"] = (
            [{"sellerSku": "A", "quantity": 2}, {"sellerSku": "B", "quantity": 1}] if items is None else items
        )
    return GET_FULFILLMENT_ORDER.read({"payload": answer}).payload


def compared(**answer):
    return compare_with_request(order(**answer), "FR-1", OURS, US)


@pytest.mark.parametrize(("status", "spelling"), [(s, each) for s in STATUSES for each in sorted(spellings(s))])
def test_statuses_are_compared_without_case_and_separators(status, spelling):
    assert documented(spelling) == status
    assert end_of_request(spelling) == end_of_request(status)
    assert compared(status=spelling).order_status == status


@pytest.mark.parametrize("status", ["Canceled", "CANCELED"])
def test_the_other_spelling_of_cancelled(status):
    assert compared(status=status).status == "cancelled"


def test_the_newer_apis_word_for_a_part():
    assert documented("COMPLETE_PARTIAL") == "CompletePartialled"


@pytest.mark.parametrize("status", ["Teleported", "ON_ITS_WAY", "?", ..., None, 7, ""])
def test_a_status_that_nobody_knows_is_unknown(status):
    move = compared(status=status)
    assert move.status == "unknown"
    assert "does not have" in move.reason or "no status" in move.reason


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({}, "accepted"),
        ({"marketplaceId": ...}, "accepted"),
        ({"marketplaceId": None}, "accepted"),
        ({"marketplaceId": "A2EUQ1WTGCTBG2"}, "invalid"),
        ({"items": ...}, "accepted"),
        ({"items": []}, "accepted"),
        ({"items": [{"sellerSku": "A", "quantity": "2"}, {"sellerSku": "B", "quantity": "1"}]}, "accepted"),
        ({"items": [{"sellerSku": "A", "quantity": 2.0}, {"sellerSku": "B", "quantity": "1.0"}]}, "accepted"),
        ({"items": [{"sellerSku": "A"}, {"sellerSku": "B", "quantity": 1}]}, "accepted"),
        ({"items": [{"quantity": 2}, {"sellerSku": "B", "quantity": 1}]}, "accepted"),
        ({"items": [{"sellerSku": "A", "quantity": "many"}, {"sellerSku": "B", "quantity": 1}]}, "accepted"),
        ({"items": [None, {"sellerSku": "B", "quantity": 1}]}, "accepted"),
        ({"items": [{"sellerSku": "A", "quantity": 1}, {"sellerSku": "A", "quantity": 1}, {"sellerSku": "B", "quantity": 1}]}, "accepted"),
        ({"items": [{"sellerSku": "A", "quantity": 2}]}, "invalid"),
        ({"items": [{"sellerSku": "A", "quantity": 3}, None]}, "invalid"),
        ({"items": [{"sellerSku": "C"}]}, "invalid"),
        ({"items": [{"sellerSku": "A", "quantity": 2}, {"sellerSku": "B", "quantity": "2"}]}, "invalid"),
        ({"items": [{"sellerSku": "a", "quantity": 2}, {"sellerSku": "B", "quantity": 1}]}, "invalid"),
    ],
)  # fmt: skip
def test_only_what_is_there_and_differs_makes_it_anothers(answer, status):
    assert compared(**answer).status == status


def test_a_list_without_marketplaces_is_read():
    entry = {"sellerFulfillmentOrderId": "FR-1", "fulfillmentOrderStatus": "RECEIVED"}
    page = LIST_ALL_FULFILLMENT_ORDERS.read({"payload": {"fulfillmentOrders": [entry]}})
    assert page.payload.fulfillment_orders[0].seller_fulfillment_order_id == "FR-1"


# In a send


@pytest.mark.parametrize(
    ("answers", "shown", "ends"),
    [
        ({"capitals": True}, "CANCELLED", "cancelled"),
        ({"capitals": True}, "UNFULFILLABLE", "rejected"),
        ({"leave_out": ["marketplaceId"]}, None, "accepted"),
        ({"leave_out": ["fulfillmentOrderItems"]}, None, "accepted"),
        ({"leave_out": ["quantity"]}, None, "accepted"),
        ({"quantities_as_text": True}, None, "accepted"),
    ],
)
def test_a_lost_order_is_found_in_answers_of_every_form(shop, answers, shown, ends):
    shop.amazon.world.set_order_answers(**answers)
    lose_answer(shop)
    if shown:
        shop.amazon.world.show_order_status(SELLER, "FR-1", shown)
    look_up_unknown(shop)
    assert shop.get("FR-1").status == ends
    assert shop.orders_made() == {"FR-1": 1}


def test_an_order_with_a_status_that_nobody_knows_needs_a_person(shop):
    lose_answer(shop)
    shop.amazon.world.show_order_status(SELLER, "FR-1", "TELEPORTED")
    shop.pass_time(31)
    with pytest.raises(DecisionNeededError, match=r"cannot be found out.*FR-1"):
        shop.send(until="settle")
    row = shop.get("FR-1")
    assert row.status == "unknown"
    assert "TELEPORTED" in row.status_reason
    assert shop.sql("SELECT code FROM fba.needs_attention WHERE subject = 'FR-1'") == [("stuck",)]
    shop.amazon.world.show_order_status(SELLER, "FR-1", "PLANNING")
    shop.send(until="settle")
    assert shop.get("FR-1").status == "accepted"


NO_SUCH_ORDER = {"errors": [{"code": "InvalidInput", "message": "Unable to get order info for FR-1; received error message: ", "details": ""}]}  # fmt: skip


@pytest.mark.parametrize(
    ("status", "body", "absent"),
    [
        (404, {"errors": [{"code": "NotFound", "message": "nothing"}]}, True),
        (404, {"message": "Not Found"}, False),
        (400, NO_SUCH_ORDER, True),
        (400, {"errors": [{"code": "InvalidInput", "message": "no order can be shown for the number FR-1"}]}, True),
        (400, {"errors": [{"code": "InvalidInput", "message": "marketplaceId is invalid"}]}, False),
        (400, {"errors": [{"code": "BadRequest", "message": "FR-1"}]}, False),
        (400, {}, False),
        (413, {"errors": [{"code": "InvalidInput", "message": "FR-1"}]}, False),
        (415, {"errors": [{"code": "UnsupportedMediaType", "message": "FR-1"}]}, False),
    ],
)
def test_only_the_documented_answer_is_absence(shop, status, body, absent):
    """An order that never arrived is sent again only on that answer; one that did is accepted on no other."""
    lose_answer(shop, arrived=False)
    shop.amazon.world.add_fault("getFulfillmentOrder", "status", status=status, body=body, times=None)
    hook = SellingPartnerHook()
    if absent:
        assert hook.find_fulfillment_order("FR-1") is None
    else:
        with pytest.raises(RequestRefusedError):
            hook.find_fulfillment_order("FR-1")
    look_up_unknown(shop)
    assert shop.get("FR-1").status == ("pending" if absent else "unknown")


def test_a_wrong_host_is_not_a_proof_of_absence(shop, monkeypatch):
    """It knows no order at all."""
    from devstack.airflow import store_connection
    from sandbox.server.server import Sandbox

    lose_answer(shop)
    with Sandbox(listings=5) as other, monkeypatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_AMAZON_US", store_connection(other.url))
        for _ in range(3):
            shop.pass_time(31)
            with pytest.raises(DecisionNeededError, match=r"another host.*FR-1"):
                shop.send(until="settle")
        assert other.world.calls()["calls"].get("listAllFulfillmentOrders", 0) == 0
    assert shop.get("FR-1").status == "unknown"
    shop.send(until="settle")
    assert (shop.get("FR-1").status, shop.orders_made()) == ("accepted", {"FR-1": 1})


# Cancelling


@pytest.mark.parametrize("again", ["accept", "refuse"])
def test_a_cancellation_whose_answer_was_lost_is_not_refused_afterwards(shop, again):
    shop.add("FR-1")
    shop.send()
    shop.amazon.world.set_order_answers(second_cancel=again)
    shop.sql("UPDATE fba.fulfillment_request SET cancel_requested_at = now()")
    shop.amazon.world.add_fault("cancelFulfillmentOrder", "reset_after", times=5)
    with suppress(UnavailableError):
        shop.send(until="settle")
    shop.amazon.world.clear_faults()
    shop.send(until="settle")
    assert (shop.get("FR-1").status, shop.get("FR-1").amazon_order_status) == ("cancelled", "Cancelled")


def test_a_refusal_is_believed_when_the_order_goes_on(shop):
    shop.add("FR-1")
    shop.send()
    shop.amazon.world.advance(2 * 3600)
    shop.sql("UPDATE fba.fulfillment_request SET cancel_requested_at = now()")
    shop.send(until="settle")
    assert shop.get("FR-1").status == "accepted"
    assert shop.get("FR-1").status_reason.startswith("not cancelled: ")
    assert shop.orders_made() == {"FR-1": 1}
    assert GOOD in shop.amazon.world.orders(SELLER)["FR-1"]["items"]
