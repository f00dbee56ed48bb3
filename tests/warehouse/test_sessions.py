"""Connections to the warehouse: one for a task, and none that outlives it."""

from __future__ import annotations

import time

import psycopg
import pytest

from fba_operators.errors import UnavailableError

OURS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


def pid(db):
    return db.execute("SELECT pg_backend_pid()").fetchone()[0]


def ours(sql, expected):
    """Our other connections; PostgreSQL ends a process a moment after its connection is closed."""
    end = time.monotonic() + 10
    while (found := sql(OURS).fetchone()[0]) != expected and time.monotonic() < end:
        time.sleep(0.05)
    return found


def fail(warehouse, first, *then):
    """Run statements in a transaction and return the connection's process; the last one fails."""
    with warehouse.connect() as db:
        first.append(pid(db))
        for statement in then:
            statement(db)


def test_a_session_uses_one_connection_after_the_other_only_where_both_are_needed(warehouse, sql):
    with warehouse.session():
        with warehouse.connect() as db:
            first = pid(db)
            with warehouse.connect() as other:
                second = pid(other)
            with warehouse.connect() as other:
                assert pid(other) == second != first
        with warehouse.connect() as db:
            assert pid(db) in (first, second)
        assert ours(sql, 1) == 1
    assert ours(sql, 0) == 0


def test_without_a_session_every_connection_is_closed(warehouse, sql):
    with warehouse.connect() as db:
        first = pid(db)
    with warehouse.connect() as db:
        assert pid(db) != first


def test_what_failed_is_rolled_back_and_the_connection_used_again(warehouse, sql):
    with warehouse.session():
        first = []
        insert = "INSERT INTO fba.rate_limit VALUES ('bucket', 1, 1, 15, now())"
        with pytest.raises(ZeroDivisionError):
            fail(warehouse, first, lambda db: db.execute(insert), lambda db: 1 / 0)
        with warehouse.connect() as db:
            assert pid(db) == first[0]
            assert db.execute("SELECT count(*) FROM fba.rate_limit").fetchone() == (0,)
            assert db.execute("SELECT current_setting('lock_timeout'), fba.is_product()").fetchone() == ("30s", True)


def test_a_connection_that_was_cut_meanwhile_is_replaced(warehouse, sql):
    with warehouse.session():
        with warehouse.connect() as db:
            first = pid(db)
        sql("SELECT pg_terminate_backend(%s)", first)
        with warehouse.connect() as db:
            assert pid(db) != first


def test_a_connection_that_is_cut_in_a_transaction_fails_it(warehouse, sql):
    with warehouse.session():
        with pytest.raises(psycopg.OperationalError):
            fail(
                warehouse,
                [],
                lambda db: sql("SELECT pg_terminate_backend(%s)", pid(db)),
                lambda db: db.execute("SELECT 1"),
            )
        with warehouse.connect() as db:
            assert db.execute("SELECT 1").fetchone() == (1,)


def test_a_lock_that_is_held_is_an_error_of_ours_and_leaves_the_connection_usable(warehouse, warehouse_url):
    with psycopg.connect(warehouse_url) as somebody, warehouse.session():
        somebody.execute("LOCK fba.rate_limit")
        with pytest.raises(UnavailableError):
            fail(
                warehouse,
                [],
                lambda db: db.execute("SET LOCAL lock_timeout = '50ms'"),
                lambda db: db.execute("SELECT count(*) FROM fba.rate_limit"),
            )
        with warehouse.connect() as db:
            assert db.execute("SELECT 1").fetchone() == (1,)
