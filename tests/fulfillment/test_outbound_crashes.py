"""Exactly once, order by order: with kills at any point each good request becomes one order and ends accepted."""

from __future__ import annotations

from contextlib import suppress

import pytest

from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.errors import DecisionNeededError, SellingPartnerError
from fba_operators.fulfillment import outbound
from fba_operators.fulfillment.ledger import FeedLedger
from fba_operators.fulfillment.order_ledger import OrderLedger
from fba_operators.operators import fulfillment as operators
from tests.fulfillment.test_crashes import ProcessKiller, add_requests, check
from tests.sending import GOOD

POINTS = {
    "claim": (operators, "claim_requests"),
    "comparison": (outbound, "compare_orders"),
    "number": (SellingPartnerHook, "find_fulfillment_order"),
    "intent_at": (OrderLedger, "record_intent"),
    "createFulfillmentOrder": (SellingPartnerHook, "create_fulfillment_order"),
    "answer": (OrderLedger, "record_accepted"),
    "end": (OrderLedger, "record_end"),
}
STATEMENTS = (
    "fulfillment.add_orders",
    "fulfillment.set_sending",
    "fulfillment.record_order_intent",
    "fulfillment.record_answer",
    "fulfillment.move",
    "fulfillment.close_order",
)


@pytest.fixture
def shop(shop, fulfillment):
    fulfillment("transport: outbound")
    shop.stock("NOT-AT-AMAZON", 5)
    return shop


@pytest.fixture
def killer(shop, monkeypatch):
    return ProcessKiller(monkeypatch, POINTS)


def finish(shop):
    """Run again until nothing is open."""
    for _ in range(20):
        if set(shop.statuses().values()) <= {"accepted", "rejected"}:
            break
        with suppress(DecisionNeededError, SystemExit):
            shop.send(attempts=4)
        shop.pass_time(11)
    shop.send()
    assert shop.sql("SELECT count(*) FROM fba.outbound_order WHERE settled_at IS NULL") == [(0,)]


@pytest.mark.parametrize("answer", ["refuse", "second_order"])
@pytest.mark.parametrize(
    ("point", "when", "retried"),
    [
        *((point, when, retried) for point in POINTS for when in ("before", "after") for retried in (True, False)),
        *((name, when, when == "after") for name in STATEMENTS for when in ("before", "after")),
    ],
)
def test_killed_at_one_point(shop, killer, point, when, retried, answer):
    shop.amazon.world.set_order_answers(repeated_id=answer)
    good, bad = add_requests(shop)
    killer.arm(point, when)
    with suppress(SystemExit):
        shop.send(attempts=2 if retried else 1)
    assert killer.kills == 1
    finish(shop)
    check(shop, good, bad)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("point", ["find", "list", "record_absent", "record_not_arrived", "record_end"])
def test_killed_while_a_lost_answer_is_looked_up(shop, killer, monkeypatch, point, when):
    good, bad = add_requests(shop)
    owner, name = (FeedLedger, point)
    if point == "list":
        owner, name = SellingPartnerHook, "list_all_fulfillment_orders"
    if point in ("find", "record_end"):
        name = "number" if point == "find" else "end"
    else:
        monkeypatch.setattr(owner, name, killer.killing(point, getattr(owner, name)))
        name = point
    arrives = point == "record_end"
    shop.amazon.world.add_fault("createFulfillmentOrder", "reset_after" if arrives else "reset_before")
    shop.send()
    killer.arm(name, when)
    for _ in range(3):
        with suppress(SystemExit):
            shop.send()
        shop.pass_time(11)
    assert killer.kills == 1
    finish(shop)
    check(shop, good, bad)


def test_killed_at_every_point_in_turn_within_one_run(shop, killer):
    good, bad = add_requests(shop)
    good += [shop.add(f"MORE-{n}") for n in range(2 * len(POINTS))]  # each kill takes one out of this run
    for point in POINTS:
        for when in ("before", "after"):
            killer.arm(point, when)
    with suppress(SellingPartnerError, SystemExit):
        shop.send(attempts=25)
    finish(shop)
    assert killer.armed == {}
    check(shop, good, bad)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("point", ["release", "record_end"])
def test_killed_while_a_held_order_is_released(shop, killer, monkeypatch, fulfillment, point, when):
    fulfillment("transport: outbound, reserve: true, hold_hours: 4")
    monkeypatch.setattr(
        SellingPartnerHook,
        "release_fulfillment_order",
        killer.killing("release", SellingPartnerHook.release_fulfillment_order),
    )
    shop.add("FR-1", [(GOOD, 2)])
    shop.send()
    assert shop.get("FR-1").status == "submitted"
    killer.arm("release" if point == "release" else "end", when)
    with suppress(SystemExit):
        shop.send(ignore_hold=True)
    assert killer.kills == 1
    shop.send(ignore_hold=True)
    check(shop, ["FR-1"], [])
