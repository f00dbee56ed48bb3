"""Feeds that hang until they are released, and feeds that another program of the seller submitted."""

from typing import Any

import pytest

from sandbox.server.server import Sandbox
from tests.sandbox.client import CANCELLATIONS, ORDERS, US, Client, envelope, order_xml

SELLER = "A1SANDBOXSELLER"
FEEDS = "/feeds/2021-06-30/feeds"
GERMANY, BRITAIN, CANADA, JAPAN = "A1PA6795UKMFR9", "A1F83G8C2ARO7P", "A2EUQ1WTGCTBG2", "A1VC38T7YXB528"


def submit(client: Client, order_id: str) -> str:
    return client.submit(client.upload(envelope(order_xml(order_id)))).json()["feedId"]


def states(client: Client, *feed_ids: str) -> list[str]:
    client.amazon.world.buckets.clear()
    return [client.feed(feed_id)["processingStatus"] for feed_id in feed_ids]


def made(amazon: Sandbox) -> list[str]:
    return [order_id for order_id, order in amazon.world.orders(SELLER).items() if order["times_created"]]


# Hung feeds.


@pytest.mark.parametrize("status", ["IN_QUEUE", "IN_PROGRESS"])
def test_a_feed_hangs_until_it_is_released_and_others_pass_it(amazon: Sandbox, client: Client, status: str) -> None:
    amazon.world.hang_feeds(SELLER, ORDERS, status=status)
    hung, other = submit(client, "FR-1"), submit(client, "FR-2")
    amazon.world.advance(7 * 86400)
    assert states(client, hung, other) == [status, "DONE"]
    assert ("processingStartTime" in client.feed(hung), made(amazon)) == (status == "IN_PROGRESS", ["FR-2"])
    assert [feed["hangs"] for feed in amazon.world.feeds()] == [False, True]
    assert amazon.world.release_hung_feeds() == [hung]
    assert (states(client, hung), made(amazon)) == (["IN_PROGRESS"], ["FR-2"])
    amazon.world.advance(60)
    assert (states(client, hung), made(amazon)) == (["DONE"], ["FR-2", "FR-1"])
    assert not any(feed["hangs"] for feed in amazon.world.feeds())
    assert client.feed_result(client.feed(hung)).status_code == 200
    assert amazon.world.release_hung_feeds() == []


@pytest.mark.parametrize("status", ["IN_QUEUE", "IN_PROGRESS"])
def test_later_feeds_can_wait_behind_a_hung_one(amazon: Sandbox, client: Client, status: str) -> None:
    amazon.world.hang_feeds(SELLER, status=status, blocks=True)
    hung, later = submit(client, "FR-1"), submit(client, "FR-2")
    cancelling = client.submit(client.upload("x"), CANCELLATIONS).json()["feedId"]
    amazon.world.advance(7 * 86400)
    assert states(client, hung, later, cancelling) == [status, "IN_QUEUE", "DONE"]
    amazon.world.release_hung_feeds(SELLER, [hung])
    amazon.world.advance(60)
    assert states(client, hung) == ["DONE"]
    amazon.world.advance(60)
    assert (states(client, later), made(amazon)) == (["DONE"], ["FR-1", "FR-2"])


def test_a_hung_feed_that_is_released_before_its_turn_is_processed_in_its_turn(amazon: Sandbox, client: Client) -> None:
    amazon.world.hang_feeds(times=2, blocks=True)
    ids = [submit(client, f"FR-{number}") for number in range(3)]
    assert amazon.world.release_hung_feeds() == ids[:2]
    amazon.world.advance(60)
    assert states(client, *ids) == ["DONE", "IN_PROGRESS", "IN_QUEUE"]
    amazon.world.advance(120)
    assert states(client, *ids) == ["DONE"] * 3
    assert {order["times_received"] for order in amazon.world.orders(SELLER).values()} == {1}


def test_a_released_feed_waits_for_those_in_the_queue(amazon: Sandbox, client: Client) -> None:
    amazon.world.hang_feeds(status="IN_QUEUE")
    hung = submit(client, "FR-1")
    amazon.world.advance(60)
    later = [submit(client, f"FR-{number}") for number in (2, 3)]
    amazon.world.release_hung_feeds()
    amazon.world.advance(300)
    assert states(client, hung, *later) == ["DONE"] * 3
    assert made(amazon) == ["FR-2", "FR-3", "FR-1"]


def test_hangs_are_for_a_number_of_feeds_of_a_seller_and_type(amazon: Sandbox, client: Client, seller: Any) -> None:
    other: Client = seller()
    amazon.world.hang_feeds(SELLER, CANCELLATIONS, times=2)
    amazon.world.hang_feeds("A2OTHERSELLER", times=None)
    cancelling = [client.submit(client.upload("x"), CANCELLATIONS).json()["feedId"] for _ in range(3)]
    ordering = submit(client, "FR-1")
    elsewhere = [other.submit(other.upload("x"), kind).json()["feedId"] for kind in (ORDERS, CANCELLATIONS)]
    amazon.world.advance(600)
    assert states(client, *cancelling, ordering) == ["IN_PROGRESS", "IN_PROGRESS", "DONE", "DONE"]
    assert states(other, *elsewhere) == ["IN_PROGRESS"] * 2
    assert amazon.world.release_hung_feeds(SELLER, [cancelling[1]]) == [cancelling[1]]
    assert amazon.world.release_hung_feeds("A2OTHERSELLER") == elsewhere
    elsewhere.append(other.submit(other.upload("x")).json()["feedId"])
    amazon.world.advance(600)
    assert states(client, *cancelling) == ["IN_PROGRESS", "DONE", "DONE"]
    assert states(other, *elsewhere) == ["DONE", "DONE", "IN_PROGRESS"]
    amazon.world.release_hung_feeds()
    elsewhere.append(other.submit(other.upload("x")).json()["feedId"])
    amazon.world.advance(600)
    assert states(other, *elsewhere) == ["DONE"] * 4


@pytest.mark.parametrize(
    ("fate", "status", "end"),
    [
        ("fatal_some", "IN_QUEUE", "FATAL"),
        ("fatal_some", "IN_PROGRESS", "FATAL"),
        ("cancelled", "IN_QUEUE", "CANCELLED"),
        ("cancelled", "IN_PROGRESS", "CANCELLED"),
    ],
)
def test_a_hung_feed_can_also_have_a_fate(amazon: Sandbox, client: Client, fate: str, status: str, end: str) -> None:
    amazon.world.hang_feeds(status=status)
    amazon.world.add_fault("createFeed", fate)
    hung = submit(client, "FR-1")
    amazon.world.advance(600)
    assert (states(client, hung), made(amazon)) == ([status], [])
    amazon.world.release_hung_feeds()
    amazon.world.advance(60)
    assert (states(client, hung), made(amazon)) == ([end], [] if fate == "cancelled" else ["FR-1"])


@pytest.mark.parametrize("blocks", [False, True])
def test_a_feed_that_hangs_in_the_queue_can_be_cancelled(amazon: Sandbox, client: Client, blocks: bool) -> None:
    amazon.world.hang_feeds(status="IN_QUEUE", blocks=blocks)
    hung, later = submit(client, "FR-1"), submit(client, "FR-2")
    amazon.world.advance(600)
    assert client.call("DELETE", f"{FEEDS}/{hung}").status_code == 200
    amazon.world.advance(60)
    assert states(client, hung, later) == ["CANCELLED", "DONE"]
    assert (amazon.world.release_hung_feeds(), made(amazon)) == ([], ["FR-2"])


def test_a_reset_ends_all_hangs(amazon: Sandbox, client: Client) -> None:
    amazon.world.hang_feeds(times=None)
    amazon.world.reset()
    feed_id = submit(client.login(), "FR-1")
    amazon.world.advance(60)
    assert states(client, feed_id) == ["DONE"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"status": "DONE"}, "status"),
        ({"feed_type": "POST_PRODUCT_DATA"}, "feed type"),
        ({"times": 0}, "times"),
        ({"seller_id": "A0"}, "no seller"),
    ],
)
def test_impossible_hangs_are_rejected(amazon: Sandbox, options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        amazon.world.hang_feeds(**options)


def test_only_a_hung_feed_can_be_released(amazon: Sandbox, client: Client) -> None:
    feed_id = submit(client, "FR-1")
    with pytest.raises(ValueError, match=feed_id):
        amazon.world.release_hung_feeds(SELLER, [feed_id])


# Feeds of other programs.


def test_a_feed_of_another_program_is_listed_and_processed_in_its_turn(amazon: Sandbox, client: Client) -> None:
    calls = amazon.world.calls()["calls"]
    theirs = amazon.world.foreign_feed(SELLER, US, {"THEIRS-1": {"AFN-PLAIN": 2, "AFN-BOTH": 1}})
    assert amazon.world.calls()["calls"] == calls
    ours = submit(client, "FR-1")
    listed = client.call("GET", FEEDS, params={"feedTypes": ORDERS}).json()["feeds"]
    assert [feed["feedId"] for feed in listed] == [ours, theirs]
    assert listed[1].keys() == listed[0].keys()
    assert listed[1]["marketplaceIds"] == [US]
    amazon.world.advance(60)
    assert states(client, theirs, ours) == ["DONE", "IN_PROGRESS"]
    assert client.feed_result(client.feed(theirs)).status_code == 200
    order = amazon.world.orders(SELLER)["THEIRS-1"]
    assert (order["items"], order["times_created"]) == ({"AFN-PLAIN": 2, "AFN-BOTH": 1}, 1)
    assert [(feed["foreign"], feed["orderIds"]) for feed in amazon.world.feeds()] == [(False, []), (True, ["THEIRS-1"])]
    assert amazon.world.feed_count == 2


@pytest.mark.parametrize(
    ("status", "orders", "has_result"),
    [("DONE", ["THEIRS-1"], True), ("FATAL", [], False), ("CANCELLED", [], False)],
)
def test_a_feed_of_another_program_can_have_ended(
    amazon: Sandbox, client: Client, status: str, orders: list[str], has_result: bool
) -> None:
    theirs = amazon.world.foreign_feed(SELLER, US, {"THEIRS-1": {"AFN-PLAIN": 2}}, status=status)
    feed = client.feed(theirs)
    assert (feed["processingStatus"], "resultFeedDocumentId" in feed) == (status, has_result)
    assert ("processingEndTime" in feed, made(amazon)) == (True, orders)
    ours = submit(client, "FR-1")
    amazon.world.advance(60)
    assert states(client, theirs, ours) == [status, "DONE"]


@pytest.mark.parametrize("hangs", [False, True])
@pytest.mark.parametrize("status", ["IN_QUEUE", "IN_PROGRESS"])
def test_a_feed_of_another_program_can_be_unfinished(amazon: Sandbox, client: Client, status: str, hangs: bool) -> None:
    theirs = amazon.world.foreign_feed(SELLER, US, {"THEIRS-1": {"AFN-PLAIN": 2}}, status=status, hangs=hangs)
    ours = submit(client, "FR-1")
    assert states(client, theirs) == [status]
    amazon.world.advance(60)
    in_turn = status == "IN_QUEUE" and not hangs
    assert states(client, theirs, ours) == [status if hangs else "DONE", "IN_PROGRESS" if in_turn else "DONE"]
    assert amazon.world.release_hung_feeds() == ([theirs] if hangs else [])
    amazon.world.advance(60)
    assert states(client, theirs, ours) == ["DONE", "DONE"]
    assert sorted(made(amazon)) == ["FR-1", "THEIRS-1"]


def test_a_feed_of_another_program_can_be_without_orders(amazon: Sandbox, client: Client) -> None:
    theirs = amazon.world.foreign_feed(SELLER, US, status="DONE")
    assert client.feed_result(client.feed(theirs)).status_code == 200
    assert amazon.world.orders(SELLER) == {}


def test_a_feed_of_another_program_can_cancel_orders(amazon: Sandbox, client: Client) -> None:
    client.create_order("FR-1")
    amazon.world.foreign_feed(SELLER, US, {"FR-1": {}}, CANCELLATIONS, "DONE")
    assert amazon.world.orders(SELLER)["FR-1"]["status"] == "Cancelled"


def test_a_feed_of_another_program_takes_no_hang_and_no_fate(amazon: Sandbox, client: Client) -> None:
    amazon.world.hang_feeds()
    amazon.world.add_fault("createFeed", "fatal_none")
    amazon.world.foreign_feed(SELLER, US, {"THEIRS-1": {"AFN-PLAIN": 1}})
    amazon.world.advance(60)
    assert made(amazon) == ["THEIRS-1"]
    ours = submit(client, "FR-1")
    amazon.world.advance(60)
    newest = amazon.world.feeds()[0]
    assert (newest["feedId"], newest["hangs"], newest["fate"]) == (ours, True, "fatal_none")


@pytest.mark.parametrize(
    ("seller_id", "marketplaces"),
    [("A2NA", (US, CANADA)), ("A2EU", (GERMANY, BRITAIN)), ("A2FE", (JAPAN,))],
)
def test_orders_of_another_program_are_valid_in_every_region(
    amazon: Sandbox, seller_id: str, marketplaces: tuple[str, ...]
) -> None:
    amazon.world.add_merchant(seller_id, marketplaces)
    for number, marketplace_id in enumerate(marketplaces):
        amazon.world.set_stock(seller_id, marketplace_id, "S", fba=1)
        amazon.world.foreign_feed(seller_id, marketplace_id, {f"THEIRS-{number}": {"S": 1}}, status="DONE")
    orders = amazon.world.orders(seller_id).values()
    assert [(order["times_created"], order["marketplace_id"]) for order in orders] == [(1, one) for one in marketplaces]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"marketplace_id": GERMANY}, "does not sell"),
        ({"seller_id": "A0"}, "no seller"),
        ({"feed_type": "POST_PRODUCT_DATA"}, "feed type"),
        ({"status": "LOST"}, "status"),
        ({"status": "DONE", "hangs": True}, "cannot hang"),
        ({"orders": ["THEIRS-1"]}, "orders must be"),
        ({"orders": {"THEIRS-1": 1}}, "orders must be"),
    ],
)
def test_impossible_feeds_of_other_programs_are_rejected(amazon: Sandbox, arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        amazon.world.foreign_feed(**{"seller_id": SELLER, "marketplace_id": US, **arguments})
    assert amazon.world.feed_count == 0
