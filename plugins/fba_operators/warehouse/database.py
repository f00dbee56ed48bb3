"""The warehouse: one Postgres connection and its migrations."""

from __future__ import annotations

import hashlib
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import psycopg
from airflow.providers.postgres.hooks.postgres import PostgresHook

from fba_operators.errors import ConfigurationError, UnavailableError
from fba_operators.warehouse import statements
from fba_operators.warehouse.migrations import apply_migrations, are_applied, read_folder

SCHEMA = "fba"
DEFAULT_WAREHOUSE = "fba_warehouse"
# So that a server which does not answer any more is given up after a minute; what the operating system does not know is left out.
TCP_LIMITS = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 60_000}  # s, s, number, ms


def begin(connection: psycopg.Connection[Any]) -> None:
    """Begin a transaction of the product's: the database's rules allow it more than others, and nothing in it waits for ever."""
    connection.prepare_threshold = None  # a prepared statement belongs to a session
    connection.execute(statements.statement("warehouse.begin"))


class Warehouse:
    """Postgres behind an Airflow connection.

    :param conn_id: Airflow connection of type Postgres
    :param connection: that connection already resolved, where looking it up would block (in a trigger)
    """

    def __init__(self, conn_id: str = DEFAULT_WAREHOUSE, *, connection: Any = None) -> None:
        self.conn_id = conn_id
        # log_sql=False: the hook would otherwise log every parameter, addresses included.
        self._hook = PostgresHook(postgres_conn_id=conn_id, log_sql=False, connection=connection)
        self._sessions = 0
        self._free: psycopg.Connection[Any] | None = None

    @contextmanager
    def session(self) -> Iterator[None]:
        """Meanwhile, keep a connection that :meth:`connect` is done with for the next :meth:`connect`: of a task, not of a trigger."""
        self._sessions += 1
        try:
            yield
        finally:
            self._sessions -= 1
            if not self._sessions and self._free:
                self._free.close()
                self._free = None

    @contextmanager
    def connect(self) -> Iterator[psycopg.Connection[Any]]:
        """Begin a transaction in a connection of its own; commit at the end of the block, roll back on an error."""
        connection = self._begin()
        try:
            yield connection
            connection.commit()
        except psycopg.errors.LockNotAvailable as error:
            connection.rollback()
            raise UnavailableError(
                f"A row or table of the warehouse was held by another session for too long{_blocking(connection)}; "
                "nothing of this step was written"
            ) from error
        except psycopg.Error as error:
            if error.diag.message_detail is None:
                raise
            # The detail quotes the row, which may hold a ship-to address, and Airflow logs what is raised.
            raise type(error)(str(error.diag.message_primary)) from None
        finally:
            self._end(connection)

    def _begin(self) -> psycopg.Connection[Any]:
        if connection := self._free:
            self._free = None
            try:
                begin(connection)
                return connection
            except psycopg.OperationalError:  # it was cut while nothing was done in it
                connection.close()
        connection = cast("psycopg.Connection[Any]", self._hook.get_conn())
        try:
            _limit_silence(connection)
            begin(connection)
        except psycopg.errors.ProtocolViolation:
            connection.close()
            raise UnavailableError(
                "The pooler in front of the warehouse gave no session in time. Each task may need two at once: make its "
                "pool at least three times as large as the number of tasks that run together. Nothing of this step was written"
            ) from None
        except BaseException:
            connection.close()
            raise
        return connection

    def _end(self, connection: psycopg.Connection[Any]) -> None:
        """Roll back what was not committed, and keep the connection or close it."""
        with suppress(psycopg.Error):
            connection.rollback()
        if self._sessions and not self._free and not connection.closed:
            self._free = connection
        else:
            connection.close()

    def lineage_name(self) -> tuple[str, str]:
        """What Airflow's postgres provider calls this server and its database in OpenLineage; needs the extra ``lineage``."""
        from airflow.providers.openlineage.sqlparser import SQLParser  # noqa: PLC0415 - of the extra lineage

        connection = self._hook.get_connection(self.conn_id)
        server = SQLParser.create_namespace(self._hook.get_openlineage_database_info(connection))
        return server, str(connection.schema)

    def migrate(self) -> list[int]:
        """Bring the schema up to date: the numbered migrations, then the views. Concurrent calls do each once.

        Views of a smaller number are never applied over those of a larger one, so an older install leaves them.

        :return: the versions applied by this call
        :raises ConfigurationError: a version was applied under another name or with other content, or views.sql has no number
        """
        migrations = read_folder(statements.SQL_FOLDER / "migrations")
        views = (statements.SQL_FOLDER / "views.sql").read_bytes()
        number, digest = _number_of(views), hashlib.sha256(views).hexdigest()
        with self.connect() as db:
            if are_applied(db, SCHEMA, migrations) and _has_views(db, number, digest):
                return []  # without the lock, which a session may hold that somebody has left open
        with self.connect() as db:
            applied = apply_migrations(db, SCHEMA, migrations)
            db.execute(
                "CREATE TABLE IF NOT EXISTS fba.schema_views"
                " (only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one), number integer NOT NULL, digest text NOT NULL)"
            )
            if not _has_views(db, number, digest):
                db.execute(views)
                db.execute(
                    "INSERT INTO fba.schema_views (number, digest) VALUES (%s, %s)"
                    " ON CONFLICT (only_one) DO UPDATE SET number = excluded.number, digest = excluded.digest",
                    (number, digest),
                )
        return applied

    def migrate_own(self, schema: str, folder: Path) -> list[int]:
        """Bring a schema of somebody's own tables up to date, with numbers of its own; call it after :meth:`migrate`.

        :param schema: its name, in lower case; its ledger is ``schema_version`` in it
        :param folder: its migrations, files named like ``0001_a_table.sql``
        :return: the versions applied by this call
        :raises ConfigurationError: the schema is not somebody's own, or as :func:`apply_migrations`
        """
        if schema in (SCHEMA, "public", "information_schema") or not re.fullmatch(
            r"(?!pg_)[a-z_][a-z0-9_]{0,62}", schema
        ):
            raise ConfigurationError(
                f"Tables of your own cannot be kept in a schema {schema!r}: choose a name of lower-case letters, digits and _ "
                f"that is neither {SCHEMA} nor one of PostgreSQL's"
            )
        migrations = read_folder(folder)
        with self.connect() as db:
            if are_applied(db, schema, migrations):
                return []
        with self.connect() as db:
            return apply_migrations(db, schema, migrations)


def _limit_silence(connection: psycopg.Connection[Any]) -> None:
    with socket.socket(fileno=os.dup(connection.fileno())) as tcp:
        if tcp.family in (socket.AF_INET, socket.AF_INET6):
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in TCP_LIMITS.items():
                if option := getattr(socket, name, None):
                    tcp.setsockopt(socket.IPPROTO_TCP, option, value)


def _number_of(views: bytes) -> int:
    """The number in the first line of views.sql."""
    first = re.match(rb"-- views ([0-9]+)\n", views)
    if first is None:
        raise ConfigurationError(
            "include/sql/views.sql must begin with a line like '-- views 1': its number tells which of two installs is the newer"
        )
    return int(first[1])


def _has_views(db: psycopg.Connection[Any], number: int, digest: str) -> bool:
    """Whether the views are these or newer ones."""
    (exists,) = db.execute("SELECT to_regclass('fba.schema_views') IS NOT NULL").fetchone() or (False,)
    kept = db.execute("SELECT number, digest FROM fba.schema_views").fetchone() if exists else None
    return kept is not None and (kept[0] > number or kept == (number, digest))


def _blocking(connection: psycopg.Connection[Any]) -> str:
    """Who probably holds what we waited for, for an error."""
    row = statements.execute(connection, "warehouse.who_blocks").fetchone()
    if row is None:
        return ""
    return (
        f", probably by process {row['pid']} ({row['application']}, user {row['usename']}), idle in a transaction for "
        f"{row['seconds']} s: end it with SELECT pg_terminate_backend({row['pid']})"
    )
