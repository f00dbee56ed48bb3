"""The warehouse: one Postgres connection and its migrations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import psycopg
from airflow.providers.postgres.hooks.postgres import PostgresHook

from fba_operators.errors import ConfigurationError
from fba_operators.warehouse import statements

DEFAULT_WAREHOUSE = "fba_warehouse"


def as_product(connection: psycopg.Connection[Any]) -> None:
    """Make a new connection one of the product's, for which the database's rules allow more than for others."""
    connection.autocommit = True
    # A commit must survive a crash of the server, whatever its default is: a request that was sent must never be pending
    # again.
    connection.execute("SET synchronous_commit = on")
    connection.execute("SET fba.writer = 'product'")
    connection.autocommit = False


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
        """Open a connection; commit at the end of the block, roll back on an error, close in either case."""
        with cast("psycopg.Connection[Any]", self._hook.get_conn()) as connection:
            as_product(connection)
            try:
                yield connection
            except psycopg.Error as error:
                if error.diag.message_detail is None:
                    raise
                # The detail quotes the row, which may hold a ship-to address, and Airflow logs what is raised.
                raise type(error)(str(error.diag.message_primary)) from None

    def migrate(self) -> list[int]:
        """Bring the schema up to date; concurrent calls apply each version once.

        :return: the versions applied by this call
        :raises ConfigurationError: a version was applied under another name
        """
        applied = []
        with self.connect() as db:
            db.execute("SELECT pg_advisory_xact_lock(hashtext('fba.schema_version'))")
            db.execute("CREATE SCHEMA IF NOT EXISTS fba")
            db.execute(
                "CREATE TABLE IF NOT EXISTS fba.schema_version"
                " (version integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
            )
            known: dict[int, str] = dict(db.execute("SELECT version, name FROM fba.schema_version").fetchall())
            for file in sorted((statements.SQL_FOLDER / "migrations").glob("*.sql")):
                version = int(file.name.split("_")[0])
                if known.get(version, file.stem) != file.stem:
                    raise ConfigurationError(
                        f"The warehouse has a migration {version} named {known[version]!r}, here it is {file.stem!r}: somebody "
                        "added a migration of their own. Tables of your own belong into a schema of your own"
                    )
                if version not in known:
                    db.execute(file.read_bytes())
                    db.execute("INSERT INTO fba.schema_version (version, name) VALUES (%s, %s)", (version, file.stem))
                    applied.append(version)
        return applied
