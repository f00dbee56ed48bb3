"""The fence: createFeed is called only by who may, and only within a minute of the intent; other clocks decide nothing."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import psycopg
import pytest
import time_machine

from fba_operators.amazon import transport
from fba_operators.errors import DecisionNeededError, UnavailableError
from fba_operators.fulfillment.ledger import FeedLedger
from fba_operators.operators import SubmitFeedOperator, UploadFeedOperator
from fba_operators.warehouse import statements
from fba_operators.warehouse.database import Warehouse
from tests.sending import GOOD, SKIPPED, claimed, submit, uploaded
from tests.stores import STORE

BODY = transport.FencedBody.read


def before_the_body(patch, action):
    """Do something when Amazon has the headers of createFeed, and nothing of its body."""

    def read(body, size=-1, /):
        if body.tell() == 0:
            action()
        return BODY(body, size)

    patch.setattr(transport.FencedBody, "read", read)


def lock_holders(shop):
    """End every session that waits inside a transaction, as the server does after ten minutes."""
    shop.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND state = 'idle in transaction'"
    )


def older_intent(shop, seconds):
    shop.sql(f"UPDATE fba.feed SET submit_started_at = submit_started_at - make_interval(secs => {seconds})")


def asleep(patch):
    """By the clock of the module that looks; that of the sandbox goes on."""
    patch.setattr("fba_operators.operators.feeds.time", SimpleNamespace(monotonic=lambda: 10**9, sleep=time.sleep))


INTERRUPTIONS = {
    "it slept by the monotonic clock": lambda shop, patch: asleep(patch),
    "it slept by the database's clock": lambda shop, patch: older_intent(shop, 61),
    "its session was cut": lambda shop, patch: lock_holders(shop),
    "another run took it for lost": lambda shop, patch: FeedLedger(Warehouse(), STORE).record_lost_answer(
        shop.sql("SELECT claim_id::text FROM fba.feed WHERE settled_at IS NULL")[0][0]
    ),
}


@pytest.mark.parametrize("what", INTERRUPTIONS)
def test_a_process_that_was_stopped_before_the_body_sends_nothing(shop, monkeypatch, what):
    claim_id = uploaded(shop)
    with monkeypatch.context() as patch:
        before_the_body(patch, lambda: INTERRUPTIONS[what](shop, patch))
        with pytest.raises(UnavailableError, match=r"stopped for too long|session that held the store's lock was cut"):
            submit(shop, claim_id)
    assert shop.amazon.world.feed_count == 0
    shop.pass_time(31)
    for _ in range(3):
        shop.send()
        shop.pass_time(11)
    assert shop.statuses() == {"FR-1": "accepted"}
    assert shop.orders_made() == {"FR-1": 1}


def test_the_intent_is_taken_back_when_nothing_was_sent(shop, monkeypatch):
    claim_id = uploaded(shop)
    with monkeypatch.context() as patch:
        before_the_body(patch, lambda: asleep(patch))
        with pytest.raises(UnavailableError):
            submit(shop, claim_id)
    assert shop.feeds() == [("CLAIMED", False)]
    assert submit(shop, claim_id) == claim_id
    assert shop.amazon.world.feed_count == 1


def test_the_intent_comes_after_token_and_quota(shop):
    shop.add("FR-0")
    shop.send()
    claim_id = uploaded(shop)
    shop.sql("UPDATE fba.rate_limit SET tokens = 0 WHERE bucket LIKE '%%:createFeed'")
    intents = []

    def waits(moment):
        intents.append(shop.sql("SELECT submit_started_at FROM fba.feed WHERE settled_at IS NULL"))
        shop.fill_quotas()

    operator = lambda: SubmitFeedOperator(task_id="submit", claim_id=claim_id)  # noqa: E731
    assert shop.task(operator, shop.context(), on_wait=waits) == claim_id
    assert intents == [[(None,)]]


@pytest.mark.parametrize(
    "change",
    {
        "its content": "UPDATE fba.fulfillment_request_item SET quantity = 9",
        "its address": "UPDATE fba.fulfillment_request SET ship_to_name = 'Somebody Else'",
        "its status": "UPDATE fba.fulfillment_request SET status = 'pending'",
        "its claim": "UPDATE fba.fulfillment_request SET claim_id = gen_random_uuid()",
        "its lines": "DELETE FROM fba.fulfillment_request_item WHERE line = 2",
    }.items(),
    ids=lambda change: change[0],
)
@pytest.mark.parametrize("step", ["upload", "submit"])
def test_what_somebody_changed_behind_the_rules_is_not_sent(shop, change, step):
    """With the triggers off, as in a logical replica or under DISABLE TRIGGER."""
    shop.add("FR-1", [(GOOD, 2), (GOOD, 3)])
    shop.add("FR-2")
    claim_id = shop.send(until="claim" if step == "upload" else "upload")
    with psycopg.connect(shop.url) as db:
        db.execute("SET session_replication_role = replica")
        db.execute(
            f"{change[1]} WHERE fr_number = 'FR-1'".replace("WHERE line = 2 WHERE", "WHERE line = 2 AND").encode()
        )
    operator = {"upload": UploadFeedOperator, "submit": SubmitFeedOperator}[step]
    if step == "upload" and change[0] in ("its status", "its claim"):
        with pytest.raises(ValueError, match="would not hold what was claimed"):
            shop.task(lambda: operator(task_id=step, claim_id=claim_id), shop.context())
    elif step == "submit":
        assert shop.task(lambda: operator(task_id=step, claim_id=claim_id), shop.context()) is SKIPPED
        assert "changed after it was claimed" in shop.summary()
    if step == "submit" or change[0] in ("its status", "its claim"):
        assert shop.amazon.world.feed_count == 0
        for _ in range(3):
            shop.send()
    else:
        shop.task(lambda: operator(task_id=step, claim_id=claim_id), shop.context())
        submit(shop, claim_id)
        shop.send()
    if change[0] != "its claim":  # a claim of no feed waits for a person
        assert shop.statuses() == {"FR-1": "accepted", "FR-2": "accepted"}
    made = shop.orders_made()
    assert made["FR-2"] == 1
    assert made.get("FR-1", 0) <= 1


def limit_lock(patch, limit):
    """Other limits for the store's lock than minutes."""
    real = statements.statement
    limited = f"SELECT set_config({limit}, true), set_config('fba.patience', %(patience)s, true)".encode()
    patch.setattr(statements, "statement", lambda name: limited if name == "warehouse.limit_lock" else real(name))


def test_a_store_that_another_task_holds_is_waited_for_deferred(shop, monkeypatch):
    claim_id = uploaded(shop)
    limit_lock(monkeypatch, "'lock_timeout', '100ms'")
    with psycopg.connect(shop.url) as held:
        held.execute("SELECT pg_advisory_xact_lock(hashtext('fba.feed'), hashtext(%s))", (STORE,))
        waited = []

        def waits(moment):
            waited.append(moment)
            held.rollback()

        operator = lambda: SubmitFeedOperator(task_id="submit", claim_id=claim_id)  # noqa: E731
        assert shop.task(operator, shop.context(), on_wait=waits) == claim_id
    assert len(waited) == 1
    assert timedelta(0) < waited[0] - datetime.now(UTC) < timedelta(minutes=1)


def test_who_holds_a_store_and_does_nothing_loses_it(shop, monkeypatch):
    """A frozen worker keeps its TCP connection: only the server's limit for idle transactions ends it."""
    ledger = FeedLedger(Warehouse(), STORE)

    def sleep_under_the_lock():
        with ledger.exclusively():
            time.sleep(0.5)
            ledger.now()

    with monkeypatch.context() as patch:
        limit_lock(patch, "'idle_in_transaction_session_timeout', '100ms'")
        with pytest.raises(UnavailableError, match="session that held the store's lock was cut"):
            sleep_under_the_lock()
    with FeedLedger(Warehouse(), STORE).exclusively():
        pass


# Late news about a claim says nothing about the claim that followed it


def test_a_late_feed_id_does_not_move_requests_of_a_newer_feed(shop):
    first = claimed(shop)
    shop.sql("UPDATE fba.feed SET uploaded_at = now(), submit_started_at = now(), settled_at = now(), status = 'LOST'")
    with shop._connect() as db:
        db.execute("UPDATE fba.fulfillment_request SET status = 'pending'")
    second = shop.send(until="claim")
    assert second != first
    with pytest.raises(DecisionNeededError, match=r"F-9 after its requests had been given up.*FR-1"):
        FeedLedger(Warehouse(), STORE).record_submitted(first, "F-9")
    assert shop.get("FR-1").status == "sending"
    assert str(shop.get("FR-1").claim_id) == second


def test_a_settler_that_slept_does_not_undo_a_newer_send(shop):
    """It has read that an order is absent; meanwhile the request was found absent, sent again, and its answer lost again."""
    ledger = FeedLedger(Warehouse(), STORE)
    first = uploaded(shop)
    shop.amazon.world.add_fault("createFeed", "reset_before", times=1)
    submit(shop, first)
    shop.pass_time(31)
    shop.send(until="settle")
    absent_since = shop.get("FR-1").absent_since
    shop.pass_time(11)
    shop.send(until="settle")
    assert shop.get("FR-1").status == "pending"
    shop.amazon.world.add_fault("createFeed", "reset_after", times=1)
    shop.send()
    assert shop.get("FR-1").status == "unknown"
    assert not ledger.record_not_arrived(first, "FR-1", absent_since, None)
    assert ledger.resolve_unknown([], first) == []
    ledger.record_absent(first, ["FR-1"], absent=True)
    row = shop.get("FR-1")
    assert (row.status, row.absent_since, row.attempts) == ("unknown", None, 1)


def test_a_settler_that_slept_does_not_use_an_absence_that_was_taken_back(shop):
    """Of the same claim: absent, then perhaps there, then absent anew. Ten minutes have not passed since then."""
    ledger = FeedLedger(Warehouse(), STORE)
    shop.amazon.world.add_fault("createFeed", "reset_before", times=1)
    claim_id = uploaded(shop)
    submit(shop, claim_id)
    ledger.record_absent(claim_id, ["FR-1"], absent=True)
    as_read = shop.get("FR-1").absent_since
    ledger.record_absent(claim_id, ["FR-1"], absent=False)
    assert not ledger.record_not_arrived(claim_id, "FR-1", as_read, None)
    ledger.record_absent(claim_id, ["FR-1"], absent=True)
    assert not ledger.record_not_arrived(claim_id, "FR-1", as_read, None)
    assert (shop.get("FR-1").status, shop.get("FR-1").attempts) == ("unknown", 0)
    assert ledger.record_not_arrived(claim_id, "FR-1", shop.get("FR-1").absent_since, None)
    assert shop.get("FR-1").status == "pending"


# Clocks


@contextmanager
def amazon_ahead(shop, seconds):
    """Let Amazon's clock be ahead of the database's and this process's."""
    shop.amazon.world.set_clock(ahead=seconds)
    yield


@contextmanager
def worker_ahead(shop, seconds):
    """Let this process's clock be ahead of the database's and Amazon's."""
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=seconds), tick=True):
        shop.amazon.world.set_clock(ahead=-seconds)  # it runs in this process
        yield


@pytest.mark.parametrize("arrived", [True, False])
@pytest.mark.parametrize("seconds", [-3600, 3600])
@pytest.mark.parametrize("whose", [amazon_ahead, worker_ahead], ids=["Amazon", "worker"])
def test_quiet_times_are_the_databases(shop, whose, seconds, arrived):
    """With another clock an hour off, an order is not looked up too early, not sent twice, and found."""
    with whose(shop, seconds):
        shop.amazon.world.add_fault("createFeed", "reset_after" if arrived else "reset_before")
        shop.add("FR-1")
        shop.send()
        assert shop.get("FR-1").status == "unknown"
        for minutes in (1, 28):
            shop.pass_time(minutes)
            shop.send()
            assert shop.calls_of("listAllFulfillmentOrders") == 0
        shop.pass_time(3)
        shop.send()
        assert shop.calls_of("listAllFulfillmentOrders") == 1
        assert shop.get("FR-1").status == ("accepted" if arrived else "unknown")
        shop.pass_time(9)
        shop.send()
        assert shop.get("FR-1").status == ("accepted" if arrived else "unknown")
        shop.pass_time(2)
        shop.send()
    assert shop.get("FR-1").status == "accepted"
    assert shop.orders_made() == {"FR-1": 1}
