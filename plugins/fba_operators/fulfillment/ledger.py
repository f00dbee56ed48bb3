"""The ledger of feeds: which requests a feed carries, how far it got, what became of them.

Every step is committed before or together with its effect, and every change names the claim and the state it goes on
from, so that concurrent runs, a cleared task, a retry or a process that slept for an hour cannot take a step twice.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

import psycopg

from fba_operators.amazon.credentials import Destination
from fba_operators.amazon.operations import Feed
from fba_operators.amazon.processing_status import ProcessingStatus
from fba_operators.errors import DecisionNeededError
from fba_operators.fulfillment.amazon_orders import HELD
from fba_operators.fulfillment.processing_report import MOST_TOLD, Verdict
from fba_operators.fulfillment.request import FulfillmentRequest, Move, RequestItem, listed_numbers
from fba_operators.warehouse.database import Warehouse
from fba_operators.warehouse.encryption import encrypt
from fba_operators.warehouse.lock import Lock, locked, take_lock
from fba_operators.warehouse.statements import execute
from fba_operators.words import cut

_CONTENT = (
    "shipping_method",
    "displayable_order_number",
    "ship_to_name",
    "ship_to_address_1",
    "ship_to_address_2",
    "ship_to_address_3",
    "ship_to_city",
    "ship_to_state",
    "ship_to_postal_code",
    "ship_to_country",
    "ship_to_email",
    "ship_to_phone",
    "order_comment",
    "channel",
    "packaging",
    "block_amazon_logistics",
    "signature",
    "deliver_together",
    "deliver_by",
    "speed",
)


LOCKED = "fba.feed"
MAY_SUBMIT = timedelta(seconds=60)  # after the intent; then createFeed is not called any more


class FeedLedger:
    """The feeds and requests of one store.

    :param store: connection id
    """

    def __init__(self, warehouse: Warehouse, store: str) -> None:
        self.warehouse = warehouse
        self.store = store
        self._lock: Lock | None = None

    def run(self, db: psycopg.Connection[Any], name: str, /, **values: Any) -> list[dict[str, Any]]:
        """Run a named statement for this store in the caller's transaction; returns its rows."""
        cursor = execute(db, name, store=self.store, **values)
        return cursor.fetchall() if cursor.description else []

    @contextmanager
    def connect(self) -> Iterator[psycopg.Connection[Any]]:
        """Open a transaction; not in a process that has lost the store's lock.

        :raises UnavailableError: the lock's session was cut, so another task may be at work
        """
        self.check_lock()
        with self.warehouse.connect() as db:
            yield db

    def run_alone(self, name: str, /, **values: Any) -> list[dict[str, Any]]:
        """Run a named statement for this store in a transaction of its own; returns its rows."""
        with self.connect() as db:
            return self.run(db, name, **values)

    def lock(self, db: psycopg.Connection[Any]) -> None:
        """Keep other tasks from claiming, submitting or settling feeds of this store until the transaction ends.

        :raises ThrottledError: another task has held the lock for half a minute
        """
        take_lock(db, LOCKED, self.store)

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """Hold the store's lock while Amazon is asked; every statement of this ledger checks that it is still held."""
        with locked(self.warehouse, LOCKED, self.store) as lock:
            self._lock = lock
            try:
                yield
            finally:
                self._lock = None

    def check_lock(self) -> None:
        """Make sure that the lock of :meth:`exclusively` is still held, and keep it.

        :raises UnavailableError: its session was cut
        """
        if self._lock:
            self._lock.check()

    def now(self) -> datetime:
        """The time by the database's clock (UTC), the only one that ages are measured with."""
        moment: datetime = self.run_alone("fulfillment.now")[0]["now"]
        return moment

    # Reading

    def open_feeds(self) -> list[dict[str, Any]]:
        """Return the rows of the feeds that are not settled, oldest first; at most one of them holds up other requests."""
        return self.run_alone("fulfillment.open_feeds")

    def get(self, claim_id: str) -> dict[str, Any]:
        """Return a feed's row.

        :raises DecisionNeededError: the warehouse does not have it any more
        """
        if rows := self.run_alone("fulfillment.by_claim", claim_id=claim_id):
            return rows[0]
        raise DecisionNeededError(
            f"{self.store}: the warehouse does not have the claim {claim_id} that this run made: an older copy of the "
            "warehouse was put back. The next run looks for its requests at Amazon before it sends them"
        )

    def requests(self, claim_id: str) -> list[dict[str, Any]]:
        """Return the requests of a feed in the order of their MessageIDs."""
        return self.run_alone("fulfillment.feed_requests", claim_id=claim_id)

    def items(self, db: psycopg.Connection[Any], numbers: Sequence[str]) -> dict[str, tuple[RequestItem, ...]]:
        """Return the lines of requests by FR number."""
        found: dict[str, list[RequestItem]] = {number: [] for number in numbers}
        for row in self.run(db, "fulfillment.items", numbers=list(numbers)):
            found[row.pop("fr_number")].append(RequestItem(**row))
        return {number: tuple(lines) for number, lines in found.items()}

    def items_of(self, numbers: Sequence[str]) -> dict[str, tuple[RequestItem, ...]]:
        """Return the lines of requests by FR number, in a transaction of its own."""
        with self.connect() as db:
            return self.items(db, numbers)

    def content(self, claim_id: str) -> list[FulfillmentRequest]:
        """Return the requests that a feed carries; their content is frozen since it was claimed."""
        with self.connect() as db:
            rows = self.run(db, "fulfillment.feed_requests", claim_id=claim_id)
            items = self.items(db, [row["fr_number"] for row in rows])
        return [self.as_request(row, items[row["fr_number"]]) for row in rows]

    def as_request(self, row: dict[str, Any], items: tuple[RequestItem, ...]) -> FulfillmentRequest:
        """Return a row and its lines as a request."""
        content = {name: row[name] for name in _CONTENT}
        return FulfillmentRequest(self.store, row["fr_number"], row["created_at"], items, **content)

    # Up to createFeed

    def record_upload(self, claim_id: str, document_id: str, digest: bytes) -> bool:
        """Record the document that was uploaded; False when the feed is settled or submitted already.

        :param digest: SHA-256 of the document
        """
        values = {"claim_id": claim_id, "document_id": document_id, "digest": digest}
        return bool(self.run_alone("fulfillment.record_upload", **values))

    def record_intent(self, claim_id: str, *, digest: bytes, token: str) -> datetime | None:
        """Record that createFeed is about to be called; returns when, or None if it must not be called.

        :param digest: SHA-256 of the document that the requests would give now; another than the uploaded one is not sent
        :param token: of the last comparison of Amazon's feeds with the ledger; see :mod:`.memory`
        """
        rows = self.run_alone("fulfillment.record_intent", claim_id=claim_id, digest=digest, token=token)
        return rows[0]["submit_started_at"] if rows else None

    def may_submit(self, claim_id: str, intent: datetime) -> bool:
        """Whether createFeed may still be called: asked over the session that holds the store's lock.

        :param intent: what :meth:`record_intent` returned
        :raises UnavailableError: that session was cut
        """
        return self.ask_lock("fulfillment.may_submit", claim_id=claim_id, intent=intent)

    def ask_lock(self, name: str, /, **values: Any) -> bool:
        """Whether a named statement finds a row, asked over the session that holds the store's lock.

        :param values: the statement's; ``seconds`` is how long after an intent its effect may be started
        :raises UnavailableError: that session was cut
        """
        if self._lock is None:
            raise AssertionError("what has an effect at Amazon is done only under the store's lock")
        try:
            return bool(self.run(self._lock.session, name, seconds=MAY_SUBMIT.total_seconds(), **values))
        except psycopg.Error:
            raise self._lock.cut() from None

    def withdraw_intent(self, claim_id: str, intent: datetime) -> None:
        """Record that createFeed had no effect: Amazon certainly made nothing."""
        with self.warehouse.connect() as db:  # also by a process that has lost the lock: it names its own intent
            self.run(db, "fulfillment.withdraw_intent", claim_id=claim_id, intent=intent)

    def record_submitted(self, claim_id: str, feed_id: str) -> None:
        """Record the id that createFeed gave.

        :raises DecisionNeededError: meanwhile the feed was forgotten, or given up and its requests sent otherwise
        """
        with self.warehouse.connect() as db:
            rows = self.run(db, "fulfillment.record_submitted", claim_id=claim_id, feed_id=feed_id)
            if rows:
                self._move_all(db, claim_id, ("sending",), "submitted")
            elsewhere = self.run(db, "fulfillment.carried_elsewhere", claim_id=claim_id) if rows else []
        if not rows:
            raise DecisionNeededError(
                f"{self.store}: Amazon made feed {feed_id}, but the warehouse does not have the claim {claim_id} any more: "
                "an older copy of it was put back. The next run looks for the requests at Amazon before it sends them"
            )
        if elsewhere:
            raise DecisionNeededError(
                f"{self.store}: Amazon made feed {feed_id} after its requests had been given up and gone on otherwise. Look "
                "in Seller Central whether Amazon has two orders under one of their numbers",
                detail=listed_numbers([row["fr_number"] for row in elsewhere]),
            )

    def record_lost_answer(self, claim_id: str) -> int:
        """Record that createFeed was called and gave no answer; returns how many requests are unknown now."""
        with self.connect() as db:
            feed = self.run(db, "fulfillment.lock_feed", claim_id=claim_id)
            if not feed or feed[0]["feed_id"] or not feed[0]["submit_started_at"]:
                return 0
            self._record_state(db, claim_id, "LOST")
            reason = "Amazon did not answer when the feed was submitted; it is looked up before anything is sent again"
            return self._move_all(db, claim_id, ("sending",), "unknown", reason)

    def release(self, claim_id: str, reason: str | None = None) -> int:
        """Give up a feed that was never submitted; returns how many requests are pending again.

        :param reason: why, for status_reason
        """
        with self.connect() as db:
            feed = self.run(db, "fulfillment.lock_feed", claim_id=claim_id)
            if not feed or feed[0]["submit_started_at"]:
                return 0
            moved = self._move_all(db, claim_id, ("sending",), "pending", reason)
            self.run(db, "fulfillment.close_feed", claim_id=claim_id, status="RELEASED")
            return moved

    def record_refused(self, claim_id: str) -> int:
        """Give up a feed that createFeed refused; returns how many requests are pending again."""
        with self.connect() as db:
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
        with self.connect() as db:
            self._record_state(
                db,
                claim_id,
                status.value,
                result_document_id=feed.result_feed_document_id,
                finished=status.finished,
            )
        return status

    def set_aside(self, claim_id: str) -> None:
        """Let other requests go out although this feed is not settled; the runs go on following it."""
        self.run_alone("fulfillment.set_aside", claim_id=claim_id)

    def _record_state(
        self,
        db: psycopg.Connection[Any],
        claim_id: str,
        status: str,
        *,
        result_document_id: str | None = None,
        finished: bool = False,
    ) -> None:
        values = {"result_document_id": result_document_id, "finished": finished}
        self.run(db, "fulfillment.record_state", claim_id=claim_id, status=status, **values)

    def record_cancelled(self, claim_id: str) -> int:
        """Settle a feed that Amazon cancelled before processing it; returns how many requests are pending again."""
        with self.connect() as db:
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
        with self.connect() as db:
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
            moved = self.move(db, moves, ("submitted", "unknown"), claim_id=claim_id)
            stored = encrypt(document) if document is not None else None
            self.run(db, "fulfillment.record_judged", claim_id=claim_id, result_document=stored)
            self._close_if_settled(db, claim_id)
            return moved

    # Requests whose result Amazon did not report

    def resolve_unknown(self, moves: Iterable[Move], claim_id: str | None) -> list[Move]:
        """Record what was found out about unknown requests of a claim; returns those that changed."""
        with self.connect() as db:
            return self.move(db, list(moves), ("unknown",), claim_id=claim_id)

    def record_absent(self, claim_id: str, numbers: list[str], *, absent: bool) -> None:
        """Record that a complete list of orders lacks these requests, or that it is inconclusive about them."""
        self.run_alone("fulfillment.record_absent", claim_id=claim_id, numbers=numbers, absent=absent)

    def record_not_arrived(self, claim_id: str, number: str, absent_since: datetime, stuck: str | None) -> bool:
        """Record that Amazon does not have an unknown request: it is pending again, or waits for a person.

        :param absent_since: since when it was absent when its row was read; nothing is done if that has changed
        :param stuck: what the person has to do, or None
        :return: whether it was recorded
        """
        with self.connect() as db:
            values = {"claim_id": claim_id, "number": number, "absent_since": absent_since}
            if not self.run(db, "fulfillment.record_attempt", **values):
                return False
            if stuck:
                self.run(db, "fulfillment.record_stuck", claim_id=claim_id, numbers=[number], reason=stuck)
            else:
                again = Move(number, "pending", "it was sent, but Amazon has no order of it; it is sent again")
                self.move(db, [again], ("unknown",), claim_id=claim_id)
            return True

    def record_stuck(self, claim_id: str, numbers: list[str], reason: str) -> list[str]:
        """Record that a person has to decide about unknown requests; returns those that are new."""
        rows = self.run_alone("fulfillment.record_stuck", claim_id=claim_id, numbers=numbers, reason=reason)
        return [row["fr_number"] for row in rows]

    def record_of_another_seller(self, claim_id: str, numbers: list[str], reason: str) -> None:
        """Record that what became of a claim's requests cannot be found out with the connection's present credentials."""
        with self.connect() as db:
            self.move(db, [Move(number, "unknown", reason) for number in numbers], ("submitted",), claim_id=claim_id)
            self.run(db, "fulfillment.record_stuck", claim_id=claim_id, numbers=numbers, reason=reason)

    def count_stuck(self) -> int:
        """Return how many unknown requests wait for a person."""
        return int(self.run_alone("fulfillment.count_stuck")[0]["count"])

    def close_if_settled(self, claim_id: str, except_for: Sequence[str] = ()) -> bool:
        """Settle a feed if none of its requests is open, apart from those a person has to decide about."""
        with self.connect() as db:
            return self._close_if_settled(db, claim_id, except_for)

    def _close_if_settled(self, db: psycopg.Connection[Any], claim_id: str, except_for: Sequence[str] = ()) -> bool:
        rows = self.run(db, "fulfillment.feed_requests", claim_id=claim_id)
        if any(
            row["status"] in ("sending", "submitted", "unknown")
            and row["claim_id"] == row["feed_claim_id"]
            and row["fr_number"] not in except_for
            for row in rows
        ):
            return False
        self.run(db, "fulfillment.close_feed", claim_id=claim_id, status=None)
        return True

    def adopt(self, move: Move, *, destination: Destination, held: bool) -> list[Move]:
        """Record what Amazon's order under a pending request's number means: it was sent, and that was forgotten.

        :param held: Amazon holds the order, so it is to be released
        :return: the request, if it was still pending
        """
        number, claim_id, seller_id = move.fr_number, str(uuid.uuid4()) if held else None, destination.seller_id
        with self.connect() as db:
            if move.status == "invalid":
                moved = self.move(db, [move], ("pending",), claim_id=None)
            elif self.run(db, "fulfillment.adopt_as_sent", number=number, seller_id=seller_id, claim_id=claim_id):
                if held:
                    values = {"claim_id": claim_id, "number": number, **asdict(destination)}
                    self.run(db, "fulfillment.add_held_order", **values)
                self.move(db, [Move(number, "unknown", move.reason, move.order_status)], ("sending",), claim_id=None)
                moved = [move]
                if held:
                    move = replace(move, status="submitted", order_status=HELD)
                if move.status != "unknown":
                    moved = self.move(db, [move], ("unknown",), claim_id=None)
            else:
                moved = []
            if move.status != "invalid":  # another's order keeps its number
                self.run(db, "fulfillment.remove_order_at_amazon", number=number)
            return moved

    # Cancelling

    def to_cancel(self) -> list[dict[str, Any]]:
        """Return the requests that Amazon has or may have and whose cancellation is requested."""
        return self.run_alone("fulfillment.to_cancel")

    def record_order_cancelled(self, fr_number: str) -> None:
        """Record that Amazon cancelled an order."""
        with self.connect() as db:
            cancelled = Move(fr_number, "cancelled", None, "Cancelled")
            self.move(db, [cancelled], ("accepted", "unknown", "submitted"), claim_id=None)

    def record_not_cancelled(self, fr_number: str, reason: str) -> None:
        """Record why an order was not cancelled."""
        self.run_alone("fulfillment.record_not_cancelled", fr_number=fr_number, reason=reason)

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
        return len(self.move(db, moves, moved_from, claim_id=claim_id, sent_at=feed["submit_started_at"]))

    def move(
        self,
        db: psycopg.Connection[Any],
        moves: list[Move],
        moved_from: tuple[str, ...],
        *,
        claim_id: str | None,
        sent_at: datetime | None = None,
    ) -> list[Move]:
        """Move requests that are still in one of these statuses and, where a claim is named, still carried by it."""
        moved = self.run(
            db,
            "fulfillment.move",
            claim_id=claim_id,
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
    return cut("; ".join(filter(None, (verdict.description, *verdict.warnings))), MOST_TOLD) or None
