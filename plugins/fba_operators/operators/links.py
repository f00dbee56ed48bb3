"""The button *FBA desk* on a task in Airflow's UI."""

from __future__ import annotations

import attrs
from airflow.sdk import BaseOperator, BaseOperatorLink
from airflow.sdk.types import TaskInstanceKey

from fba_operators.runs.desk_address import desk_address


@attrs.define
class DeskLink(BaseOperatorLink):
    """Leads to what a task has worked on, for its store.

    :param page: page of the desk
    """

    page: str = ""

    @property
    def name(self) -> str:
        """Its words."""
        return "FBA desk"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address; Airflow asks for it when the task has ended."""
        return desk_address(self.page, store=str(getattr(operator, "conn_id", "")))
