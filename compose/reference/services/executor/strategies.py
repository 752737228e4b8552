"""Strategies: three ways to fetch politely. They evade nothing and break no site's rules."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# Said to every site, whatever the strategy: who asks, and that it is a program.
_PRODUCT = "proof-pack/1.0"
_PLAIN = MappingProxyType({"User-Agent": _PRODUCT, "Accept": "*/*"})
_PAGE = MappingProxyType(
    {
        "User-Agent": f"Mozilla/5.0 (compatible; {_PRODUCT})",
        "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "Accept-Language": "en-GB,en;q=0.9",
        "Upgrade-Insecure-Requests": "1",
    }
)
_DATA = MappingProxyType(
    {
        "User-Agent": f"Mozilla/5.0 (compatible; {_PRODUCT})",
        "Accept": "application/json,text/plain;q=0.9,*/*;q=0.5",
        "Accept-Language": "en;q=0.9",
    }
)


@dataclass(frozen=True)
class Strategy:
    """How a target is fetched: attempt n uses header set n, round and round.

    `pacing_seconds` is the pause before the first attempt; `pause_seconds` the one
    after a failed attempt, doubled each time; `budget_seconds` bounds all of it.
    """

    name: str
    header_sets: tuple[Mapping[str, str], ...]
    attempts: int
    pacing_seconds: float
    pause_seconds: float
    attempt_seconds: float
    budget_seconds: float


STRATEGIES: Mapping[str, Strategy] = MappingProxyType(
    {
        strategy.name: strategy
        for strategy in (
            Strategy("vanilla", (_PLAIN,), 1, 0.0, 0.0, 10.0, 10.0),
            Strategy("stealth", (_PAGE,), 3, 0.05, 0.2, 10.0, 20.0),
            Strategy("assault", (_PAGE, _DATA, _PLAIN), 5, 0.0, 0.1, 10.0, 30.0),
        )
    }
)
