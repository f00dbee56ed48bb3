"""A stateful stand-in for Login with Amazon and the Selling Partner API, to run and test the DAGs against.

It keeps state, rejects requests that Amazon rejects, and knows the actual stock and shipments of its merchants. Run it
with ``amazon-sandbox --port 8765``, or in a test with the fixtures of ``sandbox.pytest_plugin``. `NOT_IMITATED` lists where
it differs from Amazon.

- `server`: HTTP routing, authorization, fault injection, the control API.
- `api`: Amazon's operations, one module per API.
- `world`: the state, its changes over time, quotas and scripted faults.
- `documents`: the texts of reports and feeds.
- `merchant`: listings, stock, orders and shipments of a seller.
"""

NOT_IMITATED = (
    "All regions share one address; a call's region is that of the seller its token belongs to.",
    "TLS, AWS signatures, restricted data tokens, grantless operations, notifications and report schedules.",
    "Report types other than listings, AFN inventory and FBA shipments: 400 InvalidInput, or the documents given for them.",
    "The wording of Amazon's 400 and 404 messages: codes and JSON structure are Amazon's, most texts are the sandbox's.",
    "User agents: Amazon documents the format and is known to enforce only the length. The sandbox enforces the format "
    "too, unless it is lenient, and accepts the user agent of Amazon's own SDK.",
    "Listing reports are cached for one hour whatever their size (Amazon: 1 to 6 hours).",
    "A shipments report of more than 31 days ends FATAL with a reason document (Amazon's behavior is not documented).",
    "FBA Inventory answers 400 to sellers without any FBA SKU at Amazon; the sandbox returns an empty result.",
    "EU stock is not pooled: every marketplace of a seller has its own listings and its own stock.",
    "Login with Amazon does not throttle, and roles are not modeled (script a `status` fault with 403 instead).",
    "Only fulfillment orders change the stock; an order reserves it when it is accepted.",
    "Feed types other than the two of Multi-Channel Fulfillment, and feeds for more than one marketplace (400).",
    "Codes and most texts of processing reports (Amazon publishes no list), and which XML errors reject the whole "
    "document: in the sandbox, errors in the envelope, a missing XML declaration or another MerchantIdentifier.",
    "Amazon does not document what happens to an order id that already exists: in the sandbox, a feed's message gets "
    "an Error, createFulfillmentOrder and createOrder answer 400 InvalidInput, and the first order is unchanged; or, if set so, a "
    "second order is made, and get, list and cancel find only the newest.",
    "Amazon does not document a second cancellation of an order: in the sandbox it succeeds, or is refused if set so.",
    "createFeed with a document that has expired or was never uploaded answers 400; a document may be submitted twice.",
    "A fulfillment order that does not exist answers 404 NotFound (getFulfillmentOrder, if set so: 400 InvalidInput, as "
    "seen at Amazon); one that can no longer be cancelled answers 400 InvalidInput (Amazon's codes are not documented).",
    "Statuses of fulfillment orders are written as in Amazon's model (Complete), or, if set so, as in its examples "
    "(COMPLETE).",
    "A feed hangs only if it is scripted to, and then until it is released.",
    "Returns, delivery offers, Amazon's sandbox-only operations, deliveryWindow, COD and payment of an order (unknown "
    "fields are rejected). Declared values, delivery preferences and shipFromCountryCode are checked and then ignored. "
    "Orders require a postal code and a shipping speed. An order with the action Hold stays in Planning until it is "
    "released, cancelled, or lapses after 14 days. Only an order on hold can be updated, and to release it twice is "
    "refused, or, if set so, has no effect (Amazon documents neither).",
    "An order for which stock is missing is refused, or, if set so, made and then Unfulfillable. FillAll looks for the "
    "missing units for 24 hours, but stock that arrives meanwhile does not fill it.",
    "Fees, days and surcharges of previews are invented, as are all reasons but DeliverySLAUnavailable and "
    "InvalidDestinationAddress. A speed is fulfillable if the whole order can ship with it.",
    "Which seller is enrolled for a feature, and which SKU lacks one: none, unless set so.",
    "A feed's DeliverySLA can be Priority everywhere; the other operations know it in Canada, India and Mexico only.",
    "When orders ship, in how many shipments and parcels, and how parcels travel is invented; a late, lost or "
    "undeliverable parcel is scripted. MCF rows of the shipments report have no prices.",
    "A promised arrival is days away in wall time, whatever the clock's speed, but never after the simulated second at "
    "which those days are over. Estimates are not revised, and all events of a parcel are at its destination.",
    "2026-07-04: offers, payment, additional services and service levels with a delivery interval are rejected, delivery "
    "notes and drop-off locations ignored; other packaging than its model's cannot be wished for. cancelOrder answers "
    "202 for an order that can no longer be cancelled as well, and the order goes on. An id that does not exist is "
    "answered with 404, and without updatedAfter listOrders lists every order (Amazon documents none of the three).",
    "The numbers and addresses of carriers are invented; the Tracking API 2026-01-30 is not there.",
)
