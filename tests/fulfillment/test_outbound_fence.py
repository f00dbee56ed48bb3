"""The fence around createFulfillmentOrder, and what an older copy of the warehouse has forgotten."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import psycopg
import pytest

from fba_operators.errors import DecisionNeededError, UnavailableError
from fba_operators.fulfillment.ledger import FeedLedger
from fba_operators.fulfillment.order_ledger import OrderLedger
from fba_operators.operators import SendOrdersOperator
from fba_operators.runs.retention import remove_expired
from fba_operators.settings.models import Retention
from fba_operators.warehouse.database import Warehouse
from tests.fulfillment.test_fence import amazon_ahead, before_the_body, lock_holders, worker_ahead
from tests.helpers import place_order
from tests.sending import GOOD
from tests.stores import SELLER, STORE, US


@pytest.fixture
def shop(shop, fulfillment):
    fulfillment("transport: outbound")
    return shop


def claimed(shop, *numbers):
    for number in numbers or ("FR-1",):
        shop.add(number)
    return shop.send(until="claim")


def send(shop, claim_id):
    return shop.task(lambda: SendOrdersOperator(task_id="send", claim_id=claim_id), shop.context())


def take_for_lost(shop):
    orders = OrderLedger(FeedLedger(Warehouse(), STORE))
    for row in orders.open_orders():
        orders.record_lost_answer(row)


def asleep(patch):
    """By the clock of the module that looks; that of the sandbox goes on."""
    patch.setattr("fba_operators.fulfillment.outbound.time", SimpleNamespace(monotonic=lambda: 10**9, sleep=time.sleep))


INTERRUPTIONS = {
    "it slept by the monotonic clock": lambda shop, patch: asleep(patch),
    "it slept by the database's clock": lambda shop, patch: shop.sql(
        "UPDATE fba.outbound_order SET intent_at = intent_at - interval '61 seconds'"
    ),
    "its session was cut": lambda shop, patch: lock_holders(shop),
    "another run took it for lost": lambda shop, patch: take_for_lost(shop),
}


@pytest.mark.parametrize("what", INTERRUPTIONS)
def test_a_process_that_was_stopped_before_the_body_sends_nothing(shop, monkeypatch, what):
    claim_id = claimed(shop)
    with monkeypatch.context() as patch:
        before_the_body(patch, lambda: INTERRUPTIONS[what](shop, patch))
        with pytest.raises(UnavailableError, match=r"stopped for too long|session that held the store's lock was cut"):
            send(shop, claim_id)
    assert shop.orders_made() == {}
    for _ in range(3):
        shop.send()
        shop.pass_time(11)
    shop.send()
    assert shop.statuses() == {"FR-1": "accepted"}
    assert shop.orders_made() == {"FR-1": 1}


def test_the_intent_comes_after_token_and_quota(shop):
    shop.add("FR-0")
    shop.send()
    claim_id = claimed(shop)
    shop.sql("UPDATE fba.rate_limit SET tokens = -60 WHERE bucket LIKE '%%:createFulfillmentOrder'")
    intents = []

    def waits(moment):
        intents.append(shop.sql("SELECT intent_at FROM fba.outbound_order WHERE fr_number = 'FR-1'"))
        shop.fill_quotas()

    operator = lambda: SendOrdersOperator(task_id="send", claim_id=claim_id)  # noqa: E731
    shop.task(operator, shop.context(), on_wait=waits)
    assert intents == [[(None,)]]
    assert shop.get("FR-1").status == "accepted"


@pytest.mark.parametrize(
    "change",
    {
        "its content": "UPDATE fba.fulfillment_request_item SET quantity = 9",
        "its address": "UPDATE fba.fulfillment_request SET ship_to_name = 'Somebody Else'",
        "its speed": "UPDATE fba.fulfillment_request SET speed = 'Expedited'",
        "its status": "UPDATE fba.fulfillment_request SET status = 'pending'",
        "its claim": "UPDATE fba.fulfillment_request SET claim_id = gen_random_uuid()",
        "its lines": "DELETE FROM fba.fulfillment_request_item",
    }.items(),
    ids=lambda change: change[0],
)
def test_what_somebody_changed_behind_the_rules_is_not_sent(shop, change):
    claim_id = claimed(shop, "FR-1", "FR-2")
    with psycopg.connect(shop.url) as db:
        db.execute("SET session_replication_role = replica")
        db.execute(f"{change[1]} WHERE fr_number = 'FR-1'".encode())
    send(shop, claim_id)
    assert shop.orders_made() == {"FR-2": 1}
    assert shop.get("FR-2").status == "accepted"


def test_a_changed_setting_is_not_sent_with_the_old_claim(shop, fulfillment):
    claim_id = claimed(shop)
    fulfillment("transport: outbound, fulfillment_policy: FillAll")
    send(shop, claim_id)
    assert shop.orders_made() == {}
    shop.send()
    assert shop.amazon.world.order_desk.orders[SELLER, "FR-1"].request.policy == "FillAll"


def test_tables_that_are_put_back_between_comparison_and_order_send_nothing(shop, monkeypatch):
    claim_id = claimed(shop)
    real = OrderLedger.record_intent

    def record_intent(orders, *arguments, **keywords):
        shop.sql("UPDATE fba.feed_check SET token = gen_random_uuid()")  # that of an older comparison
        return real(orders, *arguments, **keywords)

    monkeypatch.setattr(OrderLedger, "record_intent", record_intent)
    send(shop, claim_id)
    assert shop.orders_made() == {}
    assert shop.get("FR-1").status == "pending"


def test_late_news_of_an_order_do_not_move_a_newer_claim(shop):
    claimed(shop)
    (first,) = [str(row["claim_id"]) for row in OrderLedger(FeedLedger(Warehouse(), STORE)).open_orders()]
    shop.send(until="settle")
    shop.send(until="claim")
    with pytest.raises(DecisionNeededError, match="two orders under its number"):
        OrderLedger(FeedLedger(Warehouse(), STORE)).record_accepted(first, "FR-1")
    assert shop.get("FR-1").status == "sending"


@pytest.mark.parametrize("arrived", [True, False])
@pytest.mark.parametrize("seconds", [-3600, 3600])
@pytest.mark.parametrize("whose", [amazon_ahead, worker_ahead], ids=["Amazon", "worker"])
def test_ten_minutes_are_the_databases(shop, whose, seconds, arrived):
    with whose(shop, seconds):
        shop.amazon.world.add_fault("createFulfillmentOrder", "reset_after" if arrived else "reset_before")
        shop.add("FR-1")
        shop.send()
        assert shop.get("FR-1").status == "unknown"
        for minutes in (0, 9):
            shop.pass_time(minutes)
            shop.send()
            assert shop.get("FR-1").status == ("accepted" if arrived else "unknown")
        shop.pass_time(2)
        shop.send()
    assert shop.get("FR-1").status == "accepted"
    assert shop.orders_made() == {"FR-1": 1}


# What an older copy has forgotten


def forget(shop):
    """Put an older copy back: nothing was ever sent, and the merchant's system inserts its orders again."""
    with psycopg.connect(shop.url) as db:
        db.execute("SET session_replication_role = replica")
        for table in ("outbound_order", "fulfillment_quote", "fulfillment_request_item", "fulfillment_request"):
            db.execute(f"DELETE FROM fba.{table}".encode())


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("transport", ["outbound", "feed"])
def test_orders_that_were_forgotten_are_not_sent_again(shop, fulfillment, listed, transport):
    """By either transport, also while Amazon's list does not have them yet."""
    if not listed:
        shop.amazon.world.set_order_listing(delay=10**6)
    shop.add("FR-1")
    shop.add("FR-2")
    assert shop.send() == {"accepted": 2}
    forget(shop)
    shop.add("FR-1")
    shop.add("FR-2", [(GOOD, 2)])
    shop.add("FR-3")
    fulfillment(f"transport: {transport}")
    for _ in range(3):
        shop.send()
        shop.pass_time(21)
    assert shop.statuses() == {"FR-1": "accepted", "FR-2": "invalid", "FR-3": "accepted"}
    assert shop.orders_made() == {"FR-1": 1, "FR-2": 1, "FR-3": 1}


def test_a_feed_that_the_warehouse_does_not_know_holds_up_orders_too(shop):
    shop.amazon.world.foreign_feed(SELLER, US, {"FR-1": {GOOD: 1}}, status="IN_PROGRESS", hangs=True)
    shop.add("FR-1")
    shop.send()
    shop.send()
    assert shop.get("FR-1").status == "pending"
    assert "which the ledger does not know" in shop.get("FR-1").waiting_reason
    shop.amazon.world.release_hung_feeds()
    for _ in range(3):
        shop.pass_time(31)
        shop.send()
    assert shop.get("FR-1").status == "accepted"
    assert shop.orders_made() == {"FR-1": 1}


def test_one_list_a_run_and_one_question_an_order(shop):
    for n in range(5):
        shop.add(f"FR-{n}")
    shop.send()
    calls = {name: shop.calls_of(name) for name in ("getFulfillmentOrder", "listAllFulfillmentOrders", "getFeeds")}
    assert calls == {"getFulfillmentOrder": 5, "listAllFulfillmentOrders": 1, "getFeeds": 1}


def test_after_ninety_days_without_orders_a_feed_asks_for_no_number(shop, fulfillment, sql):
    place_order(shop.amazon, "THEIRS", [(GOOD, 1)])
    shop.add("FR-1")
    shop.send()
    asked = shop.calls_of("getFulfillmentOrder")
    fulfillment("transport: feed")
    shop.add("FR-2")
    shop.send()
    assert shop.calls_of("getFulfillmentOrder") == asked + 1
    long_ago = datetime.now(UTC) - timedelta(days=91)
    sql("UPDATE fba.feed_check SET orders_until = %s", long_ago)
    assert remove_expired(Warehouse(), Retention()).removed[STORE]["comparisons of orders"] == 1
    shop.pass_time(21)
    shop.add("FR-3")
    shop.send()
    assert shop.calls_of("getFulfillmentOrder") == asked + 1
    assert shop.statuses() == {"FR-1": "accepted", "FR-2": "accepted", "FR-3": "accepted"}
