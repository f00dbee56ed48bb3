"""The transport outbound: requests sent order by order (createFulfillmentOrder), settled, and released where Amazon holds them.

Amazon says nowhere what it does with an order id that it knows, so nothing depends on that. Before an order is sent Amazon is
asked for its number; while the answer is not known it is looked for, and sent again only when Amazon certainly has no order.
"""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.amazon.operations import FulfillmentOrder
from fba_operators.errors import (
    CredentialsError,
    LostAnswerError,
    RequestRefusedError,
    ThrottledError,
    UnavailableError,
)
from fba_operators.fulfillment.amazon_orders import compare_with_request, documented
from fba_operators.fulfillment.claim import Selection
from fba_operators.fulfillment.ledger import MAY_SUBMIT
from fba_operators.fulfillment.memory import (
    LOOK_BACK,
    Clocks,
    adopt_orders,
    compare_feeds,
    compare_orders,
    examine,
)
from fba_operators.fulfillment.order_json import digest, order_json
from fba_operators.fulfillment.order_ledger import OrderLedger
from fba_operators.fulfillment.release import due
from fba_operators.fulfillment.request import FulfillmentRequest, Move, counts_by_status, listed_numbers, units_by_sku
from fba_operators.fulfillment.settle import BETWEEN_LISTS, MAX_ATTEMPTS, STUCK, Outcome, check_destination
from fba_operators.runs.summary import counted
from fba_operators.settings.models import Fulfillment
from fba_operators.words import MOST, cut

JUST_NOW = timedelta(minutes=5)  # an answer about a number that is not asked for again in the same look
MAX_LOST = 3  # answers lost in a row; then the rest is not tried now
LAPSES_AFTER = timedelta(days=14)  # Amazon then cancels an order that it holds (Fulfillment Outbound 2020-07-01)
_IN_FLIGHT = ("sending", "submitted", "unknown")


class _NotSentError(Exception):
    """The order must not be sent any more."""


def send_orders(
    hook: SellingPartnerHook, orders: OrderLedger, settings: Fulfillment, batch_id: str, outcome: Outcome
) -> None:
    """Send the claimed orders of a batch, each once; one bad order stops no other. Under the store's lock.

    :param outcome: collects what was recorded, also when an error ends the work in the middle
    :raises ThrottledError: our share of the quota is used up; the rest is sent when it is called again
    :raises UnavailableError: Amazon does not answer; the rest is sent when it is called again
    :raises CredentialsError: Amazon denies access; the rest is pending again
    :raises RequestRefusedError: Amazon refuses for a reason that is not the order's; the rest is pending again
    """
    rows = [row for row in orders.open_orders(batch_id) if row["status"] == "sending" and row["carried"]]
    for row in [row for row in rows if row["intent_at"]]:  # an earlier attempt died before the answer
        outcome.add_moves(orders.record_lost_answer(row))
    rows = [row for row in rows if not row["intent_at"]]
    sender = _Sender(hook, orders, settings, outcome)
    try:
        if rows:
            sender.send(rows)
    finally:
        sender.report()


class _Sender:
    def __init__(self, hook: SellingPartnerHook, orders: OrderLedger, settings: Fulfillment, outcome: Outcome) -> None:
        self.hook, self.orders, self.ledger, self.settings = hook, orders, orders.ledger, settings
        self.outcome = outcome
        self.moved: Counter[str] = Counter()
        self.token = ""
        self.lost_in_a_row = 0
        self.found = False  # orders that were sent and forgotten

    def report(self) -> None:
        """Add what was done to the outcome."""
        self.outcome.moved.update(self.moved)
        if self.moved:
            self.outcome.sentences.append(f"Sent order by order: {counts_by_status(self.moved)}.")

    def send(self, rows: list[dict[str, Any]]) -> None:
        """Compare with Amazon, then send each."""
        rows = self._compare(rows)
        contents = self.orders.contents([row["fr_number"] for row in rows])
        for place, row in enumerate(rows):
            number = row["fr_number"]
            try:
                known = self._look(row)
                if known is None:
                    self._give_up([row], "Amazon did not say whether it has an order of its number")
                elif known:
                    self.found = True
                    self.ledger.run_alone("fulfillment.add_order_at_amazon", number=number)
                    self._give_up([row], "Amazon may have an order of its number, which is looked at first")
                else:
                    self._send_one(row, contents.get(number))
            except ThrottledError as error:
                if error.status is None:  # our own count
                    raise
                self._give_up(rows[place:], "Amazon's quota is used up; the next run goes on")
                self.outcome.sentences.append("Amazon throttles createFulfillmentOrder; the next run goes on.")
                break
            except (CredentialsError, RequestRefusedError) as error:
                kind = "denies access" if isinstance(error, CredentialsError) else "refused the call"
                self._give_up(rows[place:], f"Amazon {kind}; nothing is wrong with the request as far as is known")
                raise
        if self.found:
            self.moved.update(move.status for move in adopt_orders(self.hook, self.ledger))

    def _compare(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Make sure, as far as lists can show it, that Amazon has none of these orders; returns those that may be sent."""
        self.token, whole = compare_feeds(self.hook, self.ledger)
        if not whole:
            self._give_up(rows, "a feed in Amazon's list cannot be read, and may hold it")
            return []
        doubt = examine(self.hook, self.ledger)
        compare_orders(self.hook, self.ledger, self.token)
        numbers = [row["fr_number"] for row in rows]
        at_amazon = {row["fr_number"] for row in self.ledger.run_alone("fulfillment.at_amazon", numbers=numbers)}
        kept = []
        for row in rows:
            why = doubt.why_held(row["inserted_at"])
            if row["fr_number"] in at_amazon:
                self.found = True
                why = "Amazon may have an order of its number, which is looked at first"
            if why:
                self._give_up([row], why)
            else:
                kept.append(row)
        return kept

    def _give_up(self, rows: list[dict[str, Any]], reason: str) -> None:
        if released := self.orders.release(rows, f"not sent: {reason}"):
            self.moved["pending"] += released

    def _look(self, row: dict[str, Any]) -> bool | None:
        """Whether Amazon has an order of the number; None where it does not say.

        Whatever an older copy of the warehouse has forgotten, Amazon has not. Lists may come late; this does not.
        """
        self.ledger.check_lock()
        try:
            order = self.hook.find_fulfillment_order(row["fr_number"])
        except RequestRefusedError as error:
            if error.code is None:
                raise  # not Amazon, or not as Amazon answers: it concerns every order
            return None
        if order is None:
            return False
        # The number of an order that Amazon let lapse may be used again, or refused: both are handled.
        status = documented(order.fulfillment_order.fulfillment_order_status)
        return not (row["lapsed_before"] and status == "Cancelled")

    def _send_one(self, row: dict[str, Any], request: FulfillmentRequest | None) -> None:
        claim_id, number = str(row["claim_id"]), row["fr_number"]
        if request is None:
            return  # deleted behind the rules
        order = order_json(
            request, self.settings, row["features"], marketplace_id=self.hook.marketplace.id, held=row["held"]
        )
        intent: datetime | None = None
        started = 0.0

        def fence() -> None:
            # First called when token and quota are there; then between connecting and writing the body.
            nonlocal intent, started
            if intent is None:
                started = time.monotonic()
                intent = self.orders.record_intent(claim_id, digest=digest(order), token=self.token)
                if intent is None:
                    raise _NotSentError
            passed = time.monotonic() - started
            if passed > MAY_SUBMIT.total_seconds() or not self.orders.may_order(claim_id, intent):
                raise UnavailableError(
                    f"{self.hook.conn_id}: an order was not sent, because this process was stopped for too long before "
                    "createFulfillmentOrder, or another task has gone on with it"
                )

        try:
            self._check_destination(row)
            self.hook.create_fulfillment_order(order, fence=fence)
        except _NotSentError:
            self._give_up([row], "its content, its status, its quote or the warehouse changed after it was claimed")
            return
        except LostAnswerError:
            self._lost(row | {"intent_at": intent})
            return
        except (ThrottledError, UnavailableError, CredentialsError):
            self._withdraw(claim_id, intent)  # nothing was made
            raise
        except RequestRefusedError as error:
            if error.status != 400 or error.code is None:
                self._withdraw(claim_id, intent)
                raise
            self._refused(row | {"intent_at": intent}, request, error)
            return
        self.lost_in_a_row = 0
        self.moved[self.orders.record_accepted(claim_id, number).status] += 1

    def _check_destination(self, row: dict[str, Any]) -> None:
        there = self.hook.destination
        if (row["seller_id"], row["marketplace_id"], row["endpoint"]) != (
            there.seller_id,
            there.marketplace_id,
            there.endpoint,
        ):
            raise _NotSentError

    def _withdraw(self, claim_id: str, intent: datetime | None) -> None:
        if intent:
            self.orders.withdraw_intent(claim_id, intent)

    def _lost(self, row: dict[str, Any]) -> None:
        self.moved.update(move.status for move in self.orders.record_lost_answer(row))
        self.lost_in_a_row += 1
        if self.lost_in_a_row >= MAX_LOST:
            raise UnavailableError(
                f"{self.hook.conn_id}: Amazon gave no clear answer to {MAX_LOST} orders in a row; they are looked up before "
                "they are sent again, and the others are not tried now"
            )

    def _refused(self, row: dict[str, Any], request: FulfillmentRequest, error: RequestRefusedError) -> None:
        """Look behind a rejection: Amazon may refuse a number because it has the order already."""
        self.lost_in_a_row = 0
        claim_id, number = str(row["claim_id"]), row["fr_number"]
        move = Move(number, "rejected", cut(f"{error.code}: {error.detail}", MOST))
        try:
            order = self.hook.find_fulfillment_order(number)
        except RequestRefusedError as hidden:
            order, move = None, Move(number, "unknown", f"rejected, and its order is not shown: {hidden}")
        if order:
            found = _meaning(self.hook, row, request, order)
            if found.status == "cancelled" and row["lapsed_before"]:
                found = Move(
                    number,
                    "rejected",
                    "Amazon let its hold lapse and takes the number no second time: fba.resend sends a copy",
                )
            if found.status == "invalid":
                self.ledger.run_alone("fulfillment.add_order_at_amazon", number=number)
                found = Move(number, "rejected", found.reason, found.order_status)
            if found.status == "cancelled":  # it went out before, which was forgotten, and was cancelled since
                self.orders.record_lost_answer(row)
            move = found
        moved = self.orders.record_end(claim_id, move, ("sending", "unknown"), sent_at=row["intent_at"])
        self.moved.update(each.status for each in moved)


def _meaning(
    hook: SellingPartnerHook, row: dict[str, Any], request: FulfillmentRequest, order: FulfillmentOrder
) -> Move:
    """What Amazon's order under a request's number means for it; one that Amazon holds is submitted, not accepted."""
    ordered = units_by_sku((item.sku, item.quantity) for item in request.items)
    move = compare_with_request(order, row["fr_number"], ordered, hook.marketplace.id)
    action = (order.fulfillment_order.fulfillment_action or "Hold").casefold()
    if move.status == "accepted" and row["held"] and action == "hold":
        return Move(row["fr_number"], "submitted", None, "Hold")
    return move


# Orders of earlier runs


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
        order = hook.find_fulfillment_order(number)
    except RequestRefusedError:
        return  # no answer to the question: the next run asks again
    if order is None:
        ledger.run_alone("fulfillment.record_looked_up", number=number)
        absent.append(row)
        return
    move = _meaning(hook, row, request, order)
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


# Orders that Amazon holds


def release_held(
    hook: SellingPartnerHook, orders: OrderLedger, settings: Fulfillment, selection: Selection, outcome: Outcome
) -> None:
    """Let Amazon ship the orders that it holds and that are due. Under the store's lock.

    :param outcome: collects what was recorded
    """
    held = [
        row
        for row in orders.open_orders()
        if row["held"] and row["carried"] and row["status"] == "submitted" and not row["cancel_requested_at"]
    ]
    if not held:
        return
    contents = orders.contents([row["fr_number"] for row in held])
    now = orders.ledger.now()
    released: Counter[str] = Counter()
    try:
        for row in held:
            wait = due(
                contents[row["fr_number"]],
                settings,
                now,
                manual=selection.manual,
                ignore_hold=selection.ignore_hold,
                ignore_business_hours=selection.ignore_business_hours,
            )
            chosen = not selection.numbers or row["fr_number"] in selection.numbers
            lapsed = now - row["answered_at"] > LAPSES_AFTER
            if (chosen and wait is None) or lapsed:
                released.update(_release_one(hook, orders, row, may_release=chosen and wait is None))
    finally:
        outcome.moved.update(released)
        if released:
            outcome.sentences.append(f"Held by Amazon until now: {counts_by_status(released)}.")


def _release_one(hook: SellingPartnerHook, orders: OrderLedger, row: dict[str, Any], *, may_release: bool) -> list[str]:
    number, claim_id = row["fr_number"], str(row["claim_id"])
    orders.ledger.check_lock()
    refusal = "it is not due"
    try:
        if may_release:
            hook.release_fulfillment_order(number)
            return [each.status for each in orders.record_end(claim_id, Move(number, "accepted"), ("submitted",))]
    except RequestRefusedError as error:
        refusal = error.detail or error.message
    try:
        order = hook.find_fulfillment_order(number)
    except RequestRefusedError:
        return []
    if order is None:
        return []
    header = order.fulfillment_order
    status = documented(header.fulfillment_order_status)
    if status == "Cancelled":
        move = Move(number, "pending", "Amazon let its hold lapse; it is sent again", status)
        moved = orders.record_end(claim_id, move, ("submitted",), lapsed=True)
    elif (header.fulfillment_action or "").casefold() == "ship":
        moved = orders.record_end(claim_id, Move(number, "accepted", None, status), ("submitted",))
    else:
        if may_release:
            orders.ledger.record_not_cancelled(number, f"not released: {refusal}")
        moved = []
    return [each.status for each in moved]
