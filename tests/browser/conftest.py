"""Airflow as a person sees it: the complete stack on this machine, and Chromium in front of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

from devstack.airflow import settings
from devstack.client import AirflowClient
from devstack.postgres import Server
from devstack.standalone import running_airflow
from sandbox.server.server import Sandbox

# Flags to run as root in a container, and to call no service but Airflow.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass(frozen=True)
class Stack:
    """The running services that the tests of this folder use."""

    airflow: AirflowClient
    amazon: Sandbox
    warehouse_url: str


@pytest.fixture(scope="package")
def chromium() -> str:
    """Where Chromium is; without one the tests are skipped, or fail where `make test-browser` asks for them."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    missing = "There is no Chromium on this machine, so Airflow's pages were not tested. Install chromium to run these."
    if os.environ.get("FBA_REQUIRE_BROWSER"):
        pytest.fail(missing)
    pytest.skip(missing)


@pytest.fixture(scope="package")
def stack(chromium: str, postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("airflow")
    warehouse_url = postgres.create_database("browser_warehouse")
    metadata_url = postgres.create_database("browser_airflow")
    with Sandbox(listings=300, processing_seconds=0.3) as amazon:
        environment = settings(
            home, metadata_url.replace("postgresql", "postgresql+psycopg2", 1), warehouse_url, amazon.url
        )
        environment["AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE"] = "False"  # only runs that a test triggers
        with running_airflow(environment, home) as url:
            yield Stack(AirflowClient(url, home), amazon, warehouse_url)


@pytest.fixture(scope="module")
def new_warehouse(stack: Stack) -> Stack:
    """The stack in front of a warehouse without tables, whatever the tests of another file left there."""
    with psycopg.connect(stack.warehouse_url, autocommit=True) as db:
        db.execute("DROP SCHEMA IF EXISTS fba CASCADE")
    stack.amazon.world.advance(31 * 60)  # so that Amazon makes reports anew, of which this warehouse knows nothing
    return stack


@pytest.fixture(scope="package")
def browser(chromium: str, stack: Stack) -> Iterator[BrowserContext]:
    """A browser in which the admin is logged in."""
    with sync_playwright() as playwright:
        program = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        context = program.new_context(viewport={"width": 1300, "height": 1400})
        context.set_default_timeout(60_000)
        expect.set_options(timeout=60_000)
        page = context.new_page()
        page.goto(f"{stack.airflow.url}/auth/login")
        page.fill("input[name=username]", stack.airflow.user)
        page.fill("input[name=password]", stack.airflow.password)
        page.click("button[type=submit]")
        page.wait_for_url(lambda url: "/auth/login" not in url)
        yield context
        program.close()


@pytest.fixture
def page(browser: BrowserContext, tmp_path: Path) -> Iterator[Page]:
    """A new page; its final state is saved as a screenshot in pytest's temporary folder."""
    one = browser.new_page()
    yield one
    one.screenshot(path=tmp_path / "end.png")
    one.close()
