"""The wheel: what is installed where there is no clone, as in managed Airflow."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import import_module
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.project.test_compose import pins

PROJECT = Path(__file__).resolve().parents[2]
DAGS = sorted((PROJECT / "dags").glob("fba_*.py"))
CHECK = """
import sys, fba_operators
from fba_operators.fulfillment.feed_xml import _SCHEMA
from fba_operators.provider import get_provider_info
from fba_operators.settings.stores_file import load_stores
from fba_operators.warehouse.database import Warehouse
from fba_operators.warehouse.statements import statement
from fba_operators.dags import FOLDER, fba_get_inventory
assert FOLDER == fba_operators.INCLUDE / "dags" and fba_get_inventory.dag_id == "fba_get_inventory"
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
    assert not [name for name in names if name.startswith(("tests", "devstack", "dags")) or name.endswith(".pyc")]
    assert {f"fba_operators/include/dags/{file.name}" for file in DAGS} <= set(names)
    assert {"sandbox/pytest_plugin.py", "fba_operators/include/stores.yaml"} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
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


def test_one_line_switches_the_dags_on(airflow_database, tmp_path):
    from airflow.dag_processing.dagbag import DagBag

    (tmp_path / "all.py").write_text("from fba_operators.dags import *  # Airflow\n")
    bag = DagBag(str(tmp_path))
    assert bag.import_errors == {}
    assert {dag.dag_id: dag.fileloc for dag in bag.dags.values()} == {
        file.stem: str(tmp_path / "all.py") for file in DAGS
    }
    (tmp_path / "all.py").write_text("from fba_operators.dags import fba_track_orders  # Airflow\n")
    assert list(DagBag(str(tmp_path)).dags) == ["fba_track_orders"]


def test_one_command_copies_the_dags_and_replaces_none_that_was_changed(tmp_path):
    def copy():
        command = [sys.executable, "-m", "fba_operators.dags", tmp_path / "dags"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    for _ in range(2):
        assert copy().stdout.split() == [str(tmp_path / "dags" / file.name) for file in DAGS]
    for file in DAGS:
        assert (tmp_path / "dags" / file.name).read_bytes() == file.read_bytes()
    (tmp_path / "dags" / DAGS[0].name).unlink()
    (tmp_path / "dags" / DAGS[1].name).write_text("mine")
    refused = copy()
    assert refused.returncode == 1
    assert f"differ from those of the package: {tmp_path / 'dags' / DAGS[1].name}. " in refused.stderr
    assert not (tmp_path / "dags" / DAGS[0].name).exists()
    usage = subprocess.run([sys.executable, "-m", "fba_operators.dags"], capture_output=True, text=True, check=False)
    assert (usage.returncode, usage.stderr[:6]) == (2, "usage:")


def test_airflow_accepts_what_the_provider_says_of_itself():
    import airflow
    from jsonschema import validate

    from fba_operators.provider import get_provider_info

    info = get_provider_info()
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    validate(info, schema)
    integrations = {each["integration-name"] for each in info["integrations"]}
    for kind in ("operators", "hooks", "triggers"):
        assert {each["integration-name"] for each in info[kind]} == integrations
        for each in info[kind]:
            assert all(import_module(name) for name in each["python-modules"])


def imported(folder):
    """The distributions whose modules the files of a folder import."""
    known = packages_distributions()
    names = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {each.name for each in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module)
    providers = {
        f"apache-airflow-providers-{name.split('.')[2]}" for name in names if name.startswith("airflow.providers.")
    }
    tops = (
        {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - {"airflow", "fba_operators", "sandbox"}
    )
    return providers | {known[top][0] for top in tops}


def declared(requirements):
    return {canonicalize_name(Requirement(each).name) for each in requirements}


def test_every_package_that_is_imported_is_declared():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    through_airflow = {"pydantic", "pyyaml", "tenacity", "cryptography", "apache-airflow-providers-standard"}
    through_airflow |= {"pydantic-core", "apprise", "numpy"}
    through_airflow |= {
        "fastapi",
        "starlette",
        "jinja2",
        "markupsafe",
        "sqlalchemy",
        "itsdangerous",
        "attrs",
    }  # of its API server, for the desk
    through_airflow |= {"openlineage-python"}  # of the extra's provider
    own = declared(project["dependencies"]) | declared(project["optional-dependencies"]["lineage"])
    missing = {canonicalize_name(name) for name in imported(PROJECT / "plugins")} - own - through_airflow
    assert missing == set()
    sandbox = declared(project["optional-dependencies"]["sandbox"])
    found = {canonicalize_name(name) for name in imported(PROJECT / "sandbox")}
    if_installed = {
        "pytest",
        "requests",
        "httpx",
    }  # only for a test that has them: sandbox.pytest_plugin, sandbox.redirect
    assert found - sandbox == {"starlette", *if_installed}  # starlette is FastAPI's
    assert own <= {canonicalize_name(name) for name in imported(PROJECT / "plugins")} | {"apache-airflow"}
    assert declared(project["optional-dependencies"]["celery"]) <= set(pins("requirements-celery.txt"))


@pytest.mark.parametrize("name", ["requirements", "requirements-dev", "requirements-celery", "requirements-bench"])
def test_every_package_is_pinned_with_hashes(name):
    """pip and uv check them; a package without one would make them refuse the file."""
    entries = re.split(r"^(?=[a-zA-Z0-9])", (PROJECT / f"{name}.txt").read_text(), flags=re.MULTILINE)[1:]
    assert len(entries) > 50
    assert [entry.split()[0] for entry in entries if "==" not in entry or "--hash=sha256:" not in entry] == []
