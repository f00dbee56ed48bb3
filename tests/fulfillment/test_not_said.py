"""Amazon refuses to say whether it has an order of one request: the others of its feed do not wait for that."""

from __future__ import annotations

import pytest

from tests.fulfillment.test_crashes import REFUSED
from tests.fulfillment.test_memory import settled
from tests.fulfillment.test_set_right_and_forgotten import resend


def next_is_not_shown(shop):
    shop.amazon.world.add_fault("getFulfillmentOrder", "status", times=1, **REFUSED)


def unanswered(shop):
    return [number for (number,) in shop.sql("SELECT fr_number FROM fba.unanswered_number")]


def searched_in_vain(shop):
    """FR-1 is pending because a person said so, when no order of it was found."""
    shop.add("FR-1")
    shop.amazon.world.add_fault("createFeed", "reset_before", times=3)
    settled(shop, 30)
    shop.sql("UPDATE fba.fulfillment_request SET status = 'pending'")
    return "FR-1", "FR-1"


def copy_of_a_refused_one(shop):
    """FR-1 was refused and goes out again as FR-1-2, before which Amazon is asked for FR-1."""
    shop.add("FR-1")
    shop.sql("SET session_replication_role = replica")
    shop.sql("UPDATE fba.fulfillment_request SET status = 'rejected', resolved_at = clock_timestamp()")
    shop.sql("SET session_replication_role = origin")
    return resend(shop), "FR-1"


@pytest.mark.parametrize("begin", [searched_in_vain, copy_of_a_refused_one])
def test_the_next_feed_goes_without_it_and_every_run_asks_again(shop, begin):
    waits, other = begin(shop)
    shop.add("FR-2")
    next_is_not_shown(shop)
    shop.send()
    assert (shop.get(waits).status, shop.get("FR-2").status) == ("pending", "pending")
    assert unanswered(shop) == [other]
    next_is_not_shown(shop)
    shop.send()
    assert (shop.get(waits).status, shop.get("FR-2").status) == ("pending", "accepted")
    said = f"ready; Amazon did not say whether it has an order of {other}; every run asks again"
    assert shop.get(waits).waiting_reason == said
    shop.pass_time(31)
    shop.send()
    assert (shop.get(waits).status, shop.get("FR-2").status) == ("accepted", "accepted")
    assert unanswered(shop) == []
    assert shop.orders_made() == {waits: 1, "FR-2": 1}
