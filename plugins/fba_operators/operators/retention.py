"""Personal data and raw copies, removed when their time is over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context

from fba_operators.settings.stores_file import load_stores
from fba_operators.warehouse.database import DEFAULT_WAREHOUSE, Warehouse, statements

KINDS = {
    "forget_addresses": "addresses",
    "forget_documents": "raw reports",
    "forget_rejected_lines": "rejected lines",
    "forget_result_documents": "processing reports",
}


class RetentionOperator(BaseOperator):
    """Remove ship-to fields, raw reports, rejected lines and processing reports older than stores.yaml allows.

    Works on all stores of the warehouse, whichever the run is for.

    :param warehouse_conn_id: Postgres connection of the warehouse
    :return: store → what was removed → how many
    """

    template_fields: Sequence[str] = ()
    ui_color = "#e8e8e8"

    def __init__(self, *, warehouse_conn_id: str = DEFAULT_WAREHOUSE, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.warehouse_conn_id = warehouse_conn_id

    def execute(self, context: Context) -> dict[str, dict[str, int]]:
        """Remove in one transaction."""
        removed: dict[str, dict[str, int]] = {}
        with Warehouse(self.warehouse_conn_id).connect() as db:
            for name, what in KINDS.items():
                for store, count in db.execute(statements("retention")[name], load_stores().retention.model_dump()):
                    removed.setdefault(store, {})[what] = count
        for store, counts in removed.items():
            self.log.info("%s: removed %s.", store, ", ".join(f"{n} {what}" for what, n in counts.items()))
        return removed
