"""Knows a fulfillment request: when it is valid and due, how it is written for Amazon, and what became of it."""
