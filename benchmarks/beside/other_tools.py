"""Other tools read one report; run by :mod:`benchmarks.beside` in a separate process for each reading.

python-amazon-sp-api with pandas' read_csv and to_sql, with the usual options or with every option correct; and Airbyte's
source for the same reports, as Airbyte itself runs it: `read` with a config and a catalog. They are installed in a virtual
environment without this project, so nothing of it is imported here.
"""

from __future__ import annotations

import csv
import io
import json
import re
import resource
import sys
import time
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

UNFINISHED = ("IN_QUEUE", "IN_PROGRESS")
USER_AGENT = "benchmark/1.0 (Language=Python)"  # in the form Amazon requires, which the sandbox checks
CORRECT_OPTIONS: dict[str, Any] = {
    "dtype": str,
    "keep_default_na": False,
    "quoting": csv.QUOTE_NONE,
    "index_col": False,
    "lineterminator": "\n",
}


def reports_client(task: dict[str, Any]) -> Any:
    """The library's client, changed only so far that it reaches the sandbox, which also refuses undocumented parameters."""
    from sp_api.api import Reports
    from sp_api.auth.access_token_client import AccessTokenClient
    from sp_api.base import BaseClient, Client, _core

    setattr(BaseClient, "user_agent", USER_AGENT)  # noqa: B010
    setattr(AccessTokenClient, "scheme", "http://")  # noqa: B010
    setattr(AccessTokenClient, "host", task["host"])  # noqa: B010
    setattr(_core, "add_marketplaces", lambda *_: None)  # noqa: B010 - it would put a MarketplaceId into the query of getReport
    original: Any = Client.headers
    setattr(Client, "headers", property(lambda client: {**original.fget(client), "host": task["host"]}))  # noqa: B010
    secrets = {"lwa_app_id": task["client_id"], "lwa_client_secret": task["client_secret"]}
    client = Reports(refresh_token=task["refresh_token"], credentials=secrets)
    client.endpoint = f"http://{task['host']}"
    return client


def read_with_pandas(task: dict[str, Any]) -> float:
    """Get a report with the library, read it with pandas, write it with to_sql; returns the seconds."""
    import pandas as pd
    import sqlalchemy

    correct, client = task["tool"] == "correct_options", reports_client(task)
    began = time.perf_counter()  # after the imports, as for the other tools
    created = client.create_report(reportType=task["report_type"], marketplaceIds=[task["marketplace_id"]])
    while (report := client.get_report(created.payload["reportId"]).payload)["processingStatus"] in UNFINISHED:
        time.sleep(2)
    document = client.get_report_document(report["reportDocumentId"], download=True).payload["document"]
    if correct:
        document = document.replace("\r\n", "\n")
    frame = pd.read_csv(io.StringIO(document, newline=""), sep="\t", **(CORRECT_OPTIONS if correct else {}))
    engine = sqlalchemy.create_engine(task["database"].replace("postgresql://", "postgresql+psycopg://"))
    frame.to_sql(task["table"], engine, if_exists="replace", index=False, chunksize=10_000)
    return time.perf_counter() - began


def redirect_to_sandbox(host: str) -> None:
    """Let `requests` send to the sandbox what it would send to Amazon. Nothing in Airbyte's code is changed."""
    from requests.adapters import HTTPAdapter

    original: Any = HTTPAdapter.send

    def send(adapter: Any, request: Any, **options: Any) -> Any:
        parts = urlsplit(request.url)
        if str(parts.hostname).endswith(".amazon.com"):
            request.url = parts._replace(scheme="http", netloc=host).geturl()
            request.headers["user-agent"] = USER_AGENT
        return original(adapter, request, **options)

    setattr(HTTPAdapter, "send", send)  # noqa: B010


def read_with_airbyte(task: dict[str, Any]) -> float:
    """Sync one stream completely; its messages go to a file, as they would go to a destination. Returns the seconds.

    The start date is yesterday: without one the source requests two years in several windows, and so the same stock several
    times.
    """
    from source_amazon_seller_partner.run import run

    redirect_to_sandbox(task["host"])
    config = {
        "aws_environment": "PRODUCTION",
        "region": task["country"],
        "account_type": "Seller",
        "lwa_app_id": task["client_id"],
        "lwa_client_secret": task["client_secret"],
        "refresh_token": task["refresh_token"],
        "replication_start_date": f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}",
    }
    stream = {"name": task["report_type"], "json_schema": {}, "supported_sync_modes": ["full_refresh", "incremental"]}
    configured_stream = {"stream": stream, "sync_mode": "full_refresh", "destination_sync_mode": "overwrite"}
    output = Path(task["output"])
    inputs = {"config": config, "catalog": {"streams": [configured_stream]}}
    sys.argv = ["source-amazon-seller-partner", "read"]
    for name, content in inputs.items():
        path = output.with_suffix(f".{name}.json")
        path.write_text(json.dumps(content))
        sys.argv += [f"--{name}", str(path)]
    began = time.perf_counter()
    with output.open("w") as file, redirect_stdout(file):
        run()
    return time.perf_counter() - began


def main() -> None:
    """Do the task that is given as JSON; print the measurement, or how it failed."""
    task = json.loads(sys.stdin.read())
    try:
        read = read_with_airbyte if task["tool"] == "airbyte" else read_with_pandas
        result: dict[str, Any] = {"seconds": read(task)}
    except Exception as error:
        # Airbyte's message contains the cause: "… did not sync successfully: STREAM: KeyError('…')".
        cause = re.search(r"successfully: \w+: (\w+)\(", str(getattr(error, "message", "")))
        result = {"error": f"fails: {cause[1] if cause else type(error).__name__}"}
    result["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(result))


if __name__ == "__main__":
    main()
