"""Sellers API v1: the marketplaces a seller sells in."""

from sandbox.api.answers import Answer, json_answer
from sandbox.api.calls import Call, Operation
from sandbox.marketplaces import MARKETPLACES


def get_marketplace_participations(call: Call) -> Answer:
    """GET /sellers/v1/marketplaceParticipations."""
    participations = [
        {
            "marketplace": {
                "id": marketplace.id,
                "name": marketplace.name,
                "countryCode": marketplace.country,
                "defaultCurrencyCode": marketplace.currency,
                "defaultLanguageCode": marketplace.language,
                "domainName": marketplace.domain,
            },
            "storeName": call.merchant.store_name,
            "participation": {"isParticipating": True, "hasSuspendedListings": False},
        }
        for marketplace in (MARKETPLACES[marketplace_id] for marketplace_id in call.merchant.marketplace_ids)
    ]
    return json_answer(200, {"payload": participations})


OPERATIONS = (
    Operation(
        "getMarketplaceParticipations",
        "GET",
        "/sellers/v1/marketplaceParticipations",
        get_marketplace_participations,
        rate=0.016,
        burst=15,
    ),
)
