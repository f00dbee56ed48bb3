"""Damaged reports, round after round: stock never becomes less than the truth without somebody being asked to look."""

from __future__ import annotations

import os
import random

import pytest

from fba_operators.errors import SellingPartnerError
from sandbox.documents.damage import damage
from tests.stores import AFN, LISTINGS

ROUNDS = 10_000 if os.environ.get("FBA_FAULTS") else 80
ROUNDS_OF_A_STORE = 10
KINDS = ("rows_lost", "doubled", "two_members", "shuffled", "column_renamed", "column_added", "mislabelled", "undecodable",
         "cut", "carriage_returns", "empty", "old", "other store")  # fmt: skip
FLAGS = [(fbm, fetch) for fbm in (False, True) for fetch in (False, True)]


def documents(stock: dict[str, tuple[int, int]]) -> tuple[bytes, bytes]:
    """Honest documents of a stock: SKU → FBA units, FBM units."""
    listings = ["seller-sku\tquantity\tfulfillment-channel\titem-name"]
    afn = ["seller-sku\tWarehouse-Condition-code\tQuantity Available\tasin"]
    for number, (sku, (fba, fbm)) in enumerate(stock.items()):
        listings += [f"{sku}\t\tAMAZON_NA\tTitle ä {number}", *([f"{sku}\t{fbm}\tDEFAULT\tTitle"] if fbm else [])]
        afn.append(f"{sku}\tSELLABLE\t{fba}\tB{number}")
    return tuple("\r\n".join([*lines, ""]).encode() for lines in (listings, afn))


def serve(shop, report_type, document, chance) -> tuple[bytes, str]:
    """Serve a document, damaged or not; returns what was served and how it was damaged."""
    kind = chance.choice(("none", "none", "none", *KINDS))
    charset, content = "UTF-8", document
    if kind == "old":
        content = shop.old[report_type]
    elif kind == "other store":
        content = documents({f"OTHER-{n}": (3, 0) for n in range(30)})[report_type == AFN]
    elif kind != "none":
        share = chance.choice((0.01, 0.03, 0.2, 0.5, 0.9, 0.999))
        content, charset = damage(document, kind, share=share, seed=chance.randrange(10**6))
    members = content.startswith(b"\x1f\x8b")
    shop.amazon.world.override_document(
        report_type, content, content_type=f"text/plain; charset={charset}", gzip=not members, declare_gzip=True
    )
    return content, kind


@pytest.mark.timeout(ROUNDS)  # seconds: each of the tests makes a quarter of the rounds, a second or less each
@pytest.mark.parametrize("flags", FLAGS, ids=str)
def test_stock_is_never_silently_less_than_the_truth(shop, flags, monkeypatch):
    fbm, fetch = flags
    monkeypatch.setattr("fba_operators.amazon.quota.take_call", lambda *arguments, **limits: 0.0)
    shop.settings(include_fbm_quantity=fbm, fetch_missing_inventory=fetch)
    reported: dict[str, int] = {}
    for store in range(ROUNDS // len(FLAGS) // ROUNDS_OF_A_STORE):
        chance = random.Random(f"{flags} {store}")
        stock = {
            f"SKU-{n:03d}{'ö' if n % 7 == 0 else ''}": (chance.randrange(1, 30), chance.choice((0, 0, 4)))
            for n in range(chance.choice((3, 12, 60)))
        }
        shop.db.execute("DELETE FROM fba.global_inventory_pool; DELETE FROM fba.report_document")
        shop.db.execute("DELETE FROM fba.report; DELETE FROM fba.rejected_row; DELETE FROM fba.run")
        listings, afn = documents(stock)
        shop.old = {LISTINGS: listings, AFN: afn}
        shop.amazon.world.override_document(LISTINGS, listings)
        shop.amazon.world.override_document(AFN, afn)
        shop.run()
        excused: set[str] = set()
        for _ in range(ROUNDS_OF_A_STORE - 1):
            shop.later(chance.choice((31, 60, 600)))
            served = {t: serve(shop, t, d, chance) for t, d in ((LISTINGS, listings), (AFN, afn))}
            before = shop.pool()
            try:
                shop.run()
            except SellingPartnerError:
                assert shop.pool() == before, served  # refused: nothing was written
                shop.amazon.world.desk.overrides.clear()
                reported["refused"] = reported.get("refused", 0) + 1
                continue
            shop.amazon.world.desk.overrides.clear()
            named = shop.attention
            for code in named:
                reported[code] = reported.get(code, 0) + 1
            for sku, (fba_units, fbm_units) in stock.items():
                pool = shop.pool_row(sku)
                lost = pool is None or pool[0] < fba_units or pool[1] < fbm_units
                if not lost:
                    excused.discard(sku)
                    continue
                if "zeroed_skus" in named or "units_jumped" in named:
                    excused.add(sku)
                assert sku in excused, (sku, pool, stock[sku], {t: kind for t, (_, kind) in served.items()}, named)
    assert reported["refused"] > 0
    assert {"unconfirmed_skus", "vanished_skus", "report_drift", "units_jumped"} & set(reported)
