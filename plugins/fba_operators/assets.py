"""The assets our DAGs update; another DAG can be scheduled on them."""

from __future__ import annotations

from airflow.sdk import Asset

__all__ = ["PACKAGES", "POOL", "REQUESTS", "SHIPMENTS"]

_GROUP = "fba"

POOL = Asset("fba_global_inventory_pool", group=_GROUP, extra={"table": "fba.global_inventory_pool"})
REQUESTS = Asset("fba_fulfillment_requests", group=_GROUP, extra={"table": "fba.fulfillment_request"})
SHIPMENTS = Asset("fba_shipments", group=_GROUP, extra={"table": "fba.shipment_item"})
PACKAGES = Asset("fba_packages", group=_GROUP, extra={"table": "fba.package"})
