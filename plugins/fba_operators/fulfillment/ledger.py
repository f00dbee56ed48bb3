"""The ledger of feeds: which requests a feed carries, how far it got, what became of them.

Every step is written down before or together with its effect, and each change states what it expects to find, so that
two runs at the same time, a cleared task or a task begun again cannot take the same step twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

from fba_operators.amazon.trigger import FINISHED, UNFINISHED
from fba_operators.errors import UnavailableError
from fba_operators.fulfillment.feed_xml import Verdict
from fba_operators.fulfillment.validation import FulfillmentRequest, RequestItem
from fba_operators.warehouse.database import Warehouse, encrypt, statements

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


@dataclass(frozen=True)
class Move:
    """A request's new status, why, and what Amazon's own status of the order is where it was told."""

    fr_number: str
    status: str
    reason: str | None = None
    order_status: str | None = None


class FeedLedger:
    """The feeds and requests of one store.

    :param store: connection id
    """

    def __init__(self, warehouse: Warehouse, store: str) -> None:
        self.warehouse = warehouse
        self.store = store

    def run(self, db: psycopg.Connection[Any], name: str, **values: Any) -> list[dict[str, Any]]:
        """Run a statement of ``fulfillment.sql`` for this store in the caller's transaction."""
        cursor = db.cursor(row_factory=dict_row)
        cursor.execute(statements("fulfillment")[name], {"store": self.store, **values})
        return cursor.fetchall() if cursor.description else []

    def _execute(self, name: str, **values: Any) -> list[dict[str, Any]]:
        with self.warehouse.connect() as db:
            return self.run(db, name, **values)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other tasks from submitting or settling feeds of this store in the meantime.

        It only saves useless work, such as giving up a feed that is just being submitted: what must not happen twice
        is guarded by the rows themselves.
        """
        with self.warehouse.connect() as db:
            self.run(db, "lock_store")
            yield

    # Reading

    def open_feeds(self) -> list[dict[str, Any]]:
        """Return the rows of the feeds that are not settled; there is at most one."""
        return self._execute("open_feeds")

    def get(self, claim_id: str) -> dict[str, Any]:
        """Return a feed's row."""
        return self._execute("by_claim", claim_id=claim_id)[0]

    def requests(self, claim_id: str) -> list[dict[str, Any]]:
        """Return the requests of a feed in the sequence of their MessageIDs."""
        return self._execute("feed_requests", claim_id=claim_id)

    def items(self, db: psycopg.Connection[Any], numbers: Sequence[str]) -> dict[str, tuple[RequestItem, ...]]:
        """Return the lines of requests by FR number."""
        found: dict[str, list[RequestItem]] = {number: [] for number in numbers}
        for row in self.run(db, "items", numbers=list(numbers)):
            found[row.pop("fr_number")].append(RequestItem(**row))
        return {number: tuple(lines) for number, lines in found.items()}

    def content(self, claim_id: str) -> list[FulfillmentRequest]:
        """Return what a feed has to say, which is frozen since it was claimed."""
        with self.warehouse.connect() as db:
            rows = self.run(db, "feed_requests", claim_id=claim_id)
            items = self.items(db, [row["fr_number"] for row in rows])
        return [self.as_request(row, items[row["fr_number"]]) for row in rows]

    def as_request(self, row: dict[str, Any], items: tuple[RequestItem, ...]) -> FulfillmentRequest:
        """Return a row and its lines as the rules know them."""
        texts = {name: row[name] for name in _CONTENT}
        return FulfillmentRequest(self.store, row["fr_number"], row["created_at"], items, **texts)

    # Up to createFeed

    def uploaded(self, claim_id: str, document_id: str) -> bool:
        """Write down the document Amazon has now; False when the feed is settled or submitted already."""
        return bool(self._execute("note_upload", claim_id=claim_id, document_id=document_id))

    def begin_submit(self, claim_id: str) -> str | None:
        """Write down that createFeed is about to be called; returns the document, or None if it is not to be called."""
        rows = self._execute("begin_submit", claim_id=claim_id)
        return str(rows[0]["document_id"]) if rows else None

    def take_back_submit(self, claim_id: str) -> None:
        """Forget that createFeed was called: it is certain that Amazon made nothing."""
        self._execute("take_back_submit", claim_id=claim_id)

    def submitted(self, claim_id: str, feed_id: str) -> None:
        """Write down the id that createFeed gave."""
        with self.warehouse.connect() as db:
            self.run(db, "note_submitted", claim_id=claim_id, feed_id=feed_id)
            self._move_all(db, claim_id, ("sending",), "submitted")

    def lost(self, claim_id: str) -> int:
        """Write down that createFeed was called and gave no answer; returns how many requests are unknown now."""
        with self.warehouse.connect() as db:
            feed = self.run(db, "lock_feed", claim_id=claim_id)
            if not feed or feed[0]["feed_id"] or not feed[0]["submit_started_at"]:
                return 0
            self._note_state(db, claim_id, "LOST")
            reason = "Amazon did not answer when the feed was submitted; it is looked up before anything is sent again"
            return self._move_all(db, claim_id, ("sending",), "unknown", reason)

    def release(self, claim_id: str) -> int:
        """Give up a feed that was never submitted; returns how many requests are pending again."""
        with self.warehouse.connect() as db:
            feed = self.run(db, "lock_feed", claim_id=claim_id)
            if not feed or feed[0]["submit_started_at"]:
                return 0
            moved = self._move_all(db, claim_id, ("sending",), "pending")
            self.run(db, "close_feed", claim_id=claim_id, status="RELEASED")
            return moved

    def refused(self, claim_id: str) -> int:
        """Give up a feed that createFeed refused; returns how many requests are pending again."""
        with self.warehouse.connect() as db:
            if not self.run(db, "lock_feed", claim_id=claim_id):
                return 0
            moved = self._move_all(db, claim_id, ("sending", "unknown"), "pending", "Amazon refused the feed it was in")
            self.run(db, "close_feed", claim_id=claim_id, status="REFUSED")
            return moved

    # After createFeed

    def note(self, claim_id: str, state: dict[str, Any]) -> str:
        """Write down the state Amazon told; returns the status.

        :raises UnavailableError: the answer is none of Amazon's states
        """
        status = state.get("processingStatus")
        if status not in (*UNFINISHED, *FINISHED):
            raise UnavailableError(f"{self.store}: feed {state.get('feedId')} has the unknown status {status!r}")
        with self.warehouse.connect() as db:
            self._note_state(
                db,
                claim_id,
                str(status),
                result_document_id=state.get("resultFeedDocumentId"),
                finished=status in FINISHED,
                finished_at=state.get("processingEndTime"),
            )
        return str(status)

    def _note_state(
        self,
        db: psycopg.Connection[Any],
        claim_id: str,
        status: str,
        *,
        result_document_id: str | None = None,
        finished: bool = False,
        finished_at: str | None = None,
    ) -> None:
        values = {"result_document_id": result_document_id, "finished": finished, "finished_at": finished_at}
        self.run(db, "note_state", claim_id=claim_id, status=status, **values)

    def cancelled(self, claim_id: str) -> int:
        """Settle a feed that Amazon cancelled before it was processed; its requests are pending again."""
        with self.warehouse.connect() as db:
            if not self.run(db, "lock_feed", claim_id=claim_id):
                return 0
            reason = "Amazon cancelled the feed it was in before processing it"
            moved = self._move_all(db, claim_id, ("submitted", "unknown"), "pending", reason)
            self.run(db, "close_feed", claim_id=claim_id, status="CANCELLED")
            return moved

    def judge(self, claim_id: str, verdicts: dict[int, Verdict], document: bytes | None) -> list[Move]:
        """Write down what became of each message, once.

        The feed is settled if no request of it is unknown.

        :param verdicts: by MessageID
        :param document: the processing report, if it could be read
        :return: the requests that changed
        """
        with self.warehouse.connect() as db:
            feed = self.run(db, "lock_feed", claim_id=claim_id)
            if not feed or feed[0]["judged_at"]:
                return []
            told = list(verdicts.items())
            self.run(
                db,
                "note_results",
                claim_id=claim_id,
                message_ids=[message_id for message_id, _ in told],
                result_codes=[_result_code(verdict) for _, verdict in told],
                message_codes=[verdict.code for _, verdict in told],
                descriptions=[_description(verdict) for _, verdict in told],
            )
            moves = [
                Move(row["fr_number"], verdict.outcome, _description(verdict))
                for row in self.run(db, "feed_requests", claim_id=claim_id)
                for verdict in [verdicts[row["message_id"]]]
            ]
            moved = self._move(db, moves, ("submitted", "unknown"))
            stored = encrypt(document) if document is not None else None
            self.run(db, "note_judged", claim_id=claim_id, result_document=stored)
            self._close_if_known(db, claim_id)
            return moved

    # Looking for requests of which Amazon said nothing

    def resolve(self, moves: Iterable[Move]) -> list[Move]:
        """Write down what was found out about unknown requests."""
        with self.warehouse.connect() as db:
            return self._move(db, list(moves), ("unknown",))

    def note_absent(self, numbers: list[str], *, absent: bool) -> None:
        """Write down that a complete list of orders lacks these requests, or that it says nothing about them."""
        self._execute("note_absent", numbers=numbers, absent=absent)

    def not_arrived(self, number: str, stuck: str | None) -> None:
        """Write down that Amazon does not have an unknown request: it is sent again, or waits for a person.

        :param stuck: what the person has to do, or None
        """
        with self.warehouse.connect() as db:
            self.run(db, "note_attempt", number=number)
            again = Move(number, "pending", "it was sent, but Amazon has no order of it; it is sent again")
            self._move(db, [Move(number, "unknown", stuck) if stuck else again], ("unknown",))

    def count_stuck(self) -> int:
        """Return how many unknown requests wait for a person, because nothing looks for them any more."""
        return int(self._execute("count_stuck")[0]["count"])

    def close_if_known(self, claim_id: str, but: Sequence[str] = ()) -> bool:
        """Settle a feed if none of its requests is unknown, apart from those a person has been asked about."""
        with self.warehouse.connect() as db:
            return self._close_if_known(db, claim_id, but)

    def _close_if_known(self, db: psycopg.Connection[Any], claim_id: str, but: Sequence[str] = ()) -> bool:
        rows = self.run(db, "feed_requests", claim_id=claim_id)
        if any(row["status"] in ("sending", "submitted", "unknown") and row["fr_number"] not in but for row in rows):
            return False
        self.run(db, "close_feed", claim_id=claim_id, status=None)
        return True

    # Cancelling

    def to_cancel(self) -> list[dict[str, Any]]:
        """Return the requests that Amazon has or may have and that somebody wants cancelled."""
        return self._execute("to_cancel")

    def order_cancelled(self, fr_number: str) -> None:
        """Write down that Amazon cancelled an order."""
        with self.warehouse.connect() as db:
            self._move(db, [Move(fr_number, "cancelled", None, "Cancelled")], ("accepted", "unknown"))

    def cancel_refused(self, fr_number: str, reason: str) -> None:
        """Write down why an order was not cancelled."""
        self._execute("note_refusal", fr_number=fr_number, reason=reason)

    # Moving requests

    def _move_all(
        self,
        db: psycopg.Connection[Any],
        claim_id: str,
        moved_from: tuple[str, ...],
        status: str,
        reason: str | None = None,
    ) -> int:
        rows = self.run(db, "feed_requests", claim_id=claim_id)
        (feed,) = self.run(db, "by_claim", claim_id=claim_id)
        moves = [Move(row["fr_number"], status, reason) for row in rows]
        return len(self._move(db, moves, moved_from, feed["submit_started_at"]))

    def _move(
        self,
        db: psycopg.Connection[Any],
        moves: list[Move],
        moved_from: tuple[str, ...],
        sent_at: datetime | None = None,
    ) -> list[Move]:
        done = self.run(
            db,
            "move",
            numbers=[move.fr_number for move in moves],
            statuses=[move.status for move in moves],
            reasons=[move.reason for move in moves],
            order_statuses=[move.order_status for move in moves],
            moved_from=list(moved_from),
            sent_at=sent_at,
        )
        return [Move(row["fr_number"], row["status"]) for row in done]


def _result_code(verdict: Verdict) -> str | None:
    if verdict.outcome == "rejected":
        return "Error"
    return "Warning" if verdict.warnings else None


def _description(verdict: Verdict) -> str | None:
    return "; ".join(filter(None, (verdict.description, *verdict.warnings))) or None
