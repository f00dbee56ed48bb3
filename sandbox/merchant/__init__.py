"""Knows the merchant: listings, stock, orders and shipments, and the quantities a correct reader must find."""
