"""Knows stores.yaml: what can be set, what it defaults to, and how a mistake in it is explained."""

from fba_operators.settings.speeds import SpeedWarning, warn_of_speeds
from fba_operators.settings.stores_file import load_stores, stores_path

__all__ = ["SpeedWarning", "load_stores", "stores_path", "warn_of_speeds"]
