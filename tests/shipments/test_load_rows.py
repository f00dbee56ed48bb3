"""Shipment rows into the warehouse: each once, in any order of windows, with Amazon's values and without personal data."""

from __future__ import annotations

import json
import random
import string
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import permutations
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.amazon.transport import Download
from fba_operators.errors import DecisionNeededError
from fba_operators.operators import (
    LoadShipmentsOperator,
    PlanWindowsOperator,
    RequestReportOperator,
    SummariseShipmentsOperator,
    WaitForShipmentsOperator,
)
from fba_operators.reports.ledger import ReportLedger
from fba_operators.warehouse.encryption import decrypt
from tests import timing
from tests.helpers import context, run
from tests.shipping import (
    AMERICAN,
    JAPANESE,
    PERSON,
    PLAIN,
    Reports,
    add_request,
    document,
    orders_at_amazon,
    progress,
    row,
)
from tests.stores import SELLER, SHIPMENTS_REPORT, STORE, US

COPY = "fba.amazon_fulfilled_shipments_report"


@pytest.fixture
def reports(warehouse):
    return Reports(warehouse)


def items(sql, columns="order_id, sku, quantity, tracking_number"):
    return sorted(sql(f"SELECT {columns} FROM fba.shipment_item").fetchall())


def row_versions(sql):
    return [
        sql(f"SELECT *, xmin::text FROM {table} ORDER BY item_key").fetchall() for table in (COPY, "fba.shipment_item")
    ]


# --- one report ------------------------------------------------------------------------------------------------------


def test_an_american_report_of_48_columns(reports, sql):
    first = row()
    counts = reports.load(reports.add(document(first, row(shipment_item_id="Dq1I2", sku="0012", item_price="25"))))
    assert (counts["lines"], counts["new"], counts["unknown_sku"]) == (2, 2, 2)
    kept = sql(f"SELECT to_jsonb(c) FROM {COPY} AS c WHERE item_key = 'Dq1I1'").fetchone()[0]
    assert kept["amazon_order_item_id"] == "07664457044546"
    assert (kept["item_price"], kept["ship_promotion_discount"], kept["merchant_order_id"]) == ("25.00", "-1.50", "")
    assert kept["line_number"] == 2
    assert datetime.fromisoformat(kept["reporting_date"]) == datetime(2026, 8, 14, 5, 30, tzinfo=UTC)
    assert sql(f"SELECT item_price, sku FROM {COPY} WHERE item_key = 'Dq1I2'").fetchone() == ("25", "0012")
    assert sql(
        "SELECT order_id, merchant_order_id, fr_number, sku, quantity, carrier, service_level, tracking_number, ship_date,"
        " shipment_id FROM fba.shipment_item WHERE item_key = 'Dq1I1'"
    ).fetchone() == (
        *("111-0000001-0000001", None, None, "WIDGET", 1, "AMZN_US", "Expedited", "TBA000000000001"),
        *(datetime(2026, 8, 14, 3, tzinfo=UTC), "Dq1"),
    )


def test_a_japanese_report_of_49_columns_in_cp932(reports, sql):
    rows = [
        row(
            amazon_order_id=f"249-000000{n}-0000001",
            shipment_item_id=f"Dj{n}",
            shipment_date="2017-06-05T19:58:19+09:00",
            sku=sku,
            product_name=name,
            currency="JPY",
            item_price="24732",
            carrier="YAMATO",
            points_granted="12",
        )
        for n, (sku, name) in enumerate([("K01E-GW", "スチームオーブン①"), ("扇風機-ソ", "リビング扇風機～")])
    ]
    reports.load(reports.add(document(*rows, columns=JAPANESE, charset="cp932"), charset="Shift_JIS"))
    assert items(sql, "sku, ship_date") == [
        ("K01E-GW", datetime(2017, 6, 5, 10, 58, 19, tzinfo=UTC)),
        ("扇風機-ソ", datetime(2017, 6, 5, 10, 58, 19, tzinfo=UTC)),
    ]
    assert set(sql(f"SELECT product_name, points_granted FROM {COPY}").fetchall()) == {
        ("スチームオーブン①", "12"),
        ("リビング扇風機～", "12"),
    }


def test_personal_data_is_stored_only_in_the_raw_copy(reports, sql):
    reports.load(reports.add(document(row(), columns=JAPANESE)))
    tables = sql("SELECT relname FROM pg_class WHERE relnamespace = 'fba'::regnamespace AND relkind = 'r'").fetchall()
    stored = "".join(str(sql(f"SELECT to_jsonb(t) FROM fba.{table} AS t").fetchall()) for (table,) in tables)
    assert "TBA000000000001" in stored
    for secret in PERSON.values():
        assert secret not in stored
    columns = {name for (name,) in sql("SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass", COPY)}
    assert not {name for name in columns if name.startswith(("buyer", "recipient", "ship_to", "ship_address", "bill"))}


RENAMED = (
    *("Ship Address 1", "ship_phone_number", "shipping-address-1", "shipto-name", "billing-name", "customer-name"),
    *("\u200bbuyer-name", "destinataire", "phone", "buyer-name", "colour"),
)


def test_a_column_that_is_not_known_may_be_a_buyers_and_is_kept_nowhere_in_the_clear(reports, sql):
    person = {**row(payments_date="soon"), **dict.fromkeys(RENAMED, "79 Hidden Lane")}
    renamed = run(
        LoadShipmentsOperator(task_id="load", report_id=reports.add(document(person, columns=(*AMERICAN, *RENAMED))))
    )
    tables = sql("SELECT relname FROM pg_class WHERE relnamespace = 'fba'::regnamespace AND relkind = 'r'").fetchall()
    assert "79 Hidden Lane" not in "".join(
        str(sql(f"SELECT to_jsonb(t) FROM fba.{name} AS t").fetchall()) for (name,) in tables
    )
    assert sql(f"SELECT extra FROM {COPY}").fetchall() == [({"payments-date": "soon"},)]
    assert renamed["left_out"] == ["buyer-name" if each == "\u200bbuyer-name" else each for each in RENAMED]
    again = run(
        LoadShipmentsOperator(
            task_id="load", report_id=reports.add(document(person, columns=(*AMERICAN, *RENAMED, "new")))
        )
    )
    assert again["left_out"] == ["new"]  # the others were told when they came


def test_columns_that_are_left_out_are_told_by_name_and_counted(amazon, reports, sql):
    loaded = [{"conn_id": STORE, "counts": {}, "left_out": names} for names in (["phone", "colour"], ["phone"], [])]
    kinds = {kind: [] for kind in ("named", "rejected", "cancelled", "partly", "unknown_at_amazon")}
    followed = {"conn_id": STORE, "asked": 0, "overdue": 0, **kinds}
    run(
        SummariseShipmentsOperator(
            task_id="summarise", stores=[STORE], windows=loaded, loaded=loaded, followed=followed, removed={}
        )
    )
    ((summary, attention),) = sql("SELECT summary, attention FROM fba.run").fetchall()
    assert "2 columns are not known and left out, since they may be a buyer's: colour, phone." in summary
    assert attention == {"report_drift": 2}


def test_product_names_cut_inside_a_letter_change_no_sku(reports, sql):
    add_request(sql, "FR-0", ("Größe-1", 1))
    mine = {"amazon_order_id": "S01-1", "merchant_order_id": "FR-0", "sku": "Größe-1"}
    rows = [row(shipment_item_id=f"D{n}", product_name="Übergröße, aus Bio-Baumwolle mü") for n in range(9)]
    content = document(*rows, {**rows[0], **row(shipment_item_id="D9", product_name="Übergröße, mü", **mine)})
    reports.load(reports.add(content.replace("mü\t".encode(), b"m\xc3\t")))
    ordered, shipped, *_ = progress(sql)["FR-0", "Größe-1"]
    assert (ordered, shipped) == (1, 1)


def test_a_stray_tab_puts_no_telephone_number_into_the_clear(reports, sql):
    """It shifts the buyer's number into the column of the SKU; the last column is blank, so the line is not too long."""
    shifted = row(buyer_email="x@marketplace.example\tA Buyer", buyer_phone_number="206 555 0199")
    shifted[AMERICAN[-1]] = ""
    report_id = reports.add(document(row(shipment_item_id="D1"), shifted))
    with pytest.raises(DecisionNeededError, match="1 of 2 lines"):
        reports.load(report_id)
    ((reason, sku, raw),) = sql("SELECT reason, sku, raw_line FROM fba.rejected_row").fetchall()
    assert "quantity-shipped is not a whole number" in reason
    assert sku is None
    assert b"206 555 0199" in decrypt(raw)
    assert b"206 555 0199" not in raw


def test_unreadable_rows_are_stored_as_rejected_and_the_others_written(reports, sql, monkeypatch):
    content = document(
        *(row(shipment_item_id=f"D{n}") for n in range(3)),
        row(shipment_item_id="BAD1", shipment_date="31/12/2026 10:00"),
        row(shipment_item_id="BAD2", shipment_date="now"),
        row(shipment_item_id="BAD3", quantity_shipped="two"),
        row(shipment_item_id="ODD", estimated_arrival_date="soon", payments_date="2026-02-30T00:00:00+00:00"),
    )
    report_id = reports.add(content)
    with pytest.raises(DecisionNeededError, match=r"3 of 7 lines .* All others are written"):
        reports.load(report_id)
    assert {key for (key,) in items(sql, "item_key")} == {"D0", "D1", "D2", "ODD"}
    rejected = sql("SELECT line_number, reason, sku, raw_line IS NOT NULL FROM fba.rejected_row ORDER BY 1").fetchall()
    assert [(number, sku, kept) for number, _, sku, kept in rejected] == [(n, None, True) for n in (5, 6, 7)]
    assert "shipment-date is no time" in rejected[0][1]
    assert sql("SELECT row_count, rejected_row_count FROM fba.report").fetchall() == [(4, 3)]
    odd = sql(f"SELECT estimated_arrival_date, payments_date, purchase_date, extra FROM {COPY} WHERE item_key = 'ODD'")
    estimated, paid, bought, extra = odd.fetchone()
    assert (estimated, paid, bought) == (None, None, datetime(2026, 8, 13, 1, 2, 3, tzinfo=UTC))
    assert extra == {"estimated-arrival-date": "soon", "payments-date": "2026-02-30T00:00:00+00:00"}
    before = row_versions(sql)
    with pytest.raises(DecisionNeededError):
        reports.load(report_id)
    assert row_versions(sql) == before


IMPOSSIBLE = ("9999-01-01T00:00:00Z", "2100-06-01T00:00:00+09:00", "1999-12-31T23:00:00Z", "0001-01-01T00:00:00Z")


def test_a_time_that_cannot_be_costs_its_row_or_itself_and_not_the_report(reports, sql):
    others = [row(shipment_item_id=f"D{n}", amazon_order_id=f"111-{n}") for n in range(300)]
    wrong = [row(shipment_item_id=f"BAD{n}", shipment_date=time) for n, time in enumerate(IMPOSSIBLE)]
    columns = ("purchase_date", "payments_date", "reporting_date", "estimated_arrival_date")
    odd = [row(shipment_item_id=f"ODD-{each}-{n}", **{each: t}) for each in columns for n, t in enumerate(IMPOSSIBLE)]
    with pytest.raises(DecisionNeededError, match="4 of 320 lines"):  # more than one in a hundred
        reports.load(reports.add(document(*wrong, *others, *odd)))
    assert len(items(sql)) == 300 + len(odd)
    reasons = set(sql("SELECT line_number, reason FROM fba.rejected_row").fetchall())
    assert reasons == {(n, "shipment-date is no time in ISO 8601 between the years 2000 and 2100") for n in range(2, 6)}
    for column in columns:
        kept = sql(
            f"SELECT {column}, extra FROM {COPY} WHERE item_key LIKE 'ODD-{column}-%' ORDER BY item_key"
        ).fetchall()
        assert kept == [(None, {column.replace("_", "-"): time}) for time in IMPOSSIBLE]


@pytest.mark.parametrize("zone", ["America/New_York", "Pacific/Kiritimati"])
def test_the_first_and_last_hours_that_tables_take_depend_on_who_made_them(reports, sql, zone):
    sql(f"SET TimeZone TO '{zone}'")
    for table, column in ((COPY, "shipment_date"), ("fba.shipment_item", "ship_date")):
        name = f"{column}_is_possible"
        sql(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        sql(f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({column} BETWEEN '2000-01-01' AND '2100-01-01')")
    hours = ("2000-01-01T01:00:00Z", "2099-12-31T12:00:00Z")
    with pytest.raises(DecisionNeededError, match="2 of 3 lines"):
        reports.load(reports.add(document(row(), *(row(shipment_item_id=at, shipment_date=at) for at in hours))))
    assert len(items(sql)) == 1


@pytest.mark.parametrize("column", ["amazon_order_id", "sku", "shipment_item_id", "merchant_order_id"])
def test_an_id_that_no_index_takes_costs_its_row_and_not_the_report(reports, sql, column):
    rng = random.Random(1)
    long = "".join(rng.choice(string.ascii_letters) for _ in range(9000))  # cannot be compressed
    others = [row(shipment_item_id=f"D{n}") for n in range(300)]
    counts = reports.load(reports.add(document(*others, row(**{column: long}))))
    assert (counts["new"], counts["rejected"]) == (300, 1)
    ((reason,),) = sql("SELECT reason FROM fba.rejected_row").fetchall()
    assert column.replace("_", "-") in reason
    assert "longer than 255 characters" in reason


def test_an_empty_report_is_no_error(reports, sql):
    assert reports.load(reports.add(document()))["lines"] == 0
    assert reports.load(reports.add(b"")) == {}
    assert sql("SELECT count(*) FROM fba.report WHERE applied_at IS NOT NULL").fetchone() == (2,)


def test_counts_of_each_kind(reports, sql):
    sql(
        "INSERT INTO fba.global_inventory_pool (store, sku, fba_quantity, fbm_quantity, quantity, quantity_source)"
        " VALUES (%s, 'WIDGET', 1, 0, 1, 'afn_report')",
        STORE,
    )
    reports.load(reports.add(document(row(), row(shipment_item_id="", tracking_number="T2"))))
    sql("INSERT INTO fba.fulfillment_request (store, fr_number) VALUES (%s, 'FR-1')", STORE)
    counts = reports.load(
        reports.add(
            document(
                row(carrier="UPS"),
                row(carrier="UPS"),
                row(shipment_item_id="NOW-KNOWN", tracking_number="T2"),
                row(shipment_item_id="", tracking_number="T3"),
                row(shipment_item_id="X1", amazon_order_id="S01-1", merchant_order_id="FR-1"),
                row(shipment_item_id="X2", amazon_order_id="S01-2", merchant_order_id="FR-2", sku="GONE"),
            )
        )
    )
    assert counts == {
        **{"lines": 6, "rows": 5, "new": 4, "updated": 1, "repeated": 1, "replaced": 1, "without_id": 1},
        **{"of_requests": 1, "without_request": 1, "unknown_sku": 1, "rejected": 0},
    }


# --- many reports ----------------------------------------------------------------------------------------------------


def test_the_same_report_twice_changes_nothing(reports, sql):
    content = document(row(), row(shipment_item_id=""), row(shipment_item_id=""), row(shipment_item_id="Z", sku="B"))
    report_id = reports.add(content)
    assert reports.load(report_id)["new"] == 2  # the two without an id belong to the package of the first
    before = row_versions(sql)
    assert reports.load(report_id)["repeated"] == 4
    again = reports.load(reports.add(content))
    assert (again["new"], again["updated"], again["replaced"]) == (0, 0, 0)
    assert row_versions(sql) == before


def test_equal_rows_without_an_id_are_as_many_as_in_the_report(reports, sql):
    lines = [row(shipment_item_id="", quantity_shipped=quantity) for quantity in ("2", "2", "1")]
    reports.load(reports.add(document(*lines, row(shipment_item_id="", shipment_id="Dq9"))))
    assert sorted(q for (q,) in items(sql, "quantity")) == [1, 1, 2, 2]
    assert all(len(key) == 64 for (key,) in items(sql, "item_key"))
    reports.load(reports.add(document(*lines)))
    assert len(items(sql)) == 4


def test_a_row_with_an_id_replaces_the_one_without_in_any_order(reports, sql):
    without = document(row(shipment_item_id=""), row(shipment_item_id="", tracking_number="OTHER"))
    with_id = document(row(), row(shipment_item_id="Dq1I2", quantity_shipped="3"))
    for order in ((without, with_id), (with_id, without)):
        sql(f"TRUNCATE {COPY}, fba.shipment_item")
        for content in order:
            reports.load(reports.add(content))
        assert sorted(items(sql, "coalesce(nullif(length(item_key), 64), 0), tracking_number, quantity")) == [
            (0, "OTHER", 1),
            (5, "TBA000000000001", 1),
            (5, "TBA000000000001", 3),
        ]
        assert sql(f"SELECT count(*) FROM {COPY}").fetchone() == (3,)


def test_shipments_without_any_id_are_distinguished_by_their_date(reports, sql):
    blank = {"shipment_item_id": "", "shipment_id": "", "tracking_number": ""}
    one, other = (
        row(**blank, shipment_date=f"2026-08-{day}T03:00:00+00:00", quantity_shipped=q)
        for day, q in ((14, "1"), (20, "2"))
    )
    for content in (document(one, other), document(other), document(one)):
        reports.load(reports.add(content))
    assert sorted(q for (q,) in items(sql, "quantity")) == [1, 2]


def test_only_a_report_requested_later_updates_a_row(reports, sql):
    reports.load(reports.add(document(row(carrier="UPS")), hours=10))
    reports.load(reports.add(document(row(carrier="OLD")), hours=5))
    assert items(sql, "carrier") == [("UPS",)]
    assert reports.load(reports.add(document(row(carrier="FEDEX")), hours=20))["updated"] == 1
    assert items(sql, "carrier") == [("FEDEX",)]


def test_a_report_of_a_clock_that_was_ahead_keeps_no_later_one_out(reports, sql):
    reports.load(reports.add(document(row(carrier="OLD")), hours=500_000))
    assert reports.load(reports.add(document(row(carrier="UPS")), hours=20))["updated"] == 1
    assert items(sql, "carrier") == [("UPS",)]


def test_a_row_confirmed_by_a_report_is_not_overwritten_by_an_earlier_one(reports, sql):
    reports.load(reports.add(document(row(carrier="UPS")), hours=1))
    reports.load(reports.add(document(row(carrier="UPS")), hours=9))
    assert sql("SELECT report_requested_at FROM fba.shipment_item").fetchone() == (reports.first + timedelta(hours=1),)
    assert reports.load(reports.add(document(row(carrier="WRONG FOR A WHILE")), hours=5))["updated"] == 0
    elsewhere = (datetime(2026, 8, 20, tzinfo=UTC), datetime(2026, 8, 21, tzinfo=UTC))
    reports.load(reports.add(document(), hours=30, window=elsewhere))
    assert reports.load(reports.add(document(row(carrier="FEDEX")), hours=20))["updated"] == 1


def test_a_column_that_a_later_report_lacks_keeps_its_values(reports, sql):
    reports.load(reports.add(document(row())))
    columns = tuple(name for name in PLAIN if name != "carrier")
    assert reports.load(reports.add(document(row(currency="CAD"), columns=columns)))["updated"] == 1
    assert sql(f"SELECT carrier, currency FROM {COPY}").fetchone() == ("AMZN_US", "CAD")
    assert items(sql, "carrier") == [("AMZN_US",)]


GROUPS = st.tuples(st.sampled_from(["111-1", "S01-2"]), st.sampled_from(["", "D1"]), st.sampled_from(["", "T1", "T2"]))


@st.composite
def histories(draw):
    """Shipments (with the day they were reported and the times when their id is missing), and reports on them in any order."""
    days = st.integers(0, 9)
    facts = []
    for number, (order, shipment, tracking) in enumerate(draw(st.lists(GROUPS, max_size=6, unique=True))):
        id_missing = draw(st.sampled_from(["never", "always", "until", "from"]))
        reported, changes = draw(days), draw(st.integers(0, 40))
        for part in range(draw(st.integers(1, 2))):
            name = {
                "shipment_id": shipment,
                "tracking_number": tracking,
                "amazon_order_id": order,
                "sku": f"SKU{number}",
            }
            facts.append((f"I{number}-{part}", name, reported, draw(st.integers(1, 3)), id_missing, changes))
    requests = draw(st.lists(st.tuples(st.integers(0, 40), days, days), max_size=5, unique_by=lambda each: each[0]))
    windows = [(at, min(a, b), max(a, b)) for at, a, b in requests]
    return facts, draw(st.permutations([*windows, (50, 0, 9), *windows[:2]]))


def report_rows(facts, at, start, end):
    """The rows of a report requested at this hour, for the days of August in its window."""
    for item_id, name, reported, quantity, id_missing, changes in facts:
        visible = {"never": True, "always": False, "until": at > changes, "from": at <= changes}[id_missing]
        if start <= reported <= end:
            date = f"2026-08-{10 + reported}T03:00:00+00:00"
            yield row(
                **name,
                shipment_item_id=item_id if visible else "",
                amazon_order_item_id=f"{name['sku']}-item",
                quantity_shipped=str(quantity),
                carrier="AFTER" if at > changes else "BEFORE",
                shipment_date=date,
                reporting_date=date,
            )


def test_overlapping_windows_in_any_order_give_the_same_rows(reports, sql):
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
    @given(histories())
    def check(history):
        sql("TRUNCATE fba.report, fba.report_document, fba.shipment_item, fba.amazon_fulfilled_shipments_report")
        facts, windows = history
        day = lambda number: datetime(2026, 8, 10 + number, 3, tzinfo=UTC)  # noqa: E731
        for at, start, end in windows:
            content = document(*report_rows(facts, at, start, end))
            reports.load(reports.add(content, hours=at, window=(day(start), day(end))))
        expected = Counter(
            (name["amazon_order_id"], name["sku"], quantity, name["tracking_number"] or None)
            for _, name, _, quantity, _, _ in facts
        )
        assert Counter(items(sql)) == expected
        newest = {name["sku"] for _, name, _, _, id_missing, _ in facts if id_missing in ("never", "until")}
        assert {carrier for sku, carrier in items(sql, "sku, carrier") if sku in newest} <= {"AFTER"}
        assert sql(f"SELECT count(*) FROM {COPY}").fetchone() == (len(facts),)

    check()


def test_ten_loads_at_a_time_neither_duplicate_a_row_nor_block_each_other(reports, sql):
    rows = [row(shipment_item_id=f"I{n}" if n % 3 else "", tracking_number=f"T{n}", sku=f"S{n}") for n in range(200)]
    ids = [reports.add(document(*rows[n : n + 60])) for n in range(0, 150, 10)]
    ids += [reports.add(document(*reversed(rows))), ids[0], ids[0]]
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda number: reports.load(ids[number], context(f"run-{number}")), range(len(ids))))
    assert Counter(items(sql, "sku")) == Counter((f"S{n}",) for n in range(200))


@pytest.fixture
def slow_download(short_idle, monkeypatch):
    """Let a report that has no raw copy be downloaded slower than a transaction may do nothing: ``slow_download(content)``."""

    def download(content):
        def slow(hook, document_id):
            time.sleep(2.5)
            return Download(None, iter([content]))

        monkeypatch.setattr(SellingPartnerHook, "download_report", slow)

    return download


def test_a_download_may_take_longer_than_a_transaction_may_do_nothing(amazon, reports, sql, slow_download):
    report_id = reports.add(document(row()))
    sql("DELETE FROM fba.report_document")
    slow_download(document(row()))
    assert reports.load(report_id)["new"] == 1
    assert sql("SELECT applied_at IS NOT NULL FROM fba.report").fetchone() == (True,)


def test_a_report_that_two_tasks_download_at_a_time_is_stored_and_loaded_once(amazon, reports, sql, slow_download):
    content = document(*(row(shipment_item_id=f"I{n}") for n in range(50)))
    report_id = reports.add(content)
    sql("DELETE FROM fba.report_document")
    slow_download(content)
    with ThreadPoolExecutor(2) as pool:
        counts = list(pool.map(lambda run_id: reports.load(report_id, context(run_id)), ("a", "b")))
    assert sorted(each["new"] for each in counts) == [0, 50]
    assert sql("SELECT count(*) FROM fba.report_document").fetchone() == (1,)


# --- orders ----------------------------------------------------------------------------------------------------------


def test_progress_over_shipments_and_packages(reports, sql):
    add_request(sql, "FR-1", ("A", 2), ("A", 3), ("B", 1), ("C", 1))
    add_request(sql, "FR-2", ("A", 1))
    add_request(sql, "FR-3", ("A", 1), status="pending")
    ours = {"amazon_order_id": "S01-1", "merchant_order_id": "FR-1"}
    reports.load(
        reports.add(
            document(
                row(**ours, shipment_item_id="1", sku="A", quantity_shipped="2", tracking_number="T1"),
                row(**ours, shipment_item_id="2", sku="A", quantity_shipped="1", tracking_number="T2", carrier="UPS"),
                row(**ours, shipment_item_id="3", sku="B", quantity_shipped="2", tracking_number=""),
                row(**ours, shipment_item_id="4", sku="NOT ORDERED"),
            )
        )
    )
    assert progress(sql) == {
        ("FR-1", "A"): [5, 3, 2, 0, "partial", ["T1", "T2"], ["AMZN_US", "UPS"], "Expedited"],
        ("FR-1", "B"): [1, 2, 0, 1, "complete", [], ["AMZN_US"], "Expedited"],
        ("FR-1", "C"): [1, 0, 1, 0, "open", [], [], None],
        ("FR-1", "NOT ORDERED"): [0, 1, 0, 1, "complete", ["TBA000000000001"], ["AMZN_US"], "Expedited"],
        ("FR-2", "A"): [1, 0, 1, 0, "open", [], [], None],
    }
    assert items(sql, "fr_number") == [("FR-1",)] * 4


def test_a_request_recorded_after_its_shipment_is_attached(reports, sql):
    content = document(
        row(amazon_order_id="S01-1", shipment_item_id="1", merchant_order_id="FR-1"),
        row(amazon_order_id="111-2", shipment_item_id="2", merchant_order_id="FR-2"),
        row(amazon_order_id="111-3", shipment_item_id="3", merchant_order_id="NOT OURS"),
        row(amazon_order_id="S01-4", shipment_item_id="4", merchant_order_id=""),
    )
    reports.load(reports.add(content))
    assert dict(items(sql, "item_key, fr_number")) == {"1": "FR-1", "2": None, "3": None, "4": None}
    add_request(sql, "FR-1", ("WIDGET", 1))
    add_request(sql, "FR-2", ("WIDGET", 2))
    assert {key: values[4] for key, values in progress(sql).items()} == {
        ("FR-1", "WIDGET"): "complete",
        ("FR-2", "WIDGET"): "partial",
    }
    reports.load(reports.add(document()))
    assert dict(items(sql, "item_key, fr_number")) == {"1": "FR-1", "2": "FR-2", "3": None, "4": None}


# --- windows, waiting ------------------------------------------------------------------------------------------------


def plan(run_end, stores=(STORE,), **params):
    ctx = context()
    ctx["dag_run"] = SimpleNamespace(run_type="manual", data_interval_end=None, run_after=run_end)
    return PlanWindowsOperator(task_id="windows", stores=list(stores), **params).execute(ctx)


NOW = datetime.now(UTC).replace(microsecond=0)


def request_window(days=1, ago=1):
    """Request the report of a window that ended some days ago."""
    end = NOW - timedelta(days=ago)
    ((window),) = plan(end, lookback_days=days)
    operator = RequestReportOperator(
        task_id="request", report_type=SHIPMENTS_REPORT, data_start=window["start"], data_end=window["end"]
    )
    return run(operator)


def wait(report_id, **how):
    return run(WaitForShipmentsOperator(task_id="wait", report_id=report_id), **how)


def test_a_list_of_windows_for_each_store(stores_file):
    stores_file("stores: {amazon_us: {}, amazon_jp: {shipments: {lookback_days: 45}}}")
    end = datetime.now(UTC).replace(microsecond=0) - timedelta(days=2)
    planned = plan(end, stores=("amazon_us", "amazon_jp"))
    spans = [
        (each["conn_id"], *(datetime.fromisoformat(each[key]) - end for key in ("start", "end"))) for each in planned
    ]
    day = timedelta(days=1)
    assert spans == [
        ("amazon_us", -15 * day, 0 * day),
        ("amazon_jp", -45 * day, -15 * day),
        ("amazon_jp", -15 * day, 0 * day),
    ]
    assert json.loads(json.dumps(planned)) == planned


def test_an_identical_window_is_shared_for_half_an_hour_only(amazon, warehouse, pass_cooldown):
    amazon.world.override_document(SHIPMENTS_REPORT, document(row()))
    first = request_window()
    assert request_window() == first
    assert request_window(days=2) != first
    assert wait(first) == first
    assert request_window() == first
    pass_cooldown()
    assert request_window() != first


def test_a_report_cancelled_because_nothing_was_shipped_is_empty_at_once(amazon, warehouse, sql):
    cancelled = request_window()
    assert wait(cancelled) == cancelled
    result = run(LoadShipmentsOperator(task_id="load", report_id=cancelled))
    assert result == {"conn_id": STORE, "report_id": cancelled, "counts": {}}
    assert amazon.world.calls()["reports_created"] == {SHIPMENTS_REPORT: 1}


def test_a_report_cancelled_beside_another_window_is_requested_again(amazon, warehouse, pass_cooldown):
    amazon.world.override_document(SHIPMENTS_REPORT, document(row()))
    request_window()
    amazon.world.add_fault("createReport", "cancelled")
    cancelled = request_window(ago=3)
    amazon.world.override_document(SHIPMENTS_REPORT, document(row()))
    finished = wait(cancelled, on_wait=pass_cooldown)
    assert finished != cancelled
    assert len(pass_cooldown.moments) == 1
    assert pass_cooldown.moments[0] - datetime.now(UTC) > timedelta(minutes=25)
    assert ReportLedger(warehouse, STORE).get(finished)["status"] == "DONE"


def test_a_report_cancelled_repeatedly_beside_other_windows_is_not_taken_as_empty(
    amazon, warehouse, sql, pass_cooldown
):
    amazon.world.add_fault("createReport", "cancelled", skip=1, times=None)
    amazon.world.override_document(SHIPMENTS_REPORT, document(row()))
    wait(request_window())
    cancelled = request_window(ago=3)

    def later(moment):
        pass_cooldown(moment)
        if len(pass_cooldown.moments) == 1:  # another window is requested just before ours is requested again
            amazon.world.clear_faults()
            amazon.world.override_document(SHIPMENTS_REPORT, document(row()))
            request_window(ago=5)
            amazon.world.add_fault("createReport", "cancelled")

    finished = wait(cancelled, on_wait=later)
    assert len(pass_cooldown.moments) == 2
    # Without another window beside it, CANCELLED means that nothing was shipped.
    assert ReportLedger(warehouse, STORE).get(finished)["status"] == "CANCELLED"


def test_reports_cancelled_because_of_another_program_are_given_up_after_a_time(
    amazon, warehouse, sql, pass_cooldown, monkeypatch
):
    timing.cancelled_timeout(monkeypatch, timedelta(hours=2))

    def first(moment=None):
        if moment:
            pass_cooldown(moment)
        sql("UPDATE fba.rate_limit SET tokens = burst")
        amazon.world.clear_faults()
        amazon.world.override_document(SHIPMENTS_REPORT, document(row()))
        request_window(ago=5 + len(pass_cooldown.moments))
        amazon.world.add_fault("createReport", "cancelled")

    first()
    with pytest.raises(DecisionNeededError, match="for more than a day"):
        wait(request_window(), on_wait=first)
    assert len(pass_cooldown.moments) == 4  # half-hours


def test_a_report_cancelled_although_rows_are_known_is_never_empty(amazon, warehouse, reports, sql, pass_cooldown):
    reported = (datetime.now(UTC) - timedelta(days=1, hours=3)).isoformat()
    reports.load(reports.add(document(row(reporting_date=reported))))
    amazon.world.add_fault("createReport", "cancelled", times=2)
    with pytest.raises(DecisionNeededError, match="but 1 row of that time is known"):
        wait(request_window(), on_wait=pass_cooldown)
    assert len(pass_cooldown.moments) == 1


def test_cancelled_uses_an_equal_report_of_another_program(amazon, warehouse):
    from fba_operators.amazon.hook import SellingPartnerHook

    end = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    amazon.world.override_document(SHIPMENTS_REPORT, document(row()))
    other = SellingPartnerHook().create_report(SHIPMENTS_REPORT, data_start=end - timedelta(days=1), data_end=end)
    ((window),) = plan(end, lookback_days=1)
    ours = run(
        RequestReportOperator(
            task_id="request", report_type=SHIPMENTS_REPORT, data_start=window["start"], data_end=window["end"]
        )
    )
    assert ours != other
    assert wait(ours) == other


# --- with the sandbox's own orders -----------------------------------------------------------------------------------


def test_the_sandboxs_shipments_are_attached_as_in_its_truth(amazon, warehouse, sql):
    now = datetime.now(UTC)
    numbers = [f"FR-{number:02d}" for number in range(24)]
    orders_at_amazon(amazon, numbers, "AFN-PLAIN", 3)
    amazon.world.ship_now(SELLER)
    amazon.world.seed_shipments(
        SELLER, US, 400, (now - timedelta(days=40)).isoformat(), (now - timedelta(minutes=4)).isoformat()
    )
    truth = amazon.world.shipment_truth(SELLER, US)
    for number in numbers:
        add_request(sql, number, ("AFN-PLAIN", 3))
    windows = plan(now, lookback_days=41) + plan(now, lookback_days=9)
    for window in windows:
        sql("UPDATE fba.rate_limit SET tokens = burst")
        report_id = run(
            RequestReportOperator(
                task_id="request", report_type=SHIPMENTS_REPORT, data_start=window["start"], data_end=window["end"]
            )
        )
        run(LoadShipmentsOperator(task_id="load", report_id=wait(report_id)))
    expected = Counter(
        (line["amazon-order-id"], line["sku"], int(line["quantity"]), line["tracking-number"]) for line in truth["rows"]
    )
    assert Counter(items(sql)) == expected
    for (number, sku), values in progress(sql).items():
        expected_line = truth["orders"].get(number, {}).get(sku)
        ordered, shipped, _, _, _, tracking, carriers, _ = values
        assert (ordered, shipped) == (3, expected_line["quantity"] if expected_line else 0)
        assert tracking == sorted(expected_line["tracking_numbers"] if expected_line else [])
        assert carriers == sorted(expected_line["carriers"] if expected_line else [])
    assert {number for number, _ in progress(sql)} == set(numbers)


# --- rows that are known as they are ---------------------------------------------------------------------------------


@pytest.fixture
def staged(monkeypatch):
    """How many rows each load compares."""
    from fba_operators.shipments import load_rows

    numbers = []
    apply_rows = load_rows.apply_rows

    def counted(db, store, report):
        numbers.append(db.execute("SELECT count(*) FROM staged").fetchone()[0])
        return apply_rows(db, store, report)

    monkeypatch.setattr(load_rows, "apply_rows", counted)
    return numbers


def item(number, **changes):
    return row(shipment_item_id=f"D{number}", amazon_order_id=f"111-{number}", tracking_number=f"T{number}", **changes)


def without_id(number, **changes):
    return item(number, **changes) | {"shipment-item-id": ""}


def test_only_new_and_changed_rows_are_compared(reports, sql, staged):
    add_request(sql, "FR-1", ("WIDGET", 1))
    mine = item(3, merchant_order_id="FR-1") | {"amazon-order-id": "S01-3"}
    stray = item(4, merchant_order_id="FR-9") | {"amazon-order-id": "S01-4"}
    rows = [item(1), item(2), mine, stray, without_id(5)]
    first = reports.load(reports.add(document(*rows)))
    versions = row_versions(sql)
    again = reports.load(reports.add(document(*rows)))
    assert row_versions(sql) == versions
    assert {**again, "new": 5, "repeated": 0} == {**first, "new": 5, "repeated": 0}
    assert (again["new"], again["repeated"]) == (0, 5)
    changed = reports.load(reports.add(document(rows[0], item(2, carrier="UPS"), *rows[2:], item(6))))
    assert (changed["new"], changed["updated"], changed["repeated"], changed["of_requests"]) == (1, 1, 4, 1)
    assert (changed["without_request"], changed["without_id"], changed["unknown_sku"], changed["rows"]) == (1, 1, 6, 6)
    assert staged == [5, 0, 2]


def test_a_new_row_without_id_makes_all_of_them_compared(reports, sql, staged):
    reports.load(reports.add(document(item(1), without_id(2), without_id(3))))
    reports.load(reports.add(document(item(1), without_id(2), without_id(3), without_id(3))))
    assert staged == [3, 3]
    assert sql(f"SELECT count(*) FROM {COPY} WHERE amazon_order_id = '111-3'").fetchone() == (2,)


def test_of_a_new_and_a_known_row_of_one_id_the_last_counts(reports, sql):
    reports.load(reports.add(document(item(1, carrier="UPS"))))
    reports.load(reports.add(document(item(1, carrier="USPS"), item(1, carrier="UPS"))))
    assert sql("SELECT carrier FROM fba.shipment_item").fetchall() == [("UPS",)]
    reports.load(reports.add(document(item(1, carrier="UPS"), item(1, carrier="USPS"))))
    assert sql("SELECT carrier FROM fba.shipment_item").fetchall() == [("USPS",)]


@pytest.mark.parametrize("mode", ["origin", "replica"])
def test_a_row_edited_by_hand_is_put_right(reports, sql, mode):
    reports.load(reports.add(document(item(1), item(2))))
    right = sql(f"SELECT item_key, carrier, quantity_shipped FROM {COPY} ORDER BY 1").fetchall()
    sql(f"SET session_replication_role = {mode}")
    sql(f"UPDATE {COPY} SET carrier = 'by hand', quantity_shipped = 7 WHERE item_key = 'D1'")
    sql(f"DELETE FROM {COPY} WHERE item_key = 'D2'")
    sql("DELETE FROM fba.shipment_item WHERE item_key = 'D2'")
    sql("RESET session_replication_role")
    reports.load(reports.add(document(item(1), item(2))))
    assert sql(f"SELECT item_key, carrier, quantity_shipped FROM {COPY} ORDER BY 1").fetchall() == right
    assert items(sql, "item_key") == [("D1",), ("D2",)]


# --- items in several parcels ----------------------------------------------------------------------------------------


def test_an_item_in_two_parcels_has_two_rows(reports, sql):
    first, second = (row(tracking_number=number) for number in ("TBA1", "TBA2"))
    counts = reports.load(reports.add(document(first, second, second)))
    assert (counts["new"], counts["repeated"]) == (2, 1)
    both = [("Dq1I1", "TBA1"), ("Dq1I1\tTBA2", "TBA2")]
    query = "SELECT item_key, tracking_number FROM fba.shipment_item ORDER BY 1"
    assert sql(query).fetchall() == both
    for rows in ([second], [first], [second, first], [row(tracking_number=""), first, second]):
        reports.load(reports.add(document(*rows)))
        assert sql(query).fetchall() == both, rows


FIRST, SECOND, THIRD = (row(tracking_number=number, carrier="UPS") for number in ("TBA1", "TBA2", "TBA3"))
TWO_PARCELS = [("Dq1I1", "TBA1", "UPS"), ("Dq1I1\tTBA2", "TBA2", "UPS")]


def parcels(sql):
    """The rows of both tables, which must tell the same."""
    kept = sql(f"SELECT item_key, tracking_number, carrier FROM {COPY} ORDER BY 1").fetchall()
    assert sql("SELECT item_key, tracking_number, carrier FROM fba.shipment_item ORDER BY 1").fetchall() == kept
    return kept


@pytest.mark.parametrize("rows", [[FIRST, SECOND], [SECOND, FIRST]], ids=["in order", "the other way round"])
def test_two_parcels_of_an_item_that_come_again_are_known(reports, sql, staged, rows):
    reports.load(reports.add(document(*rows)))
    assert parcels(sql) == TWO_PARCELS
    versions = row_versions(sql)
    for again in (rows, rows[::-1], rows):
        counts = reports.load(reports.add(document(*again)))
        assert (counts["new"], counts["updated"], counts["repeated"]) == (0, 0, 2)
    assert staged == [2, 0, 0, 0]
    assert (parcels(sql), row_versions(sql)) == (TWO_PARCELS, versions)


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "with the other"])
@pytest.mark.parametrize("reverse", [True, False])
@pytest.mark.parametrize("changed", [0, 1])
def test_when_a_line_of_one_parcel_changes_the_other_stays(reports, sql, changed, reverse, alone):
    reports.load(reports.add(document(FIRST, SECOND)))
    rows = [FIRST, SECOND]
    rows[changed] = {**rows[changed], "carrier": "USPS"}
    told = [rows[changed]] if alone else rows[:: -1 if reverse else 1]
    counts = reports.load(reports.add(document(*told)))
    assert (counts["new"], counts["updated"]) == (0, 1)
    expected = [
        (key, number, "USPS" if n == changed else carrier) for n, (key, number, carrier) in enumerate(TWO_PARCELS)
    ]
    assert parcels(sql) == expected
    reports.load(reports.add(document(*rows)))
    assert parcels(sql) == expected


@pytest.mark.parametrize("rows", list(permutations([FIRST, SECOND, THIRD])), ids=str)
def test_a_further_parcel_of_a_known_item_has_its_own_row(reports, sql, rows):
    reports.load(reports.add(document(SECOND)))
    reports.load(reports.add(document(*rows)))
    assert [number for _, number, _ in parcels(sql)] == ["TBA1", "TBA2", "TBA3"]
    versions = row_versions(sql)
    for again in ([FIRST], [SECOND, THIRD], [THIRD], rows[::-1]):
        reports.load(reports.add(document(*again)))
    assert row_versions(sql) == versions


def test_a_later_report_gives_two_parcels_that_were_told_one_number(reports, sql):
    add_request(sql, "FR-1", ("S", 2))
    order = {"amazon_order_id": "S01-1", "merchant_order_id": "FR-1", "sku": "S", "quantity_shipped": "1"}

    def told(first, second):
        rows = (
            row(**order, shipment_item_id="I1", tracking_number=first),
            row(**order, shipment_item_id="I2", tracking_number=second),
        )
        reports.load(reports.add(document(*rows)))
        keys = "SELECT DISTINCT package_key FROM fba.request_event WHERE what = 'shipped' ORDER BY 1"
        return [key for (key,) in sql(keys).fetchall()]

    assert told("1Z1", "1Z2") == ["1Z1", "1Z2"]
    assert "1Z3" in told("1Z3", "1Z3")
    assert sql("SELECT DISTINCT tracking_number FROM fba.shipment_item").fetchall() == [("1Z3",)]
