"""Stock beyond the one number: the task that reads where else the units are."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from fba_operators.inventory.breakdown import read_breakdown
from fba_operators.operators.base import SellingPartnerOperator
from fba_operators.operators.switch import is_given
from fba_operators.settings.stores_file import load_stores


class ReadBreakdownOperator(SellingPartnerOperator):
    """Read where else the units of each SKU of a store are into ``fba.stock_breakdown``; skipped without ``breakdown: true``.

    Asks the FBA Inventory API for what changed since the last reading, and once a day for all SKUs.

    :param offline: if true (or a list that is not empty), Amazon is not called and the task is skipped (templated)
    :return: how many SKUs were read, and how many could not be
    """

    template_fields = (*SellingPartnerOperator.template_fields, "offline")

    def __init__(self, *, offline: Any = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.offline = offline

    def work(self, context: Context) -> dict[str, int]:
        """Read to the end."""
        if is_given("offline", self.offline):
            raise AirflowSkipException("Nothing in this run calls Amazon.")
        if not load_stores().store(self.conn_id).inventory.breakdown:
            raise AirflowSkipException(f"{self.conn_id}: inventory.breakdown of stores.yaml is off.")
        counts = read_breakdown(self.hook, self.warehouse, self.run_log(context), self.task_id)
        self.log.info(
            "%s: read the breakdown of %d SKUs, %d unreadable.", self.conn_id, counts["skus"], counts["unread"]
        )
        return counts
