"""The transport outbound: requests sent order by order (createFulfillmentOrder).

Amazon says nowhere what it does with an order id that it knows, so nothing depends on that. Before an order is sent Amazon is
asked for its number; while the answer is not known it is looked for, and sent again only when Amazon certainly has no order.
"""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from fba_operators.amazon import transport
from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.errors import (
    CredentialsError,
    LostAnswerError,
    RequestRefusedError,
    ThrottledError,
    UnavailableError,
)
from fba_operators.fulfillment.amazon_orders import documented, meaning
from fba_operators.fulfillment.ledger import MAY_SUBMIT
from fba_operators.fulfillment.left_out import UnansweredError
from fba_operators.fulfillment.memory import (
    adopt_orders,
    ask_for_relatives,
    compare_feeds,
    compare_orders,
    examine,
)
from fba_operators.fulfillment.order_json import digest, order_json
from fba_operators.fulfillment.order_ledger import OrderLedger
from fba_operators.fulfillment.request import FulfillmentRequest, Move, counts_by_status
from fba_operators.fulfillment.settle import Outcome
from fba_operators.settings.models import Fulfillment
from fba_operators.words import MOST, cut

MAX_THROTTLED = 3  # answers 429 to one order; then the rest waits for the next run
MAX_LOST = 3  # answers lost in a row; then the rest is not tried now


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
        self.outcome, self.left_out = outcome, outcome.left_out
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
                self._send_within_quota(row, contents.get(number))
            except ThrottledError as error:
                if error.status is None:  # our own count
                    raise
                self._give_up(rows[place:], "Amazon's quota is used up; the next run goes on")
                self.outcome.sentences.append(f"Amazon throttles {error.operation}; the next run goes on.")
                break
            except (CredentialsError, RequestRefusedError) as error:
                kind = "denies access" if isinstance(error, CredentialsError) else "refused the call"
                self._give_up(rows[place:], f"Amazon {kind}; nothing is wrong with the request as far as is known")
                raise
        if self.found:
            self.moved.update(move.status for move in adopt_orders(self.hook, self.ledger, self.left_out))

    def _compare(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Make sure, as far as lists can show it, that Amazon has none of these orders; returns those that may be sent."""
        self.token, whole = compare_feeds(self.hook, self.ledger)
        if not whole:
            self._give_up(rows, "a feed in Amazon's list cannot be read, and may hold it")
            return []
        doubt = examine(self.hook, self.ledger, self.left_out)
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
        numbers = [row["fr_number"] for row in kept]
        others = ask_for_relatives(self.hook, self.ledger, numbers, self.left_out)
        for row in kept:
            if why := others.get(row["fr_number"]):
                self._give_up([row], why)
        return [row for row in kept if row["fr_number"] not in others]

    def _give_up(self, rows: list[dict[str, Any]], reason: str) -> None:
        if released := self.orders.release(rows, f"not sent: {reason}"):
            self.moved["pending"] += released

    def _look(self, row: dict[str, Any]) -> bool | None:
        """Whether Amazon has an order of the number; None where it does not say.

        Whatever an older copy of the warehouse has forgotten, Amazon has not. Lists may come late; this does not.
        """
        self.ledger.check_lock()
        try:
            with self.left_out.asking(self.hook, row["fr_number"]):
                order = self.hook.find_fulfillment_order(row["fr_number"])
        except UnansweredError:
            return None
        except RequestRefusedError as error:
            if error.code is None:
                raise  # not Amazon, or not as Amazon answers: it concerns every order
            return None
        if order is None:
            return False
        # The number of an order that Amazon let lapse may be used again, or refused: both are handled.
        status = documented(order.fulfillment_order.fulfillment_order_status)
        return not (row["lapsed_before"] and status == "Cancelled")

    def _send_within_quota(self, row: dict[str, Any], request: FulfillmentRequest | None) -> None:
        """Send an order; after a 429 once or twice more, when Amazon allows it, with a look before each.

        Calls do not arrive as evenly as they are counted, so one 429 does not mean that somebody else uses up the quota.
        """
        for again in range(MAX_THROTTLED, 0, -1):
            try:
                self._look_and_send(row, request)
                return
            except ThrottledError as error:
                wait = (error.until - datetime.now(UTC)).total_seconds()
                if error.status is None or again == 1 or wait > transport.MAX_INLINE_SLEEP:
                    raise
                time.sleep(max(wait, 0))

    def _look_and_send(self, row: dict[str, Any], request: FulfillmentRequest | None) -> None:
        known = self._look(row)
        if known is None:
            self.ledger.run_alone("fulfillment.record_unanswered", number=row["fr_number"])
            self._give_up([row], "Amazon did not say whether it has an order of its number")
        elif known:
            self.found = True
            self.ledger.run_alone("fulfillment.add_order_at_amazon", number=row["fr_number"])
            self._give_up([row], "Amazon may have an order of its number, which is looked at first")
        else:
            self._send_one(row, request)

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
            with self.left_out.asking(self.hook, number):
                order = self.hook.find_fulfillment_order(number)
        except (RequestRefusedError, UnansweredError) as hidden:
            order, move = None, Move(number, "unknown", f"rejected, and its order is not shown: {hidden}")
        if order:
            found = meaning(order, request, held=row["held"], marketplace_id=self.hook.marketplace.id)
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
