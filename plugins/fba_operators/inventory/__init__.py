"""Knows stock: how two reports become one quantity per SKU, and how that reaches the Global Inventory Pool."""
