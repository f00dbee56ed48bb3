"""How orders ship, the shipments report, and the expected result of reading it."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.merchant.headers import SHIPMENT_COLUMNS
from sandbox.merchant.order_request import Line, OrderRequest
from sandbox.merchant.shipping import ShippingScript, plan_shipments
from sandbox.server.server import Sandbox
from tests.sandbox.client import US, Client

SELLER = "A1SANDBOXSELLER"
SHIPMENTS = "GET_AMAZON_FULFILLED_SHIPMENTS_DATA_GENERAL"
JP = "A1VC38T7YXB528"


def ago(**delta: float) -> str:
    return (datetime.now(UTC) - timedelta(**delta)).isoformat()


def read(
    client: Client, start: str, end: str, marketplace_id: str = US, charset: str = "utf-8"
) -> list[dict[str, str]]:
    """The rows of one shipments report; none when it ends CANCELLED."""
    report = client.finished(SHIPMENTS, (marketplace_id,), dataStartTime=start, dataEndTime=end)
    if report["processingStatus"] == "CANCELLED":
        return []
    header, *lines = client.text(report, charset).removesuffix("\r\n").split("\r\n")
    return [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]


def units_by_order(rows: list[dict[str, str]]) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = {}
    for row in rows:
        if row["merchant-order-id"]:
            found.setdefault(row["merchant-order-id"], Counter())[row["sku"]] += int(row["quantity-shipped"])
    return {order_id: dict(skus) for order_id, skus in found.items()}


def order(client: Client, order_id: str, quantity: int = 1, sku: str = "AFN-PLAIN") -> None:
    items = [{"sellerSku": sku, "sellerFulfillmentOrderItemId": "1", "quantity": quantity}]
    assert client.create_order(order_id, items=items).status_code == 200


def test_orders_ship_over_time_and_are_reported_later(amazon: Sandbox, client: Client) -> None:
    for order_id, late in (("SOON", False), ("LATE", True)):
        amazon.world.plan_order(SELLER, order_id, parts=1, never=False, late=late)
        order(client, order_id, 2)
    amazon.world.advance(30 * 3600 + 3600)
    assert {one["status"] for one in amazon.world.orders(SELLER).values()} == {"Complete"}
    amazon.world.advance(3 * 3600)
    assert set(amazon.world.shipment_truth(SELLER, US)["orders"]) == {"SOON"}
    amazon.world.advance(8 * 86400)
    rows = read(client, ago(hours=1), ago(seconds=0))
    assert units_by_order(rows) == {"SOON": {"AFN-PLAIN": 2}, "LATE": {"AFN-PLAIN": 2}}
    first = rows[0]
    assert list(first) == list(SHIPMENT_COLUMNS)
    assert first["amazon-order-id"].startswith("S01-")
    assert (first["sales-channel"], first["fulfillment-channel"], first["currency"]) == ("Non-Amazon", "AFN", "USD")
    assert first["merchant-order-item-id"] == "1"
    assert first["shipment-date"] <= first["reporting-date"]


def test_ship_now_ships_as_planned(amazon: Sandbox, client: Client) -> None:
    amazon.world.plan_order(SELLER, "FR-1", parts=3, never=False, shipment_item_id=True)
    amazon.world.plan_order(SELLER, "FR-2", never=True)
    amazon.world.plan_order(SELLER, "FR-3", parts=1, never=False, shipment_item_id=False, shipment_id=False)
    for order_id, quantity in (("FR-1", 5), ("FR-2", 1), ("FR-3", 4)):
        order(client, order_id, quantity)
    row_counts = amazon.world.ship_now(SELLER, ["FR-1"], parts=1)
    assert row_counts["FR-1"] >= 1
    part = amazon.world.orders(SELLER)["FR-1"]
    assert (part["status"], 0 < part["shipped"]["AFN-PLAIN"] < 5) == ("Processing", True)
    amazon.world.ship_now(SELLER, reported_minutes_ago=4)
    assert {i: (o["status"], o["shipped"]["AFN-PLAIN"]) for i, o in amazon.world.orders(SELLER).items()} == {
        "FR-1": ("Complete", 5), "FR-2": ("Received", 0), "FR-3": ("Complete", 4),
    }  # fmt: skip
    rows = read(client, ago(minutes=10), ago(minutes=2))
    assert units_by_order(rows) == {"FR-1": {"AFN-PLAIN": 5}, "FR-3": {"AFN-PLAIN": 4}}
    assert len({row["shipment-id"] for row in rows if row["merchant-order-id"] == "FR-1"}) == 3
    assert {(row["shipment-id"], row["shipment-item-id"]) for row in rows if row["merchant-order-id"] == "FR-3"} == {
        ("", "")
    }
    amazon.world.advance(90 * 86400)
    assert amazon.world.orders(SELLER)["FR-2"]["status"] == "Processing"
    assert len(amazon.world.shipment_truth(SELLER, US)["rows"]) == len(rows)
    assert amazon.world.ship_now(SELLER) == {"FR-1": 0, "FR-2": 0, "FR-3": 0}


def test_the_remaining_shipments_of_an_order_shipped_in_part_leave_over_time(amazon: Sandbox, client: Client) -> None:
    amazon.world.plan_order(SELLER, "FR-1", parts=2, never=False)
    order(client, "FR-1", 2)
    amazon.world.ship_now(SELLER, parts=1)
    amazon.world.advance(20 * 86400)
    assert amazon.world.orders(SELLER)["FR-1"]["status"] == "Complete"
    truth = amazon.world.shipment_truth(SELLER, US)
    assert truth["orders"]["FR-1"]["AFN-PLAIN"]["quantity"] == 2


def test_ship_now_reports_shipments_that_are_not_reported_yet(amazon: Sandbox, client: Client) -> None:
    amazon.world.plan_order(SELLER, "FR-1", parts=1, never=False, late=True)
    order(client, "FR-1")
    amazon.world.advance(32 * 3600)
    assert amazon.world.orders(SELLER)["FR-1"]["status"] == "Complete"
    assert amazon.world.shipment_truth(SELLER, US)["rows"] == []
    assert amazon.world.ship_now(SELLER) == {"FR-1": 1}
    amazon.world.advance(30 * 86400)
    assert len(amazon.world.shipment_truth(SELLER, US)["rows"]) == 1


def test_invalid_control_calls_are_rejected_with_a_reason(amazon: Sandbox, client: Client) -> None:
    order(client, "FR-1")
    amazon.world.plan_order(SELLER, "FR-1", parts=1, never=False)
    amazon.world.ship_now(SELLER)
    with pytest.raises(ValueError, match="planned already"):
        amazon.world.plan_order(SELLER, "FR-1", parts=2)
    with pytest.raises(ValueError, match="parts must be at least 1"):
        amazon.world.plan_order(SELLER, "FR-2", parts=0)
    with pytest.raises(ValueError, match="no fulfillment order"):
        amazon.world.ship_now(SELLER, ["FR-2"])
    with pytest.raises(ValueError, match="negative"):
        amazon.world.ship_now(SELLER, reported_minutes_ago=-1)
    with pytest.raises(ValueError, match="start must not be after end"):
        amazon.world.seed_shipments(SELLER, US, 1, ago(days=1), ago(days=2))


def test_the_truth_equals_the_shipments_report(amazon: Sandbox, client: Client) -> None:
    for number in range(25):
        amazon.world.set_stock(SELLER, US, f"MCF-{number % 7}", fba=50)
        order(client, f"FR-{number:02d}", 1 + number % 4, f"MCF-{number % 7}")
    amazon.world.ship_now(SELLER)
    amazon.world.seed_shipments(SELLER, US, 200, ago(days=20), ago(minutes=3))
    truth = amazon.world.shipment_truth(SELLER, US)
    rows = read(client, ago(days=20, minutes=1), ago(minutes=2))
    quantities = {i: {sku: one["quantity"] for sku, one in skus.items()} for i, skus in truth["orders"].items()}
    assert units_by_order(rows) == quantities
    assert 15 < len(quantities) <= 25

    def identity(row: dict[str, Any]) -> tuple[str, ...]:
        return (row["amazon-order-id"], row["sku"], row["shipment-item-id"], row["tracking-number"])

    assert Counter(map(identity, rows)) == Counter(map(identity, truth["rows"]))
    for row in rows:
        if row["merchant-order-id"]:
            one = truth["orders"][row["merchant-order-id"]][row["sku"]]
            assert row["tracking-number"] in one["tracking_numbers"]
            assert row["carrier"] in one["carriers"]


def test_windows_repeat_rows_only_where_they_overlap(amazon: Sandbox, client: Client) -> None:
    amazon.world.seed_shipments(SELLER, US, 300, ago(days=10), ago(minutes=3))
    days = [ago(days=10.01), ago(days=7), ago(days=5), ago(minutes=1)]

    def keys(start: str, end: str) -> Counter[tuple[str, ...]]:
        return Counter(tuple(row.values()) for row in read(client, start, end))

    parts = [keys(days[0], days[2]), keys(days[1], days[3])]
    both = keys(days[1], days[2])
    assert both
    assert set((parts[0] + parts[1]).values()) == {1, 2}
    assert parts[0] & parts[1] == both
    assert sum((parts[0] | parts[1]).values()) == 300
    truth = amazon.world.shipment_truth(SELLER, US, days[1], days[2])
    assert len(truth["rows"]) == sum(both.values())


def test_consumer_rows_lack_the_values_they_lack_at_amazon(amazon: Sandbox) -> None:
    amazon.world.seed_shipments(SELLER, US, 2000, ago(days=10), ago(minutes=3))
    truth = amazon.world.shipment_truth(SELLER, US)
    rows = truth["rows"]
    assert truth["orders"] == {}
    assert len({tuple(row.values()) for row in rows}) == len(rows) == 2000
    known = set(amazon.world.truth(SELLER, US))
    assert 0 < sum(row["shipment-id"] == "" for row in rows) < 200
    assert 200 < sum(row["shipment-item-id"] == "" for row in rows) < 800
    assert 0 < sum(row["sku"] not in known for row in rows) < 200
    assert any(row["amazon-order-item-id"].startswith("0") for row in rows)
    assert max(Counter(row["amazon-order-id"] for row in rows).values()) >= 2
    delays = [
        datetime.fromisoformat(row["reporting-date"]) - datetime.fromisoformat(row["shipment-date"]) for row in rows
    ]
    assert any(delay > timedelta(days=2) for delay in delays)


def test_missing_ids_can_be_added_later(amazon: Sandbox, client: Client) -> None:
    amazon.world.plan_order(SELLER, "FR-1", never=False, shipment_item_id=False)
    order(client, "FR-1")
    amazon.world.ship_now(SELLER)
    assert {row["shipment-item-id"] for row in read(client, ago(minutes=9), ago(minutes=2))} == {""}
    assert amazon.world.fill_in_shipment_item_ids(SELLER, US) == 1
    assert "" not in {row["shipment-item-id"] for row in read(client, ago(minutes=10), ago(minutes=2))}
    assert amazon.world.fill_in_shipment_item_ids(SELLER, US) == 0


def test_japan_has_49_columns_in_cp932(amazon: Sandbox, seller: Any) -> None:
    japanese: Client = seller("A2JP", (JP,))
    amazon.world.seed_shipments("A2JP", JP, 20, ago(days=2), ago(minutes=3))
    rows = read(japanese, ago(days=3), ago(minutes=1), JP, "cp932")
    assert len(rows) == 20
    assert list(rows[0]) == [*SHIPMENT_COLUMNS, "points-granted"]
    assert {row["points-granted"] for row in rows} == {"0"}
    assert {row["ship-city"] for row in rows} == {"--"}
    assert all(row["reporting-date"].endswith("+09:00") for row in rows)
    assert any("スチームオーブン" in row["product-name"] for row in rows)


REQUEST = OrderRequest(
    "FR",
    US,
    "FR",
    None,
    "",
    "Standard",
    "FillOrKill",
    "Ship",
    address={"countryCode": "US"},
    lines=(Line("1", "A", 4), Line("2", "B", 1), Line("3", "A", 3)),
)
RESERVED = {"1": 4, "2": 1, "3": 2}


def test_a_plan_ships_every_unit_once_and_is_deterministic() -> None:
    seen: Counter[str] = Counter()
    for number in range(400):
        plan = plan_shipments(f"1/{number}", REQUEST, RESERVED, ShippingScript())
        assert plan == plan_shipments(f"1/{number}", REQUEST, RESERVED, ShippingScript())
        units: Counter[str] = Counter()
        for shipment in plan.shipments:
            assert shipment.lines
            for line in shipment.lines:
                assert 1 <= line.package <= len(shipment.packages)
                units[line.item_id] += line.quantity
            seen["packages"] += len(shipment.packages) > 1
            seen["split"] += any(n > 1 for n in Counter((one.item_id, one.package) for one in shipment.lines).values())
        assert units == Counter(RESERVED)
        seen[f"parts {len(plan.shipments)}"] += 1
        seen["never"] += plan.never_ships
        seen["late"] += plan.late
        seen["no item id"] += not plan.has_shipment_item_id
        assert plan.has_shipment_id
    assert min(seen.values()) > 5
    assert {"parts 1", "parts 2", "parts 3", "never", "late", "no item id", "packages", "split"} <= set(seen)


def test_only_cross_border_orders_lack_the_shipment_id() -> None:
    abroad = OrderRequest("FR", US, "FR", None, "", "Standard", "FillOrKill", "Ship", lines=REQUEST.lines)
    found = [plan_shipments(f"1/{number}", abroad, RESERVED, ShippingScript()).has_shipment_id for number in range(100)]
    assert 20 < sum(found) < 80
