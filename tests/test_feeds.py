"""Sending requests: what is claimed, what Amazon's answers do to it, and how lost answers are found out."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from airflow.sdk import Asset, AssetAlias
from airflow.sdk.exceptions import TaskDeferred

from devstack.airflow import store_connection
from fba_operators import claims, settling
from fba_operators.errors import CredentialsError, DecisionNeededError, RequestRefusedError, UnavailableError
from fba_operators.feed_ledger import FeedLedger
from fba_operators.feed_xml import FEED_TYPE, Verdict
from fba_operators.feeds import (
    ClaimRequestsOperator,
    RecordFeedOperator,
    SettleFeedsOperator,
    SubmitFeedOperator,
    UploadFeedOperator,
    WaitForFeedOperator,
)
from fba_operators.hook import SellingPartnerHook
from fba_operators.warehouse import Warehouse, decrypt
from tests.helpers import context, run
from tests.sending import GOOD, PERSONAL, SELLER, SKIPPED, STORE, US, Merchant


@pytest.fixture
def shop(warehouse_url, amazon, monkeypatch):
    monkeypatch.setattr("fba_operators.client.PATIENCE", 0.0)  # short faults are tried again at once
    monkeypatch.setattr("fba_operators.triggers.SOONEST", 0.005)
    amazon.world.set_clock(processing_seconds=0.01)
    with Merchant(warehouse_url, amazon, monkeypatch) as merchant:
        yield merchant


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Write stores.yaml: ``settings("hold_hours: 4")``."""

    def write(fulfillment: str, stores=(STORE,)):
        path = tmp_path / "stores.yaml"
        body = "".join(f"  {store}:\n    fulfillment: {{{fulfillment}}}\n" for store in stores)
        path.write_text(f"stores:\n{body}")
        monkeypatch.setenv("FBA_STORES_FILE", str(path))

    return write


# The ordinary way


def test_a_good_request_ends_accepted_and_a_bad_one_rejected(shop):
    shop.add("FR-1", [(GOOD, 2), (GOOD, 1)])
    shop.stock("NOT-AT-AMAZON", 5)
    shop.add("FR-2", [("NOT-AT-AMAZON", 1)])
    assert shop.send() == {"accepted": 1, "rejected": 1}
    assert shop.statuses() == {"FR-1": "accepted", "FR-2": "rejected"}
    assert shop.made() == {"FR-1": 1, "FR-2": 0}
    good, bad = shop.get("FR-1"), shop.get("FR-2")
    assert (good.status_reason, good.attempts, good.seller_id) == (None, 0, SELLER)
    assert good.sent_at <= good.resolved_at
    assert "SellerSKU" in bad.status_reason
    assert shop.feeds() == [("DONE", True)]
    assert shop.sql("SELECT fr_number, result_code, message_code FROM fba.feed_message ORDER BY message_id") == [
        ("FR-1", None, None),
        ("FR-2", "Error", "13040"),
    ]
    assert "1 accepted, 1 rejected" in shop.summary()
    assert shop.sql("SELECT outcome, rows_in, rows_rejected, rows_changed FROM fba.run") == [("success", 2, 1, 2)]


def test_the_processing_report_is_kept_encrypted_and_for_a_time(shop):
    shop.add("FR-1")
    shop.send()
    ((stored,),) = shop.sql("SELECT result_document FROM fba.feed")
    assert b"ProcessingReport" not in bytes(stored)
    assert b"<MessagesSuccessful>1<" in decrypt(stored)
    shop.pass_time(31 * 24 * 60)
    shop.send()
    assert shop.sql("SELECT result_document FROM fba.feed") == [(None,)]


@pytest.mark.parametrize("fate", ["gzip_result", "plain_result"])
def test_the_result_is_read_compressed_or_not(shop, fate):
    shop.amazon.world.add_fault("createFeed", fate)
    shop.add("FR-1")
    assert shop.send() == {"accepted": 1}


def test_a_warning_is_kept_with_the_accepted_request(shop):
    shop.amazon.world.add_fault("createFeed", "warnings")
    shop.add("FR-1")
    shop.send()
    assert shop.get("FR-1").status == "accepted"
    assert "14001" in shop.get("FR-1").status_reason
    assert shop.sql("SELECT result_code FROM fba.feed_message") == [("Warning",)]


def test_nothing_pending_skips_what_follows(shop):
    assert shop.send() is SKIPPED
    assert "No request is pending." in shop.summary()
    assert shop.sql("SELECT outcome FROM fba.run") == [("success",)]
    assert shop.called("createFeedDocument") == 0


def test_message_zero_rejects_every_request(shop):
    shop.amazon.world.add_fault("createFeed", "message_zero")
    shop.add("FR-1")
    shop.add("FR-2")
    assert shop.send() == {"rejected": 2}
    assert shop.feeds() == [("DONE", True)]


def test_an_error_about_the_whole_document_rejects_nobody_where_the_counts_say_success(shop):
    shop.amazon.world.add_fault("createFeed", "message_zero_some")
    shop.add("FR-1")
    assert shop.send() == {"accepted": 1}
    assert shop.made() == {"FR-1": 1}


# What is claimed


def test_invalid_requests_say_everything_that_is_wrong_and_stop_nobody(shop):
    shop.add("FR-1")
    shop.add("FR-2", ship_to_name=None, ship_to_country="XX")
    shop.send()
    assert shop.statuses() == {"FR-1": "accepted", "FR-2": "invalid"}
    reason = shop.get("FR-2").status_reason
    assert "ship-to name" in reason
    assert "ship_to_country" in reason


def test_an_invalid_request_put_right_by_hand_is_sent(shop):
    shop.add("FR-1", ship_to_name=None)
    shop.send()
    shop.sql("UPDATE fba.fulfillment_request SET status = 'pending', ship_to_name = 'Right'")
    assert shop.send() == {"accepted": 1}


def test_a_request_without_items_waits_for_them(shop):
    shop.add("FR-1", [])
    assert shop.send() is SKIPPED
    assert (shop.get("FR-1").status, shop.get("FR-1").waiting_reason) == ("pending", "no items yet")


def test_an_unknown_sku_waits_for_the_next_inventory_run_and_is_then_invalid(shop):
    shop.add("FR-1", [("NEW-SKU", 1)])
    shop.send()
    assert shop.get("FR-1").waiting_reason == "SKU NEW-SKU: not in the pool yet"
    begun = (
        "INSERT INTO fba.run (dag_id, run_id, store, started_at, outcome) VALUES ('fba_get_inventory', %s, %s, %s, %s)"
    )
    shop.sql(begun, "before", STORE, datetime.now(UTC) - timedelta(hours=1), "success")
    shop.sql(begun, "failed", STORE, datetime.now(UTC), "failed")
    shop.sql(begun, "other", "other_store", datetime.now(UTC), "success")
    shop.send()
    assert shop.get("FR-1").status == "pending"
    shop.sql(begun, "after", STORE, datetime.now(UTC), "success")
    shop.send()
    assert shop.get("FR-1").status == "invalid"
    assert "NEW-SKU" in shop.get("FR-1").status_reason


def test_a_sku_of_the_afn_report_counts_as_known_and_zero_stock_is_a_warning(shop, caplog):
    copy = (
        "INSERT INTO fba.amazon_afn_inventory_report (store, line_number, report_id, seller_sku, warehouse_condition_code,"
        " quantity_available) VALUES ('amazon_us', %s, 'r', %s, %s, %s)"
    )
    for line, (sku, condition, quantity) in enumerate(
        [("AFN-PLAIN", "SELLABLE", "5"), ("AFN-PLAIN", "UNSELLABLE", "9"), ("AFN-ZERO", "UNSELLABLE", "7")], start=2
    ):
        shop.sql(copy, line, sku, condition, quantity)
    shop.add("FR-1", [("AFN-PLAIN", 1)])
    shop.add("FR-2", [("AFN-ZERO", 1)])
    with caplog.at_level(logging.WARNING):
        shop.send(until="claim")
    assert shop.statuses() == {"FR-1": "sending", "FR-2": "sending"}
    assert shop.get("FR-1").status_reason is None
    assert "quantity of 0" in shop.get("FR-2").status_reason


def test_a_request_cancelled_while_pending_is_not_sent(shop):
    shop.add("FR-1", cancel_requested_at=datetime.now(UTC))
    shop.send()
    assert (shop.get("FR-1").status, shop.get("FR-1").status_reason) == ("invalid", "cancelled before it was sent")
    assert shop.called("cancelFulfillmentOrder") == 0


def test_a_number_used_by_another_store_of_the_seller_is_invalid(shop):
    shop.add("FR-1", store="amazon_ca")
    shop.sql("UPDATE fba.fulfillment_request SET seller_id = %s", SELLER)
    shop.add("FR-1")
    shop.send()
    assert shop.sql("SELECT store, status FROM fba.fulfillment_request ORDER BY store") == [
        ("amazon_ca", "pending"),
        ("amazon_us", "invalid"),
    ]


def test_hold_and_business_hours_wait_with_a_reason_and_can_be_ignored(shop, settings):
    closed = '{timezone: UTC, days: [mon, tue, wed, thu, fri, sat, sun], from: "00:00", to: "24:00", holidays: [%s]}'
    today = datetime.now(UTC).date()
    settings(f"hold_hours: 4, business_hours: {closed % f'{today}, {today + timedelta(days=1)}'}")
    shop.add("FR-1")
    assert shop.send() is SKIPPED
    reason = shop.get("FR-1").waiting_reason
    assert "on hold for 4 h" in reason
    assert "outside business hours" in reason
    assert f"until {today + timedelta(days=2)} 00:00 UTC" in reason
    assert shop.send(ignore_hold="True") is SKIPPED
    assert shop.send(ignore_hold="True", ignore_business_hours="True") == {"accepted": 1}
    assert shop.get("FR-1").waiting_reason is None


def test_only_runs_by_hand_send_unless_configured(shop, settings):
    shop.add("FR-1")
    assert shop.send("scheduled") is SKIPPED
    assert "triggered by hand" in shop.get("FR-1").waiting_reason
    settings("send_automatically: true")
    assert shop.send("scheduled") == {"accepted": 1}


def test_by_schedule_one_feed_in_twenty_minutes(shop, settings):
    settings("send_automatically: true")
    shop.add("FR-1")
    shop.send("scheduled")
    shop.add("FR-2")
    assert shop.send("scheduled") is SKIPPED
    assert "every 20 minutes; until" in shop.get("FR-2").waiting_reason
    shop.pass_time(10)
    assert shop.send("scheduled") is SKIPPED
    assert shop.send("manual") == {"accepted": 1}


def test_a_scheduled_run_that_is_a_little_early_waits_for_its_turn(shop, settings):
    settings("send_automatically: true")
    shop.add("FR-1")
    shop.send("scheduled")
    shop.add("FR-2")
    shop.pass_time(19)
    moments = []

    def later(moment):
        moments.append(moment)
        shop.pass_time(1)

    assert (
        shop.task(lambda: ClaimRequestsOperator(task_id="claim"), shop.context("scheduled"), on_wait=later) != SKIPPED
    )
    assert timedelta(0) < moments[0] - datetime.now(UTC) <= timedelta(minutes=1)
    assert shop.get("FR-2").status == "sending"


def test_only_the_numbers_asked_for_are_sent(shop):
    for number in ("FR-1", "FR-2", "FR-3"):
        shop.add(number)
    shop.send(fulfillment_request_numbers='["FR-3"]')
    shop.send(fulfillment_request_numbers=["FR-1", "FR-3", "FR-9"])
    assert shop.statuses() == {"FR-1": "accepted", "FR-2": "pending", "FR-3": "accepted"}
    assert "Asked for, but accepted: FR-3. Asked for, but not known to this store: FR-9." in shop.summary()


@pytest.mark.parametrize("numbers", ["FR-1", '{"a": 1}', [1], 5])
def test_numbers_that_are_no_list_of_texts_are_refused(shop, numbers):
    with pytest.raises(ValueError, match="must be a list of FR numbers"):
        run(ClaimRequestsOperator(task_id="claim", fulfillment_request_numbers=numbers))


def test_a_dry_run_calls_nobody_and_moves_only_to_invalid(shop):
    shop.add("FR-1")
    shop.add("FR-2", ship_to_name=None)
    ctx = shop.context()
    shop.task(lambda: SettleFeedsOperator(task_id="settle", needed="False"), ctx)
    assert shop.task(lambda: ClaimRequestsOperator(task_id="claim", send="False"), ctx) is SKIPPED
    assert shop.statuses() == {"FR-1": "pending", "FR-2": "invalid"}
    assert "1 requests would be sent (dry run): FR-1." in shop.summary()
    assert shop.get("FR-1").seller_id is None
    assert shop.feeds() == []
    assert shop.amazon.world.calls()["calls"] == {}


def test_a_full_feed_leaves_the_rest_pending(shop, monkeypatch):
    monkeypatch.setattr("fba_operators.feed_xml.MAX_MESSAGES", 2)
    monkeypatch.setattr(claims.build_order_feed, "__kwdefaults__", {"max_messages": 2, "max_bytes": 10**6})
    monkeypatch.setattr(claims, "PAGE", 2)
    for number in range(5):
        shop.add(f"FR-{number}")
    assert shop.send() == {"accepted": 2}
    assert list(shop.statuses().values()) == ["accepted", "accepted", "pending", "pending", "pending"]
    assert "the next feed is full" in shop.get("FR-4").waiting_reason
    shop.send()
    shop.send()
    assert set(shop.statuses().values()) == {"accepted"}
    assert set(shop.made().values()) == {1}


def test_a_request_somebody_is_writing_is_left_for_the_next_run(shop, warehouse_url):
    shop.add("FR-1")
    shop.add("FR-2")
    with psycopg.connect(warehouse_url) as other:
        other.execute("UPDATE fba.fulfillment_request SET ship_to_name = 'New' WHERE fr_number = 'FR-1'")
        shop.send()
    assert shop.statuses() == {"FR-1": "pending", "FR-2": "accepted"}


def test_what_xml_cannot_say_is_invalid_and_stops_nobody(shop, monkeypatch):
    """A request that passes the rules but not the schema: the rules may have a hole, the others must go out."""
    real = claims.build_order_feed

    def build(seller_id, requests, settings):
        if any(request.fr_number == "FR-1" for request in requests):
            raise claims.FeedError("the feed does not pass the project's schema at /AmazonEnvelope")
        return real(seller_id, requests, settings)

    monkeypatch.setattr(claims, "build_order_feed", build)
    shop.add("FR-1")
    shop.add("FR-2")
    shop.send()
    assert shop.statuses() == {"FR-1": "invalid", "FR-2": "accepted"}
    assert "schema" in shop.get("FR-1").status_reason


def test_two_claims_at_the_same_time_make_one_feed(shop):
    for number in range(20):
        shop.add(f"FR-{number}")
    results = []

    def claim(run_id):
        results.append(shop.task(lambda: ClaimRequestsOperator(task_id="claim"), context(run_id)))

    threads = [threading.Thread(target=claim, args=(f"run-{n}",)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result is SKIPPED for result in results) == [False, True]
    assert len(shop.feeds()) == 1
    assert shop.sql("SELECT count(*) FROM fba.feed_message") == [(20,)]


# Up to createFeed


def claimed(shop, *numbers):
    for number in numbers or ("FR-1",):
        shop.add(number)
    return shop.send(until="claim")


def uploaded(shop, *numbers):
    claim_id = claimed(shop, *numbers)
    return shop.task(lambda: UploadFeedOperator(task_id="upload", claim_id=claim_id), shop.context())


def submit(shop, claim_id):
    return shop.task(lambda: SubmitFeedOperator(task_id="submit", claim_id=claim_id), shop.context())


def test_an_upload_done_is_not_repeated_and_one_refused_gets_a_new_document(shop):
    shop.amazon.world.add_fault("uploadDocument", "expired_url")
    claim_id = claimed(shop)
    upload = lambda: UploadFeedOperator(task_id="upload", claim_id=claim_id)  # noqa: E731
    with pytest.raises(UnavailableError):
        shop.task(upload, shop.context())
    for _ in range(2):
        assert shop.task(upload, shop.context()) == claim_id
    assert shop.called("createFeedDocument") == 2
    assert shop.sql("SELECT f.document_id = m.document_id FROM fba.feed f, fba.feed_message m") == [(True,)]
    assert shop.sql("SELECT count(*) FROM fba.feed WHERE document_id LIKE 'claim-%%'") == [(0,)]


def test_settings_changed_between_claim_and_upload_stop_the_feed_and_the_next_run_claims_anew(shop, settings):
    claim_id = claimed(shop)
    settings("shipping_methods: {Slow: Standard}")
    with pytest.raises(ValueError, match="shipping_method"):
        shop.task(lambda: UploadFeedOperator(task_id="upload", claim_id=claim_id), shop.context())
    shop.send()
    assert shop.get("FR-1").status == "invalid"
    assert shop.feeds() == [("RELEASED", True)]


def test_a_connection_changed_between_claim_and_upload_stops_the_feed(shop, monkeypatch):
    claim_id = claimed(shop, "FR-1", "FR-2")
    shop.sql("UPDATE fba.feed_message SET message_id = 7 WHERE fr_number = 'FR-2'")
    with pytest.raises(ValueError, match="would not hold what was claimed"):
        shop.task(lambda: UploadFeedOperator(task_id="upload", claim_id=claim_id), shop.context())


def test_create_feed_refused_makes_the_requests_pending_again(shop):
    refused = {"errors": [{"code": "InvalidInput", "message": "Invalid Request Parameters", "details": ""}]}
    shop.amazon.world.add_fault("createFeed", "status", status=400, body=refused)
    claim_id = uploaded(shop)
    with pytest.raises(RequestRefusedError):
        submit(shop, claim_id)
    assert shop.get("FR-1").status == "pending"
    assert shop.feeds() == [("REFUSED", True)]
    assert shop.sql("SELECT outcome FROM fba.run ORDER BY started_at DESC LIMIT 1") == [("failed",)]
    assert shop.send() == {"accepted": 1}
    assert shop.made() == {"FR-1": 1}


def test_a_denied_create_feed_makes_the_requests_pending_again(shop):
    denied = {"errors": [{"code": "Unauthorized", "message": "Access to requested resource is denied.", "details": ""}]}
    shop.amazon.world.add_fault("createFeed", "status", status=403, body=denied)
    claim_id = uploaded(shop)
    with pytest.raises(CredentialsError):
        submit(shop, claim_id)
    assert shop.get("FR-1").status == "pending"


def test_a_used_up_quota_waits_and_submits_once(shop):
    shop.amazon.world.add_fault("createFeed", "429")
    claim_id = uploaded(shop)
    states = []

    def later(moment):
        states.append(shop.sql("SELECT status, submit_started_at FROM fba.feed")[0])
        shop.quota()

    shop.task(lambda: SubmitFeedOperator(task_id="submit", claim_id=claim_id), shop.context(), on_wait=later)
    assert states == [("CLAIMED", None)]
    assert shop.amazon.world.feed_count == 1
    assert shop.get("FR-1").status == "submitted"


def test_without_an_access_token_nothing_was_submitted(shop):
    claim_id = uploaded(shop)
    shop.sql("DELETE FROM fba.lwa_token")
    shop.amazon.world.add_fault("token", "503", times=5)
    with pytest.raises(UnavailableError):
        submit(shop, claim_id)
    assert shop.sql("SELECT status, submit_started_at FROM fba.feed") == [("CLAIMED", None)]
    assert submit(shop, claim_id) == claim_id
    assert shop.amazon.world.feed_count == 1


def test_submitting_again_submits_nothing(shop):
    claim_id = uploaded(shop)
    for _ in range(3):
        assert submit(shop, claim_id) == claim_id
    assert shop.called("createFeed") == 1


def test_two_submits_at_the_same_time_submit_once(shop):
    claim_id = uploaded(shop)
    threads = [threading.Thread(target=submit, args=(shop, claim_id)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shop.amazon.world.feed_count == 1
    assert shop.get("FR-1").status == "submitted"


def test_another_run_takes_back_what_was_not_submitted_and_the_first_one_ends(shop):
    claim_id = uploaded(shop)
    assert shop.send() == {"accepted": 1}
    assert submit(shop, claim_id) is SKIPPED
    for task in (UploadFeedOperator, WaitForFeedOperator, RecordFeedOperator):
        assert shop.task(lambda task=task: task(task_id="task", claim_id=claim_id), shop.context()) is SKIPPED
    assert shop.made() == {"FR-1": 1}
    assert shop.feeds() == [("RELEASED", True), ("DONE", True)]


def test_a_feed_submitted_in_the_meantime_is_not_taken_back(shop):
    """Another run has read the feed as not submitted; before it acts, the feed is submitted."""
    claim_id = uploaded(shop)
    ledger = FeedLedger(Warehouse(), STORE)
    (seen,) = ledger.open_feeds()
    submit(shop, claim_id)
    assert settling.settle_feed(SellingPartnerHook(), ledger, seen).moved.total() == 0
    assert shop.get("FR-1").status == "submitted"
    shop.amazon.world.advance(1)
    shop.send()
    assert (shop.get("FR-1").status, shop.made()) == ("accepted", {"FR-1": 1})


def test_a_report_is_applied_once(shop):
    shop.add("FR-1")
    shop.send()
    ((claim_id, document),) = shop.sql("SELECT claim_id, result_document FROM fba.feed")
    shop.sql("UPDATE fba.feed SET settled_at = NULL")
    refusal = {1: Verdict("rejected", "1", "too late")}
    assert FeedLedger(Warehouse(), STORE).judge(claim_id, refusal, b"other") == []
    assert shop.sql("SELECT result_code FROM fba.feed_message") == [(None,)]
    assert shop.sql("SELECT result_document = %s FROM fba.feed", document) == [(True,)]


def test_every_task_can_be_cleared_after_a_run(shop):
    shop.add("FR-1")
    shop.send()
    (claim_id,) = (str(row[0]) for row in shop.sql("SELECT claim_id FROM fba.feed"))
    for _ in range(2):
        assert shop.send() is SKIPPED
        for task in (UploadFeedOperator, SubmitFeedOperator, WaitForFeedOperator, RecordFeedOperator):
            assert shop.task(lambda task=task: task(task_id="task", claim_id=claim_id), shop.context()) is SKIPPED
    assert shop.made() == {"FR-1": 1}
    assert shop.called("createFeed") == 1


# Waiting and recording


def test_a_slow_feed_ends_the_run_green_and_the_next_run_settles_it(shop, monkeypatch):
    monkeypatch.setattr("fba_operators.feeds.PATIENCE", timedelta(0))
    shop.amazon.world.set_clock(processing_seconds=1000)
    shop.add("FR-1")
    assert shop.send() is SKIPPED
    assert "1 requests wait for feed" in shop.summary()
    assert shop.sql("SELECT outcome FROM fba.run") == [("success",)]
    shop.add("FR-2")
    assert shop.send() is SKIPPED
    assert "1 requests wait for feed" in shop.summary()
    assert "waits until feed" in shop.get("FR-2").waiting_reason
    shop.amazon.world.advance(1000)
    assert shop.send(until="settle") == {"accepted": 1}
    assert shop.statuses() == {"FR-1": "accepted", "FR-2": "pending"}


def test_waiting_defers_to_the_triggerer(shop):
    claim_id = uploaded(shop)
    submit(shop, claim_id)
    with pytest.raises(TaskDeferred) as deferred:
        WaitForFeedOperator(task_id="wait", claim_id=claim_id).execute(context())
    assert deferred.value.trigger.serialize()[1]["kind"] == "feed"


def test_a_state_amazon_never_promised_is_an_error(shop):
    claim_id = uploaded(shop)
    submit(shop, claim_id)
    operator = WaitForFeedOperator(task_id="wait", claim_id=claim_id)
    with pytest.raises(UnavailableError, match="unknown status 'MAYBE'"):
        operator.resume(context(), {"id": "1", "state": {"feedId": "1", "processingStatus": "MAYBE"}})


def test_a_feed_amazon_cancelled_makes_the_requests_pending_again(shop):
    shop.amazon.world.add_fault("createFeed", "cancelled")
    shop.add("FR-1")
    assert shop.send() == {"pending": 1}
    assert shop.feeds() == [("CANCELLED", True)]
    assert shop.send() == {"accepted": 1}
    assert shop.made() == {"FR-1": 1}


def look_up(shop, times=2):
    """Let the runs of the next hour settle what is unknown."""
    shop.pass_time(31)
    for _ in range(times):
        shop.send(until="settle")
        shop.pass_time(11)


@pytest.mark.parametrize(
    ("fate", "doubt"),
    [
        ("missing_result", "no processing report"),
        ("expired_result", "does not have the processing report any more"),
        ("unreadable_result", "not well-formed"),
        ("wrong_counts", "counts 1 messages where 2 were sent"),
        ("fatal_all", "FATAL"),
    ],
)
def test_a_report_that_cannot_be_believed_is_looked_up_at_amazon(shop, fate, doubt):
    shop.amazon.world.add_fault("createFeed", fate)
    shop.add("FR-1")
    shop.add("FR-2")
    shop.send()
    assert shop.statuses() == {"FR-1": "unknown", "FR-2": "unknown"}
    assert doubt in shop.get("FR-1").status_reason
    shop.add("FR-3")
    assert shop.send() is SKIPPED
    assert shop.get("FR-3").status == "pending"
    look_up(shop)
    assert shop.send() == {"accepted": 1}
    assert set(shop.statuses().values()) == {"accepted"}
    assert set(shop.made().values()) == {1}
    assert shop.get("FR-1").status_reason is None


@pytest.mark.parametrize(("fate", "again"), [("fatal_none", {"FR-1", "FR-2"}), ("fatal_some", {"FR-2"})])
def test_after_fatal_only_what_did_not_arrive_is_sent_again(shop, fate, again):
    shop.amazon.world.add_fault("createFeed", fate, with_document=True)
    shop.add("FR-1")
    shop.add("FR-2")
    shop.send()
    assert set(shop.statuses().values()) == {"unknown"}
    look_up(shop)
    assert {number for number, status in shop.statuses().items() if status == "pending"} == again
    assert shop.send() == {"accepted": len(again)}
    assert shop.made() == {"FR-1": 1, "FR-2": 1}
    assert {number: shop.get(number).attempts for number in ("FR-1", "FR-2")} == {
        number: int(number in again) for number in ("FR-1", "FR-2")
    }


def test_the_end_that_the_wait_saw_is_not_asked_for_again(shop):
    claim_id = uploaded(shop)
    submit(shop, claim_id)
    shop.task(lambda: WaitForFeedOperator(task_id="wait", claim_id=claim_id), shop.context())
    asked = shop.called("getFeed")
    shop.task(lambda: RecordFeedOperator(task_id="record", claim_id=claim_id), shop.context())
    assert shop.called("getFeed") == asked
    assert shop.get("FR-1").status == "accepted"


def test_a_download_that_is_refused_is_tried_with_a_new_address(shop):
    shop.amazon.world.add_fault("downloadDocument", "expired_url")
    shop.add("FR-1")
    assert shop.send() == {"accepted": 1}
    assert shop.called("getFeedDocument") == 2


def test_a_download_that_breaks_off_is_tried_again_by_the_task(shop):
    shop.amazon.world.add_fault("downloadDocument", "reset_before")
    shop.add("FR-1")
    assert shop.send(attempts=2) == {"accepted": 1}


def test_a_result_larger_than_it_can_be_is_not_believed(shop, monkeypatch):
    monkeypatch.setattr(settling, "MAX_RESULT", 100)
    shop.add("FR-1")
    shop.send()
    assert "larger than" in shop.get("FR-1").status_reason
    assert shop.get("FR-1").status == "unknown"


def test_a_result_older_than_amazon_keeps_it_is_not_asked_for(shop, monkeypatch):
    claim_id = uploaded(shop)
    submit(shop, claim_id)
    shop.task(lambda: WaitForFeedOperator(task_id="wait", claim_id=claim_id), shop.context())
    shop.pass_time(29 * 24 * 60)
    shop.send()
    assert shop.called("getFeedDocument") == 0
    assert shop.get("FR-1").status == "accepted"


def test_a_feed_amazon_no_longer_knows_is_looked_up(shop):
    claim_id = uploaded(shop)
    submit(shop, claim_id)
    gone = {"errors": [{"code": "NotFound", "message": "The feed does not exist.", "details": ""}]}
    shop.amazon.world.add_fault("getFeed", "status", status=404, body=gone)
    shop.send(until="settle")
    assert shop.get("FR-1").status == "unknown"
    shop.pass_time(31)
    shop.send()
    assert shop.get("FR-1").status == "accepted"


# Lost answers


def lost(shop, *numbers, arrived=True):
    """Submit, and get no answer."""
    shop.amazon.world.add_fault("createFeed", "reset_after" if arrived else "reset_before")
    for number in numbers or ("FR-1",):
        shop.add(number)
    assert shop.send(attempts=3) is SKIPPED
    assert set(shop.statuses().values()) == {"unknown"}


@pytest.mark.parametrize("fault", ["reset_after", "500", "503", "error_after"])
def test_a_lost_answer_is_never_answered_by_submitting_again(shop, fault):
    shop.amazon.world.add_fault("createFeed", fault)
    shop.add("FR-1")
    for _ in range(3):
        assert shop.send(attempts=3) is SKIPPED
    assert shop.get("FR-1").status == "unknown"
    assert shop.called("createFeed") == 1
    assert shop.sql("SELECT status FROM fba.feed") == [("LOST",)]
    assert "unknown" in shop.summary()


def test_an_order_that_arrived_is_found_half_an_hour_later(shop):
    lost(shop, "FR-1", "FR-2")
    shop.send()
    assert shop.called("getFeeds") == 0
    shop.pass_time(29)
    shop.send()
    assert shop.called("listAllFulfillmentOrders") == 0
    shop.pass_time(2)
    shop.send()
    assert shop.statuses() == {"FR-1": "accepted", "FR-2": "accepted"}
    assert shop.get("FR-1").amazon_order_status in ("Received", "Planning")
    assert shop.feeds() == [("LOST", True)]
    assert shop.made() == {"FR-1": 1, "FR-2": 1}


def test_an_order_that_did_not_arrive_is_sent_again_after_two_lists(shop):
    lost(shop, arrived=False)
    shop.pass_time(31)
    shop.send()
    assert shop.get("FR-1").status == "unknown"
    shop.pass_time(9)
    shop.send()
    assert shop.get("FR-1").status == "unknown"
    shop.pass_time(2)
    assert shop.send() == {"accepted": 1}
    assert (shop.get("FR-1").attempts, shop.made()) == (1, {"FR-1": 1})
    assert shop.feeds() == [("LOST", True), ("DONE", True)]


def test_nothing_is_concluded_while_a_feed_is_unfinished(shop):
    """Ours may be that feed: it is in Amazon's queue, and its answer was lost."""
    shop.amazon.world.set_clock(processing_seconds=10**6)
    lost(shop)
    for _ in range(4):
        shop.pass_time(31)
        shop.send()
        assert shop.get("FR-1").status == "unknown"
        assert shop.get("FR-1").absent_since is None
    assert "still being processed" in shop.summary()
    assert shop.called("listAllFulfillmentOrders") == 0
    shop.amazon.world.advance(10**6)
    shop.send()
    assert shop.get("FR-1").status == "unknown"
    look_up(shop)
    assert shop.get("FR-1").status == "accepted"
    assert shop.made() == {"FR-1": 1}


def test_an_unfinished_feed_seen_between_two_lists_starts_the_count_anew(shop):
    lost(shop, arrived=False)
    shop.pass_time(31)
    shop.send()
    assert shop.get("FR-1").absent_since is not None
    shop.amazon.world.set_clock(processing_seconds=10**6)
    foreign_feed()
    shop.pass_time(11)
    shop.send()
    assert shop.get("FR-1").absent_since is None


def foreign_feed(content=b"<x/>"):
    """Another program of the same seller submits a feed of the same type."""
    hook = SellingPartnerHook()
    document_id, url = hook.create_feed_document("text/xml; charset=UTF-8")
    hook.upload_feed_document(url, content, "text/xml; charset=UTF-8")
    return hook.create_feed(FEED_TYPE, document_id)


def test_another_systems_feed_is_never_taken_for_ours(shop):
    """Beside our lost feed there is one of another system, with an order of another number; ours never arrived."""
    lost(shop, arrived=False)
    other = foreign_feed()
    shop.pass_time(31)
    shop.send()
    assert shop.sql("SELECT feed_id FROM fba.feed") == [(None,)]
    shop.pass_time(31)
    shop.send(until="settle")
    shop.pass_time(11)
    assert shop.send() == {"accepted": 1}
    assert shop.made() == {"FR-1": 1}
    assert other not in [row[0] for row in shop.sql("SELECT feed_id FROM fba.feed")]


@pytest.mark.parametrize("theirs", [[(GOOD, 2)], [("AFN-PLAIN", 1)], [(GOOD, 1), ("AFN-PLAIN", 1)]])
def test_an_order_of_our_number_with_other_goods_is_not_ours(shop, theirs):
    lost(shop, arrived=False)
    place(shop, "FR-1", theirs)
    shop.pass_time(31)
    shop.send()
    row = shop.get("FR-1")
    assert (row.status, row.status_reason) == ("invalid", "FR number already used at Amazon for another order")
    assert shop.made() == {"FR-1": 1}


def test_an_order_of_our_number_in_another_marketplace_is_not_ours(shop):
    lost(shop, arrived=False)
    shop.amazon.world.put_item(SELLER, "A2EUQ1WTGCTBG2", GOOD, offers=[("AMAZON_NA", None)], afn=[("SELLABLE", 9)])
    place(shop, "FR-1", [(GOOD, 1)], marketplace="A2EUQ1WTGCTBG2")
    shop.pass_time(31)
    shop.send()
    assert shop.get("FR-1").status == "invalid"


def place(shop, number, items, *, marketplace=US):
    """Another program of the seller makes an order by the REST API."""
    import requests

    hook = SellingPartnerHook()
    answer = requests.post(
        f"{shop.amazon.url}/fba/outbound/2020-07-01/fulfillmentOrders",
        headers={"x-amz-access-token": hook.access_token(), "User-Agent": "other/1.0 (Language=Python)"},
        json={
            "marketplaceId": marketplace,
            "sellerFulfillmentOrderId": number,
            "displayableOrderId": number,
            "displayableOrderDate": "2026-11-01T00:00:00Z",
            "displayableOrderComment": "Thanks",
            "shippingSpeedCategory": "Standard",
            "destinationAddress": {
                "name": "N",
                "addressLine1": "1 Street",
                "city": "Seattle",
                "stateOrRegion": "WA",
                "postalCode": "98101",
                "countryCode": "US",
            },
            "items": [
                {"sellerSku": sku, "sellerFulfillmentOrderItemId": str(line), "quantity": quantity}
                for line, (sku, quantity) in enumerate(items, start=1)
            ],
        },
        timeout=10,
    )
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("status", "ends"), [("Cancelled", "cancelled"), ("Invalid", "rejected"), ("Unfulfillable", "rejected")]
)
def test_an_order_found_ended_ends_so_here(shop, status, ends):
    lost(shop)
    shop.amazon.world.advance(60)
    shop.amazon.world.set_order_status(SELLER, "FR-1", status)
    shop.pass_time(31)
    shop.send()
    assert (shop.get("FR-1").status, shop.get("FR-1").amazon_order_status) == (ends, status)


def test_lists_of_many_pages_are_read_to_the_end(shop):
    shop.amazon.world.set_order_listing(page_size=1)
    lost(shop, "FR-1", "FR-2", "FR-3")
    shop.pass_time(31)
    shop.send()
    assert set(shop.statuses().values()) == {"accepted"}


def test_a_list_that_breaks_off_proves_nothing(shop):
    lost(shop, "FR-1", arrived=False)
    place(shop, "OTHER-1", [(GOOD, 1)])
    place(shop, "OTHER-2", [(GOOD, 1)])
    shop.amazon.world.set_order_listing(page_size=1)
    shop.amazon.world.add_fault("listAllFulfillmentOrders", "503", skip=1, times=5)
    shop.pass_time(31)
    with pytest.raises(UnavailableError):
        shop.send()
    assert shop.get("FR-1").absent_since is None


def test_an_order_that_the_lists_do_not_have_yet_is_not_sent_twice(shop):
    """Amazon's list is late by a day; the order itself can be shown."""
    shop.amazon.world.set_order_listing(delay=86400)
    lost(shop)
    look_up(shop)
    assert shop.get("FR-1").status == "accepted"
    assert shop.made() == {"FR-1": 1}


def test_a_rejection_because_it_arrived_before_all_is_no_rejection(shop):
    """Sent again after two lists without it, then Amazon says the number exists: so it had arrived."""
    lost(shop, arrived=False)
    look_up(shop)
    assert shop.get("FR-1").status == "pending"
    place(shop, "FR-1", [(GOOD, 1)])
    assert shop.send() == {"accepted": 1}
    assert shop.made() == {"FR-1": 1}


def test_a_rejection_of_something_sent_before_stays_one_where_amazon_has_no_order(shop):
    shop.stock("NOT-AT-AMAZON", 1)
    shop.amazon.world.add_fault("createFeed", "reset_before")
    shop.add("FR-1", [("NOT-AT-AMAZON", 1)])
    shop.send()
    look_up(shop)
    assert shop.send() == {"rejected": 1}


def test_after_three_attempts_a_person_decides_and_the_others_go_on(shop):
    for _ in range(2):
        shop.amazon.world.add_fault("createFeed", "reset_before")
        if not shop.statuses():
            shop.add("FR-1")
        assert shop.send() is SKIPPED
        look_up(shop)
        assert shop.get("FR-1").status == "pending"
    shop.amazon.world.add_fault("createFeed", "reset_before")
    shop.send()
    shop.pass_time(31)
    shop.send()
    shop.pass_time(11)
    with pytest.raises(DecisionNeededError, match=r"1 requests were sent again and again.*Seller Central.*FR-1"):
        shop.send()
    row = shop.get("FR-1")
    assert (row.status, row.attempts) == ("unknown", 3)
    assert "set status to pending" in row.status_reason
    shop.add("FR-2")
    assert shop.send() == {"accepted": 1}
    shop.sql("UPDATE fba.fulfillment_request SET status = 'pending' WHERE fr_number = 'FR-1'")
    assert shop.send() == {"accepted": 1}
    assert shop.made() == {"FR-1": 1, "FR-2": 1}


def test_many_absent_orders_are_found_out_bit_by_bit_within_amazons_quota(shop):
    """Amazon shows 30 orders at once: what was found out before the quota ends is not asked again."""
    numbers = [f"FR-{number:02}" for number in range(70)]
    lost(shop, *numbers, arrived=False)
    look_up(shop)
    assert set(shop.statuses().values()) == {"pending"}
    assert shop.called("getFulfillmentOrder") < 75
    assert {shop.get(number).attempts for number in numbers} == {1}
    assert shop.send() == {"accepted": 70}


def test_a_late_answer_of_create_feed_is_still_written_down(shop, monkeypatch):
    """The lock is gone and another run has given the feed up, while createFeed was on its way."""
    claim_id = uploaded(shop)
    real = SellingPartnerHook.create_feed

    def slow(self, *arguments):
        feed_id = real(self, *arguments)
        FeedLedger(Warehouse(), STORE).lost(claim_id)
        return feed_id

    monkeypatch.setattr(SellingPartnerHook, "create_feed", slow)
    assert submit(shop, claim_id) == claim_id
    assert shop.get("FR-1").status == "unknown"
    shop.task(lambda: WaitForFeedOperator(task_id="wait", claim_id=claim_id), shop.context())
    shop.task(lambda: RecordFeedOperator(task_id="record", claim_id=claim_id), shop.context())
    assert shop.get("FR-1").status == "accepted"
    assert shop.feeds() == [("DONE", True)]


# Cancelling


def test_an_accepted_order_is_cancelled(shop):
    shop.add("FR-1")
    shop.send()
    shop.sql("UPDATE fba.fulfillment_request SET cancel_requested_at = now()")
    shop.send()
    assert (shop.get("FR-1").status, shop.get("FR-1").amazon_order_status) == ("cancelled", "Cancelled")
    assert shop.amazon.world.orders(SELLER)["FR-1"]["status"] == "Cancelled"
    shop.send()
    assert shop.called("cancelFulfillmentOrder") == 1


def test_an_order_that_cannot_be_cancelled_any_more_keeps_its_status_and_says_why(shop):
    shop.add("FR-1")
    shop.send()
    shop.amazon.world.advance(2 * 3600)
    shop.sql("UPDATE fba.fulfillment_request SET cancel_requested_at = now()")
    shop.send()
    assert shop.get("FR-1").status == "accepted"
    assert "not cancelled: " in shop.get("FR-1").status_reason
    assert shop.called("cancelFulfillmentOrder") == 1
    shop.send()
    assert shop.called("cancelFulfillmentOrder") == 2
    shop.pass_time(4 * 24 * 60)
    shop.send()
    assert shop.called("cancelFulfillmentOrder") == 2


def test_an_unknown_order_can_be_cancelled(shop):
    lost(shop)
    shop.amazon.world.advance(60)
    shop.sql("UPDATE fba.fulfillment_request SET cancel_requested_at = now()")
    shop.send()
    assert shop.get("FR-1").status == "cancelled"
    shop.add("FR-2")
    assert shop.send() == {"accepted": 1}


def test_an_unknown_order_that_never_arrived_is_not_sent_after_it_was_cancelled(shop):
    lost(shop, arrived=False)
    shop.sql("UPDATE fba.fulfillment_request SET cancel_requested_at = now()")
    look_up(shop)
    shop.send()
    assert (shop.get("FR-1").status, shop.get("FR-1").status_reason) == ("invalid", "cancelled before it was sent")
    assert shop.made() == {}


# What others see


def test_no_personal_data_in_logs_runs_or_errors(shop, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    shop.add("FR-1")
    shop.add("FR-2", ship_to_name="x" * 60, ship_to_email="wilhelmina@secret.example x")
    shop.add("wilhelmina@secret.example")
    shop.amazon.world.add_fault("createFeed", "wrong_counts")
    shop.send()
    look_up(shop)
    shop.add("FR-3")
    shop.amazon.world.add_fault("createFeed", "status", status=400, body={"errors": [{"code": "InvalidInput"}]})
    with pytest.raises(RequestRefusedError) as caught:
        shop.send()
    runs = str(shop.sql("SELECT * FROM fba.run"))
    said = caplog.text + "".join(capfd.readouterr()) + runs + repr(caught.value)
    assert "FR-1" in said
    for text in PERSONAL.values():
        assert text in {"US", "WA"} or text not in said


class Events(dict):
    """Airflow's outlet events, as far as operators look."""

    def __missing__(self, key):
        self[key] = event = Event()
        return event


class Event:
    def __init__(self):
        self.extra, self.added = None, []

    def add(self, asset, extra):
        self.added.append((asset.name, extra))


def test_the_asset_says_what_changed(shop):
    asset, alias = Asset("fba_fulfillment_requests"), AssetAlias("settled")
    claim_id = uploaded(shop, "FR-1", "FR-2")
    submit(shop, claim_id)
    ctx = shop.context()
    ctx["outlet_events"] = Events()
    shop.task(lambda: WaitForFeedOperator(task_id="wait", claim_id=claim_id), ctx)
    shop.task(lambda: RecordFeedOperator(task_id="record", claim_id=claim_id, outlets=[asset]), ctx)
    assert ctx["outlet_events"][asset].extra == {"store": STORE, "accepted": 2}
    settle = lambda: SettleFeedsOperator(task_id="settle", outlets=[alias])  # noqa: E731
    shop.task(settle, ctx)
    assert ctx["outlet_events"][alias].added == []
    shop.sql("UPDATE fba.fulfillment_request SET cancel_requested_at = now() WHERE fr_number = 'FR-1'")
    shop.task(settle, ctx)
    assert ctx["outlet_events"][alias].added == [("fba_fulfillment_requests", {"store": STORE, "cancelled": 1})]


def test_stores_of_one_seller_do_not_wait_for_each_other(shop, settings, monkeypatch):
    settings("send_automatically: true", stores=(STORE, "amazon_ca"))
    canada = "A2EUQ1WTGCTBG2"
    monkeypatch.setenv("AIRFLOW_CONN_AMAZON_CA", store_connection(shop.amazon.url, marketplace_id=canada))
    shop.amazon.world.put_item(SELLER, canada, GOOD, offers=[("AMAZON_NA", None)], afn=[("SELLABLE", 9)])
    lost(shop)
    shop.sql(
        "INSERT INTO fba.global_inventory_pool (store, sku, fba_quantity, fbm_quantity, quantity, quantity_source)"
        " VALUES ('amazon_ca', %s, 1, 0, 1, 'afn_report')",
        GOOD,
    )
    shop.add("CA-1", store="amazon_ca", ship_to_state="ON", ship_to_country="CA")
    assert shop.send(store="amazon_ca") == {"accepted": 1}
    assert shop.amazon.world.orders(SELLER)["CA-1"]["marketplace_id"] == canada
