"""How often Amazon makes a report, and how long one is waited for."""

from __future__ import annotations

from datetime import timedelta

# Amazon makes a near-real-time FBA report at most once in 30 minutes and cancels those asked for in between
# (developer-docs.amazon.com/sp-api/docs/report-type-values-fba). Listing reports are cached for longer.
COOLDOWN = timedelta(minutes=30)

REPORT_TIMEOUT = timedelta(hours=2)  # then a report is asked for anew; whichever ends first counts
