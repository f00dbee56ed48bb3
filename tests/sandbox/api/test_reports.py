"""Reports from createReport to the bytes of the document, with cooldown, cache and overrides."""

import gzip
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.server.server import Sandbox
from tests.sandbox.client import US, Client, error

LISTINGS = "GET_MERCHANT_LISTINGS_ALL_DATA"
AFN = "GET_AFN_INVENTORY_DATA"
SHIPMENTS = "GET_AMAZON_FULFILLED_SHIPMENTS_DATA_GENERAL"
CA, DE = "A2EUQ1WTGCTBG2", "A1PA6795UKMFR9"


def ago(**delta: float) -> str:
    return (datetime.now(UTC) - timedelta(**delta)).isoformat()


def test_a_report_passes_through_its_statuses_over_time(amazon: Sandbox, client: Client) -> None:
    report_id = client.create(AFN).json()["reportId"]
    first = client.report(report_id)
    assert first["processingStatus"] == "IN_QUEUE"
    assert first["marketplaceIds"] == [US]
    assert "reportDocumentId" not in first
    amazon.world.advance(15)
    assert client.report(report_id)["processingStatus"] == "IN_PROGRESS"
    amazon.world.advance(45)
    done = client.report(report_id)
    assert done["processingStatus"] == "DONE"
    created, ended = (datetime.fromisoformat(done[name]) for name in ("createdTime", "processingEndTime"))
    assert created <= ended <= datetime.now(UTC)
    text = client.text(done)
    assert text.startswith("seller-sku\tfulfillment-channel-sku\tasin\tcondition-type\tWarehouse-Condition-code\t")
    assert "AFN-PLAIN\tX000000001\tB000000001\tNew\tSELLABLE\t17\r\n" in text


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"reportType": AFN},
        {"marketplaceIds": [US]},
        {"reportType": AFN, "marketplaceIds": []},
        {"reportType": AFN, "marketplaceIds": US},
        {"reportType": AFN, "marketplaceIds": [US] * 26},
        {"reportType": AFN, "marketplaceIds": ["US"]},
        {"reportType": "GET_NOTHING", "marketplaceIds": [US]},
        {"reportType": 1, "marketplaceIds": [US]},
        {"reportType": ["x"], "marketplaceIds": [US]},
        {"reportType": AFN, "marketplaceIds": [US], "colour": "red"},
        {"reportType": AFN, "marketplaceIds": [US], "reportOptions": {"custom": True}},
        {"reportType": AFN, "marketplaceIds": [US], "reportOptions": "custom"},
        {"reportType": AFN, "marketplaceIds": [US], "dataStartTime": "2026-01-01"},
        {"reportType": AFN, "marketplaceIds": [US], "dataStartTime": "2026-01-01T00:00:00"},
        {"reportType": AFN, "marketplaceIds": [US], "dataStartTime": "2026-13-01T00:00:00Z"},
        {"reportType": AFN, "marketplaceIds": [US], "dataEndTime": "2999-01-01T00:00:00Z"},
        {"reportType": AFN, "marketplaceIds": [US], "dataEndTime": 5},
        {
            "reportType": AFN,
            "marketplaceIds": [US],
            "dataStartTime": "2026-01-02T00:00:00Z",
            "dataEndTime": "2026-01-01T00:00:00Z",
        },
        [1],
    ],
)
def test_invalid_requests_are_rejected_and_create_no_report(amazon: Sandbox, client: Client, body: Any) -> None:
    answer = client.call("POST", "/reports/2021-06-30/reports", json=body)
    assert (answer.status_code, error(answer)["code"]) == (400, "InvalidInput")
    assert amazon.world.calls()["reports_created"] == {}


def test_the_body_must_be_json(client: Client) -> None:
    path = "/reports/2021-06-30/reports"
    assert client.call("POST", path, data="{", headers={"content-type": "application/json"}).status_code == 400
    assert client.call("POST", path, data="{}", headers={"content-type": "text/plain"}).status_code == 415


def test_marketplaces_where_the_seller_does_not_sell_are_forbidden(client: Client) -> None:
    answer = client.create(AFN, (DE,))
    assert answer.status_code == 403
    assert error(answer)["details"] == "The marketplaces you provided are not valid for region."
    brazil = client.create(AFN, ("A2Q3Y263D00KWC",))
    assert (brazil.status_code, error(brazil)["details"]) == (403, "")


def test_reports_and_documents_belong_to_their_seller(client: Client, seller: Any) -> None:
    mine = client.finished(AFN)
    other: Client = seller()
    assert other.call("GET", f"/reports/2021-06-30/reports/{mine['reportId']}").status_code == 404
    refused = other.document(mine["reportDocumentId"])
    assert (refused.status_code, error(refused)["code"]) == (404, "NotFound")
    # A report id is unique only together with its seller.
    assert other.finished(LISTINGS)["reportId"] == mine["reportId"]


def test_a_document_does_not_exist_before_its_report_is_done(amazon: Sandbox, client: Client) -> None:
    client.create(AFN)
    (document_id,) = amazon.world.desk.documents
    assert client.document(document_id).status_code == 404
    amazon.world.advance(60)
    assert client.document(document_id).status_code == 200


def test_fba_reports_within_the_cooldown_are_cancelled_without_a_reason(amazon: Sandbox, client: Client) -> None:
    assert client.finished(AFN)["processingStatus"] == "DONE"
    again = client.finished(AFN)
    assert again["processingStatus"] == "CANCELLED"
    assert "reportDocumentId" not in again
    assert client.finished(AFN, (CA,))["processingStatus"] == "DONE"
    amazon.world.advance(1800 - 180 - 10)
    assert client.finished(AFN)["processingStatus"] == "CANCELLED"
    assert client.finished(AFN)["processingStatus"] == "DONE"
    assert amazon.world.calls()["reports_created"] == {AFN: 5}


def test_a_cancelled_report_starts_no_cooldown(amazon: Sandbox, client: Client) -> None:
    report_id = client.create(AFN).json()["reportId"]
    cancelled = client.call("DELETE", f"/reports/2021-06-30/reports/{report_id}")
    assert cancelled.status_code == 200
    assert client.report(report_id)["processingStatus"] == "CANCELLED"
    assert client.finished(AFN)["processingStatus"] == "DONE"
    too_late = client.call("DELETE", f"/reports/2021-06-30/reports/{int(report_id) + 1}")
    assert too_late.status_code == 400
    assert client.call("DELETE", "/reports/2021-06-30/reports/1").status_code == 404


def test_listings_are_cached_for_an_hour_whatever_the_locale(amazon: Sandbox, client: Client) -> None:
    amazon.world.set_rendering(client.credentials["seller_id"], US, LISTINGS, language="de")
    first = client.finished(LISTINGS)
    amazon.world.set_stock(client.credentials["seller_id"], US, "00123", fbm=999)
    second = client.finished(LISTINGS, reportOptions={"preferredReportDocumentLocale": "en_US"})
    assert second["processingStatus"] == "DONE"
    assert second["reportDocumentId"] != first["reportDocumentId"]
    assert client.text(second) == client.text(first)
    assert client.text(first).startswith("Artikelbezeichnung\t")
    amazon.world.advance(3600)
    third = client.text(client.finished(LISTINGS, reportOptions={"preferredReportDocumentLocale": "en_US"}))
    assert third.startswith("item-name\t")
    assert "\t999\t" in third


def test_a_listing_report_uses_only_the_first_marketplace(amazon: Sandbox, client: Client) -> None:
    both = client.text(client.finished(LISTINGS, (CA, US)))
    alone = client.text(client.finished(LISTINGS, (CA,)))
    assert both == alone
    assert client.text(client.finished(LISTINGS, (US,))) != alone


def test_reports_of_a_merchant_without_skus_are_cancelled(seller: Any) -> None:
    empty: Client = seller(listings=0)
    for report_type in (LISTINGS, AFN, SHIPMENTS):
        assert empty.finished(report_type)["processingStatus"] == "CANCELLED"


def test_a_shipments_report_has_the_rows_reported_in_its_window(amazon: Sandbox, client: Client) -> None:
    seller_id = client.credentials["seller_id"]
    window = {"dataStartTime": ago(days=2), "dataEndTime": ago(days=1)}
    assert client.finished(SHIPMENTS, **window)["processingStatus"] == "CANCELLED"
    for order, when in (("S01-1", ago(hours=36)), ("S01-2", ago(hours=12))):
        amazon.world.add_shipment(seller_id, US, {"amazon-order-id": order, "reporting-date": when})
    done = client.finished(SHIPMENTS, **window)
    assert done["processingStatus"] == "DONE"
    lines = client.text(done).splitlines()
    assert len(lines[0].split("\t")) == 48
    assert [line.split("\t")[0] for line in lines[1:]] == ["S01-1"]
    assert client.finished(SHIPMENTS, **window)["processingStatus"] == "CANCELLED"
    other = {"dataStartTime": ago(days=3), "dataEndTime": ago(hours=1)}
    assert client.finished(SHIPMENTS, **other)["processingStatus"] == "DONE"
    too_long = client.finished(SHIPMENTS, dataStartTime=ago(days=40))
    assert too_long["processingStatus"] == "FATAL"
    assert (
        client.finished(LISTINGS, dataStartTime=ago(days=400))["processingStatus"] == "DONE"
    )  # only shipments have a window
    with pytest.raises(ValueError, match="colour"):
        amazon.world.add_shipment(seller_id, US, {"colour": "red"})


def test_reports_are_listed_newest_first_in_pages(amazon: Sandbox, client: Client) -> None:
    ids = [client.create(AFN).json()["reportId"] for _ in range(5)]
    query = {"reportTypes": f"{AFN},{LISTINGS}", "pageSize": "2", "marketplaceIds": US}
    path = "/reports/2021-06-30/reports"
    page = client.call("GET", path, params=query).json()
    found = [report["reportId"] for report in page["reports"]]
    with_more = client.call("GET", path, params={"nextToken": page["nextToken"], "pageSize": "2"})
    assert with_more.status_code == 400
    while "nextToken" in page:
        page = client.call("GET", path, params={"nextToken": page["nextToken"]}).json()
        found += [report["reportId"] for report in page["reports"]]
    assert found == list(reversed(ids))


def test_reports_are_filtered(amazon: Sandbox, client: Client) -> None:
    def listed(**query: str) -> list[str]:
        answer = client.call("GET", "/reports/2021-06-30/reports", params={"reportTypes": AFN, **query})
        assert answer.status_code == 200, answer.text
        return [report["reportId"] for report in answer.json()["reports"]]

    done = client.finished(AFN)["reportId"]
    client.create(LISTINGS)
    waiting = client.create(AFN).json()["reportId"]
    assert listed() == [waiting, done]
    assert listed(processingStatuses="DONE,FATAL") == [done]
    assert listed(marketplaceIds=CA) == []
    assert listed(createdSince="2999-01-01T00:00:00Z") == []
    assert listed(createdUntil=ago(days=1)) == []
    assert listed(createdSince=ago(days=1)) == [waiting, done]


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"reportTypes": ""},
        {"reportTypes": ",".join(["A"] * 11)},
        {"reportTypes": AFN, "pageSize": "0"},
        {"reportTypes": AFN, "pageSize": "101"},
        {"reportTypes": AFN, "pageSize": "ten"},
        {"reportTypes": AFN, "processingStatuses": "READY"},
        {"reportTypes": AFN, "createdSince": "today"},
        {"reportTypes": [AFN, LISTINGS]},
        {"reportTypes": AFN, "sortBy": "createdTime"},
        {"nextToken": "made-up"},
    ],
)
def test_invalid_queries_are_rejected(client: Client, query: dict[str, Any]) -> None:
    answer = client.call("GET", "/reports/2021-06-30/reports", params=query)
    assert (answer.status_code, error(answer)["code"]) == (400, "InvalidInput")


def test_a_document_url_is_presigned_for_five_minutes(amazon: Sandbox, client: Client) -> None:
    done = client.finished(LISTINGS)
    answer = client.document(done["reportDocumentId"]).json()
    assert answer.keys() == {"reportDocumentId", "url", "compressionAlgorithm"}
    assert answer["compressionAlgorithm"] == "GZIP"
    url = answer["url"]
    assert "X-Amz-Expires=300" in url
    assert re.search(r"X-Amz-Signature=[0-9a-f]{64}", url)
    download = client.session.get(url, timeout=10)
    assert download.headers["Content-Type"] == "text/plain; charset=UTF-8"
    assert "Content-Encoding" not in download.headers
    assert gzip.decompress(download.content).startswith(b"item-name\t")

    for header in ("Authorization", "x-amz-access-token"):
        refused = client.session.get(url, headers={header: "Atza|x"}, timeout=10)
        assert (refused.status_code, "<Code>InvalidArgument</Code>" in refused.text) == (400, True)
    tampered = client.session.get(url.replace("X-Amz-Expires=300", "X-Amz-Expires=900"), timeout=10)
    assert (tampered.status_code, "<Code>SignatureDoesNotMatch</Code>" in tampered.text) == (403, True)
    bare = client.session.get(url.partition("?")[0], timeout=10)
    assert (bare.status_code, "<Code>AccessDenied</Code>" in bare.text) == (403, True)
    amazon.world.expire("urls")
    expired = client.session.get(url, timeout=10)
    assert (expired.status_code, "Request has expired" in expired.text) == (403, True)
    assert expired.headers["Content-Type"] == "application/xml"
    assert client.download(done).status_code == 200


def test_a_document_can_be_served_with_content_encoding(client: Client) -> None:
    done = client.finished(AFN)
    answer = client.document(done["reportDocumentId"], "?enableContentEncodingUrlHeader=true").json()
    assert answer["compressionAlgorithm"] == "GZIP"
    download = client.session.get(answer["url"], timeout=10)
    assert download.headers["Content-Encoding"] == "gzip"
    assert download.content.startswith(b"seller-sku\t")
    assert client.document(done["reportDocumentId"], "?enableContentEncodingUrlHeader=yes").status_code == 400
    assert client.document("amzn1.spdoc.1.4.nothing").status_code == 404


def test_documents_can_be_uncompressed(amazon: Sandbox, client: Client) -> None:
    seller_id = client.credentials["seller_id"]
    amazon.world.set_rendering(seller_id, US, AFN, gzip=False, declare_gzip=False)
    done = client.finished(AFN)
    assert "compressionAlgorithm" not in client.document(done["reportDocumentId"]).json()
    assert client.download(done).content.startswith(b"seller-sku\t")


def test_the_content_of_the_next_reports_can_be_overridden(amazon: Sandbox, client: Client) -> None:
    amazon.world.override_document(AFN, b"one\n", content_type="text/plain", gzip=False)
    amazon.world.override_document(AFN, "dHdvCg==", gzip=True, declare_gzip=False)
    first, second, third = client.finished(AFN), client.finished(AFN), client.finished(AFN)
    download = client.download(first)
    assert (download.content, download.headers["Content-Type"]) == (b"one\n", "text/plain")
    assert client.text(second) == "two\n"
    assert "compressionAlgorithm" not in client.document(second["reportDocumentId"]).json()
    assert third["processingStatus"] == "CANCELLED"


def test_reports_can_be_scripted_to_lack_skus_quantities_or_rows(amazon: Sandbox, client: Client) -> None:
    seller_id = client.credentials["seller_id"]

    def afn() -> dict[str, Any]:
        amazon.world.advance(1800)
        return client.finished(AFN)

    amazon.world.shape_report(seller_id, US, AFN, mode="zero", hide=["AFN-PLAIN"])
    lines = client.text(afn()).split("\r\n")[1:-1]
    assert lines
    assert {line.split("\t")[5] for line in lines} == {"0"}
    assert "AFN-PLAIN" not in {line.split("\t")[0] for line in lines}
    amazon.world.shape_report(seller_id, US, AFN, mode="empty")
    assert client.text(afn()).count("\n") == 1
    amazon.world.shape_report(seller_id, US, AFN, mode="no_data")
    assert afn()["processingStatus"] == "CANCELLED"
    amazon.world.shape_report(seller_id, US, AFN)
    assert "AFN-PLAIN\t" in client.text(afn())
