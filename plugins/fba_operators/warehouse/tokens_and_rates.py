"""What all tasks share about Amazon: access tokens, and the quotas of operations with a low rate."""

from __future__ import annotations

import hashlib
import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

import psycopg

from fba_operators.errors import ConfigurationError
from fba_operators.warehouse.database import Warehouse
from fba_operators.warehouse.encryption import decrypt, encrypt
from fba_operators.warehouse.statements import execute

log = logging.getLogger(__name__)

LEASE_SECONDS = 60.0  # for one request for a token, which must end before
LONGEST_PAUSE = 1.0  # seconds between two looks for the token that another task fetches


def shared_access_token(
    warehouse: Warehouse,
    credential: str,
    *,
    rejected: str | None,
    fetch: Callable[[], tuple[str, datetime]],
    patience: float = LEASE_SECONDS,
) -> tuple[str, datetime]:
    """Return the access token of a credential and its expiry (UTC); usually only one task at a time fetches a new one.

    No transaction is open while Amazon is asked: the task that asks has a lease, and the others wait for its token. If it
    does not come in time, they ask themselves.

    :param credential: what the token belongs to; only its hash is stored
    :param rejected: a token that Amazon has refused, or None
    :param fetch: requests a new token; returns it with the time until which it may be used
    :param patience: seconds to wait for the token that another task fetches
    """
    key = hashlib.sha256(credential.encode()).hexdigest()
    last_moment, pause = time.monotonic() + patience, 0.05
    while True:
        with warehouse.connect() as db:
            row = execute(db, "warehouse.token", credential=key).fetchone()
            if row is None:  # asked first, because an insert would wait for a session that has changed the row
                execute(db, "warehouse.register_credential", credential=key)
            elif known := _usable(row, rejected):
                return known
            seen = row["token"] if row else None
            lease = execute(db, "warehouse.lease_token", credential=key, seen=seen, seconds=LEASE_SECONDS).fetchone()
        if lease or time.monotonic() >= last_moment:
            return _fetched(warehouse, key, fetch, lease["fetching_until"] if lease else None)
        time.sleep(min(pause * random.uniform(0.5, 1), max(last_moment - time.monotonic(), 0)))
        pause = min(pause * 1.5, LONGEST_PAUSE)


def _usable(row: dict[str, Any], rejected: str | None) -> tuple[str, datetime] | None:
    if row["token"] is None or not row["valid"]:
        return None
    with suppress(ConfigurationError):  # encrypted with a lost Fernet key: replaced by a new token
        token = decrypt(row["token"]).decode()
        if token != rejected:
            return token, row["expires_at"]
    return None


def _fetched(
    warehouse: Warehouse, key: str, fetch: Callable[[], tuple[str, datetime]], lease: datetime | None
) -> tuple[str, datetime]:
    """Fetch a token and store it. Without a lease nobody is told."""
    try:
        token, expires_at = fetch()
        secret = encrypt(token.encode())
    except BaseException:
        with suppress(psycopg.Error), _briefly(warehouse, "the end of a lease was not stored") as db:
            execute(db, "warehouse.end_lease", credential=key, lease=lease)
        raise
    with _briefly(warehouse, "a new access token was not stored") as db:
        execute(db, "warehouse.store_token", credential=key, token=secret, expires_at=expires_at)
    return token, expires_at


@contextmanager
def _briefly(warehouse: Warehouse, otherwise: str) -> Iterator[psycopg.Connection[Any]]:
    """A transaction that is given up, with a warning, when somebody holds its row: the work goes on without."""
    with warehouse.connect() as db:
        db.execute("SET LOCAL lock_timeout = '3s'")
        try:
            yield db
        except psycopg.errors.LockNotAvailable:
            db.rollback()
            log.warning("Another session holds a row of the warehouse for seconds: %s.", otherwise)


def take_call(warehouse: Warehouse, bucket: str, *, rate: float, burst: float) -> float:
    """Take one call from a shared token bucket.

    :param bucket: name of the bucket
    :param rate: calls per second, used until Amazon has reported another
    :param burst: size of the bucket in calls
    :return: 0.0 when the call may be made now, else the seconds until it may; never more than an empty bucket takes to fill
    """
    seconds, longest = 0.0, burst / rate
    with _briefly(warehouse, f"a call of {_operation(bucket)} is made uncounted") as db:
        if not execute(db, "warehouse.take_call", bucket=bucket, rate=rate, burst=burst).fetchone():
            seconds = _seconds_until_next_call(db, bucket)
            if seconds > longest:
                execute(db, "warehouse.correct_impossible_bucket", bucket=bucket, rate=rate)
    return min(seconds, longest)


def correct_bucket(warehouse: Warehouse, bucket: str, *, rate: float | None = None, empty: bool = False) -> float:
    """Adjust a bucket to Amazon's answer.

    :param rate: calls per second that Amazon grants, if it has reported them
    :param empty: Amazon answered 429, so no call is left
    :return: seconds until the next call may be made
    """
    seconds = 0.0
    with _briefly(warehouse, f"Amazon's answer to {_operation(bucket)} is not counted") as db:
        execute(db, "warehouse.correct_bucket", bucket=bucket, rate=rate, empty=empty)
        seconds = _seconds_until_next_call(db, bucket)
    return seconds  # noqa: RET504 - the block may end early


def _seconds_until_next_call(db: psycopg.Connection[Any], bucket: str) -> float:
    row = execute(db, "warehouse.seconds_until_next_call", bucket=bucket).fetchone()
    return float(row["seconds"]) if row else 0.0


def _operation(bucket: str) -> str:
    return bucket.rpartition(":")[2]
