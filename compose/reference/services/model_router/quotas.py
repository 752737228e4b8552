"""The arithmetic of quotas: a hard block at the cap, an alert at 80 % of it (C5).

Money is counted in whole micro-dollars: sums of floats depend on their order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ALERT_PERCENT = 80
MICRO_USD_PER_USD = 1_000_000
# Enough for a 48-hour soak at one chat a second (G2) with a wide margin.
DEFAULT_TOKENS_PER_DAY = 100_000_000
DEFAULT_COST_PER_MONTH_MICRO_USD = 10_000 * MICRO_USD_PER_USD

QuotaName = Literal["tokens_per_day", "cost_per_month"]


@dataclass(frozen=True)
class Quota:
    """What a workspace may use; a cap of 0 blocks it altogether."""

    tokens_per_day: int = DEFAULT_TOKENS_PER_DAY
    cost_per_month_micro_usd: int = DEFAULT_COST_PER_MONTH_MICRO_USD


@dataclass(frozen=True)
class Used:
    """What a workspace has used in the current UTC day and calendar month."""

    tokens_today: int
    cost_this_month_micro_usd: int

    def plus(self, tokens: int, cost_micro_usd: int) -> Used:
        """The use after one more run."""
        return Used(self.tokens_today + tokens, self.cost_this_month_micro_usd + cost_micro_usd)


def exceeded(quota: Quota, used: Used) -> QuotaName | None:
    """The first cap that `used` is above, if any; exactly at the cap is still allowed."""
    if used.tokens_today > quota.tokens_per_day:
        return "tokens_per_day"
    if used.cost_this_month_micro_usd > quota.cost_per_month_micro_usd:
        return "cost_per_month"
    return None


def alert(quota: Quota, used: Used) -> bool:
    """Whether 80 % of either cap is reached."""
    return _reached(used.tokens_today, quota.tokens_per_day) or _reached(
        used.cost_this_month_micro_usd, quota.cost_per_month_micro_usd
    )


def _reached(used: int, cap: int) -> bool:
    return used * 100 >= cap * ALERT_PERCENT


def cost_micro_usd(tokens: int, price_micro_usd_per_thousand: int) -> int:
    """The estimated cost of a run, rounded up so that use never looks free."""
    return -(-tokens * price_micro_usd_per_thousand // 1000)


def to_micro_usd(usd: float) -> int:
    """Dollars as whole micro-dollars, rounded to the nearest."""
    return round(usd * MICRO_USD_PER_USD)


def to_usd(micro_usd: int) -> float:
    """Micro-dollars as dollars, for people and JSON."""
    return micro_usd / MICRO_USD_PER_USD


def day_of(utc_time: str) -> str:
    """The UTC day of an RFC 3339 time in UTC, such as "2026-11-20"."""
    return utc_time[:10]


def month_of(utc_time: str) -> str:
    """The UTC calendar month of an RFC 3339 time in UTC, such as "2026-11"."""
    return utc_time[:7]
