"""Hold what was seen during a case against what must not have been."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from security.model import BYPASSED, CLOSED, HELD, UNEXPECTED, VACUOUS, Problem
from stack.workload import pointer

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence

    from security.instruments import Seen
    from security.model import Case, Security
    from security.wire import Answer, Exchange

SERVER_ERRORS = range(500, 600)
SUCCESSES = range(200, 400)
# What a program of some language writes when it fails: never fit for an answer.
TRACES = re.compile(
    r"Traceback \(most recent call last\)|^\s+File \"[^\"]+\", line \d+|site-packages/"
    r"|\bat [\w$.]+\([\w]+\.java:\d+\)|\bat .+\(.+\.js:\d+:\d+\)|goroutine \d+ \["
    r"|System\.\w+Exception|sqlalchemy\.exc|sqlite3\.\w+Error|psycopg\.|pydantic_core",
    re.MULTILINE,
)
# Alone, without a success, it is no effect: an unexpected refusal.
STATUS = "status"
HEALTH = "health"
_NO_EFFECT = frozenset({"status", "healthy"})


@dataclass(frozen=True)
class Observed:
    """Everything that was seen while an attack ran, and after it."""

    exchanges: Sequence[Exchange] = ()
    changes: Sequence[str] = ()
    processes: Sequence[Seen] = ()
    connections: int = 0
    logged: Sequence[str] = ()
    follow_ups: Sequence[str] = ()
    meanwhile: str | None = None
    health: str | None = None
    looked_for: Sequence[str] = field(default_factory=tuple)


def judge(
    expect: Mapping[str, Any], seen: Observed, never: Mapping[str, str]
) -> tuple[str, tuple[Problem, ...]]:
    """The outcome of a case, and why.

    Args:
        expect: what the case says, filled.
        seen: what was observed.
        never: texts that no answer may hold, by what they are called in evidence.
    """
    problems = tuple(_problems(expect, seen, never))
    kinds = {problem.kind for problem in problems}
    if "blind" in kinds:
        return VACUOUS, problems
    if not kinds:
        return HELD, ()
    mild = kinds == {STATUS} and not any(_succeeded(item) for item in seen.exchanges)
    return (UNEXPECTED if mild else BYPASSED), problems


def _succeeded(item: Exchange) -> bool:
    return item.status is not None and item.status in SUCCESSES


def _problems(
    expect: Mapping[str, Any], seen: Observed, never: Mapping[str, str]
) -> Iterator[Problem]:
    for item in dict.fromkeys(map(_shown, seen.exchanges)):
        if item not in expect["status"]:
            yield Problem(STATUS, f"expected {_list(expect['status'])}, got {item}")
    yield from _text_problems(expect, seen.exchanges, never)
    yield from _answer_problems(expect, seen.exchanges)
    yield from _count_problems(expect, seen.exchanges)
    yield from (Problem("file", line) for line in seen.changes)
    yield from _process_problems(expect, seen.processes, never)
    if expect.get("no_connection") and seen.connections:
        yield Problem("connection", f"the canary port got {seen.connections} connections")
    yield from (Problem("log", f"the log of {name} holds it") for name in seen.logged)
    yield from (Problem("follow-up", line) for line in seen.follow_ups)
    if seen.meanwhile:
        yield Problem("meanwhile", seen.meanwhile)
    if seen.health:
        yield Problem(HEALTH, seen.health)


def _shown(item: Exchange) -> int | str:
    return item.status if item.status is not None else CLOSED


def _list(allowed: Sequence[int | str]) -> str:
    return " or ".join(map(str, allowed))


def _text_problems(
    expect: Mapping[str, Any], exchanges: Sequence[Exchange], never: Mapping[str, str]
) -> Iterator[Problem]:
    text = "\n".join(item.text for item in exchanges)
    for number, wanted in enumerate(expect.get("absent", ()), start=1):
        if wanted in text:
            yield Problem("text", f"the answer holds text {number} that must be absent")
    for value, name in never.items():
        if value in text:
            yield Problem("text", f"the answer holds {name}")
    if TRACES.search(text):
        yield Problem("text", "the answer holds a stack trace or an internal error")


def _answer_problems(expect: Mapping[str, Any], exchanges: Sequence[Exchange]) -> Iterator[Problem]:
    answers = [answer for item in exchanges for answer in item.answers]
    for answer in answers:
        for name, wanted in expect.get("headers", {}).items():
            if answer.header(name) != wanted:
                yield Problem("header", f"{name}: expected {wanted!r}, got {answer.header(name)!r}")
        for name in expect.get("no_headers", ()):
            if answer.header(name) is not None:
                yield Problem("header", f"{name}: expected none, got one")
    for answer in answers[:1]:
        yield from (Problem("json", line) for line in json_problems(expect, answer))
    limit = expect.get("output_at_most")
    if limit is not None and (longest := max((len(a.body) for a in answers), default=0)) > limit:
        yield Problem("size", f"expected at most {limit} bytes, got {longest}")


def json_problems(expect: Mapping[str, Any], answer: Answer) -> Iterator[str]:
    """What of `json` and `contains` an answer does not meet; no value of it is shown."""
    value = read_json(answer)
    for where, wanted in expect.get("json", {}).items():
        if pointer(value, where, absent=None) != wanted:
            yield f"{where}: expected {json.dumps(wanted)[:80]}, got something else"
    for number, wanted in enumerate(expect.get("contains", ()), start=1):
        if wanted not in answer.text:
            yield f"the answer does not hold text {number} that it must have"


def read_json(answer: Answer) -> Any:  # noqa: ANN401 - the JSON edge
    """The JSON value of an answer; None where it is none."""
    try:
        return json.loads(answer.body)
    except ValueError:
        return None


def _count_problems(expect: Mapping[str, Any], exchanges: Sequence[Exchange]) -> Iterator[Problem]:
    most = expect.get("answers_at_most")
    got = max((len(item.answers) for item in exchanges), default=0)
    if most is not None and got > most:
        yield Problem("answers", f"expected at most {most} answers on a connection, got {got}")
    good = [item for item in exchanges if _succeeded(item)]
    most = expect.get("successes_at_most")
    if most is not None and len(good) > most:
        yield Problem("successes", f"expected at most {most} successes, got {len(good)}")
    if where := expect.get("one_value"):
        values = {json.dumps(pointer(read_json(item.answers[0]), where)) for item in good}
        if len(values) != 1:
            yield Problem("successes", f"{where}: expected one value, got {len(values)}")


def _process_problems(
    expect: Mapping[str, Any], processes: Sequence[Seen], never: Mapping[str, str]
) -> Iterator[Problem]:
    for text in expect.get("no_process", ()):
        if any(text in item.arguments for item in processes):
            yield Problem("process", "a process was started with the attack's marker")
    wanted = expect.get("clean_environment")
    if wanted is None:
        return
    mine = [
        item
        for item in processes
        if item.arguments.startswith(wanted) and item.environment is not None
    ]
    if not mine:
        yield Problem("blind", "the program was never seen, so nothing is known of its environment")
    for value, name in never.items():
        if any(value in (item.environment or "") for item in mine):
            yield Problem("environment", f"the environment of the process holds {name}")
            return


def expected_of(case: Case) -> str:
    """What a case expects, in one line."""
    return ", ".join(["status " + " or ".join(map(str, case.expect["status"])), *checks_of(case)])


def checks_of(case: Case, security: Security | None = None) -> tuple[str, ...]:
    """What is looked at beside the status."""
    skipped = {*_NO_EFFECT, "contains"}
    found = [name.replace("_", " ") for name in case.expect if name not in skipped]
    found += ["follow-up requests"] if case.then else []
    found += ["watched places"] if security and security.watched else []
    return tuple(found)


def looks_for_effects(case: Case) -> bool:
    """Whether a case says more of what must be than a status."""
    return bool({*case.expect} - _NO_EFFECT) or bool(case.then)


def statuses_of(exchanges: Sequence[Exchange]) -> str:
    """The statuses that came, in one line."""
    shown = dict.fromkeys(str(item.status or "closed") for item in exchanges)
    return "status " + ", ".join(shown)


def server_errors(item: Exchange, allowed: Container[int | str]) -> int:
    """How many answers of one connection are a 5xx that is not allowed."""
    found = [answer.status for answer in item.answers if answer.status in SERVER_ERRORS]
    return sum(status not in allowed for status in found)
