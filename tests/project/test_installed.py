"""The wheel: what is installed where there is no clone, as in managed Airflow."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
CHECK = """
import sys, fba_operators
from fba_operators.fulfillment.feed_xml import _SCHEMA
from fba_operators.provider import get_provider_info
from fba_operators.settings.stores_file import load_stores
from fba_operators.warehouse.database import Warehouse
from fba_operators.warehouse.statements import statement
assert fba_operators.__file__.startswith(sys.argv[1]), fba_operators.__file__
assert _SCHEMA is not None and statement("reports.by_id") and get_provider_info()
print(*load_stores().stores, len(Warehouse().migrate()))
"""


def test_the_wheel_works_without_a_clone(postgres, tmp_path):
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    subprocess.run([*build, tmp_path, PROJECT], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "installed")
    assert "fba_operators/include/sql/migrations/0001_ledger.sql" in names
    (points,) = [name for name in names if name.endswith("entry_points.txt")]
    assert "fba_desk = fba_operators.desk.plugin:FbaDesk" in (tmp_path / "installed" / points).read_text()
    assert {"fba_operators/desk/templates/layout.html", "fba_operators/desk/static/desk.css"} <= set(names)
    assert not [name for name in names if name.startswith(("tests", "sandbox", "devstack"))]
    (tmp_path / "my_stores.yaml").write_text("stores: {my_store: }")
    from devstack.airflow import warehouse_connection

    environment = {
        **os.environ,
        "PYTHONPATH": str(tmp_path / "installed"),
        "FBA_STORES_FILE": str(tmp_path / "my_stores.yaml"),
        "AIRFLOW_CONN_FBA_WAREHOUSE": warehouse_connection(postgres.create_database("warehouse_of_a_wheel")),
    }
    done = subprocess.run(
        [sys.executable, "-c", CHECK, str(tmp_path / "installed")],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    store, versions = done.stdout.split()[-2:]
    assert (store, int(versions)) == ("my_store", len(list((PROJECT / "include/sql/migrations").glob("*.sql"))))


@pytest.mark.parametrize("name", ["requirements", "requirements-dev", "requirements-celery", "requirements-bench"])
def test_every_package_is_pinned_with_hashes(name):
    """pip and uv check them; a package without one would make them refuse the file."""
    entries = re.split(r"^(?=[a-zA-Z0-9])", (PROJECT / f"{name}.txt").read_text(), flags=re.MULTILINE)[1:]
    assert len(entries) > 50
    assert [entry.split()[0] for entry in entries if "==" not in entry or "--hash=sha256:" not in entry] == []
