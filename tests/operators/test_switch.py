"""Params that are on, off, or as stores.yaml says."""

from __future__ import annotations

import pytest
from airflow.sdk import Param
from airflow.sdk.exceptions import ParamValidationError

from fba_operators.operators import AS_CONFIGURED, ClaimRequestsOperator, MergeInventoryOperator
from fba_operators.operators.switch import is_given, is_on, switch
from tests.helpers import run

VALUES = [(None, None), (True, True), (False, False), ("on", True), ("off", False)]


@pytest.mark.parametrize(("value", "means"), VALUES)
def test_every_value_of_the_param_is_read(value, means):
    assert Param(None, **AS_CONFIGURED).resolve(value) == value
    assert switch("include_fbm_quantity", value) is means
    assert is_on("include_fbm_quantity", value) is bool(means)


@pytest.mark.parametrize("value", ["True", "False", "None", "", "yes", 1, 0, 1.0, [], {}])
def test_anything_else_is_refused(value):
    with pytest.raises(ValueError, match="include_fbm_quantity must be true, false or nothing"):
        switch("include_fbm_quantity", value)
    with pytest.raises(ParamValidationError):
        Param(None, **AS_CONFIGURED).resolve(value)


@pytest.mark.parametrize(
    ("value", "given"), [([], False), (["1", "2"], True), (None, False), (True, True), ("off", False)]
)
def test_a_list_is_given_unless_it_is_empty(value, given):
    assert is_given("offline", value) is given


def test_a_rendered_template_never_counts_as_given():
    with pytest.raises(ValueError, match="offline must be"):
        is_given("offline", "False")


def test_a_dry_run_that_is_null_sends_nothing(warehouse, amazon):
    with pytest.raises(ValueError, match="validate_only must be true or false, not null"):
        run(ClaimRequestsOperator(task_id="claim", validate_only=None))
    assert amazon.world.calls()["calls"] == {}


def test_a_switch_of_the_form_goes_before_stores_yaml(warehouse, amazon):
    merge = MergeInventoryOperator(
        task_id="merge",
        listings_report_id="1",
        afn_report_id="2",
        include_fbm_quantity="on",
        fetch_missing_inventory=None,
    )
    settings = merge._settings()
    assert (settings.include_fbm_quantity, settings.fetch_missing_inventory) == (True, False)
