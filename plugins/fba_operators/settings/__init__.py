"""Knows stores.yaml: what can be set, what it defaults to, and how a mistake in it is explained."""
