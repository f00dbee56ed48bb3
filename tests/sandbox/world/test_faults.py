"""Scripted faults: the answer the client gets, and whether the operation took effect."""

import gzip
import json
import threading
import time
import zlib
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import pytest
import requests

from sandbox.server.server import Sandbox
from tests.sandbox.client import US, Client, error

AFN = "GET_AFN_INVENTORY_DATA"
LISTINGS = "GET_MERCHANT_LISTINGS_ALL_DATA"


def created(amazon: Sandbox) -> int:
    return sum(amazon.world.calls()["reports_created"].values())


@pytest.mark.parametrize(
    ("fault", "code"), [("429", "QuotaExceeded"), ("500", "InternalFailure"), ("503", "ServiceUnavailable")]
)
def test_an_error_before_the_operation_takes_effect(amazon: Sandbox, client: Client, fault: str, code: str) -> None:
    amazon.world.add_fault("createReport", fault)
    answer = client.create(AFN)
    assert (answer.status_code, error(answer)["code"]) == (int(fault), code)
    assert answer.headers["x-amzn-RequestId"]
    assert "x-amzn-RateLimit-Limit" not in answer.headers
    assert created(amazon) == 0
    assert client.create(AFN).status_code == 202


def test_an_error_after_the_operation_took_effect(amazon: Sandbox, client: Client) -> None:
    amazon.world.add_fault("createReport", "error_after")
    amazon.world.add_fault("createReport", "error_after", status=503)
    assert [client.create(AFN).status_code for _ in range(3)] == [500, 503, 202]
    assert created(amazon) == 3


@pytest.mark.parametrize(("fault", "reports"), [("reset_before", 0), ("reset_after", 1)])
def test_a_connection_reset_before_or_after_the_operation(
    amazon: Sandbox, client: Client, fault: str, reports: int
) -> None:
    amazon.world.add_fault("createReport", fault)
    with pytest.raises(requests.ConnectionError):
        client.create(AFN)
    assert created(amazon) == reports
    assert amazon.world.calls()["outcomes"]["createReport"] == {"dropped": 1}
    assert client.create(LISTINGS).status_code == 202


def test_skip_and_times_select_the_calls(amazon: Sandbox, client: Client) -> None:
    amazon.world.add_fault("getReport", 500, skip=1, times=2)
    report_id = client.create(AFN).json()["reportId"]
    path = f"/reports/2021-06-30/reports/{report_id}"
    assert [client.call("GET", path).status_code for _ in range(5)] == [200, 500, 500, 200, 200]
    (fault,) = amazon.world.faults_listed()
    assert (fault["seen"], fault["struck"]) == (5, 2)
    amazon.world.add_fault("getReport", 503, times=None)
    assert {client.call("GET", path).status_code for _ in range(4)} == {503}
    amazon.world.clear_faults()
    assert client.call("GET", path).status_code == 200


def test_a_fault_can_be_restricted_to_a_seller_and_type(amazon: Sandbox, client: Client, seller: Any) -> None:
    other: Client = seller()
    amazon.world.add_fault("createReport", 500, seller_id="A2OTHERSELLER", report_type=AFN)
    assert client.create(AFN).status_code == 202
    assert other.create(LISTINGS).status_code == 202
    assert other.create(AFN).status_code == 500


def test_an_expired_token_stays_expired(amazon: Sandbox, client: Client) -> None:
    amazon.world.add_fault("createReport", "expired_token")
    for _ in range(2):
        answer = client.create(AFN)
        assert (answer.status_code, error(answer)["details"]) == (403, "The access token you provided has expired.")
    assert client.login().create(AFN).status_code == 202


def test_faults_of_the_token_endpoint_have_its_error_format(amazon: Sandbox, client: Client) -> None:
    amazon.world.add_fault("token", 503)
    amazon.world.add_fault("token", "error_after", seller_id="A1SANDBOXSELLER")
    answers = [client.token() for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 500, 200]
    assert [answer.json()["error"] for answer in answers[:2]] == ["temporarily_unavailable", "server_error"]


def test_reports_can_be_scripted_to_end_fatal_or_cancelled(amazon: Sandbox, client: Client) -> None:
    for fault in ("fatal", "fatal_with_document", "cancelled"):
        amazon.world.add_fault("createReport", fault)
    fatal = client.finished(AFN)
    assert (fatal["processingStatus"], "reportDocumentId" in fatal) == ("FATAL", False)
    explained = client.finished(AFN)
    assert explained["processingStatus"] == "FATAL"
    document = client.document(explained["reportDocumentId"]).json()
    assert "compressionAlgorithm" not in document
    assert b"errorDetails" in client.session.get(document["url"], timeout=10).content
    assert client.finished(AFN)["processingStatus"] == "CANCELLED"
    # A FATAL report counts for the cool-down.
    assert client.finished(AFN)["processingStatus"] == "CANCELLED"
    amazon.world.advance(1800)
    assert client.finished(AFN)["processingStatus"] == "DONE"


def test_downloads_can_expire_be_truncated_or_fail(amazon: Sandbox, client: Client) -> None:
    done = client.finished(AFN)
    amazon.world.add_fault("downloadDocument", "expired_url", report_type=AFN)
    url = client.document(done["reportDocumentId"]).json()["url"]
    assert [client.session.get(url, timeout=10).status_code for _ in range(2)] == [403, 403]
    amazon.world.add_fault("downloadDocument", "truncated_gzip")
    cut = client.download(done).content
    with pytest.raises((EOFError, zlib.error)):
        gzip.decompress(cut)
    amazon.world.add_fault("downloadDocument", 503, seller_id="A1SANDBOXSELLER")
    slow = client.download(done)
    assert (slow.status_code, "<Code>SlowDown</Code>" in slow.text) == (503, True)
    assert client.text(done).startswith("seller-sku")


def test_an_answer_can_be_scripted_completely(amazon: Sandbox, client: Client) -> None:
    body = {"errors": [{"code": "Odd", "message": "odd"}]}
    amazon.world.add_fault("createReport", "status", status=418, body=body, headers={"Retry-After": "7"})
    amazon.world.add_fault("createReport", "status", status=502, body="<html>Bad gateway</html>")
    odd = client.create(AFN)
    assert (odd.status_code, odd.json(), odd.headers["Retry-After"]) == (418, body, "7")
    gateway = client.create(AFN)
    assert (gateway.status_code, gateway.text) == (502, "<html>Bad gateway</html>")
    assert created(amazon) == 0


class Delay:
    """Replaces `time` in the sandbox: records the delay of a call, and ends it when the test sets `over`."""

    def __init__(self) -> None:
        self.begun, self.over = threading.Event(), threading.Event()
        self.seconds = 0.0

    def sleep(self, seconds: float) -> None:
        self.seconds = seconds
        self.begun.set()
        self.over.wait(60)


@pytest.fixture
def delay(monkeypatch: pytest.MonkeyPatch) -> Iterator[Delay]:
    replacement = Delay()
    monkeypatch.setattr("sandbox.server.gate.time", replacement)
    yield replacement
    replacement.over.set()


def disconnect_early(client: Client, delay: Delay) -> None:
    """Request a report and disconnect during the delay."""
    connection = HTTPConnection(client.amazon.url.removeprefix("http://"))
    body = json.dumps({"reportType": AFN, "marketplaceIds": [US]})
    connection.request(
        "POST", "/reports/2021-06-30/reports", body, {**client.headers, "content-type": "application/json"}
    )
    assert delay.begun.wait(60)
    connection.close()
    assert delay.seconds == 0.3


def test_a_delayed_call_takes_effect_after_the_client_disconnected(
    amazon: Sandbox, client: Client, delay: Delay
) -> None:
    amazon.world.add_fault("createReport", "delay", seconds=0.3)
    disconnect_early(client, delay)
    assert created(amazon) == 0
    delay.over.set()
    amazon.settle()
    assert created(amazon) == 1


@pytest.mark.timeout(30)
def test_a_call_that_was_never_sent_whole_is_not_waited_for(amazon: Sandbox, client: Client) -> None:
    connection = HTTPConnection(client.amazon.url.removeprefix("http://"))
    connection.putrequest("POST", "/reports/2021-06-30/reports")
    for name, value in {**client.headers, "content-type": "application/json", "content-length": "1000"}.items():
        connection.putheader(name, value)
    connection.endheaders(b'{"reportType":')
    while not amazon._server.server_state.tasks:
        time.sleep(0.01)
    amazon.settle()
    connection.close()
    amazon.settle()
    assert created(amazon) == 0


def test_a_delayed_call_has_no_effect_after_a_reset(amazon: Sandbox, client: Client, delay: Delay) -> None:
    amazon.world.add_fault("createReport", "delay", seconds=0.3)
    disconnect_early(client, delay)
    amazon.world.reset()
    delay.over.set()
    amazon.settle()
    assert amazon.world.calls()["calls"] == {}
    assert amazon.world.desk.of_seller("A1SANDBOXSELLER") == []


@pytest.mark.parametrize(
    ("operation", "fault", "how"),
    [
        ("createReports", "500", {}),
        ("createReport", "418", {}),
        ("getReport", "fatal", {}),
        ("getReport", "truncated_gzip", {}),
        ("createReport", "status", {"status": 418}),
        ("token", "expired_token", {}),
    ],
)
def test_faults_that_an_operation_cannot_have_are_rejected(
    amazon: Sandbox, operation: str, fault: str, how: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=operation if fault != "418" and not how else "fault"):
        amazon.world.add_fault(operation, fault, **how)
