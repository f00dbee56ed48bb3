"""The FBA desk for an Airflow that has this folder as its plugins folder. An installed package brings the desk itself."""

from importlib.metadata import entry_points

if not any(point.value.startswith("fba_operators.") for point in entry_points(group="airflow.plugins")):
    from fba_operators.desk.plugin import FbaDesk  # noqa: F401
