"""Switches: params that are on, off, or as stores.yaml says."""

from __future__ import annotations

from typing import Any

AS_CONFIGURED: dict[str, Any] = {
    # Airflow 3.3's form draws choices only for a text type, and shows only texts as chosen; API and CLI pass booleans.
    "type": ["null", "string", "boolean"],
    "enum": [None, "on", "off", True, False],
    "values_display": {
        "null": "As configured in stores.yaml",
        "on": "On",
        "off": "Off",
        "true": "true (the same as On)",
        "false": "false (the same as Off)",
    },
}
"""Schema of a param whose default None means "as configured": ``Param(None, **AS_CONFIGURED)``."""

_VALUES = {None: None, True: True, False: False, "on": True, "off": False}


def switch(name: str, value: Any) -> bool | None:
    """Read a switch; None means "as configured".

    :param name: of the operator's argument, for the error
    :raises ValueError: the value is neither a boolean nor on, off or None, e.g. a rendered Jinja template
    """
    if (value is not None and not isinstance(value, (bool, str))) or value not in _VALUES:
        raise ValueError(
            f"{name} must be true, false or nothing, not {value!r}; pass dag.param(...), not a Jinja template"
        )
    return _VALUES[value]


def is_given(name: str, value: Any) -> bool:
    """Read a switch that may also be a list, which is on unless it is empty."""
    return bool(value) if isinstance(value, (list, tuple)) else is_on(name, value)


def is_on(name: str, value: Any) -> bool:
    """Read a switch that is off unless it is switched on."""
    return bool(switch(name, value))
