"""Any order of readings, reports, lost pages, repeats and crashes ends in what Amazon really has shipped and delivered."""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count

import psycopg
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from devstack.airflow import store_connection, warehouse_connection
from fba_operators.operators import TrackOrdersOperator, tracking
from fba_operators.shipments import track
from fba_operators.warehouse.database import Warehouse
from sandbox.server.server import Sandbox
from tests import timing
from tests.faults.campaign import reset
from tests.helpers import context, run
from tests.sending import Merchant
from tests.shipping import Reports, document, orders_at_amazon, row
from tests.stores import SELLER, US

NUMBERS = [f"FR-{n}" for n in range(4)]
UNITS = 4
MOVES = ("IN_TRANSIT", "DELAYED", "OUT_FOR_DELIVERY", "DELIVERED", "UNDELIVERABLE")
RUNS = count()


class CrashError(BaseException):
    """The process ends here."""


def until(moment):
    """Wait for the quota, of which many readings in a row need more than there is."""
    time.sleep(min(max((moment - datetime.now(UTC)).total_seconds(), 0.0), 3.0))


class AnyOrder(RuleBasedStateMachine):
    """One store with four accepted requests whose orders are at Amazon; ``others`` are of another program."""

    url: str
    amazon: Sandbox
    patch: pytest.MonkeyPatch

    @initialize()
    def begin(self):
        reset(self.url, self.amazon)
        self.shop = Merchant(self.url, self.amazon, self.patch)
        self.reports = Reports(Warehouse())
        self.reports.count = next(RUNS) * 20  # hours, which the ledger takes until 2100
        self.world = self.amazon.world
        self.listed = True
        self.world.set_order_listing(page_size=2)
        for n, number in enumerate(NUMBERS):
            self.shop.add(number, [("AFN-PLAIN", UNITS)])
            self.world.plan_order(
                SELLER, number, parts=1 + n % 3, packages=1 + n % 2, late=False, shared_item_id=n == 3
            )
        orders_at_amazon(self.amazon, [*NUMBERS, "OTHER"], "AFN-PLAIN", UNITS)
        self.shop.sql("SET fba.writer = 'product'")
        for status in ("sending", "submitted", "accepted"):
            self.shop.sql("UPDATE fba.fulfillment_request SET status = %s", status)
        self.shop.sql("RESET fba.writer")
        self.shop.sql("UPDATE fba.fulfillment_request SET sent_at = now() - interval '2 days'")

    # Amazon

    @rule(number=st.sampled_from(NUMBERS), parts=st.sampled_from([1, None]))
    def ship(self, number, parts):
        self.world.ship_now(SELLER, [number], parts=parts)

    @precondition(lambda self: self.world.parcels(SELLER))
    @rule(data=st.data(), status=st.sampled_from(MOVES))
    def move(self, data, status):
        parcels = Counter(each["order_id"] for each in self.world.parcels(SELLER))
        number = data.draw(st.sampled_from(sorted(parcels)))
        self.world.set_parcel(SELLER, number, data.draw(st.integers(1, parcels[number])), status=status)

    @rule(lost=st.sets(st.sampled_from(NUMBERS)))
    def lose(self, lost):
        self.world.set_order_listing(lost=sorted(lost))

    @rule(available=st.booleans())
    def newer_api(self, available):
        self.world.set_outbound_2026(SELLER, available)

    @rule()
    def a_day_passes(self):
        self.shop.sql("UPDATE fba.tracked_order SET read_at = read_at - interval '25 hours'")

    # The product

    @rule()
    def track(self):
        run(TrackOrdersOperator(task_id="track"), context(f"run-{next(RUNS)}"), on_wait=until)

    @rule(at=st.integers(1, 30))
    def crash(self, at):
        """The process ends before its nth statement of tracking."""
        left = count(1)
        real = track.execute

        def counted(*arguments, **values):
            if next(left) == at:
                raise CrashError
            return real(*arguments, **values)

        with pytest.MonkeyPatch.context() as patch, suppress(CrashError):
            patch.setattr(track, "execute", counted)
            patch.setattr(tracking, "execute", counted)
            self.track()

    @rule(hours=st.integers(0, 48))
    def read_again(self, hours):
        with self.shop._connect() as db:
            (now,) = db.execute("SELECT now()").fetchone()
        since = (now - timedelta(hours=hours)).isoformat()
        run(TrackOrdersOperator(task_id="track", since=since), context(f"run-{next(RUNS)}"), on_wait=until)

    @rule(of=st.sampled_from([None, *NUMBERS]))
    def report(self, of):
        """A report of everything, or of one order."""
        rows = [
            each for each in self.world.shipment_truth(SELLER, US)["rows"] if of in (None, each["merchant-order-id"])
        ]
        names = (
            "amazon-order-id",
            "merchant-order-id",
            "shipment-id",
            "shipment-item-id",
            "tracking-number",
            "sku",
            "carrier",
        )
        content = document(
            *(
                row(**{name.replace("-", "_"): each[name] for name in names}, quantity_shipped=str(each["quantity"]))
                for each in rows
            )
        )
        self.reports.load(self.reports.add(content), context(f"run-{next(RUNS)}"))

    # What must be so

    @invariant()
    def nothing_is_told_that_was_not_so(self):
        if not hasattr(self, "shop"):
            return
        histories = {
            each["tracking_number"]: {status for status, _ in each["history"]} for each in self.world.parcels(SELLER)
        }
        for number, status in self.shop.sql(
            "SELECT tracking_number, status FROM fba.package WHERE fba.has_left(status, ship_date)"
        ):
            assert status is None or status in histories[number]
        shipped = self.world.shipment_truth(SELLER, US)["orders"]
        for number, units in self.shop.sql("SELECT fr_number, shipped FROM fba.fulfillment_progress"):
            assert units <= shipped.get(number, {}).get("AFN-PLAIN", {}).get("quantity", 0)

    def teardown(self):
        if not hasattr(self, "shop"):
            return
        try:
            self.world.set_order_listing(lost=[])
            self.world.set_outbound_2026(SELLER, True)
            self.a_day_passes()
            self.track()
            self.report(None)
            self.track()
            truth = sorted(
                (each["order_id"], each["tracking_number"], each["status"]) for each in self.world.parcels(SELLER)
            )
            assert (
                sorted(
                    self.shop.sql(
                        "SELECT fr_number, tracking_number, status FROM fba.package WHERE fba.has_left(status, ship_date)"
                    )
                )
                == truth
            )
            orders = self.world.shipment_truth(SELLER, US)["orders"]
            shipped = {number: orders.get(number, {}).get("AFN-PLAIN", {}).get("quantity", 0) for number in NUMBERS}
            assert dict(self.shop.sql("SELECT fr_number, shipped FROM fba.fulfillment_progress")) == shipped
            told = Counter(
                self.shop.sql("SELECT fr_number, package_key, what FROM fba.request_event WHERE package_key <> ''")
            )
            assert set(told.values()) <= {1}
            shipped_events = Counter(number for number, _, what in told if what == "shipped")
            assert shipped_events == Counter(number for number, _, _ in truth)
            keys = set(
                self.shop.sql("SELECT fr_number, package_key FROM fba.package WHERE fba.has_left(status, ship_date)")
            )
            assert {(number, key) for number, key, _ in told} == keys
            assert self.shop.sql("SELECT fr_number FROM fba.tracked_order WHERE differs_since IS NOT NULL") == []
        finally:
            self.shop.__exit__()


@pytest.mark.timeout(1800)
def test_any_order_ends_in_the_truth(postgres, migrated_template, monkeypatch):
    url = postgres.create_database("tracking_in_any_order", template=migrated_template)
    monkeypatch.setenv("AIRFLOW_CONN_FBA_WAREHOUSE", warehouse_connection(url))
    timing.sleep_inline_at_most(monkeypatch, 0.0)
    with Sandbox(listings=30, processing_seconds=0.01) as amazon, psycopg.connect(url):
        monkeypatch.setenv("AIRFLOW_CONN_AMAZON_US", store_connection(amazon.url))
        machine = type("Machine", (AnyOrder,), {"url": url, "amazon": amazon, "patch": monkeypatch})
        examples = 300 if os.environ.get("FBA_FAULTS") else 8
        run_state_machine_as_test(
            machine, settings=settings(max_examples=examples, stateful_step_count=15, deadline=None)
        )
