"""A request was refused, set right, and sent; then tables from before it was set right were put back.

For the warehouse there is no order. Whoever believes that orders again under another number, and the buyer gets two.
"""

from __future__ import annotations

import psycopg
import pytest
from psycopg.rows import dict_row

from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.errors import RequestRefusedError
from fba_operators.fulfillment.choices import choice
from fba_operators.fulfillment.decide import look
from fba_operators.fulfillment.memory import AT_AMAZON_ALL_THE_SAME
from fba_operators.operators import TrackOrdersOperator
from fba_operators.warehouse.statements import execute
from tests.fulfillment.test_crashes import REFUSED
from tests.fulfillment.test_memory import Backup
from tests.helpers import place_order
from tests.sending import GOOD
from tests.stores import SELLER, STORE

FEED, OUTBOUND = "transport: feed", "transport: outbound"


def set_right(shop, number="FR-1"):
    shop.sql("UPDATE fba.fulfillment_request SET status = 'pending' WHERE fr_number = %s", number)


def good_item(shop, number="FR-1"):
    shop.sql("UPDATE fba.fulfillment_request_item SET sku = %s WHERE fr_number = %s", GOOD, number)


def resend(shop):
    ((number,),) = shop.sql("SELECT fba.resend(%s, 'FR-1')", STORE)
    return number


def refuse_next(shop):
    shop.amazon.world.add_fault("createFulfillmentOrder", "status", times=1, **REFUSED)


def rejected(shop, items=((GOOD, 1),)):
    """FR-1, whose one order Amazon has refused."""
    refuse_next(shop)
    shop.add("FR-1", items)
    assert shop.send() == {"rejected": 1}


def track(shop):
    shop.task(lambda: TrackOrdersOperator(task_id="track"), shop.context())


def some_runs(shop, times=3):
    for _ in range(times):
        shop.send()
        shop.pass_time(31)


def made(shop):
    return {number: times for number, times in shop.orders_made().items() if times}


def needs(shop, number="FR-1"):
    return [code for (code,) in shop.sql("SELECT code FROM fba.needs_attention WHERE subject = %s", number)]


def refusal_of_pending(shop):
    """What the desk says to who would set FR-1 to pending."""
    with psycopg.connect(shop.url, row_factory=dict_row) as db:
        return choice(look(db, STORE, "FR-1"), "pending").refusal


@pytest.fixture
def forgotten(shop, fulfillment):
    """FR-1 is rejected for the warehouse, and somebody has seen that; but it was set right and sent."""
    fulfillment(OUTBOUND)
    rejected(shop)
    shop.sql("UPDATE fba.fulfillment_request SET acknowledged_at = clock_timestamp()")
    backup = Backup(shop)
    set_right(shop)
    shop.pass_time(21)
    assert shop.send() == {"accepted": 1}
    shop.pass_time(61)
    backup.restore()
    assert shop.get("FR-1").status == "rejected"
    assert needs(shop) == []
    return shop


@pytest.mark.parametrize("transport", [FEED, OUTBOUND])
@pytest.mark.parametrize("finder", ["tracking", "the list before another order"])
def test_the_order_is_told_and_settles_the_request_when_it_is_set_to_pending(forgotten, fulfillment, transport, finder):
    if finder == "tracking":
        track(forgotten)
    else:
        forgotten.add("FR-2")
        forgotten.send()
    assert forgotten.get("FR-1").status == "rejected"
    assert needs(forgotten) == ["rejected"]
    reason = forgotten.get("FR-1").status_reason
    assert reason == f"{AT_AMAZON_ALL_THE_SAME} Before: InvalidInput: Invalid Request Parameters"
    fulfillment(transport)
    set_right(forgotten)
    forgotten.send()
    assert (forgotten.get("FR-1").status, forgotten.get("FR-1").status_reason) == ("accepted", None)
    assert made(forgotten)["FR-1"] == 1


def test_it_is_told_once(forgotten):
    track(forgotten)
    forgotten.sql("UPDATE fba.fulfillment_request SET acknowledged_at = clock_timestamp()")
    for status in ("Planning", "Processing"):
        forgotten.amazon.world.set_order_status(SELLER, "FR-1", status)
        forgotten.pass_time(31)
        track(forgotten)
        forgotten.send()
    assert needs(forgotten) == []


def test_an_invalid_request_is_told_too(shop, fulfillment):
    fulfillment(OUTBOUND)
    shop.add("FR-1", shipping_method="Camel")
    shop.send()
    assert shop.get("FR-1").status == "invalid"
    backup = Backup(shop)
    shop.sql("UPDATE fba.fulfillment_request SET shipping_method = 'Standard', status = 'pending'")
    assert shop.send() == {"accepted": 1}
    shop.pass_time(61)
    backup.restore()
    track(shop)
    assert needs(shop) == ["invalid"]
    assert shop.get("FR-1").status_reason.startswith(AT_AMAZON_ALL_THE_SAME)


@pytest.mark.parametrize("status", ["Invalid", "Unfulfillable", "Cancelled"])
def test_an_order_that_has_ended_is_not_told(forgotten, status):
    forgotten.amazon.world.set_order_status(SELLER, "FR-1", status)
    forgotten.add("FR-2")
    track(forgotten)
    forgotten.send()
    assert forgotten.get("FR-1").status_reason == "InvalidInput: Invalid Request Parameters"
    assert resend(forgotten) == "FR-1-2"
    forgotten.send()
    assert forgotten.statuses() == {"FR-1": "rejected", "FR-1-2": "accepted", "FR-2": "accepted"}


@pytest.mark.parametrize("known", ["another store", "another seller"])
def test_the_order_of_somebody_else_is_not_told(forgotten, known):
    forgotten.sql("SET session_replication_role = replica")
    if known == "another store":
        forgotten.sql("UPDATE fba.fulfillment_request SET seller_id = NULL")
        forgotten.add("FR-1", store="amazon_ca", status="accepted", seller_id=SELLER)
    else:
        forgotten.sql("UPDATE fba.fulfillment_request SET seller_id = 'ANOTHER'")
    forgotten.sql("RESET session_replication_role")
    track(forgotten)
    forgotten.add("FR-2")
    forgotten.send()
    rows = forgotten.sql(
        "SELECT status_reason FROM fba.fulfillment_request WHERE fr_number = 'FR-1' AND store = %s", STORE
    )
    assert rows == [("InvalidInput: Invalid Request Parameters",)]


@pytest.mark.parametrize("transport", [FEED, OUTBOUND])
@pytest.mark.parametrize("known", ["not yet", "tracked"])
def test_a_copy_is_not_sent_beside_it(forgotten, fulfillment, transport, known):
    fulfillment(transport)
    if known == "tracked":
        track(forgotten)
    assert resend(forgotten) == "FR-1-2"
    some_runs(forgotten)
    assert forgotten.statuses() == {"FR-1": "rejected", "FR-1-2": "pending"}
    assert made(forgotten) == {"FR-1": 1}
    why = "Amazon has an order of FR-1, which is rejected here: both would be shipped"
    assert forgotten.get("FR-1-2").waiting_reason == why
    assert needs(forgotten) == (["rejected"] if known == "not yet" else []), "fba.resend has acknowledged it"
    forgotten.pass_time(6 * 60)
    forgotten.send()
    assert needs(forgotten, "FR-1-2") == ["waiting_long"]
    forgotten.sql("UPDATE fba.fulfillment_request SET cancel_requested_at = now() WHERE fr_number = 'FR-1-2'")
    assert "goes out instead of it" in refusal_of_pending(forgotten)
    some_runs(forgotten, 2)
    assert refusal_of_pending(forgotten) == "", "the copy is invalid"
    set_right(forgotten)
    some_runs(forgotten)
    assert forgotten.statuses() == {"FR-1": "accepted", "FR-1-2": "invalid"}
    assert made(forgotten) == {"FR-1": 1}


@pytest.mark.parametrize("transport", [FEED, OUTBOUND])
def test_a_copy_waits_while_amazon_does_not_say_whether_it_has_the_first(
    forgotten, fulfillment, monkeypatch, transport
):
    fulfillment(transport)
    resend(forgotten)
    real = SellingPartnerHook.find_fulfillment_order

    def find(hook, number):
        if number == "FR-1":
            raise RequestRefusedError("not shown", status=400, code="X")
        return real(hook, number)

    with monkeypatch.context() as patch:
        patch.setattr(SellingPartnerHook, "find_fulfillment_order", find)
        patch.setattr(SellingPartnerHook, "list_all_fulfillment_orders", lambda hook, since: [])
        forgotten.send()
    assert forgotten.get("FR-1-2").status == "pending"
    assert "Amazon did not say whether it has an order of FR-1" in forgotten.get("FR-1-2").status_reason
    some_runs(forgotten)
    assert made(forgotten) == {"FR-1": 1}


def test_cancelled_at_amazon_the_first_holds_up_its_copy_no_more(forgotten):
    track(forgotten)
    resend(forgotten)
    some_runs(forgotten, 2)
    assert forgotten.get("FR-1-2").status == "pending"
    forgotten.amazon.world.set_order_status(SELLER, "FR-1", "Cancelled")
    track(forgotten)
    forgotten.send()
    assert forgotten.get("FR-1-2").status == "accepted"


def test_a_request_that_was_inserted_as_rejected_holds_up_its_copy_too(forgotten):
    forgotten.sql("SET session_replication_role = replica")
    forgotten.sql("UPDATE fba.fulfillment_request SET resolved_at = NULL")
    forgotten.sql("RESET session_replication_role")
    resend(forgotten)
    some_runs(forgotten)
    assert made(forgotten) == {"FR-1": 1}


def test_a_cancellation_that_was_taken_back_does_not_hide_it(shop, fulfillment):
    fulfillment(OUTBOUND)
    shop.add("FR-1", cancel_requested_at="2026-01-01T00:00:00Z")
    shop.send()
    assert shop.get("FR-1").status == "invalid"
    backup = Backup(shop)
    shop.sql("UPDATE fba.fulfillment_request SET status = 'pending', cancel_requested_at = NULL")
    assert shop.send() == {"accepted": 1}
    shop.pass_time(61)
    backup.restore()
    track(shop)
    some_runs(shop)
    assert needs(shop) == ["invalid"]
    assert shop.amazon.world.orders(SELLER)["FR-1"]["status"] not in ("Cancelled", "CANCELLED")


@pytest.mark.parametrize("transport", [FEED, OUTBOUND])
def test_the_first_is_asked_for_by_its_number_because_lists_come_late(shop, fulfillment, transport):
    fulfillment(OUTBOUND)
    shop.amazon.world.set_order_listing(delay=3600)
    rejected(shop)
    backup = Backup(shop)
    set_right(shop)
    assert shop.send() == {"accepted": 1}
    shop.pass_time(5)
    backup.restore()
    resend(shop)
    fulfillment(transport)
    some_runs(shop)
    assert made(shop) == {"FR-1": 1}


@pytest.mark.parametrize("transport", [FEED, OUTBOUND])
def test_a_copy_of_what_amazon_does_not_have_is_sent_after_one_question(shop, fulfillment, transport):
    fulfillment(OUTBOUND)
    rejected(shop)
    resend(shop)
    fulfillment(f"{transport}, hold_hours: 30")
    asked = shop.calls_of("getFulfillmentOrder")
    shop.send("scheduled")
    assert shop.calls_of("getFulfillmentOrder") == asked, "it is not due"
    shop.send("manual", ignore_hold=True)
    assert shop.statuses() == {"FR-1": "rejected", "FR-1-2": "accepted"}
    assert made(shop) == {"FR-1-2": 1}
    assert shop.calls_of("getFulfillmentOrder") - asked == 2, "FR-1 and FR-1-2"


def test_a_dry_run_says_that_a_copy_would_be_sent(shop, fulfillment):
    fulfillment(OUTBOUND)
    rejected(shop)
    resend(shop)
    shop.send(until="claim", validate_only=True)
    assert "would be sent (dry run): FR-1-2" in shop.summary()


def test_a_copy_of_what_is_really_anothers_order_is_sent(shop, fulfillment):
    """The ordinary way out where a number is used at Amazon: the rejection was looked behind."""
    place_order(shop.amazon, "FR-1", [(GOOD, 7)])
    shop.amazon.world.set_order_answers(repeated_id="refuse")
    shop.add("FR-1")
    assert shop.send() == {"rejected": 1}
    assert "already used at Amazon for another order" in shop.get("FR-1").status_reason
    resend(shop)
    shop.pass_time(31)
    shop.send()
    assert shop.get("FR-1-2").status == "accepted"


@pytest.mark.parametrize("transport", [FEED, OUTBOUND])
def test_set_right_by_other_items_it_is_told_and_holds_up_a_copy(shop, fulfillment, transport):
    fulfillment(OUTBOUND)
    shop.stock("OTHER-SKU", 5)
    rejected(shop, [("OTHER-SKU", 1)])
    backup = Backup(shop)
    good_item(shop)
    set_right(shop)
    assert shop.send() == {"accepted": 1}
    shop.pass_time(61)
    backup.restore()
    fulfillment(transport)
    resend(shop)
    good_item(shop, "FR-1-2")
    some_runs(shop)
    assert made(shop) == {"FR-1": 1}
    assert needs(shop) == ["rejected"]
    shop.sql("UPDATE fba.fulfillment_request SET cancel_requested_at = now() WHERE fr_number = 'FR-1-2'")
    some_runs(shop, 2)
    set_right(shop)  # but not its lines: for Amazon that is another order
    some_runs(shop, 2)
    assert "already used at Amazon" in shop.get("FR-1").status_reason
    shop.sql(
        "UPDATE fba.fulfillment_request SET cancel_requested_at = NULL, status = 'pending' WHERE fr_number = 'FR-1-2'"
    )
    some_runs(shop)
    assert made(shop) == {"FR-1": 1}


@pytest.mark.parametrize("transport", [FEED, OUTBOUND])
@pytest.mark.parametrize("known", ["not yet", "tracked"])
def test_the_first_is_not_sent_beside_a_refused_copy_that_was_set_right(shop, fulfillment, transport, known):
    fulfillment(OUTBOUND)
    rejected(shop)
    resend(shop)
    refuse_next(shop)
    assert shop.send() == {"rejected": 1}
    backup = Backup(shop)
    set_right(shop, "FR-1-2")
    assert shop.send() == {"accepted": 1}
    shop.pass_time(61)
    backup.restore()
    fulfillment(transport)
    set_right(shop)
    if known == "tracked":
        track(shop)
    some_runs(shop)
    assert made(shop) == {"FR-1-2": 1}


@pytest.mark.parametrize("again", ["set right", "inserted again"])
def test_by_feed_the_first_is_not_sent_beside_a_copy_that_is_forgotten(shop, again):
    shop.stock("NOT-AT-AMAZON", 5)
    before = Backup(shop)
    shop.add("FR-1", [("NOT-AT-AMAZON", 1)])
    assert shop.send() == {"rejected": 1}
    refused = Backup(shop)
    shop.pass_time(21)
    resend(shop)
    good_item(shop, "FR-1-2")
    assert shop.send() == {"accepted": 1}
    shop.pass_time(61)
    if again == "set right":
        refused.restore()
        good_item(shop)
        set_right(shop)
    else:
        before.restore()
        shop.add("FR-1")
    some_runs(shop)
    assert made(shop) == {"FR-1-2": 1}


@pytest.fixture
def copy_forgotten(shop, fulfillment):
    """FR-1 was sent again as FR-1-2, which the warehouse has forgotten, and is set right instead."""
    fulfillment(OUTBOUND)
    rejected(shop)
    backup = Backup(shop)
    resend(shop)
    assert shop.send() == {"accepted": 1}
    shop.pass_time(61)
    backup.restore()
    set_right(shop)
    return shop


def test_a_copy_that_is_forgotten_holds_up_the_first(copy_forgotten):
    shop = copy_forgotten
    some_runs(shop)
    assert made(shop) == {"FR-1-2": 1}
    assert shop.get("FR-1").waiting_reason == (
        "Amazon has an order FR-1-2, which no request here accounts for: it may be this one, sent again before a backup "
        "was put back"
    )
    shop.pass_time(91 * 24 * 60)
    assert execute(shop.db, "runs.expired_orders_at_amazon").fetchall() == [], "it goes on holding it up"
    shop.send()
    assert needs(shop) == ["waiting_long"]


def test_inserted_again_with_its_origin_the_copy_is_found(copy_forgotten):
    shop = copy_forgotten
    shop.add("FR-1-2", resend_of="FR-1")
    some_runs(shop)
    assert shop.statuses() == {"FR-1": "pending", "FR-1-2": "accepted"}
    assert made(shop) == {"FR-1-2": 1}


def test_made_again_by_resend_the_copy_is_found(copy_forgotten):
    shop = copy_forgotten
    shop.sql("SET fba.writer = 'product'")
    shop.sql("UPDATE fba.fulfillment_request SET status = 'sending'")
    shop.sql("UPDATE fba.fulfillment_request SET status = 'rejected'")
    shop.sql("RESET fba.writer")
    assert resend(shop) == "FR-1-2"
    shop.send()
    assert shop.statuses() == {"FR-1": "rejected", "FR-1-2": "accepted"}
    assert made(shop) == {"FR-1-2": 1}


@pytest.mark.parametrize("status", ["Cancelled", "Unfulfillable"])
def test_a_copy_that_has_ended_holds_up_nothing(copy_forgotten, status):
    shop = copy_forgotten
    some_runs(shop)
    shop.amazon.world.set_order_status(SELLER, "FR-1-2", status)
    shop.add("FR-2")  # the list is read before another order
    some_runs(shop)
    assert shop.get("FR-1").status == "accepted"


def test_a_number_that_only_looks_like_a_copy_can_be_cleared_for_good(shop, fulfillment):
    fulfillment(OUTBOUND)
    place_order(shop.amazon, "1001-2", [(GOOD, 7)])
    shop.add("1001")
    some_runs(shop)
    assert shop.get("1001").status == "pending"
    shop.sql("UPDATE fba.order_at_amazon SET cleared_at = clock_timestamp() WHERE fr_number = '1001-2'")
    shop.amazon.world.set_order_status(SELLER, "1001-2", "Processing")
    shop.send()
    assert shop.get("1001").status == "accepted"


def test_the_number_of_another_store_of_the_seller_is_no_copy(shop, fulfillment):
    fulfillment(OUTBOUND)
    place_order(shop.amazon, "1001-2", [(GOOD, 7)])
    shop.sql("SET session_replication_role = replica")
    shop.add("1001-2", [(GOOD, 7)], store="amazon_ca", status="accepted", seller_id=SELLER)
    shop.sql("RESET session_replication_role")
    shop.add("1001")
    some_runs(shop)
    assert shop.sql("SELECT status FROM fba.fulfillment_request WHERE fr_number = '1001'") == [("accepted",)]


def test_a_replacement_of_an_accepted_request_is_sent(shop, fulfillment):
    fulfillment(OUTBOUND)
    shop.add("FR-1")
    shop.send()
    shop.pass_time(61)
    shop.add("FR-1-B", resend_of="FR-1")  # the merchant's: the first parcel was lost
    shop.send()
    assert shop.statuses() == {"FR-1": "accepted", "FR-1-B": "accepted"}


def test_one_wrong_answer_to_the_question_for_the_number_is_made_good_by_the_list(forgotten, monkeypatch):
    resend(forgotten)
    real = SellingPartnerHook.find_fulfillment_order
    wrong = iter([None])
    monkeypatch.setattr(
        SellingPartnerHook,
        "find_fulfillment_order",
        lambda hook, number: next(wrong, real(hook, number)) if number == "FR-1" else real(hook, number),
    )
    some_runs(forgotten)
    assert made(forgotten) == {"FR-1": 1}
