"""An empty warehouse for each test: the last test's is emptied, which takes a tenth of the time of a new database.

A test may do anything to its warehouse. Where its catalog, its schema's records or its size are not as they were, a new one is made.
"""

from __future__ import annotations

import psycopg
from psycopg.sql import SQL, Identifier, Literal

from devstack.postgres import Server

NAME = "warehouse"
MOST_BYTES = 40_000_000

# Number and newest version of the rows that describe what tests may change; sessions' temporary tables leave traces only in pg_%.
CATALOG = """
SELECT concat_ws(' ', {}) FROM pg_database WHERE datname = current_database()
""".format(
    ", ".join(
        f"(SELECT count(*) || '/' || coalesce(max(t.xmin::text::bigint), 0) FROM {table} AS t WHERE {where})"
        for table, where in (
            ("pg_namespace", "nspname NOT LIKE 'pg\\_%'"),
            ("pg_class", "relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%')"),
            (
                "pg_attribute",
                "attrelid IN (SELECT c.oid FROM pg_class AS c WHERE relnamespace IN "
                "(SELECT oid FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%'))",
            ),
            ("pg_proc", "pronamespace IN (SELECT oid FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%')"),
            ("pg_trigger", "true"),
            ("pg_constraint", "true"),
            ("pg_attrdef", "true"),
            ("pg_rewrite", "true"),
            ("pg_policy", "true"),
            ("pg_default_acl", "true"),
            ("pg_event_trigger", "true"),
            ("pg_extension", "true"),
            ("pg_db_role_setting", "setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())"),
        )
    )
)


class FreshWarehouse:
    """The database that one test after another gets."""

    def __init__(self, server: Server, template: str) -> None:
        self._server, self._template = server, template
        self._catalog: str | None = None
        self._rows: dict[str, bytes] = {}  # that migrate() has written, by table

    def url(self) -> str:
        """The address of a warehouse in which nothing has happened yet."""
        if self._catalog is None or not self._emptied():
            self._server.create_database(NAME, template=self._template)
            with psycopg.connect(self._server.url(NAME), autocommit=True) as db:
                (self._catalog,) = db.execute(CATALOG).fetchone()
                self._rows = {table: _copied(db, table) for table in _tables_with_rows(db)}
        return self._server.url(NAME)

    def _emptied(self) -> bool:
        with psycopg.connect(self._server.url("postgres"), autocommit=True) as db:
            db.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [NAME])
        try:
            with psycopg.connect(self._server.url(NAME)) as db:
                catalog, size = db.execute(
                    SQL("SELECT ({}), pg_database_size(current_database())").format(SQL(CATALOG))
                ).fetchone()
                if catalog != self._catalog or size > MOST_BYTES:
                    return False
                db.execute("SET LOCAL session_replication_role = replica")  # also tables that refuse to be emptied
                for table in _tables_with_rows(db):
                    db.execute(SQL("DELETE FROM fba.{}").format(Identifier(table)))
                for table, rows in self._rows.items():
                    with db.cursor().copy(SQL("COPY fba.{} FROM STDIN").format(Identifier(table))) as into:
                        into.write(rows)
                db.execute(
                    "SELECT setval(seqrelid::regclass, seqstart, false) FROM pg_sequence"
                    " WHERE seqrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'fba'::regnamespace)"
                )
        except psycopg.Error:  # renamed, dropped, or closed to everybody
            return False
        return True


def _tables_with_rows(db: psycopg.Connection) -> list[str]:
    names = [name for (name,) in db.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'fba'")]
    each = (
        SQL("SELECT {} WHERE EXISTS (SELECT FROM fba.{})").format(Literal(name), Identifier(name)) for name in names
    )
    return [name for (name,) in db.execute(SQL(" UNION ALL ").join(each))]


def _copied(db: psycopg.Connection, table: str) -> bytes:
    with db.cursor().copy(SQL("COPY fba.{} TO STDOUT").format(Identifier(table))) as out:
        return b"".join(bytes(part) for part in out)
