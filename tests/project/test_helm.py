"""deploy/helm-values.yaml: what can be checked of it without Helm and a cluster."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from fba_operators import __version__
from fba_operators.settings import load_stores
from tests.project.test_compose import SERVICES, pins

PROJECT = Path(__file__).resolve().parents[2]
TEXT = (PROJECT / "deploy" / "helm-values.yaml").read_text()
VALUES = yaml.safe_load(TEXT)
ENVIRONMENT = {each["name"]: each["value"] for each in VALUES["env"]}


def test_versions_are_those_of_the_image():
    assert VALUES["airflowVersion"] == pins("requirements-celery.txt")["apache-airflow"]
    assert VALUES["images"]["airflow"]["tag"] == __version__


def test_the_stores_file_in_it_is_read_where_it_is_mounted(tmp_path):
    (mount,) = VALUES["volumeMounts"]
    (volume,) = VALUES["volumes"]
    assert mount["name"] == volume["name"]
    config = yaml.safe_load(VALUES["extraConfigMaps"][volume["configMap"]["name"]]["data"])
    assert ENVIRONMENT["FBA_STORES_FILE"] == f"{mount['mountPath']}/{next(iter(config))}"
    (tmp_path / "stores.yaml").write_text(config["stores.yaml"])
    assert list(load_stores(tmp_path / "stores.yaml").stores) == ["amazon_us"]


def test_settings_are_those_of_compose():
    of_compose = {
        name: str(value) for service in SERVICES.values() for name, value in service.get("environment", {}).items()
    }
    for name, value in {**ENVIRONMENT, **{each["name"]: each["value"] for each in VALUES["triggerer"]["env"]}}.items():
        if name.startswith("AIRFLOW__"):
            assert value == re.sub(r"\$\{\w+:-(\w+)\}", r"\1", of_compose[name]), name
    assert VALUES["executor"] == of_compose["AIRFLOW__CORE__EXECUTOR"]
    assert VALUES["apiServer"]["args"] == [word.replace("$$", "$") for word in SERVICES["api-server"]["command"]]


def test_it_has_no_secret_and_the_page_makes_every_secret_it_names():
    assert not re.search(r"://[^@\s/]+:[^@\s/]+@", TEXT)
    page = (PROJECT / "docs" / "deploy.md").read_text()
    named = re.findall(r"(?:SecretName|secretRef:\s+name): (fba-[\w-]+)(?: # ([\w-]+))?", TEXT)
    assert len(named) == 5
    for name, key in named:
        made = re.search(rf"^kubectl create secret generic {name} .*$", page, re.MULTILINE)[0]
        assert f"--from-literal {key or 'ADMIN_PASSWORD'}=" in made
