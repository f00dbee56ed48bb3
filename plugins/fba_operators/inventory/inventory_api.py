"""The FBA Inventory API's word on SKUs that the reports do not state."""

from __future__ import annotations

import re
from collections.abc import Callable

from more_itertools import chunked

from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.errors import RequestRefusedError
from fba_operators.inventory.merge import InventoryAnswers

SKUS_PER_CALL = 50  # of getInventorySummaries, Amazon's limit
PLAIN_SKU = re.compile(r"[A-Za-z0-9._:/#-]+")  # others have been left out of lists of several SKUs


def ask_inventory_api(
    hook: SellingPartnerHook, skus: list[str], *, between_calls: Callable[[], None] = lambda: None
) -> InventoryAnswers:
    """Ask for the stock of SKUs in as few calls as Amazon allows, isolating those it refuses.

    Amazon has listed nothing for SKUs with blanks, apostrophes and the like that had stock, so such a SKU counts as
    absent only when Amazon does not know it alone either.

    :param between_calls: called before each call
    :raises UnavailableError: Amazon did not answer; no SKU becomes 0 because of that
    """
    quantities: dict[str, int] = {}
    not_given: set[str] = set()
    # Amazon splits the list at commas, so a SKU with one can only be asked for alone.
    batches = list(chunked((sku for sku in skus if "," not in sku), SKUS_PER_CALL))
    batches += [[sku] for sku in skus if "," in sku]
    while batches:
        batch = batches.pop(0)
        between_calls()
        try:
            found = hook.get_inventory_summaries(batch)
        except RequestRefusedError:
            if len(batch) == 1:
                not_given.add(batch[0])
            else:
                half = len(batch) // 2
                batches[:0] = [batch[:half], batch[half:]]
            continue
        for sku, quantity in found.items():
            if quantity is None:
                not_given.add(sku)
            else:
                quantities[sku] = quantity
        if len(batch) > 1:
            batches += [[sku] for sku in batch if sku not in found and not PLAIN_SKU.fullmatch(sku)]
    absent = frozenset(skus).difference(quantities, not_given)
    return InventoryAnswers(quantities, absent, frozenset(not_given))
