"""What load and merge tasks tell OpenLineage: which reports became rows of which tables, and how many.

Called by Airflow's openlineage provider alone, so the extra ``lineage`` is installed where this is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.reports.ledger import ReportLedger
from fba_operators.warehouse.database import SCHEMA, Warehouse

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage


def lineage_of(
    hook: SellingPartnerHook, warehouse: Warehouse, report_ids: Iterable[str | None], written: Mapping[str, int]
) -> OperatorLineage[Any, Any]:
    """Reports as inputs, tables as outputs.

    A report type is the dataset ``<marketplace id>/<report type>`` of the namespace ``amazon-sp-api://<seller id>``, and a
    report is a version of it. A table has the name that Airflow's postgres provider gives it, so the lineage of SQL tasks
    and of dbt goes on from there.

    :param report_ids: reports in the ledger; None is left out, and a report of which nothing was read has no count
    :param written: rows that were written, by table of the schema fba
    """
    from airflow.providers.openlineage.extractors import OperatorLineage  # noqa: PLC0415 - of the extra lineage
    from openlineage.client.event_v2 import InputDataset, OutputDataset  # noqa: PLC0415
    from openlineage.client.facet_v2 import (  # noqa: PLC0415
        dataset_version_dataset,
        input_statistics_input_dataset,
        output_statistics_output_dataset,
    )

    ledger = ReportLedger(warehouse, hook.conn_id)
    seller, place = f"amazon-sp-api://{hook.seller_id}", hook.marketplace.id
    inputs = []
    for report in map(ledger.get, filter(None, report_ids)):
        rows, rejected = report["row_count"], report["rejected_row_count"]
        version = dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=report["report_id"])
        lines = None if rows is None else rows + (rejected or 0)
        statistics = input_statistics_input_dataset.InputStatisticsInputDatasetFacet(rowCount=lines)
        inputs.append(
            InputDataset(
                namespace=seller,
                name=f"{place}/{report['report_type']}",
                facets={"version": version},
                inputFacets={} if lines is None else {"inputStatistics": statistics},
            )
        )
    namespace, database = warehouse.lineage_name()
    outputs = [
        OutputDataset(
            namespace=namespace,
            name=f"{database}.{SCHEMA}.{table}",
            outputFacets={
                "outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(rowCount=rows)
            },
        )
        for table, rows in written.items()
    ]
    return OperatorLineage(inputs=inputs, outputs=outputs)
