"""FBA Inventory API v1: SKUs, pages and invalid queries."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.server.server import Sandbox
from tests.sandbox.client import US, Client, error


def by_sku(answer: Any) -> dict[str, int]:
    assert answer.status_code == 200, answer.text
    found = answer.json()["payload"]["inventorySummaries"]
    return {summary["sellerSku"]: summary["inventoryDetails"]["fulfillableQuantity"] for summary in found}


def test_unknown_skus_are_left_out(client: Client) -> None:
    answer = client.summaries(sellerSkus="FBA-KNOWN-TO-API,FBA-UNKNOWN,FBA-ZERO-IN-API,NO-SUCH")
    assert by_sku(answer) == {"FBA-KNOWN-TO-API": 13, "FBA-ZERO-IN-API": 0}
    assert answer.json()["payload"]["granularity"] == {"granularityType": "Marketplace", "granularityId": US}


def test_details_are_returned_only_on_request(client: Client) -> None:
    (summary,) = client.summaries(sellerSku="AFN-BOTH", details="false").json()["payload"]["inventorySummaries"]
    assert "inventoryDetails" not in summary
    assert summary["totalQuantity"] != 9


def test_a_sku_with_a_comma_works_only_as_a_single_sku(amazon: Sandbox, client: Client) -> None:
    assert by_sku(client.summaries(sellerSkus="COMMA,ONE,AFN-PLAIN")) == {"AFN-PLAIN": 17}
    assert by_sku(client.summaries(sellerSku="COMMA,ONE")) == {"COMMA,ONE": 31}
    amazon.world.advance(1)
    assert by_sku(client.summaries(sellerSku="PLUS+AND&%20=?#/")) == {"PLUS+AND&%20=?#/": 53}


def test_page_tokens_require_the_same_parameters_and_expire(amazon: Sandbox, client: Client) -> None:
    amazon.world.set_inventory_page_size(2)
    query = {"sellerSkus": "AFN-PLAIN,AFN-BOTH,AFN-TWICE"}
    first = client.summaries(**query)
    token = first.json()["pagination"]["nextToken"]
    second = client.summaries(**query, nextToken=token)
    assert {**by_sku(first), **by_sku(second)} == {"AFN-PLAIN": 17, "AFN-BOTH": 9, "AFN-TWICE": 11}
    assert "pagination" not in second.json()
    amazon.world.advance(2)
    assert client.summaries(nextToken=token).status_code == 400
    amazon.world.expire("page_tokens")
    expired = client.summaries(**query, nextToken=token)
    assert (expired.status_code, error(expired)["message"]) == (400, "The nextToken has expired.")


def test_all_skus_are_returned_in_pages_of_fifty(amazon: Sandbox, client: Client) -> None:
    found: dict[str, int] = {}
    answer = client.summaries()
    while "pagination" in answer.json():
        assert len(by_sku(answer)) == 50
        found |= by_sku(answer)
        amazon.world.advance(1)
        answer = client.summaries(nextToken=answer.json()["pagination"]["nextToken"])
    found |= by_sku(answer)
    items = amazon.world.merchant("A1SANDBOXSELLER").catalogue(US).items
    assert found == {sku: item.api_stock for sku, item in items.items() if item.api_stock is not None}


def test_a_start_date_makes_the_skus_ignored(amazon: Sandbox, client: Client) -> None:
    items = amazon.world.merchant("A1SANDBOXSELLER").catalogue(US).items
    for item in items.values():
        item.changed -= 7 * 86400
    amazon.world.set_stock("A1SANDBOXSELLER", US, "AFN-PLAIN", fba=3)
    start = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    assert by_sku(client.summaries(sellerSkus="AFN-BOTH", startDateTime=start)) == {"AFN-PLAIN": 3}


def test_a_start_date_must_be_repeated_with_each_page(amazon: Sandbox, client: Client) -> None:
    start = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    token = client.summaries(startDateTime=start).json()["pagination"]["nextToken"]
    assert client.summaries(nextToken=token).status_code == 400
    amazon.world.advance(1)
    assert client.summaries(nextToken=token, startDateTime=start).status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        {"granularityType": "Warehouse"},
        {"granularityType": ""},
        {"granularityId": ""},
        {"granularityId": "A2EUQ1WTGCTBG2"},
        {"marketplaceIds": f"{US},A2EUQ1WTGCTBG2"},
        {"marketplaceIds": "US"},
        {"sellerSkus": ",".join(f"S{n}" for n in range(51))},
        {"sellerSkus": ""},
        {"sellerSkus": "A,,B"},
        {"sellerSkus": "A", "sellerSku": "A"},
        {"details": "1"},
        {"startDateTime": "2020-01-01T00:00:00Z"},
        {"startDateTime": "2999-01-01T00:00:00Z"},
        {"nextToken": "made-up"},
        {"sellerSKU": "A"},
    ],
)
def test_invalid_queries_are_rejected(client: Client, query: dict[str, str]) -> None:
    answer = client.summaries(**query)
    assert (answer.status_code, error(answer)["code"]) == (400, "InvalidInput")


def test_required_parameters_are_required(client: Client) -> None:
    everything = {"granularityType": "Marketplace", "granularityId": US, "marketplaceIds": US}
    for name in everything:
        query = {key: value for key, value in everything.items() if key != name}
        client.amazon.world.advance(1)
        assert client.call("GET", "/fba/inventory/v1/summaries", params=query).status_code == 400


def test_a_marketplace_of_another_region_is_forbidden(client: Client) -> None:
    tokyo = "A1VC38T7YXB528"
    assert client.summaries(granularityId=tokyo, marketplaceIds=tokyo).status_code == 403


def test_fifty_skus_are_allowed(client: Client) -> None:
    skus = ["AFN-PLAIN", *(f"S{n}" for n in range(49))]
    assert by_sku(client.summaries(sellerSkus=",".join(skus))) == {"AFN-PLAIN": 17}


def test_a_refused_sku_fails_every_request_it_is_in(amazon: Sandbox, client: Client) -> None:
    amazon.world.refuse_skus("A1SANDBOXSELLER", US, ["FBA-KNOWN-TO-API"])
    assert client.summaries(sellerSkus="AFN-PLAIN,FBA-KNOWN-TO-API").status_code == 400
    assert client.summaries(sellerSku="FBA-KNOWN-TO-API").status_code == 400
    amazon.world.advance(1)
    assert by_sku(client.summaries(sellerSkus="AFN-PLAIN")) == {"AFN-PLAIN": 17}
