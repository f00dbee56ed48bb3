"""The wheel as a stranger installs it: into an empty environment, beside other providers. `make test-wheel` runs this."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]
UV = Path(sys.executable).parent / "uv"
PYTHONS = ("3.11", "3.12", "3.13")
EXTRAS = ("celery", "lineage", "sandbox")
NEIGHBOURS = (
    *(f"apache-airflow-providers-{name}" for name in ("amazon", "google", "snowflake", "openlineage", "dbt-cloud")),
    "astronomer-cosmos",
    "dbt-core<1.12",  # newer ones download a part of themselves from GitHub while they are built
    "dbt-postgres",
)
IMPORTED_BESIDE = """
import airflow.providers.amazon.aws.hooks.s3, airflow.providers.google.cloud.hooks.gcs, cosmos, dbt.version
import airflow.providers.snowflake.hooks.snowflake, airflow.providers.openlineage.plugins.listener
import airflow.providers.dbt.cloud.operators.dbt
"""
EVERY_MODULE = """
import importlib, pkgutil, fba_operators
for module in pkgutil.walk_packages(fba_operators.__path__, "fba_operators."):
    importlib.import_module(module.name)
"""

pytestmark = [
    pytest.mark.skipif(not os.environ.get("FBA_WHEEL"), reason="installs Airflow several times: make test-wheel"),
    pytest.mark.timeout(1800),
]


def run(*command: object, **more: str) -> str:
    """Run a command without this project's environment; its output, or an error with all of it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "FBA_", "PYTHONPATH"))}
    done = subprocess.run([*map(str, command)], env={**kept, **more}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, PROJECT)
    (made,) = folder.glob("*.whl")
    return made


def environment(folder: Path, *requirements: str) -> Path:
    """Install these into a new virtual environment; its bin."""
    run(UV, "venv", "--quiet", "--python", sys.executable, folder)
    run(UV, "pip", "install", "--quiet", "--python", folder / "bin" / "python", *requirements)
    run(UV, "pip", "check", "--quiet", "--python", folder / "bin" / "python")
    return folder / "bin"


def with_extras(wheel: Path) -> str:
    return f"airflow-amazon-fba[{','.join(EXTRAS)}] @ {wheel.as_uri()}"


def test_an_empty_environment_gets_the_dags_and_the_connection_type(wheel, tmp_path):
    scripts = environment(tmp_path / "venv", with_extras(wheel))
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "fba.py").write_text("from fba_operators.dags import *  # Airflow\n")
    (tmp_path / "stores.yaml").write_text("stores: {my_store: }")
    settings = {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "dags"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
        "FBA_STORES_FILE": str(tmp_path / "stores.yaml"),
    }
    airflow = scripts / "airflow"
    run(scripts / "python", "-c", EVERY_MODULE, **settings)
    run(airflow, "db", "migrate", **settings)
    run(airflow, "dags", "reserialize", **settings)

    def listed(*command: str) -> Any:
        """The JSON of a command, which follows Airflow's warnings."""
        return json.loads(run(airflow, *command, "--output", "json", **settings).splitlines()[-1])

    assert listed("dags", "list-import-errors") == []
    dags = listed("dags", "list")
    assert {dag["dag_id"]: Path(dag["fileloc"]).name for dag in dags} == {
        file.stem: "fba.py" for file in (PROJECT / "dags").glob("fba_*.py")
    }
    provider = run(airflow, "providers", "get", "airflow-amazon-fba", "--full", "--output", "json", **settings)
    assert all(word in provider for word in ("amazon_sp_api", "integrations", "fba_operators.operators", "triggers"))
    run(scripts / "python", "-m", "fba_operators.dags", tmp_path / "copied", **settings)
    for file in (PROJECT / "dags").glob("*.py"):
        assert (tmp_path / "copied" / file.name).read_bytes() == file.read_bytes()


def test_the_lowest_versions_that_are_allowed_install_together(wheel, tmp_path):
    """And nothing that is newer is imported. Whether each test passes with them is not tried here."""
    run(UV, "venv", "--quiet", "--python", sys.executable, tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    run(UV, "pip", "install", "--quiet", "--python", python, "--resolution", "lowest-direct", with_extras(wheel))
    run(python, "-c", EVERY_MODULE, AIRFLOW_HOME=str(tmp_path))


def test_the_sandbox_needs_no_airflow(wheel, tmp_path):
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    run(UV, "venv", "--quiet", "--python", sys.executable, tmp_path / "venv")
    install = (UV, "pip", "install", "--quiet", "--python", tmp_path / "venv" / "bin" / "python")
    run(*install, "--no-deps", wheel)
    run(*install, "pytest", *project["optional-dependencies"]["sandbox"])
    scripts = tmp_path / "venv" / "bin"
    assert "usage: amazon-sandbox" in run(scripts / "amazon-sandbox", "--help")
    (tmp_path / "test_it.py").write_text(
        "import urllib.request\n\n\ndef test_it(amazon_server, amazon_truth):\n"
        "    assert urllib.request.urlopen(f'{amazon_server.url}/control').status == 200\n    assert amazon_truth()\n"
    )
    assert "1 passed" in run(scripts / "python", "-m", "pytest", "-q", tmp_path)


@pytest.mark.parametrize("python", PYTHONS)
def test_it_can_be_resolved_beside_other_providers(wheel, tmp_path, python):
    (tmp_path / "all.in").write_text("\n".join((with_extras(wheel), *NEIGHBOURS)))
    resolved = run(UV, "pip", "compile", "--quiet", "--python-version", python, "--no-annotate", tmp_path / "all.in")
    assert "airflow-amazon-fba @" in resolved
    assert f"apache-airflow=={version('apache-airflow')}" in resolved.splitlines()


def test_it_works_beside_other_providers(wheel, tmp_path):
    scripts = environment(tmp_path / "venv", with_extras(wheel), *NEIGHBOURS)
    run(scripts / "python", "-c", EVERY_MODULE + IMPORTED_BESIDE, AIRFLOW_HOME=str(tmp_path))
