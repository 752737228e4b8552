"""One minute of a soak: what ended in it, by profile, and what each service used.

Source: G2 (minute files), schemas/soak_minute.schema.json.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from traffic.latency import LatencyLog

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from soak.sampler import Usage
    from traffic.sample import Sample

SCHEMA = "soak_minute/1"
MINUTE_SECONDS = 60.0


class Minute:
    """Collects one minute.

    Args:
        profiles: their names, in the order of the stack file.
        begin_seconds: since the start of the soak.
    """

    def __init__(self, profiles: Sequence[str], begin_seconds: float) -> None:
        """See the class."""
        self.begin_seconds = begin_seconds
        self.log = LatencyLog(profiles)
        self._names, self._started = profiles, [0] * len(profiles)

    def started(self, profile: int) -> None:
        """A request was sent."""
        self._started[profile] += 1

    def add(self, sample: Sample) -> None:
        """A request ended."""
        self.log.add(sample)

    def _profile(self, index: int, name: str) -> dict[str, Any]:
        return {"started": self._started[index], **self.log.profiles[name].figures()}

    def as_json(
        self,
        *,
        number: int,
        piece: int,
        end_seconds: float,
        partial: bool,
        in_flight: int,
        services: Mapping[str, Mapping[str, Any] | None],
        harness: Mapping[str, Any],
    ) -> dict[str, Any]:
        """The minute file; `services` and `harness` as `service_rows` and the caller made them."""
        return {
            "schema": SCHEMA,
            "minute": number,
            "piece": piece,
            "begin_seconds": round(self.begin_seconds, 3),
            "end_seconds": round(end_seconds, 3),
            "partial": partial,
            "in_flight": in_flight,
            "profiles": {name: self._profile(at, name) for at, name in enumerate(self._names)},
            "services": dict(services),
            "harness": dict(harness),
        }


def service_rows(
    usage: Mapping[str, Usage | None],
    before: Mapping[str, Usage | None],
    seconds: float,
    restarts: Mapping[str, int | None],
) -> dict[str, dict[str, Any] | None]:
    """The services of a minute file; None for one that can't be seen.

    Args:
        usage: the readings at the end of the minute.
        before: the readings at its begin: processor time is the difference.
        seconds: between the two.
        restarts: seen since the start of the soak.
    """
    rows: dict[str, dict[str, Any] | None] = {}
    for name, reading in usage.items():
        if reading is None:
            rows[name] = None
            continue
        row = reading.as_json() | {"restarts": restarts.get(name), "cpu_ratio": None}
        earlier = before.get(name)
        if earlier and None not in {earlier.cpu_seconds, reading.cpu_seconds} and seconds > 0:
            used = (reading.cpu_seconds or 0.0) - (earlier.cpu_seconds or 0.0)
            # A child that ended without being waited for takes its time with it.
            row["cpu_ratio"] = round(max(0.0, used) / seconds, 6)
        rows[name] = row
    return rows
