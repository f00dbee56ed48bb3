"""The control functions for what fulfillment orders cost, promise and can have."""

from collections.abc import Iterable
from dataclasses import replace

from sandbox.merchant.features import features_of
from sandbox.merchant.tariffs import Tariff
from sandbox.world.world_part import WorldPart


class OutboundControls(WorldPart):
    """The part of `World` that tests use to set fees, dates and features; `World` inherits from it."""

    def set_tariff(
        self,
        speed: str,
        *,
        fees: dict[str, str] | None = None,
        days: Iterable[float] | None = None,
        offered: bool | None = None,
    ) -> None:
        """Set what a speed costs and promises, for every seller; None leaves a setting unchanged.

        `fees` is {kind: amount}, e.g. {"FBAPerOrderFulfillmentFee": "12.00"}; FBAPerUnitFulfillmentFee counts per unit.
        `days` are the fewest and the most that a parcel is under way. `offered` False: previews cannot have the speed.
        """
        with self.lock:
            tariffs = self.order_desk.tariffs
            if speed not in tariffs:
                raise ValueError(f"speed {speed!r} is not one of {', '.join(tariffs)}")
            present = tariffs[speed]
            fewest, most = present.days if days is None else tuple(days)
            tariff = Tariff(present.fees if fees is None else dict(fees), (float(fewest), float(most)))
            tariffs[speed] = replace(tariff, offered=present.offered if offered is None else bool(offered))

    def set_feature(
        self,
        seller_id: str,
        marketplace_id: str,
        feature: str,
        *,
        enrolled: bool | None = None,
        lacking: Iterable[str] | None = None,
    ) -> None:
        """Set whether a seller is enrolled for a feature, and the SKUs that lack it; None leaves a setting unchanged."""
        with self.lock:
            rules = self._catalogue(seller_id, marketplace_id).features
            if feature not in features_of(marketplace_id):
                raise ValueError(f"feature {feature!r} is not one of {', '.join(features_of(marketplace_id))}")
            if enrolled is not None:
                (rules.not_enrolled.discard if enrolled else rules.not_enrolled.add)(feature)
            if lacking is not None:
                rules.lacking[feature] = frozenset(lacking)

    def set_outbound_2026(self, seller_id: str, available: bool) -> None:
        """Set whether a seller's account has Fulfillment Outbound 2026-07-04; if not, its operations answer 403."""
        with self.lock:
            self.merchant(seller_id).has_outbound_2026 = bool(available)
