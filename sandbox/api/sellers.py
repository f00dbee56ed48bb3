"""Sellers API v1."""

from sandbox.api.answers import Answer, json_answer
from sandbox.api.calls import Call, Operation
from sandbox.marketplaces import MARKETPLACES


def get_marketplace_participations(call: Call) -> Answer:
    """GET /sellers/v1/marketplaceParticipations."""
    participations = [
        {
            "marketplace": {
                "id": place.id,
                "name": place.name,
                "countryCode": place.country,
                "defaultCurrencyCode": place.currency,
                "defaultLanguageCode": place.language,
                "domainName": place.domain,
            },
            "storeName": call.merchant.store_name,
            "participation": {"isParticipating": True, "hasSuspendedListings": False},
        }
        for place in (MARKETPLACES[marketplace_id] for marketplace_id in call.merchant.marketplace_ids)
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
