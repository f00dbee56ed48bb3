"""A stand-in for Login with Amazon and the Selling Partner API, to run and test the DAGs against.

It keeps state, refuses what Amazon refuses, and knows the true stock and shipments of its merchants. Run it alone with
``python -m sandbox --port 8765`` or inside a test with ``sandbox.server.server.Sandbox``. `NOT_IMITATED` says where it
is not Amazon.
"""

NOT_IMITATED = (
    "Regions share one address; the region of a call is the one of the seller that its token belongs to.",
    "TLS, AWS signatures, restricted data tokens, grantless operations, notifications and report schedules.",
    "Report types other than listings, AFN inventory and FBA shipments (answered with 400 InvalidInput).",
    "The wording of Amazon's 400 and 404 messages; codes and shapes are Amazon's, most sentences are ours.",
    "User agents: Amazon documents the format and is known to enforce only the length; here the format is enforced "
    "too, and the form that Amazon's own SDK sends is let through.",
    "Listing reports are cached for one hour whatever their size (Amazon: 1 to 6 hours).",
    "A shipments report of more than 31 days ends FATAL with a reason document (what Amazon does is not documented).",
    "FBA Inventory answers 400 to sellers without any FBA SKU at Amazon; here they get an empty answer.",
    "EU stock is not pooled: every marketplace of a seller has its own listings and its own stock.",
    "Login with Amazon does not throttle, and roles are not modelled (script a `status` fault with 403 instead).",
    "Stock moves by fulfillment orders only; they reserve it when they are accepted.",
    "Feed types other than the two of Multi-Channel Fulfillment, and feeds for more than one marketplace (400).",
    "Codes and most texts of processing reports (no catalogue of Amazon's is public), and which faults of the XML "
    "condemn the whole document: here those of the envelope, a missing XML declaration or another MerchantIdentifier.",
    "What Amazon does with an id that exists already is not documented: here a feed's message gets an Error, "
    "createFulfillmentOrder 400 InvalidInput, and the first order stays as it is.",
    "createFeed with a document that lapsed or was never uploaded answers 400; a document may be submitted twice.",
    "A fulfillment order that does not exist answers 404 NotFound, one that cannot be cancelled any more 400 "
    "InvalidInput (Amazon's codes are not documented).",
    "updateFulfillmentOrder, previews, returns, tracking, and of orders: deliveryWindow, COD, feature constraints, "
    "declared values and payment (unknown fields are refused). Orders are asked for with a postal code and a shipping "
    "speed; an order on Hold stays in Planning until it is cancelled.",
    "FillAll is treated as FillAllAvailable: what is not in stock at once is unfulfillable.",
    "When and in how many parts orders leave is made up; MCF rows of the shipments report have no prices.",
)
