"""What others do with a report, run by `benchmarks.beside` in a virtual environment of its own. One task a process.

python-amazon-sp-api with pandas' read_csv and to_sql, once as everybody writes it and once with every option right; and the
decoder of Airbyte's source for the same reports.
"""

from __future__ import annotations

import csv
import io
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

PLAIN: dict[str, Any] = {}
CAREFUL: dict[str, Any] = {
    "dtype": str,
    "keep_default_na": False,
    "quoting": csv.QUOTE_NONE,
    "index_col": False,
    "lineterminator": "\n",
}


def reports(task: dict[str, Any]) -> Any:
    """The library's client; what is set on it only leads it to the sandbox, which is strict about user agents."""
    from sp_api.api import Reports
    from sp_api.auth.access_token_client import AccessTokenClient
    from sp_api.base import BaseClient, Client

    setattr(BaseClient, "user_agent", "benchmark/1.0 (Language=Python)")  # noqa: B010
    setattr(AccessTokenClient, "scheme", "http://")  # noqa: B010
    setattr(AccessTokenClient, "host", task["host"])  # noqa: B010
    usual: Any = Client.headers
    setattr(Client, "headers", property(lambda client: {**usual.fget(client), "host": task["host"]}))  # noqa: B010
    client = Reports(refresh_token=task["refresh_token"], credentials=task["credentials"])
    client.endpoint = f"http://{task['host']}"
    return client


def load(task: dict[str, Any]) -> float:
    """Fetch a document with the library, read it with pandas, write it with to_sql."""
    import pandas as pd
    import sqlalchemy

    options, client = CAREFUL if task["how"] == "careful" else PLAIN, reports(task)
    began = time.perf_counter()  # after the imports, as in the others
    document = client.get_report_document(task["document_id"], download=True).payload["document"]
    frame = pd.read_csv(io.StringIO(document, newline=""), sep="\t", **options)
    engine = sqlalchemy.create_engine(task["database"].replace("postgresql://", "postgresql+psycopg://"))
    frame.to_sql(task["table"], engine, if_exists="replace", index=False, chunksize=10_000)
    return time.perf_counter() - began


def airbyte(task: dict[str, Any]) -> float:
    """Read a document with the decoder of Airbyte's source, and write its records as JSON lines, as the source does."""
    import requests
    from source_amazon_seller_partner.components.decoder import GzipCsvDecoder

    client = reports(task)
    began = time.perf_counter()
    url = client.get_report_document(task["document_id"]).payload["url"]
    with Path(task["output"]).open("w") as output:
        for record in GzipCsvDecoder({}).decode(requests.get(url, timeout=60)):
            output.write(json.dumps(record) + "\n")
    return time.perf_counter() - began


if __name__ == "__main__":
    asked = json.loads(sys.stdin.read())
    seconds = (airbyte if asked["how"] == "airbyte" else load)(asked)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mb": peak}))
