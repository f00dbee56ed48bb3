"""One order, feed or SKU for which Amazon fails for good stops no other; and nothing is taken to be known of it."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import pytest

from fba_operators.errors import UnavailableError
from fba_operators.fulfillment import left_out
from fba_operators.fulfillment.left_out import LeftOut, UnansweredError
from tests.sending import GOOD, foreign_feed, look_up_unknown
from tests.stores import SELLER

ERROR = {"status": 500, "body": {"errors": [{"code": "InternalFailure", "message": "We failed."}]}}
UNREADABLE = {"status": 200, "body": {"payload": 1}}
FOR_GOOD = pytest.mark.parametrize("answer", [ERROR, UNREADABLE], ids=["500", "unreadable"])


def fails(shop, operation="getFulfillmentOrder", of="FR-0", answer=ERROR, **more):
    shop.amazon.world.add_fault(operation, "status", times=None, report_type=of, **answer, **more)


def runs(shop, number=3, minutes=25):
    for _ in range(number):
        shop.send()
        shop.pass_time(minutes)


def told(shop, kind="order", name="FR-0", code="InternalFailure"):
    """Whether the newest run says that it left something out."""
    names = f": {name}" if name else ""
    sentence = f"1 {kind} left out, for which Amazon fails while it answers other questions ({code}){names}; a later run asks again."
    return sentence in shop.summary().splitlines()


def needs(shop, number="FR-0"):
    return [code for (code,) in shop.sql("SELECT code FROM fba.needs_attention WHERE subject = %s", number)]


@pytest.fixture
def outbound(shop, fulfillment):
    fulfillment("transport: outbound")
    return shop


# Before it is sent


@FOR_GOOD
def test_a_request_of_whose_number_amazon_fails_waits_and_the_others_go(outbound, answer):
    fails(outbound, answer=answer)
    for number in ("FR-0", "FR-1"):
        outbound.add(number)
    assert outbound.send() == {"pending": 1, "accepted": 1}
    assert outbound.statuses() == {"FR-0": "pending", "FR-1": "accepted"}
    assert told(outbound, code="InternalFailure" if answer is ERROR else "an answer that cannot be read")
    outbound.send()
    waits = "ready; Amazon did not say whether it has an order of FR-0; every run asks again"
    assert outbound.get("FR-0").waiting_reason == waits
    assert "1 order left out" in outbound.summary()
    outbound.pass_time(60 * 7)
    assert needs(outbound) == ["waiting_long"]
    outbound.amazon.world.clear_faults()
    outbound.send()
    assert outbound.get("FR-0").status == "accepted"
    assert outbound.orders_made() == {"FR-0": 1, "FR-1": 1}


def test_where_amazon_answers_nothing_it_is_an_outage(outbound):
    for number in ("FR-0", "FR-1"):
        outbound.add(number)
    fails(outbound, of=None)
    with pytest.raises(UnavailableError):
        outbound.send()
    assert set(outbound.statuses().values()) == {"sending"}
    outbound.amazon.world.clear_faults()
    outbound.send()
    assert set(outbound.statuses().values()) == {"accepted"}


def test_several_at_the_head_do_not_hold_up_the_rest(outbound):
    for number in ("FR-0", "FR-00", "FR-000", "FR-0000"):
        fails(outbound, of=number)
        outbound.add(number)
    outbound.add("FR-1")
    assert outbound.send() == {"pending": 4, "accepted": 1}
    assert "4 orders left out" in outbound.summary()


def test_too_many_in_a_row_are_an_outage(outbound, monkeypatch):
    monkeypatch.setattr(left_out, "MOST_IN_A_ROW", 2)
    for number in ("FR-0", "FR-00", "FR-000", "FR-1"):
        outbound.add(number)
        fails(outbound, of=number if number != "FR-1" else "nothing")
    with pytest.raises(UnavailableError):
        outbound.send()
    assert outbound.get("FR-1").status == "sending"


def test_a_fault_of_the_warehouse_is_none_of_amazons():
    for error in (UnavailableError("the lock was cut"), UnavailableError("x", operation="getFeed")):
        with pytest.raises(UnavailableError) as raised, LeftOut().asking(NoAmazon(), "1", "feed"):
            raise error
        assert raised.value is error


def test_an_object_that_amazon_fails_for_is_named_with_how():
    one = LeftOut()
    for name, facts in {"a b": {"status": 502}, "FR-2": {}, "FR-3": {"status": 200}}.items():
        with pytest.raises(UnansweredError), one.asking(Amazon(), name):
            raise UnavailableError("x", operation="getFulfillmentOrder", **facts)
    assert one.in_a_row["order"] == 3
    with one.asking(Amazon(), "FR-4"):
        pass
    assert one.in_a_row["order"] == 0
    assert one.sentences() == [
        "3 orders left out, for which Amazon fails while it answers other questions (HTTP 502, an answer that cannot be "
        "read, no answer): FR-2, FR-3 and 1 more; a later run asks again."
    ]


class Amazon:
    def find_fulfillment_order(self, number):
        return None


class NoAmazon:
    def find_fulfillment_order(self, number):
        raise UnavailableError("Amazon failed", operation="getFulfillmentOrder", status=500)


@pytest.mark.parametrize("transport", ["feed", "outbound"])
def test_a_copy_waits_while_amazon_fails_for_the_refused_one(shop, fulfillment, transport):
    fulfillment(f"transport: {transport}")
    shop.stock("NOT-AT-AMAZON", 5)
    shop.add("FR-0", [("NOT-AT-AMAZON", 1)])
    shop.send()
    assert shop.get("FR-0").status == "rejected"
    ((copy,),) = shop.sql("SELECT fba.resend('amazon_us', 'FR-0')")
    shop.sql("UPDATE fba.fulfillment_request_item SET sku = %s WHERE fr_number = %s", GOOD, copy)
    fails(shop)
    shop.add("FR-1")
    runs(shop)
    assert (shop.get(copy).status, shop.get("FR-1").status) == ("pending", "accepted")
    assert (
        shop.get(copy).waiting_reason
        == "ready; Amazon did not say whether it has an order of FR-0; every run asks again"
    )
    assert told(shop)
    shop.amazon.world.clear_faults()
    runs(shop, 2)
    assert shop.get(copy).status == "accepted"


def test_a_feed_goes_without_a_number_that_amazon_fails_for(shop, fulfillment):
    fulfillment("transport: outbound")
    shop.add("FR-9")
    shop.send()
    fulfillment("transport: feed")  # each number is asked for, since orders went out one by one too
    fails(shop)
    for number in ("FR-0", "FR-1"):
        shop.add(number)
    shop.send()
    assert told(shop)
    assert (shop.get("FR-0").status, shop.get("FR-1").status) == ("pending", "pending")
    runs(shop, 2)
    assert (shop.get("FR-0").status, shop.get("FR-1").status) == ("pending", "accepted")
    assert told(shop)


def test_a_request_that_amazon_may_have_waits_and_the_others_go(outbound):
    outbound.sql("INSERT INTO fba.order_at_amazon (store, fr_number) VALUES ('amazon_us', 'FR-0')")
    fails(outbound)
    for number in ("FR-0", "FR-1"):
        outbound.add(number)
    runs(outbound, 1)
    assert outbound.statuses() == {"FR-0": "pending", "FR-1": "accepted"}
    assert told(outbound)


def test_a_request_to_be_cancelled_before_it_is_sent_waits(outbound):
    outbound.add("FR-0")
    outbound.sql("UPDATE fba.fulfillment_request SET cancel_requested_at = now()")
    fails(outbound)
    outbound.add("FR-1")
    runs(outbound, 1)
    assert outbound.statuses() == {"FR-0": "pending", "FR-1": "accepted"}
    outbound.amazon.world.clear_faults()
    runs(outbound, 1)
    assert outbound.get("FR-0").status == "invalid"


@FOR_GOOD
def test_a_feed_of_another_program_that_cannot_be_asked_for_hangs(outbound, answer):
    outbound.amazon.world.hang_feeds(SELLER)
    feed_id = foreign_feed()
    fails(outbound, "getFeed", None, answer)
    outbound.add("FR-1")
    runs(outbound)
    assert outbound.get("FR-1").status == "pending"
    assert f"feed {feed_id}, which the ledger does not know, may hold it" in outbound.get("FR-1").waiting_reason
    outbound.pass_time(60 * 4)
    outbound.add("FR-2")
    outbound.send()
    assert outbound.statuses() == {"FR-1": "pending", "FR-2": "accepted"}
    assert told(outbound, "feed", feed_id, "InternalFailure" if answer is ERROR else "an answer that cannot be read")
    outbound.pass_time(60 * 3)
    outbound.send()
    assert needs(outbound, "FR-1") == ["waiting_long"]


@pytest.mark.parametrize("operation", ["getFeatures", "getFeatureSKU"])
@FOR_GOOD
def test_features_that_amazon_fails_for_are_left_to_its_answer(outbound, operation, answer):
    fails(outbound, operation, None, answer)
    outbound.add("FR-1", packaging="unbranded")
    assert outbound.send() == {"accepted": 1}
    kind, name = ("list of features", None) if operation == "getFeatures" else ("SKU", GOOD)
    assert told(outbound, kind, name, "InternalFailure" if answer is ERROR else "an answer that cannot be read")


@pytest.mark.parametrize("transport", ["feed", "outbound"])
def test_quotes_that_amazon_fails_for_hold_up_no_other(shop, fulfillment, transport):
    fulfillment(f"transport: {transport}, quote: true")
    shop.stock("ODD", 50)
    fails(shop, "getFulfillmentPreview", "ODD")
    for number in range(5):
        shop.add(f"FR-{number}", [("ODD", 1)])
    shop.add("FR-9")
    shop.send()
    assert shop.statuses() == {**{f"FR-{number}": "pending" for number in range(5)}, "FR-9": "accepted"}
    assert "5 quotes left out" in shop.summary()
    assert "(InternalFailure)" in shop.summary()
    shop.pass_time(60 * 7)
    assert needs(shop) == ["waiting_long"]


# After it was sent


@FOR_GOOD
def test_an_unknown_order_that_amazon_fails_for_stays_unknown_and_the_others_go(outbound, answer):
    outbound.amazon.world.add_fault("createFulfillmentOrder", "reset_after")
    outbound.add("FR-0")
    outbound.send()
    fails(outbound, answer=answer)
    outbound.add("FR-1")
    runs(outbound, minutes=60 * 3)
    assert outbound.statuses() == {"FR-0": "unknown", "FR-1": "accepted"}
    assert needs(outbound) == ["unknown"]
    outbound.send(until="settle")
    assert told(outbound, code="InternalFailure" if answer is ERROR else "an answer that cannot be read")
    outbound.amazon.world.clear_faults()
    outbound.send()
    assert outbound.get("FR-0").status == "accepted"
    assert outbound.orders_made() == {"FR-0": 1, "FR-1": 1}


def test_a_rejected_order_of_which_amazon_fails_is_unknown(outbound):
    outbound.stock("NOT-AT-AMAZON", 5)
    outbound.add("FR-0", [("NOT-AT-AMAZON", 1)])
    outbound.add("FR-1")
    fails(outbound, skip=1)  # only when it is looked behind the rejection
    assert outbound.send() == {"unknown": 1, "accepted": 1}
    assert told(outbound)


@FOR_GOOD
def test_a_rejection_of_a_feed_whose_order_amazon_fails_for(shop, answer):
    shop.stock("NOT-AT-AMAZON", 5)
    shop.add("FR-0", [("NOT-AT-AMAZON", 1)])
    shop.add("FR-1")
    fails(shop, answer=answer)
    shop.send()
    assert shop.statuses() == {"FR-0": "unknown", "FR-1": "accepted"}
    assert told(shop, code="InternalFailure" if answer is ERROR else "an answer that cannot be read")
    shop.add("FR-2")
    runs(shop, 6, 60)
    assert shop.statuses() == {"FR-0": "unknown", "FR-1": "accepted", "FR-2": "accepted"}
    assert needs(shop) == ["unknown"]
    shop.amazon.world.clear_faults()
    with suppress(Exception):
        runs(shop, 1)
    assert shop.get("FR-0").status != "accepted"


@pytest.mark.parametrize("arrived", [False, True])
def test_of_a_feed_without_an_answer_the_others_are_settled(shop, arrived):
    for number in ("FR-0", "FR-1"):
        shop.add(number)
    shop.amazon.world.add_fault("createFeed", "reset_after" if arrived else "reset_before")
    shop.send()
    assert set(shop.statuses().values()) == {"unknown"}
    fails(shop)
    look_up_unknown(shop)
    assert shop.statuses() == {"FR-0": "unknown", "FR-1": "accepted" if arrived else "pending"}
    assert told(shop)
    shop.pass_time(60 * 6)
    assert needs(shop) == ["unknown"]
    shop.amazon.world.clear_faults()
    look_up_unknown(shop)
    assert shop.get("FR-0").status == ("accepted" if arrived else "pending")


@pytest.mark.parametrize("operation", ["getFeed", "getFeedDocument"])
def test_a_feed_that_amazon_fails_for_stops_no_cancellation_and_four_hours_later_no_request(shop, operation):
    shop.add("FR-9")
    shop.send()
    shop.pass_time(25)
    shop.patience = timedelta(0)
    shop.add("FR-0")
    shop.send(until="submit")
    shop.sql("UPDATE fba.fulfillment_request SET cancel_requested_at = now() WHERE fr_number = 'FR-9'")
    fails(shop, operation, None)
    shop.send()
    assert shop.statuses() == {"FR-0": "submitted", "FR-9": "cancelled"}
    feed_id = shop.sql("SELECT feed_id FROM fba.feed ORDER BY claimed_at DESC LIMIT 1")[0][0]
    assert told(shop, "feed", feed_id)
    shop.pass_time(60 * 4)
    shop.send(until="settle")
    assert needs(shop) == ["slow_feed"]
    shop.add("FR-1")
    shop.send(until="submit")
    assert shop.get("FR-1").status == "submitted"
    shop.amazon.world.clear_faults()
    shop.send()
    assert shop.statuses() == {"FR-0": "accepted", "FR-1": "accepted", "FR-9": "cancelled"}


def test_an_outage_in_one_part_of_settling_stops_no_cancellation(outbound):
    outbound.add("FR-9")
    outbound.send()
    outbound.amazon.world.add_fault("createFulfillmentOrder", "reset_before")
    outbound.add("FR-0")
    outbound.send()
    outbound.sql("UPDATE fba.fulfillment_request SET cancel_requested_at = now() WHERE fr_number = 'FR-9'")
    fails(outbound, "listAllFulfillmentOrders", None)
    with pytest.raises(UnavailableError):
        outbound.send(until="settle")
    assert outbound.statuses() == {"FR-0": "unknown", "FR-9": "cancelled"}


@pytest.mark.parametrize("operation", ["cancelFulfillmentOrder", "getFulfillmentOrder"])
def test_a_cancellation_that_amazon_fails_for_stops_no_other(outbound, operation):
    for number in ("FR-0", "FR-1"):
        outbound.add(number)
    outbound.send()
    outbound.sql("UPDATE fba.fulfillment_request SET cancel_requested_at = now()")
    if operation == "getFulfillmentOrder":  # asked for behind a refusal
        refusal = {"status": 400, "body": {"errors": [{"code": "InvalidInput", "message": "No."}]}}
        fails(outbound, "cancelFulfillmentOrder", answer=refusal)
    fails(outbound, operation)
    outbound.send()
    assert outbound.statuses() == {"FR-0": "accepted", "FR-1": "cancelled"}
    assert told(outbound)
    assert needs(outbound) == ["not_cancelled"]
    assert outbound.get("FR-0").status_reason.startswith("not cancelled yet: amazon_us: Amazon failed")
    outbound.amazon.world.clear_faults()
    outbound.send()
    assert outbound.get("FR-0").status == "cancelled"
    assert needs(outbound) == []


def test_a_held_order_that_amazon_fails_for_stops_no_other(shop, fulfillment):
    fulfillment("transport: outbound, reserve: true, hold_hours: 4, send_automatically: true")
    for number in ("FR-0", "FR-1"):
        shop.add(number)
    shop.send("scheduled")
    assert set(shop.statuses().values()) == {"submitted"}
    fails(shop, "updateFulfillmentOrder")
    shop.send(ignore_hold=True)
    assert shop.statuses() == {"FR-0": "submitted", "FR-1": "accepted"}
    assert told(shop)
    assert shop.get("FR-0").status_reason.startswith("not released: amazon_us: Amazon failed")
    shop.amazon.world.clear_faults()
    shop.send(ignore_hold=True)
    assert shop.get("FR-0").status == "accepted"
