"""Hold a pack index against its schema and the declared checks; three verdicts, as everywhere."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from common.cli import ConfigurationError, ScriptError
from common.documents import parse_json
from common.hashing import canonical_json
from evidence.judging import FAILED, INCONCLUSIVE, PASSED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pack.repository import Repository

READING = ("readable", "An index is strict JSON: UTF-8, no key twice, no NaN, no half a letter.")
SHAPE = ("schema", "The index has the shape of schemas/index.schema.json.")
# More would be the same mistake again.
_PROBLEMS_SHOWN = 3


class UnknownError(Exception):
    """A check that can't be made here and now, and why: inconclusive, never passed."""


class NothingAskedError(Exception):
    """A check on what a reader asked for, where he asked for nothing: it is not listed."""


@dataclass(frozen=True)
class Wanted:
    """What a reader asked for; None is what nobody asked."""

    budget_tokens: int | None = None
    tokenizer: str | None = None
    name: str | None = None
    commit: str | None = None


@dataclass(frozen=True)
class Subject:
    """What the checks look at: an index that fits its schema, its bytes, and its repository."""

    index: Mapping[str, Any]
    data: bytes
    wanted: Wanted = field(default_factory=Wanted)
    source: Repository | None = None

    @property
    def repository(self) -> Repository:
        """The repository that was packed.

        Raises:
            UnknownError: none was given.
        """
        if self.source is None:
            raise UnknownError("no repository was given: add --repo")
        return self.source


@dataclass(frozen=True)
class Check:
    """A declared check: `find` gives one line "place: expected X, got Y" for each problem."""

    id: str
    why: str
    find: Callable[[Subject], Iterator[str]]


@dataclass(frozen=True)
class Finding:
    """What a check came to."""

    id: str
    why: str
    outcome: str
    problems: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The entry of `--json` and of the transcript."""
        return asdict(self) | {"problems": list(self.problems)}


def declare(checks: list[Check], name: str, why: str) -> Callable[..., Any]:
    """A decorator: add a function to a list of checks, under an id and a reason."""

    def add(find: Callable[[Subject], Iterator[str]]) -> Callable[[Subject], Iterator[str]]:
        checks.append(Check(name, why, find))
        return find

    return add


def verify_index(
    data: bytes,
    *,
    repository: Repository | None = None,
    wanted: Wanted | None = None,
    checks: Sequence[Check] | None = None,
) -> tuple[Finding, ...]:
    """Every check on one index; those after the schema only if the index fits it."""
    from common.schema import check_value
    from pack.checks import CHECKS
    from pack.checks_repository import REPOSITORY_CHECKS

    try:
        value = parse_json(data.decode(), "index")
    except UnicodeDecodeError as problem:
        got = f"{problem.reason} at byte {problem.start}"
        return (Finding(*READING, FAILED, (f"index: expected UTF-8 text, got {got}",)),)
    except ConfigurationError as problem:
        return (Finding(*READING, FAILED, (plain_line(problem),)),)
    try:
        check_value(value, "index", "index")
    except ConfigurationError as problem:
        return (Finding(*READING, PASSED), Finding(*SHAPE, FAILED, (plain_line(problem),)))
    try:
        canonical_json(value)
    except (ScriptError, UnicodeEncodeError) as problem:
        return (Finding(*READING, FAILED, (plain_line(problem),)),)
    subject = Subject(value, data, wanted or Wanted(), repository)
    every = (*CHECKS, *REPOSITORY_CHECKS) if checks is None else checks
    made = (_make(check, subject) for check in every)
    return (
        Finding(*READING, PASSED),
        Finding(*SHAPE, PASSED),
        *(finding for finding in made if finding is not None),
    )


def verdict_of(findings: Sequence[Finding]) -> str:
    """Failed if a check failed, else inconclusive if one is or there are none, else passed."""
    outcomes = {finding.outcome for finding in findings}
    if FAILED in outcomes:
        return FAILED
    return PASSED if outcomes == {PASSED} else INCONCLUSIVE


def plain_line(problem: Exception) -> str:
    """An error about somebody else's bytes, on one line of printable ASCII."""
    return ascii(str(problem))[1:-1][:300]


def _make(check: Check, subject: Subject) -> Finding | None:
    problems: list[str] = []
    try:
        problems.extend(check.find(subject))
    except NothingAskedError:
        return None
    except UnknownError as problem:
        if not problems:
            return Finding(check.id, check.why, INCONCLUSIVE, (str(problem),))
    more = len(problems) - _PROBLEMS_SHOWN
    shown = problems[:_PROBLEMS_SHOWN] + ([f"and {more} more"] if more > 0 else [])
    return Finding(check.id, check.why, FAILED if problems else PASSED, tuple(shown))
