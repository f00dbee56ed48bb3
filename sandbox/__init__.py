"""A stand-in for Login with Amazon and the Selling Partner API, to run and test the DAGs against.

It keeps state, refuses what Amazon refuses, and knows the true stock of its merchants. Run it alone with
``python -m sandbox --port 8765`` or inside a test with ``sandbox.server.Sandbox``. `NOT_IMITATED` says where it
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
    "Stock does not move by itself, and a list of fulfillment orders is always empty.",
)
