"""The ledger of orders: requests that go out one by one, how far each got, what became of it.

Like the ledger of feeds: each step is committed before or together with its effect, and names the claim and the state it
goes on from.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import psycopg

from fba_operators.errors import DecisionNeededError
from fba_operators.fulfillment.amazon_orders import HELD
from fba_operators.fulfillment.ledger import FeedLedger
from fba_operators.fulfillment.quote import FRESH
from fba_operators.fulfillment.request import FulfillmentRequest, Move

_LOST = "Amazon did not answer when the order was sent; it is looked up before it is sent again"


class OrderLedger:
    """The orders of one store, in the same transactions and under the same lock as its feeds.

    :param ledger: of the store
    """

    def __init__(self, ledger: FeedLedger) -> None:
        self.ledger = ledger

    # Reading

    def open_orders(self, batch_id: str | None = None) -> list[dict[str, Any]]:
        """Return the orders that are not settled, with the state of their requests, oldest first.

        :param batch_id: only of this batch
        """
        rows = self.ledger.run_alone("fulfillment.open_orders")
        return [row for row in rows if batch_id in (None, str(row["batch_id"]))]

    def carries(self, claim_id: str) -> str | None:
        """Whether a claim is a ``feed`` or ``orders`` of a batch; None if the warehouse does not have it."""
        (found,) = self.ledger.run_alone("fulfillment.carries", claim_id=claim_id)
        return "feed" if found["feed"] else "orders" if found["orders"] else None

    def contents(self, numbers: Sequence[str]) -> dict[str, FulfillmentRequest]:
        """Return requests by FR number."""
        with self.ledger.connect() as db:
            return self.contents_in(db, numbers)

    def contents_in(self, db: psycopg.Connection[Any], numbers: Sequence[str]) -> dict[str, FulfillmentRequest]:
        """Return requests by FR number, in the caller's transaction."""
        rows = self.ledger.run(db, "fulfillment.requests", numbers=list(numbers))
        items = self.ledger.items(db, [row["fr_number"] for row in rows])
        return {row["fr_number"]: self.ledger.as_request(row, items[row["fr_number"]]) for row in rows}

    # Up to createFulfillmentOrder

    def record_intent(self, claim_id: str, *, digest: bytes, token: str) -> datetime | None:
        """Record that createFulfillmentOrder is about to be called; returns when, or None if it must not be called.

        :param digest: of the order as it would be sent now; another than the claimed one is not sent
        :param token: of the last comparison of Amazon's feeds and orders with the ledger
        """
        values = {"claim_id": claim_id, "digest": digest, "token": token, "fresh": FRESH.total_seconds()}
        rows = self.ledger.run_alone("fulfillment.record_order_intent", **values)
        return rows[0]["intent_at"] if rows else None

    def may_order(self, claim_id: str, intent: datetime) -> bool:
        """Whether createFulfillmentOrder may still be called: asked over the session that holds the store's lock.

        :param intent: what :meth:`record_intent` returned
        :raises UnavailableError: that session was cut
        """
        return self.ledger.ask_lock("fulfillment.may_order", claim_id=claim_id, intent=intent)

    def may_release(self, fr_number: str, claim_id: str) -> bool:
        """Whether Amazon may be told to ship an order that it holds: asked over the session that holds the store's lock.

        :raises UnavailableError: that session was cut
        """
        return self.ledger.ask_lock("fulfillment.may_release", fr_number=fr_number, claim_id=claim_id)

    def withdraw_intent(self, claim_id: str, intent: datetime) -> None:
        """Record that createFulfillmentOrder had no effect: Amazon certainly made nothing."""
        with self.ledger.warehouse.connect() as db:  # also by a process that has lost the lock: it names its own intent
            self.ledger.run(db, "fulfillment.withdraw_order_intent", claim_id=claim_id, intent=intent)

    def release(self, rows: Sequence[dict[str, Any]], reason: str | None = None) -> int:
        """Give up orders that were never handed to Amazon; returns how many requests are pending again.

        :param reason: why, for status_reason
        """
        if not rows:
            return 0
        by_number = {row["fr_number"]: str(row["claim_id"]) for row in rows}
        with self.ledger.connect() as db:
            closed = self.ledger.run(db, "fulfillment.close_unsent", claim_ids=list(by_number.values()))
            moved = [
                self.ledger.move(db, [Move(number, "pending", reason)], ("sending",), claim_id=by_number[number])
                for number in sorted(row["fr_number"] for row in closed)
            ]
        return sum(map(len, moved))

    # After createFulfillmentOrder

    def record_accepted(self, claim_id: str, fr_number: str) -> Move:
        """Record that Amazon took an order; returns the request's move: accepted, or submitted while Amazon holds it.

        :raises DecisionNeededError: meanwhile the order was forgotten, or given up and its request sent otherwise
        """
        with self.ledger.warehouse.connect() as db:
            rows = self.ledger.run(db, "fulfillment.record_answer", claim_id=claim_id)
            held = bool(rows and rows[0]["held"])
            move = Move(fr_number, "submitted", None, HELD) if held else Move(fr_number, "accepted")
            sent_at = rows[0]["intent_at"] if rows else None
            moved = self.ledger.move(db, [move], ("sending", "unknown"), claim_id=claim_id, sent_at=sent_at)
        if not moved:
            raise DecisionNeededError(
                f"{self.ledger.store}: Amazon made an order, but the warehouse has forgotten or given up the claim {claim_id} "
                "meanwhile. The next run looks for the request at Amazon before it sends it; look in Seller Central whether "
                "Amazon has two orders under its number",
                detail=fr_number,
            )
        return move

    def record_end(
        self,
        claim_id: str,
        move: Move,
        moved_from: tuple[str, ...],
        *,
        sent_at: datetime | None = None,
        lapsed: bool = False,
    ) -> list[Move]:
        """Record what became of an order's request, and settle the order unless the request is still unknown or held.

        :param moved_from: statuses it may have
        :param lapsed: Amazon has let its hold lapse
        :return: the request, if it changed
        """
        with self.ledger.connect() as db:
            moved = self.ledger.move(db, [move], moved_from, claim_id=claim_id, sent_at=sent_at)
            if moved and move.status == "submitted":
                self.ledger.run(db, "fulfillment.record_answer", claim_id=claim_id)
            elif moved and move.status != "unknown":
                self.ledger.run(db, "fulfillment.close_order", claim_id=claim_id, lapsed=lapsed)
            return moved

    def record_lost_answer(self, row: dict[str, Any]) -> list[Move]:
        """Record that createFulfillmentOrder was called and gave no answer; returns the request, unknown now."""
        number = row["fr_number"]
        return self.record_end(
            str(row["claim_id"]), Move(number, "unknown", _LOST), ("sending",), sent_at=row["intent_at"]
        )

    def close_taken_over(self) -> None:
        """Settle orders whose requests a person or a newer claim has taken from them."""
        self.ledger.run_alone("fulfillment.close_taken_over")
