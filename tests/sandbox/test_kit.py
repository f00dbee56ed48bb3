"""The sandbox as others use it: the command, the fixtures, the tests of docs/sandbox.md, unchanged clients."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from sandbox.pytest_plugin import AmazonClock
from sandbox.redirect import redirected
from sandbox.server.server import Sandbox
from tests.project.test_docs import PROJECT, blocks
from tests.sandbox.client import AFN_TYPE, Client

COMMAND = Path(sys.executable).parent / "amazon-sandbox"


def pytest_in(folder, *arguments):
    command = [sys.executable, "-m", "pytest", "-q", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_tests_of_the_page_pass(tmp_path):
    page = PROJECT / "docs" / "sandbox.md"
    for number, block in enumerate(blocks(page, "python")):
        (tmp_path / f"test_{number}.py").write_text(block)
    done = pytest_in(tmp_path)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_every_fixture_is_in_the_table(tmp_path):
    listed = set(re.findall(r"^(amazon_\w+)", pytest_in(tmp_path, "--fixtures").stdout, re.MULTILINE))
    documented = re.findall(r"^\| `(amazon_\w+)` \|", (PROJECT / "docs" / "sandbox.md").read_text(), re.MULTILINE)
    assert listed == set(documented)


def test_each_test_has_a_sandbox_in_its_first_state_and_settings_can_be_overridden(tmp_path):
    (tmp_path / "conftest.py").write_text(
        "import pytest\n\n\n@pytest.fixture(scope='session')\ndef amazon_settings():\n    return {'listings': 77}\n"
    )
    (tmp_path / "test_state.py").write_text(
        "import pytest\n\n\n@pytest.mark.parametrize('n', [1, 2])\n"
        "def test_state(amazon_server, amazon_faults, n):\n"
        "    assert amazon_server.world.faults_listed() == []\n"
        "    assert not amazon_server.world.lenient\n"
        "    amazon_faults('createReport', '500')\n"
    )
    done = pytest_in(tmp_path)
    assert "2 passed" in done.stdout, done.stdout


def test_a_project_that_uses_no_fixture_loads_nothing_of_it(tmp_path):
    (tmp_path / "test_none.py").write_text(
        "import sys\n\n\ndef test_none():\n    assert not {'fastapi', 'uvicorn', 'sandbox.world'} & set(sys.modules)\n"
    )
    done = pytest_in(tmp_path)
    assert "1 passed" in done.stdout, done.stdout


def test_the_command_prints_where_it_is_and_who_may_call_it_and_stops_at_ctrl_c():
    running = subprocess.Popen([COMMAND, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said = [running.stdout.readline().strip() for _ in range(8)]
    url = said[0].removeprefix("Sandbox Amazon listens on ")
    values = dict(re.split(r" {2,}", line, maxsplit=1) for line in said[1:])
    assert values["control API"] == f"{url}/control"
    form = {"grant_type": "refresh_token", "refresh_token": values["refresh token"]}
    form |= {"client_id": values["client id"], "client_secret": values["client secret"]}
    assert requests.post(values["token URL"], data=form, timeout=10).json()["access_token"]
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=20)
    assert (running.returncode, errors) == (0, "")


def test_a_port_that_is_taken_is_said(running):
    port = running.url.rpartition(":")[2]
    done = subprocess.run([COMMAND, "--port", port], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"cannot start on 127.0.0.1:{port}" in done.stderr


def test_a_lenient_sandbox_lets_pass_what_amazon_lets_pass():
    with Sandbox(listings=10, lenient=True) as sandbox:
        client = Client(sandbox).login()
        assert client.call("GET", "/sellers/v1/marketplaceParticipations?odd=1", headers={"user-agent": "x"}).ok
        client.session.close()


def test_without_leniency_it_does_not(client):
    for path, headers in (("?odd=1", {}), ("", {"user-agent": "x"})):
        assert client.call("GET", f"/sellers/v1/marketplaceParticipations{path}", headers=headers).status_code == 400


def test_a_report_type_of_ones_own_is_there_as_long_as_a_document_is(client, amazon):
    own = "GET_FBA_MYI_UNSUPPRESSED_INVENTORY_DATA"
    assert client.create(own).status_code == 400
    amazon.world.override_document(own, b"sku\tquantity\nA\t1\n")
    assert client.text(client.finished(own)) == "sku\tquantity\nA\t1\n"
    assert client.finished(own)["processingStatus"] == "CANCELLED"
    with pytest.raises(ValueError, match="is not the name of a report type"):
        amazon.world.override_document("a name", b"")


def test_the_clock_advances_is_set_and_expires(client, amazon):
    clock = AmazonClock(amazon)
    report = client.create(AFN_TYPE).json()["reportId"]
    clock.advance(3600)
    assert client.report(report)["processingStatus"] == "DONE"
    clock.set(speed=2.0, ahead=5.0)
    assert (amazon.world.clock.speed, amazon.world.clock.ahead) == (2.0, 5.0)
    clock.expire("tokens")
    assert client.create(AFN_TYPE).status_code == 403


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api.amazon.com/auth/o2/token", "http://127.0.0.1:1/auth/o2/token"),
        ("https://sellingpartnerapi-eu.amazon.com/a?b=c", "http://127.0.0.1:1/a?b=c"),
        ("https://example.com/sellingpartnerapi.amazon.com", "https://example.com/sellingpartnerapi.amazon.com"),
        ("https://sellingpartnerapi.example.com/", "https://sellingpartnerapi.example.com/"),
        ("https://www.amazon.com/", "https://www.amazon.com/"),
    ],
)
def test_only_amazons_two_addresses_are_redirected(url, expected):
    assert redirected(url, "http://127.0.0.1:1") == expected
