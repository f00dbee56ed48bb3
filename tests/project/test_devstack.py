"""What the development stack starts, it stops."""

from __future__ import annotations

import socket

import psycopg
import pytest

from devstack.postgres import free_port, running_postgres


def test_a_server_of_ours_is_gone_after_its_block():
    with running_postgres() as server, psycopg.connect(server.url("postgres")) as db:
        assert db.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.url("postgres"), connect_timeout=2)


def test_a_port_that_was_taken_in_the_meantime_is_given_up(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = iter([taken.getsockname()[1], free_port()])
        monkeypatch.setattr("devstack.postgres.free_port", lambda: next(ports))
        with running_postgres() as server, psycopg.connect(server.url("postgres")) as db:
            assert db.execute("SELECT 1").fetchone() == (1,)


def test_nothing_of_it_is_left_when_the_block_fails():
    left = []

    def use_and_fail():
        with running_postgres() as server:
            left.append(server)
            raise KeyError("the work failed")

    with pytest.raises(KeyError):
        use_and_fail()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(left[0].url("postgres"), connect_timeout=2)
