"""What must not end a wait, and what a wait must not write."""

from __future__ import annotations

import asyncio
import logging
from threading import Barrier

import psycopg
import pytest
from airflow.sdk.execution_time import task_runner
from airflow.sdk.log import _secrets_masker

from fba_operators.hook import SellingPartnerHook
from fba_operators.triggers import ProcessingTrigger
from fba_operators.warehouse import Warehouse
from tests.helpers import wait_inline


def waiting(report_id):
    return ProcessingTrigger(
        conn_id="amazon_us", warehouse_conn_id="fba_warehouse", kind="report", amazon_id=report_id, patience=60
    )


def waits(report_id):
    return wait_inline(waiting(report_id))


def test_a_warehouse_that_is_restarted_does_not_end_a_wait(amazon, warehouse_url, monkeypatch):
    report_id = SellingPartnerHook().create_report("GET_AFN_INVENTORY_DATA")
    refused = [psycopg.OperationalError("restarting"), psycopg.errors.AdminShutdown(), psycopg.errors.CrashShutdown()]
    real = Warehouse.connect

    def connect(warehouse):
        if refused:
            raise refused.pop()
        return real(warehouse)

    monkeypatch.setattr(Warehouse, "connect", connect)
    assert waits(report_id)["state"]["processingStatus"] == "DONE"
    assert not refused


def test_a_wrong_statement_does_end_it(amazon, warehouse_url, monkeypatch):
    def connect(warehouse):
        raise psycopg.errors.UndefinedTable

    monkeypatch.setattr(Warehouse, "connect", connect)
    with pytest.raises(psycopg.ProgrammingError):
        waits("1")


def test_no_address_is_logged_even_at_debug(amazon, warehouse_url, caplog):
    caplog.set_level(logging.DEBUG)
    hook = SellingPartnerHook()
    report_id = hook.create_report("GET_AFN_INVENTORY_DATA")
    document_id = waits(report_id)["state"]["reportDocumentId"]
    assert b"".join(hook.download_report(document_id).chunks)
    assert not any(secret in caplog.text for secret in ("X-Amz", "?", report_id, document_id)), caplog.text


def test_many_questions_are_under_way_at_once(amazon, warehouse_url, monkeypatch):
    all_there = Barrier(25)  # asyncio's own threads would be fewer on any machine of less than 21 cores

    def ask(hook, report_id):
        all_there.wait(30)
        return {"processingStatus": "DONE"}

    async def together():
        return await asyncio.gather(*(anext(waiting(str(n)).run()) for n in range(all_there.parties)))

    monkeypatch.setattr(SellingPartnerHook, "get_report", ask)
    events = asyncio.run(together())
    assert {event.payload["state"]["processingStatus"] for event in events} == {"DONE"}


def test_a_wait_tells_airflow_no_token_and_little_else(amazon, warehouse_url, monkeypatch):
    told = []

    class Supervisor:
        def send(self, message):
            told.append(message)

        async def asend(self, message):
            told.append(message)

    report_id = SellingPartnerHook().create_report("GET_AFN_INVENTORY_DATA")
    amazon.world.expire("tokens")
    with psycopg.connect(warehouse_url) as db:
        db.execute("DELETE FROM fba.lwa_token")
    before = set(amazon.world.tokens)
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Supervisor(), raising=False)
    assert waits(report_id)["calls"]["token"] == 1
    (token,) = set(amazon.world.tokens) - before
    assert len(told) <= 4  # three of them while Airflow looks the connection up, and none for each question
    assert not any(token in repr(message) for message in told)
    masker = _secrets_masker()
    assert masker.redact(token) == token
    SellingPartnerHook().access_token()  # in a worker it is masked
    assert token not in masker.redact(f"a {token} b")
