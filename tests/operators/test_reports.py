"""Requesting each report once, waiting for it, and the handling of CANCELLED and FATAL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred
from pydantic import ValidationError

from devstack.airflow import store_connection
from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.amazon.operations import ListedReport, Report
from fba_operators.amazon.transport import Download
from fba_operators.errors import (
    CredentialsError,
    DecisionNeededError,
    LostAnswerError,
    RequestRefusedError,
    UnavailableError,
)
from fba_operators.operators import (
    AmazonRetryPolicy,
    RefreshTokenOperator,
    RequestReportOperator,
    WaitForReportOperator,
)
from fba_operators.operators.base import RETRY_PATIENCE, SellingPartnerOperator
from fba_operators.reports.ledger import COOLDOWN, ReportLedger, ReportRequest
from fba_operators.reports.load import fetch_document
from fba_operators.runs.log import RunLog
from fba_operators.warehouse.lock import locked
from tests import timing
from tests.helpers import build_dag, calls_of, context, run
from tests.stores import AFN, CANADA, LISTINGS, SHIPMENTS_REPORT, STORE

pytestmark = pytest.mark.usefixtures("no_real_sleep")


def request(report_type=AFN):
    return run(RequestReportOperator(task_id="request", report_type=report_type))


def wait(report_id, **how):
    return run(WaitForReportOperator(task_id="wait", report_id=report_id), **how)


def created(amazon, report_type=AFN):
    return amazon.world.calls()["reports_created"].get(report_type, 0)


def test_a_report_is_requested_waited_for_and_in_the_ledger(amazon, warehouse, sql):
    report_id = wait(request())
    row = sql("SELECT status, document_id IS NOT NULL, finished_at IS NOT NULL FROM fba.report").fetchall()
    assert row == [("DONE", True, True)]
    assert ReportLedger(warehouse, STORE).get(report_id)["report_type"] == AFN


def test_an_equal_report_in_flight_or_within_its_cooldown_is_reused(amazon, warehouse, pass_cooldown):
    first = request()
    assert request() == first
    wait(first)
    assert request() == first
    pass_cooldown()
    assert request() != first
    assert created(amazon) == 2


def test_a_lost_answer_makes_no_second_report(amazon, warehouse, sql):
    amazon.world.add_fault("createReport", "reset_after")
    with pytest.raises(LostAnswerError):
        request()
    assert sql("SELECT status, report_id FROM fba.report").fetchall() == [("REQUESTING", None)]
    report_id = request()
    assert wait(report_id) == report_id
    assert created(amazon) == 1
    assert calls_of(amazon, "createReport") == 1


def answer_again(amazon, report_id):
    amazon.world.add_fault("createReport", "status", status=202, body={"reportId": report_id})


def test_a_report_that_amazon_names_again_is_that_report(amazon, warehouse, sql, pass_cooldown):
    first = wait(request())
    pass_cooldown()
    asked_at = sql("SELECT requested_at FROM fba.report").fetchone()
    answer_again(amazon, first)
    assert wait(request()) == first
    assert sql("SELECT status, report_id FROM fba.report").fetchall() == [("DONE", first)]
    assert sql("SELECT requested_at FROM fba.report").fetchone() == asked_at
    assert request() != first


@pytest.mark.parametrize(
    "made",
    [
        "report_type = 'GET_OTHER'",
        "status = 'FATAL'",
        "refused_at = now()",
        "marketplace_id = 'X'",
        "data_start = now()",
    ],
)
def test_a_known_report_that_is_another_one_is_a_clear_error(amazon, warehouse, sql, pass_cooldown, made):
    first = wait(request())
    pass_cooldown()
    sql(f"UPDATE fba.report SET {made}")
    answer_again(amazon, first)
    with pytest.raises(DecisionNeededError, match=f"answered with report {first}, which it gave before"):
        request()
    assert sql("SELECT report_id FROM fba.report").fetchall() == [(first,)]
    assert request() != first


def test_a_call_that_never_arrived_is_repeated(amazon, warehouse, sql):
    amazon.world.add_fault("createReport", "reset_before")
    with pytest.raises(LostAnswerError):
        request()
    request()
    assert created(amazon) == 1
    assert sql("SELECT count(report_id) FROM fba.report").fetchone() == (1,)


def test_a_kill_between_create_report_and_its_id_makes_no_second_report(amazon, warehouse, monkeypatch):
    def kill(*_, **__):
        raise SystemExit("killed")

    with monkeypatch.context() as patch:
        patch.setattr(ReportLedger, "record_id", kill)
        with pytest.raises(SystemExit):
            request()
    assert created(amazon) == 1
    request()
    assert created(amazon) == 1


def test_a_report_older_than_the_intent_is_not_adopted(amazon, warehouse, monkeypatch):
    """Amazon's list has a report of the same kind that is older than the intent."""
    SellingPartnerHook().create_report(AFN)  # of another program, before our intent
    amazon.world.advance(3600)
    amazon.world.add_fault("createReport", "reset_before")
    timing.clock_skew(monkeypatch, timedelta(0))
    with pytest.raises(LostAnswerError):
        request()
    request()
    assert created(amazon) == 2


def test_a_refused_request_leaves_no_intent(amazon, warehouse, sql):
    with pytest.raises(RequestRefusedError, match="refuses the request"):
        request("GET_NO_SUCH_REPORT")
    assert sql("SELECT count(*) FROM fba.report").fetchone() == (0,)


def test_an_exhausted_quota_defers_and_costs_no_retry(amazon, warehouse, sql):
    amazon.world.add_fault("createReport", "429")
    moments = []

    def later(moment):
        moments.append(moment)
        sql("UPDATE fba.rate_limit SET tokens = 1")

    assert run(RequestReportOperator(task_id="request", report_type=AFN), on_wait=later)
    assert timedelta(seconds=40) < moments[0] - datetime.now(UTC) < timedelta(seconds=61)
    assert created(amazon) == 1


def test_fatal_shows_amazons_reason_and_is_not_retried(amazon, warehouse):
    amazon.world.add_fault("createReport", "fatal_with_document")
    with pytest.raises(DecisionNeededError, match="Amazon's reason: ") as caught:
        wait(request())
    assert AmazonRetryPolicy().evaluate(caught.value, 1, 3).action.value == "fail"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("The date range is too long: a report of this type covers thirty days at most.", True),
        ("amazon-order-id\trecipient-name\tship-address-1\tship-city\r\n1\tMax Secret\tAm Markt 5\tBerlin\r\n", False),
        ("Rejected rows:\n111-1;Max Secret;Hidden Meadows 77;Concealville", False),
        ("Max Secret, Am Markt 5, Concealville", False),
    ],
)
@pytest.mark.parametrize(
    ("report_type", "may_have_buyers"), [(SHIPMENTS_REPORT, True), ("GET_UNKNOWN", True), (AFN, False)]
)
def test_of_a_fatal_document_only_a_sentence_is_shown_where_it_may_have_buyers(
    amazon, warehouse, sql, monkeypatch, report_type, may_have_buyers, said, shown
):
    report_id = request()
    sql("UPDATE fba.report SET status = 'FATAL', document_id = 'why', report_type = %s", report_type)
    download = Download("UTF-8", iter([said[:2].encode(), said[2:].encode()]))
    monkeypatch.setattr(SellingPartnerHook, "download_report", lambda self, document_id: download)
    with pytest.raises(DecisionNeededError, match="Amazon's reason") as caught:
        run(WaitForReportOperator(task_id="wait", report_id=report_id))
    text = str(caught.value)
    assert (said in text) == shown or not may_have_buyers
    assert ("not shown" in text) == (may_have_buyers and not shown)
    assert "Max Secret" not in text + str(sql("SELECT summary, failure FROM fba.run").fetchall()) or not may_have_buyers


def test_fatal_without_a_document_is_reported_as_such(amazon, warehouse):
    amazon.world.add_fault("createReport", "fatal")
    with pytest.raises(DecisionNeededError, match="reason: none given"):
        wait(request())


def test_after_fatal_the_report_is_requested_again_only_after_the_cooldown(amazon, warehouse, pass_cooldown):
    amazon.world.add_fault("createReport", "fatal")
    fatal = request()
    with pytest.raises(DecisionNeededError):
        wait(fatal)
    again = run(RequestReportOperator(task_id="request", report_type=AFN), on_wait=pass_cooldown)
    assert again != fatal
    assert timedelta(minutes=28) < pass_cooldown.moments[0] - datetime.now(UTC) <= COOLDOWN


def test_a_report_amazon_does_not_know_is_not_waited_for_again(amazon, warehouse, sql, pass_cooldown):
    """For example after the connection's seller has changed."""
    report_id = request()
    gone = {"errors": [{"code": "NotFound", "message": "The report does not exist.", "details": ""}]}
    amazon.world.add_fault("getReport", "status", times=None, status=404, body=gone)
    with pytest.raises(RequestRefusedError):
        wait(report_id)
    amazon.world.clear_faults()
    pass_cooldown()
    assert wait(request()) != report_id


def test_cancelled_uses_an_equal_report_that_is_done(amazon, warehouse):
    """Another program of the seller requested the same report shortly before; Amazon cancels ours."""
    other = SellingPartnerHook().create_report(AFN)
    ours = request()
    assert ours != other
    assert wait(ours) == other
    assert created(amazon) == 2


def test_a_cancelled_report_is_requested_once_more_after_the_cooldown(amazon, warehouse, pass_cooldown):
    amazon.world.add_fault("createReport", "cancelled")
    cancelled = request()
    finished = wait(cancelled, on_wait=pass_cooldown)
    assert finished != cancelled
    assert len(pass_cooldown.moments) == 1
    assert ReportLedger(warehouse, STORE).get(finished)["status"] == "DONE"


def test_a_report_cancelled_twice_is_returned_as_cancelled(amazon, warehouse, pass_cooldown):
    amazon.world.add_fault("createReport", "cancelled", times=2)
    cancelled = request()
    finished = wait(cancelled, on_wait=pass_cooldown)
    assert finished != cancelled
    assert ReportLedger(warehouse, STORE).get(finished)["status"] == "CANCELLED"
    assert created(amazon) == 2


def test_a_report_that_never_ends_is_given_up(amazon, warehouse, monkeypatch):
    timing.report_timeout(monkeypatch, timedelta(0))
    amazon.world.set_clock(speed=0.0001)
    with pytest.raises(DecisionNeededError, match="not finished"):
        wait(request())


def test_a_run_that_waits_less_leaves_the_report_to_the_next_until_it_is_too_old(amazon, warehouse, monkeypatch):
    amazon.world.set_clock(speed=0.0001)
    report_id = request()
    with pytest.raises(AirflowSkipException, match="next run"):
        run(WaitForReportOperator(task_id="wait", report_id=report_id, patience=timedelta(0)))
    timing.report_timeout(monkeypatch, timedelta(0))  # as if two hours had passed
    with pytest.raises(DecisionNeededError, match="not finished"):
        run(WaitForReportOperator(task_id="wait", report_id=report_id, patience=timedelta(0)))


def test_faults_while_waiting_do_not_end_the_wait(amazon, warehouse):
    report_id = request()
    for _ in range(6):
        amazon.world.add_fault("getReport", "503")
    assert wait(report_id) == report_id


def test_credentials_that_fail_while_waiting_keep_their_type(amazon, warehouse):
    report_id = request()
    amazon.world.add_fault("getReport", "status", times=None, status=403, body={"errors": [{"code": "Unauthorized"}]})
    with pytest.raises(CredentialsError):
        wait(report_id)


def test_an_undocumented_report_status_is_an_error(amazon, warehouse):
    report_id = request()
    operator = WaitForReportOperator(task_id="wait", report_id=report_id)
    with pytest.raises(UnavailableError, match="unknown status 'MAYBE'"):
        operator.resume(context(), {"id": report_id, "state": {"reportId": report_id, "processingStatus": "MAYBE"}})


def test_documents_arrive_complete_with_and_without_gzip(amazon, warehouse):
    hook = SellingPartnerHook()
    for gzip in (True, False):
        amazon.world.override_document(AFN, b"seller-sku\tx\n" * 5, gzip=gzip)
    for _ in range(2):
        finished = wait(request())
        document = fetch_document(hook, ReportLedger(warehouse, STORE).get(finished)["document_id"])
        assert b"".join(document())[:2] == b"\x1f\x8b"
        import gzip as unpack

        assert unpack.decompress(b"".join(document())) == b"seller-sku\tx\n" * 5
        amazon.world.advance(3600)
        with warehouse.connect() as db:
            db.execute("UPDATE fba.report SET requested_at = requested_at - interval '1 hour'")


def test_calls_are_recorded_per_run(amazon, warehouse, sql):
    wait(request())
    ((calls,),) = sql("SELECT calls FROM fba.run").fetchall()
    assert calls["createReport"] == 1
    assert calls["token"] == 1
    assert calls["getReport"] == calls_of(amazon, "getReport")


def test_the_token_operator_returns_no_token(amazon, warehouse):
    until = run(RefreshTokenOperator(task_id="token"))
    assert timedelta(minutes=50) < datetime.fromisoformat(until) - datetime.now(UTC) < timedelta(minutes=60)
    assert run(RefreshTokenOperator(task_id="token", offline=True)) is None
    assert calls_of(amazon, "token") == 1


def test_the_age_of_the_secrets_is_recorded_before_they_are_used(amazon, warehouse, sql, monkeypatch):
    sql("INSERT INTO fba.store (store, max_stock_age_hours) VALUES (%s, 6)", STORE)
    ages = "SELECT client_secret_expires_at, refresh_token_expires_at FROM fba.store"
    days = {"client_secret_created": "2026-01-01", "authorized_at": "2026-01-02"}
    connection = store_connection(amazon.url, password="expired", **days)
    monkeypatch.setenv("AIRFLOW_CONN_AMAZON_US", connection)
    with pytest.raises(CredentialsError):
        run(RefreshTokenOperator(task_id="token"))
    assert sql(ages).fetchone() == (datetime(2026, 6, 30, tzinfo=UTC), datetime(2027, 1, 2, tzinfo=UTC))
    monkeypatch.setenv("AIRFLOW_CONN_AMAZON_US", store_connection(amazon.url))
    run(RefreshTokenOperator(task_id="token"))
    assert sql(ages).fetchone() == (None, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"report_type": ""}, "report_type must be"),
        ({"report_type": AFN, "report_options": {"custom": True}}, "strings to strings"),
    ],
)
def test_invalid_arguments_are_refused_at_once(arguments, message):
    with pytest.raises(ValueError, match=message):
        RequestReportOperator(task_id="request", **arguments)


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ("yesterday", None, "ISO 8601"),
        ("2026-11-01T00:00:00", None, "lacks an offset"),
        ("2026-11-02T00:00:00+00:00", "2026-11-01T00:00:00+00:00", "must be before"),
    ],
)
def test_invalid_windows_are_refused_before_amazon_is_called(amazon, warehouse, start, end, message):
    operator = RequestReportOperator(task_id="request", report_type=AFN, data_start=start, data_end=end)
    with pytest.raises(ValueError, match=message):
        run(operator)
    assert calls_of(amazon, "createReport") == 0


def test_an_empty_report_id_is_refused(amazon, warehouse):
    with pytest.raises(ValueError, match="report_id is empty"):
        wait("")


@pytest.mark.parametrize(
    "odd", ["", "2026-11-29", "2026-11-29T00:00:00", 1795900000, "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]
)
def test_a_window_that_cannot_be_is_no_fault_of_the_report(odd):
    """Stock has none; only a lost report is found by it."""
    state = {"reportId": "1", "processingStatus": "DONE", "dataStartTime": odd, "createdTime": "2026-11-29T00:00:00Z"}
    assert Report.model_validate(state).data_start_time is None
    with pytest.raises(ValidationError):
        ListedReport.model_validate(state)


def test_only_an_equal_window_matches():
    start, end = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC)
    wanted = ReportRequest("T", start, end)
    same = {"reportType": "T", "dataStartTime": "2026-11-01T00:00:00Z", "dataEndTime": "2026-11-02T00:00:00.000Z"}

    def matches(report):
        listed = {"reportId": "1", "processingStatus": "DONE", "createdTime": "2026-11-03T00:00:00Z", **report}
        return wanted.matches(ListedReport.model_validate(listed), "M")

    assert matches(same)
    assert not matches({**same, "dataEndTime": "2026-11-02T00:00:02Z"})
    assert not matches({"reportType": "T"})
    assert not matches({**same, "marketplaceIds": ["OTHER"]})


# --- lost answers of other windows -----------------------------------------------------------------------------------

A = datetime(2026, 11, 1, tzinfo=UTC)
B = datetime(2026, 11, 2, tzinfo=UTC)


def request_from(start):
    end = start + timedelta(days=3)
    return run(
        RequestReportOperator(
            task_id="request", report_type=SHIPMENTS_REPORT, data_start=start.isoformat(), data_end=end.isoformat()
        )
    )


def lose_answer(amazon, fault="reset_after"):
    """Lose the answer to a createReport for window A."""
    amazon.world.add_fault("createReport", fault)
    with pytest.raises(LostAnswerError):
        request_from(A)


def ledger_rows(sql):
    return sql("SELECT data_start, report_id, status FROM fba.report ORDER BY requested_at, data_start").fetchall()


def at_amazon(amazon):
    """Ids of all reports at Amazon, oldest first."""
    return [report_id for _, report_id in amazon.world.desk.reports]


def test_a_lost_report_is_found_by_a_run_that_requests_another_window(amazon, warehouse, sql):
    amazon.world.set_clock(processing_seconds=3600)
    lose_answer(amazon)
    report_id = request_from(B)
    (first, second) = at_amazon(amazon)
    assert report_id == second
    assert sorted(ledger_rows(sql)) == [(A, first, "IN_QUEUE"), (B, second, "IN_QUEUE")]
    assert calls_of(amazon, "getReports") == 1
    assert request_from(A) == first
    assert calls_of(amazon, "getReports") == 1


def test_a_lost_call_of_another_window_that_made_no_report_expires(amazon, warehouse, sql, pass_cooldown):
    lose_answer(amazon, "reset_before")
    pass_cooldown()
    report_id = request_from(B)
    assert [row[:2] for row in ledger_rows(sql)] == [(B, report_id)]
    assert at_amazon(amazon) == [report_id]


def test_a_lost_call_that_makes_its_report_late_is_searched_again(amazon, warehouse, sql):
    lose_answer(amazon, "reset_before")
    second = request_from(B)
    window = {"data_start": A, "data_end": A + timedelta(days=3)}
    late = SellingPartnerHook().create_report(SHIPMENTS_REPORT, **window)
    request_from(B)
    assert sorted(row[:2] for row in ledger_rows(sql)) == [(A, late), (B, second)]


def test_nothing_is_requested_while_a_lost_report_cannot_be_searched(amazon, warehouse, sql, no_retry_sleep):
    lose_answer(amazon)
    amazon.world.add_fault("getReports", "status", times=None, status=200, body="<html>Welcome</html>")
    with pytest.raises(UnavailableError):
        request_from(B)
    assert calls_of(amazon, "createReport") == 1
    assert ledger_rows(sql) == [(A, None, "REQUESTING")]


def test_without_a_lost_answer_amazons_list_is_not_requested(amazon, warehouse):
    request_from(A)
    request_from(B)
    request_from(A)
    assert calls_of(amazon, "getReports") == 0


@pytest.mark.parametrize(("outcome", "status"), [("cancelled", "CANCELLED"), ("fatal", "FATAL")])
def test_a_lost_report_that_failed_is_recorded_but_not_used(amazon, warehouse, sql, pass_cooldown, outcome, status):
    amazon.world.add_fault("createReport", outcome)
    lose_answer(amazon)
    amazon.world.advance(60)
    (failed,) = at_amazon(amazon)
    start, end = A.isoformat(), (A + timedelta(days=3)).isoformat()
    again = run(
        RequestReportOperator(task_id="request", report_type=SHIPMENTS_REPORT, data_start=start, data_end=end),
        on_wait=pass_cooldown,
    )
    assert again != failed
    assert len(pass_cooldown.moments) == 1
    assert (A, failed, status) in ledger_rows(sql)


def test_of_reports_that_may_be_the_lost_one_a_usable_one_is_preferred(amazon, warehouse, sql):
    hook, ledger = SellingPartnerHook(), ReportLedger(warehouse, STORE)
    ledger.record_intent(ReportRequest(AFN), hook.marketplace.id)
    good = hook.create_report(AFN)
    amazon.world.add_fault("createReport", "fatal")
    hook.create_report(AFN)
    amazon.world.advance(60)
    assert request() == good


def test_one_report_is_assigned_to_one_lost_call(amazon, warehouse, sql):
    hook, ledger = SellingPartnerHook(), ReportLedger(warehouse, STORE)
    for _ in range(2):
        ledger.record_intent(ReportRequest(AFN), hook.marketplace.id)
    made = hook.create_report(AFN)
    assert request() == made
    assert {row[1] for row in ledger_rows(sql)} == {None, made}


def test_each_lost_call_gets_the_report_that_was_made_after_it(amazon, warehouse, sql):
    hook, ledger = SellingPartnerHook(), ReportLedger(warehouse, STORE)
    intents = []
    for _ in range(2):
        sql("UPDATE fba.report SET requested_at = requested_at - interval '20 minutes'")
        for report in amazon.world.desk.reports.values():
            report.created -= 20 * 60
        intents.append(ledger.record_intent(ReportRequest(LISTINGS), hook.marketplace.id))
        hook.create_report(LISTINGS)
    request(LISTINGS)
    given = dict(sql("SELECT request_id, report_id FROM fba.report").fetchall())
    assert [given[intent] for intent in intents] == at_amazon(amazon)


def test_only_lost_calls_of_this_type_and_marketplace_are_searched(amazon, warehouse, sql):
    ledger = ReportLedger(warehouse, STORE)
    ledger.record_intent(ReportRequest(LISTINGS), SellingPartnerHook().marketplace.id)
    ledger.record_intent(ReportRequest(AFN), CANADA)
    request()
    assert [row[1] for row in ledger_rows(sql)].count(None) == 2
    assert calls_of(amazon, "getReports") == 0


def test_reports_older_than_amazons_retention_are_not_requested(amazon, warehouse, sql, monkeypatch):
    ReportLedger(warehouse, STORE).record_intent(ReportRequest(AFN), SellingPartnerHook().marketplace.id)
    sql("UPDATE fba.report SET requested_at = requested_at - interval '100 days'")
    since = []
    real = SellingPartnerHook.get_reports

    def get_reports(hook, report_type, *, created_since):
        since.append(created_since)
        return real(hook, report_type, created_since=created_since)

    monkeypatch.setattr(SellingPartnerHook, "get_reports", get_reports)
    report_id = request()
    assert timedelta(days=88) < datetime.now(UTC) - since[0] < timedelta(days=90)
    assert [row[1] for row in ledger_rows(sql)] == [report_id]


def test_while_a_listed_report_cannot_be_read_no_lost_call_is_given_up(amazon, warehouse, sql):
    """It may be the one that the lost call made; the others are read, and a new report is requested."""
    ledger = ReportLedger(warehouse, STORE)
    intent = ledger.record_intent(ReportRequest(AFN), SellingPartnerHook().marketplace.id)
    sql("UPDATE fba.report SET requested_at = requested_at - interval '2 hours'")
    unreadable = {"reportId": "1", "reportType": AFN, "processingStatus": "DONE"}  # without createdTime
    amazon.world.add_fault("getReports", "status", times=1, status=200, body={"reports": [unreadable]})
    report_id = request()
    assert {row[1] for row in ledger_rows(sql)} == {None, report_id}
    sql("UPDATE fba.report SET requested_at = requested_at - interval '2 hours'")
    again = request()  # the list is readable now, and has nothing of the lost call
    assert intent not in {request_id for (request_id,) in sql("SELECT request_id FROM fba.report").fetchall()}
    assert {row[1] for row in ledger_rows(sql)} == {report_id, again}


# How long a task waits in all


def deferred(operator, ctx):
    with pytest.raises(TaskDeferred) as caught:
        operator.execute(ctx)
    return caught.value.trigger


@pytest.mark.parametrize(("attempt", "minutes"), [(1, 50), (2, 5), (4, 5)])
def test_a_retry_does_not_wait_as_long_again(amazon, warehouse, attempt, minutes):
    amazon.world.set_clock(processing_seconds=3600)
    ctx = context()
    ctx["ti"].try_number = attempt
    operator = WaitForReportOperator(task_id="wait", report_id=request(), patience=timedelta(minutes=50))
    assert deferred(operator, ctx).patience == minutes * 60


@pytest.mark.parametrize("dag_id", ["fba_get_inventory", "fba_send_fulfillment_requests", "fba_get_shipments"])
def test_all_attempts_to_wait_fit_into_a_run(dag_id):
    dag = build_dag(dag_id)
    waits = [task for task in dag.tasks if getattr(task, "patience", None)]
    assert waits
    for task in waits:
        first = min(task.patience, task.execution_timeout or task.patience)
        pauses = timedelta(minutes=sum(2**n for n in range(task.retries)))
        assert first + task.retries * RETRY_PATIENCE + pauses < dag.dagrun_timeout


def test_a_lock_that_nobody_gives_back_leaves_the_store_to_the_next_run(amazon, warehouse, sql, warehouse_url):
    with warehouse.connect() as db:
        RunLog("test", "test", STORE).begin(db)

    class Locked(SellingPartnerOperator):
        def work(self, context):
            with locked(self.warehouse, "fba.feed", self.conn_id, patience=timedelta(seconds=0.1)):
                pass

    with psycopg.connect(warehouse_url) as idle:
        idle.execute("SELECT pg_advisory_xact_lock(hashtext('fba.feed'), hashtext(%s))", (STORE,))
        for minutes, ends in ((0, False), (5, False), (11, True)):
            ctx = context()
            ctx["ti"].start_date = datetime.now(UTC) - timedelta(minutes=minutes)
            with DAG("test", schedule=None):
                operator = Locked(task_id="locked", conn_id=STORE)
            with pytest.raises(AirflowSkipException if ends else TaskDeferred):
                operator.execute(ctx)
    assert sql("SELECT outcome, summary FROM fba.run WHERE dag_id = 'test'").fetchall() == [
        ("skipped", "another task is at work on this store (fba.feed); the next run goes on.")
    ]
