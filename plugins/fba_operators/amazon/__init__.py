"""Knows Amazon's Selling Partner API: its operations and answers, its quotas, how to log in and how to wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fba_operators.amazon.hook import SellingPartnerHook

__all__ = ["SellingPartnerHook"]


def __getattr__(name: str) -> Any:  # lazy, so that marketplaces can be read without loading Airflow
    if name == "SellingPartnerHook":
        from fba_operators.amazon.hook import SellingPartnerHook  # noqa: PLC0415

        return SellingPartnerHook
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
