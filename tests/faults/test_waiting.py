"""What must not end a wait, and what a wait must not write."""

from __future__ import annotations

import logging

import psycopg
import pytest

from fba_operators.hook import SellingPartnerHook
from fba_operators.triggers import ProcessingTrigger
from fba_operators.warehouse import Warehouse
from tests.helpers import wait_inline


def waits(report_id):
    return wait_inline(
        ProcessingTrigger(
            conn_id="amazon_us", warehouse_conn_id="fba_warehouse", kind="report", amazon_id=report_id, patience=60
        )
    )


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
