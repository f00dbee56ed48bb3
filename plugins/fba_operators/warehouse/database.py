"""The warehouse: one Postgres connection, its migrations, encryption at rest, and what tasks share there."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cache
from typing import Any, cast

import psycopg
from airflow.providers.postgres.hooks.postgres import PostgresHook
from airflow.sdk.crypto import get_fernet
from cryptography.fernet import InvalidToken

from fba_operators import INCLUDE
from fba_operators.errors import ConfigurationError

SQL_FOLDER = INCLUDE / "sql"
DEFAULT_WAREHOUSE = "fba_warehouse"


@cache
def statements(file: str) -> dict[str, bytes]:
    """Return the named statements of ``include/sql/<file>.sql``; a line ``-- name: x`` begins statement x.

    :param file: file name without folder and ending
    """
    parts = re.split(r"^-- name: (\w+)$", (SQL_FOLDER / f"{file}.sql").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {name: text.strip().encode() for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def encrypt(data: bytes) -> bytes:
    """Encrypt with Airflow's Fernet key.

    :raises ConfigurationError: there is no key; nothing is stored in the clear
    """
    fernet = get_fernet()
    if not fernet.is_encrypted:
        raise ConfigurationError(
            "Airflow has no Fernet key, so tokens and reports could only be stored unencrypted. "
            "Set AIRFLOW__CORE__FERNET_KEY to the same value for every Airflow component."
        )
    return fernet.encrypt(data)


def decrypt(data: bytes) -> bytes:
    """Decrypt what :func:`encrypt` made.

    :raises ConfigurationError: it was made with a key that Airflow does not have any more
    """
    try:
        return get_fernet().decrypt(bytes(data))
    except InvalidToken:
        raise ConfigurationError(
            "The warehouse has kept this with another Fernet key. Put that key behind the present one in "
            "AIRFLOW__CORE__FERNET_KEY, with a comma between them, on every Airflow component."
        ) from None


class Warehouse:
    """Postgres behind an Airflow connection.

    :param conn_id: Airflow connection of type Postgres
    :param connection: that connection already resolved, where looking it up would block (in a trigger)
    """

    def __init__(self, conn_id: str = DEFAULT_WAREHOUSE, *, connection: Any = None) -> None:
        self.conn_id = conn_id
        # log_sql=False: the hook would otherwise log every parameter, addresses included.
        self._hook = PostgresHook(postgres_conn_id=conn_id, log_sql=False, connection=connection)

    @contextmanager
    def connect(self) -> Iterator[psycopg.Connection[Any]]:
        """Open a connection whose work is committed at the end of the block, or rolled back on an error."""
        # psycopg's own context manager commits or rolls back, then closes.
        with cast("psycopg.Connection[Any]", self._hook.get_conn()) as connection:
            # What Amazon was asked must outlive a crash of the server, whatever the server's default is: else a
            # request that was sent could be pending again.
            connection.autocommit = True
            connection.execute("SET synchronous_commit = on")
            connection.autocommit = False
            try:
                yield connection
            except psycopg.Error as error:
                if error.diag.message_detail is None:
                    raise
                # The detail quotes the row, which may hold a ship-to address, and Airflow logs what is raised.
                raise type(error)(str(error.diag.message_primary)) from None

    def migrate(self) -> list[int]:
        """Bring the schema up to date, once, however many tasks ask at the same time.

        :return: the versions applied now
        """
        applied = []
        with self.connect() as db:
            db.execute("SELECT pg_advisory_xact_lock(hashtext('fba.schema_version'))")
            db.execute("CREATE SCHEMA IF NOT EXISTS fba")
            db.execute(
                "CREATE TABLE IF NOT EXISTS fba.schema_version"
                " (version integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
            )
            known = {version for (version,) in db.execute("SELECT version FROM fba.schema_version")}
            for file in sorted((SQL_FOLDER / "migrations").glob("*.sql")):
                version = int(file.name.split("_")[0])
                if version not in known:
                    db.execute(file.read_bytes())
                    db.execute("INSERT INTO fba.schema_version (version, name) VALUES (%s, %s)", (version, file.stem))
                    applied.append(version)
        return applied

    def access_token(
        self, credential: str, *, rejected: str | None, fetch: Callable[[], tuple[str, datetime]]
    ) -> tuple[str, datetime]:
        """Return the shared access token of a credential; at most one task at a time fetches a new one.

        :param credential: what the token belongs to; only its hash is stored
        :param rejected: a token Amazon no longer takes, if one is known
        :param fetch: gets a new token and the time until which it may be used
        """
        key = hashlib.sha256(credential.encode()).hexdigest()
        sql = statements("tokens_and_rates")
        with self.connect() as db:
            db.execute(sql["remember_credential"], {"credential": key})
            # The row lock makes everyone else wait for the one call that is on its way.
            row = db.execute(sql["lock_token"], {"credential": key}).fetchone()
            if row and row[0] is not None and row[2]:
                with suppress(ConfigurationError):  # of another Fernet key: a new token takes its place
                    token = decrypt(row[0]).decode()
                    if token != rejected:
                        return token, row[1]
            token, expires_at = fetch()
            db.execute(
                sql["store_token"], {"credential": key, "token": encrypt(token.encode()), "expires_at": expires_at}
            )
            return token, expires_at

    def take_from_bucket(self, bucket: str, rate: float, burst: float) -> float:
        """Take one call from a shared token bucket.

        :param rate: calls per second, used until Amazon has told another
        :param burst: size of the bucket
        :return: 0.0 when the call may be made now, else the seconds until it may
        """
        sql = statements("tokens_and_rates")
        with self.connect() as db:
            if db.execute(sql["take"], {"bucket": bucket, "rate": rate, "burst": burst}).fetchone():
                return 0.0
            row = db.execute(sql["wait"], {"bucket": bucket}).fetchone()
            return float(row[0]) if row else 0.0

    def correct_bucket(self, bucket: str, *, rate: float | None = None, empty: bool = False) -> float:
        """Adjust a bucket to what Amazon said: another rate, or (429) that it is empty.

        :return: seconds until the next call may be made
        """
        sql = statements("tokens_and_rates")
        with self.connect() as db:
            db.execute(sql["correct"], {"bucket": bucket, "rate": rate, "empty": empty})
            row = db.execute(sql["wait"], {"bucket": bucket}).fetchone()
            return float(row[0]) if row else 0.0
