"""scripts/run_benchmarks.py: what is written, and that a missed goal fails."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import run_benchmarks

from benchmarks.comparison import Benchmark, seconds
from benchmarks.sample import Shape, measure_bundle
from common.cli import ConfigurationError, Exit, ScriptError, UsageError

if TYPE_CHECKING:
    import argparse
    from pathlib import Path


def planted(ours: float) -> list[Benchmark]:
    """A benchmark of known figures."""
    return [Benchmark("planted", "x", "seconds", [(ours, 1.0)] * 3, goal_ratio=1.3)]


@pytest.mark.parametrize(("ours", "code"), [(1.2, Exit.PASSED), (1.4, Exit.FAILED)])
def test_a_missed_goal_exits_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ours: float, code: Exit
) -> None:
    def measure(_options: argparse.Namespace) -> list[Benchmark]:
        return planted(ours)

    monkeypatch.setattr(run_benchmarks, "BENCHMARKS", {"planted": measure})
    output = tmp_path / "benchmarks.json"
    assert run_benchmarks.main(["--output", str(output)]) == code
    (row,) = json.loads(output.read_text())["benchmarks"]
    assert row["ratio"] == ours
    assert row["met"] is (code == Exit.PASSED)


def test_what_can_not_be_measured_is_named_and_exits_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(_options: argparse.Namespace) -> list[Benchmark]:
        raise ConfigurationError("docker is not installed: install it")

    good = {"planted": lambda _options: planted(1.0)}
    monkeypatch.setattr(run_benchmarks, "BENCHMARKS", {**good, "docker": measure})
    output = tmp_path / "benchmarks.json"
    assert run_benchmarks.main(["--output", str(output)]) == Exit.INCONCLUSIVE
    (row,) = json.loads(output.read_text())["not_measured"]
    assert row == {"name": "docker", "reason": "docker is not installed: install it"}


def test_the_ratio_is_the_median_of_the_pairs() -> None:
    pairs = [(1.0, 1.0), (4.0, 2.0), (90.0, 30.0)]
    assert Benchmark("x", "x", "s", pairs, goal_ratio=1).as_json()["ratio"] == 2.0


def test_a_goal_without_a_floor_is_judged_by_the_median() -> None:
    assert Benchmark("x", "x", "s", [(0.2, None)], goal_value=0.15).as_json()["met"] is False
    assert Benchmark("x", "x", "s", [(0.1, None)], goal_value=0.15).as_json()["met"] is True


def test_a_failed_command_gives_no_figure() -> None:
    with pytest.raises(ScriptError, match="exited 1"):
        seconds(["python3", "-c", "raise SystemExit(1)"])


def test_an_unknown_benchmark_is_refused() -> None:
    with pytest.raises(UsageError, match="expected some of help"):
        run_benchmarks.main(["--only", "moon"])


def test_a_sample_bundle_is_sealed_and_verified_for_real() -> None:
    sealing, verifying = measure_bundle(Shape(20, 100), 1, seconds)
    assert len(sealing) == len(verifying) == 1
    assert all(value and value > 0 for pair in [*sealing, *verifying] for value in pair)
