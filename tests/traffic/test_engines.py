"""traffic.engines: the generator and Locust's workers are asked the same way."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING

import pytest
from fakes.system import stack_value, write_value
from traffic_system import FakeSystem, profile

from stack.load import load_stack
from traffic.clock import boottime_seconds
from traffic.engines import AIOHTTP, LOCUST, AiohttpEngine, add_engine_options, open_engine
from traffic.locust_engine import LocustEngine
from traffic.sample import Outcome
from traffic.target import Target

if TYPE_CHECKING:
    from pathlib import Path


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_engine_options(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("words", "kind"), [([], AiohttpEngine), (["--engine", LOCUST, "--workers", "3"], LocustEngine)]
)
def test_the_options_choose_the_engine(words: list[str], kind: type, tmp_path: Path) -> None:
    stack = load_stack(write_value(tmp_path, stack_value()), {})
    assert isinstance(open_engine(options(*words), stack, Target({}), print), kind)


def test_nobody_else_s_workers_can_come_unless_asked() -> None:
    assert options("--engine", LOCUST).master_host == "127.0.0.1"


def test_the_generator_is_an_engine_that_tells_at_once(system: FakeSystem) -> None:
    with AiohttpEngine() as engine:

        async def send() -> int:
            report = await engine.run_traffic(
                [profile("/ok")],
                Target({"fake": system.url}),
                start=boottime_seconds(),
                stop=asyncio.Event(),
                duration_seconds=0.5,
                on_sample=system.take,
            )
            return report.sent_starts

        assert asyncio.run(send()) == 5
        assert [sample.outcome for sample in system.samples] == [Outcome.OK] * 5
        assert engine.known_seconds(7.0) == 7.0
        assert [*engine.findings()] == []
        assert engine.facts() == {"name": AIOHTTP}
