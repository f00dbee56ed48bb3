"""A feed from claim to processing report: what Amazon's answers do to its requests."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta

import pytest
from airflow.sdk import Asset, AssetAlias
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred

from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.errors import CredentialsError, RequestRefusedError, UnavailableError
from fba_operators.fulfillment import settle
from fba_operators.fulfillment.ledger import FeedLedger
from fba_operators.fulfillment.processing_report import Verdict
from fba_operators.operators import (
    RecordFeedOperator,
    RetentionOperator,
    SettleFeedsOperator,
    SubmitFeedOperator,
    UploadFeedOperator,
    WaitForFeedOperator,
)
from fba_operators.warehouse.database import Warehouse
from fba_operators.warehouse.encryption import decrypt
from tests import timing
from tests.helpers import context
from tests.sending import GOOD, PERSONAL, SKIPPED, claimed, look_up_unknown, other_seller, submit, uploaded
from tests.stores import SELLER, STORE

pytestmark = pytest.mark.usefixtures("no_real_sleep")

# Without faults


def test_a_good_request_ends_accepted_and_a_bad_one_rejected(shop):
    shop.add("FR-1", [(GOOD, 2), (GOOD, 1)])
    shop.stock("NOT-AT-AMAZON", 5)
    shop.add("FR-2", [("NOT-AT-AMAZON", 1)])
    assert shop.send() == {"accepted": 1, "rejected": 1}
    assert shop.statuses() == {"FR-1": "accepted", "FR-2": "rejected"}
    assert shop.orders_made() == {"FR-1": 1, "FR-2": 0}
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


def test_the_processing_report_is_stored_encrypted_for_the_retention_period(shop):
    shop.add("FR-1")
    shop.send()
    ((stored,),) = shop.sql("SELECT result_document FROM fba.feed")
    assert b"ProcessingReport" not in bytes(stored)
    assert b"<MessagesSuccessful>1<" in decrypt(stored)
    shop.pass_time(31 * 24 * 60)
    RetentionOperator(task_id="retention").execute(shop.context())
    assert shop.sql("SELECT result_document FROM fba.feed") == [(None,)]


@pytest.mark.parametrize("outcome", ["gzip_result", "plain_result"])
def test_the_result_is_read_compressed_or_not(shop, outcome):
    shop.amazon.world.add_fault("createFeed", outcome)
    shop.add("FR-1")
    assert shop.send() == {"accepted": 1}


def test_a_warning_is_stored_with_the_accepted_request(shop):
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
    assert shop.calls_of("createFeedDocument") == 0


def test_message_zero_rejects_every_request(shop):
    shop.amazon.world.add_fault("createFeed", "message_zero")
    shop.add("FR-1")
    shop.add("FR-2")
    assert shop.send() == {"rejected": 2}
    assert shop.feeds() == [("DONE", True)]


def test_an_error_about_the_document_beside_counts_of_success_is_a_contradiction(shop):
    """It rejects no request, and proves none: Amazon's orders are looked at."""
    shop.amazon.world.add_fault("createFeed", "message_zero_some")
    shop.add("FR-1")
    assert shop.send() == {"unknown": 1}
    look_up_unknown(shop)
    assert shop.get("FR-1").status == "accepted"
    assert shop.orders_made() == {"FR-1": 1}


# Up to createFeed


def test_a_finished_upload_is_not_repeated_and_a_refused_one_gets_a_new_document(shop):
    shop.amazon.world.add_fault("uploadDocument", "expired_url")
    claim_id = claimed(shop)
    upload = lambda: UploadFeedOperator(task_id="upload", claim_id=claim_id)  # noqa: E731
    with pytest.raises(UnavailableError):
        shop.task(upload, shop.context())
    for _ in range(2):
        assert shop.task(upload, shop.context()) == claim_id
    assert shop.calls_of("createFeedDocument") == 2
    assert shop.sql("SELECT f.document_id = m.document_id FROM fba.feed f, fba.feed_message m") == [(True,)]
    assert shop.sql("SELECT count(*) FROM fba.feed WHERE document_id LIKE 'claim-%%'") == [(0,)]


def test_settings_changed_between_claim_and_upload_stop_the_feed_and_the_next_run_claims_again(shop, fulfillment):
    claim_id = claimed(shop)
    fulfillment("shipping_methods: {Slow: Standard}")
    with pytest.raises(ValueError, match="shipping_method"):
        shop.task(lambda: UploadFeedOperator(task_id="upload", claim_id=claim_id), shop.context())
    shop.send()
    assert shop.get("FR-1").status == "invalid"
    assert shop.feeds() == [("RELEASED", True)]


def test_messages_changed_between_claim_and_upload_stop_the_feed(shop):
    claim_id = claimed(shop, "FR-1", "FR-2")
    shop.sql("UPDATE fba.feed_message SET message_id = 7 WHERE fr_number = 'FR-2'")
    with pytest.raises(ValueError, match="would not hold what was claimed"):
        shop.task(lambda: UploadFeedOperator(task_id="upload", claim_id=claim_id), shop.context())


def test_a_feed_is_not_written_for_another_seller_than_it_was_claimed_for(shop):
    claim_id = claimed(shop)
    with other_seller(shop):
        with pytest.raises(ValueError, match="would not hold what was claimed"):
            shop.task(lambda: UploadFeedOperator(task_id="upload", claim_id=claim_id), shop.context())
        assert shop.send(until="settle") == {"pending": 1}
    assert shop.get("FR-1").status == "pending"


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
    assert shop.orders_made() == {"FR-1": 1}


def test_a_denied_create_feed_makes_the_requests_pending_again(shop):
    denied = {"errors": [{"code": "Unauthorized", "message": "Access to requested resource is denied.", "details": ""}]}
    shop.amazon.world.add_fault("createFeed", "status", status=403, body=denied)
    claim_id = uploaded(shop)
    with pytest.raises(CredentialsError):
        submit(shop, claim_id)
    assert shop.get("FR-1").status == "pending"


def test_an_exhausted_quota_waits_and_submits_once(shop):
    shop.amazon.world.add_fault("createFeed", "429")
    claim_id = uploaded(shop)
    states = []

    def later(moment):
        states.append(shop.sql("SELECT status, submit_started_at FROM fba.feed")[0])
        shop.fill_quotas()

    shop.task(lambda: SubmitFeedOperator(task_id="submit", claim_id=claim_id), shop.context(), on_wait=later)
    assert states == [("CLAIMED", None)]
    assert shop.amazon.world.feed_count == 1
    assert shop.get("FR-1").status == "submitted"


def test_without_an_access_token_nothing_was_submitted(shop):
    claim_id = uploaded(shop)
    shop.sql("DELETE FROM fba.lwa_token")
    shop.amazon.world.add_fault("token", "503", times=None)
    with pytest.raises(UnavailableError):
        submit(shop, claim_id)
    shop.amazon.world.clear_faults()
    assert shop.sql("SELECT status, submit_started_at FROM fba.feed") == [("CLAIMED", None)]
    assert submit(shop, claim_id) == claim_id
    assert shop.amazon.world.feed_count == 1


def test_submitting_again_submits_nothing(shop):
    claim_id = uploaded(shop)
    for _ in range(3):
        assert submit(shop, claim_id) == claim_id
    assert shop.calls_of("createFeed") == 1


def test_two_submits_at_the_same_time_submit_once(shop):
    claim_id = uploaded(shop)
    threads = [threading.Thread(target=submit, args=(shop, claim_id)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shop.amazon.world.feed_count == 1
    assert shop.get("FR-1").status == "submitted"


def test_another_run_releases_an_unsubmitted_feed_and_the_first_run_ends(shop):
    claim_id = uploaded(shop)
    assert shop.send() == {"accepted": 1}
    assert submit(shop, claim_id) is SKIPPED
    for task in (UploadFeedOperator, WaitForFeedOperator, RecordFeedOperator):
        assert shop.task(lambda task=task: task(task_id="task", claim_id=claim_id), shop.context()) is SKIPPED
    assert shop.orders_made() == {"FR-1": 1}
    assert shop.feeds() == [("RELEASED", True), ("DONE", True)]


def test_a_feed_submitted_in_the_meantime_is_not_released(shop):
    """Another run has read the feed as not submitted; before it releases the feed, it is submitted."""
    claim_id = uploaded(shop)
    ledger = FeedLedger(Warehouse(), STORE)
    (seen,) = ledger.open_feeds()
    submit(shop, claim_id)
    outcome = settle.Outcome()
    settle.settle_feed(SellingPartnerHook(), ledger, seen, outcome)
    assert outcome.moved.total() == 0
    assert shop.get("FR-1").status == "submitted"
    shop.amazon.world.advance(1)
    shop.send()
    assert (shop.get("FR-1").status, shop.orders_made()) == ("accepted", {"FR-1": 1})


def test_a_report_is_applied_once(shop):
    shop.add("FR-1")
    shop.send()
    ((claim_id, document),) = shop.sql("SELECT claim_id, result_document FROM fba.feed")
    shop.sql("UPDATE fba.feed SET settled_at = NULL")
    refusal = {1: Verdict("rejected", "1", "too late")}
    assert FeedLedger(Warehouse(), STORE).record_verdicts(claim_id, refusal, b"other") == []
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
    assert shop.orders_made() == {"FR-1": 1}
    assert shop.calls_of("createFeed") == 1


# Waiting and recording


def test_a_slow_feed_ends_the_run_green_and_the_next_run_settles_it(shop, monkeypatch):
    timing.feed_timeout(monkeypatch, timedelta(0))
    shop.amazon.world.set_clock(processing_seconds=1000)
    shop.add("FR-1")
    assert shop.send() is SKIPPED
    assert "1 request waits for feed" in shop.summary()
    assert shop.sql("SELECT outcome FROM fba.run") == [("success",)]
    shop.add("FR-2")
    assert shop.send() is SKIPPED
    assert "1 request waits for feed" in shop.summary()
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


def test_a_feed_status_that_nobody_knows_is_no_end(shop):
    """The requests wait, and the summary says why."""
    shop.amazon.world.set_clock(processing_seconds=10**6)
    claim_id = uploaded(shop)
    submit(shop, claim_id)
    ctx = shop.context()
    event = {"id": "1", "state": {"feedId": "1", "processingStatus": "MAYBE"}}
    with pytest.raises(AirflowSkipException):
        WaitForFeedOperator(task_id="wait", claim_id=claim_id).resume(ctx, event)
    ((feed_id,),) = shop.sql("SELECT feed_id FROM fba.feed")
    answer = {"feedId": feed_id, "processingStatus": "MAYBE"}
    shop.amazon.world.add_fault("getFeed", "status", status=200, body=answer, times=None)
    shop.send(until="settle")
    assert "MAYBE, a status that Amazon does not document" in shop.summary()
    assert shop.get("FR-1").status == "submitted"
    shop.amazon.world.clear_faults()
    shop.amazon.world.advance(10**6)
    shop.send(until="settle")
    assert shop.get("FR-1").status == "accepted"


def test_a_feed_amazon_cancelled_makes_the_requests_pending_again(shop):
    shop.amazon.world.add_fault("createFeed", "cancelled")
    shop.add("FR-1")
    assert shop.send() == {"pending": 1}
    assert shop.feeds() == [("CANCELLED", True)]
    assert shop.send() == {"accepted": 1}
    assert shop.orders_made() == {"FR-1": 1}


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        ("missing_result", "no processing report"),
        ("expired_result", "does not have the processing report any more"),
        ("unreadable_result", "not well-formed"),
        ("wrong_counts", "counts 1 messages where 2 were sent"),
        ("fatal_all", "FATAL"),
    ],
)
def test_after_an_unusable_report_the_orders_are_looked_up_at_amazon(shop, outcome, reason):
    shop.amazon.world.add_fault("createFeed", outcome)
    shop.add("FR-1")
    shop.add("FR-2")
    shop.send()
    assert shop.statuses() == {"FR-1": "unknown", "FR-2": "unknown"}
    assert reason in shop.get("FR-1").status_reason
    shop.add("FR-3")
    assert shop.send() is SKIPPED
    assert shop.get("FR-3").status == "pending"
    look_up_unknown(shop)
    assert shop.send() == {"accepted": 1}
    assert set(shop.statuses().values()) == {"accepted"}
    assert set(shop.orders_made().values()) == {1}
    assert shop.get("FR-1").status_reason is None


@pytest.mark.parametrize(("outcome", "again"), [("fatal_none", {"FR-1", "FR-2"}), ("fatal_some", {"FR-2"})])
def test_after_fatal_only_what_did_not_arrive_is_sent_again(shop, outcome, again):
    shop.amazon.world.add_fault("createFeed", outcome, with_document=True)
    shop.add("FR-1")
    shop.add("FR-2")
    shop.send()
    assert set(shop.statuses().values()) == {"unknown"}
    look_up_unknown(shop)
    assert {number for number, status in shop.statuses().items() if status == "pending"} == again
    assert shop.send() == {"accepted": len(again)}
    assert shop.orders_made() == {"FR-1": 1, "FR-2": 1}
    assert {number: shop.get(number).attempts for number in ("FR-1", "FR-2")} == {
        number: int(number in again) for number in ("FR-1", "FR-2")
    }


def test_a_final_status_seen_by_the_wait_is_not_polled_again(shop):
    claim_id = uploaded(shop)
    submit(shop, claim_id)
    shop.task(lambda: WaitForFeedOperator(task_id="wait", claim_id=claim_id), shop.context())
    polls = shop.calls_of("getFeed")
    shop.task(lambda: RecordFeedOperator(task_id="record", claim_id=claim_id), shop.context())
    assert shop.calls_of("getFeed") == polls
    assert shop.get("FR-1").status == "accepted"


def test_a_refused_download_is_retried_with_a_new_url(shop):
    shop.amazon.world.add_fault("downloadDocument", "expired_url")
    shop.add("FR-1")
    assert shop.send() == {"accepted": 1}
    assert shop.calls_of("getFeedDocument") == 2


def test_an_interrupted_download_is_retried(shop):
    shop.amazon.world.add_fault("downloadDocument", "reset_before")
    shop.add("FR-1")
    assert shop.send(attempts=2) == {"accepted": 1}


def test_an_oversized_result_is_not_accepted(shop, monkeypatch):
    monkeypatch.setattr(settle, "MAX_RESULT_BYTES", 100)
    shop.add("FR-1")
    shop.send()
    assert "larger than" in shop.get("FR-1").status_reason
    assert shop.get("FR-1").status == "unknown"


def test_a_result_older_than_amazons_retention_is_not_requested(shop, monkeypatch):
    claim_id = uploaded(shop)
    submit(shop, claim_id)
    shop.task(lambda: WaitForFeedOperator(task_id="wait", claim_id=claim_id), shop.context())
    shop.pass_time(29 * 24 * 60)
    shop.send()
    assert shop.calls_of("getFeedDocument") == 0
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


# What leaves the warehouse


def test_no_personal_data_in_logs_runs_or_errors(shop, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    shop.add("FR-1")
    shop.add("FR-2", ship_to_name="x" * 60, ship_to_email="wilhelmina@secret.example x")
    shop.add("wilhelmina@secret.example")
    shop.amazon.world.add_fault("createFeed", "wrong_counts")
    shop.send()
    look_up_unknown(shop)
    shop.add("FR-3")
    shop.amazon.world.add_fault("createFeed", "status", status=400, body={"errors": [{"code": "InvalidInput"}]})
    with pytest.raises(RequestRefusedError) as caught:
        shop.send()
    runs = str(shop.sql("SELECT * FROM fba.run"))
    output = caplog.text + "".join(capfd.readouterr()) + runs + repr(caught.value)
    assert "FR-1" in output
    for text in PERSONAL.values():
        assert text in {"US", "WA"} or text not in output


class Events(dict):
    """Those parts of Airflow's outlet events that operators use."""

    def __missing__(self, key):
        self[key] = event = Event()
        return event


class Event:
    def __init__(self):
        self.extra, self.added = None, []

    def add(self, asset, extra):
        self.added.append((asset.name, extra))


def test_the_asset_event_has_what_changed(shop):
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
