"""traffic.answers: only the expected answer is a good one."""

from __future__ import annotations

from typing import Any

import pytest
from traffic_system import profile

from traffic.answers import captures, problem_of
from traffic.model import Step


def step(**changes: Any) -> Step:
    return profile("/", **changes).steps[0]


def capturing(body: bytes, where: str) -> dict[str, object]:
    made = step()
    return captures(Step(made.name, "GET", "/", {}, (None,), made.expect, {"ID": where}), body)


@pytest.mark.parametrize(
    ("expect", "body"),
    [
        ({}, b"anything"),
        ({"json": {"/a/0": 1}}, b'{"a": [1]}'),
        ({"json": {"/n": "{sequence}"}}, b'{"n": 7}'),
        ({"json": {"/text": "number {sequence}"}}, b'{"text": "number 7"}'),
        ({"contains": ["\u00e9", "b"]}, "a\u00e9b".encode()),
    ],
)
def test_a_good_answer_has_no_problem(expect: dict[str, Any], body: bytes) -> None:
    assert problem_of(step(expect={"status": 200, **expect}), 200, body, {"sequence": 7}) is None


@pytest.mark.parametrize(
    ("expect", "body", "says"),
    [
        ({"json": {"/a": 1}}, b"no json", "/a: expected 1, got None"),
        ({"json": {"/a": 1}}, b'{"a": 2}', "/a: expected 1, got 2"),
        ({"json": {"/n": "{sequence}"}}, b'{"n": 8}', "/n: expected 7, got 8"),
        ({"contains": ["done"]}, b"", "expected 'done' in the answer, got ''"),
    ],
)
def test_a_wrong_answer_is_said(expect: dict[str, Any], body: bytes, says: str) -> None:
    assert problem_of(step(expect={"status": 200, **expect}), 200, body, {"sequence": 7}) == says


def test_a_secret_is_taken_out_before_the_text_is_cut() -> None:
    """Half a secret is one that no redactor finds."""
    body = b"x" * 95 + b"a-secret-value"
    said = problem_of(step(), 500, body, {}, lambda text: text.replace("a-secret-value", "[red]"))
    assert said == f"expected status 200, got 500: {'x' * 95}[red]"


def test_what_an_answer_lacks_is_not_captured() -> None:
    assert capturing(b'{"id": "x"}', "/id") == {"capture:ID": "x"}
    assert capturing(b'{"id": null}', "/id") == {}
    assert capturing(b'{"id": {"deep": 1}}', "/id") == {}
    assert capturing(b"no json", "/id") == {}
