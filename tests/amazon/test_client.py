"""The client: pages, batches, times, and texts without tokens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fba_operators.amazon.client import amazon_time, without_tokens
from fba_operators.amazon.hook import SellingPartnerHook
from tests.stores import LISTINGS, SELLER, US


def test_get_reports_reads_every_page(amazon, warehouse):
    hook = SellingPartnerHook()
    ids = {hook.create_report(LISTINGS) for _ in range(3)}
    since = datetime.now(UTC) - timedelta(hours=1)
    found = list(hook.get_reports(LISTINGS, created_since=since))
    assert {report.report_id for report in found} == ids


def test_inventory_summaries_are_requested_in_a_form_amazon_accepts(amazon, warehouse):
    truth = amazon.world.truth(SELLER, US, False, True)
    known = {sku: stock["fba"] for sku, stock in truth.items() if stock["source"] == "fba_api"}
    plain = {sku: quantity for sku, quantity in known.items() if "," not in sku}
    assert plain
    assert SellingPartnerHook().get_inventory_summaries([*plain, "no-such-sku"][:50]) == plain
    with pytest.raises(ValueError, match="comma"):
        SellingPartnerHook().get_inventory_summaries(["a,b", "c"])


def test_times_are_written_in_utc():
    moment = datetime(2026, 11, 23, 1, 2, 3, 456000, tzinfo=UTC).astimezone()
    assert amazon_time(moment) == "2026-11-23T01:02:03.456Z"


def test_tokens_are_removed_from_texts():
    assert without_tokens("bad Atza|IwEB and Atz.sprdt|x.") == "bad (token removed) and (token removed)"
