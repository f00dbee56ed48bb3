"""Destinations: a folder of files on any storage that Airflow can write, and a webhook."""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import urlsplit

import requests
from airflow.sdk import BaseHook, Connection, ObjectStoragePath
from airflow.sdk.exceptions import AirflowNotFoundException

from fba_operators.amazon.deadline import BoundedAdapter, ends_within
from fba_operators.errors import ConfigurationError, UnavailableError
from fba_operators.publishing.batch import Batch, signature
from fba_operators.settings.models import Destination

CALL_SECONDS = 30.0  # a webhook has so long for a batch, whatever it does
TIMEOUT = (5.0, 20.0)  # seconds to connect, and without a byte
CHANGES_IN_A_CALL = 1000
CHANGES_IN_A_FILE = 100_000

Deliver = Callable[[Batch], None]
"""Delivers a batch; raises UnavailableError where that may work later, ConfigurationError where it cannot."""


def receiver_of(destination: Destination) -> tuple[Deliver, int]:
    """Return how a batch gets to a destination, and how many changes it takes at once."""
    if destination.file:
        return lambda batch: write_file(destination, batch), CHANGES_IN_A_FILE
    return lambda batch: call_webhook(destination, batch), CHANGES_IN_A_CALL


def write_file(destination: Destination, batch: Batch) -> None:
    """Write a batch as a file that is complete from the moment on at which it has its name."""
    try:
        folder = ObjectStoragePath(str(destination.file), conn_id=destination.connection)
        target = folder / f"{batch.id}.csv"
        if folder.protocol == "file":
            folder.mkdir(parents=True, exist_ok=True)
            part = folder / f".{batch.id}.part"
            part.write_bytes(batch.as_csv())
            part.fs.mv(part.path, target.path)
        else:  # an object appears when its upload is complete
            target.write_bytes(batch.as_csv())
    except Exception as error:  # whatever the storage's library raises; its text may quote a signed address
        raise UnavailableError(
            f"publish: {destination.name}: {batch.store}: the file could not be written ({type(error).__name__}). Is the "
            "address in stores.yaml right, may its connection write there, and is the library of that storage installed?"
        ) from None


def call_webhook(destination: Destination, batch: Batch) -> None:
    """POST a batch. Any 2xx means that the receiver has taken it; nothing else does, and no redirect is followed."""
    where = f"publish: {destination.name} (connection {destination.webhook}): {batch.store}"
    url, secret = _receiver(destination)
    body, timestamp = batch.as_json(), str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "airflow-amazon-fba",
        "X-FBA-Delivery": batch.id,
        "X-FBA-Timestamp": timestamp,
        "X-FBA-Signature": signature(secret, timestamp, body),
    }
    try:
        with requests.Session() as session, ends_within(CALL_SECONDS):
            session.mount("https://", BoundedAdapter())
            session.mount("http://", BoundedAdapter())
            # auth: else a .netrc would add a password of its own. stream: what the receiver says is not read.
            with session.post(
                url,
                data=body,
                headers=headers,
                timeout=TIMEOUT,
                auth=lambda sent: sent,
                allow_redirects=False,
                stream=True,
            ) as answer:
                status = answer.status_code
    except (requests.RequestException, OSError) as error:
        raise UnavailableError(
            f"{where}: the receiver gave no answer ({type(error).__name__}). The changes are delivered again later"
        ) from None
    if not 200 <= status < 300:
        raise UnavailableError(
            f"{where}: the receiver did not take the changes. They are delivered again later",
            operation="POST",
            status=status,
        )


def _receiver(destination: Destination) -> tuple[str, str]:
    """URL and secret of a webhook's connection."""
    conn_id = str(destination.webhook)
    try:
        connection: Connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise ConfigurationError(
            f"publish: {destination.name}: Airflow has no connection {conn_id}. Make one: its host is the receiver's URL, its "
            "password the secret that signs"
        ) from None
    host = (connection.host or "").strip()
    url = host if "://" in host else f"{connection.schema or 'https'}://{host}"
    parts = urlsplit(url)
    if connection.port and parts.hostname and not parts.port:
        url = parts._replace(netloc=f"{parts.netloc}:{connection.port}").geturl()
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(
            f"publish: {destination.name}: the host of connection {conn_id} is no URL such as https://shop.example/stock"
        )
    if not connection.password:
        raise ConfigurationError(
            f"publish: {destination.name}: connection {conn_id} has no password, which is the secret that signs: without it "
            "anybody could tell the receiver what is in stock"
        )
    return url, connection.password
