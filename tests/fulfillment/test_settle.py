"""Requests whose feed has no answer from Amazon: looked up, sent again, cancelled, or left to a person."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from devstack.airflow import store_connection
from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.errors import DecisionNeededError, UnavailableError
from fba_operators.fulfillment.ledger import FeedLedger
from fba_operators.operators import (
    RecordFeedOperator,
    WaitForFeedOperator,
)
from fba_operators.warehouse.database import Warehouse
from tests.helpers import place_order
from tests.sending import GOOD, SKIPPED, foreign_feed, look_up_unknown, other_seller, submit, uploaded
from tests.stores import CANADA, SELLER, STORE, US


def lose_answer(shop, *numbers, arrived=True):
    """Submit a feed and lose the answer of createFeed."""
    shop.amazon.world.add_fault("createFeed", "reset_after" if arrived else "reset_before")
    for number in numbers or ("FR-1",):
        shop.add(number)
    assert shop.send(attempts=3) is SKIPPED
    assert set(shop.statuses().values()) == {"unknown"}


@pytest.mark.parametrize("fault", ["reset_after", "500", "503", "error_after"])
def test_a_lost_answer_never_leads_to_a_second_submission(shop, fault):
    shop.amazon.world.add_fault("createFeed", fault)
    shop.add("FR-1")
    for _ in range(3):
        assert shop.send(attempts=3) is SKIPPED
    assert shop.get("FR-1").status == "unknown"
    assert shop.calls_of("createFeed") == 1
    assert shop.sql("SELECT status FROM fba.feed") == [("LOST",)]
    assert "unknown" in shop.summary()


def test_an_order_that_arrived_is_found_half_an_hour_later(shop):
    lose_answer(shop, "FR-1", "FR-2")
    compared = shop.calls_of("getFeeds")
    shop.send()
    assert shop.calls_of("getFeeds") == compared == 1
    shop.pass_time(29)
    shop.send()
    assert shop.calls_of("listAllFulfillmentOrders") == 0
    shop.pass_time(2)
    shop.send()
    assert shop.statuses() == {"FR-1": "accepted", "FR-2": "accepted"}
    assert shop.get("FR-1").amazon_order_status in ("Received", "Planning")
    assert shop.feeds() == [("LOST", True)]
    assert shop.orders_made() == {"FR-1": 1, "FR-2": 1}


def test_an_order_that_did_not_arrive_is_sent_again_after_two_lists(shop):
    lose_answer(shop, arrived=False)
    shop.pass_time(31)
    shop.send()
    assert shop.get("FR-1").status == "unknown"
    shop.pass_time(9)
    shop.send()
    assert shop.get("FR-1").status == "unknown"
    shop.pass_time(2)
    assert shop.send() == {"accepted": 1}
    assert (shop.get("FR-1").attempts, shop.orders_made()) == (1, {"FR-1": 1})
    assert shop.feeds() == [("LOST", True), ("DONE", True)]


def test_nothing_is_concluded_while_a_feed_is_unfinished(shop):
    """The unfinished feed may be ours, with its answer lost."""
    shop.amazon.world.set_clock(processing_seconds=10**6)
    lose_answer(shop)
    for _ in range(4):
        shop.pass_time(31)
        shop.send()
        assert shop.get("FR-1").status == "unknown"
        assert shop.get("FR-1").absent_since is None
    assert "still being processed" in shop.summary()
    assert shop.calls_of("listAllFulfillmentOrders") == 0
    shop.amazon.world.advance(10**6)
    shop.send()
    assert shop.get("FR-1").status == "unknown"
    look_up_unknown(shop)
    assert shop.get("FR-1").status == "accepted"
    assert shop.orders_made() == {"FR-1": 1}


def test_an_unfinished_feed_between_two_lists_restarts_the_search(shop):
    lose_answer(shop, arrived=False)
    shop.pass_time(31)
    shop.send()
    assert shop.get("FR-1").absent_since is not None
    shop.amazon.world.set_clock(processing_seconds=10**6)
    foreign_feed()
    shop.pass_time(11)
    shop.send()
    assert shop.get("FR-1").absent_since is None


def test_a_feed_of_another_system_is_never_mistaken_for_ours(shop):
    """Our feed never arrived; Amazon has one of another system, with an order of another number."""
    lose_answer(shop, arrived=False)
    other = foreign_feed()
    shop.pass_time(31)
    shop.send()
    assert shop.sql("SELECT feed_id FROM fba.feed") == [(None,)]
    shop.pass_time(31)
    shop.send(until="settle")
    shop.pass_time(11)
    assert shop.send() == {"accepted": 1}
    assert shop.orders_made() == {"FR-1": 1}
    assert other not in [row[0] for row in shop.sql("SELECT feed_id FROM fba.feed")]


@pytest.mark.parametrize("theirs", [[(GOOD, 2)], [("AFN-PLAIN", 1)], [(GOOD, 1), ("AFN-PLAIN", 1)]])
def test_an_order_of_our_number_with_other_goods_is_not_ours(shop, theirs):
    lose_answer(shop, arrived=False)
    place_order(shop.amazon, "FR-1", theirs)
    shop.pass_time(31)
    shop.send()
    row = shop.get("FR-1")
    assert (row.status, row.status_reason) == ("invalid", "FR number already used at Amazon for another order")
    assert shop.orders_made() == {"FR-1": 1}


def test_an_order_of_our_number_in_another_marketplace_is_not_ours(shop):
    lose_answer(shop, arrived=False)
    shop.amazon.world.put_item(SELLER, CANADA, GOOD, offers=[("AMAZON_NA", None)], afn=[("SELLABLE", 9)])
    place_order(shop.amazon, "FR-1", [(GOOD, 1)], marketplace=CANADA)
    shop.pass_time(31)
    shop.send()
    assert shop.get("FR-1").status == "invalid"


@pytest.mark.parametrize(
    ("status", "ends"), [("Cancelled", "cancelled"), ("Invalid", "rejected"), ("Unfulfillable", "rejected")]
)
def test_an_order_found_in_a_final_status_gets_that_status(shop, status, ends):
    lose_answer(shop)
    shop.amazon.world.advance(60)
    shop.amazon.world.set_order_status(SELLER, "FR-1", status)
    shop.pass_time(31)
    shop.send()
    assert (shop.get("FR-1").status, shop.get("FR-1").amazon_order_status) == (ends, status)


def test_lists_of_many_pages_are_read_to_the_end(shop):
    shop.amazon.world.set_order_listing(page_size=1)
    lose_answer(shop, "FR-1", "FR-2", "FR-3")
    shop.pass_time(31)
    shop.send()
    assert set(shop.statuses().values()) == {"accepted"}


def test_an_incomplete_list_is_no_evidence(shop):
    lose_answer(shop, "FR-1", arrived=False)
    place_order(shop.amazon, "OTHER-1", [(GOOD, 1)])
    place_order(shop.amazon, "OTHER-2", [(GOOD, 1)])
    shop.amazon.world.set_order_listing(page_size=1)
    shop.amazon.world.add_fault("listAllFulfillmentOrders", "503", skip=1, times=5)
    shop.pass_time(31)
    with pytest.raises(UnavailableError):
        shop.send()
    assert shop.get("FR-1").absent_since is None


@pytest.mark.parametrize("unreadable", [None, "x", {}, {"sellerFulfillmentOrderId": 7}])
def test_an_order_that_cannot_be_read_may_be_of_any_request(shop, unreadable):
    """What else the list has is found; what it lacks is not absent."""
    lose_answer(shop, "FR-1", "FR-2")
    listed = {"payload": {"fulfillmentOrders": [unreadable, {"sellerFulfillmentOrderId": "FR-2"}]}}
    shop.amazon.world.add_fault("listAllFulfillmentOrders", "status", status=200, body=listed, times=None)
    for _ in range(4):
        shop.pass_time(31)
        shop.send()
    assert shop.statuses() == {"FR-1": "unknown", "FR-2": "accepted"}
    assert shop.get("FR-1").absent_since is None
    assert shop.orders_made() == {"FR-1": 1, "FR-2": 1}


def test_a_feed_that_cannot_be_read_may_still_be_in_progress(shop):
    lose_answer(shop)
    shop.amazon.world.add_fault("getFeeds", "status", status=200, body={"feeds": [{"feedId": 5}]}, times=1)
    shop.pass_time(31)
    shop.send()
    assert shop.statuses() == {"FR-1": "unknown"}
    assert "cannot be read" in shop.summary()
    shop.send()
    assert shop.statuses() == {"FR-1": "accepted"}


def test_an_order_missing_from_the_lists_is_not_sent_twice(shop):
    """Amazon's list is late by a day; getFulfillmentOrder has the order."""
    shop.amazon.world.set_order_listing(delay=86400)
    lose_answer(shop)
    look_up_unknown(shop)
    assert shop.get("FR-1").status == "accepted"
    assert shop.orders_made() == {"FR-1": 1}


def test_a_duplicate_rejected_because_the_order_exists_is_accepted(shop):
    """Sent again after two lists without it; then Amazon rejects the number as used: the first one had arrived."""
    shop.amazon.world.set_order_answers(repeated_id="refuse")
    lose_answer(shop, arrived=False)
    look_up_unknown(shop)
    assert shop.get("FR-1").status == "pending"
    place_order(shop.amazon, "FR-1", [(GOOD, 1)])
    assert shop.send() == {"accepted": 1}
    assert shop.orders_made() == {"FR-1": 1}


def test_a_rejection_of_a_resent_request_stands_if_amazon_has_no_order(shop):
    shop.stock("NOT-AT-AMAZON", 1)
    shop.amazon.world.add_fault("createFeed", "reset_before")
    shop.add("FR-1", [("NOT-AT-AMAZON", 1)])
    shop.send()
    look_up_unknown(shop)
    assert shop.send() == {"rejected": 1}


def test_after_three_attempts_a_person_decides_and_other_requests_are_sent(shop):
    for _ in range(2):
        shop.amazon.world.add_fault("createFeed", "reset_before")
        if not shop.statuses():
            shop.add("FR-1")
        assert shop.send() is SKIPPED
        look_up_unknown(shop)
        assert shop.get("FR-1").status == "pending"
    shop.amazon.world.add_fault("createFeed", "reset_before")
    shop.send()
    shop.pass_time(31)
    shop.send()
    shop.pass_time(11)
    with pytest.raises(DecisionNeededError, match=r"1 request was sent.*cannot be found out.*Seller Central.*FR-1"):
        shop.send()
    row = shop.get("FR-1")
    assert (row.status, row.attempts) == ("unknown", 3)
    assert "set status to pending" in row.status_reason
    shop.add("FR-2")
    assert shop.send() == {"accepted": 1}
    shop.sql("UPDATE fba.fulfillment_request SET status = 'pending' WHERE fr_number = 'FR-1'")
    assert shop.send() == {"accepted": 1}
    assert shop.orders_made() == {"FR-1": 1, "FR-2": 1}


def test_many_absent_orders_are_looked_up_in_steps_within_amazons_quota(shop):
    """Amazon's quota allows 30 orders at once: those looked up before it is exhausted are not looked up again."""
    numbers = [f"FR-{number:02}" for number in range(70)]
    lose_answer(shop, *numbers, arrived=False)
    look_up_unknown(shop)
    assert set(shop.statuses().values()) == {"pending"}
    assert shop.calls_of("getFulfillmentOrder") < 75
    assert {shop.get(number).attempts for number in numbers} == {1}
    assert shop.send() == {"accepted": 70}


def test_a_late_answer_of_create_feed_is_still_recorded(shop, monkeypatch):
    """The lock is gone and another run has marked the feed as lost, while createFeed was in flight."""
    claim_id = uploaded(shop)
    real = SellingPartnerHook.create_feed

    def slow(self, *arguments, **keywords):
        feed_id = real(self, *arguments, **keywords)
        FeedLedger(Warehouse(), STORE).record_lost_answer(claim_id)
        return feed_id

    monkeypatch.setattr(SellingPartnerHook, "create_feed", slow)
    assert submit(shop, claim_id) == claim_id
    assert shop.get("FR-1").status == "unknown"
    shop.task(lambda: WaitForFeedOperator(task_id="wait", claim_id=claim_id), shop.context())
    shop.task(lambda: RecordFeedOperator(task_id="record", claim_id=claim_id), shop.context())
    assert shop.get("FR-1").status == "accepted"
    assert shop.feeds() == [("DONE", True)]


# Feeds that hang


def test_a_feed_that_hangs_holds_up_nobody_after_four_hours(shop):
    shop.patience = timedelta(seconds=0.1)
    shop.amazon.world.hang_feeds(SELLER)
    shop.add("FR-1")
    assert shop.send() is SKIPPED
    shop.add("FR-2")
    for _ in range(3):
        shop.pass_time(75)
        shop.send()
        assert shop.statuses() == {"FR-1": "submitted", "FR-2": "pending"}
    assert "one feed at a time" in shop.get("FR-2").waiting_reason
    shop.pass_time(20)
    assert shop.send() == {"accepted": 1}
    assert shop.statuses() == {"FR-1": "submitted", "FR-2": "accepted"}
    assert shop.sql("SELECT code, subject FROM fba.needs_attention") == [("slow_feed", "FR-1")]
    shop.pass_time(3 * 24 * 60)
    shop.amazon.world.release_hung_feeds()
    shop.amazon.world.advance(600)
    shop.send()
    assert shop.statuses() == {"FR-1": "accepted", "FR-2": "accepted"}
    assert shop.sql("SELECT code FROM fba.needs_attention") == []
    assert shop.orders_made() == {"FR-1": 1, "FR-2": 1}


def test_a_hung_feed_that_may_be_the_lost_one_is_left_to_a_person_and_the_others_go_out(shop):
    """Sent again, its requests could be two orders on the day on which Amazon goes on with it."""
    shop.amazon.world.hang_feeds(SELLER)
    lose_answer(shop)
    shop.add("FR-2")
    shop.pass_time(4 * 60 + 1)
    assert shop.send() == {"accepted": 1}
    shop.pass_time(11)
    with pytest.raises(DecisionNeededError, match=r"cannot be found out.*FR-1"):
        shop.send()
    shop.send()  # told once by a red run; from then on it stands in needs_attention
    row = shop.get("FR-1")
    assert row.status == "unknown"
    assert "which Amazon has not finished for hours" in row.status_reason
    assert shop.sql("SELECT code, subject FROM fba.needs_attention") == [("stuck", "FR-1")]
    shop.pass_time(3 * 24 * 60)
    shop.amazon.world.release_hung_feeds()
    shop.amazon.world.advance(600)
    look_up_unknown(shop)
    assert shop.statuses() == {"FR-1": "accepted", "FR-2": "accepted"}
    assert shop.orders_made() == {"FR-1": 1, "FR-2": 1}


def test_feeds_of_other_programs_after_ours_prolong_nothing(shop):
    """One every ten minutes, some of which never end."""
    lose_answer(shop, arrived=False)
    for number in range(4):
        shop.pass_time(11)
        shop.amazon.world.foreign_feed(SELLER, US, hangs=number % 2 == 0)
        shop.send(until="settle")
    assert shop.get("FR-1").status == "pending"


# Amazon fails after a result was recorded


def cancel_that_fails(shop, times):
    """Request a cancellation that Amazon does not answer for a while."""
    shop.add("FR-0", (), status="accepted", cancel_requested_at=datetime.now(UTC))
    shop.amazon.world.add_fault("cancelFulfillmentOrder", "503", times=times)


def test_results_are_recorded_although_amazon_fails_afterwards(shop):
    lose_answer(shop, arrived=False)
    place_order(shop.amazon, "FR-1", [(GOOD, 9)])
    shop.pass_time(31)
    cancel_that_fails(shop, times=5)
    shop.send(attempts=2, until="settle")
    assert shop.get("FR-1").status == "invalid"
    assert shop.sql("SELECT attention ->> 'invalid' FROM fba.run ORDER BY started_at DESC LIMIT 1") == [("1",)]


def test_a_decision_is_requested_although_amazon_fails_after_the_feed_is_settled(shop):
    """And in every run until the request is decided, while other requests are sent."""
    lose_answer(shop, arrived=False)
    shop.sql("UPDATE fba.fulfillment_request SET attempts = 2")
    shop.pass_time(31)
    shop.send(until="settle")
    shop.pass_time(11)
    cancel_that_fails(shop, times=50)
    shop.amazon.world.add_fault("getFulfillmentOrder", "503", times=None, skip=1)  # so it is an outage
    with pytest.raises(UnavailableError):
        shop.send(until="settle")
    assert shop.feeds() == [("LOST", True)]
    shop.amazon.world.clear_faults()
    stuck = "SELECT attention ->> 'stuck' FROM fba.run ORDER BY started_at DESC LIMIT 1"
    for number in ("FR-2", "FR-3"):
        shop.fill_quotas()
        shop.add(number)
        assert shop.send() == {"accepted": 1}
        assert shop.sql(stuck) == [("1",)]
        # There is no order to cancel, and the request is still stuck.
        shop.sql("UPDATE fba.fulfillment_request SET cancel_requested_at = now() WHERE fr_number = 'FR-1'")
    assert "Seller Central" in shop.get("FR-1").status_reason
    shop.sql("UPDATE fba.fulfillment_request SET status = 'rejected' WHERE fr_number = 'FR-1'")
    shop.send()
    assert shop.sql(stuck) == [(None,)]


# The connection becomes another seller's


def test_an_order_is_never_searched_at_another_seller(shop):
    """It would be absent there and sent again: two parcels for one customer."""
    lose_answer(shop)
    with other_seller(shop):
        for _ in range(3):
            shop.pass_time(31)
            with pytest.raises(DecisionNeededError, match=f"another seller.*{SELLER}.*FR-1"):
                shop.send(until="settle")
    assert (shop.get("FR-1").status, shop.get("FR-1").absent_since) == ("unknown", None)
    assert shop.calls_of("listAllFulfillmentOrders") == 0
    shop.send(until="settle")
    assert shop.get("FR-1").status == "accepted"
    assert shop.orders_made() == {"FR-1": 1}


@pytest.mark.parametrize("answered", [True, False])
def test_requests_of_a_former_seller_can_be_set_by_hand(shop, answered):
    submit(shop, uploaded(shop)) if answered else lose_answer(shop)
    with other_seller(shop):
        with pytest.raises(DecisionNeededError, match="another seller"):
            shop.send(until="settle")
        shop.sql("UPDATE fba.fulfillment_request SET status = 'accepted'")
        shop.send(until="settle")
    assert [settled for _, settled in shop.feeds()] == [True]
    assert shop.get("FR-1").status == "accepted"
    assert shop.calls_of("getFeed") == 0


def test_another_sellers_order_of_the_same_number_is_not_cancelled(shop):
    shop.add("FR-1")
    shop.send()
    shop.sql("UPDATE fba.fulfillment_request SET cancel_requested_at = now()")
    with other_seller(shop):
        shop.send(until="settle")
    assert shop.calls_of("cancelFulfillmentOrder") == 0
    assert "another seller" in shop.get("FR-1").status_reason
    shop.send(until="settle")
    assert shop.get("FR-1").status == "cancelled"


# Cancelling


def test_an_accepted_order_is_cancelled(shop):
    shop.add("FR-1")
    shop.send()
    shop.sql("UPDATE fba.fulfillment_request SET cancel_requested_at = now()")
    shop.send()
    assert (shop.get("FR-1").status, shop.get("FR-1").amazon_order_status) == ("cancelled", "Cancelled")
    assert shop.amazon.world.orders(SELLER)["FR-1"]["status"] == "Cancelled"
    shop.send()
    assert shop.calls_of("cancelFulfillmentOrder") == 1


def test_an_order_that_can_no_longer_be_cancelled_keeps_its_status_and_has_a_reason(shop):
    shop.add("FR-1")
    shop.send()
    shop.amazon.world.advance(2 * 3600)
    shop.sql("UPDATE fba.fulfillment_request SET cancel_requested_at = now()")
    shop.send()
    assert shop.get("FR-1").status == "accepted"
    assert "not cancelled: " in shop.get("FR-1").status_reason
    assert shop.calls_of("cancelFulfillmentOrder") == 1
    shop.send()
    assert shop.calls_of("cancelFulfillmentOrder") == 2
    shop.pass_time(4 * 24 * 60)
    shop.send()
    assert shop.calls_of("cancelFulfillmentOrder") == 2


def test_an_unknown_order_can_be_cancelled(shop):
    lose_answer(shop)
    shop.amazon.world.advance(60)
    shop.sql("UPDATE fba.fulfillment_request SET cancel_requested_at = now()")
    shop.send()
    assert shop.get("FR-1").status == "cancelled"
    shop.add("FR-2")
    assert shop.send() == {"accepted": 1}


def test_another_programs_order_of_an_unknown_requests_number_is_not_cancelled(shop):
    lose_answer(shop, arrived=False)
    place_order(shop.amazon, "FR-1", [(GOOD, 9)])
    shop.sql("UPDATE fba.fulfillment_request SET cancel_requested_at = now()")
    shop.send(until="settle")
    assert shop.calls_of("cancelFulfillmentOrder") == 0
    assert shop.get("FR-1").status == "invalid"
    assert shop.amazon.world.orders(SELLER)["FR-1"]["status"] != "Cancelled"
    shop.send(until="settle")
    assert shop.feeds() == [("LOST", True)]


def test_an_unknown_order_that_never_arrived_is_not_sent_after_it_was_cancelled(shop):
    lose_answer(shop, arrived=False)
    shop.sql("UPDATE fba.fulfillment_request SET cancel_requested_at = now()")
    look_up_unknown(shop)
    shop.send()
    assert (shop.get("FR-1").status, shop.get("FR-1").status_reason) == ("invalid", "cancelled before it was sent")
    assert shop.orders_made() == {}


def test_stores_of_one_seller_do_not_wait_for_each_other(shop, fulfillment, monkeypatch):
    fulfillment("send_automatically: true", stores=(STORE, "amazon_ca"))
    monkeypatch.setenv("AIRFLOW_CONN_AMAZON_CA", store_connection(shop.amazon.url, marketplace_id=CANADA))
    shop.amazon.world.put_item(SELLER, CANADA, GOOD, offers=[("AMAZON_NA", None)], afn=[("SELLABLE", 9)])
    lose_answer(shop)
    shop.sql(
        "INSERT INTO fba.global_inventory_pool (store, sku, fba_quantity, fbm_quantity, quantity, quantity_source)"
        " VALUES ('amazon_ca', %s, 1, 0, 1, 'afn_report')",
        GOOD,
    )
    shop.add("CA-1", store="amazon_ca", ship_to_state="ON", ship_to_country="CA")
    assert shop.send(store="amazon_ca") == {"accepted": 1}
    assert shop.amazon.world.orders(SELLER)["CA-1"]["marketplace_id"] == CANADA


def test_many_rejections_are_looked_behind_in_steps_within_amazons_quota(shop):
    """Amazon's quota allows 30 orders at once: those it did not know are not asked for again."""
    shop.stock("NOT-AT-AMAZON", 5)
    for number in range(70):
        shop.add(f"FR-{number:02}", [("NOT-AT-AMAZON", 1)])
    assert shop.send() == {"rejected": 70}
    assert 70 <= shop.calls_of("getFulfillmentOrder") < 75
