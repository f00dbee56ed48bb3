"""The merge as an operator: the pool equals the merchant's true stock, or stays unchanged with a reason."""

from __future__ import annotations

import gzip
import re
import threading
import time
from pathlib import Path

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowSkipException
from cryptography.fernet import Fernet

from devstack.airflow import store_connection
from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.errors import ConfigurationError, DecisionNeededError, RequestRefusedError, UnavailableError
from fba_operators.inventory.inventory_api import ask_inventory_api
from fba_operators.operators import (
    MergeInventoryOperator,
    RequestReportOperator,
    SummariseRunOperator,
    WaitForReportOperator,
)
from tests import timing
from tests.helpers import context, run
from tests.stock import merge, pool, report
from tests.stores import AFN, LISTINGS, SELLER, US

pytestmark = pytest.mark.usefixtures("no_real_sleep")


@pytest.fixture
def next_hour(amazon, sql):
    """Let an hour pass, so that new reports are made."""

    def pass_time():
        sql("UPDATE fba.report SET requested_at = requested_at - interval '1 hour'")
        sql("UPDATE fba.rate_limit SET tokens = burst")
        amazon.world.advance(3700)

    return pass_time


def report_after_cancellation(report_type, next_hour):
    """Request a report and wait for it; if Amazon cancels it, it is requested again an hour later."""
    report_id = run(RequestReportOperator(task_id="request", report_type=report_type))
    return run(WaitForReportOperator(task_id="wait", report_id=report_id), on_wait=lambda moment: next_hour())


def snapshot(sql):
    return sql("SELECT * FROM fba.global_inventory_pool ORDER BY store, sku").fetchall()


@pytest.mark.parametrize("include_fbm", [False, True])
@pytest.mark.parametrize("fetch_missing", [False, True])
def test_the_pool_is_the_merchants_true_stock(amazon, warehouse, sql, include_fbm, fetch_missing):
    counts = merge(include_fbm_quantity=include_fbm, fetch_missing_inventory=fetch_missing)
    truth = amazon.world.truth(SELLER, US, include_fbm, fetch_missing)
    assert pool(sql) == truth
    assert counts["skus"] == counts["changed"] == len(truth)
    assert {"afn_report", "listings_report"} < {stock["source"] for stock in truth.values()}
    assert ("fba_api" in {stock["source"] for stock in truth.values()}) == fetch_missing


def test_switches_of_stores_yaml_apply_and_arguments_override_them(amazon, warehouse, sql, stores_file):
    stores_file(
        "stores: {amazon_us: {inventory: {include_fbm_quantity: true, fetch_missing_inventory: true, import_deleted_skus: false}}}"
    )
    merge(include_fbm_quantity=None, fetch_missing_inventory=False)
    rows = pool(sql)
    assert any(row["quantity"] > row["fba"] for row in rows.values())
    assert "fba_api" not in {row["source"] for row in rows.values()}
    listed = {sku for (sku,) in sql("SELECT seller_sku FROM fba.amazon_all_listings_report")}
    assert set(rows) <= listed


def test_an_unchanged_rerun_touches_no_row_of_the_pool(amazon, warehouse, sql):
    listings, afn = report(LISTINGS), report(AFN)
    merge(listings, afn)
    before = sql(
        "SELECT sku, xmin::text, ctid::text, updated_at FROM fba.global_inventory_pool ORDER BY sku"
    ).fetchall()
    assert merge(listings, afn)["changed"] == 0
    after = sql("SELECT sku, xmin::text, ctid::text, updated_at FROM fba.global_inventory_pool ORDER BY sku").fetchall()
    assert after == before


def test_only_what_changed_is_written(amazon, warehouse, sql, next_hour):
    merge()
    sku = next(sku for sku, row in pool(sql).items() if row["source"] == "afn_report" and row["fba"] > 0)
    amazon.world.set_stock(SELLER, US, sku, fba=pool(sql)[sku]["fba"] + 7)
    next_hour()
    assert merge()["changed"] == 1
    assert pool(sql) == amazon.world.truth(SELLER, US, False, False)
    ((ours,),) = sql(
        "SELECT count(*) FROM fba.global_inventory_pool WHERE afn_report_id IN (SELECT max(report_id) FROM fba.report WHERE report_type = %s)",
        AFN,
    )
    assert ours == 1


def test_every_line_is_a_row_or_rejected_and_the_copies_hold_them(amazon, warehouse, sql):
    merge()
    for report_type, table in ((LISTINGS, "amazon_all_listings_report"), (AFN, "amazon_afn_inventory_report")):
        rows, rejected = sql(
            "SELECT row_count, rejected_row_count FROM fba.report WHERE report_type = %s", report_type
        ).fetchone()
        assert sql(f"SELECT count(*), min(line_number) FROM fba.{table}").fetchone() == (rows, 2)
        assert rejected == 0
        raw = raw_document(sql, report_type)
        assert raw.count(b"\n") - 1 == rows


def raw_document(sql, report_type):
    from fba_operators.warehouse.encryption import decrypt

    chunks = sql(
        "SELECT content FROM fba.report_document JOIN fba.report USING (store, report_id) WHERE report_type = %s ORDER BY chunk",
        report_type,
    ).fetchall()
    assert all(not bytes(chunk).startswith(b"\x1f\x8b") for (chunk,) in chunks)
    return gzip.decompress(b"".join(decrypt(chunk) for (chunk,) in chunks))


def test_a_replay_gives_the_same_pool_without_amazon(amazon, warehouse, sql, next_hour):
    first = report(LISTINGS), report(AFN)
    merge(*first, fetch_missing_inventory=True)
    before = pool(sql)
    sku = next(sku for sku, row in before.items() if row["source"] == "afn_report" and row["fba"] > 0)
    amazon.world.set_stock(SELLER, US, sku, fba=before[sku]["fba"] + 5)
    next_hour()
    merge(fetch_missing_inventory=True)
    assert pool(sql) != before
    calls = amazon.world.calls()["calls"]
    merge(*first, fetch_missing_inventory=True, replay=True)
    assert pool(sql) == before
    assert amazon.world.calls()["calls"] == calls


def test_stock_never_goes_back_in_time(amazon, warehouse, sql, next_hour):
    old = report(LISTINGS), report(AFN)
    next_hour()
    merge()
    before = snapshot(sql)
    with pytest.raises(AirflowSkipException, match="never goes back"):
        merge(*old)
    assert snapshot(sql) == before
    assert sql("SELECT outcome FROM fba.run").fetchone() == ("skipped",)


def test_stock_that_drops_to_zero_is_refused_unless_accepted(amazon, warehouse, sql, next_hour):
    merge()
    before = snapshot(sql)
    amazon.world.shape_report(SELLER, US, AFN, mode="zero")
    next_hour()
    listings, afn = report(LISTINGS), report(AFN)
    with pytest.raises(DecisionNeededError, match=r"\d+ of \d+ SKUs in stock would drop to 0.*accept_zeroed_stock"):
        merge(listings, afn)
    assert snapshot(sql) == before
    assert sql("SELECT count(*) FROM fba.report_document WHERE report_id = %s", afn).fetchone() == (1,)
    merge(listings, afn, accept_zeroed_stock=True)
    assert pool(sql) == amazon.world.truth(SELLER, US, False, False)


@pytest.mark.parametrize("mode", ["empty", "no_data"])
@pytest.mark.parametrize("report_type", [LISTINGS, AFN])
@pytest.mark.parametrize("first_run", [True, False])
def test_an_empty_report_is_not_zero_stock(amazon, warehouse, sql, next_hour, mode, report_type, first_run):
    if not first_run:
        merge()
        next_hour()
    before = snapshot(sql)
    amazon.world.shape_report(SELLER, US, report_type, mode=mode)
    ids = [report_after_cancellation(each, next_hour) for each in (LISTINGS, AFN)]
    with pytest.raises(DecisionNeededError, match="nothing was written"):
        merge(*ids)
    assert snapshot(sql) == before


@pytest.mark.parametrize("mode", ["empty", "no_data"])
@pytest.mark.parametrize("first_run", [True, False])
def test_an_empty_listings_report_can_be_accepted_and_changes_no_title(
    amazon, warehouse, sql, next_hour, mode, first_run
):
    if not first_run:
        merge()
        next_hour()
    query = "SELECT sku, title, price, asin, fulfillment_channel, listing_status FROM fba.global_inventory_pool"
    before = {row[0]: row for row in sql(query)}
    amazon.world.shape_report(SELLER, US, LISTINGS, mode=mode)
    merge(*[report_after_cancellation(each, next_hour) for each in (LISTINGS, AFN)], accept_zeroed_stock=True)
    afn = {sku for (sku,) in sql("SELECT DISTINCT seller_sku FROM fba.amazon_afn_inventory_report")}
    assert {row[0]: row for row in sql(query)} == {sku: (sku, *[None] * 5) for sku in afn} | before
    truth = amazon.world.truth(SELLER, US, False, False)
    rows = pool(sql)
    assert {sku: rows[sku]["quantity"] for sku in afn} == {sku: truth[sku]["quantity"] for sku in afn}
    assert {rows[sku]["quantity"] for sku in rows.keys() - afn} <= {0}


def test_a_merchant_without_listings_gets_an_empty_pool(amazon, warehouse, sql, next_hour):
    for report_type in (LISTINGS, AFN):
        amazon.world.shape_report(SELLER, US, report_type, mode="no_data")
    assert merge(*[report_after_cancellation(each, next_hour) for each in (LISTINGS, AFN)])["skus"] == 0
    assert pool(sql) == {}


def test_a_merchant_without_amazon_stock_may_have_an_empty_afn_report(amazon, warehouse, sql, monkeypatch):
    new = amazon.world.add_merchant("AFBMONLY", [US], listings=0)
    amazon.world.put_item("AFBMONLY", US, "only-mine", offers=[("DEFAULT", 3)])
    monkeypatch.setenv(
        "AIRFLOW_CONN_AMAZON_US",
        store_connection(amazon.url, refresh_token=new["refresh_token"], seller_id="AFBMONLY"),
    )
    amazon.world.shape_report("AFBMONLY", US, AFN, mode="empty")
    merge(include_fbm_quantity=True)
    assert pool(sql) == {"only-mine": {"fba": 0, "fbm": 3, "quantity": 3, "source": "listings_report"}}


def test_unreadable_lines_are_stored_and_counted_and_their_sku_is_not_changed(amazon, warehouse, sql, stores_file):
    stores_file("stores: {amazon_us: {inventory: {max_rejected_share: 0.5}}}")
    amazon.world.override_document(
        LISTINGS, b"seller-sku\tquantity\tfulfillment-channel\na\t1\tDEFAULT\nb\tmany\tDEFAULT\n"
    )
    amazon.world.override_document(
        AFN, b"seller-sku\tWarehouse-Condition-code\tQuantity Available\nc\tSELLABLE\t5\nb\tSELLABLE\t9\n"
    )
    counts = merge(accept_zeroed_stock=True)
    assert counts["rejected"] == 1
    assert set(pool(sql)) == {"a", "c"}
    ((line, sku, raw),) = sql("SELECT line_number, sku, raw_line FROM fba.rejected_row").fetchall()
    assert (line, sku) == (3, "b")
    from fba_operators.warehouse.encryption import decrypt

    assert decrypt(raw) == b"b\tmany\tDEFAULT"


@pytest.mark.parametrize("digits", ["1" * 200_000, "1." + "1" * 20_000, "1,299", "1,299.00"])
def test_a_price_that_no_number_holds_is_unknown(amazon, warehouse, sql, digits):
    listings = f"seller-sku\tprice\tquantity\tfulfillment-channel\na\t{digits}\t1\tDEFAULT\nb\t2.50\t1\tDEFAULT\n"
    amazon.world.override_document(LISTINGS, listings.encode())
    amazon.world.override_document(AFN, b"seller-sku\tWarehouse-Condition-code\tQuantity Available\nc\tSELLABLE\t5\n")
    merge()
    assert dict(sql("SELECT sku, price::text FROM fba.global_inventory_pool")) == {"a": None, "b": "2.50", "c": None}


def test_too_many_unreadable_lines_fail_the_run_and_are_stored(amazon, warehouse, sql):
    amazon.world.override_document(
        LISTINGS, b"seller-sku\tquantity\tfulfillment-channel\na\t1\tDEFAULT\nb\tmany\tDEFAULT\n"
    )
    with pytest.raises(DecisionNeededError, match=r"1 of 2 lines.*max_rejected_share"):
        merge()
    assert sql("SELECT count(*) FROM fba.rejected_row").fetchone() == (1,)
    assert sql("SELECT count(*) FROM fba.report_document").fetchone() == (1,)
    assert snapshot(sql) == []


def test_a_missing_column_is_reported_with_the_header(amazon, warehouse, sql):
    amazon.world.override_document(AFN, b"seller-sku\tcondition\tQuantity Available\na\tNew\t1\n")
    with pytest.raises(
        DecisionNeededError, match=r"lacks the column Warehouse-Condition-code.*seller-sku \| condition"
    ):
        merge()
    assert snapshot(sql) == []


def test_a_truncated_document_is_downloaded_again(amazon, warehouse, sql):
    listings, afn = report(LISTINGS), report(AFN)
    amazon.world.add_fault("downloadDocument", "truncated_gzip")
    with pytest.raises(UnavailableError):
        merge(listings, afn)
    assert sql("SELECT count(*) FROM fba.report_document").fetchone() == (0,)
    merge(listings, afn)
    assert pool(sql) == amazon.world.truth(SELLER, US, False, False)


def test_an_expired_url_is_requested_again(amazon, warehouse, sql):
    amazon.world.add_fault("downloadDocument", "expired_url")
    merge()
    assert pool(sql) == amazon.world.truth(SELLER, US, False, False)
    assert amazon.world.calls()["calls"]["getReportDocument"] == 3


def test_a_kill_after_the_first_transaction_needs_no_second_download(amazon, warehouse, sql, monkeypatch):
    listings, afn = report(LISTINGS), report(AFN)

    def kill(*_, **__):
        raise SystemExit("killed")

    with monkeypatch.context() as patch:
        patch.setattr("fba_operators.inventory.update_pool.write_pool", kill)
        with pytest.raises(SystemExit):
            merge(listings, afn)
    assert snapshot(sql) == []
    assert sql("SELECT count(*) FROM fba.amazon_all_listings_report").fetchone() == (0,)
    merge(listings, afn)
    assert pool(sql) == amazon.world.truth(SELLER, US, False, False)
    assert amazon.world.calls()["calls"]["downloadDocument"] == 2


def test_a_sku_refused_by_the_api_keeps_its_last_quantity_and_the_run_fails(amazon, warehouse, sql, next_hour):
    merge(fetch_missing_inventory=True)
    before = pool(sql)
    queried = [sku for sku, row in before.items() if row["source"] == "fba_api"]
    amazon.world.refuse_skus(SELLER, US, queried[:1])
    next_hour()
    ids = {"listings_report_id": report(LISTINGS), "afn_report_id": report(AFN)}
    operator = MergeInventoryOperator(task_id="merge", fetch_missing_inventory=True, **ids)
    with pytest.raises(RequestRefusedError, match="keeps its last quantity"):
        run(operator)
    assert pool(sql) == before
    told = operator.get_openlineage_facets_on_complete(None).outputs
    assert len(told) == 3, "the task failed, and all else is written"
    assert sql("SELECT outcome FROM fba.run").fetchone() == ("failed",)
    assert sql("SELECT count(*) FROM fba.report WHERE applied_at IS NOT NULL").fetchone() == (4,)


@pytest.mark.parametrize("fault", ["500", "503", "reset_before"])
def test_an_unanswered_api_call_sets_nothing_to_zero(amazon, warehouse, sql, next_hour, fault, monkeypatch):
    merge(fetch_missing_inventory=True)
    before = snapshot(sql)
    amazon.world.add_fault("getInventorySummaries", fault, times=None)
    next_hour()
    timing.sleep_inline_at_most(monkeypatch, 0.6)
    with pytest.raises(UnavailableError):
        merge(fetch_missing_inventory=True)
    assert snapshot(sql) == before


@pytest.fixture
def slow_api(short_idle, monkeypatch):
    """Let the FBA Inventory API take longer, in all its calls, than a transaction may do nothing."""
    real = SellingPartnerHook.get_inventory_summaries

    def slow(hook, skus):
        time.sleep(1.3)
        return real(hook, skus)

    monkeypatch.setattr(SellingPartnerHook, "get_inventory_summaries", slow)
    monkeypatch.setattr("fba_operators.inventory.inventory_api.SKUS_PER_CALL", 8)


@pytest.mark.parametrize("short_idle", [5], indirect=True)  # a busy machine may take longer than two for a step
def test_amazon_may_answer_slower_than_a_transaction_may_do_nothing(amazon, warehouse, sql, slow_api):
    merge(fetch_missing_inventory=True)
    assert pool(sql) == amazon.world.truth(SELLER, US, False, True)
    assert amazon.world.calls()["calls"]["getInventorySummaries"] >= 4


@pytest.mark.parametrize("short_idle", [5], indirect=True)
def test_a_refusal_after_slow_answers_is_recorded(amazon, warehouse, sql, next_hour, slow_api):
    merge()
    before = snapshot(sql)
    amazon.world.shape_report(SELLER, US, AFN, mode="zero")
    next_hour()
    amazon.world.clear_calls()
    with pytest.raises(DecisionNeededError, match="would drop to 0"):
        merge(fetch_missing_inventory=True)
    assert snapshot(sql) == before
    assert amazon.world.calls()["calls"]["getInventorySummaries"] >= 4
    assert sql("SELECT count(*) FROM fba.report WHERE refused_at IS NOT NULL").fetchone() == (2,)


def test_fields_of_stores_yaml_map_report_columns_to_the_pool(amazon, warehouse, sql, stores_file):
    stores_file(
        "stores: {amazon_us: {inventory: {fields: {brand: merchant-shipping-group, category1: item-condition}}}}"
    )
    merge()
    assert sql("SELECT count(*) FROM fba.global_inventory_pool WHERE category1 = '11'").fetchone()[0] > 0
    titles = sql("SELECT count(title), count(price), count(asin) FROM fba.global_inventory_pool").fetchone()
    assert all(titles)


def test_fields_without_a_matching_column_are_refused_with_the_header(amazon, warehouse, sql, stores_file):
    stores_file("stores: {amazon_us: {inventory: {fields: {brand: Brand Name}}}}")
    with pytest.raises(ConfigurationError, match=r"'Brand Name'.*item-name, item-description"):
        merge()
    assert snapshot(sql) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"include_fbm_quantity": "maybe"}, "include_fbm_quantity must be true, false or nothing"),
        ({"replay": "yes"}, "replay must be"),
    ],
)
def test_invalid_arguments_are_refused(amazon, warehouse, arguments, message):
    with pytest.raises(ValueError, match=message):
        merge(**arguments)


def test_an_empty_report_id_is_refused(amazon, warehouse):
    with pytest.raises(ValueError, match="afn_report_id is empty"):
        run(MergeInventoryOperator(task_id="merge", listings_report_id="1", afn_report_id=""))


def test_the_run_is_summarised_in_numbers_and_words(amazon, warehouse, sql):
    operator = MergeInventoryOperator(task_id="merge", listings_report_id=report(LISTINGS), afn_report_id=report(AFN))
    operator.warehouse.connect()
    sql(
        "INSERT INTO fba.run (dag_id, run_id, store) VALUES (%s, 'test', 'amazon_us') ON CONFLICT DO NOTHING",
        operator.dag_id,
    )
    counts = run(operator, context())
    outcome, rows_in, changed, summary = sql("SELECT outcome, rows_in, rows_changed, summary FROM fba.run").fetchone()
    assert (outcome, rows_in, changed) == ("success", counts["rows"], counts["changed"])
    assert f"{counts['skus']} SKUs" in summary


DOCUMENT_VARIANTS = {
    "cp1252": {"charset": "cp1252"},
    "cp1252, not declared": {"charset": "cp1252", "declared_charset": ""},
    "cp1252 declared as UTF-8": {"charset": "cp1252", "declared_charset": "UTF-8"},
    "UTF-8 with a BOM, not declared": {"bom": True, "declared_charset": ""},
    "an unknown charset": {"declared_charset": "klingon"},
    "cp932 declared as Shift_JIS": {
        "charset": "cp932",
        "declared_charset": "Shift_JIS",
        "language": "ja",
        "locale_cached": True,
    },
    "German header, LF": {"charset": "cp1252", "language": "de", "locale_cached": True, "crlf": False},
    "Chinese header with repeated names": {"language": "zh", "locale_cached": True, "unused_header": "不适用项目"},
    "columns in another order": {"column_order": "shuffled"},
    "a tab at the end of each row": {"trailing_tab": True},
    "31 headers, 29 fields": {"headers_only": ("Minimum order quantity", "Sell remainder")},
    "columns missing": {"missing_columns": ("image-url", "zshop-boldface", "asin2", "asin3")},
    "extra columns": {"extra_columns": ("Business Price", "Quantity Price Type")},
    "short rows": {"ragged_every": 3},
    "NUL in titles": {"nul_in_text": True},
    "not compressed": {"gzip": False, "declare_gzip": False},
    "compressed, not declared": {"declare_gzip": False},
}


@pytest.mark.parametrize("variant", DOCUMENT_VARIANTS)
def test_the_pool_is_right_for_every_variant_of_the_document(amazon, warehouse, sql, variant):
    amazon.world.set_rendering(SELLER, US, **DOCUMENT_VARIANTS[variant])
    merge(include_fbm_quantity=True, fetch_missing_inventory=True)
    assert pool(sql) == amazon.world.truth(SELLER, US, True, True)
    assert sql("SELECT sum(rejected_row_count) FROM fba.report").fetchone() == (0,)


@pytest.mark.parametrize("include_fbm", [False, True])
@pytest.mark.parametrize("fetch_missing", [False, True])
def test_four_switches_with_many_variants_at_once(amazon, warehouse, sql, include_fbm, fetch_missing):
    everything = {
        **DOCUMENT_VARIANTS["German header, LF"],
        **DOCUMENT_VARIANTS["columns in another order"],
        **DOCUMENT_VARIANTS["extra columns"],
        **DOCUMENT_VARIANTS["31 headers, 29 fields"],
        **DOCUMENT_VARIANTS["NUL in titles"],
        "declared_charset": "",
        "trailing_tab": True,
    }
    amazon.world.set_rendering(SELLER, US, LISTINGS, **everything)
    amazon.world.set_inventory_page_size(7)
    merge(include_fbm_quantity=include_fbm, fetch_missing_inventory=fetch_missing)
    assert pool(sql) == amazon.world.truth(SELLER, US, include_fbm, fetch_missing)
    extra = sql("SELECT extra FROM fba.amazon_all_listings_report LIMIT 1").fetchone()[0]
    assert {"Business Price", "Quantity Price Type"} <= set(extra)


def test_two_runs_at_once_leave_the_newer_stock(amazon, warehouse, sql, next_hour):
    old = report(LISTINGS), report(AFN)
    sku = next(
        sku for sku, stock in amazon.world.truth(SELLER, US, False, False).items() if stock["source"] == "afn_report"
    )
    amazon.world.set_stock(SELLER, US, sku, fba=777)
    next_hour()
    new = report(LISTINGS), report(AFN)
    results: dict[str, object] = {}

    def merged(name, ids):
        try:
            results[name] = merge(*ids)
        except AirflowSkipException as skipped:
            results[name] = skipped

    threads = [threading.Thread(target=merged, args=each) for each in (("old", old), ("new", new))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pool(sql)[sku]["quantity"] == 777
    assert pool(sql) == amazon.world.truth(SELLER, US, False, False)
    assert isinstance(results["new"], dict)


def test_raw_copies_are_purged_after_the_retention_period(amazon, warehouse, sql, stores_file):
    stores_file("{stores: {amazon_us: {inventory: {max_rejected_share: 0.5}}}, retention: {raw_documents_days: 7}}")
    amazon.world.override_document(
        LISTINGS, b"seller-sku\tquantity\tfulfillment-channel\na\t1\tDEFAULT\nb\tmany\tDEFAULT\n"
    )
    merge(accept_zeroed_stock=True)
    summarise = SummariseRunOperator(task_id="summarise", stores=["amazon_us"])
    with pytest.raises(AirflowException):  # this run has no row in fba.run; only its purge is tested here
        summarise.execute(context("another"))
    assert sql("SELECT count(*) FROM fba.report_document").fetchone() == (2,)
    assert sql("SELECT count(*) FROM fba.rejected_row").fetchone() == (1,)
    sql("UPDATE fba.report_document SET stored_at = now() - interval '8 days'")
    with pytest.raises(AirflowException):
        summarise.execute(context("another"))
    assert sql("SELECT count(*) FROM fba.report_document").fetchone() == (0,)
    assert sql("SELECT count(*) FROM fba.rejected_row").fetchone() == (0,)


def test_a_raw_copy_is_in_many_encrypted_chunks(amazon, warehouse, sql, monkeypatch):
    monkeypatch.setattr("fba_operators.reports.load.CHUNK", 1000)
    listings, afn = report(LISTINGS), report(AFN)
    merge(listings, afn)
    assert sql("SELECT count(*) FROM fba.report_document").fetchone()[0] > 5
    before = pool(sql)
    sql("DELETE FROM fba.global_inventory_pool")
    merge(listings, afn, replay=True)
    assert pool(sql) == before


def test_a_raw_copy_stored_with_a_lost_fernet_key_is_a_clear_error(amazon, warehouse, sql):
    listings, afn = report(LISTINGS), report(AFN)
    merge(listings, afn)
    sql("UPDATE fba.report_document SET content = %s", (Fernet(Fernet.generate_key()).encrypt(b"x"),))
    with pytest.raises(ConfigurationError, match="another Fernet key"):
        merge(listings, afn, replay=True)


def test_the_api_is_queried_in_batches_and_skus_with_commas_alone(amazon, warehouse):
    answers = ask_inventory_api(SellingPartnerHook(), [*(f"unknown-{n}" for n in range(120)), "a,b", "c,d"])
    assert answers.quantities == {}
    assert len(answers.absent) == 122
    assert amazon.world.calls()["outcomes"]["getInventorySummaries"]["200"] == 5


@pytest.mark.parametrize("details", [{}, {"inventoryDetails": {}}, {"inventoryDetails": {"fulfillableQuantity": None}}])
def test_a_sku_returned_without_a_quantity_is_not_treated_as_absent(amazon, warehouse, details):
    body = {"payload": {"inventorySummaries": [{"sellerSku": "A", **details}]}}
    amazon.world.add_fault("getInventorySummaries", "status", status=200, body=body)
    answers = ask_inventory_api(SellingPartnerHook(), ["A", "B"])
    assert (answers.quantities, answers.absent, answers.not_given) == ({}, {"B"}, {"A"})


def test_a_refused_batch_is_narrowed_down_to_the_sku(amazon, warehouse):
    known = amazon.world.truth(SELLER, US, False, True)
    queried = [sku for sku, stock in known.items() if stock["source"] == "fba_api" and "," not in sku]
    amazon.world.refuse_skus(SELLER, US, [queried[1]])
    answers = ask_inventory_api(SellingPartnerHook(), queried)
    assert answers.not_given == {queried[1]}
    assert answers.quantities == {sku: known[sku]["fba"] for sku in queried if sku != queried[1]}


def test_the_documented_query_shows_why_a_sku_is_at_zero(amazon, warehouse, sql):
    """The query of docs/inventory.md, unchanged."""
    merge()
    page = (Path(__file__).parents[2] / "docs" / "inventory.md").read_text()
    query = re.search(r"```sql\n(-- Why is this SKU at 0.*?)```", page, re.DOTALL)[1]
    zero = next(sku for sku, row in pool(sql).items() if row["source"] == "default_zero")
    ((sku, quantity, source, *rest),) = sql(query.replace("'YOUR-SKU'", "%s"), zero).fetchall()
    assert (sku, quantity, source) == (zero, 0, "default_zero")
    assert rest
