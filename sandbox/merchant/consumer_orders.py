"""Generates orders of Amazon's own customers, as rows of the shipments report."""

import random

from sandbox.clock import iso_for_country
from sandbox.marketplaces import MARKETPLACES
from sandbox.merchant.merchant import Catalogue
from sandbox.merchant.parcels import DAY, HOUR
from sandbox.merchant.shipping import Row

_CITIES = (("SEATTLE", "WA", "98101"), ("AUSTIN", "TX", "73301"), ("Łódź", "", "90-001"), ("MÜNCHEN", "", "80331"))


def consumer_rows(catalogue: Catalogue, marketplace_id: str, n: int, start: float, end: float, seed: str) -> list[Row]:
    """Return `n` different rows, reported between `start` and `end` (wall times); equal arguments give equal rows."""
    marketplace = MARKETPLACES[marketplace_id]
    rng = random.Random(f"{seed}/{marketplace_id}/{start}/{end}")
    skus = [item.sku for item in catalogue.items.values() if item.afn] or ["SKU-000001"]
    price, shipping_price = ("24732.00", "175") if marketplace.currency == "JPY" else ("25.00", "4.99")
    rows: list[Row] = []
    while len(rows) < n:
        reported = rng.uniform(start, end)
        order_id = f"{rng.randrange(100, 999)}-{rng.randrange(10**7):07d}-{rng.randrange(10**7):07d}"
        is_abroad = rng.random() < 0.05
        city, state, code = ("--", "東京都", "100-0001") if marketplace.country == "JP" else rng.choice(_CITIES)
        for _ in range(min(n - len(rows), 1 + (rng.random() < 0.25) + (rng.random() < 0.08))):
            shipped = reported - (rng.uniform(2, 7) * DAY if rng.random() < 0.1 else rng.uniform(1, 3) * HOUR)
            sku = rng.choice(skus) if rng.random() < 0.97 else f"GONE-{rng.randrange(1000):04d}"
            number = f"{rng.randrange(36**8):x}"
            rows.append(
                {
                    "amazon-order-id": order_id,
                    "shipment-id": "" if is_abroad and rng.random() < 0.5 else f"D{number}",
                    "shipment-item-id": "" if rng.random() < 0.2 else f"D{number}I",
                    "amazon-order-item-id": f"{rng.randrange(10**14):014d}",
                    "purchase-date": iso_for_country(shipped - DAY, marketplace.country),
                    "payments-date": iso_for_country(shipped - HOUR, marketplace.country),
                    "shipment-date": iso_for_country(shipped, marketplace.country),
                    "reporting-date": iso_for_country(reported, marketplace.country),
                    "buyer-email": f"{number}@marketplace.{marketplace.domain.removeprefix('www.')}",
                    "sku": sku,
                    "product-name": f"Article {sku}" if marketplace.country != "JP" else f"スチームオーブン {sku}",
                    "quantity-shipped": str(rng.choice((1, 1, 1, 2, 5))),
                    "currency": marketplace.currency,
                    "item-price": rng.choice((price, price.partition(".")[0])),
                    "item-tax": "0.00",
                    "shipping-price": shipping_price,
                    "shipping-tax": "0.00",
                    "gift-wrap-price": "0.00",
                    "gift-wrap-tax": "0.00",
                    "ship-service-level": rng.choice(("Expedited", "Standard", "SecondDay")),
                    "ship-city": city,
                    "ship-state": state,
                    "ship-postal-code": code,
                    "ship-country": "BR" if is_abroad else marketplace.country,
                    "item-promotion-discount": "0.00",
                    "ship-promotion-discount": rng.choice(("0.00", shipping_price, f"-{shipping_price}")),
                    "carrier": rng.choice(("AMZN_US", "UPS", "YAMATO")),
                    "tracking-number": f"TBA{rng.randrange(10**12):012d}",
                    "estimated-arrival-date": iso_for_country(shipped + 2 * DAY, marketplace.country),
                    "fulfillment-center-id": "HND3" if marketplace.country == "JP" else "BFI4",
                    "fulfillment-channel": "AFN",
                    "sales-channel": marketplace.name,
                    "points-granted": "0",
                }
            )
    return rows
