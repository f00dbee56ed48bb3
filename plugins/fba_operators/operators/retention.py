"""Whatever has a retention period, removed when that is over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context

from fba_operators.errors import UnavailableError
from fba_operators.runs.retention import remove_expired
from fba_operators.settings.stores_file import load_stores
from fba_operators.warehouse.database import DEFAULT_WAREHOUSE, Warehouse


class RetentionOperator(BaseOperator):
    """Remove what is older than stores.yaml allows: addresses and texts that may quote them, raw documents, and all old data.

    Works on all stores of the warehouse, whichever stores the run is for.

    :param warehouse_conn_id: Postgres connection of the warehouse
    :return: store → kind → number removed
    :raises UnavailableError: something could not be removed; everything else is
    """

    template_fields: Sequence[str] = ()
    ui_color = "#e8e8e8"

    def __init__(self, *, warehouse_conn_id: str = DEFAULT_WAREHOUSE, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.warehouse_conn_id = warehouse_conn_id

    def execute(self, context: Context) -> dict[str, dict[str, int]]:
        """Remove in short transactions."""
        removal = remove_expired(Warehouse(self.warehouse_conn_id), load_stores().retention)
        if removal.failed:
            raise UnavailableError(
                f"What is older than its retention period was removed, but not all {', '.join(removal.failed)}; the log has the "
                "reasons. The next attempt goes on"
            )
        return removal.removed
