"""From when on a token must be, so that no earlier replay store can have accepted it (G3a)."""

from __future__ import annotations

import math
from dataclasses import dataclass

# A clock that is set back by no more than this lets nothing in that was signed before the
# store; everybody waits until it has caught up. By more, and nobody waits.
SET_BACK_SECONDS = 60.0


@dataclass(frozen=True)
class Beginning:
    """When a store began.

    Args:
        earliest: tokens that were issued before it are refused, by the clock of then.
        ahead: what that clock was ahead of the ticks.
    """

    earliest: float
    ahead: float

    @classmethod
    def at(cls, now: float, ticks: float, idle_seconds: float, leeway_seconds: float) -> Beginning:
        """A store that begins now.

        Args:
            now: the clock.
            ticks: seconds that never go back.
            idle_seconds: for how long no earlier store has accepted a token.
            leeway_seconds: how far in the future a token could be that it accepted.
        """
        reach = math.nextafter(now - idle_seconds + leeway_seconds, math.inf)
        return cls(max(now, reach), now - ticks)

    def limit(self, now: float, ticks: float) -> float:
        """From when on a token must be; nothing is remembered of a set-back that is over.

        Where the clock was set back far, the store began at an earlier time of the clock as
        it is now: otherwise nobody would be let in until the clock has caught up.
        """
        back_seconds = self.ahead - (now - ticks)
        return self.earliest - (back_seconds if back_seconds > SET_BACK_SECONDS else 0.0)
