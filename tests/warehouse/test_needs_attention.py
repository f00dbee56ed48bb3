"""Each thing that needs a person has one row in ``fba.needs_attention`` while it is so, and none when it is not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

START = datetime.now(UTC).replace(microsecond=0)
LISTINGS, AFN = "GET_MERCHANT_LISTINGS_ALL_DATA", "GET_AFN_INVENTORY_DATA"
ASKED = "amazon_order_asked_at = clock_timestamp(), amazon_order_status = 'Processing'"


def ago(hours: float) -> datetime:
    return START - timedelta(hours=hours)


def store(hours=24):
    return f"INSERT INTO fba.store VALUES ('us', {hours})"


def run(run_id, started, outcome="success", attention="{}", finished=True, of="us"):
    finish = f"'{started + timedelta(minutes=1)}'" if finished else "NULL"
    outcome = f"'{outcome}'" if outcome else "NULL"
    return f"""INSERT INTO fba.run (dag_id, run_id, store, started_at, finished_at, outcome, attention)
        VALUES ('fba_get_inventory', '{run_id}', '{of}', '{started}', {finish}, {outcome}, '{attention}')"""


def report(report_id, kind, asked, applied=None, refused=None, of="us"):
    applied, refused = (f"'{moment}'" if moment else "NULL" for moment in (applied, refused))
    return f"""INSERT INTO fba.report (request_id, store, report_id, report_type, marketplace_id, requested_at, applied_at,
        refused_at) VALUES (gen_random_uuid(), '{of}', '{report_id}', '{kind}', 'M', '{asked}', {applied}, {refused})"""


def request(status, created, columns="", values="", number="FR-1", of="us"):
    return f"""INSERT INTO fba.fulfillment_request (store, fr_number, status, created_at{columns})
        VALUES ('{of}', '{number}', '{status}', '{created}'{values})"""


def change(assignments):
    return f"UPDATE fba.fulfillment_request SET {assignments}"


def feed(submitted, feed_id="F-1"):
    return f"""INSERT INTO fba.feed (store, document_id, claim_id, run_id, feed_id, message_count, uploaded_at, submit_started_at)
        VALUES ('us', 'doc', gen_random_uuid(), 'r', {f"'{feed_id}'" if feed_id else "NULL"}, 7, '{submitted}', '{submitted}')"""


MESSAGE = "INSERT INTO fba.feed_message (store, document_id, message_id, fr_number) VALUES ('us', 'doc', 1, 'FR-1')"
POOL = """INSERT INTO fba.global_inventory_pool
    (store, sku, fba_quantity, fbm_quantity, quantity, quantity_source, fba_unconfirmed_since, fbm_unconfirmed_since) VALUES """
SHIPPED = """INSERT INTO fba.shipment_item (store, item_key, order_id, merchant_order_id, fr_number, sku, quantity)
    VALUES ('us', 'K', 'S01', 'FR-1', 'FR-1', 'SKU', 2)"""
CREATED = request("pending", ago(60), ", sent_at", f", '{ago(50)}'")
ITEM = "INSERT INTO fba.fulfillment_request_item (store, fr_number, line, sku, quantity) VALUES ('us', 'FR-1', 1, 'SKU', 5)"
ACCEPTED = [CREATED, ITEM, *(change(f"status = '{status}'") for status in ("sending", "submitted", "accepted"))]
MINUTE = 1 / 60
READ = f"INSERT INTO fba.order_cursor (store, read_until, read_at) VALUES ('us', '{ago(1)}', '{ago(1)}')"
DELIVERED = "UPDATE fba.package SET status = 'DELIVERED'"


def tracked(changed=30, more="", values=""):
    return f"""INSERT INTO fba.tracked_order (store, fr_number, read_at, changed_at{more})
        VALUES ('us', 'FR-1', '{ago(1)}', '{ago(changed)}'{values})"""


def parcel(status, arrives, key="P1"):
    return f"""INSERT INTO fba.package (store, fr_number, package_key, status, arrives_at, updated_at)
        VALUES ('us', 'FR-1', '{key}', '{status}', '{arrives}', '{ago(30)}')"""


EXPIRED = f"""INSERT INTO fba.package (store, fr_number, package_key, status, updated_at)
    VALUES ('us', 'FR-1', 'P1', 'EXPIRED', '{ago(30)}')"""
QUOTE = f"""INSERT INTO fba.fulfillment_quote (store, fr_number, speed, quoted_at, fulfillable, arrive_latest, chosen)
    VALUES ('us', 'FR-1', 'Standard', '{ago(60)}', true, '{ago(10)}', true)"""
ORDER = f"""INSERT INTO fba.outbound_order (claim_id, batch_id, run_id, store, fr_number, seller_id, marketplace_id, endpoint,
    features, held, content_digest, claimed_at, intent_at, answered_at)
    SELECT gen_random_uuid(), gen_random_uuid(), 'r', 'us', 'FR-1', 'S', 'M', 'E', '{{BLOCK_AMZL}}', true, '', '{ago(324)}', '{ago(324)}', '{ago(324)}'"""
CLAIMED = "UPDATE fba.fulfillment_request SET claim_id = (SELECT claim_id FROM fba.outbound_order)"
PARCEL = f"""INSERT INTO fba.shipment_item (store, item_key, order_id, merchant_order_id, fr_number, sku, quantity, carrier, ship_date)
    VALUES ('us', 'K', 'S01', 'FR-1', 'FR-1', 'SKU', 5, 'AMZN_US', '{ago(20)}')"""
CARRIED = "UPDATE fba.fulfillment_request SET claim_id = (SELECT claim_id FROM fba.feed)"


@dataclass
class Case:
    """``so`` makes the row (subject, number, since), and each of ``not_so`` alone makes it disappear."""

    code: str
    so: list[str]
    row: tuple[str | None, int, datetime]
    not_so: dict[str, str]


CASES = [
    Case(
        "failed_run",
        [run("first", ago(5)), run("second", ago(3), "failed")],
        ("fba_get_inventory", 1, ago(3 - MINUTE)),
        {
            "a later run succeeded": run("third", ago(1)),
            "it is long ago": f"UPDATE fba.run SET started_at = '{ago(8 * 24)}'",
        },
    ),
    Case(
        "failed_run",
        [run("hung", ago(5), outcome=None, finished=False), f"UPDATE fba.run SET ends_by = '{ago(2)}'"],
        ("fba_get_inventory", 1, ago(2)),
        {
            "a later run succeeded": run("next", ago(1)),
            "it ended": f"UPDATE fba.run SET outcome = 'success', finished_at = '{ago(3)}'",
            "it has time left": f"UPDATE fba.run SET ends_by = '{ago(-1)}'",
            "nobody ends it": "UPDATE fba.run SET ends_by = NULL",
        },
    ),
    Case(
        "stale_stock",
        [store(), report("L", LISTINGS, ago(3), ago(2)), report("A", AFN, ago(30), ago(29))],
        (None, 1, ago(30)),
        {
            "a newer report was applied": report("A2", AFN, ago(20), ago(19)),
            "the store allows it": "UPDATE fba.store SET max_stock_age_hours = 31",
        },
    ),
    Case(
        "stale_stock",
        [
            store(),
            *(report(name, kind, ago(2), ago(1)) for name, kind in (("L", LISTINGS), ("A", AFN))),
            report("ahead", AFN, ago(-50), ago(1)),
        ],
        (None, 1, ago(2)),
        {"its time is put right": f"UPDATE fba.report SET requested_at = '{ago(26)}' WHERE report_id = 'ahead'"},
    ),
    Case(
        "stale_stock",
        [store(), run("first", ago(30)), run("second", ago(3)), report("L", LISTINGS, ago(3), ago(2))],
        (None, 1, ago(30)),
        {
            "the report that never came was applied": report("A", AFN, ago(1), applied=ago(0)),
            "there was no run a day ago": "DELETE FROM fba.run WHERE run_id = 'first'",
        },
    ),
    Case(
        "refused_stock",
        [
            *(report("A", AFN, ago(9), applied=ago(8)), report("B", AFN, ago(7), refused=ago(6))),
            report("C", AFN, ago(3), refused=ago(2)),
        ],
        ("C", 2, ago(6)),
        {
            "a later one was applied": report("D", AFN, ago(1), applied=ago(0)),
            "a person accepted it": f"UPDATE fba.report SET applied_at = '{ago(0)}' WHERE report_id = 'C'",
        },
    ),
    Case(
        "unconfirmed_skus",
        [
            f"{POOL} ('us', 'A', 1, 0, 1, 'afn_report', '{ago(30)}', NULL)",
            f"{POOL} ('us', 'B', 1, 1, 2, 'afn_report', '{ago(20)}', '{ago(40)}')",
            f"{POOL} ('us', 'C', 1, 0, 1, 'afn_report', NULL, NULL)",
        ],
        (None, 2, ago(40)),
        {
            "a report states them": "UPDATE fba.global_inventory_pool SET fba_unconfirmed_since = NULL, fbm_unconfirmed_since = NULL"
        },
    ),
    *(
        Case(
            code,
            [
                run("first", ago(9), attention=f'{{"{code}": 4}}'),
                run("second", ago(5), attention=f'{{"{code}": 3, "partly_shipped": 2}}'),
                run("third", ago(2)),
            ],
            (None, 3, ago(5 - MINUTE)),
            {
                "it is a day ago": "UPDATE fba.run SET started_at = started_at - interval '24 hours'",
                "the run has not finished": "UPDATE fba.run SET finished_at = NULL",
                "no run said so": "UPDATE fba.run SET attention = '{}'",
            },
        )
        for code in (
            "zeroed_skus",
            "vanished_skus",
            "units_jumped",
            "report_drift",
            "rejected_lines",
            "conflicting_skus",
            "shared_fnsku",
            "clock_skew",
        )
    ),
    Case(
        "unknown",
        [request("unknown", ago(5), ", sent_at", f", '{ago(4)}'"), feed(ago(3)), MESSAGE],
        ("FR-1", 1, ago(4)),
        {
            "Amazon has it": change("status = 'accepted'"),
            "its feed is settled, so it is stuck": "UPDATE fba.feed SET settled_at = now()",
        },
    ),
    Case(
        "stuck",
        [
            request("unknown", ago(5)),
            feed(ago(3)),
            MESSAGE,
            "UPDATE fba.feed SET settled_at = now()",
        ],
        ("FR-1", 1, ago(5)),
        {
            "Amazon has it": change("status = 'accepted'"),
            "an open feed has it": "UPDATE fba.feed SET settled_at = NULL",
        },
    ),
    *(
        Case(
            status,
            [request(status, ago(5), ", sent_at, resolved_at", f", '{ago(4)}', '{ago(3)}'")],
            ("FR-1", 1, ago(3)),
            {
                "a person has seen it": change("acknowledged_at = now()"),
                "it was put right": change("status = 'pending'"),
            },
        )
        for status in ("invalid", "rejected")
    ),
    Case(
        "waiting_long",
        [request("pending", ago(7), ", waiting_reason", ", 'ready; waits until feed 1 is settled'")],
        ("FR-1", 1, ago(7)),
        {
            "it waits for something else": change("waiting_reason = 'on hold until tomorrow'"),
            "no reason is known yet": change("waiting_reason = NULL"),
            "it is younger": change(f"created_at = '{ago(5)}'"),
            "Amazon has it": change("status = 'sending'") + "; " + change("status = 'submitted'"),
        },
    ),
    Case(
        "slow_feed",
        [request("submitted", ago(6)), feed(ago(5)), MESSAGE, CARRIED],
        ("FR-1", 1, ago(5)),
        {
            "Amazon has finished it": "UPDATE fba.feed SET settled_at = now()",
            "it is younger": f"UPDATE fba.feed SET submit_started_at = '{ago(3)}'",
            "it was not handed over": "UPDATE fba.feed SET submit_started_at = NULL, feed_id = NULL",
            "another feed carries it": change("claim_id = gen_random_uuid()"),
        },
    ),
    Case(
        "not_cancelled",
        [
            request(
                "accepted",
                ago(9),
                ", cancel_requested_at, status_reason",
                f", '{ago(2)}', 'not cancelled: too late'",
            )
        ],
        ("FR-1", 1, ago(2)),
        {
            "a person took it back": change("cancel_requested_at = NULL"),
            "Amazon was not asked yet": change("status_reason = NULL"),
            "Amazon cancelled it": change("status = 'cancelled'"),
        },
    ),
    Case(
        "not_cancelled",
        [*ACCEPTED, change(f"cancel_requested_at = '{ago(7)}'")],
        ("FR-1", 1, ago(7)),
        {
            "it was asked for lately": change(f"cancel_requested_at = '{ago(5)}'"),
            "a person has seen it": change("acknowledged_at = now()"),
            "Amazon cancelled it": change("status = 'cancelled'"),
        },
    ),
    Case(
        "cancelled_by_amazon",
        [
            *ACCEPTED,
            change("status = 'cancelled', status_reason = 'cancelled at Amazon'"),
            change(f"resolved_at = '{ago(7)}'"),
        ],
        ("FR-1", 1, ago(7)),
        {
            "a person has seen it": change("acknowledged_at = now()"),
            "somebody wanted it": change("cancel_requested_at = now()"),
        },
    ),
    Case(
        "cancelled_but_shipped",
        [
            *ACCEPTED,
            parcel("IN_TRANSIT", ago(20)),
            change("cancel_requested_at = now(), status = 'cancelled'"),
            change(f"resolved_at = '{ago(7)}'"),
        ],
        ("FR-1", 1, ago(7)),
        {"a person has seen it": change("acknowledged_at = now()")},
    ),
    Case(
        "partly_shipped",
        [*ACCEPTED, change(f"amazon_order_status = 'CompletePartialled', amazon_order_asked_at = '{ago(7)}'")],
        ("FR-1", 1, ago(7)),
        {
            "a person has seen it": change("acknowledged_at = now()"),
            "Amazon cancels it": change("status = 'cancelled'"),
        },
    ),
    Case(
        "overdue",
        [*ACCEPTED, change(ASKED), SHIPPED],
        ("FR-1", 3, ago(50)),
        {
            "all was shipped": "UPDATE fba.shipment_item SET quantity = 5",
            "Amazon was not asked, as before a day has passed": change("amazon_order_asked_at = NULL"),
            "the rest will not be shipped": change("amazon_order_status = 'CompletePartialled'"),
            "it was cancelled": change("status = 'cancelled'"),
            "it was sent again today": change(f"sent_at = '{ago(20)}'"),
        },
    ),
    Case(
        "needs_approval",
        [CREATED, ITEM, change(f"approval_asked_at = '{ago(5)}'")],
        ("FR-1", 1, ago(5)),
        {
            "it was approved": change("approved_at = now()"),
            "it was edited": change("ship_to_city = 'Tacoma'"),
            "it was cancelled": change("status = 'invalid'"),
        },
    ),
    Case(
        "late",
        [CREATED, ITEM, change(f"deliver_by = '{ago(11)}'"), QUOTE, *ACCEPTED[2:]],
        ("FR-1", 1, ago(60)),
        {
            "a person has seen it": change("acknowledged_at = now()"),
            "it was cancelled": change("status = 'cancelled'"),
            "it is long ago": "UPDATE fba.fulfillment_quote SET arrive_latest = '2026-01-01'",
            "another speed was chosen": "UPDATE fba.fulfillment_quote SET chosen = false",
        },
    ),
    Case(
        "hold_lapses",
        [CREATED, ITEM, ORDER, change("status = 'sending'"), CLAIMED, change("status = 'submitted'")],
        ("FR-1", 1, ago(12)),
        {
            "it was released": change("status = 'accepted'"),
            "it was settled": "UPDATE fba.outbound_order SET settled_at = now()",
            "there is time": f"UPDATE fba.outbound_order SET answered_at = '{ago(300)}'",
        },
    ),
    Case(
        "blocked_carrier_used",
        [*ACCEPTED, ORDER, PARCEL],
        ("FR-1", 1, ago(20)),
        {
            "a person has seen it": change("acknowledged_at = now()"),
            "it was another carrier": "UPDATE fba.shipment_item SET carrier = 'UPS'",
            "the request did not block it": "UPDATE fba.outbound_order SET features = '{}'",
            "the order was not sent": "UPDATE fba.outbound_order SET intent_at = NULL",
        },
    ),
    Case(
        "late",
        [*ACCEPTED, READ, tracked(), parcel("IN_TRANSIT", ago(20)), parcel("DELAYED", ago(25), "P2")],
        ("FR-1", 2, ago(25)),
        {
            "both were delivered": DELIVERED,
            "Amazon promises another day": f"UPDATE fba.package SET arrives_at = '{ago(-20)}'",
            "Amazon was not asked since": f"UPDATE fba.order_cursor SET read_at = '{ago(40)}'; UPDATE fba.tracked_order SET read_at = '{ago(40)}'",
            "they cannot be delivered": "UPDATE fba.package SET status = 'UNDELIVERABLE'",
            "it is known": change("acknowledged_at = clock_timestamp()"),
            "the request was cancelled": change("status = 'cancelled'"),
        },
    ),
    Case(
        "late",
        [*ACCEPTED, READ, tracked(more=", arrives_by", values=f", '{ago(20)}'")],
        ("FR-1", 1, ago(20)),
        {"nothing more ships": "UPDATE fba.tracked_order SET finished = true"},
    ),
    Case(
        "late",
        [*ACCEPTED, READ, tracked(), EXPIRED],
        ("FR-1", 1, ago(30)),
        {
            "it was delivered after all": DELIVERED,
            "it is known": change("acknowledged_at = clock_timestamp()"),
            "Amazon promises a day": f"UPDATE fba.package SET arrives_at = '{ago(-20)}'",
        },
    ),
    Case(
        "undeliverable",
        [*ACCEPTED, READ, tracked(), parcel("UNDELIVERABLE", ago(50))],
        ("FR-1", 1, ago(30)),
        {"it was delivered after all": DELIVERED, "it is known": change("acknowledged_at = clock_timestamp()")},
    ),
    Case(
        "no_movement",
        [*ACCEPTED, READ, tracked(80), parcel("IN_TRANSIT", ago(-20))],
        ("FR-1", 1, ago(80)),
        {
            "it was delivered": DELIVERED,
            "something changed": f"UPDATE fba.tracked_order SET changed_at = '{ago(70)}'",
            "Amazon was not asked since": f"UPDATE fba.order_cursor SET read_at = '{ago(40)}'; UPDATE fba.tracked_order SET read_at = '{ago(40)}'",
            "its tracking has expired": "UPDATE fba.package SET status = 'EXPIRED'",
        },
    ),
    Case(
        "claim_due",
        [*ACCEPTED, READ, tracked(), parcel("EXPIRED", ago(8 * 24))],
        ("FR-1", 1, ago(24)),
        {
            "it was delivered": DELIVERED,
            "a week has not passed": f"UPDATE fba.package SET arrives_at = '{ago(6 * 24)}'",
            "the claim was made": change("acknowledged_at = clock_timestamp()"),
        },
    ),
    Case(
        "witnesses_differ",
        [
            *(*ACCEPTED, READ, tracked(more=", differs_since", values=f", '{ago(8 * 24)}'")),
            report("S", "GET_AMAZON_FULFILLED_SHIPMENTS_DATA_GENERAL", ago(2), ago(1)),
        ],
        ("FR-1", 1, ago(8 * 24)),
        {
            "they agree": "UPDATE fba.tracked_order SET differs_since = NULL",
            "it has not lasted a week": f"UPDATE fba.tracked_order SET differs_since = '{ago(6 * 24)}'",
            "no report was made since": "UPDATE fba.report SET applied_at = NULL",
            "the order was not read since": f"UPDATE fba.order_cursor SET read_at = '{ago(40)}'; UPDATE fba.tracked_order SET read_at = '{ago(40)}'",
        },
    ),
    Case(
        "of_no_store",
        ["INSERT INTO fba.store VALUES ('de', 24)", request("pending", ago(5))],
        ("FR-1", 1, ago(5)),
        {
            "the store was added": store(),
            "the request was put right": change("store = 'de'"),
            "no store is known yet": "DELETE FROM fba.store",
        },
    ),
    Case(
        "credential_expires",
        [store(), f"UPDATE fba.store SET client_secret_expires_at = '{START + timedelta(days=29)}'"],
        ("client secret", 1, START - timedelta(days=1)),
        {
            "there is a new secret": f"UPDATE fba.store SET client_secret_expires_at = '{START + timedelta(days=31)}'",
            "the connection does not say how old it is": "UPDATE fba.store SET client_secret_expires_at = NULL",
        },
    ),
    Case(
        "credential_expires",
        [store(), f"UPDATE fba.store SET refresh_token_expires_at = '{ago(24)}'"],
        ("refresh token", 1, ago(24) - timedelta(days=30)),
        {"the seller authorised the application again": "UPDATE fba.store SET refresh_token_expires_at = '2099-01-01'"},
    ),
]


@pytest.fixture
def sql(sql):
    """Statements of the product's, which may move requests."""
    sql("SET fba.writer = 'product'")
    return sql


def rows_of(sql, code):
    return sql(
        "SELECT store, subject, number, since FROM fba.needs_attention WHERE code = %s AND remedy <> ''", code
    ).fetchall()


def test_an_empty_warehouse_needs_nothing(sql):
    assert sql("SELECT * FROM fba.needs_attention").fetchall() == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.code)
def test_what_needs_a_person_has_one_row(sql, case):
    for statement in case.so:
        sql(statement)
    assert rows_of(sql, case.code) == [("us", *case.row)]


@pytest.mark.parametrize(
    ("case", "why"), [pytest.param(case, why, id=f"{case.code}: {why}") for case in CASES for why in case.not_so]
)
def test_what_is_not_so_has_none(sql, case, why):
    for statement in case.so:
        sql(statement)
    assert rows_of(sql, case.code)
    sql(case.not_so[why])
    assert rows_of(sql, case.code) == []


def test_a_run_that_had_nothing_to_do_does_not_hide_a_failure(sql):
    sql(run("first", ago(3), "failed"))
    sql(run("second", ago(1), "skipped"))
    assert rows_of(sql, "failed_run") == [("us", "fba_get_inventory", 1, ago(3 - MINUTE))]


@pytest.mark.parametrize("status", ["invalid", "rejected"])
def test_what_a_person_has_seen_may_happen_again(sql, status):
    sql(request(status, ago(5), ", resolved_at, acknowledged_at", f", '{ago(4)}', '{ago(3)}'"))
    assert rows_of(sql, status) == []
    sql(change(f"resolved_at = '{ago(2)}'"))
    assert rows_of(sql, status) == [("us", "FR-1", 1, ago(2))]


def test_a_request_that_is_being_sent_for_hours_waits_too_long(sql):
    sql(request("sending", ago(7)))
    assert rows_of(sql, "waiting_long") == [("us", "FR-1", 1, ago(7))]


def test_a_request_that_no_run_has_looked_at_for_hours_waits_too_long(sql):
    sql(request("pending", ago(30)))
    assert rows_of(sql, "waiting_long") == []  # it came into the table now
    sql(change(f"inserted_at = '{ago(7)}'"))
    assert rows_of(sql, "waiting_long") == [("us", "FR-1", 1, ago(7))]


def test_a_request_that_waits_for_a_sku_for_hours_waits_too_long(sql):
    sql(request("pending", ago(30), ", waiting_reason, waiting_since", f", 'SKU A: not in the pool yet', '{ago(7)}'"))
    assert rows_of(sql, "waiting_long") == [("us", "FR-1", 1, ago(7))]


def test_an_unknown_request_that_only_a_person_can_decide_is_stuck(sql):
    for statement in (request("unknown", ago(5)), feed(ago(3)), MESSAGE):
        sql(statement)
    assert rows_of(sql, "stuck") == []
    sql(change("stuck_since = now()"))
    assert len(rows_of(sql, "stuck")) == 1
    assert rows_of(sql, "unknown") == []


def test_one_store_does_not_settle_what_another_store_needs(sql):
    sql(run("first", ago(3), "failed"))
    sql(run("second", ago(1), of="de"))
    sql(report("A", AFN, ago(3), refused=ago(2)))
    sql(report("B", AFN, ago(1), applied=ago(0), of="de"))
    sql(report("C", LISTINGS, ago(1), applied=ago(0)))
    assert rows_of(sql, "failed_run") == [("us", "fba_get_inventory", 1, ago(3 - MINUTE))]
    assert rows_of(sql, "refused_stock") == [("us", "A", 1, ago(2))]


def remedies(sql, code):
    return [remedy for (remedy,) in sql("SELECT remedy FROM fba.needs_attention WHERE code = %s", code).fetchall()]


def test_what_is_late_by_quote_and_by_parcel_is_told_once(sql):
    quoted = [CREATED, ITEM, change(f"deliver_by = '{ago(11)}'"), QUOTE, *ACCEPTED[2:]]
    for statement in (*quoted, READ, tracked(), parcel("IN_TRANSIT", ago(20))):
        sql(statement)
    assert rows_of(sql, "late") == [("us", "FR-1", 1, ago(60))]
    assert remedies(sql, "late")[0].startswith("Not delivered when Amazon promised")
    sql(f"UPDATE fba.package SET arrives_at = '{ago(-20)}'")
    assert rows_of(sql, "late") == [("us", "FR-1", 1, ago(60))]
    assert remedies(sql, "late")[0].startswith("By its quote")
    sql(DELIVERED)
    sql("UPDATE fba.tracked_order SET finished = true")
    assert rows_of(sql, "late") == []


def test_a_blocked_carrier_is_told_by_whoever_learns_it_first_and_once(sql):
    for statement in (*ACCEPTED, ORDER, READ, tracked(), parcel("IN_TRANSIT", ago(-20), "TBA123456")):
        sql(statement)
    sql(f"UPDATE fba.package SET tracking_number = 'TBA123456', ship_date = '{ago(21)}'")
    assert rows_of(sql, "blocked_carrier_used") == [("us", "FR-1", 1, ago(21))]
    sql(PARCEL)
    sql("UPDATE fba.shipment_item SET tracking_number = 'TBA123456'")
    assert rows_of(sql, "blocked_carrier_used") == [("us", "FR-1", 1, ago(21))]
    sql("UPDATE fba.package SET carrier = 'UPS', tracking_number = '1Z', package_key = '1Z'")
    assert rows_of(sql, "blocked_carrier_used") == [("us", "FR-1", 1, ago(20))]
    sql("DELETE FROM fba.shipment_item")
    assert rows_of(sql, "blocked_carrier_used") == []


def test_a_parcel_that_has_not_left_was_carried_by_nobody(sql):
    for statement in (*ACCEPTED, ORDER, READ, tracked(), parcel("PROCESSING", ago(-20))):
        sql(statement)
    sql("UPDATE fba.package SET carrier = 'AMZN_US'")
    assert rows_of(sql, "blocked_carrier_used") == []
