"""measure_detectors.py: the promised rates on seeds that nothing was tuned on."""

from __future__ import annotations

import json

import measure_detectors
import pytest
from measure_detectors import main

from common.cli import Exit, UsageError
from detectors.simulation import BOTH, FAULTY, HEALTHY, Tally, all_kinds, run_kind

SERIES = 8
KINDS = all_kinds()


@pytest.mark.parametrize("index", range(len(KINDS)), ids=lambda index: KINDS[index].name)
def test_each_kind_keeps_its_promise(index: int) -> None:
    """A few of each; the whole table is `python scripts/measure_detectors.py`."""
    tally = run_kind(index, SERIES, "tests")
    assert tally.series == SERIES
    if tally.expected == FAULTY:
        assert tally.failed_at_any_look == SERIES
    elif tally.expected == HEALTHY:
        assert tally.failed_at_any_look == tally.not_judged == 0


def test_the_faults_of_gate_2_are_all_in_the_table() -> None:
    text = "\n".join(kind.name for kind in KINDS if kind.expected == FAULTY)
    for fault in ("leak of 8 %", "drift", "error burst: 1 %", "restart", "stall", "sessions"):
        assert fault in text


def test_the_same_seed_gives_the_same_table(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--series", "3", "--only", "restart", "--workers", "1", "--json"]
    main(arguments)
    first = capsys.readouterr().out
    main(arguments)
    assert capsys.readouterr().out == first
    assert json.loads(first)["verdict"] == "inconclusive"


def test_two_workers_measure_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--series", "2", "--only", "stuck_session", "--workers", "1"])
    first = capsys.readouterr().out
    main(["--series", "2", "--only", "stuck_session"])
    assert capsys.readouterr().out == first


def test_markdown_has_an_interval_for_each_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--series", "2", "--only", "restart", "--markdown"]) == Exit.INCONCLUSIVE
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].startswith("| detector | series of 48 h |")
    assert rows[-1] == (
        "| restart | one restart | alarm | 100.0% | 15.8% to 100.0% | 100.0% | 0.0% | kept |"
    )


@pytest.mark.parametrize(
    ("expected", "alarms", "not_judged", "kept"),
    [
        (HEALTHY, 4, 0, True),
        (HEALTHY, 5, 0, False),
        (HEALTHY, 0, 5, False),
        (FAULTY, 198, 0, True),
        (FAULTY, 197, 0, False),
        (BOTH, 100, 100, None),
    ],
)
def test_a_promise_is_two_percent_or_ninety_nine(
    expected: str, alarms: int, not_judged: int, kept: object
) -> None:
    assert Tally("a", "b", expected, 200, alarms, alarms, not_judged).kept is kept


@pytest.mark.parametrize(
    ("series", "alarms", "code"),
    [(200, 0, Exit.PASSED), (200, 9, Exit.FAILED), (20, 0, Exit.INCONCLUSIVE)],
)
def test_a_broken_promise_fails_and_few_series_are_inconclusive(
    series: int,
    alarms: int,
    code: Exit,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tally = Tally("a", "b", HEALTHY, series, alarms, alarms, 0)
    monkeypatch.setattr(measure_detectors, "measure", lambda _options: [tally])
    assert main(["--series", str(series)]) == code
    assert ("NOT KEPT" in capsys.readouterr().out) == (code == Exit.FAILED)


def test_a_detector_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="--only: expected one of leak, "):
        main(["--only", "leaks"])
