"""What an experiment is judged by: names that configurations, logs and reports share."""

from __future__ import annotations

#: Share of the answers in which something was clicked; share of the users who bought; revenue of a user.
CTR, CONVERSION, REVENUE = "ctr", "conversion", "revenue_per_user"

METRICS = (CTR, CONVERSION, REVENUE)

#: Kinds of outcomes.
CLICK, PURCHASE = "click", "purchase"
