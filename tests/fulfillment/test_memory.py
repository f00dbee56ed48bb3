"""A warehouse that has forgotten: yesterday's tables are put back, at every point of a send, and nothing is sent twice."""

from __future__ import annotations

import os
from contextlib import suppress

import psycopg
import pytest

from fba_operators.errors import DecisionNeededError, RequestRefusedError, SellingPartnerError
from fba_operators.fulfillment.ledger import FeedLedger
from tests.fulfillment.test_interference import TABLES
from tests.helpers import place_order
from tests.sending import GOOD, SKIPPED, foreign_feed, submit, uploaded
from tests.stores import SELLER, US


class Backup:
    """A copy of the tables of sending."""

    def __init__(self, shop):
        self.shop, self.taken = shop, shop.passed
        self.rows = {}
        for table in TABLES:
            with shop.db.cursor().copy(f"COPY fba.{table} TO STDOUT") as out:
                self.rows[table] = b"".join(bytes(part) for part in out)

    def restore(self):
        with psycopg.connect(self.shop.url) as db:
            db.execute("SET session_replication_role = replica")
            for table, rows in self.rows.items():
                db.execute(f"DELETE FROM fba.{table}".encode())
                with db.cursor().copy(f"COPY fba.{table} FROM STDIN") as into:
                    into.write(rows)
        self.shop.make_rows_older(self.shop.passed - self.taken)


def settled(shop, runs=6):
    """Let later runs find out what became of everything."""
    for _ in range(runs):
        with suppress(SellingPartnerError):
            shop.send(attempts=3)
        shop.pass_time(21)


class Interrupted:
    """Does something once, before the nth statement of the ledger."""

    def __init__(self, patch):
        self.count, self.at, self.action = 0, None, None
        real = FeedLedger.run

        def run(ledger, db, name, **values):
            self.count += 1
            if self.at == self.count and self.action:
                action, self.action = self.action, None
                action()
            return real(ledger, db, name, **values)

        patch.setattr(FeedLedger, "run", run)

    def arm(self, at, action):
        self.count, self.at, self.action = 0, at, action


STRIDE = 1 if os.environ.get("FBA_FAULTS") else 8


@pytest.mark.parametrize("taken_after", [None, "claim", "upload", "submit"])
@pytest.mark.parametrize("killed", [False, True], ids=["goes on", "killed"])
def test_older_tables_put_back_at_every_point_of_a_send(shop, monkeypatch, taken_after, killed):
    """The backup was taken before the send, or in the middle of it; the process goes on without noticing, or dies."""
    interrupted = Interrupted(monkeypatch)
    points = 0
    for at in range(1, 200, STRIDE):
        number = shop.add(f"FR-{at}")
        backup = None
        if taken_after:
            shop.send(until=taken_after)
            backup = Backup(shop)
            shop.sql("UPDATE fba.feed SET run_id = 'run-' || %s WHERE settled_at IS NULL", str(next(shop.runs) + 1))
        else:
            backup = Backup(shop)

        def act(backup=backup):
            # Only rows that no open transaction of the send holds can be put back while it goes on.
            with psycopg.connect(shop.url) as db:
                db.execute("SET lock_timeout = '50ms'")
                try:
                    db.execute("SELECT 1 FROM fba.fulfillment_request FOR UPDATE NOWAIT")
                    db.execute("SELECT 1 FROM fba.feed FOR UPDATE NOWAIT")
                except psycopg.errors.LockNotAvailable:
                    return
            backup.restore()
            if killed:
                raise SystemExit("killed")

        interrupted.arm(at, act)
        with suppress(SellingPartnerError, psycopg.Error, SystemExit, ValueError):
            shop.send(attempts=2)
        reached = interrupted.action is None
        interrupted.action = None
        settled(shop)
        assert shop.orders_made()[number] == 1, (at, shop.get(number))
        assert shop.get(number).status == "accepted", (at, shop.get(number))
        if not reached:
            break
        points += 1
    assert points * STRIDE > 20


def test_yesterdays_tables(shop):
    """Sent, accepted, rejected, cancelled and new requests, after the tables of before all of it were put back."""
    shop.stock("NOT-AT-AMAZON", 5)
    for number in ("SENT-1", "SENT-2", "CANCELLED"):
        shop.add(number)
    shop.add("REJECTED", [("NOT-AT-AMAZON", 1)])
    backup = Backup(shop)
    shop.send()
    shop.sql("UPDATE fba.fulfillment_request SET cancel_requested_at = now() WHERE fr_number = 'CANCELLED'")
    shop.send()
    shop.add("LATER")
    shop.pass_time(60)
    shop.send()
    shop.pass_time(24 * 60)
    backup.restore()
    shop.add("NEW")
    shop.add("LATER")  # the merchant's system inserts again what is gone
    settled(shop)
    assert shop.statuses() == {
        "CANCELLED": "cancelled",
        "LATER": "accepted",
        "NEW": "accepted",
        "REJECTED": "rejected",
        "SENT-1": "accepted",
        "SENT-2": "accepted",
    }
    assert shop.orders_made() == {"SENT-1": 1, "SENT-2": 1, "CANCELLED": 1, "LATER": 1, "NEW": 1, "REJECTED": 0}


def test_a_request_that_is_inserted_again_days_after_the_restore_is_not_sent_again(shop):
    shop.add("FR-1")
    backup = Backup(shop)
    shop.sql("DELETE FROM fba.fulfillment_request_item; DELETE FROM fba.fulfillment_request")
    empty = Backup(shop)
    backup.restore()
    shop.send()
    shop.pass_time(60)
    empty.restore()
    shop.add("FR-2")
    settled(shop)
    shop.pass_time(3 * 24 * 60)
    shop.add("FR-1")
    settled(shop)
    assert shop.statuses() == {"FR-1": "accepted", "FR-2": "accepted"}
    assert shop.orders_made() == {"FR-1": 1, "FR-2": 1}


@pytest.mark.parametrize("protected", [False, True])
def test_a_request_that_was_changed_after_the_copy_is_not_taken_for_the_order(shop, protected):
    shop.amazon.world.set_order_answers(repeated_id="refuse" if protected else "second_order")
    shop.add("FR-1", [(GOOD, 1)])
    backup = Backup(shop)
    shop.sql("UPDATE fba.fulfillment_request_item SET quantity = 2")
    shop.send()
    backup.restore()
    settled(shop)
    assert (shop.get("FR-1").status, shop.orders_made()) == ("invalid", {"FR-1": 1})
    assert "already used at Amazon" in shop.get("FR-1").status_reason


def test_a_rejection_is_looked_behind_although_the_request_was_never_sent_before(shop, monkeypatch):
    """As far as the warehouse knows; and the comparison of feeds has not helped."""
    shop.amazon.world.set_order_answers(repeated_id="refuse")
    place_order(shop.amazon, "FR-1", [(GOOD, 1)])
    shop.add("FR-1")
    assert shop.send() == {"accepted": 1}
    assert shop.orders_made() == {"FR-1": 1}


def test_a_rejection_of_anothers_order_says_so(shop):
    shop.amazon.world.set_order_answers(repeated_id="refuse")
    place_order(shop.amazon, "FR-1", [(GOOD, 7)])
    shop.add("FR-1")
    assert shop.send() == {"rejected": 1}
    assert "already used at Amazon for another order" in shop.get("FR-1").status_reason


# A person decides


def test_a_request_whose_feed_alone_is_forgotten_is_looked_up_when_a_person_sets_it_to_pending(shop):
    """The list of orders leaves it out while it counts as submitted, and is not read again once it is pending."""
    shop.amazon.world.set_order_answers(repeated_id="second_order")
    shop.add("FR-0")
    shop.send()
    shop.pass_time(31)
    shop.add("FR-1")
    backup = Backup(shop)
    shop.send(until="submit")
    shop.pass_time(300)
    backup.rows = {table: backup.rows[table] for table in ("feed", "feed_message")}
    backup.restore()
    for number in ("FR-2", "FR-3"):  # with the second one the forgotten feed is done with
        shop.add(number)
        settled(shop)
    assert shop.statuses() == {"FR-0": "accepted", "FR-1": "submitted", "FR-2": "accepted", "FR-3": "accepted"}
    shop.sql("UPDATE fba.fulfillment_request SET status = 'pending' WHERE fr_number = 'FR-1'")
    settled(shop)
    assert shop.get("FR-1").status == "accepted"
    assert shop.orders_made() == {"FR-0": 1, "FR-1": 1, "FR-2": 1, "FR-3": 1}


def test_a_request_that_was_searched_for_in_vain_is_looked_up_again_when_a_person_sets_it_to_pending(shop):
    shop.amazon.world.set_order_answers(repeated_id="second_order")
    shop.add("FR-1")
    shop.amazon.world.add_fault("createFeed", "reset_before", times=3)
    settled(shop, 30)
    assert (shop.get("FR-1").status, shop.orders_made()) == ("unknown", {})
    place_order(shop.amazon, "FR-1", [(GOOD, 1)])  # an attempt arrived after all
    shop.sql("UPDATE fba.fulfillment_request SET status = 'pending'")
    settled(shop)
    assert (shop.get("FR-1").status, shop.orders_made()) == ("accepted", {"FR-1": 1})


@pytest.mark.parametrize(
    "tables", [("fulfillment_request", "fulfillment_request_item"), TABLES[:4]], ids=["requests", "and feeds"]
)
def test_some_tables_put_back_alone(shop, tables):
    """The feeds, or only how far they were compared, are as new as ever."""
    shop.add("FR-0")
    shop.send()
    shop.pass_time(31)
    shop.add("FR-1")
    backup = Backup(shop)
    shop.send()
    shop.pass_time(300)
    shop.add("FR-2")
    # Compared, and then refused: Amazon has no feed after that of FR-1 which would lead back to it.
    shop.amazon.world.add_fault(
        "createFeed", "status", status=400, body={"errors": [{"code": "InvalidInput"}]}, times=1
    )
    with pytest.raises(RequestRefusedError):
        shop.send()
    shop.pass_time(31)
    backup.rows = {table: rows for table, rows in backup.rows.items() if table in tables}
    keep = shop.sql("SELECT store, checked_until, token, last_claim FROM fba.feed_check")
    backup.restore()
    shop.sql("UPDATE fba.feed_check SET checked_until = %s", keep[0][1])
    with suppress(psycopg.errors.UniqueViolation):
        shop.add("FR-2")
    settled(shop)
    assert shop.statuses() == {"FR-0": "accepted", "FR-1": "accepted", "FR-2": "accepted"}
    assert shop.orders_made() == {"FR-0": 1, "FR-1": 1, "FR-2": 1}


def test_a_cancellation_after_a_restore_reaches_the_order(shop):
    """Nothing else is to be sent, so no createFeed would compare."""
    shop.add("FR-1")
    backup = Backup(shop)
    shop.send()
    shop.pass_time(1)
    backup.restore()
    shop.sql("UPDATE fba.fulfillment_request SET cancel_requested_at = now()")
    for _ in range(2):
        shop.send()
    assert shop.get("FR-1").status == "cancelled"
    assert shop.amazon.world.orders(SELLER)["FR-1"]["status"] == "Cancelled"


def test_a_number_of_anothers_order_is_not_sent_when_it_is_set_back(shop):
    place_order(shop.amazon, "FR-1", [(GOOD, 7)])
    foreign_feed()
    shop.amazon.world.advance(60)
    shop.add("FR-1")
    settled(shop, 2)
    assert shop.get("FR-1").status == "invalid"
    remedy = shop.sql("SELECT remedy FROM fba.needs_attention WHERE subject = 'FR-1'")[0][0]
    assert "another number" in remedy
    shop.pass_time(120)
    shop.sql("UPDATE fba.fulfillment_request SET status = 'pending'")
    settled(shop, 3)
    assert shop.get("FR-1").status == "invalid"
    assert shop.orders_made() == {"FR-1": 1}


# Other programs' feeds


def test_the_feeds_of_another_program_hold_up_nobody_for_long(shop):
    """One every ten minutes, for a day: each request goes out in the next run."""
    for number in range(12):
        shop.amazon.world.foreign_feed(SELLER, US, {f"THEIRS-{number}": {GOOD: 1}})
        shop.amazon.world.advance(60)
        shop.add(f"FR-{number}")
        assert shop.send() == {"accepted": 1}, shop.summary()
        shop.pass_time(10)
    assert set(shop.orders_made().values()) == {1}


def test_an_unfinished_feed_that_nobody_knows_is_waited_for(shop):
    feed_id = shop.amazon.world.foreign_feed(SELLER, US, {"FR-1": {GOOD: 1}}, hangs=True)
    shop.add("FR-1")
    assert shop.send() is SKIPPED
    assert f"feed {feed_id}, which the ledger does not know" in shop.summary()
    shop.pass_time(21)
    assert shop.send() is SKIPPED
    assert feed_id in shop.get("FR-1").waiting_reason
    shop.amazon.world.release_hung_feeds()
    shop.amazon.world.advance(600)
    settled(shop)
    assert (shop.get("FR-1").status, shop.orders_made()) == ("accepted", {"FR-1": 1})


def test_after_four_hours_it_holds_up_only_what_may_be_in_it(shop):
    feed_id = shop.amazon.world.foreign_feed(SELLER, US, {"FR-1": {GOOD: 1}}, hangs=True)
    shop.add("FR-1")
    assert shop.send() is SKIPPED
    shop.pass_time(4 * 60 + 1)
    shop.add("FR-2")
    shop.send()
    shop.pass_time(1)
    shop.send()
    assert shop.statuses() == {"FR-1": "pending", "FR-2": "accepted"}
    assert "set cleared_at in fba.foreign_feed" in shop.get("FR-1").waiting_reason
    shop.pass_time(2 * 60)
    needs = shop.sql("SELECT code, subject FROM fba.needs_attention WHERE subject = 'FR-1'")
    assert needs == [("waiting_long", "FR-1")]
    shop.sql("UPDATE fba.foreign_feed SET cleared_at = now() WHERE feed_id = %s", feed_id)
    shop.amazon.world.release_hung_feeds()
    settled(shop)
    assert shop.get("FR-1").status == "accepted"


def test_a_feed_of_another_program_is_looked_at_once(shop):
    """Comparing costs one getFeeds for each send, and a list of orders only until the feed's orders must be in it."""
    foreign_feed()
    shop.amazon.world.advance(60)
    for number in range(4):
        shop.add(f"FR-{number}")
        assert shop.send() == {"accepted": 1}
        shop.pass_time(31)
    assert shop.calls_of("getFeeds") == 4
    assert shop.calls_of("listAllFulfillmentOrders") <= 3
    assert shop.sql("SELECT count(*) FROM fba.foreign_feed WHERE cleared_at IS NULL") == [(0,)]


def test_a_feed_whose_id_the_warehouse_forgot_is_reported_by_who_sent_it(shop, monkeypatch):
    claim_id = uploaded(shop)
    backup = Backup(shop)
    with psycopg.connect(shop.url) as db:
        db.execute("SET session_replication_role = replica")
        db.execute("DELETE FROM fba.feed_message")
        db.execute("DELETE FROM fba.feed")
    empty = Backup(shop)
    backup.restore()
    real = FeedLedger.record_submitted

    def forgotten(ledger, claim, feed_id):
        empty.restore()
        real(ledger, claim, feed_id)

    monkeypatch.setattr(FeedLedger, "record_submitted", forgotten)
    with pytest.raises(DecisionNeededError, match=r"Amazon made feed \d+, but the warehouse does not have the claim"):
        submit(shop, claim_id)


def test_an_answer_that_says_nothing_holds_a_request_only_as_long_as_it_lasts(shop):
    """Neither sent on it, nor taken for an order at Amazon and held for ever."""
    foreign_feed()
    shop.amazon.world.advance(60)
    shop.add("FR-1")
    shop.amazon.world.add_fault("getFulfillmentOrder", "status", status=413, body={}, times=None)
    assert shop.send() is SKIPPED
    assert "did not say whether it has an order" in shop.summary()
    assert (shop.get("FR-1").status, shop.orders_made()) == ("pending", {})
    shop.amazon.world.clear_faults()
    assert shop.send() == {"accepted": 1}


def test_a_comparison_with_other_tables_than_these_allows_nothing(shop, monkeypatch):
    """The tables were put back between the comparison and the intent: what was compared is not what would be sent."""
    claim_id = uploaded(shop)
    real = FeedLedger.record_intent

    def later(ledger, *arguments, **keywords):
        shop.sql("UPDATE fba.feed_check SET token = gen_random_uuid()")
        return real(ledger, *arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(FeedLedger, "record_intent", later)
        assert submit(shop, claim_id) is SKIPPED
    assert (shop.amazon.world.feed_count, shop.get("FR-1").status) == (0, "pending")
    assert shop.send() == {"accepted": 1}
