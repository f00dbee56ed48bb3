"""HTTP: the user agent, which faults are retried, and what each refusal becomes."""

from __future__ import annotations

import pytest

from fba_operators import __version__
from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.amazon.transport import user_agent
from fba_operators.errors import (
    CredentialsError,
    LostAnswerError,
    RequestRefusedError,
    UnavailableError,
)
from tests.helpers import calls_of
from tests.stores import AFN


def test_user_agent_has_amazons_form_and_length():
    assert user_agent().startswith(f"airflow-amazon-fba/{__version__} (Language=Python/3.")
    assert user_agent().endswith(")")
    assert len(user_agent()) <= 500


def test_user_agent_escapes_what_amazon_reserves(monkeypatch):
    monkeypatch.setattr("platform.release", lambda: r"6.1(a;b)=/\ " + "x" * 900)
    assert r"6.1\(a\;b\)\=\/\\" in user_agent()
    assert len(user_agent()) <= 500


def test_a_role_that_is_missing_is_explained(amazon, warehouse):
    denied = {"errors": [{"code": "Unauthorized", "message": "Access to requested resource is denied.", "details": ""}]}
    amazon.world.add_fault(operation="createReport", fault="status", status=403, body=denied)
    with pytest.raises(CredentialsError, match="role") as caught:
        SellingPartnerHook().create_report(AFN)
    assert caught.value.request_id
    assert calls_of(amazon, "token") == 1


def test_a_temporary_fault_is_retried_until_it_ends(amazon, warehouse):
    hook = SellingPartnerHook()
    report_id = hook.create_report(AFN)
    for fault in ("503", "reset_before", "429"):
        amazon.world.add_fault(operation="getReport", fault=fault)
    assert hook.get_report(report_id).report_id == report_id
    assert hook.calls["getReport"] == 4


@pytest.mark.parametrize("fault", ["500", "503", "reset_before", "reset_after", "error_after"])
def test_create_report_is_never_retried_within_the_call(amazon, warehouse, fault):
    amazon.world.add_fault(operation="createReport", fault=fault)
    with pytest.raises(LostAnswerError):
        SellingPartnerHook().create_report(AFN)
    assert calls_of(amazon, "createReport") == 1


def test_a_refused_request_is_not_retried(amazon, warehouse):
    with pytest.raises(RequestRefusedError, match="HTTP 400") as caught:
        SellingPartnerHook().create_report("GET_NO_SUCH_REPORT")
    assert caught.value.code == "InvalidInput"
    assert calls_of(amazon, "createReport") == 1


def test_an_unreachable_download_is_an_error_without_its_url(amazon, warehouse):
    with pytest.raises(UnavailableError) as caught:
        SellingPartnerHook().client.transport.open_download(
            "http://127.0.0.1:9/document?X-Amz-Signature=secret", "report document"
        )
    assert "secret" not in str(caught.value)
    assert "secret" not in str(caught.value.__cause__)
