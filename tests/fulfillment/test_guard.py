"""What the database lets others than the product do with requests: a merchant's hands, an ETL, an ORM that writes whole rows."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import psycopg
import pytest

from tests.fulfillment.test_schema import FROZEN, STATUSES, add
from tests.helpers import as_product

# Of those on their way no open feed carries any here: a feed that does is what forbids it.
BY_HAND = {
    "invalid": {"pending"},
    "rejected": {"pending"},
    "sending": {"pending"},
    "submitted": {"pending", "accepted", "rejected"},
    "unknown": {"pending", "accepted", "rejected"},
}


@pytest.fixture
def product(warehouse_url):
    with psycopg.connect(warehouse_url) as connection:
        as_product(connection)
        connection.autocommit = True
        yield connection


@pytest.fixture
def other(warehouse_url):
    """Somebody else's connection."""
    with psycopg.connect(warehouse_url, autocommit=True) as connection:
        yield connection


def carry(product, number="FR-1", *, settled=False):
    """Let a feed carry a request."""
    product.execute(
        "INSERT INTO fba.feed (store, document_id, claim_id, run_id, message_count, settled_at)"
        " VALUES ('s', %s, gen_random_uuid(), 'r', 1, %s)",
        (f"D-{number}", datetime.now(UTC) if settled else None),
    )
    product.execute(
        "INSERT INTO fba.feed_message (store, document_id, message_id, fr_number) VALUES ('s', %s, 1, %s)",
        (f"D-{number}", number),
    )


@pytest.mark.parametrize("before", STATUSES)
def test_by_hand_a_status_changes_only_where_a_person_decides(product, other, before):
    for number, after in enumerate(STATUSES):
        add(product, f"FR-{number}", before)
        set_status = (b"UPDATE fba.fulfillment_request SET status = %s WHERE fr_number = %s", (after, f"FR-{number}"))
        if after == before or after in BY_HAND.get(before, ()):
            other.execute(*set_status)
        else:
            with pytest.raises(psycopg.errors.RaiseException, match=r"column status|cannot go from") as refused:
                other.execute(*set_status)
            assert f"FR-{number}" in str(refused.value)


@pytest.mark.parametrize("after", ["pending", "accepted", "rejected"])
def test_an_unknown_request_is_decided_by_hand_only_when_no_run_looks_for_it_any_more(product, other, after):
    add(product, status="unknown")
    carry(product)
    decide = (b"UPDATE fba.fulfillment_request SET status = %s", (after,))
    with pytest.raises(psycopg.errors.RaiseException, match=r"from unknown to .* by hand yet: .* still look"):
        other.execute(*decide)
    product.execute("UPDATE fba.fulfillment_request SET stuck_since = now()")
    other.execute(*decide)
    assert other.execute("SELECT status, stuck_since FROM fba.fulfillment_request").fetchone() == (after, None)


def test_a_request_that_an_order_carries_is_not_decided_by_hand(product, other):
    add(product, status="unknown")
    product.execute(
        "INSERT INTO fba.outbound_order (claim_id, batch_id, run_id, store, fr_number, seller_id, marketplace_id, endpoint, features,"
        " held, content_digest, intent_at) VALUES (gen_random_uuid(), gen_random_uuid(), 'r', 's', 'FR-1', 'S', 'M', 'E', '{}', false,"
        " '', now())"
    )
    product.execute("UPDATE fba.fulfillment_request SET claim_id = (SELECT claim_id FROM fba.outbound_order)")
    with pytest.raises(psycopg.errors.RaiseException, match="still look"):
        other.execute("UPDATE fba.fulfillment_request SET status = 'accepted'")
    for statement in ("DELETE FROM fba.outbound_order", "TRUNCATE fba.outbound_order"):
        with pytest.raises(psycopg.errors.RaiseException, match=r"not settled|cannot be truncated"):
            other.execute(statement.encode())
    product.execute("UPDATE fba.outbound_order SET settled_at = now()")
    other.execute("UPDATE fba.fulfillment_request SET status = 'accepted'")


@pytest.mark.parametrize(
    "change",
    ["channel = 'x'", "packaging = 'any'", "signature = true", "deliver_by = now()", "block_amazon_logistics = false"],
)
@pytest.mark.parametrize("status", FROZEN)
def test_wishes_are_frozen_with_the_content(product, other, status, change):
    add(product, status=status)
    for db in (product, other):
        with pytest.raises(psycopg.errors.RaiseException, match="content is frozen"):
            db.execute(f"UPDATE fba.fulfillment_request SET {change}".encode())


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("approved_fee = 5", "only the product writes approved_fee"),
        ("approval_asked_at = now()", "only the product writes approval_asked_at"),
        ("packaging = 'gold'", "packaging must be any or unbranded"),
        ("deliver_by = 'infinity'", "deliver_by must be a time between"),
        ("approved_at = '1999-01-01'", "approved_at must be a time between"),
    ],
)
def test_what_others_may_not_write_into_a_pending_request(product, other, change, why):
    add(product)
    with pytest.raises(psycopg.Error, match=why):
        other.execute(f"UPDATE fba.fulfillment_request SET {change}".encode())


def test_an_unknown_request_of_a_settled_feed_is_decided_by_hand(product, other):
    add(product, status="unknown")
    carry(product, settled=True)
    other.execute("UPDATE fba.fulfillment_request SET status = 'accepted'")


def test_an_orm_that_writes_whole_rows_back_is_told_which_column_and_why(product, other):
    """It read the row while it was pending."""
    add(product)
    carry(product)
    columns = [c.name for c in other.execute("SELECT * FROM fba.fulfillment_request").description]
    row = other.execute("SELECT * FROM fba.fulfillment_request").fetchone()
    product.execute(
        "UPDATE fba.fulfillment_request SET status = 'sending', claim_id = gen_random_uuid(), seller_id = 'S'"
    )
    for status in ("sending", "submitted"):
        product.execute("UPDATE fba.fulfillment_request SET status = %s", (status,))
        written = ", ".join(f"{name} = %s" for name in columns)
        with pytest.raises(
            psycopg.errors.RaiseException,
            match=rf"FR-1 of s: the column status cannot be set from {status} to pending by hand: it is on its way to Amazon.*"
            "must leave status out.*cancel_requested_at",
        ):
            other.execute(f"UPDATE fba.fulfillment_request SET {written}".encode(), row)
        rest = [(name, value) for name, value in zip(columns, row, strict=True) if name != "status"]
        written = ", ".join(f"{name} = %s" for name, _ in rest)
        with pytest.raises(psycopg.errors.RaiseException, match="only the product writes claim_id, seller_id"):
            other.execute(f"UPDATE fba.fulfillment_request SET {written}".encode(), [value for _, value in rest])
    assert other.execute("SELECT status FROM fba.fulfillment_request").fetchone() == ("submitted",)


def test_a_whole_row_written_back_unchanged_is_accepted(product, other):
    for status in STATUSES:
        add(product, f"FR-{status}", status)
    columns = [c.name for c in other.execute("SELECT * FROM fba.fulfillment_request").description]
    for row in other.execute("SELECT * FROM fba.fulfillment_request").fetchall():
        written = ", ".join(f"{name} = %s" for name in columns)
        other.execute(f"UPDATE fba.fulfillment_request SET {written} WHERE fr_number = %s".encode(), [*row, row[1]])


def test_what_proves_absence_is_not_written_by_hand(product, other):
    add(product, status="unknown")
    with pytest.raises(psycopg.errors.RaiseException, match="only the product writes absent_since"):
        other.execute("UPDATE fba.fulfillment_request SET absent_since = now() - interval '1 day'")


@pytest.mark.parametrize("table", ["fulfillment_request", "fulfillment_request_item", "feed", "feed_message"])
@pytest.mark.parametrize("status", STATUSES)
def test_nothing_is_truncated_while_amazon_has_it(product, other, table, status):
    add(product, status=status)
    truncate = f"TRUNCATE fba.{table} CASCADE".encode()
    if status in FROZEN:
        with pytest.raises(psycopg.errors.RaiseException, match=rf"cannot be truncated: request FR-1 of s is {status}"):
            other.execute(truncate)
    else:
        other.execute(truncate)


def test_a_feed_is_not_deleted_before_it_is_settled(product, other):
    add(product)
    carry(product)
    with pytest.raises(psycopg.errors.RaiseException, match="cannot be deleted before the feed is settled"):
        other.execute("DELETE FROM fba.feed_message")
    product.execute(
        "INSERT INTO fba.feed (store, document_id, claim_id, run_id, message_count) VALUES ('t', 'd', gen_random_uuid(), 'r', 0)"
    )
    with pytest.raises(psycopg.errors.RaiseException, match="not settled and cannot be deleted"):
        other.execute("DELETE FROM fba.feed WHERE store = 't'")
    product.execute("UPDATE fba.feed SET settled_at = now()")
    other.execute("DELETE FROM fba.feed_message")
    other.execute("DELETE FROM fba.feed")


@pytest.mark.parametrize("moment", ["infinity", "-infinity", "1999-12-31", "2100-01-02", "9999-12-31"])
def test_impossible_times_are_refused(product, other, moment):
    with pytest.raises(
        psycopg.errors.CheckViolation, match=r"FR-1 of s: created_at must be a time between 2000-01-01 and 2100-01-01"
    ):
        other.execute(
            "INSERT INTO fba.fulfillment_request (store, fr_number, created_at) VALUES ('s', 'FR-1', %s::timestamptz)",
            (moment,),
        )
    add(product)
    with pytest.raises(
        psycopg.errors.CheckViolation, match=r"FR-1 of s: created_at must be a time between 2000-01-01 and 2100-01-01"
    ):
        other.execute("UPDATE fba.fulfillment_request SET created_at = %s::timestamptz", (moment,))


@pytest.mark.parametrize("price", ["NaN", "Infinity", "-Infinity"])
def test_prices_are_numbers(product, other, price):
    add(product)
    with pytest.raises(psycopg.errors.CheckViolation, match=r"FR-1 of s, line 1: unit_price must be a finite number"):
        other.execute("UPDATE fba.fulfillment_request_item SET unit_price = %s", (Decimal(price),))
    other.execute("UPDATE fba.fulfillment_request_item SET unit_price = NULL")


def test_every_time_in_the_warehouse_is_checked(other):
    unchecked = other.execute("""
        SELECT c.table_name, c.column_name FROM information_schema.columns AS c
        JOIN information_schema.tables AS t USING (table_schema, table_name)
        WHERE c.table_schema = 'fba' AND t.table_type = 'BASE TABLE' AND c.data_type = 'timestamp with time zone'
          AND c.is_generated = 'NEVER' AND NOT EXISTS (
              SELECT FROM pg_constraint AS k WHERE k.conrelid = ('fba.' || c.table_name)::regclass AND k.contype = 'c'
                AND pg_get_constraintdef(k.oid) ~ ('\\m' || c.column_name || '\\M.*2100-01-01'))
    """).fetchall()
    assert unchecked == []


@pytest.mark.parametrize("name", ["fr_number", "store", "created_at", "status"])
def test_what_is_missing_is_named_and_the_row_is_not_quoted(other, name):
    columns = {
        "store": "s",
        "fr_number": "FR-1",
        "ship_to_name": "Wilhelmina",
        "created_at": "2026-01-01",
        "status": "pending",
        name: None,
    }
    names, marks = ", ".join(columns), ", ".join(["%s"] * len(columns))
    with pytest.raises(psycopg.errors.NotNullViolation, match=f"{name} must not be null") as refused:
        other.execute(
            f"INSERT INTO fba.fulfillment_request ({names}) VALUES ({marks})".encode(), list(columns.values())
        )
    assert "Wilhelmina" not in str(refused.value)


@pytest.mark.parametrize("status", ["sending", "submitted"])
def test_a_request_in_flight_that_no_feed_carries_can_be_put_right_by_hand(product, other, status):
    """It was inserted like that, or the feed's row is gone with an older copy of its table."""
    add(product, status=status)
    assert other.execute("SELECT code, subject FROM fba.needs_attention WHERE code = 'stuck'").fetchall() == [
        ("stuck", "FR-1")
    ]
    other.execute("UPDATE fba.fulfillment_request SET status = 'pending'")


# fba.resend


def test_a_request_that_was_sent_again_does_not_become_pending_too(product, other):
    add(product, status="rejected")
    give_address(product)
    other.execute("SELECT fba.resend('s', 'FR-1')")
    with pytest.raises(
        psycopg.errors.RaiseException, match="FR-1 of s cannot become pending: it was sent again as FR-1-2"
    ):
        other.execute("UPDATE fba.fulfillment_request SET status = 'pending' WHERE fr_number = 'FR-1'")
    for status in ("sending", "submitted", "rejected"):
        product.execute("UPDATE fba.fulfillment_request SET status = %s WHERE fr_number = 'FR-1-2'", (status,))
    other.execute("SELECT fba.resend('s', 'FR-1')")
    with pytest.raises(
        psycopg.errors.RaiseException, match="FR-1-2 of s cannot become pending: it was sent again as FR-1-3"
    ):
        other.execute("UPDATE fba.fulfillment_request SET status = 'pending' WHERE fr_number = 'FR-1-2'")


@pytest.mark.parametrize("status", ["cancelled", "rejected"])
def test_a_request_is_sent_again_under_a_number_of_its_own(product, other, status):
    add(product, status=status)
    give_address(product)
    assert other.execute("SELECT fba.resend('s', 'FR-1')").fetchone() == ("FR-1-2",)
    row = other.execute(
        "SELECT status, resend_of, displayable_order_number, ship_to_name FROM fba.fulfillment_request WHERE fr_number = 'FR-1-2'"
    ).fetchone()
    assert row == ("pending", "FR-1", "FR-1", "N")
    items = other.execute(
        "SELECT sku, quantity FROM fba.fulfillment_request_item WHERE fr_number = 'FR-1-2'"
    ).fetchall()
    assert items == [("SKU", 2)]
    with pytest.raises(psycopg.errors.RaiseException, match="sent again already, as FR-1-2"):
        other.execute("SELECT fba.resend('s', 'FR-1')")


def give_address(db):
    """Give every request an address, whatever its status: these were inserted without one."""
    db.execute("ALTER TABLE fba.fulfillment_request DISABLE TRIGGER guard")
    db.execute("UPDATE fba.fulfillment_request SET ship_to_address_1 = '1 Road'")
    db.execute("ALTER TABLE fba.fulfillment_request ENABLE TRIGGER guard")


def test_a_resend_that_failed_is_sent_again_as_the_third(product, other):
    add(product, status="rejected")
    give_address(product)
    other.execute("SELECT fba.resend('s', 'FR-1')")
    product.execute("UPDATE fba.fulfillment_request SET status = 'sending' WHERE fr_number = 'FR-1-2'")
    product.execute("UPDATE fba.fulfillment_request SET status = 'submitted' WHERE fr_number = 'FR-1-2'")
    product.execute("UPDATE fba.fulfillment_request SET status = 'rejected' WHERE fr_number = 'FR-1-2'")
    assert other.execute("SELECT fba.resend('s', 'FR-1-2')").fetchone() == ("FR-1-3",)
    assert other.execute("SELECT resend_of FROM fba.fulfillment_request WHERE fr_number = 'FR-1-3'").fetchone() == (
        "FR-1",
    )


@pytest.mark.parametrize("status", [status for status in STATUSES if status not in ("cancelled", "rejected")])
def test_what_may_still_be_shipped_is_not_sent_again(product, other, status):
    add(product, status=status)
    with pytest.raises(
        psycopg.errors.RaiseException, match=f"FR-1 of s is {status}: only one that is cancelled or rejected"
    ):
        other.execute("SELECT fba.resend('s', 'FR-1')")


def test_without_its_address_a_request_is_not_sent_again(product, other):
    add(product, status="cancelled")
    with pytest.raises(psycopg.errors.RaiseException, match="has no address any more"):
        other.execute("SELECT fba.resend('s', 'FR-1')")
    with pytest.raises(psycopg.errors.RaiseException, match="no request FR-9"):
        other.execute("SELECT fba.resend('s', 'FR-9')")


def test_parcels_of_a_request_that_was_sent_again_count_for_both_numbers(product, other):
    add(product, status="cancelled")
    give_address(product)
    other.execute("SELECT fba.resend('s', 'FR-1')")
    for status in ("sending", "submitted", "accepted"):
        product.execute("UPDATE fba.fulfillment_request SET status = %s WHERE fr_number = 'FR-1-2'", (status,))
    product.execute(
        "INSERT INTO fba.shipment_item (store, item_key, order_id, fr_number, sku, quantity, tracking_number)"
        " VALUES ('s', 'k', 'S01-1', 'FR-1-2', 'SKU', 2, 'T1')"
    )
    progress = other.execute(
        "SELECT fr_number, sku, ordered, shipped, status, tracking_numbers FROM fba.fulfillment_progress ORDER BY fr_number"
    ).fetchall()
    assert progress == [(number, "SKU", 2, 2, "complete", ["T1"]) for number in ("FR-1", "FR-1-2")]
