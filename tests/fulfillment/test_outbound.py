"""Order by order: what each of Amazon's answers means, and that no request is sent twice or lost."""

from __future__ import annotations

import pytest

from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.errors import CredentialsError, DecisionNeededError, RequestRefusedError, UnavailableError
from fba_operators.operators import SendOrdersOperator, SummariseRequestsOperator
from fba_operators.runs.log import RunLog, end_run
from fba_operators.warehouse.database import Warehouse
from tests import timing
from tests.helpers import place_order
from tests.sending import GOOD, SKIPPED, look_up_unknown, other_seller
from tests.stores import SELLER, STORE


@pytest.fixture
def shop(shop, fulfillment):
    fulfillment("transport: outbound")
    shop.stock("NOT-AT-AMAZON", 5)
    return shop


def test_each_request_becomes_an_order_of_its_own_and_a_bad_one_stops_no_other(shop):
    shop.add("FR-1", [(GOOD, 2)])
    shop.add("BAD-1", [("NOT-AT-AMAZON", 1)])
    shop.add("FR-2")
    assert shop.send() == {"accepted": 2, "rejected": 1}
    assert shop.statuses() == {"FR-1": "accepted", "BAD-1": "rejected", "FR-2": "accepted"}
    assert shop.orders_made() == {"FR-1": 1, "FR-2": 1, "BAD-1": 0}
    row = shop.get("BAD-1")
    assert row.status_reason.startswith("InvalidInput: ")
    assert "NOT-AT-AMAZON" in row.status_reason
    row = shop.get("FR-1")
    assert (row.transport, row.speed, row.claim_id is None, row.sent_at is None) == (
        "outbound",
        "Standard",
        False,
        False,
    )
    assert shop.calls_of("createFulfillmentOrder") == 3
    assert shop.calls_of("createFeed") == 0
    assert shop.sql("SELECT count(*) FROM fba.outbound_order WHERE settled_at IS NULL") == [(0,)]


def test_an_order_has_everything_that_the_request_says(shop, fulfillment):
    fulfillment("transport: outbound, notify_customer: true, fulfillment_policy: FillAll")
    shop.add("FR-1", displayable_order_number="WEB 17", block_amazon_logistics=True, packaging="unbranded")
    shop.sql("UPDATE fba.fulfillment_request_item SET gift_message = 'With love'")
    shop.send()
    order = shop.amazon.world.orders(SELLER)["FR-1"]
    assert order["times_created"] == 1
    request = shop.amazon.world.order_desk.orders[SELLER, "FR-1"].request
    assert (request.displayable_id, request.speed, request.policy, request.action) == (
        "WEB 17",
        "Standard",
        "FillAll",
        "Ship",
    )
    assert request.emails == ("wilhelmina@secret.example",)
    assert request.address["addressLine3"] == "Third gate on the left"
    assert request.address["phone"] == "+1 206 555 0177"
    assert [line.gift_message for line in request.lines] == ["With love"]
    assert shop.sql("SELECT features FROM fba.outbound_order") == [(["BLANK_BOX", "BLOCK_AMZL"],)]


@pytest.mark.parametrize("answer", ["refuse", "second_order"])
@pytest.mark.parametrize("kind", ["reset_after", "reset_before"])
def test_a_lost_answer_is_looked_up_twice_before_anything_is_sent_again(shop, kind, answer):
    shop.amazon.world.set_order_answers(repeated_id=answer)
    shop.amazon.world.add_fault("createFulfillmentOrder", kind, times=1)
    shop.add("FR-1")
    shop.send()
    assert shop.get("FR-1").status == "unknown"
    shop.send()
    arrived = kind == "reset_after"
    assert shop.get("FR-1").status == ("accepted" if arrived else "unknown")
    shop.pass_time(9)
    shop.send()
    assert shop.get("FR-1").status == ("accepted" if arrived else "unknown")
    assert shop.calls_of("createFulfillmentOrder") == 1
    shop.pass_time(2)
    shop.send()
    assert shop.get("FR-1").status == "accepted"
    assert shop.orders_made() == {"FR-1": 1}
    assert shop.get("FR-1").attempts == (0 if arrived else 1)


def test_after_three_attempts_a_person_decides(shop):
    shop.amazon.world.add_fault("createFulfillmentOrder", "reset_before", times=9)
    shop.add("FR-1")
    for _ in range(2):
        shop.send()
        look_up_unknown(shop)
    shop.send()
    shop.send(until="settle")
    shop.pass_time(11)
    with pytest.raises(DecisionNeededError, match="cannot be found out"):
        shop.send(until="settle")
    assert shop.calls_of("createFulfillmentOrder") == 3
    assert shop.sql("SELECT code FROM fba.needs_attention WHERE subject = 'FR-1'") == [("stuck",)]
    shop.sql("UPDATE fba.fulfillment_request SET status = 'rejected'")
    shop.send()
    assert shop.sql("SELECT count(*) FROM fba.outbound_order WHERE settled_at IS NULL") == [(0,)]


def test_an_order_that_answers_capriciously_ends_the_run_after_three(shop):
    for n in range(6):
        shop.add(f"FR-{n}")
    shop.amazon.world.add_fault("createFulfillmentOrder", "reset_before", times=3)
    with pytest.raises(UnavailableError, match="3 orders in a row"):
        shop.send()
    assert sorted(shop.statuses().values()) == ["sending"] * 3 + ["unknown"] * 3
    look_up_unknown(shop)
    shop.send()
    assert set(shop.orders_made().values()) == {1}
    assert set(shop.statuses().values()) == {"accepted"}


# What another status than 200 and 400 means


def says(status, code):
    return {"status": status, "body": {"errors": [{"code": code, "message": "Said by a test"}]}}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (says(403, "Unauthorized"), CredentialsError),
        (says(401, "Unauthorized"), CredentialsError),
        (says(404, "NotFound"), RequestRefusedError),
        (says(413, "TooLarge"), RequestRefusedError),
        (says(415, "Unsupported"), RequestRefusedError),
        ({"status": 400, "body": {"message": "not Amazon's form of an error"}}, RequestRefusedError),
    ],
    ids=lambda value: str(value.get("status")) if isinstance(value, dict) else "",
)
def test_what_is_not_the_orders_fault_leaves_it_pending_and_stops_the_store(shop, answer, error):
    for n in range(3):
        shop.add(f"FR-{n}")
    shop.amazon.world.add_fault("createFulfillmentOrder", "status", times=1, skip=1, **answer)
    with pytest.raises(error):
        shop.send()
    assert sorted(shop.statuses().values()) == ["accepted", "pending", "pending"]
    assert shop.calls_of("createFulfillmentOrder") == 2
    shop.send()
    assert shop.orders_made() == {"FR-0": 1, "FR-1": 1, "FR-2": 1}


def test_when_amazon_throttles_the_rest_is_pending_and_the_next_run_goes_on(shop):
    for n in range(3):
        shop.add(f"FR-{n}")
    shop.amazon.world.add_fault("createFulfillmentOrder", "status", times=1, skip=1, **says(429, "QuotaExceeded"))
    shop.send()
    assert sorted(shop.statuses().values()) == ["accepted", "pending", "pending"]
    assert "the next run goes on" in shop.summary()
    shop.send()
    assert set(shop.statuses().values()) == {"accepted"}
    assert set(shop.orders_made().values()) == {1}


@pytest.mark.parametrize(("times", "sent"), [(1, 3), (2, 3), (3, 1)])
def test_a_call_that_comes_a_moment_too_early_is_made_again(shop, monkeypatch, times, sent):
    """Amazon counts the calls that arrive, we those that leave."""
    timing.sleep_inline_at_most(monkeypatch, 5.0)
    for n in range(3):
        shop.add(f"FR-{n}")
    shop.amazon.world.add_fault("createFulfillmentOrder", "status", times=times, skip=1, **says(429, "QuotaExceeded"))
    shop.send()
    assert list(shop.statuses().values()).count("accepted") == sent
    assert shop.calls_of("createFulfillmentOrder") == (3 + times if sent == 3 else 1 + times)
    shop.send()
    assert shop.orders_made() == {"FR-0": 1, "FR-1": 1, "FR-2": 1}


def test_more_than_a_full_bucket_of_orders_is_sent_at_amazons_rate(shop):
    for n in range(70):
        shop.add(f"FR-{n}")
    shop.send()
    if "pending" in shop.statuses().values():  # on a busy machine a look may come too soon; the next run goes on
        shop.send()
    assert set(shop.orders_made().values()) == {1}
    assert shop.calls_of("createFulfillmentOrder") == 70
    assert set(shop.amazon.world.calls()["outcomes"]["createFulfillmentOrder"]) == {"200"}


@pytest.mark.parametrize("answer", ["refuse", "second_order"])
def test_an_order_under_the_number_is_found_before_it_is_sent(shop, answer):
    """Ours from before an older copy of the warehouse was put back, which nothing here remembers."""
    shop.amazon.world.set_order_answers(repeated_id=answer)
    shop.amazon.world.set_order_listing(page_size=50, delay=3600)
    place_order(shop.amazon, "FR-1", [(GOOD, 1)])
    place_order(shop.amazon, "FR-2", [(GOOD, 9)])
    shop.add("FR-1")
    shop.add("FR-2")
    shop.add("FR-3")
    shop.send()
    assert shop.statuses() == {"FR-1": "accepted", "FR-2": "invalid", "FR-3": "accepted"}
    assert shop.orders_made() == {"FR-1": 1, "FR-2": 1, "FR-3": 1}


def test_a_rejection_of_a_number_that_exists_is_looked_behind(shop, monkeypatch):
    shop.add("FR-1")
    shop.amazon.world.set_order_answers(repeated_id="refuse")
    create = SellingPartnerHook.create_fulfillment_order

    def twice(hook, order, *, fence=None):
        place_order(shop.amazon, "FR-1", [(GOOD, 1)])  # meanwhile, by a call whose answer never came
        create(hook, order, fence=fence)

    monkeypatch.setattr(SellingPartnerHook, "create_fulfillment_order", twice)
    assert shop.send() == {"accepted": 1}
    assert shop.orders_made() == {"FR-1": 1}


def test_a_cleared_task_sends_nothing_again(shop):
    shop.add("FR-1")
    claim_id = shop.send(until="claim")
    operator = lambda: SendOrdersOperator(task_id="send", claim_id=claim_id)  # noqa: E731
    assert shop.task(operator, shop.context()) == {"accepted": 1}
    assert shop.task(operator, shop.context()) == {}
    assert shop.orders_made() == {"FR-1": 1}


def test_orders_of_another_seller_are_not_looked_for_here(shop):
    shop.amazon.world.add_fault("createFulfillmentOrder", "reset_after", times=1)
    shop.add("FR-1")
    shop.send()
    with other_seller(shop), pytest.raises(DecisionNeededError, match="another seller"):
        shop.send()
    assert shop.get("FR-1").status == "unknown"
    shop.sql("UPDATE fba.fulfillment_request SET status = 'accepted'")
    shop.send()
    assert shop.sql("SELECT count(*) FROM fba.outbound_order WHERE settled_at IS NULL") == [(0,)]


def test_the_transport_is_changed_with_requests_on_their_way(shop, fulfillment):
    shop.amazon.world.add_fault("createFulfillmentOrder", "reset_before", times=1)
    shop.add("FR-1")
    shop.send()
    shop.add("FR-2")
    fulfillment("transport: feed")
    shop.send()
    assert shop.get("FR-1").status == "unknown"
    shop.add("FR-3")
    fulfillment("transport: outbound")
    shop.amazon.world.add_fault("createFeed", "reset_after", times=1)
    for _ in range(3):
        shop.pass_time(31)
        shop.send()
    assert set(shop.statuses().values()) == {"accepted"}
    assert shop.orders_made() == {"FR-1": 1, "FR-2": 1, "FR-3": 1}


def test_a_lost_feed_holds_up_no_order(shop, fulfillment):
    fulfillment("transport: feed")
    shop.amazon.world.add_fault("createFeed", "reset_after", times=1)
    shop.add("FR-1")
    shop.send()
    fulfillment("transport: outbound")
    shop.add("FR-2")
    shop.send()
    assert shop.statuses() == {"FR-1": "unknown", "FR-2": "accepted"}
    shop.pass_time(31)
    shop.send()
    assert shop.orders_made() == {"FR-1": 1, "FR-2": 1}


def test_a_cancellation_before_during_and_after(shop):
    shop.add("FR-1")
    shop.send()
    shop.sql("UPDATE fba.fulfillment_request SET cancel_requested_at = now()")
    shop.add("FR-2", cancel_requested_at="2026-11-01")
    shop.send()
    assert shop.statuses() == {"FR-1": "cancelled", "FR-2": "invalid"}
    shop.add("FR-3")
    claim_id = shop.send(until="claim")
    shop.sql("UPDATE fba.fulfillment_request SET cancel_requested_at = now() WHERE fr_number = 'FR-3'")
    shop.task(lambda: SendOrdersOperator(task_id="send", claim_id=claim_id), shop.context())
    assert shop.get("FR-3").status == "pending"
    shop.send()
    assert shop.get("FR-3").status == "invalid"
    assert shop.orders_made().get("FR-3", 0) == 0


# Amazon holds it

HOLD = "transport: outbound, reserve: true, hold_hours: 4, send_automatically: true"


def test_amazon_holds_an_order_until_it_is_due(shop, fulfillment):
    fulfillment(HOLD)
    shop.add("FR-1")
    assert shop.send("scheduled") == {"submitted": 1}
    row = shop.get("FR-1")
    assert (row.status, row.amazon_order_status) == ("submitted", "Hold")
    assert shop.amazon.world.order_desk.orders[SELLER, "FR-1"].request.action == "Hold"
    shop.send("scheduled")
    assert shop.get("FR-1").status == "submitted"
    shop.send("manual", ignore_hold=True)
    assert shop.get("FR-1").status == "accepted"
    assert shop.amazon.world.order_desk.orders[SELLER, "FR-1"].request.action == "Ship"
    assert shop.calls_of("updateFulfillmentOrder") == 1
    assert shop.orders_made() == {"FR-1": 1}


def test_a_held_order_is_cancelled_at_once(shop, fulfillment):
    fulfillment(HOLD)
    shop.add("FR-1")
    shop.send("scheduled")
    shop.sql("UPDATE fba.fulfillment_request SET cancel_requested_at = now()")
    shop.send("scheduled")
    assert shop.get("FR-1").status == "cancelled"
    assert (
        shop.sql("SELECT count(*) FROM fba.outbound_order WHERE settled_at IS NULL") == [(0,)] or shop.send() is SKIPPED
    )


def test_an_order_that_is_cancelled_while_others_are_released_is_not_released(shop, fulfillment, monkeypatch):
    fulfillment(HOLD)
    for number in ("FR-1", "FR-2"):
        shop.add(number)
    shop.send("scheduled")
    real = SellingPartnerHook.release_fulfillment_order

    def release(hook, number):
        other = {"FR-1": "FR-2", "FR-2": "FR-1"}[number]
        shop.sql("UPDATE fba.fulfillment_request SET cancel_requested_at = now() WHERE fr_number = %s", other)
        return real(hook, number)

    with monkeypatch.context() as patch:
        patch.setattr(SellingPartnerHook, "release_fulfillment_order", release)
        shop.send("manual", ignore_hold=True)
    assert shop.calls_of("updateFulfillmentOrder") == 1
    shop.send("scheduled")
    assert sorted(shop.statuses().values()) == ["accepted", "cancelled"]


def test_an_order_that_amazon_does_not_release_is_told(shop, fulfillment):
    fulfillment(HOLD)
    shop.add("FR-1")
    shop.send("scheduled")
    refusal = {"errors": [{"code": "InvalidInput", "message": "cannot release"}]}
    shop.amazon.world.add_fault("updateFulfillmentOrder", "status", status=400, body=refusal)
    shop.send("manual", ignore_hold=True)
    assert (
        "Amazon did not release FR-1" in shop.sql("SELECT summary FROM fba.run ORDER BY started_at DESC LIMIT 1")[0][0]
    )
    shop.pass_time(7 * 60)
    ((remedy,),) = shop.sql("SELECT remedy FROM fba.needs_attention WHERE code = 'waiting_long' AND subject = 'FR-1'")
    assert "does not release it" in remedy


@pytest.mark.parametrize("kind", ["reset_after", "reset_before"])
def test_a_lost_answer_about_a_held_order(shop, fulfillment, kind):
    fulfillment(HOLD)
    shop.amazon.world.add_fault("createFulfillmentOrder", kind, times=1)
    shop.add("FR-1")
    shop.send("scheduled")
    assert shop.get("FR-1").status == "unknown"
    for _ in range(3):
        shop.pass_time(11)
        shop.send("scheduled")
    assert shop.get("FR-1").status == "submitted"
    shop.send("manual", ignore_hold=True)
    assert shop.get("FR-1").status == "accepted"
    assert shop.orders_made() == {"FR-1": 1}


@pytest.mark.parametrize("answer", ["refuse", "second_order"])
def test_a_hold_that_amazon_lets_lapse_is_told_before_and_sent_again(shop, fulfillment, answer):
    shop.amazon.world.set_order_answers(repeated_id=answer)
    fulfillment(HOLD)
    shop.add("FR-1")
    shop.send("scheduled")
    shop.pass_time(13.5 * 24 * 60)
    assert shop.sql("SELECT code FROM fba.needs_attention WHERE subject = 'FR-1'") == [("hold_lapses",)]
    ctx = shop.context()
    summarise = SummariseRequestsOperator(task_id="summarise", stores=[STORE])
    with Warehouse().connect() as db:
        RunLog(summarise.dag_id, ctx["run_id"], STORE).finish(db, "success", "")
    summarise.execute(ctx)
    with Warehouse().connect() as db:
        assert end_run(db, summarise.dag_id, ctx["run_id"])[STORE].attention == {"hold_lapses": 1}
    shop.pass_time(24 * 60)
    shop.send("manual", ignore_hold=True, until="settle")
    shop.send("manual", ignore_hold=True)
    assert shop.get("FR-1").status == ("accepted" if answer == "second_order" else "rejected")
    if answer == "refuse":
        assert "fba.resend" in shop.get("FR-1").status_reason


def test_a_held_order_that_the_warehouse_forgot_is_released_all_the_same(shop, fulfillment):
    fulfillment(HOLD)
    shop.add("FR-1")
    shop.send("scheduled")
    shop.sql("SET session_replication_role = replica")
    shop.sql("DELETE FROM fba.outbound_order")
    shop.sql("UPDATE fba.fulfillment_request SET status = 'pending', claim_id = NULL, transport = NULL, speed = NULL")
    shop.sql("RESET session_replication_role")
    shop.send("scheduled")
    assert shop.get("FR-1").status == "submitted"
    shop.send("manual", ignore_hold=True)
    assert shop.get("FR-1").status == "accepted"
    assert shop.orders_made() == {"FR-1": 1}
