"""What others do with a report, run by `benchmarks.beside` in a virtual environment of its own. One task a process.

python-amazon-sp-api with pandas' read_csv and to_sql, once as everybody writes it and once with every option right; and the
source of Airbyte for the same reports, as Airbyte itself runs it: `read` with a config and a catalog.
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

PENDING = ("IN_QUEUE", "IN_PROGRESS")
USER_AGENT = "benchmark/1.0 (Language=Python)"  # the sandbox is strict about it
CAREFUL: dict[str, Any] = {
    "dtype": str,
    "keep_default_na": False,
    "quoting": csv.QUOTE_NONE,
    "index_col": False,
    "lineterminator": "\n",
}


def reports(task: dict[str, Any]) -> Any:
    """The library's client; what is set on it only leads it to the sandbox, which refuses undocumented parameters too."""
    from sp_api.api import Reports
    from sp_api.auth.access_token_client import AccessTokenClient
    from sp_api.base import BaseClient, Client, _core

    setattr(BaseClient, "user_agent", USER_AGENT)  # noqa: B010
    setattr(AccessTokenClient, "scheme", "http://")  # noqa: B010
    setattr(AccessTokenClient, "host", task["host"])  # noqa: B010
    setattr(_core, "add_marketplaces", lambda *_: None)  # noqa: B010 - a MarketplaceId in the query of getReport
    usual: Any = Client.headers
    setattr(Client, "headers", property(lambda client: {**usual.fget(client), "host": task["host"]}))  # noqa: B010
    secrets = {"lwa_app_id": task["client_id"], "lwa_client_secret": task["client_secret"]}
    client = Reports(refresh_token=task["refresh_token"], credentials=secrets)
    client.endpoint = f"http://{task['host']}"
    return client


def load(task: dict[str, Any]) -> float:
    """Get a report with the library, read it with pandas, write it with to_sql."""
    import pandas as pd
    import sqlalchemy

    careful, client = task["how"] == "careful", reports(task)
    began = time.perf_counter()  # after the imports, as in the others
    asked = client.create_report(reportType=task["report_type"], marketplaceIds=[task["marketplace_id"]])
    while (state := client.get_report(asked.payload["reportId"]).payload)["processingStatus"] in PENDING:
        time.sleep(2)
    document = client.get_report_document(state["reportDocumentId"], download=True).payload["document"]
    if careful:
        document = document.replace("\r\n", "\n")
    frame = pd.read_csv(io.StringIO(document, newline=""), sep="\t", **(CAREFUL if careful else {}))
    engine = sqlalchemy.create_engine(task["database"].replace("postgresql://", "postgresql+psycopg://"))
    frame.to_sql(task["table"], engine, if_exists="replace", index=False, chunksize=10_000)
    return time.perf_counter() - began


def lead_to_sandbox(host: str) -> None:
    """Send what `requests` would send to Amazon to the sandbox instead. Nothing of Airbyte's is touched."""
    from requests.adapters import HTTPAdapter

    usual: Any = HTTPAdapter.send

    def send(adapter: Any, request: Any, **options: Any) -> Any:
        parts = urlsplit(request.url)
        if str(parts.hostname).endswith(".amazon.com"):
            request.url = parts._replace(scheme="http", netloc=host).geturl()
            request.headers["user-agent"] = USER_AGENT
        return usual(adapter, request, **options)

    setattr(HTTPAdapter, "send", send)  # noqa: B010


def airbyte(task: dict[str, Any]) -> float:
    """One full sync of one stream; its messages go to a file as they would go to a destination.

    It begins a day ago: without a start date it asks for two years in pieces, and for each piece the same list anew.
    """
    from source_amazon_seller_partner.run import run

    lead_to_sandbox(task["host"])
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
    chosen = {"stream": stream, "sync_mode": "full_refresh", "destination_sync_mode": "overwrite"}
    output = Path(task["output"])
    files = {"config": config, "catalog": {"streams": [chosen]}}
    sys.argv = ["source-amazon-seller-partner", "read"]
    for name, content in files.items():
        path = output.with_suffix(f".{name}.json")
        path.write_text(json.dumps(content))
        sys.argv += [f"--{name}", str(path)]
    began = time.perf_counter()
    with output.open("w") as file, redirect_stdout(file):
        run()
    return time.perf_counter() - began


def main() -> None:
    """Do the task that is given as JSON; print what it took, or how it ended."""
    task = json.loads(sys.stdin.read())
    try:
        told: dict[str, Any] = {"seconds": (airbyte if task["how"] == "airbyte" else load)(task)}
    except Exception as error:
        # Airbyte names what went wrong in the text: "… did not sync successfully: STREAM: KeyError('…')".
        cause = re.search(r"successfully: \w+: (\w+)\(", str(getattr(error, "message", "")))
        told = {"error": f"fails: {cause[1] if cause else type(error).__name__}"}
    told["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(told))


if __name__ == "__main__":
    main()
