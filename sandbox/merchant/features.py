"""The fulfillment features of multi-channel orders: which a marketplace has, and which of a seller's SKUs can have them."""

from dataclasses import dataclass, field

from sandbox.marketplaces import MARKETPLACES

FEATURES = {
    "BLANK_BOX": "Ships the order in packaging without Amazon's brand.",
    "BLOCK_AMZL": "Keeps the order from being delivered by Amazon Logistics.",
    "SIGNATURE_CONFIRMATION": "Requires the recipient's signature.",
    "DELIVER_TOGETHER": "Delivers all items of the order together.",
    "OVERBOX": "Puts the items' own packaging into another box.",
    "PACKING_SLIP": "Adds a packing slip.",
}
FEATURE_POLICIES = ("Required", "NotRequired")
_ONLY_IN = {"SIGNATURE_CONFIRMATION": frozenset({"US"})}


@dataclass(slots=True)
class FeatureRules:
    """What a seller cannot have in one marketplace: features it is not enrolled for, and SKUs that lack a feature."""

    not_enrolled: set[str] = field(default_factory=set)
    lacking: dict[str, frozenset[str]] = field(default_factory=dict)

    def reasons(self, feature: str, sku: str, *, is_known: bool) -> list[str]:
        """Return why a SKU cannot have a feature, in the words of getFeatureSKU; none if it can."""
        reasons = ["MERCHANT_NOT_ENROLLED"] if feature in self.not_enrolled else []
        if not is_known:
            return [*reasons, "INVALID_SKU"]
        return [*reasons, "SKU_NOT_ELIGIBLE"] if sku in self.lacking.get(feature, ()) else reasons


def features_of(marketplace_id: str) -> list[str]:
    """Return the names of the features that a marketplace has."""
    country = MARKETPLACES[marketplace_id].country
    return [name for name in FEATURES if country in _ONLY_IN.get(name, {country})]


def required(features: dict[str, str]) -> list[str]:
    """Return the names of the features that are Required."""
    return [name for name, policy in features.items() if policy == "Required"]


def unavailable(rules: FeatureRules, marketplace_id: str, features: dict[str, str], skus: list[str]) -> list[str]:
    """Return a sentence for each Required feature that an order of these SKUs cannot have."""
    sentences = []
    for name in required(features):
        if name not in features_of(marketplace_id):
            sentences.append(f"The feature {name} is not available in {MARKETPLACES[marketplace_id].country}.")
            continue
        for sku in dict.fromkeys(skus):
            reasons = rules.reasons(name, sku, is_known=True)
            if reasons:
                sentences.append(f"The SellerSKU {sku} cannot have the feature {name}: {', '.join(reasons)}.")
    return sentences
