"""Numbered SQL files that are applied once each: the package's own, and those of somebody's tables beside them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from fba_operators.errors import ConfigurationError


@dataclass(frozen=True)
class Migration:
    """One file, named like ``0001_a_table.sql``.

    :param version: its number
    :param name: its name without the suffix
    :param content: SQL, its line ends those of Unix
    """

    version: int
    name: str
    content: bytes

    @property
    def digest(self) -> str:
        """What tells whether it is the file that was applied."""
        return hashlib.sha256(self.content).hexdigest()


def read_folder(folder: Path) -> list[Migration]:
    """Read the migrations of a folder, by number.

    :raises ConfigurationError: there are none, a file is misnamed, or a number is there twice
    """
    migrations: dict[int, Migration] = {}
    for file in sorted(folder.glob("*.sql")):
        named = re.fullmatch(r"([0-9]{4})_\w+", file.stem)
        if named is None:
            raise ConfigurationError(f"{file}: a migration is named like 0001_a_table.sql")
        version = int(named[1])
        if version in migrations:
            raise ConfigurationError(f"{file}: {migrations[version].name}.sql beside it has the same number")
        # A checkout on Windows writes other line ends: it is the same file all the same.
        migrations[version] = Migration(version, file.stem, file.read_bytes().replace(b"\r\n", b"\n"))
    if not migrations:
        raise ConfigurationError(f"{folder} has no migrations: files named like 0001_a_table.sql")
    return list(migrations.values())


def are_applied(db: psycopg.Connection[Any], schema: str, migrations: list[Migration]) -> bool:
    """Whether all of them are in the schema's ledger as they are here."""
    (exists,) = db.execute("SELECT to_regclass(%s) IS NOT NULL", (f"{schema}.schema_version",)).fetchone() or (False,)
    return exists and {(each.name, each.digest) for each in migrations} <= set(_ledger(db, schema).values())


def apply_migrations(db: psycopg.Connection[Any], schema: str, migrations: list[Migration]) -> list[int]:
    """Apply those that the schema's ledger, ``schema_version``, does not have; concurrent calls apply each once.

    Those that were applied before the ledger kept digests get the one that the file has here.

    :param db: a transaction, which the caller commits: all are applied or none
    :param schema: in which the ledger is; it is made if there is none
    :return: the versions applied by this call
    :raises ConfigurationError: a number was applied under another name or with other content, or PostgreSQL refuses a file
    """
    db.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"{schema}.schema_version",))
    db.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
    ledger = sql.Identifier(schema, "schema_version")
    db.execute(
        sql.SQL(
            "CREATE TABLE IF NOT EXISTS {} (version integer PRIMARY KEY, name text NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT now(), digest text)"
        ).format(ledger)
    )
    db.execute(sql.SQL("ALTER TABLE {} ADD COLUMN IF NOT EXISTS digest text").format(ledger))
    known = _ledger(db, schema)
    for each in migrations:
        if each.version in known:
            _compare(schema, each, *known[each.version])
    values = {each.version: (each.version, each.name, each.digest) for each in migrations}
    for version in values.keys() & known.keys():
        db.execute(
            sql.SQL("UPDATE {} SET digest = %s WHERE version = %s AND digest IS NULL").format(ledger),
            (values[version][2], version),
        )
    applied = [each for each in migrations if each.version not in known]
    for each in applied:
        _run(db, each)
        db.execute(
            sql.SQL("INSERT INTO {} (version, name, digest) VALUES (%s, %s, %s)").format(ledger), values[each.version]
        )
    return [each.version for each in applied]


def _ledger(db: psycopg.Connection[Any], schema: str) -> dict[int, tuple[str, str | None]]:
    """Name and digest of what was applied, by number; the column is missing in a warehouse of an earlier version."""
    query = sql.SQL("SELECT version, name, to_jsonb(ledger) ->> 'digest' FROM {} AS ledger")
    rows = db.execute(query.format(sql.Identifier(schema, "schema_version")))
    return {version: (name, digest) for version, name, digest in rows}


def _compare(schema: str, here: Migration, name: str, digest: str | None) -> None:
    if name != here.name:
        raise ConfigurationError(
            f"The warehouse has a migration {here.version} named {name!r}, here it is {here.name!r}: somebody "
            f"added one of their own to the schema {schema}, which then lacks ours. Nothing was done. Tables of your own "
            "belong into a schema with numbers of its own (docs/extend.md, which also says how to get out of this)"
        )
    if digest not in (None, here.digest):
        raise ConfigurationError(
            f"The migration {name} of the schema {schema} was applied with other content than the file has here. "
            "Nothing was done. A file that was applied stays as it is: put it back, and write what is to change into a "
            "file with the next number"
        )


def _run(db: psycopg.Connection[Any], migration: Migration) -> None:
    try:
        db.execute(migration.content)
    except (psycopg.ProgrammingError, psycopg.IntegrityError, psycopg.DataError) as error:
        place = error.diag.statement_position
        where = f", line {migration.content.decode()[: int(place)].count(chr(10)) + 1}" if place else ""
        raise ConfigurationError(
            f"PostgreSQL refuses the migration {migration.name}{where}: {error.diag.message_primary}. Nothing of it was applied"
        ) from None
