"""Tracking: changed orders are read to their end, parcels are followed to the doorstep, each event is there once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.errors import UnavailableError
from fba_operators.operators import SummariseTrackingOperator, TrackOrdersOperator, tracking
from fba_operators.runs.log import RunLog, end_run
from tests.helpers import calls_of, context, run
from tests.shipping import Reports, add_request, document, orders_at_amazon, row
from tests.stores import SELLER, STORE


def track(**arguments):
    return run(TrackOrdersOperator(task_id="track", **arguments), on_wait=lambda moment: None)


def packages(sql):
    rows = sql(
        "SELECT fr_number, package_key, carrier, tracking_number, status FROM fba.package ORDER BY 1, first_seen_at, 2"
    )
    return rows.fetchall()


def timeline(sql, number="FR-1", *, parcels=True):
    rows = sql(
        "SELECT what, source FROM fba.request_event WHERE fr_number = %s AND (%s OR package_key IS NULL) ORDER BY n",
        *(number, parcels),
    )
    return [f"{what} ({source})" for what, source in rows]


def progress(sql, number="FR-1"):
    rows = sql(
        "SELECT sku, ordered, shipped, delivered, open, status, witnesses FROM fba.fulfillment_progress"
        " WHERE fr_number = %s ORDER BY 1",
        number,
    )
    return rows.fetchall()


@pytest.fixture
def request_at_amazon(amazon, warehouse, sql):
    """An accepted request of four units whose order is at Amazon, to be shipped in two parcels."""

    def make(number="FR-1", *, units=4, status="accepted", **plan):
        add_request(sql, number, ("AFN-PLAIN", units), status=status)
        sql("UPDATE fba.fulfillment_request SET sent_at = now() - interval '1 hour' WHERE fr_number = %s", number)
        amazon.world.plan_order(SELLER, number, **{"parts": 2, "packages": 1, "late": False, **plan})
        orders_at_amazon(amazon, [number], "AFN-PLAIN", units)
        return number

    return make


def cursor(sql):
    return sql("SELECT read_until FROM fba.order_cursor").fetchone()


def test_parcels_are_followed_to_the_doorstep(amazon, sql, request_at_amazon):
    request_at_amazon()
    track()
    assert packages(sql) == []
    amazon.world.ship_now(SELLER)
    track()
    told = amazon.world.parcels(SELLER)
    assert len(told) == 2
    assert sorted(row[:4] for row in packages(sql)) == sorted(
        ("FR-1", each["amazon_number"] or each["tracking_number"], each["carrier"], each["tracking_number"])
        for each in told
    )
    assert progress(sql) == [("AFN-PLAIN", 4, 4, 0, 0, "complete", "order")]
    for parcel, status in ((1, "OUT_FOR_DELIVERY"), (1, "DELIVERED"), (2, "DELAYED"), (2, "DELIVERED")):
        amazon.world.set_parcel(SELLER, "FR-1", parcel, status=status)
        track()
        track()
    assert {row[4] for row in packages(sql)} == {"DELIVERED"}
    assert progress(sql)[0][3] == 4
    assert timeline(sql)[-6:] == [
        *("shipped (order)", "shipped (order)", "out_for_delivery (order)", "delivered (order)"),
        *("delayed (order)", "delivered (order)"),
    ]
    assert sql("SELECT bool_and(finished) FROM fba.tracked_order").fetchone() == (True,)
    delivered = {row[0] for row in sql("SELECT delivered_at FROM fba.package").fetchall()}
    assert delivered == {datetime.fromisoformat(each["delivered"]) for each in amazon.world.parcels(SELLER)}


@pytest.fixture
def asked(monkeypatch):
    """What a method of the hook was called with: ``asked("list_orders")`` is a list that grows."""

    def record(name):
        seen, real = [], getattr(SellingPartnerHook, name)

        def recorded(hook, *values, **named):
            seen.append((*values, *named.values())[0])
            return real(hook, *values, **named)

        monkeypatch.setattr(SellingPartnerHook, name, recorded)
        return seen

    return record


def test_the_cursor_begins_sixty_days_back_and_moves_with_what_was_read(sql, request_at_amazon, asked):
    request_at_amazon()
    since = asked("list_orders")
    before = datetime.now(UTC)
    track()
    (moved,) = cursor(sql)
    track()
    assert abs(before - timedelta(days=60) - since[0]) < timedelta(seconds=30)
    assert abs(before - timedelta(minutes=5) - moved) < timedelta(seconds=30)
    assert since[1:] == [moved]


def test_all_pages_are_read_and_orders_of_others_are_counted(amazon, sql, request_at_amazon):
    numbers = [request_at_amazon(f"FR-{n}", parts=1) for n in range(5)]
    orders_at_amazon(amazon, ["OTHER-1", "OTHER-2"], "AFN-PLAIN", 1)
    amazon.world.set_order_listing(page_size=2)
    amazon.world.ship_now(SELLER)
    counts = track()
    assert (counts["orders"], counts["others"]) == (7, 2)
    assert calls_of(amazon, "listOrders") == 4
    assert {row[0] for row in packages(sql)} == set(numbers)


def test_a_list_without_end_is_red_and_the_cursor_stays(amazon, sql, request_at_amazon, no_retry_sleep):
    request_at_amazon()
    track()
    stood = cursor(sql)
    amazon.world.set_order_listing(page_size=1)
    orders_at_amazon(amazon, ["A", "B", "C"], "AFN-PLAIN", 1)
    amazon.world.add_fault("listOrders", "500", times=None, skip=1)
    with pytest.raises(UnavailableError):
        track()
    assert cursor(sql) == stood


def broken(amazon, operation, of, status):
    body = {"errors": [{"code": "InternalFailure", "message": "x"}]} if status == 500 else {}
    amazon.world.add_fault(operation, "status", times=None, report_type=of, status=status, body=body)


def said(kind, name, status):
    code = "InternalFailure" if status == 500 else "an answer that cannot be read"
    return f"1 {kind} left out, for which Amazon fails while it answers other questions ({code}): {name}; a later run asks again."


@pytest.mark.parametrize("status", [500, 200])
@pytest.mark.parametrize("operation", ["getFulfillmentOrder", "getOrder"])
def test_an_order_that_amazon_fails_for_stops_no_other(
    amazon, sql, request_at_amazon, no_retry_sleep, operation, status
):
    for number in ("FR-0", "FR-1"):
        request_at_amazon(number, parts=1)
    if operation == "getOrder":
        amazon.world.set_order_listing(lost=["FR-0", "FR-1"])
        sql("SET fba.writer = 'product'")
        sql("UPDATE fba.fulfillment_request SET sent_at = now() - interval '25 hours'")
    else:
        amazon.world.set_outbound_2026(SELLER, False)
    amazon.world.ship_now(SELLER)
    broken(amazon, operation, "FR-0", status)
    counts = track()
    assert (counts["asked"], counts["unreadable"]) == (2, 1)
    assert {row[0] for row in packages(sql)} == {"FR-1"}
    assert said("order", "FR-0", status) in sql("SELECT summary FROM fba.run").fetchone()[0].splitlines()


def test_an_outage_ends_the_asking(amazon, sql, request_at_amazon, no_retry_sleep):
    request_at_amazon()
    amazon.world.set_outbound_2026(SELLER, False)
    broken(amazon, "getFulfillmentOrder", None, 500)
    with pytest.raises(UnavailableError):
        track()


@pytest.mark.parametrize("status", [500, 200])
def test_a_package_that_amazon_fails_for_stops_no_other(amazon, sql, request_at_amazon, no_retry_sleep, status):
    for number in ("FR-0", "FR-1"):
        request_at_amazon(number, parts=1)
    amazon.world.set_outbound_2026(SELLER, False)
    amazon.world.ship_now(SELLER)
    first = SellingPartnerHook().find_fulfillment_order("FR-0").fulfillment_shipments[0]
    number = str(first.fulfillment_shipment_package[0].package_number)
    broken(amazon, "getPackageTrackingDetails", number, status)
    track()
    assert {row[0] for row in packages(sql)} == {"FR-0", "FR-1"}  # the order says the rest
    assert said("package", number, status) in sql("SELECT summary FROM fba.run").fetchone()[0].splitlines()


def test_since_reads_again_and_moves_the_cursor_only_without_a_gap(amazon, sql, request_at_amazon):
    request_at_amazon()
    track()
    sql(
        "UPDATE fba.order_cursor SET read_until = read_until - interval '1 minute'"
    )  # Amazon's clock shows whole seconds
    stood = cursor(sql)
    track(since="2026-11-01")
    assert cursor(sql) > stood
    stood = cursor(sql)
    sql("UPDATE fba.order_cursor SET read_until = read_until - interval '1 day'")
    back = cursor(sql)
    track(since=(stood[0] - timedelta(minutes=1)).isoformat())
    assert cursor(sql) == back


def test_a_cursor_in_the_future_is_not_believed(amazon, sql, request_at_amazon):
    request_at_amazon()
    track()
    sql("UPDATE fba.order_cursor SET read_until = now() + interval '2 years'")
    amazon.world.ship_now(SELLER)
    track()
    assert packages(sql)
    assert cursor(sql)[0] < datetime.now(UTC)


@pytest.mark.parametrize("ahead", [-7200, 7200, 90])
def test_an_order_is_not_missed_when_amazons_clock_is_another(amazon, sql, request_at_amazon, ahead):
    amazon.world.set_clock(ahead=ahead)
    request_at_amazon()
    track()
    amazon.world.ship_now(SELLER)
    track()
    track()
    assert {row[4] for row in packages(sql)} == {"IN_TRANSIT"}


def test_what_no_page_names_for_a_day_is_asked_for(amazon, sql, request_at_amazon):
    request_at_amazon()
    amazon.world.set_order_listing(lost=["FR-1"])
    track()
    amazon.world.ship_now(SELLER)
    assert track()["asked"] == 0
    sql("UPDATE fba.fulfillment_request SET sent_at = now() - interval '2 days'")
    assert track()["asked"] == 1
    assert len(packages(sql)) == 2
    assert track()["asked"] == 0
    sql("UPDATE fba.tracked_order SET read_at = now() - interval '25 hours'")
    for parcel in (1, 2):
        amazon.world.set_parcel(SELLER, "FR-1", parcel, status="DELIVERED")
    assert track()["asked"] == 1
    assert {row[4] for row in packages(sql)} == {"DELIVERED"}
    sql("UPDATE fba.tracked_order SET read_at = now() - interval '25 hours'")
    assert track()["asked"] == 0, "all is delivered"


def test_an_order_that_amazon_does_not_have_is_asked_for_once_a_day(amazon, warehouse, sql):
    add_request(sql, "FR-1", ("AFN-PLAIN", 1))
    sql("UPDATE fba.fulfillment_request SET sent_at = now() - interval '2 days'")
    assert [track()["asked"] for _ in range(3)] == [1, 0, 0]
    assert sql("SELECT status FROM fba.fulfillment_request").fetchall() == [("accepted",)]


def test_without_the_list_each_order_is_asked_for_and_that_is_told_once(amazon, sql, request_at_amazon, no_retry_sleep):
    for number in ("FR-1", "FR-2"):
        request_at_amazon(number)
    amazon.world.set_outbound_2026(SELLER, False)
    amazon.world.ship_now(SELLER)
    ctx = context()
    assert run(TrackOrdersOperator(task_id="track"), ctx)["asked"] == 2
    told = "does not have Fulfillment Outbound 2026-07-04"
    assert told in sql("SELECT summary FROM fba.run").fetchone()[0]
    assert {row[4] for row in packages(sql)} == {"IN_TRANSIT"}
    assert [row[2] for row in progress(sql)] == [4]
    for number in ("FR-1", "FR-2"):
        for parcel in (1, 2):
            amazon.world.set_parcel(SELLER, number, parcel, status="DELIVERED")
    second = context("second")
    assert run(TrackOrdersOperator(task_id="track"), second)["asked"] == 2
    assert told not in sql("SELECT summary FROM fba.run WHERE run_id = 'second'").fetchone()[0]
    assert {row[4] for row in packages(sql)} == {"DELIVERED"}
    delivered = {row[0] for row in sql("SELECT delivered_at FROM fba.package").fetchall()}
    assert delivered == {datetime.fromisoformat(each["delivered"]) for each in amazon.world.parcels(SELLER)}
    assert track()["asked"] == 0
    before = packages(sql)
    amazon.world.set_outbound_2026(SELLER, True)
    track()
    assert packages(sql) == before, "the same parcels, by their numbers"
    assert sql("SELECT without_list_since FROM fba.order_cursor").fetchone() == (None,)


def test_the_oldest_question_comes_first(amazon, sql, request_at_amazon, asked, monkeypatch):
    monkeypatch.setattr(tracking, "MAX_ASKED", 2)
    numbers = [request_at_amazon(f"FR-{n}", parts=1) for n in range(5)]
    amazon.world.set_outbound_2026(SELLER, False)
    questions = asked("find_fulfillment_order")
    for _ in range(5):
        track()
    assert questions == [*numbers, *numbers]


def test_an_answer_to_an_earlier_question_takes_nothing_back(amazon, sql, request_at_amazon, monkeypatch):
    request_at_amazon(parts=1)
    amazon.world.ship_now(SELLER)
    track()
    amazon.world.set_parcel(SELLER, "FR-1", status="DELIVERED")
    track()
    amazon.world.set_parcel(SELLER, "FR-1", status="IN_TRANSIT")
    real = tracking._now
    monkeypatch.setattr(tracking, "_now", lambda lock: real(lock) - timedelta(hours=1))
    track()
    assert [row[4] for row in packages(sql)] == ["DELIVERED"]


@pytest.mark.parametrize(
    ("at_amazon", "status", "told"),
    [
        ("Invalid", "rejected", "rejected (order)"),
        ("Unfulfillable", "rejected", "rejected (order)"),
        ("Cancelled", "cancelled", "cancelled (order)"),
        ("CompletePartialled", "accepted", "unfulfillable (order)"),
    ],
)
def test_what_amazon_will_not_ship_is_moved(amazon, sql, request_at_amazon, at_amazon, status, told):
    request_at_amazon()
    amazon.world.set_order_status(SELLER, "FR-1", at_amazon)
    track()
    track()
    assert sql("SELECT status, amazon_order_status FROM fba.fulfillment_request").fetchone() == (status, at_amazon)
    assert timeline(sql).count(told) == 1
    assert ("unfulfillable (order)" in timeline(sql)) == (at_amazon in ("Unfulfillable", "CompletePartialled"))


def test_the_end_of_an_earlier_order_of_its_number_ends_nothing(amazon, sql, request_at_amazon):
    request_at_amazon()
    amazon.world.set_order_status(SELLER, "FR-1", "Unfulfillable")
    sql("UPDATE fba.fulfillment_request SET sent_at = now() + interval '2 hours'")
    track()
    assert sql("SELECT status FROM fba.fulfillment_request").fetchone() == ("accepted",)


@pytest.mark.parametrize("status", ["unknown", "submitted"])
def test_an_order_is_proof(amazon, sql, request_at_amazon, status):
    request_at_amazon(status=status)
    track()
    assert sql("SELECT status FROM fba.fulfillment_request").fetchone() == ("accepted",)
    assert timeline(sql)[-1] in ("accepted (order)", "planned (order)")


@pytest.mark.parametrize("status", ["unknown", "submitted"])
def test_anothers_order_is_none(amazon, warehouse, sql, status):
    add_request(sql, "FR-1", ("AFN-PLAIN", 4), status=status)
    orders_at_amazon(amazon, ["FR-1"], "AFN-PLAIN", 5)
    amazon.world.ship_now(SELLER)
    assert track()["others"] == 1
    assert sql("SELECT status FROM fba.fulfillment_request").fetchone() == (status,)
    assert packages(sql) == []


def test_the_number_of_a_pending_request_that_amazon_has_is_kept_for_the_sender(amazon, warehouse, sql):
    add_request(sql, "FR-1", ("AFN-PLAIN", 4), status="pending")
    orders_at_amazon(amazon, ["FR-1"], "AFN-PLAIN", 4)
    assert track()["others"] == 1
    assert sql("SELECT fr_number FROM fba.order_at_amazon").fetchall() == [("FR-1",)]


def test_statuses_in_other_letters_quantities_as_text_and_missing_fields(amazon, sql, request_at_amazon):
    request_at_amazon()
    amazon.world.set_order_answers(capitals=True, quantities_as_text=True)
    amazon.world.ship_now(SELLER)
    track()
    assert progress(sql) == [("AFN-PLAIN", 4, 4, 0, 0, "complete", "order")]


def test_nobodys_name_photo_or_address_is_in_a_table(amazon, sql, request_at_amazon):
    request_at_amazon()
    amazon.world.ship_now(SELLER)
    for parcel in (1, 2):
        amazon.world.set_parcel(SELLER, "FR-1", parcel, status="DELIVERED")
    track()
    for table in ("package", "package_item", "request_event", "tracked_order", "run"):
        text = str(sql(f"SELECT t::text FROM fba.{table} AS t").fetchall())
        assert "A Buyer" not in text
        assert "photo" not in text.lower()
        assert "1 Main St" not in text


# Two witnesses


def test_a_parcel_that_report_and_order_know_is_one(amazon, sql, request_at_amazon, load_report):
    request_at_amazon()
    amazon.world.ship_now(SELLER)
    load_report()
    assert progress(sql) == [("AFN-PLAIN", 4, 4, 0, 0, "complete", "report")]
    assert timeline(sql)[-2:] == ["shipped (report)", "shipped (report)"]
    track()
    assert progress(sql) == [("AFN-PLAIN", 4, 4, 0, 0, "complete", "both")]
    assert [each for each in timeline(sql) if each.startswith("shipped")] == ["shipped (report)", "shipped (report)"]
    keys = {key for (key,) in sql("SELECT package_key FROM fba.package").fetchall()}
    assert {
        key for (key,) in sql("SELECT package_key FROM fba.request_event WHERE package_key <> ''").fetchall()
    } == keys
    load_report()
    track()
    assert [each for each in timeline(sql) if each.startswith("shipped")] == ["shipped (report)", "shipped (report)"]


def test_the_order_first_and_the_report_after_it(amazon, sql, request_at_amazon, load_report):
    request_at_amazon()
    amazon.world.ship_now(SELLER)
    track()
    load_report()
    assert progress(sql) == [("AFN-PLAIN", 4, 4, 0, 0, "complete", "both")]
    assert [each for each in timeline(sql) if each.startswith("shipped")] == ["shipped (order)", "shipped (order)"]


@pytest.fixture
def load_report(amazon, warehouse):
    """Load a report of what the sandbox has shipped."""
    reports = Reports(warehouse)

    def load():
        rows = amazon.world.shipment_truth(SELLER, "ATVPDKIKX0DER")["rows"]
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
        return reports.load(reports.add(content))

    return load


def differing(sql):
    return sql("SELECT fr_number FROM fba.tracked_order WHERE differs_since IS NOT NULL").fetchall()


def test_witnesses_that_know_different_parcels_are_noted_and_ship_no_more_than_was_ordered(
    amazon, sql, request_at_amazon, load_report
):
    request_at_amazon(parts=1)
    amazon.world.ship_now(SELLER)
    load_report()
    track()
    assert differing(sql) == []
    sql("UPDATE fba.shipment_item SET tracking_number = 'ANOTHER-1'")
    track()
    assert differing(sql) == [("FR-1",)]
    assert progress(sql) == [("AFN-PLAIN", 4, 4, 0, 0, "complete", "both")]
    since = sql("SELECT differs_since FROM fba.tracked_order").fetchone()
    sql("UPDATE fba.shipment_item SET quantity = 3")
    track()
    assert sql("SELECT differs_since FROM fba.tracked_order").fetchone() == since, "since then, and still so"
    sql("UPDATE fba.shipment_item SET quantity = 4, tracking_number = (SELECT lower(tracking_number) FROM fba.package)")
    track()
    assert differing(sql) == []
    assert progress(sql) == [("AFN-PLAIN", 4, 4, 0, 0, "complete", "both")]


@pytest.mark.parametrize(
    ("reported", "told", "shipped"),
    [
        ([("T1", 2)], [("T1", 2)], 2),
        ([("T1", 2)], [("T1", 1)], 2),
        ([("T1", 2)], [("T2", 1)], 3),
        ([("", 2)], [("T1", 2)], 2),  # a parcel without a number may be the other's
        ([("", 3)], [("T1", 2)], 3),
        ([("T1", 1), ("", 1)], [("T1", 1), ("T2", 1)], 2),
        ([("T1", 1), ("T3", 1)], [("", 1), ("T1", 1)], 2),
        ([("", 1)], [("", 2)], 2),
        ([], [("T1", 2)], 2),
        ([("T1", 2), ("T2", 1)], [], 3),
    ],
)
def test_shipped_is_the_union_of_the_parcels(warehouse, sql, reported, told, shipped):
    add_request(sql, "FR-1", ("SKU", 9))
    for n, (number, units) in enumerate(reported):
        sql(
            "INSERT INTO fba.shipment_item (store, item_key, order_id, fr_number, sku, quantity, tracking_number)"
            " VALUES ('amazon_us', %s, 'S0', 'FR-1', 'SKU', %s, nullif(%s, ''))",
            *(str(n), units, number),
        )
    for n, (number, units) in enumerate(told):
        sql(
            "INSERT INTO fba.package (store, fr_number, package_key, tracking_number, status)"
            " VALUES ('amazon_us', 'FR-1', %s, nullif(%s, ''), 'IN_TRANSIT')",
            *(str(n), number),
        )
        sql("INSERT INTO fba.package_item VALUES ('amazon_us', 'FR-1', %s, 'SKU', %s)", str(n), units)
    ((_, _, units, _, _, _, witnesses),) = progress(sql)
    assert units == shipped
    assert witnesses == ("both" if reported and told else "report" if reported else "order")


@pytest.mark.parametrize(
    ("ordered", "reported", "shipped"),
    [
        (4, [], 2),
        (4, [("1Z1", 2)], 2),  # the order will tell the carrier's number later
        (4, [("1Z1", 2), ("1Z2", 2)], 4),
        (4, [("TBA1", 2)], 2),
        (4, [("TBA1", 2), ("1Z2", 2)], 4),
        (4, [("n/a", 2)], 2),
    ],
)
def test_a_parcel_of_which_only_amazons_number_is_known_may_be_the_reports(warehouse, sql, ordered, reported, shipped):
    add_request(sql, "FR-1", ("SKU", ordered))
    sql(
        "INSERT INTO fba.package (store, fr_number, package_key, amazon_tracking_number, status)"
        " VALUES ('amazon_us', 'FR-1', 'TBA1', 'TBA1', 'IN_TRANSIT')"
    )
    sql("INSERT INTO fba.package_item VALUES ('amazon_us', 'FR-1', 'TBA1', 'SKU', 2)")
    for number, units in reported:
        sql(
            "INSERT INTO fba.shipment_item (store, item_key, order_id, fr_number, sku, quantity, tracking_number)"
            " VALUES ('amazon_us', %s, 'S0', 'FR-1', 'SKU', %s, %s)",
            *(number, units, number),
        )
    assert [row[2] for row in progress(sql)] == [shipped]


def needs(sql):
    return sql("SELECT code FROM fba.needs_attention WHERE subject = 'FR-1' ORDER BY 1").fetchall()


def set_parcels(amazon, *parcels):
    for n, (number, status) in enumerate(parcels, 1):
        amazon.world.set_parcel(SELLER, "FR-1", n, status=status, tracking_number=number, amazon_number="")


@pytest.mark.parametrize("number", ["1Z1", "N/A", "-", "0000", "not available"])
@pytest.mark.parametrize("report_first", [True, False])
def test_of_two_parcels_with_one_number_each_has_its_state(
    amazon, warehouse, sql, request_at_amazon, number, report_first
):
    request_at_amazon()
    amazon.world.ship_now(SELLER)
    set_parcels(amazon, (number, "DELIVERED"), (number, "UNDELIVERABLE"))
    if not report_first:
        track()
    rows = (
        row(
            shipment_item_id=item,
            merchant_order_id="FR-1",
            sku="AFN-PLAIN",
            quantity_shipped="2",
            tracking_number=number,
        )
        for item in "ab"
    )
    reports = Reports(warehouse)
    reports.load(reports.add(document(*rows)))
    track()
    assert sorted(row[4] for row in packages(sql)) == ["DELIVERED", "UNDELIVERABLE"]
    assert progress(sql) == [("AFN-PLAIN", 4, 4, 2, 0, "complete", "both")]
    assert needs(sql) == [("undeliverable",)]
    assert differing(sql) == []
    shown = [[number]] if number == "1Z1" else [[]]
    assert [row[0] for row in sql("SELECT tracking_numbers FROM fba.fulfillment_progress").fetchall()] == shown


def test_a_parcel_that_gets_the_number_of_another_stays_itself(amazon, sql, request_at_amazon):
    request_at_amazon()
    amazon.world.ship_now(SELLER)
    set_parcels(amazon, ("1Z1", "IN_TRANSIT"), ("1Z2", "IN_TRANSIT"))
    track()
    set_parcels(amazon, ("1Z1", "DELIVERED"), ("1Z1", "UNDELIVERABLE"))
    track()
    assert [row[1:] for row in packages(sql)] == [
        ("1Z1", packages(sql)[0][2], "1Z1", "DELIVERED"),
        ("1Z2", packages(sql)[1][2], "1Z1", "UNDELIVERABLE"),
    ]
    assert progress(sql) == [("AFN-PLAIN", 4, 4, 2, 0, "complete", "order")]


# The list may tell again what it told before


def test_what_the_list_dates_earlier_than_what_is_known_takes_nothing_back(amazon, sql, request_at_amazon):
    request_at_amazon(parts=1)
    amazon.world.ship_now(SELLER)
    amazon.world.set_parcel(SELLER, "FR-1", status="OUT_FOR_DELIVERY")
    track()
    amazon.world.set_parcel(SELLER, "FR-1", status="IN_TRANSIT")
    sql("UPDATE fba.tracked_order SET amazon_updated_at = clock_timestamp()")
    assert track()["orders"] == 1
    assert [row[4] for row in packages(sql)] == ["OUT_FOR_DELIVERY"]
    sql("UPDATE fba.tracked_order SET read_at = now() - interval '25 hours'")
    sql("UPDATE fba.fulfillment_request SET sent_at = now() - interval '2 days'")
    amazon.world.set_order_listing(lost=["FR-1"])
    assert track()["asked"] == 1
    assert [row[4] for row in packages(sql)] == ["IN_TRANSIT"], "asked for by itself it is believed"


def test_a_date_that_is_still_to_come_holds_nothing_back(amazon, sql, request_at_amazon):
    request_at_amazon(parts=1)
    amazon.world.ship_now(SELLER)
    track()
    sql("UPDATE fba.tracked_order SET amazon_updated_at = now() + interval '1 year'")
    amazon.world.set_parcel(SELLER, "FR-1", status="DELIVERED")
    track()
    assert [row[4] for row in packages(sql)] == ["DELIVERED"]


@pytest.mark.parametrize("newer_first", [True, False])
@pytest.mark.parametrize(("minutes", "states"), [(9, ["DELIVERED"]), (0, ["DELIVERED", "UNDELIVERABLE"])])
def test_of_an_order_twice_on_a_page_the_newer_counts(amazon, sql, request_at_amazon, newer_first, minutes, states):
    def told(status, number, ago):
        updated = (datetime.now(UTC) - timedelta(minutes=ago)).replace(microsecond=0).isoformat()
        parcel = {"packageId": "1", "status": status, "tracking": {"carrier": {"trackingNumber": number}}}
        shipment = {"amazonShipmentId": f"S-{number}", "status": "SHIPPED", "packages": [parcel]}
        return {"orderId": "FR-1", "status": "COMPLETE", "statusUpdateTime": updated, "shipments": [shipment]}

    request_at_amazon()
    page = [told("UNDELIVERABLE", "1Z2", 10), told("DELIVERED", "1Z1", 10 - minutes)]
    body = {"orders": page[::-1] if newer_first else page}
    amazon.world.add_fault("listOrders", "status", times=1, status=200, body=body)
    track()
    assert sorted(row[4] for row in packages(sql)) == states


def test_what_has_not_left_amazon_is_not_shipped(warehouse, sql):
    add_request(sql, "FR-1", ("SKU", 2))
    sql(
        "INSERT INTO fba.package (store, fr_number, package_key, status) VALUES ('amazon_us', 'FR-1', 'P', 'PROCESSING')"
    )
    sql("INSERT INTO fba.package_item VALUES ('amazon_us', 'FR-1', 'P', 'SKU', 2)")
    assert progress(sql) == [("SKU", 2, 0, 0, 2, "open", None)]


def test_a_carrier_in_two_spellings_is_one(warehouse, sql):
    add_request(sql, "FR-1", ("SKU", 2))
    sql(
        "INSERT INTO fba.package (store, fr_number, package_key, amazon_tracking_number, carrier, status)"
        " VALUES ('amazon_us', 'FR-1', 'TBA1', 'TBA1', 'AMZL', 'IN_TRANSIT')"
    )
    sql("INSERT INTO fba.package_item VALUES ('amazon_us', 'FR-1', 'TBA1', 'SKU', 2)")
    carriers = "SELECT carriers, tracking_numbers FROM fba.fulfillment_progress"
    assert sql(carriers).fetchone() == (["AMZL"], ["TBA1"])
    sql(
        "INSERT INTO fba.shipment_item (store, item_key, order_id, fr_number, sku, quantity, tracking_number, carrier)"
        " VALUES ('amazon_us', 'K', 'S0', 'FR-1', 'SKU', 2, 'TBA1', 'AMZN_US')"
    )
    assert sql(carriers).fetchone() == (["AMZN_US"], ["TBA1"])


def test_a_parcel_that_cannot_be_delivered_is_told_by_the_run_that_ends_then(request_at_amazon, amazon, sql, warehouse):
    request_at_amazon(parts=1)
    amazon.world.ship_now(SELLER)
    amazon.world.set_parcel(SELLER, "FR-1", status="UNDELIVERABLE")

    def a_run(name):
        ctx = context(name)
        run(TrackOrdersOperator(task_id="track"), ctx, on_wait=lambda moment: None)
        summarise = SummariseTrackingOperator(task_id="summarise", stores=[STORE])
        with warehouse.connect() as db:
            RunLog(summarise.dag_id, name, STORE).finish(db, "success", "")
        summarise.execute(ctx)
        with warehouse.connect() as db:
            return end_run(db, summarise.dag_id, name)[STORE]

    first, second = a_run("first"), a_run("second")
    assert (first.attention, second.attention) == ({"undeliverable": 1}, {"undeliverable": 1})
    assert ("attention" in first.events, "attention" in second.events) == (True, False)
