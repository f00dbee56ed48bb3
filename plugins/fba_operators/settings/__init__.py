"""Knows stores.yaml: what can be set, what it defaults to, and how a mistake in it is explained."""

from fba_operators.settings.stores_file import load_stores, stores_path

__all__ = ["load_stores", "stores_path"]
