"""Exactly once: with kills at any point and network faults, each good request becomes one order and ends accepted."""

from __future__ import annotations

import os
import random
from contextlib import suppress

import pytest

from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.errors import DecisionNeededError, SellingPartnerError
from fba_operators.fulfillment import settle
from fba_operators.fulfillment.ledger import FeedLedger
from fba_operators.operators import fulfillment as feeds
from tests.sending import GOOD, foreign_feed
from tests.stores import SELLER

# The steps before and after which the process is killed.
POINTS = {
    "claim": (feeds, "claim_requests"),
    "createFeedDocument": (SellingPartnerHook, "create_feed_document"),
    "upload": (SellingPartnerHook, "upload_feed_document"),
    "uploaded_at": (FeedLedger, "record_upload"),
    "submit_started_at": (FeedLedger, "record_intent"),
    "createFeed": (SellingPartnerHook, "create_feed"),
    "feed id": (FeedLedger, "record_submitted"),
    "feed state": (FeedLedger, "record_state"),
    "result download": (settle, "download_processing_report"),
    "results recorded": (FeedLedger, "record_verdicts"),
}
STATEMENTS = (
    "fulfillment.add_feed",
    "fulfillment.add_messages",
    "fulfillment.set_sending",
    "fulfillment.record_submitted",
    "fulfillment.move",
    "fulfillment.record_results",
    "fulfillment.record_judged",
    "fulfillment.close_feed",
)


class ProcessKiller:
    """Simulates a killed process at chosen points: each armed point raises SystemExit once."""

    def __init__(self, patch: pytest.MonkeyPatch, points=POINTS) -> None:
        self.armed: dict[tuple[str, str], int] = {}
        self.kills = 0
        for point, (owner, name) in points.items():
            patch.setattr(owner, name, self.killing(point, getattr(owner, name)))
        run = FeedLedger.run

        def statement(ledger, db, name, **values):
            self.reach(name, "before")
            rows = run(ledger, db, name, **values)
            self.reach(name, "after")
            return rows

        patch.setattr(FeedLedger, "run", statement)

    def arm(self, point: str, when: str) -> None:
        self.armed[point, when] = 1

    def reach(self, point: str, when: str) -> None:
        if self.armed.pop((point, when), 0):
            self.kills += 1
            raise SystemExit(f"killed {when} {point}")

    def killing(self, point, real):
        def wrapper(*arguments, **keywords):
            self.reach(point, "before")
            result = real(*arguments, **keywords)
            self.reach(point, "after")
            return result

        return wrapper


@pytest.fixture
def shop(shop):
    shop.stock("NOT-AT-AMAZON", 5)
    return shop


@pytest.fixture
def killer(shop, monkeypatch):
    return ProcessKiller(monkeypatch)


def is_settled(shop):
    return set(shop.statuses().values()) <= {"accepted", "rejected", "invalid"} and all(
        done for _, done in shop.feeds()
    )


def decide(shop):
    """Decide, as a person would by looking at Amazon, about unknown requests without an open feed."""
    if all(done for _, done in shop.feeds()):
        made = shop.orders_made()
        for number, status in shop.statuses().items():
            if status == "unknown":
                decided = "accepted" if made.get(number) else "pending"
                shop.sql("UPDATE fba.fulfillment_request SET status = %s WHERE fr_number = %s", decided, number)


def finish(shop):
    """Run again until nothing is open."""
    for _ in range(60):
        if is_settled(shop):
            return
        with suppress(DecisionNeededError, SystemExit):
            shop.send(attempts=4)
        decide(shop)
        shop.pass_time(31)
    raise AssertionError(f"still open: {shop.statuses()}, {shop.feeds()}")


def check(shop, good, bad):
    assert {number: shop.statuses()[number] for number in good} == dict.fromkeys(good, "accepted")
    assert {number: shop.statuses()[number] for number in bad} == dict.fromkeys(bad, "rejected")
    made = shop.orders_made()
    assert {number: made.get(number) for number in good} == dict.fromkeys(good, 1)
    assert {number: made.get(number) for number in bad} == dict.fromkeys(bad, 0)


def add_requests(shop):
    good = [shop.add("FR-1"), shop.add("FR-2", [(GOOD, 2), (GOOD, 3)])]
    return good, [shop.add("FR-3", [("NOT-AT-AMAZON", 1)])]


@pytest.mark.parametrize(
    ("point", "when", "retried"),
    [
        *((point, when, retried) for point in POINTS for when in ("before", "after") for retried in (True, False)),
        *((name, when, when == "after") for name in STATEMENTS for when in ("before", "after")),
    ],
)
def test_killed_at_one_point(shop, killer, point, when, retried):
    good, bad = add_requests(shop)
    killer.arm(point, when)
    with suppress(SystemExit):
        shop.send(attempts=2 if retried else 1)
    assert killer.kills == 1
    finish(shop)
    check(shop, good, bad)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "point", ["listAllFulfillmentOrders", "resolve_unknown", "record_absent", "record_not_arrived", "close_if_settled"]
)
def test_killed_while_a_lost_answer_is_looked_up(shop, killer, monkeypatch, point, when):
    good, bad = add_requests(shop)
    owner, name = (FeedLedger, point)
    if point == "listAllFulfillmentOrders":
        owner, name = SellingPartnerHook, "list_all_fulfillment_orders"
    monkeypatch.setattr(owner, name, killer.killing(point, getattr(owner, name)))
    shop.amazon.world.add_fault("createFeed", "reset_after")
    shop.send()
    shop.pass_time(31)
    killer.arm(point, when)
    for _ in range(3):
        with suppress(SystemExit):
            shop.send()
        shop.pass_time(11)
    assert killer.kills == 1
    finish(shop)
    check(shop, good, bad)


def test_killed_at_every_point_in_turn_within_one_run(shop, killer):
    good, bad = add_requests(shop)
    for point in POINTS:
        for when in ("before", "after"):
            killer.arm(point, when)
    shop.send(attempts=25)
    finish(shop)
    assert killer.armed == {}
    check(shop, good, bad)


FAULTS = [
    *(("createFeedDocument", kind) for kind in ("reset_before", "reset_after", "503", "429")),
    *(("uploadDocument", kind) for kind in ("reset_before", "reset_after", "expired_url", "503")),
    *(
        ("createFeed", kind)
        for kind in (
            *("reset_before", "reset_after", "reset_before", "reset_after", "500", "503", "error_after", "429"),
            *("expired_token", "status", "cancelled", "fatal_none", "fatal_some", "fatal_all", "missing_result"),
            *("expired_result", "unreadable_result", "wrong_counts", "warnings", "plain_result"),
        )
    ),
    *(("getFeed", kind) for kind in ("503", "reset_before", "429")),
    *(("getFeeds", kind) for kind in ("503", "reset_after", "429")),
    *(("getFeedDocument", kind) for kind in ("503", "429")),
    *(("downloadDocument", kind) for kind in ("reset_before", "expired_url", "truncated_gzip")),
    *(("listAllFulfillmentOrders", kind) for kind in ("503", "reset_before", "429")),
    *(("getFulfillmentOrder", kind) for kind in ("503", "reset_before")),
    ("token", "503"),
]
REFUSED = {"status": 400, "body": {"errors": [{"code": "InvalidInput", "message": "Invalid Request Parameters"}]}}


def script_faults(shop, killer, dice):
    """Script random faults and kills for the next run."""
    if dice.random() < 0.1:
        armed, killer.armed = killer.armed, {}
        with suppress(SellingPartnerError):
            foreign_feed()
        killer.armed = armed
    for _ in range(dice.choice([0, 1, 1, 2, 3])):
        operation, kind = dice.choice(FAULTS)
        how = REFUSED if kind == "status" else {}
        shop.amazon.world.add_fault(
            operation, kind, times=dice.choice([1, 1, 2, 6]), skip=dice.choice([0, 0, 1]), **how
        )
    for _ in range(dice.choice([0, 0, 1, 2])):
        killer.arm(dice.choice([*POINTS, *STATEMENTS]), dice.choice(["before", "after"]))
    # With pages of one order the list would need more calls than Amazon grants at once, and nobody sleeps between them here.
    shop.amazon.world.set_order_listing(page_size=dice.choice([3, 7, 50]), delay=dice.choice([0, 0, 300, 3600]))


RUNS, SEEDS = 54, range(1, 41 if os.environ.get("FBA_FAULTS") else 3)


@pytest.mark.parametrize("seed", SEEDS)
def test_many_runs_with_random_faults_and_kills(shop, killer, seed):
    dice = random.Random(seed)
    good, bad = [], []
    for number in range(RUNS):
        parts = range(dice.choice([0, 1, 2]))
        good += [shop.add(f"FR-{number}-{part}", [(GOOD, dice.randint(1, 3))]) for part in parts]
        if dice.random() < 0.15:
            bad.append(shop.add(f"BAD-{number}", [("NOT-AT-AMAZON", 1)]))
        script_faults(shop, killer, dice)
        with suppress(SellingPartnerError, SystemExit):
            shop.send(attempts=dice.choice([1, 2, 4]))
        decide(shop)
        made = shop.orders_made()
        assert all(times <= 1 for times in made.values())
        statuses = shop.statuses()
        assert all(made.get(name) == 1 for name, status in statuses.items() if status == "accepted")
        assert all(statuses[name] not in ("rejected", "invalid") for name in good)
        shop.pass_time(dice.choice([1, 11, 21, 31]))
        if dice.random() < 0.3:
            shop.amazon.world.clear_faults()
    shop.amazon.world.clear_faults()
    killer.armed.clear()
    finish(shop)
    check(shop, good, bad)
    assert killer.kills > 5
    assert shop.amazon.world.orders(SELLER).keys() == {*good, *bad}
