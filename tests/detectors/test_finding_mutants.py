"""detectors.finding, where mutants lived: how exact a figure of the evidence is (H8)."""

from __future__ import annotations

from detectors.finding import PASSED, Finding


def test_figures_have_nine_digits_after_the_point_and_counts_stay_whole() -> None:
    figures = {"ratio": 0.12345678949, "count": 3, "seconds": 2.0}
    shown = Finding("x", "y", PASSED, "z", 1.00000000051, figures).as_json()
    assert shown["figures"] == {"ratio": 0.123456789, "count": 3, "seconds": 2.0}
    assert type(shown["figures"]["count"]) is int
    assert shown["at_seconds"] == 1.000000001
