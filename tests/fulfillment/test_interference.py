"""Many runs with everything that can interfere: kills, freezes, older tables put back, other writers, other programs, lost answers.

Amazon makes a second order of an id that it knows. Each good request becomes one order, or is named as needing a person.
"""

from __future__ import annotations

import os
import random
from contextlib import suppress
from datetime import timedelta

import psycopg
import pytest

from fba_operators.amazon import transport
from fba_operators.errors import SellingPartnerError
from fba_operators.fulfillment.memory import AT_AMAZON_ALL_THE_SAME
from fba_operators.operators import TrackOrdersOperator
from tests.fulfillment import test_crashes as by_feed
from tests.fulfillment import test_outbound_crashes as by_order
from tests.fulfillment.test_crashes import REFUSED, ProcessKiller
from tests.sending import GOOD
from tests.stores import SELLER, STORE, US

POINTS, STATEMENTS = by_feed.POINTS | by_order.POINTS, {*by_feed.STATEMENTS, *by_order.STATEMENTS}
FAULTS = [
    *by_feed.FAULTS,
    *(
        ("createFulfillmentOrder", kind)
        for kind in (
            *("reset_before", "reset_after", "reset_before", "reset_after", "500", "503", "error_after", "429"),
            *("expired_token", "status", "reset_before", "reset_after", "error_after", "reset_after"),
        )
    ),
    *(("updateFulfillmentOrder", kind) for kind in ("reset_before", "reset_after", "503")),
    *(("getFulfillmentPreview", kind) for kind in ("reset_before", "503", "429")),
]
# How stores.yaml is in each run, by the kind of campaign.
OUTBOUND = "transport: outbound"
SETTINGS = {
    "feed": ["transport: feed"],
    "outbound": [OUTBOUND, f"{OUTBOUND}, quote: true"],
    "held": [f"{OUTBOUND}, reserve: true, hold_hours: 4"],
    "either": ["transport: feed", OUTBOUND, OUTBOUND],
}
RUNS = 10_000 if os.environ.get("FBA_FAULTS") else 100
# Fifty runs each, with a new Amazon and a new warehouse; half as many of each kind that is not feed.
SEEDS = [(kind, seed) for kind in SETTINGS for seed in range(RUNS // 50 // (1 if kind == "feed" else 2))]
TABLES = (
    *("fulfillment_request", "fulfillment_request_item", "feed", "feed_message", "feed_check", "foreign_feed", "order_at_amazon"),
    *("outbound_order", "fulfillment_quote", "feature", "unanswered_number"),
)  # fmt: skip
REFUSALS = ("rejected", "invalid")
FREEZES = (*(point for point in POINTS if point != "claim"), "createFeed body")
NEEDS_A_PERSON = "SELECT subject FROM fba.needs_attention WHERE code IN ('stuck', 'unknown', 'waiting_long', 'slow_feed', 'rejected', 'invalid')"
# What a program of somebody else's tries; %s is a request's number. None of it is an order to send or not to send.
WRITES = (
    "UPDATE fba.fulfillment_request SET status = 'pending' WHERE fr_number = %s AND status IN ('sending', 'submitted', 'accepted')",
    "UPDATE fba.fulfillment_request SET status = 'accepted' WHERE fr_number = %s AND status IN ('pending', 'sending', 'submitted')",
    "UPDATE fba.fulfillment_request SET status = 'unknown', absent_since = now() - interval '1 day' WHERE fr_number = %s",
    "UPDATE fba.fulfillment_request SET order_comment = 'Thank you!' WHERE fr_number = %s",
    "UPDATE fba.fulfillment_request SET claim_id = NULL, seller_id = NULL WHERE fr_number = %s AND status <> 'pending'",
    "UPDATE fba.fulfillment_request_item SET quantity = quantity WHERE fr_number = %s",
    "UPDATE fba.fulfillment_request_item SET quantity = 99 FROM fba.fulfillment_request AS r"
    " WHERE r.fr_number = fulfillment_request_item.fr_number AND r.fr_number = %s AND r.status NOT IN ('pending', 'rejected', 'invalid')",
    "DELETE FROM fba.fulfillment_request_item USING fba.fulfillment_request AS r"
    " WHERE r.fr_number = fulfillment_request_item.fr_number AND r.fr_number = %s AND r.status NOT IN ('pending', 'rejected', 'invalid')",
    "DELETE FROM fba.outbound_order WHERE fr_number = %s",
    "UPDATE fba.fulfillment_request SET transport = 'feed', speed = NULL, signature = true WHERE fr_number = %s AND status <> 'pending'",
    "TRUNCATE fba.fulfillment_request, fba.fulfillment_request_item, fba.feed_message, fba.feed, fba.feed_check /* %s */",
)  # fmt: skip


class Interference(ProcessKiller):
    """Interrupts a run at chosen points: kills it, lets hours pass, or puts older tables back."""

    def __init__(self, shop, patch):
        super().__init__(patch, POINTS)
        self.shop = shop
        self.actions = {}
        self.happened = {"kill": 0, "freeze": 0, "restore": 0, "write": 0}
        self.copies = []
        self.forgotten = set()  # refused as far as the tables know that were put back, and sent all the same
        read = transport.FencedBody.read

        def fenced(body, size=-1, /):
            if body.tell() == 0:
                self.reach("createFeed body", "before")
            return read(body, size)

        patch.setattr(transport.FencedBody, "read", fenced)

    def plan(self, point, when, action):
        self.actions[point, when] = action

    def reach(self, point, when):
        if action := self.actions.pop((point, when), None):
            waiting, self.actions = self.actions, {}
            try:
                action()
            finally:
                self.actions = waiting
        super().reach(point, when)

    def kill(self):
        self.happened["kill"] += 1
        raise SystemExit("killed")

    def freeze(self, minutes, runs):
        """The process sleeps: its idle session is cut after ten minutes, and other runs go on."""
        self.happened["freeze"] += 1
        self.shop.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND state = 'idle in transaction'"
        )
        for _ in range(runs):
            self.shop.pass_time(minutes)
            with suppress(SellingPartnerError, psycopg.Error, ValueError):
                self.shop.send(attempts=2)

    def copy_tables(self):
        """Keep the tables as they are now."""
        rows = {}
        for table in TABLES:
            with self.shop.db.cursor().copy(f"COPY fba.{table} TO STDOUT") as out:
                rows[table] = b"".join(bytes(part) for part in out)
        self.copies = [*self.copies[-2:], (self.shop.passed, rows)]

    def restore(self, copy):
        """Put older tables back; the merchant's systems then insert again what is missing."""
        self.happened["restore"] += 1
        copied, rows_of = copy
        with psycopg.connect(self.shop.url) as db:
            db.execute("SET session_replication_role = replica")
            for table, rows in rows_of.items():
                db.execute(f"DELETE FROM fba.{table}".encode())
                with db.cursor().copy(f"COPY fba.{table} FROM STDIN") as into:
                    into.write(rows)
        self.shop.make_rows_older(self.shop.passed - copied)
        self.shop.insert_missing()
        made = self.shop.orders_made()
        self.forgotten |= {n for n, status in self.shop.statuses().items() if status in REFUSALS and made.get(n)}

    def write(self, statement, number):
        """Let somebody else write; whether the database lets them is not asked."""
        self.happened["write"] += 1
        with psycopg.connect(self.shop.url) as db, suppress(psycopg.Error):
            db.execute("SET lock_timeout = '200ms'")
            db.execute(statement.encode(), (number,))


@pytest.fixture
def interference(shop, monkeypatch):
    shop.stock("NOT-AT-AMAZON", 5)
    shop.wanted = {}
    shop.patience = timedelta(seconds=0.2)  # some feeds hang

    def insert_missing():
        there = shop.statuses()
        for number, items in shop.wanted.items():
            if number not in there:
                shop.add(number, items)

    shop.insert_missing = insert_missing
    return Interference(shop, monkeypatch)


def want(shop, number, items):
    shop.wanted[number] = items
    return shop.add(number, items)


def plan_a_run(shop, interference, dice):
    """Script what happens to the next run."""
    world = shop.amazon.world
    for _ in range(dice.choice([0, 0, 1, 1, 2])):
        operation, kind = dice.choice(FAULTS)
        how = REFUSED if kind == "status" else {}
        world.add_fault(operation, kind, times=dice.choice([1, 1, 2, 6]), skip=dice.choice([0, 0, 1]), **how)
    if dice.random() < 0.5:
        point, when = dice.choice([*POINTS, *sorted(STATEMENTS), "createFeed body"]), dice.choice(["before", "after"])
        interference.plan(point, when, interference.kill)
    if dice.random() < 0.25:
        sleep = dice.choice([(2, 1), (31, 2), (45, 3), (300, 2)])
        interference.plan(dice.choice(FREEZES), dice.choice(["before", "after"]), lambda: interference.freeze(*sleep))
    if dice.random() < 0.15 and interference.copies:
        copy = dice.choice(interference.copies)
        if dice.random() < 0.5:
            interference.restore(copy)
        else:
            interference.plan(
                dice.choice(FREEZES), dice.choice(["before", "after"]), lambda: interference.restore(copy)
            )
    if dice.random() < 0.3:
        number, statement = dice.choice([*shop.wanted, "FR-none"]), dice.choice(WRITES)
        interference.plan(
            dice.choice(FREEZES), dice.choice(["before", "after"]), lambda: interference.write(statement, number)
        )
    if dice.random() < 0.15:
        hangs = dice.random() < 0.3
        orders = {f"THEIRS-{dice.randrange(10**9)}": {GOOD: 1}} if dice.random() < 0.5 else None
        world.foreign_feed(SELLER, US, orders, status=dice.choice(["IN_QUEUE", "IN_PROGRESS"]), hangs=hangs)
    if dice.random() < 0.05:
        world.hang_feeds(SELLER, times=1, blocks=dice.random() < 0.2)
    if dice.random() < 0.15:
        world.release_hung_feeds()
    world.set_order_listing(page_size=dice.choice([10, 50]), delay=dice.choice([0, 0, 300, 1200]))
    world.set_order_answers(
        capitals=dice.random() < 0.5,
        unknown_number=dice.choice(["not_found", "invalid_input"]),
        leave_out=dice.choice([[], [], ["marketplaceId"]]),
        quantities_as_text=dice.random() < 0.3,
        repeated_id=dice.choice(["refuse", "second_order"]),
    )


def decide(shop):
    """Decide, as a person would by looking at Amazon, about what only a person can decide."""
    made = shop.orders_made()
    for (number,) in shop.sql("SELECT subject FROM fba.needs_attention WHERE code = 'stuck' AND store = %s", STORE):
        unfinished = any("processingEndTime" not in feed for feed in shop.amazon.world.feeds(SELLER))
        if made.get(number) or not unfinished:
            decided = "accepted" if made.get(number) else "pending"
            shop.sql("UPDATE fba.fulfillment_request SET status = %s WHERE fr_number = %s", decided, number)
    shop.sql(
        "UPDATE fba.fulfillment_request SET status = 'pending' WHERE status = ANY(%s) AND starts_with(status_reason, %s)",
        *(list(REFUSALS), AT_AMAZON_ALL_THE_SAME),
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("kind", "seed"), SEEDS)
def test_each_good_request_becomes_one_order_whoever_interferes(shop, interference, fulfillment, kind, seed):
    dice = random.Random(seed)
    bad = set()
    shop.ignore_hold = kind == "held"  # in other runs Amazon goes on holding
    if kind == "either":  # what an older copy does not know is looked for since the first order of its own
        fulfillment(OUTBOUND)
        want(shop, "FR-first", [(GOOD, 1)])
        shop.send()
    for number in range(50):
        for part in range(dice.choice([0, 1, 2])):
            want(shop, f"FR-{number}-{part}", [(GOOD, dice.randint(1, 3))])
        if dice.random() < 0.1:
            bad.add(want(shop, f"BAD-{number}", [("NOT-AT-AMAZON", 1)]))
        if dice.random() < 0.3:
            interference.copy_tables()
        plan_a_run(shop, interference, dice)
        fulfillment(dice.choice(SETTINGS[kind]))
        with suppress(SellingPartnerError, psycopg.Error, SystemExit, ValueError):
            shop.send(attempts=dice.choice([1, 2, 4]), ignore_hold=shop.ignore_hold and dice.random() < 0.5)
        interference.actions.clear()
        decide(shop)
        check_now(shop, interference)
        shop.pass_time(dice.choice([1, 11, 21, 31, 61]))
        if dice.random() < 0.3:
            shop.amazon.world.clear_faults()
    finish(shop, interference, bad)


def check_now(shop, interference):
    """What holds at any moment."""
    made, statuses = shop.orders_made(), shop.statuses()
    assert {number: times for number, times in made.items() if times > 1} == {}
    assert [number for number, status in statuses.items() if status == "accepted" and not made.get(number)] == []
    refused = {number for number, status in statuses.items() if status in REFUSALS}
    assert [number for number in refused - interference.forgotten if made.get(number)] == []


def finish(shop, interference, bad):
    """Let the interference end; then each good request is one order, accepted, and nobody has to decide anything."""
    world = shop.amazon.world
    world.clear_faults()
    world.release_hung_feeds()
    world.set_order_listing(page_size=50, delay=0)
    shop.insert_missing()
    for _ in range(40):
        with suppress(SellingPartnerError):
            shop.task(lambda: TrackOrdersOperator(task_id="track"), shop.context())
        with suppress(SellingPartnerError):
            shop.send(attempts=4, ignore_hold=True)
        shop.pass_time(31)
        decide(shop)
        for number, status in shop.statuses().items():  # a whole feed may have been rejected
            if status == "rejected" and number not in bad and not shop.orders_made().get(number):
                shop.sql("UPDATE fba.fulfillment_request SET status = 'pending' WHERE fr_number = %s", number)
        if set(shop.statuses().values()) <= {"accepted", "rejected", "invalid"}:
            break
    made, statuses = shop.orders_made(), shop.statuses()
    # A bad one is rejected, or refused with its quote.
    statuses |= {number: "rejected" for number in bad if statuses[number] == "invalid"}
    assert {number: statuses[number] for number in shop.wanted} == {
        number: "rejected" if number in bad else "accepted" for number in shop.wanted
    }, shop.sql(
        "SELECT fr_number, status, status_reason, waiting_reason FROM fba.fulfillment_request WHERE status NOT IN ('accepted', 'rejected')"
    )
    assert {number: made.get(number, 0) for number in shop.wanted} == {
        number: 0 if number in bad else 1 for number in shop.wanted
    }
