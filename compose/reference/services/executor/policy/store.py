"""The policy in force: looked at anew at every request, and closed whenever in doubt."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from services.executor.policy.data import PolicyData, parse
from services.executor.policy.denied import DeniedError
from services.executor.policy.rego import Decision, Rego, RegoError
from services.executor.policy.versions import (
    DATA_FILE,
    PolicyFiles,
    PolicyFilesError,
    read_approved,
    writable_files,
)
from services.kit.logs import log, warn

if TYPE_CHECKING:
    from pathlib import Path

State = Literal["in force", "missing", "drift", "invalid"]
# What no policy allows: one that does is broken, however well it compiles.
_NEVER: tuple[dict[str, object], ...] = (
    {"caller": "nobody", "tool": "unheard-of"},
    {},
    {"tool": True},
)


@dataclass(frozen=True)
class Loaded:
    """A compiled version: what judges, and the limits for what it allows."""

    sha256: str
    rego: Rego
    data: PolicyData


@dataclass(frozen=True)
class PolicyStatus:
    """How the policy stands; `problem` says what is wrong with it, if anything is."""

    state: State
    approved_sha256: str
    found_sha256: str
    problem: str

    @property
    def drift(self) -> bool:
        """Whether the files are others than the approved ones, or may not be trusted so."""
        return self.state in {"missing", "drift"}


class PolicyStore:
    """The policies folder of one executor."""

    def __init__(self, folder: Path, pinned_sha256: str = "") -> None:
        """Nothing is read before the first use.

        Args:
            folder: where `install` puts versions; no tool reaches it.
            pinned_sha256: the only version that may be in force, or "" for any approved one.
        """
        self._folder = folder
        self._pinned = pinned_sha256
        self._lock = threading.Lock()
        self._loaded: Loaded | None = None
        self._status: PolicyStatus | None = None
        self.changes = 0

    def current(self) -> Loaded:
        """The policy as its files stand now.

        Raises:
            DeniedError: there is none that may be used, so nothing is allowed.
        """
        with self._lock:
            status = self._look()
            if self._loaded is None:
                word = status.state if status.state != "in force" else "invalid"
                raise DeniedError(f"policy_{word}", "every action is denied: tell the operator")
            return self._loaded

    def status(self) -> PolicyStatus:
        """How the policy stands now."""
        with self._lock:
            return self._look()

    def _look(self) -> PolicyStatus:
        status, files = self._compare()
        if status.state == "in force" and files is not None:
            status = self._load(status, files)
        if status.state != "in force":
            self._loaded = None
        self._say(status)
        self._status = status
        return status

    def _compare(self) -> tuple[PolicyStatus, PolicyFiles | None]:
        """What is approved beside what is there."""
        try:
            approved, files = read_approved(self._folder)
            found, writable = files.sha256, writable_files(self._folder, approved)
        except (PolicyFilesError, OSError) as trouble:
            return PolicyStatus("missing", self._pinned, "", _line(trouble)), None
        problem = ""
        if found != approved:
            problem = "the files are not those of the approved version"
        elif self._pinned and found != self._pinned:
            problem = "another version is approved than the one that is pinned"
        elif writable:
            problem = f"expected mode 444, got one that can be written: {', '.join(writable)}"
        state: State = "drift" if problem else "in force"
        return PolicyStatus(state, self._pinned or approved, found, problem), files

    def _load(self, status: PolicyStatus, files: PolicyFiles) -> PolicyStatus:
        if self._loaded is not None and self._loaded.sha256 == status.found_sha256:
            return status
        before = self._status
        if before is not None and before.state == "invalid" and _same(before, status):
            return before
        try:
            self._loaded = compile_policy(files)
        except (ValueError, RegoError) as problem:
            return PolicyStatus(
                "invalid", status.approved_sha256, status.found_sha256, _line(problem)
            )
        return status

    def _say(self, status: PolicyStatus) -> None:
        """One line at every change, none while nothing changes."""
        before = self._status
        if before == status:
            return
        if before is not None and before.found_sha256 != status.found_sha256:
            self.changes += 1
        fields = {"policy": status.found_sha256, "approved": status.approved_sha256}
        if status.state == "in force":
            log("policy in force", before=before.found_sha256 if before else "", **fields)
        else:
            warn(f"policy {status.state}: every action is denied", reason=status.problem, **fields)


def compile_policy(files: PolicyFiles) -> Loaded:
    """A version, compiled and tried.

    Raises:
        RegoError: it doesn't compile, can't judge, or allows what no policy allows.
        ValueError: the data are of another form.
    """
    data = parse(files.contents[DATA_FILE])
    modules = {
        name: source.decode("utf-8") for name, source in files.contents.items() if name != DATA_FILE
    }
    rules = {"rules": data.rules.model_dump(mode="json", exclude_none=True)}
    rego = Rego(modules, rules)
    for question in _NEVER:
        if rego.decide(question).allow:
            raise RegoError("it allows a tool that doesn't exist")
    for question in _questions(data):
        rego.decide(question)  # finds a pattern that only Rego can't read
    return Loaded(files.sha256, rego, data)


def _questions(data: PolicyData) -> list[dict[str, object]]:
    """One question for each rule, so that an error shows now and not in business."""
    commands = data.rules.shell.commands if data.rules.shell else []
    shell: list[dict[str, object]] = [
        {"tool": "shell", "argv": [entry.program, "x"]} for entry in commands
    ]
    return [*shell, {"tool": "file", "operation": "read"}, {"tool": "browser", "scheme": "http"}]


def judge(loaded: Loaded, question: dict[str, object]) -> Decision:
    """The policy's decision; an error in it is a denial of its own.

    Raises:
        DeniedError: the policy failed, so nothing is allowed.
    """
    try:
        return loaded.rego.decide(question)
    except RegoError as problem:
        warn("policy failed", reason=str(problem), policy=loaded.sha256)
        raise DeniedError("policy_error", "the policy gave no answer: tell the operator") from (
            problem
        )


def _same(one: PolicyStatus, other: PolicyStatus) -> bool:
    return (one.approved_sha256, one.found_sha256) == (other.approved_sha256, other.found_sha256)


def _line(problem: Exception) -> str:
    return " ".join(str(problem).split())[:300]
