"""A request in each state in which a person may meet it, and what may be decided in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from tests.helpers import as_product
from tests.sending import GOOD, PERSONAL
from tests.stores import STORE

# Name of a state → how a request comes into it, and the actions that are allowed in it.
STATES = {
    "pending": ({"status": "pending"}, {"cancel"}),
    "needs approval": ({"status": "pending", "asked": True}, {"approve", "cancel"}),
    "approved": ({"status": "pending", "asked": True, "approved": True}, {"cancel"}),
    "to be cancelled": ({"status": "pending", "asked": True, "cancel_requested_at": "2026-01-02"}, {"acknowledge"}),
    "invalid": ({"status": "invalid"}, {"pending", "acknowledge"}),
    "invalid, cancelled before it was sent": (
        {"status": "invalid", "cancel_requested_at": "2026-01-02"},
        {"pending"},
    ),
    "sending": ({"status": "sending", "carried": True}, {"cancel"}),
    "submitted": ({"status": "submitted", "carried": True}, {"cancel"}),
    "unknown": ({"status": "unknown", "carried": True}, {"cancel"}),
    "sending that nothing carries": ({"status": "sending"}, {"cancel", "decide-pending"}),
    "submitted that nothing carries": (
        {"status": "submitted"},
        {"cancel", "decide-pending", "decide-accepted", "decide-rejected"},
    ),
    "stuck": (
        {"status": "unknown", "carried": True, "stuck_since": "2026-01-02"},
        {"cancel", "decide-pending", "decide-accepted", "decide-rejected"},
    ),
    "accepted": ({"status": "accepted"}, {"cancel"}),
    "accepted and shipped": ({"status": "accepted", "amazon_order_status": "Complete"}, set()),
    "accepted, not cancelled": (
        {"status": "accepted", "cancel_requested_at": "2026-01-02", "status_reason": "not cancelled: too late"},
        {"acknowledge"},
    ),
    "accepted, to be cancelled": ({"status": "accepted", "cancel_requested_at": "2026-01-02"}, {"acknowledge"}),
    "rejected": ({"status": "rejected"}, {"pending", "resend", "acknowledge"}),
    "rejected without an address": ({"status": "rejected", "ship_to_name": None}, {"acknowledge"}),
    "rejected and sent again": ({"status": "rejected", "copy": True}, set()),
    "cancelled": ({"status": "cancelled"}, {"resend"}),
    "cancelled and sent again": ({"status": "cancelled", "copy": True}, set()),
}
BECOMES = {
    "approve": "pending",
    "pending": "pending",
    "decide-pending": "pending",
    "decide-accepted": "accepted",
    "decide-rejected": "rejected",
}


class Requests:
    """Puts requests into a warehouse as they are in a state of ``STATES``, by the product's hand."""

    def __init__(self, db: psycopg.Connection[Any]) -> None:
        self.db = db

    def __call__(
        self,
        number: str = "FR-1",
        *,
        status: str = "pending",
        asked: bool = False,
        approved: bool = False,
        carried: bool = False,
        copy: bool = False,
        stuck_since: str | None = None,
        **fields: Any,
    ) -> None:
        """Put one in."""
        row = {
            "store": STORE,
            "fr_number": number,
            "shipping_method": "Standard",
            "status": status,
            **PERSONAL,
            **fields,
        }
        names, marks = ", ".join(row), ", ".join(["%s"] * len(row))
        self.db.execute(f"INSERT INTO fba.fulfillment_request ({names}) VALUES ({marks})".encode(), [*row.values()])
        if status in ("pending", "invalid", "rejected"):
            self.db.execute(
                "INSERT INTO fba.fulfillment_request_item (store, fr_number, line, sku, quantity) VALUES (%s, %s, 1, %s, 2)",
                (STORE, number, GOOD),
            )
        if asked:
            self.quote(number, "12.30")
            self._set(number, "approval_asked_at = now()")
        if approved:
            self._set(number, "approved_at = '2026-01-02'")
        if carried:
            self.db.execute(
                "INSERT INTO fba.feed (store, document_id, claim_id, run_id, message_count) VALUES (%s, 'D', gen_random_uuid(), 'r', 1)",
                (STORE,),
            )
            self.db.execute(
                "INSERT INTO fba.feed_message (store, document_id, message_id, fr_number) VALUES (%s, 'D', 1, %s)",
                (STORE, number),
            )
        if stuck_since:
            self._set(number, f"stuck_since = '{stuck_since}'")
        if copy:
            self.db.execute("SELECT fba.resend(%s, %s)", (STORE, number))

    def _set(self, number: str, what: str) -> None:
        self.db.execute(f"UPDATE fba.fulfillment_request SET {what} WHERE fr_number = %s".encode(), (number,))

    def quote(self, number: str, fee: str) -> None:
        """Let Amazon quote this fee for it."""
        self.db.execute(
            "INSERT INTO fba.fulfillment_quote (store, fr_number, speed, quoted_at, fulfillable, fee, currency, chosen)"
            " VALUES (%s, %s, 'Standard', now(), true, %s, 'USD', true) ON CONFLICT (store, fr_number, speed)"
            " DO UPDATE SET fee = excluded.fee, quoted_at = excluded.quoted_at",
            (STORE, number, fee),
        )


@contextmanager
def requests_in(url: str) -> Iterator[Requests]:
    """Open the warehouse for them."""
    with psycopg.connect(url, autocommit=True) as db:
        yield Requests(as_product(db))


def rows(sql):
    """All requests and their timelines."""
    return sql("SELECT to_jsonb(r) FROM fba.fulfillment_request AS r ORDER BY fr_number").fetchall(), sql(
        "SELECT to_jsonb(e) FROM fba.request_event AS e ORDER BY n"
    ).fetchall()


def timeline(sql, number="FR-1"):
    """What happened to a request, who decided it, and who told it."""
    return sql("SELECT what, actor, source FROM fba.request_event WHERE fr_number = %s ORDER BY n", number).fetchall()
