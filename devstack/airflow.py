"""Airflow's settings and connections on one machine, as environment variables."""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.fernet import Fernet

from sandbox.connection import store_connection

__all__ = ["PROJECT", "settings", "store_connection", "warehouse_connection"]

PROJECT = Path(__file__).resolve().parents[1]


def settings(home: Path, metadata_url: str, warehouse_url: str, amazon_url: str) -> dict[str, str]:
    """Return the environment in which every Airflow command uses this project.

    :param home: AIRFLOW_HOME, where logs and generated files go
    :param metadata_url: SQLAlchemy address of Airflow's own database
    :param warehouse_url: address of the warehouse database
    :param amazon_url: address of the sandbox Amazon
    """
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__FERNET_KEY": Fernet.generate_key().decode(),
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        # Airflow's defaults (30, 50 and 5 seconds) are too short for a slow machine.
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "300",
        "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "360",
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": metadata_url,
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW_CONN_FBA_WAREHOUSE": warehouse_connection(warehouse_url),
        "AIRFLOW_CONN_AMAZON_US": store_connection(amazon_url),
        "PYTHONPATH": str(PROJECT),
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
    }


def warehouse_connection(url: str) -> str:
    """Return the Airflow connection to a Postgres database, as the value of a variable AIRFLOW_CONN_{ID}."""
    parts = urlsplit(url)
    return json.dumps(
        {
            "conn_type": "postgres",
            "host": parts.hostname,
            "port": parts.port,
            "login": parts.username,
            "schema": parts.path.lstrip("/"),
        }
    )
