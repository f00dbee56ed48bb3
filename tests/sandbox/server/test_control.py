"""The control API over HTTP, and the command line."""

import base64
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox import NOT_IMITATED
from sandbox.server.server import Sandbox
from sandbox.world.world import DEFAULT_MERCHANT
from tests.sandbox.client import US, Client, envelope, order_xml

AFN = "GET_AFN_INVENTORY_DATA"
SELLER = DEFAULT_MERCHANT.seller_id


def control(amazon: Sandbox, method: str, path: str, **options: Any) -> Any:
    answer = requests.request(method, f"{amazon.url}/control{path}", timeout=10, **options)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_control_api_documents_itself(amazon: Sandbox) -> None:
    document = control(amazon, "GET", "")
    assert document["not_imitated"] == list(NOT_IMITATED)
    assert "POST /control/faults" in document["actions"]
    assert all(action["does"] for action in document["actions"].values())
    assert "fatal_some" in document["faults"]["fates"]["createFeed"]
    assert "reset_after" in document["faults"]["faults"]
    assert "uploadDocument" in document["faults"]["operations"]


def test_merchants_stock_and_truth(amazon: Sandbox) -> None:
    merchant = control(amazon, "POST", "/merchants", json={"seller_id": "A9", "marketplace_ids": [US], "listings": 10})
    assert merchant["region"] == "NA"
    assert Client(amazon, merchant).token().status_code == 200
    control(amazon, "POST", "/stock", json={"seller_id": "A9", "marketplace_id": US, "sku": "X,1", "fba": 4, "fbm": 2})
    truth = control(amazon, "GET", f"/truth/A9/{US}", params={"include_fbm_quantity": "true"})
    assert truth["X,1"] == {"fba": 4, "fbm": 2, "quantity": 6, "source": "afn_report"}
    assert [seller["seller_id"] for seller in control(amazon, "GET", "/merchants")] == [SELLER, "A9"]


def test_clock_faults_documents_and_counts(amazon: Sandbox, client: Client) -> None:
    control(amazon, "POST", "/documents", json={"report_type": AFN, "content": base64.b64encode(b"x\n").decode()})
    control(amazon, "POST", "/faults", json={"operation": "createReport", "fault": 500, "times": 1})
    assert control(amazon, "GET", "/faults")[0]["fault"] == "500"
    assert client.create(AFN).status_code == 500
    report_id = client.create(AFN).json()["reportId"]
    clock = control(amazon, "POST", "/clock", json={"advance": 60, "speed": 2})
    assert clock["speed"] == 2
    assert client.text(client.report(report_id)) == "x\n"
    counts = control(amazon, "GET", "/calls", params={"seller_id": SELLER})
    assert counts["calls"]["createReport"] == 2
    assert counts["calls"]["token"] == 1
    assert counts["outcomes"]["createReport"] == {"500": 1, "202": 1}
    assert counts["reports_created"] == {AFN: 1}
    control(amazon, "DELETE", "/calls")
    assert control(amazon, "GET", "/calls")["calls"] == {}


def test_rendering_shape_and_refused_skus(amazon: Sandbox, client: Client) -> None:
    marketplace = {"seller_id": SELLER, "marketplace_id": US}
    control(
        amazon, "POST", "/rendering", json={**marketplace, "report_type": AFN, "crlf": False, "extra_columns": ["x"]}
    )
    control(amazon, "POST", "/report-shape", json={**marketplace, "report_type": AFN, "hide": ["AFN-PLAIN"]})
    control(amazon, "POST", "/refused-skus", json={**marketplace, "skus": ["AFN-BOTH"]})
    text = client.text(client.finished(AFN))
    assert "\r\n" not in text
    assert text.split("\n")[0].endswith("\tx")
    assert "AFN-PLAIN" not in text
    assert client.summaries(sellerSku="AFN-BOTH").status_code == 400


def test_orders_feeds_and_shipments(amazon: Sandbox, client: Client) -> None:
    marketplace = {"seller_id": SELLER, "marketplace_id": US}
    control(amazon, "POST", "/orders/plan", json={"seller_id": SELLER, "order_id": "FR-1", "parts": 1, "never": False})
    control(amazon, "POST", "/orders/listing", json={"page_size": 5, "delay": 0})
    client.processed(envelope(order_xml("FR-1"), order_xml("FR-2"), order_xml("FR-2")))
    orders = control(amazon, "GET", "/orders", params={"seller_id": SELLER})
    assert {order_id: order["times_received"] for order_id, order in orders.items()} == {"FR-1": 1, "FR-2": 2}
    (feed,) = control(amazon, "GET", "/feeds")
    assert (feed["orderIds"], feed["processingStatus"]) == (["FR-1", "FR-2", "FR-2"], "DONE")
    control(amazon, "POST", "/orders/status", json={"seller_id": SELLER, "order_id": "FR-2", "status": "Invalid"})
    shipped = control(amazon, "POST", "/ship", json={"seller_id": SELLER, "reported_minutes_ago": 3})
    assert shipped == {"FR-1": 1, "FR-2": 0}
    window = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02"}
    control(amazon, "POST", "/shipments/seed", json={**marketplace, "n": 7, **window})
    truth = control(amazon, "GET", "/shipments/truth", params=marketplace)
    assert (truth["orders"]["FR-1"]["AFN-PLAIN"]["quantity"], len(truth["rows"])) == (1, 8)
    assert len(control(amazon, "GET", "/shipments/truth", params={**marketplace, **window})["rows"]) == 7
    control(amazon, "POST", "/shipments/fill-in", json=marketplace)
    assert all(
        row["shipment-item-id"] for row in control(amazon, "GET", "/shipments/truth", params=marketplace)["rows"]
    )


def test_answers_about_orders_and_hung_and_foreign_feeds(amazon: Sandbox, client: Client) -> None:
    control(amazon, "POST", "/orders/answers", json={"capitals": True, "leave_out": ["marketplaceId"]})
    control(amazon, "POST", "/orders/shown-status", json={"seller_id": SELLER, "order_id": "FR-1", "status": "Odd"})
    for order_id, status in (("FR-1", "Odd"), ("FR-2", "RECEIVED")):
        client.create_order(order_id)
        order = client.order(order_id).json()["payload"]["fulfillmentOrder"]
        assert (order["fulfillmentOrderStatus"], "marketplaceId" in order) == (status, False)
    control(amazon, "POST", "/feeds/hang", json={"seller_id": SELLER, "times": 1})
    client.submit(client.upload(envelope(order_xml("FR-3"))))
    theirs = control(
        amazon,
        "POST",
        "/feeds/foreign",
        json={"seller_id": SELLER, "marketplace_id": US, "orders": {"FR-4": {"AFN-PLAIN": 1}}, "status": "DONE"},
    )
    foreign, ours = control(amazon, "GET", "/feeds")
    assert (foreign["feedId"], foreign["foreign"], foreign["hangs"]) == (theirs, True, False)
    assert (ours["foreign"], ours["hangs"]) == (False, True)
    assert control(amazon, "POST", "/feeds/release") == [ours["feedId"]]


def test_parcels_tariffs_features_and_versions(amazon: Sandbox, client: Client) -> None:
    control(amazon, "POST", "/orders/plan", json={
        "seller_id": SELLER, "order_id": "FR-1", "parts": 1, "packages": 1, "never": False, "fates": ["late"],
        "amazon_logistics": True,
    })  # fmt: skip
    client.create_order("FR-1")
    control(amazon, "POST", "/ship", json={"seller_id": SELLER})
    control(amazon, "POST", "/parcels", json={"seller_id": SELLER, "order_id": "FR-1", "status": "RETURNING"})
    (parcel,) = control(amazon, "GET", "/parcels", params={"seller_id": SELLER})
    assert (parcel["carrier"], parcel["status"], parcel["state"]) == ("AMZN_US", "IN_TRANSIT", "RETURNING")
    control(amazon, "POST", "/tariffs", json={"speed": "Standard", "fees": {"FBATransportationFee": "9.00"}})
    marketplace = {"seller_id": SELLER, "marketplace_id": US}
    control(amazon, "POST", "/features", json={**marketplace, "feature": "BLANK_BOX", "enrolled": False})
    control(amazon, "POST", "/outbound-2026", json={"seller_id": SELLER, "available": False})
    assert amazon.world.order_desk.tariffs["Standard"].fees == {"FBATransportationFee": "9.00"}
    assert amazon.world.merchants[SELLER].catalogue(US).features.not_enrolled == {"BLANK_BOX"}
    assert client.call("GET", "/fulfillment/outbound/2026-07-04/orders").status_code == 403


def test_reset_restores_the_initial_state(amazon: Sandbox, client: Client, seller: Any) -> None:
    before = amazon.world.truth(SELLER, US)
    seller()
    amazon.world.set_stock(SELLER, US, "00123", fba=1)
    client.create(AFN)
    control(amazon, "POST", "/reset")
    assert list(amazon.world.merchants) == [SELLER]
    assert amazon.world.truth(SELLER, US) == before
    assert amazon.world.calls()["calls"] == {}
    assert client.create(AFN).status_code == 403
    assert client.login().finished(AFN)["processingStatus"] == "DONE"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/merchants", {"seller_id": "A9"}),
        ("/merchants", {"seller_id": "A9", "marketplace_ids": ["US"]}),
        ("/merchants", {"seller_id": "A9", "marketplace_ids": [US, "A1VC38T7YXB528"]}),
        ("/merchants", {"seller_id": SELLER, "marketplace_ids": [US]}),
        ("/merchants", {"seller_id": "A9", "marketplace_ids": [US], "client_secret": "another"}),
        ("/stock", {"seller_id": SELLER, "marketplace_id": "A1VC38T7YXB528", "sku": "X", "fba": 1}),
        ("/clock", {"speed": 0}),
        ("/clock", {"advance": -1}),
        ("/expire", {"what": "milk"}),
        ("/faults", {"operation": "createReport", "fault": "boredom"}),
        ("/rendering", {"seller_id": SELLER, "marketplace_id": US, "charset": "ebcdic"}),
        ("/report-shape", {"seller_id": SELLER, "marketplace_id": US, "report_type": AFN, "mode": "odd"}),
        ("/documents", {"report_type": "no name of a type", "content": ""}),
        ("/documents", {"report_type": AFN, "content": "not base64!"}),
        ("/inventory-page-size", {"size": 0}),
        ("/orders/status", {"seller_id": SELLER, "order_id": "FR-1", "status": "Complete"}),
        ("/orders/listing", {"page_size": 0}),
        ("/orders/answers", {"repeated_id": "ignore"}),
        ("/orders/shown-status", {"seller_id": "A0", "order_id": "FR-1", "status": "Odd"}),
        ("/feeds/hang", {"status": "DONE"}),
        ("/feeds/release", {"feed_ids": ["1"]}),
        ("/feeds/foreign", {"seller_id": SELLER, "marketplace_id": US, "orders": ["FR-1"]}),
        ("/ship", {"seller_id": "A0"}),
        ("/shipments/seed", {"seller_id": SELLER, "marketplace_id": US, "n": 1, "start": "x", "end": "y"}),
        ("/reset", [1]),
    ],
)
def test_invalid_control_calls_are_rejected_with_a_reason(amazon: Sandbox, path: str, body: Any) -> None:
    answer = requests.post(f"{amazon.url}/control{path}", json=body, timeout=10)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_the_truth_of_an_unknown_seller_is_rejected(amazon: Sandbox) -> None:
    assert requests.get(f"{amazon.url}/control/truth/A0/{US}", timeout=10).status_code == 400
    bad = requests.get(f"{amazon.url}/control/truth/{SELLER}/{US}?include_fbm_quantity=1", timeout=10)
    assert bad.status_code == 400


def test_sellers_of_one_application_have_separate_tokens(amazon: Sandbox, client: Client, seller: Any) -> None:
    other: Client = seller()
    assert other.credentials["client_id"] == client.credentials["client_id"]
    assert other.credentials["client_secret"] == client.credentials["client_secret"]
    assert other.finished(AFN)["processingStatus"] == client.finished(AFN)["processingStatus"] == "DONE"


def test_ids_are_not_reused_after_a_restart(amazon: Sandbox, client: Client) -> None:
    def ids() -> set[str]:
        feed = client.submit(client.upload(envelope(order_xml()))).json()["feedId"]
        return {client.create(AFN).json()["reportId"], feed}

    before = ids()
    control(amazon, "POST", "/reset")
    client.login()
    assert not before & ids()


def test_speed_shortens_processing(amazon: Sandbox, client: Client) -> None:
    amazon.world.set_clock(speed=1e6)
    report_id = client.create(AFN).json()["reportId"]
    assert client.report(report_id)["processingStatus"] == "DONE"
    assert client.finished(AFN)["processingStatus"] == "DONE"


def test_a_port_in_use_is_an_error(amazon: Sandbox) -> None:
    with pytest.raises(OSError, match="in use"):
        Sandbox(port=int(amazon.url.rpartition(":")[2]))


def test_the_sandbox_can_listen_on_all_interfaces() -> None:
    with Sandbox(listings=1, host="0.0.0.0") as everywhere:
        assert everywhere.url.startswith("http://127.0.0.1:")
        assert requests.get(f"{everywhere.url}/control", timeout=10).status_code == 200
    with pytest.raises(OSError, match=r".+"):
        Sandbox(host="203.0.113.1")


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_the_command_line(stop: signal.Signals) -> None:
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-m", "sandbox", "--host", "127.0.0.1", "--port", "0", "--listings", "5"]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        killer = threading.Timer(60, process.kill)
        killer.start()
        try:
            first = process.stdout.readline()
            url = first.removeprefix("Sandbox Amazon listens on ").strip()
            assert url.startswith("http://127.0.0.1:")
            truth = requests.get(f"{url}/control/truth/{SELLER}/{US}", timeout=10).json()
            assert truth["AFN-PLAIN"]["quantity"] == 17
            process.send_signal(stop)
            rest = process.stdout.read()
            assert process.wait(timeout=30) == 0
        finally:
            killer.cancel()
            process.kill()
    assert DEFAULT_MERCHANT.refresh_token in rest
    assert NOT_IMITATED[0] in rest
