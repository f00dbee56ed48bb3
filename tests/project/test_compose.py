"""docker-compose.yaml, Dockerfile and `make env`: what can be checked of them without Docker."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import psycopg
import pytest
import yaml
from cryptography.fernet import Fernet

from devstack.postgres import PSQL, running_postgres

PROJECT = Path(__file__).resolve().parents[2]
TEXT = (PROJECT / "docker-compose.yaml").read_text()
SERVICES = yaml.safe_load(TEXT)["services"]
DOCKERFILE = (PROJECT / "Dockerfile").read_text()
# ${NAME:-default} and ${NAME:?is not set …}, but not $${HOSTNAME}, which the container's shell reads.
VARIABLES = re.findall(r"(?<!\$)\$\{(\w+)(:[-?])?", TEXT)
SECRETS = {name for name, _ in VARIABLES if re.search(r"PASSWORD|SECRET|KEY", name)}


def pins(file: str) -> dict[str, str]:
    text = (PROJECT / file).read_text()
    return dict(re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==(\S+)", text, re.MULTILINE))


def test_every_secret_must_be_set_and_none_has_a_default():
    assert {kind for name, kind in VARIABLES if name in SECRETS} == {":?"}
    assert {kind for name, kind in VARIABLES if name not in SECRETS} == {":-"}


def test_the_file_contains_no_secret():
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD$|SECRET|_KEY|AUTH$", key):
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", str(value)), f"{name}: {key}"
            assert not re.search(r"://[^@/:]*:(?!\$\{)[^@/]*@", str(value)), f"{name}: {key} has a password in it"


def test_make_env_writes_what_compose_needs_and_does_not_overwrite_it(tmp_path):
    def env() -> str:
        make = ["make", "--silent", "--file", PROJECT / "Makefile", "env"]
        subprocess.run(make, cwd=tmp_path, check=True, capture_output=True)
        return (tmp_path / ".env").read_text()

    written = env()
    values = dict(line.split("=", 1) for line in written.splitlines())
    assert set(values) == SECRETS
    assert len(set(values.values())) == len(values)
    assert all(len(value) >= 43 for value in values.values())
    # They are used in URLs, JSON and SQL, where other characters would have to be escaped.
    assert all(value.isalnum() for name, value in values.items() if name != "FERNET_KEY")
    assert Fernet(values["FERNET_KEY"])
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    assert env() == written


def test_every_port_listens_on_localhost_only():
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_each_image_is_built_by_one_service():
    built = [service["image"] for service in SERVICES.values() if "build" in service]
    assert sorted(built) == ["airflow-amazon-fba", "airflow-amazon-fba-sandbox"]


def test_the_triggerer_may_open_two_files_for_each_task_that_waits():
    """And no more than most machines allow a container; with a lower limit the container would not start."""
    triggerer = SERVICES["triggerer"]
    capacity = int(triggerer["environment"]["AIRFLOW__TRIGGERER__CAPACITY"])
    assert 2 * capacity <= triggerer["ulimits"]["nofile"] <= 16384


def test_a_worker_that_stops_can_still_report_its_tasks():
    assert SERVICES["worker"]["depends_on"]["api-server"] == {"condition": "service_healthy"}


def test_the_image_has_the_versions_that_are_tested():
    celery = pins("requirements-celery.txt")
    assert pins("requirements.txt").items() <= celery.items()
    (base,) = re.findall(r"^FROM apache/airflow:slim-([\d.]+)-python", DOCKERFILE, re.MULTILINE)
    assert base == celery["apache-airflow"]


def test_the_build_context_has_what_is_copied_and_nothing_else():
    copied = {
        name
        for line in re.findall(r"^COPY --chown=airflow:0 (.+) \S+$", DOCKERFILE, re.MULTILINE)
        for name in line.split()
    }
    ignored = (PROJECT / ".dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == copied
    assert all((PROJECT / name).exists() for name in copied)


def test_the_databases_of_an_empty_volume_have_their_owners_and_roles():
    mounts = dict(volume.split(":")[:2] for volume in SERVICES["postgres"]["volumes"] if volume.startswith("./"))
    (script,) = [PROJECT / here for here, there in mounts.items() if there.startswith("/docker-entrypoint-initdb.d/")]
    text = script.read_text()
    for here, there in mounts.items():
        text = text.replace(f" {there}", f" {PROJECT / here}")
    with running_postgres() as server:
        where = {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PATH": f"{PSQL.parent.resolve()}:/usr/bin:/bin"}
        passwords = {"AIRFLOW_DB_PASSWORD": "a", "WAREHOUSE_DB_PASSWORD": "w"}
        subprocess.run(["bash", "-c", text], check=True, capture_output=True, env={**where, **passwords})
        with psycopg.connect(server.url("warehouse").replace("postgres@", "warehouse@")) as db:
            db.execute("SET fba.writer = 'product'")
            roles = "SELECT rolname FROM pg_roles WHERE rolname LIKE 'fba_%' AND pg_has_role(oid, 'USAGE')"
            assert db.execute(roles).fetchall() == [("fba_product",)]
        with pytest.raises(psycopg.OperationalError, match="permission denied"):
            psycopg.connect(server.url("warehouse").replace("postgres@", "airflow@"))


def seconds(text: str) -> float:
    number, unit = re.fullmatch(r"(\d+)([sm])", text).groups()
    return int(number) * {"s": 1, "m": 60}[unit]


def test_health_checks_hardly_ever_start_python():
    """`airflow` takes seconds of a core to start, celery without it most of one, and a check is run as long as the container."""
    starts = 0.0
    for service in SERVICES.values():
        if check := service.get("healthcheck"):
            command = " ".join(check["test"])
            assert not re.search(r"\b(python|airflow) |--app", command)
            if re.search(r"\bcelery ", command):
                starts += 1 / seconds(check["interval"])
                assert seconds(check["start_interval"]) >= 20
            assert seconds(check["timeout"]) < seconds(check["interval"])
    assert 0 < starts <= 1 / 600


def test_the_heartbeats_that_health_checks_read_are_written_like_that():
    from airflow.api_fastapi.core_api.datamodels.monitor import HealthInfoResponse

    beat = {"status": "healthy"}
    parts = dict.fromkeys(("metadatabase", "scheduler", "triggerer", "dag_processor"), beat)
    times: dict[str, str | None] = {f"latest_{part}_heartbeat": "2026-01-01T00:00:00Z" for part in parts}
    times["detailed_status"] = None  # required from Airflow 3.4 on
    healthy = HealthInfoResponse.model_validate(dict.fromkeys(parts, beat | times)).model_dump_json()
    ill = healthy.replace('"healthy"', '"unhealthy"')
    for name in ("dag-processor", "triggerer"):
        command = SERVICES[name]["healthcheck"]["test"][1]
        url, grep = command.split("|")
        assert url.split()[-1] == "http://api-server:8080/api/v2/monitor/health"
        for text, code in ((healthy, 0), (ill, 1)):
            assert subprocess.run(["bash", "-c", grep], input=text, text=True, check=False).returncode == code
