"""What all tasks share about Amazon: access tokens, and the quotas of operations with a low rate."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from fba_operators.errors import ConfigurationError
from fba_operators.warehouse.database import Warehouse
from fba_operators.warehouse.encryption import decrypt, encrypt
from fba_operators.warehouse.statements import execute


def shared_access_token(
    warehouse: Warehouse, credential: str, *, rejected: str | None, fetch: Callable[[], tuple[str, datetime]]
) -> tuple[str, datetime]:
    """Return the access token of a credential and its expiry (UTC); only one task at a time fetches a new one.

    :param credential: what the token belongs to; only its hash is stored
    :param rejected: a token that Amazon has refused, or None
    :param fetch: requests a new token; returns it with the time until which it may be used
    """
    key = hashlib.sha256(credential.encode()).hexdigest()
    with warehouse.connect() as db:
        execute(db, "warehouse.register_credential", credential=key)
        # The row lock makes all other tasks wait for the one request that is under way.
        row = execute(db, "warehouse.lock_token", credential=key).fetchone()
        if row and row["token"] is not None and row["valid"]:
            with suppress(ConfigurationError):  # encrypted with a lost Fernet key: replaced by a new token
                token = decrypt(row["token"]).decode()
                if token != rejected:
                    return token, row["expires_at"]
        token, expires_at = fetch()
        execute(db, "warehouse.store_token", credential=key, token=encrypt(token.encode()), expires_at=expires_at)
        return token, expires_at


def take_call(warehouse: Warehouse, bucket: str, *, rate: float, burst: float) -> float:
    """Take one call from a shared token bucket.

    :param bucket: name of the bucket
    :param rate: calls per second, used until Amazon has reported another
    :param burst: size of the bucket in calls
    :return: 0.0 when the call may be made now, else the seconds until it may
    """
    with warehouse.connect() as db:
        if execute(db, "warehouse.take_call", bucket=bucket, rate=rate, burst=burst).fetchone():
            return 0.0
        row = execute(db, "warehouse.seconds_until_next_call", bucket=bucket).fetchone()
        return float(row["seconds"]) if row else 0.0


def correct_bucket(warehouse: Warehouse, bucket: str, *, rate: float | None = None, empty: bool = False) -> float:
    """Adjust a bucket to Amazon's answer.

    :param rate: calls per second that Amazon grants, if it has reported them
    :param empty: Amazon answered 429, so no call is left
    :return: seconds until the next call may be made
    """
    with warehouse.connect() as db:
        execute(db, "warehouse.correct_bucket", bucket=bucket, rate=rate, empty=empty)
        row = execute(db, "warehouse.seconds_until_next_call", bucket=bucket).fetchone()
        return float(row["seconds"]) if row else 0.0
