"""Fulfillment Outbound 2020-07-01, as far as an account without orders needs it."""

from sandbox.answers import Answer, invalid_input, json_answer
from sandbox.calls import Call, Operation


def list_all_fulfillment_orders(call: Call) -> Answer:
    """GET /fba/outbound/2020-07-01/fulfillmentOrders: there are none, so no nextToken was ever given out."""
    since = call.moment("queryStartDate")
    if since is not None and since > call.world.clock.wall():
        raise invalid_input("queryStartDate must not be in the future.")
    if call.query.get("nextToken"):
        raise invalid_input("The nextToken is not valid.")
    _ = call.merchant
    return json_answer(200, {"payload": {"fulfillmentOrders": []}})


OPERATIONS = (
    Operation(
        "listAllFulfillmentOrders",
        "GET",
        "/fba/outbound/2020-07-01/fulfillmentOrders",
        list_all_fulfillment_orders,
        query=frozenset({"queryStartDate", "nextToken"}),
        rate=2.0,
        burst=30,
    ),
)
