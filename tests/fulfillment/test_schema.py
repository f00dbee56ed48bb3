"""The constraints that the database enforces on requests, for every writer; test_guard.py has those for others than the product."""

from __future__ import annotations

import itertools
import threading
import traceback

import psycopg
import pytest

from fba_operators.warehouse.database import begin
from tests.helpers import as_product

STATUSES = ("pending", "invalid", "sending", "submitted", "unknown", "accepted", "rejected", "cancelled")
FROZEN = ("sending", "submitted", "unknown", "accepted", "cancelled")
ALLOWED = {
    "pending": {"invalid", "sending"},
    "sending": {"submitted", "unknown", "pending", "accepted", "rejected"},
    "submitted": {"accepted", "rejected", "unknown", "pending", "cancelled"},
    "unknown": {"accepted", "rejected", "cancelled", "pending", "invalid", "submitted"},
    "accepted": {"rejected", "cancelled"},
    "invalid": {"pending"},
    "rejected": {"pending"},
    "cancelled": set(),
}


@pytest.fixture
def db(warehouse_url):
    """A connection of the product's."""
    with psycopg.connect(warehouse_url) as connection:
        as_product(connection)
        connection.autocommit = True
        yield connection


def add(db, number="FR-1", status="pending"):
    """A request with one line, in any status."""
    db.execute("INSERT INTO fba.fulfillment_request (store, fr_number, ship_to_name) VALUES ('s', %s, 'N')", (number,))
    db.execute("INSERT INTO fba.fulfillment_request_item VALUES ('s', %s, 1, 'SKU', 2)", (number,))
    for step in {
        "sending": ["sending"],
        "submitted": ["sending", "submitted"],
        "unknown": ["sending", "unknown"],
        "accepted": ["sending", "submitted", "accepted"],
        "rejected": ["sending", "submitted", "rejected"],
        "cancelled": ["sending", "unknown", "cancelled"],
        "invalid": ["invalid"],
    }.get(status, []):
        db.execute("UPDATE fba.fulfillment_request SET status = %s WHERE fr_number = %s", (step, number))


@pytest.mark.parametrize("before", STATUSES)
def test_only_the_documented_transitions_are_possible(db, before):
    for number, after in enumerate(STATUSES):
        add(db, f"FR-{number}", before)
        change = lambda number=number, after=after: db.execute(  # noqa: E731
            "UPDATE fba.fulfillment_request SET status = %s WHERE fr_number = %s", (after, f"FR-{number}")
        )
        if after == before or after in ALLOWED[before]:
            change()
        else:
            with pytest.raises(psycopg.errors.RaiseException, match=f"cannot go from {before} to {after}"):
                change()


def test_there_is_no_other_status(db):
    add(db)
    with pytest.raises(
        psycopg.errors.RaiseException, match="cannot go from pending to lost; from pending it can go to"
    ):
        db.execute("UPDATE fba.fulfillment_request SET status = 'lost'")
    with pytest.raises(psycopg.errors.CheckViolation):
        db.execute("INSERT INTO fba.fulfillment_request (store, fr_number, status) VALUES ('s', 'FR-2', 'lost')")


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE fba.fulfillment_request SET ship_to_name = 'Other'",
        "UPDATE fba.fulfillment_request SET ship_to_city = 'Added'",
        "UPDATE fba.fulfillment_request SET shipping_method = 'Priority'",
        "UPDATE fba.fulfillment_request SET order_comment = 'x'",
        "UPDATE fba.fulfillment_request SET created_at = now() - interval '1 day'",
        "UPDATE fba.fulfillment_request_item SET quantity = 3",
        "UPDATE fba.fulfillment_request_item SET unit_price = 3",
        "DELETE FROM fba.fulfillment_request_item",
        "INSERT INTO fba.fulfillment_request_item VALUES ('s', 'FR-1', 2, 'SKU', 1)",
    ],
)
def test_content_is_frozen_while_amazon_has_it(db, status, change):
    add(db, status=status)
    if status in FROZEN:
        with pytest.raises(psycopg.errors.RaiseException, match=f"is {status}: .*frozen.*cancel_requested_at"):
            db.execute(change)
    else:
        assert db.execute(change).rowcount == 1


@pytest.mark.parametrize("status", FROZEN)
def test_other_columns_can_be_written_at_any_time(db, status):
    add(db, status=status)
    db.execute("UPDATE fba.fulfillment_request SET cancel_requested_at = now(), status_reason = 'x', seller_id = 'S'")


def test_the_error_does_not_repeat_the_address(db):
    add(db, status="accepted")
    with pytest.raises(psycopg.errors.RaiseException) as caught:
        db.execute("UPDATE fba.fulfillment_request SET ship_to_name = 'Wilhelmina'")
    assert "Wilhelmina" not in str(caught.value)
    assert "ship_to_name" in str(caught.value)


@pytest.mark.parametrize("status", FROZEN)
def test_retention_may_delete_an_address_that_is_no_longer_needed(db, status):
    add(db, status=status)
    empty = lambda: db.execute("UPDATE fba.fulfillment_request SET ship_to_name = NULL")  # noqa: E731
    if status == "sending":
        with pytest.raises(psycopg.errors.RaiseException, match="frozen"):
            empty()
    else:
        empty()


def test_an_item_cannot_be_moved_into_a_frozen_request(db):
    add(db, "FR-1", "accepted")
    add(db, "FR-2")
    with pytest.raises(psycopg.errors.RaiseException, match=r"FR-1 .* frozen"):
        db.execute("UPDATE fba.fulfillment_request_item SET fr_number = 'FR-1', line = 9 WHERE fr_number = 'FR-2'")


@pytest.mark.parametrize("status", STATUSES)
def test_a_request_amazon_has_cannot_be_deleted(db, status):
    add(db, status=status)
    if status in FROZEN:
        with pytest.raises(psycopg.errors.RaiseException, match=r"frozen|cannot be deleted"):
            db.execute("DELETE FROM fba.fulfillment_request_item")
        with pytest.raises(psycopg.errors.RaiseException, match="cannot be deleted"):
            db.execute("DELETE FROM fba.fulfillment_request")
    else:
        db.execute("DELETE FROM fba.fulfillment_request_item")
        assert db.execute("DELETE FROM fba.fulfillment_request").rowcount == 1


def test_times_and_reasons_follow_the_status(db):
    add(db)
    db.execute("UPDATE fba.fulfillment_request SET waiting_reason = 'on hold'")
    db.execute("UPDATE fba.fulfillment_request SET status = 'invalid', status_reason = 'bad', attempts = 2")
    get = "SELECT waiting_reason, status_reason, attempts, resolved_at IS NOT NULL FROM fba.fulfillment_request"
    assert db.execute(get).fetchone() == (None, "bad", 2, True)
    db.execute("UPDATE fba.fulfillment_request SET status = 'pending'")
    assert db.execute(get).fetchone() == (None, None, 0, False)


def test_an_item_written_while_the_request_is_claimed_waits_and_is_refused(db, warehouse_url):
    """The claim reads the lines it freezes; no line may be added after that."""
    add(db)
    refused = []

    def write():
        with psycopg.connect(warehouse_url) as other:
            try:
                other.execute("INSERT INTO fba.fulfillment_request_item VALUES ('s', 'FR-1', 2, 'SKU', 1)")
            except psycopg.errors.RaiseException as error:
                refused.append(str(error))

    with psycopg.connect(warehouse_url) as claiming:
        as_product(claiming)
        claiming.execute("SELECT 1 FROM fba.fulfillment_request FOR UPDATE SKIP LOCKED")
        writer = threading.Thread(target=write)
        writer.start()
        for _ in itertools.repeat(None):
            waiting = db.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'").fetchone()[0]
            if waiting:
                break
        claiming.execute("UPDATE fba.fulfillment_request SET status = 'sending'")
    writer.join()
    assert len(refused) == 1
    assert "items are frozen" in refused[0]
    assert db.execute("SELECT count(*) FROM fba.fulfillment_request_item").fetchone() == (1,)


def test_a_store_has_one_open_feed(db):
    insert = "INSERT INTO fba.feed (store, document_id, claim_id, run_id, message_count) VALUES (%s, %s, gen_random_uuid(), 'r', 1)"
    db.execute(insert, ("s", "a"))
    db.execute(insert, ("other", "a"))
    with pytest.raises(psycopg.errors.UniqueViolation, match="one_open_feed_per_store"):
        db.execute(insert, ("s", "b"))
    db.execute("UPDATE fba.feed SET settled_at = now()")
    db.execute(insert, ("s", "b"))


def test_a_number_is_unique_per_seller(db):
    add(db)
    db.execute("INSERT INTO fba.fulfillment_request (store, fr_number, seller_id) VALUES ('other', 'FR-1', 'S')")
    with pytest.raises(psycopg.errors.UniqueViolation):
        db.execute("UPDATE fba.fulfillment_request SET seller_id = 'S' WHERE store = 's'")


def test_a_feed_is_submitted_only_after_its_upload(db):
    with pytest.raises(psycopg.errors.CheckViolation):
        db.execute(
            "INSERT INTO fba.feed (store, document_id, claim_id, run_id, message_count, submit_started_at)"
            " VALUES ('s', 'd', gen_random_uuid(), 'r', 1, now())"
        )


def test_an_error_of_the_warehouse_does_not_quote_the_row(warehouse, warehouse_url):
    query = (
        "INSERT INTO fba.fulfillment_request (store, fr_number, ship_to_name, status) VALUES ('s', 'FR-1', %s, 'odd')"
    )
    name = "Jane Doe"
    with pytest.raises(psycopg.errors.CheckViolation, match="violates check constraint") as refused:  # noqa: SIM117
        with warehouse.connect() as db:
            db.execute(query, (name,))
    assert name not in "".join(traceback.format_exception(refused.value))
    with psycopg.connect(warehouse_url) as db, pytest.raises(psycopg.errors.CheckViolation, match=name):
        db.execute(query, (name,))  # psycopg's own error quotes it


def test_commits_are_durable_whatever_the_servers_default(warehouse, warehouse_url):
    name = psycopg.conninfo.conninfo_to_dict(warehouse_url)["dbname"]
    with psycopg.connect(warehouse_url) as db:
        db.execute(f"ALTER DATABASE {name} SET synchronous_commit = off".encode())
    with warehouse.connect() as db:
        assert db.execute("SHOW synchronous_commit").fetchone() == ("on",)
        db.commit()
        begin(db)
        assert db.execute("SHOW synchronous_commit").fetchone() == ("on",)


@pytest.mark.parametrize("status", ["submitted", "accepted", "rejected", "cancelled"])
def test_a_request_that_is_taken_over_comes_with_its_items(db, status):
    request = "INSERT INTO fba.fulfillment_request (store, fr_number, status) VALUES ('us', 'TAKEN-1', %s)"
    item = "INSERT INTO fba.fulfillment_request_item (store, fr_number, line, sku, quantity) VALUES ('us', 'TAKEN-1', %s, 'SKU', 1)"
    with db.transaction():
        db.execute(request, (status,))
        db.execute(item, (1,))
    if status in ("submitted", "accepted", "cancelled"):
        with pytest.raises(psycopg.errors.RaiseException, match="items are frozen"), db.transaction():
            db.execute(item, (2,))
