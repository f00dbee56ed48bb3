"""Settling orders: find out what became of those whose answer was lost, whichever run sent them.

A request is sent again only when Amazon twice, some time apart, neither shows an order of its number nor lists one.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.errors import RequestRefusedError
from fba_operators.fulfillment.amazon_orders import documented, meaning
from fba_operators.fulfillment.left_out import UnansweredError
from fba_operators.fulfillment.memory import LOOK_BACK, Clocks
from fba_operators.fulfillment.order_ledger import OrderLedger
from fba_operators.fulfillment.request import FulfillmentRequest, counts_by_status, listed_numbers
from fba_operators.fulfillment.settle import BETWEEN_LISTS, MAX_ATTEMPTS, STUCK, Outcome, check_destination
from fba_operators.runs.summary import counted

JUST_NOW = timedelta(minutes=5)  # an answer about a number that is not asked for again in the same look


def settle_orders(hook: SellingPartnerHook, orders: OrderLedger, outcome: Outcome) -> None:
    """Find out what became of orders, whichever run sent them, as far as that can be known now. Under the store's lock.

    :param outcome: collects what was recorded, also when an error ends the work in the middle
    :raises DecisionNeededError: the connection leads elsewhere now, where orders prove nothing
    """
    orders.close_taken_over()
    if not (rows := orders.open_orders()):
        return
    if released := orders.release([row for row in rows if row["status"] == "sending" and not row["intent_at"]]):
        outcome.moved["pending"] += released
        requests = counted(released, "request that was not sent is", "requests that were not sent are")
        outcome.sentences.append(f"{requests} pending again.")
    for row in rows:
        if row["status"] == "sending" and row["intent_at"]:
            outcome.add_moves(orders.record_lost_answer(row))
    rows = [row for row in orders.open_orders() if row["carried"]]
    check_destination(hook, orders.ledger, rows, rows)
    unknown = [row for row in rows if row["status"] == "unknown"]
    contents = orders.contents([row["fr_number"] for row in unknown])
    found: Counter[str] = Counter()
    absent: list[dict[str, Any]] = []
    try:
        for row in unknown:
            _look_for(hook, orders, row, contents[row["fr_number"]], absent, found, outcome)
        if absent:
            _judge_absent(hook, orders, absent, found, outcome)
    finally:
        outcome.moved.update(found)
        if found:
            outcome.sentences.append(f"Looked up among Amazon's orders: {counts_by_status(found)}.")


def _look_for(
    hook: SellingPartnerHook,
    orders: OrderLedger,
    row: dict[str, Any],
    request: FulfillmentRequest,
    absent: list[dict[str, Any]],
    found: Counter[str],
    outcome: Outcome,
) -> None:
    """Ask Amazon for the order of an unknown request, and record at once what it means."""
    number, claim_id, ledger = row["fr_number"], str(row["claim_id"]), orders.ledger
    asked = row["looked_up_at"]
    if asked and asked > row["intent_at"] and ledger.now() - asked < JUST_NOW:  # the quota ended an earlier attempt
        absent.append(row)
        return
    try:
        with outcome.left_out.asking(hook, number):
            order = hook.find_fulfillment_order(number)
    except (RequestRefusedError, UnansweredError):
        return  # no answer to the question: the next run asks again
    if order is None:
        ledger.run_alone("fulfillment.record_looked_up", number=number)
        absent.append(row)
        return
    move = meaning(order, request, held=row["held"], marketplace_id=hook.marketplace.id)
    if move.status == "unknown":
        outcome.stuck += ledger.record_stuck(claim_id, [number], move.reason or "")
        return
    if move.status == "cancelled" and row["lapsed_before"]:  # that is the order of before
        absent.append(row)
        return
    if move.status == "invalid":
        ledger.run_alone("fulfillment.add_order_at_amazon", number=number)
    found.update(each.status for each in orders.record_end(claim_id, move, ("unknown",)))


def _judge_absent(
    hook: SellingPartnerHook,
    orders: OrderLedger,
    absent: list[dict[str, Any]],
    found: Counter[str],
    outcome: Outcome,
) -> None:
    """Send again what Amazon has twice, some time apart, neither shown nor listed."""
    ledger = orders.ledger
    clocks = Clocks.read(hook, ledger)
    since = clocks.amazons(min(row["intent_at"] for row in absent) - LOOK_BACK)
    listed = hook.list_all_fulfillment_orders(since=since)
    # One that cannot be read may be any of them. The one that lapsed is over.
    numbers = {
        each.seller_fulfillment_order_id for each in listed if each and not _is_over(each.fulfillment_order_status)
    }
    again: list[str] = []
    now, waiting = ledger.now(), 0
    for row in absent:
        number, claim_id = row["fr_number"], str(row["claim_id"])
        if None in listed or number in numbers:
            ledger.record_absent(claim_id, [number], absent=False)
            waiting += 1
        elif row["absent_since"] is None or row["absent_since"] > now - BETWEEN_LISTS:
            ledger.record_absent(claim_id, [number], absent=True)
            waiting += 1
        else:
            given_up = STUCK if row["attempts"] + 1 >= MAX_ATTEMPTS else None
            if ledger.record_not_arrived(claim_id, number, row["absent_since"], given_up):
                (outcome.stuck if given_up else again).append(number)
    if again:
        orders.close_taken_over()
        found["pending"] += len(again)
        requests = counted(len(again), "request never reached Amazon and is", "requests never reached Amazon and are")
        outcome.sentences.append(f"{requests} pending again: {listed_numbers(again)}.")
    if waiting:
        outcome.waiting.append(
            f"{counted(waiting, 'request is', 'requests are')} unknown; Amazon is asked again after "
            f"{BETWEEN_LISTS.seconds // 60} minutes."
        )


def _is_over(status: str | None) -> bool:
    return documented(status) == "Cancelled"
