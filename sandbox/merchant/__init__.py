"""Knows the merchant: listings, stock, orders and shipments, and the truth about them."""
