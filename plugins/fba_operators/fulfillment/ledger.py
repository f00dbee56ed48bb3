"""The ledger of feeds: which requests a feed carries, how far it got, what became of them.

Every step is committed before or together with its effect, and every change states the state it expects, so that
concurrent runs, a cleared task or a retry cannot take the same step twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import psycopg

from fba_operators.amazon.operations import Feed
from fba_operators.amazon.processing_status import ProcessingStatus
from fba_operators.fulfillment.processing_report import Verdict
from fba_operators.fulfillment.request import FulfillmentRequest, Move, RequestItem
from fba_operators.warehouse.database import Warehouse
from fba_operators.warehouse.encryption import encrypt
from fba_operators.warehouse.statements import execute

_CONTENT = (
    "shipping_method",
    "ship_to_name",
    "ship_to_address_1",
    "ship_to_address_2",
    "ship_to_city",
    "ship_to_state",
    "ship_to_postal_code",
    "ship_to_country",
    "ship_to_email",
    "ship_to_phone",
    "order_comment",
)


class FeedLedger:
    """The feeds and requests of one store.

    :param store: connection id
    """

    def __init__(self, warehouse: Warehouse, store: str) -> None:
        self.warehouse = warehouse
        self.store = store

    def run(self, db: psycopg.Connection[Any], name: str, /, **values: Any) -> list[dict[str, Any]]:
        """Run a named statement for this store in the caller's transaction; returns its rows."""
        cursor = execute(db, name, store=self.store, **values)
        return cursor.fetchall() if cursor.description else []

    def _execute(self, name: str, /, **values: Any) -> list[dict[str, Any]]:
        with self.warehouse.connect() as db:
            return self.run(db, name, **values)

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """Keep other tasks from submitting or settling feeds of this store in the meantime.

        It only saves useless work, such as releasing a feed that is just being submitted: what must not happen twice
        is guarded by the rows themselves.
        """
        with self.warehouse.connect() as db:
            self.run(db, "fulfillment.lock_store")
            yield

    # Reading

    def open_feeds(self) -> list[dict[str, Any]]:
        """Return the rows of the feeds that are not settled; there is at most one."""
        return self._execute("fulfillment.open_feeds")

    def get(self, claim_id: str) -> dict[str, Any]:
        """Return a feed's row."""
        return self._execute("fulfillment.by_claim", claim_id=claim_id)[0]

    def requests(self, claim_id: str) -> list[dict[str, Any]]:
        """Return the requests of a feed in the order of their MessageIDs."""
        return self._execute("fulfillment.feed_requests", claim_id=claim_id)

    def items(self, db: psycopg.Connection[Any], numbers: Sequence[str]) -> dict[str, tuple[RequestItem, ...]]:
        """Return the lines of requests by FR number."""
        found: dict[str, list[RequestItem]] = {number: [] for number in numbers}
        for row in self.run(db, "fulfillment.items", numbers=list(numbers)):
            found[row.pop("fr_number")].append(RequestItem(**row))
        return {number: tuple(lines) for number, lines in found.items()}

    def items_of(self, numbers: Sequence[str]) -> dict[str, tuple[RequestItem, ...]]:
        """Return the lines of requests by FR number, in a transaction of its own."""
        with self.warehouse.connect() as db:
            return self.items(db, numbers)

    def content(self, claim_id: str) -> list[FulfillmentRequest]:
        """Return the requests that a feed carries; their content is frozen since it was claimed."""
        with self.warehouse.connect() as db:
            rows = self.run(db, "fulfillment.feed_requests", claim_id=claim_id)
            items = self.items(db, [row["fr_number"] for row in rows])
        return [self.as_request(row, items[row["fr_number"]]) for row in rows]

    def as_request(self, row: dict[str, Any], items: tuple[RequestItem, ...]) -> FulfillmentRequest:
        """Return a row and its lines as a request."""
        texts = {name: row[name] for name in _CONTENT}
        return FulfillmentRequest(self.store, row["fr_number"], row["created_at"], items, **texts)

    # Up to createFeed

    def record_upload(self, claim_id: str, document_id: str) -> bool:
        """Record the document that was uploaded; False when the feed is settled or submitted already."""
        return bool(self._execute("fulfillment.record_upload", claim_id=claim_id, document_id=document_id))

    def record_intent(self, claim_id: str) -> str | None:
        """Record that createFeed is about to be called; returns the document, or None if it must not be called."""
        rows = self._execute("fulfillment.record_intent", claim_id=claim_id)
        return str(rows[0]["document_id"]) if rows else None

    def withdraw_intent(self, claim_id: str) -> None:
        """Record that createFeed had no effect: Amazon certainly made nothing."""
        self._execute("fulfillment.withdraw_intent", claim_id=claim_id)

    def record_submitted(self, claim_id: str, feed_id: str) -> None:
        """Record the id that createFeed gave."""
        with self.warehouse.connect() as db:
            self.run(db, "fulfillment.record_submitted", claim_id=claim_id, feed_id=feed_id)
            self._move_all(db, claim_id, ("sending",), "submitted")

    def record_lost_answer(self, claim_id: str) -> int:
        """Record that createFeed was called and gave no answer; returns how many requests are unknown now."""
        with self.warehouse.connect() as db:
            feed = self.run(db, "fulfillment.lock_feed", claim_id=claim_id)
            if not feed or feed[0]["feed_id"] or not feed[0]["submit_started_at"]:
                return 0
            self._record_state(db, claim_id, "LOST")
            reason = "Amazon did not answer when the feed was submitted; it is looked up before anything is sent again"
            return self._move_all(db, claim_id, ("sending",), "unknown", reason)

    def release(self, claim_id: str) -> int:
        """Give up a feed that was never submitted; returns how many requests are pending again."""
        with self.warehouse.connect() as db:
            feed = self.run(db, "fulfillment.lock_feed", claim_id=claim_id)
            if not feed or feed[0]["submit_started_at"]:
                return 0
            moved = self._move_all(db, claim_id, ("sending",), "pending")
            self.run(db, "fulfillment.close_feed", claim_id=claim_id, status="RELEASED")
            return moved

    def record_refused(self, claim_id: str) -> int:
        """Give up a feed that createFeed refused; returns how many requests are pending again."""
        with self.warehouse.connect() as db:
            if not self.run(db, "fulfillment.lock_feed", claim_id=claim_id):
                return 0
            moved = self._move_all(db, claim_id, ("sending", "unknown"), "pending", "Amazon refused the feed it was in")
            self.run(db, "fulfillment.close_feed", claim_id=claim_id, status="REFUSED")
            return moved

    # After createFeed

    def record_state(self, claim_id: str, feed: Feed) -> ProcessingStatus:
        """Record the state that Amazon reports; returns the status.

        :raises UnavailableError: it is none of Amazon's documented states
        """
        status = feed.status
        with self.warehouse.connect() as db:
            self._record_state(
                db,
                claim_id,
                status.value,
                result_document_id=feed.result_feed_document_id,
                finished=status.finished,
                finished_at=feed.processing_end_time,
            )
        return status

    def _record_state(
        self,
        db: psycopg.Connection[Any],
        claim_id: str,
        status: str,
        *,
        result_document_id: str | None = None,
        finished: bool = False,
        finished_at: datetime | None = None,
    ) -> None:
        values = {"result_document_id": result_document_id, "finished": finished, "finished_at": finished_at}
        self.run(db, "fulfillment.record_state", claim_id=claim_id, status=status, **values)

    def record_cancelled(self, claim_id: str) -> int:
        """Settle a feed that Amazon cancelled before processing it; returns how many requests are pending again."""
        with self.warehouse.connect() as db:
            if not self.run(db, "fulfillment.lock_feed", claim_id=claim_id):
                return 0
            reason = "Amazon cancelled the feed it was in before processing it"
            moved = self._move_all(db, claim_id, ("submitted", "unknown"), "pending", reason)
            self.run(db, "fulfillment.close_feed", claim_id=claim_id, status="CANCELLED")
            return moved

    def record_verdicts(self, claim_id: str, verdicts: dict[int, Verdict], document: bytes | None) -> list[Move]:
        """Record what became of each message, once; the feed is settled if no request of it is unknown.

        :param verdicts: by MessageID
        :param document: the processing report, if it could be read
        :return: the requests that changed
        """
        with self.warehouse.connect() as db:
            feed = self.run(db, "fulfillment.lock_feed", claim_id=claim_id)
            if not feed or feed[0]["judged_at"]:
                return []
            self.run(
                db,
                "fulfillment.record_results",
                claim_id=claim_id,
                message_ids=list(verdicts),
                result_codes=[_result_code(verdict) for verdict in verdicts.values()],
                message_codes=[verdict.code for verdict in verdicts.values()],
                descriptions=[_description(verdict) for verdict in verdicts.values()],
            )
            moves = [
                Move(row["fr_number"], verdict.outcome, _description(verdict))
                for row in self.run(db, "fulfillment.feed_requests", claim_id=claim_id)
                for verdict in [verdicts[row["message_id"]]]
            ]
            moved = self._move(db, moves, ("submitted", "unknown"))
            stored = encrypt(document) if document is not None else None
            self.run(db, "fulfillment.record_judged", claim_id=claim_id, result_document=stored)
            self._close_if_settled(db, claim_id)
            return moved

    # Requests whose result Amazon did not report

    def resolve_unknown(self, moves: Iterable[Move]) -> list[Move]:
        """Record what was found out about unknown requests; returns those that changed."""
        with self.warehouse.connect() as db:
            return self._move(db, list(moves), ("unknown",))

    def record_absent(self, numbers: list[str], *, absent: bool) -> None:
        """Record that a complete list of orders lacks these requests, or that it is inconclusive about them."""
        self._execute("fulfillment.record_absent", numbers=numbers, absent=absent)

    def record_not_arrived(self, number: str, stuck: str | None) -> None:
        """Record that Amazon does not have an unknown request: it is pending again, or waits for a person.

        :param stuck: what the person has to do, or None
        """
        with self.warehouse.connect() as db:
            self.run(db, "fulfillment.record_attempt", number=number)
            again = Move(number, "pending", "it was sent, but Amazon has no order of it; it is sent again")
            self._move(db, [Move(number, "unknown", stuck) if stuck else again], ("unknown",))

    def count_stuck(self) -> int:
        """Return how many unknown requests wait for a person, because no open feed carries them."""
        return int(self._execute("fulfillment.count_stuck")[0]["count"])

    def close_if_settled(self, claim_id: str, except_for: Sequence[str] = ()) -> bool:
        """Settle a feed if none of its requests is open, apart from those a person has to decide about."""
        with self.warehouse.connect() as db:
            return self._close_if_settled(db, claim_id, except_for)

    def _close_if_settled(self, db: psycopg.Connection[Any], claim_id: str, except_for: Sequence[str] = ()) -> bool:
        rows = self.run(db, "fulfillment.feed_requests", claim_id=claim_id)
        if any(
            row["status"] in ("sending", "submitted", "unknown") and row["fr_number"] not in except_for for row in rows
        ):
            return False
        self.run(db, "fulfillment.close_feed", claim_id=claim_id, status=None)
        return True

    # Cancelling

    def to_cancel(self) -> list[dict[str, Any]]:
        """Return the requests that Amazon has or may have and whose cancellation is requested."""
        return self._execute("fulfillment.to_cancel")

    def record_order_cancelled(self, fr_number: str) -> None:
        """Record that Amazon cancelled an order."""
        with self.warehouse.connect() as db:
            self._move(db, [Move(fr_number, "cancelled", None, "Cancelled")], ("accepted", "unknown"))

    def record_not_cancelled(self, fr_number: str, reason: str) -> None:
        """Record why an order was not cancelled."""
        self._execute("fulfillment.record_not_cancelled", fr_number=fr_number, reason=reason)

    # Moving requests

    def _move_all(
        self,
        db: psycopg.Connection[Any],
        claim_id: str,
        moved_from: tuple[str, ...],
        status: str,
        reason: str | None = None,
    ) -> int:
        rows = self.run(db, "fulfillment.feed_requests", claim_id=claim_id)
        (feed,) = self.run(db, "fulfillment.by_claim", claim_id=claim_id)
        moves = [Move(row["fr_number"], status, reason) for row in rows]
        return len(self._move(db, moves, moved_from, feed["submit_started_at"]))

    def _move(
        self,
        db: psycopg.Connection[Any],
        moves: list[Move],
        moved_from: tuple[str, ...],
        sent_at: datetime | None = None,
    ) -> list[Move]:
        moved = self.run(
            db,
            "fulfillment.move",
            numbers=[move.fr_number for move in moves],
            statuses=[move.status for move in moves],
            reasons=[move.reason for move in moves],
            order_statuses=[move.order_status for move in moves],
            moved_from=list(moved_from),
            sent_at=sent_at,
        )
        return [Move(row["fr_number"], row["status"]) for row in moved]


def _result_code(verdict: Verdict) -> str | None:
    if verdict.outcome == "rejected":
        return "Error"
    return "Warning" if verdict.warnings else None


def _description(verdict: Verdict) -> str | None:
    return "; ".join(filter(None, (verdict.description, *verdict.warnings))) or None
