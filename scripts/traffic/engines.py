"""What can send the traffic of a run: this process, or Locust workers on other machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from common.cli import ConfigurationError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from typing import Self

    from detectors.finding import Finding
    from stack.model import Stack
    from traffic.generator import TrafficReport
    from traffic.target import Target

AIOHTTP, LOCUST = "aiohttp", "locust"
# Locust's own port for workers.
MASTER_PORT = 5557


class Engine(Protocol):
    """Sends traffic; use it as a context, entered before the run's second 0 is fixed."""

    @property
    def run_traffic(self) -> Callable[..., Any]:
        """`generator.run_traffic`, or what takes and promises the same."""

    def known_seconds(self, now_seconds: float) -> float:
        """Until when everything that happened was told to the callbacks."""

    def findings(self) -> Sequence[Finding]:
        """What can't be judged because of the engine itself."""

    def facts(self) -> dict[str, Any]:
        """What evidence says of it."""


class AiohttpEngine:
    """The generator in this process."""

    def __enter__(self) -> Self:
        """There is nothing to prepare."""
        return self

    def __exit__(self, *_problem: object) -> None:
        """There is nothing to end."""

    async def run_traffic(self, *arguments: Any, **options: Any) -> TrafficReport:  # noqa: ANN401 - those of the generator
        """See `generator.run_traffic`."""
        from traffic.generator import run_traffic

        return await run_traffic(*arguments, **options)

    def known_seconds(self, now_seconds: float) -> float:
        """Everything is told at once."""
        return now_seconds

    def findings(self) -> Sequence[Finding]:
        """None."""
        return ()

    def facts(self) -> dict[str, Any]:
        """Its name."""
        return {"name": AIOHTTP}


def require_locust(how: str) -> None:
    """Ask for the packages before anything is started.

    Args:
        how: what helps, for the error.

    Raises:
        ConfigurationError: Locust, or what it works with, is not installed.
    """
    from importlib.util import find_spec

    for name in ("locust", "gevent"):
        if find_spec(name) is None:
            raise ConfigurationError(
                f"the package {name!r} is not installed, and Locust can't work without it: {how}"
            )


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """`--engine`, and where Locust's workers find their master."""
    from common.cli import positive_int

    add = parser.add_argument
    add(
        "--engine",
        choices=(AIOHTTP, LOCUST),
        default=AIOHTTP,
        help="what sends the traffic: this process, or Locust workers (default: aiohttp)",
    )
    add(
        "--workers",
        type=positive_int,
        default=2,
        metavar="N",
        help="locust: run_locust_worker.py processes to wait for (default: 2)",
    )
    add(
        "--master-host",
        default="127.0.0.1",
        metavar="HOST",
        help="locust: address to listen at for workers (default: this machine only)",
    )
    add(
        "--master-port",
        type=positive_int,
        default=MASTER_PORT,
        metavar="PORT",
        help=f"locust: port to listen at (default: {MASTER_PORT})",
    )


def open_engine(
    options: argparse.Namespace, stack: Stack, target: Target, say: Callable[[str], None]
) -> AbstractContextManager[Engine]:
    """The engine that the options of `add_engine_options` ask for."""
    if options.engine == AIOHTTP:
        return AiohttpEngine()
    from traffic.locust_engine import LocustEngine, LocustOptions

    chosen = LocustOptions(options.master_host, options.master_port, options.workers)
    return LocustEngine(stack, target, chosen, say)
