"""The units of an item that orders take and give back."""

from sandbox.merchant.merchant import Item


def sellable_units(item: Item) -> int:
    """Return the units of an item that can ship: of its SELLABLE rows, or, without rows, of the FBA Inventory API."""
    if item.afn:
        return sum(quantity for condition, quantity in item.afn if condition == "SELLABLE")
    return item.api_stock or 0


def is_fba_item(item: Item) -> bool:
    """Whether Amazon fulfills the item: it has warehouse rows, FBA Inventory stock or an FBA listing."""
    return bool(item.afn) or item.api_stock is not None or any(c.startswith("AMAZON_") for c, _ in item.offers)


def reserve(item: Item, quantity: int, now: float) -> None:
    """Remove units from stock, row by row; `now` is wall time."""
    remaining, stock = quantity, []
    for condition, units in item.afn:
        taken = min(remaining, units) if condition == "SELLABLE" else 0
        stock.append((condition, units - taken))
        remaining -= taken
    item.afn = tuple(stock)
    if item.api_stock is not None:
        item.api_stock = max(0, item.api_stock - quantity)
    item.changed = now


def restock(item: Item, quantity: int, now: float) -> None:
    """Put units back into stock; `now` is wall time."""
    stock = dict(enumerate(item.afn))
    index = next((n for n, (condition, _) in stock.items() if condition == "SELLABLE"), None)
    if index is not None:
        stock[index] = ("SELLABLE", stock[index][1] + quantity)
        item.afn = tuple(stock.values())
    if item.api_stock is not None:
        item.api_stock += quantity
    item.changed = now
