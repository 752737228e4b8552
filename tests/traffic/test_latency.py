"""traffic.latency: exact, from the intended start, and never an average of percentiles."""

from __future__ import annotations

from traffic.latency import LatencyLog, measure, windows
from traffic.sample import Outcome, Sample

NAMES = ["chat", "action"]


def answered(
    intended: float, latency: float, *, profile: int = 0, outcome: Outcome = Outcome.OK
) -> Sample:
    return Sample(
        profile, 0, 0, intended, intended, done_seconds=intended + latency, outcome=outcome
    )


def test_percentiles_are_exact_and_nearest_rank() -> None:
    log = measure((answered(0, number / 1000) for number in range(1, 201)), NAMES)
    figures = log.figures()["profiles"]["chat"]["latency"]
    assert figures == {
        "count": 200,
        "p50_ms": 100.0,
        "p95_ms": 190.0,
        "p99_ms": 198.0,
        "max_ms": 200.0,
    }


def test_latency_counts_from_the_intended_start_not_from_sending() -> None:
    late = Sample(0, 0, 0, 10.0, sent_seconds=12.0, done_seconds=12.1)
    figures = measure([late], NAMES).figures()["overall"]
    assert figures["latency"]["max_ms"] == 2100.0
    assert figures["worst_lag_ms"] == 2000.0


def test_overall_is_made_of_samples_not_of_the_profiles_percentiles() -> None:
    chats = [answered(0, 0.01) for _ in range(99)]
    log = measure([*chats, answered(0, 5.0, profile=1)], NAMES)
    assert log.figures()["overall"]["latency"]["p95_ms"] == 10.0
    assert log.figures()["profiles"]["action"]["latency"]["p95_ms"] == 5000.0


def test_the_p99_of_an_hour_is_not_the_mean_of_its_minutes() -> None:
    """One bad minute of sixty: 1.7 % of all requests, so the hour's p99 is a bad one."""
    samples = [answered(at, 2.0 if at < 60 else 0.1) for at in range(3600)]
    whole = measure(samples, NAMES).overall().figures()["latency"]["p99_ms"]
    minutes = [
        log.overall().figures()["latency"]["p99_ms"] for _, log in windows(samples, NAMES, 60)
    ]
    assert whole == 2000.0
    assert round(sum(minutes) / len(minutes)) == 132


def test_time_outs_count_with_their_limit_and_refusals_not_at_all() -> None:
    samples = [
        answered(0, 10.0, outcome=Outcome.TIMEOUT),
        answered(0, 0.0002, outcome=Outcome.ERROR),
        answered(0, 0.0, outcome=Outcome.NOT_SENT),
    ]
    figures = measure(samples, NAMES).figures()["overall"]
    assert (figures["requests"], figures["errors"], figures["error_ratio"]) == (3, 3, 1.0)
    assert (figures["latency"]["count"], figures["latency"]["p50_ms"]) == (1, 10_000.0)


def test_unfinished_requests_speak_neither_for_nor_against_the_system() -> None:
    figures = measure([answered(0, 1, outcome=Outcome.UNFINISHED)], NAMES).figures()["overall"]
    assert (figures["requests"], figures["errors"], figures["error_ratio"]) == (1, 0, None)
    assert figures["latency"] is None


def test_what_the_generator_was_too_late_for_is_counted_but_no_error_of_the_system() -> None:
    """A clock that jumped by 30 s made 291 errors of 315 requests, with a lag of 2 s at most."""
    late = [Sample(0, 0, n, n, done_seconds=31.0, outcome=Outcome.LATE) for n in range(1, 30)]
    measured = measure([*late, answered(31, 1)], NAMES).overall()
    figures = measured.figures()
    assert (figures["requests"], figures["errors"], figures["error_ratio"]) == (30, 0, 0.0)
    assert (figures["outcomes"]["late"], measured.judged, measured.sent) == (29, 1, 1)
    assert (figures["latency"]["count"], figures["worst_lag_ms"]) == (1, 30_000.0)


def test_late_requests_alone_judge_nothing() -> None:
    late = Sample(0, 0, 0, 1.0, done_seconds=31.0, outcome=Outcome.LATE)
    assert measure([late], NAMES).figures()["overall"]["error_ratio"] is None


def test_outcomes_keep_their_numbers() -> None:
    """They stand in journals."""
    names = ["OK", "WRONG", "ERROR", "TIMEOUT", "NOT_SENT", "UNFINISHED", "LATE"]
    assert [item.name for item in map(Outcome, range(len(Outcome)))] == names


def test_a_wait_that_was_given_up_is_no_lag_of_the_generator() -> None:
    lost = Sample(0, 0, 0, 1.0, done_seconds=31.0, outcome=Outcome.UNFINISHED)
    assert measure([lost], NAMES).overall().worst_lag_seconds == 0.0


def test_nothing_measured_has_no_percentile_and_no_ratio() -> None:
    figures = LatencyLog(NAMES).figures()
    assert figures["overall"]["error_ratio"] is None
    assert figures["overall"]["latency"] is None
    assert set(figures["profiles"]) == {"chat", "action"}


def test_first_tokens_have_percentiles_of_their_own() -> None:
    streamed = Sample(0, 0, 0, 1.0, first_token_seconds=1.2, done_seconds=3.0)
    figures = measure([streamed, answered(0, 1)], NAMES).figures()["profiles"]["chat"]
    assert figures["first_token"]["count"] == 1
    assert figures["first_token"]["max_ms"] == 200.0


def test_a_request_belongs_to_the_window_of_its_intended_start() -> None:
    found = dict(windows([answered(59.9, 100), answered(60, 1), answered(300, 1)], NAMES, 60))
    assert {number: log.overall().count for number, log in found.items()} == {0: 1, 1: 1, 5: 1}
