"""traffic.section: the `traffic` section of a stack file is read strictly."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from fakes.system import stack_value, write_value

from common.cli import ConfigurationError
from stack.load import load_stack

if TYPE_CHECKING:
    from pathlib import Path

    from stack.model import Stack

ONE: dict[str, Any] = {
    "name": "chat",
    "service": "front",
    "per_second": 0.3,
    "path": "/healthz",
    "expect": {"status": 200},
}
STEP = {"name": "create", "path": "/x", "expect": {"status": 200}}


def session(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"name": "session", "service": "front", "every_seconds": 300, "steps": [*steps]}


def load(folder: Path, *items: dict[str, Any]) -> Stack:
    return load_stack(write_value(folder, {**stack_value(), "traffic": [*items]}), {})


def without(item: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key not in keys}


def test_a_stack_file_without_traffic_still_loads(tmp_path: Path) -> None:
    assert load_stack(write_value(tmp_path, stack_value()), {}).traffic == ()


def test_a_profile_of_one_request_is_as_short_as_a_golden_one(tmp_path: Path) -> None:
    (profile,) = load(tmp_path, ONE).traffic
    assert (profile.interval_seconds, profile.per_second) == (Fraction(10, 3), 0.3)
    assert (profile.timeout_seconds, profile.first_token, profile.end_step) == (10.0, None, None)
    (step,) = profile.steps
    assert (step.name, step.method, step.bodies) == ("chat", "GET", (None,))


def test_bodies_go_in_turn_and_steps_keep_their_order(tmp_path: Path) -> None:
    gone = {**STEP, "name": "gone", "path": "/x/{capture:ID}", "proves_end": True}
    made = {**STEP, "capture": {"ID": "/id"}, "bodies": [{"a": 1}, {"b": 2}]}
    (profile,) = load(tmp_path, session(made, gone)).traffic
    assert [step.name for step in profile.steps] == ["create", "gone"]
    assert profile.steps[0].bodies == ({"a": 1}, {"b": 2})
    assert profile.steps[1].needs == {"capture:ID"}
    assert profile.end_step == 1


def test_a_step_may_use_the_captures_of_all_steps_before_it(tmp_path: Path) -> None:
    one, two = {**STEP, "capture": {"A": "/a"}}, {**STEP, "capture": {"B": "/b"}}
    (profile,) = load(tmp_path, session(one, two, {**STEP, "path": "/{capture:A}"})).traffic
    assert profile.steps[2].needs == {"capture:A"}


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ([], "expected at least 1 entries"),
        ([{**ONE, "color": 1}], r"traffic\[0\]: unknown key 'color'"),
        ([ONE, ONE], "'chat' stands twice"),
        ([{**ONE, "service": "ghost"}], "expected one of front, jobs, got 'ghost'|got 'ghost'"),
        ([without(ONE, "per_second")], "either per_second or every_seconds"),
        ([{**ONE, "every_seconds": 2}], "either per_second or every_seconds"),
        ([{**ONE, "per_second": 0}], "more than 0"),
        ([{**ONE, "stream": True}], "expected first_token where stream is true"),
        ([{**ONE, "first_token": "x"}], "expected first_token where stream is true"),
        ([without(ONE, "path")], "expected the key 'path', or steps"),
        ([without(ONE, "expect")], "expected the key 'expect', or steps"),
        ([{**ONE, "expect": {}}], "expected the key 'status'"),
        ([{**ONE, "body": {}, "bodies": [{}]}], "either body or bodies"),
        ([{**ONE, "bodies": []}], "at least 1 entries"),
        ([{**ONE, "steps": [STEP]}], "either steps or path, got both"),
        ([session()], "at least 1 entries"),
        ([{**session(STEP), "stream": True, "first_token": "x"}], "one request in a streamed"),
        ([session({**STEP, "body": {}, "bodies": [{}]})], "either body or bodies"),
        ([session({**STEP, "proves_end": True}, STEP)], "at the last step only"),
        ([session({**STEP, "path": "/{capture:ID}"})], r"unknown placeholder \{capture:ID\}"),
        ([session({**STEP, "capture": {"id": "/id"}})], "in capitals"),
        ([{**ONE, "path": "/{index}"}], r"unknown placeholder \{index\}: expected \{sequence\}"),
        ([{**ONE, "path": "/{secret:FAKE_KEY}"}], "unknown placeholder"),
        ([{**ONE, "headers": {"X": "{secret:OTHER}"}}], r"expected \{secret:FAKE_KEY\}, \{seq"),
    ],
)
def test_a_broken_section_is_refused_with_its_place(
    tmp_path: Path, items: list[dict[str, Any]], says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        load(tmp_path, *items)
    assert "stack.yaml:" in str(caught.value)


def test_evidence_about_a_profile_holds_no_header_and_no_body(tmp_path: Path) -> None:
    secret = {**ONE, "headers": {"X": "{secret:FAKE_KEY}"}, "body": {"a": "private"}}
    (profile,) = load(tmp_path, secret).traffic
    assert profile.as_json() == {
        "name": "chat",
        "service": "front",
        "per_second": 0.3,
        "timeout_seconds": 10.0,
        "stream": False,
        "steps": ["chat"],
    }
