"""What the development stack starts, it stops."""

from __future__ import annotations

import psycopg
import pytest

from devstack.postgres import running_postgres


def test_a_server_of_ours_is_gone_after_its_block():
    with running_postgres() as server, psycopg.connect(server.url("postgres")) as db:
        assert db.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.url("postgres"), connect_timeout=2)


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
