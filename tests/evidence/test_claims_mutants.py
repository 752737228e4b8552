"""evidence.claims, where mutants lived: each claim is read from its place, strictly (H8)."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from evidence.claims import Claims, check_last_event, read_claims
from evidence.consistency import ClaimError

HASH = {name: letter * 64 for name, letter in zip(("a", "b", "c", "d", "e"), "abcde", strict=True)}


def row(name: str, observed: int | None, outcome: str) -> dict[str, Any]:
    figures = {"rule": "equals", "expected": 1, "observed": observed}
    return {"id": name, "metric": f"/figures/{observed}", "outcome": outcome, **figures}


def box(image: str, digest: str) -> dict[str, Any]:
    fared = {"state": "running", "restarts": 0, "oom_killed": False, "task": False}
    return {"image": image, "image_id": f"sha256:{digest}", **fared}


SUMMARY: dict[str, Any] = {
    "run_id": "20261120-234512-2",
    "verdict": "failed",
    "exit_code": 2,
    "started_utc": "2026-11-20T23:45:12Z",
    "ended_utc": "2026-11-20T23:45:12Z",
    "interrupted": False,
    "eligible": {"value": False, "reasons": ["dirty tree", 7]},
    "commit": {"sha": "f" * 40, "dirty": True},
    "contract_sha256": HASH["a"],
    "stack": {"file": "compose/reference\\stack.yaml", "sha256": HASH["b"]},
    "criteria": [
        row("lost", 0, "failed"),
        row("done", 1, "passed"),
        row("x", None, "inconclusive"),
    ],
    "steps": [],
    "trace": {"head": HASH["c"], "count": 2.0},
    "key": {"keyid": HASH["d"], "kind": "provided"},
    "figures": {"0": 0, "1": 1},
    "runtime": "compose",
    "containers": [
        box("postgres:18", HASH["e"]),
        box("app:1", HASH["a"]),
    ],
    "counts": {
        "containers": 2,
        "containers_down": 0,
        "container_restarts": 0,
        "oom_kills": 0,
    },
    "images": [
        {"reference": "postgres:18", "id": f"sha256:{HASH['e']}"},
        {"reference": "app:1", "id": f"sha256:{HASH['a']}"},
    ],
}
CLAIMS = Claims(
    run_id="20261120-234512-2",
    verdict="failed",
    exit_code=2,
    started_utc="2026-11-20T23:45:12Z",
    ended_utc="2026-11-20T23:45:12Z",
    eligible=False,
    reasons=("dirty tree", "7"),
    commit="f" * 40,
    dirty=True,
    contract_sha256=HASH["a"],
    stack_name="stack.yaml",
    stack_sha256=HASH["b"],
    passed=("done",),
    not_passed=("lost", "x"),
    trace_head=HASH["c"],
    trace_count=2,
    keyid=HASH["d"],
    key_kind="provided",
    images=(("app:1", HASH["a"]), ("postgres:18", HASH["e"])),
)


def summary(**changes: Any) -> dict[str, Any]:
    """The summary; `trace__count=0` sets a key of a part, None as a whole part removes it."""
    document = copy.deepcopy(SUMMARY)
    for name, value in changes.items():
        where, _, last = name.rpartition("__")
        (document[where] if where else document)[last] = value
    return document


def refusal(**changes: Any) -> str:
    with pytest.raises(ClaimError) as caught:
        read_claims(summary(**changes))
    return str(caught.value)


def test_every_claim_is_read_from_its_place() -> None:
    assert read_claims(SUMMARY) == CLAIMS


def test_an_eligible_run_says_so() -> None:
    passed = {
        "verdict": "passed",
        "exit_code": 0,
        "criteria": [row("done", 1, "passed")],
        "eligible": {"value": True, "reasons": []},
        "commit": {"sha": "f" * 64, "dirty": False},
    }
    claims = read_claims(summary(**passed))
    assert (claims.eligible, claims.dirty, claims.clean_commit) == (True, False, "f" * 64)
    assert claims.headline == "PASSED, eligible for a release"


def test_what_a_run_may_not_know_is_none() -> None:
    nothing = {"sha": None, "dirty": None}
    changes: dict[str, Any] = {"commit": nothing, "stack": None, "contract_sha256": None}
    changes |= {"images": [], "containers": [], "counts": {}}
    claims = read_claims(summary(**changes))
    known = (claims.commit, claims.dirty, claims.contract_sha256, claims.stack_name)
    assert (*known, claims.stack_sha256, claims.images) == (None, None, None, None, None, ())


LIKE_ID = r"a text like \d{8}-\d{6}(?:-[1-9]\d{0,3})?"
WORDS = "one of passed, failed, inconclusive"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("run_id", "x", f"run_id: expected {LIKE_ID}, got 'x'"),
        ("run_id", 1, f"run_id: expected {LIKE_ID}, got 1"),
        ("verdict", "good", f"verdict: expected {WORDS}, got 'good'"),
        ("exit_code", True, "exit_code: expected int, got True"),
        ("exit_code", "2", "exit_code: expected int, got '2'"),
        ("started_utc", "2026-13-01T00:00:00Z", "started_utc: expected a time, got"),
        (
            "started_utc",
            "2026-11-20T23:45:13Z",
            "ended_utc: expected 2026-11-20T23:45:13Z or later",
        ),
        ("ended_utc", "yesterday", "ended_utc: expected a text like"),
        ("eligible", [], "eligible: expected an object, got []"),
        ("eligible__value", 1, "value: expected bool, got 1"),
        ("eligible__reasons", "none", "reasons: expected list, got 'none'"),
        ("commit", "f", "commit: expected an object, got 'f'"),
        ("commit__sha", "F" * 40, "sha: expected a text like"),
        ("commit__dirty", "no", "dirty: expected bool, got 'no'"),
        ("contract_sha256", "x", "contract_sha256: expected a text like [0-9a-f]{64}, got 'x'"),
        ("stack", 1, "stack: expected an object, got 1"),
        ("stack__file", 1, "file: expected str, got 1"),
        ("stack__sha256", HASH["a"] + "a", "sha256: expected a text like"),
        ("criteria", {}, "criteria: expected a list, got {}"),
        ("criteria", [1], "criteria[0]: expected an object, got 1"),
        ("criteria", [{"id": "x"}], f"criteria[0].outcome: expected {WORDS}, got None"),
        ("trace", None, "trace: expected an object, got None"),
        ("trace__head", "x", "head: expected a text like [0-9a-f]{64}, got 'x'"),
        ("trace__count", "2", "trace count: expected a number, got '2'"),
        ("trace__count", True, "trace count: expected a number, got True"),
        ("trace__count", 0, "trace count: expected 1 or more, got 0"),
        ("trace__count", 1.5, "trace count: expected 1 or more, got 1.5"),
        ("key", "x", "key: expected an object, got 'x'"),
        ("key__keyid", None, "keyid: expected a text like [0-9a-f]{64}, got None"),
        ("key__kind", "found", "kind: expected a text like self-signed|provided, got 'found'"),
        ("images", {}, "images: expected a list, got {}"),
        ("images", [0], "images[0]: expected an object, got 0"),
        ("images", [{"reference": 1, "id": ""}], "reference: expected str, got 1"),
        ("images", [{"reference": "a", "id": "e"}], "id: expected a text like sha256:"),
    ],
)
def test_a_part_of_another_kind_is_refused_by_name(name: str, value: object, says: str) -> None:
    assert refusal(**{name: value}).startswith(says)


@pytest.mark.parametrize("value", [None, [], "x"])
def test_what_is_no_object_is_no_summary(value: object) -> None:
    with pytest.raises(ClaimError, match=r"^summary: expected an object, got "):
        read_claims(value)


def test_a_trace_of_one_event_is_enough() -> None:
    assert read_claims(summary(trace__count=1)).trace_count == 1


def trace(**last: object) -> bytes:
    events = ({"event": "seen"}, {"event": "verdict", "verdict": "failed", "exit_code": 2, **last})
    return b"".join(json.dumps(one).encode() + b"\n" for one in events)


def test_the_last_event_is_the_verdict() -> None:
    check_last_event(trace(), CLAIMS)
    alone = trace().splitlines(keepends=True)[1]
    check_last_event(alone, CLAIMS)


@pytest.mark.parametrize(
    "change", [{"event": "x"}, {"verdict": "passed"}, {"exit_code": 1}, {"exit_code": 2.0}]
)
def test_another_last_event_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ClaimError) as caught:
        check_last_event(trace(**change), CLAIMS)
    wanted = "last line: expected the event ('verdict', 'failed', 2), got "
    assert str(caught.value).startswith(wanted)
    with pytest.raises(ClaimError, match=r"^last line: expected an object, got 1"):
        check_last_event(trace() + b"1\n", CLAIMS)
