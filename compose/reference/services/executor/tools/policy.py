"""The tool policy: data that is read at every request and denies whatever it does not list.

It fails closed: a missing, unreadable or invalid file denies everything (G3b). Only the
executor decides; what a caller sends can't widen it.
"""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

POLICY_FILE = Path(__file__).resolve().parents[3] / "policies" / "tools.yaml"
SIZE_LIMIT_BYTES = 1 << 20


class DeniedError(Exception):
    """The policy or the sandbox refuses an action; the message is safe to show a caller."""


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as problem:
        raise ValueError(f"not a regular expression: {problem}") from problem
    return pattern


Pattern = Annotated[str, Field(min_length=1), AfterValidator(_compiles)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Form(_Strict):
    """One way in which a command may be called: exactly one of the four keys."""

    exactly: list[str] | None = None
    each: Pattern | None = None
    at_most: int = Field(default=1, ge=1, le=64)
    file: Literal[True] | None = None
    folder: Literal[True] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Form:
        kinds = (self.exactly, self.each, self.file, self.folder)
        if sum(kind is not None for kind in kinds) != 1:
            raise ValueError("expected exactly one of exactly, each, file, folder")
        return self

    def fits(self, arguments: list[str]) -> bool:
        """Whether the arguments (without the program) have this form."""
        if self.exactly is not None:
            return arguments == self.exactly
        if self.each is not None:
            pattern = re.compile(self.each)
            return len(arguments) <= self.at_most and all(map(pattern.fullmatch, arguments))
        return len(arguments) == 1


class Command(_Strict):
    """One program and the forms in which it may be called."""

    program: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,31}\z")
    forms: list[Form] = Field(min_length=1)


class SearchPath(_Strict):
    """Where programs are looked up, by kind of system."""

    posix: list[str] = Field(min_length=1)
    windows: list[str] = Field(min_length=1)


class ShellPolicy(_Strict):
    """Which programs run, and within which limits."""

    path: SearchPath
    time_out_seconds: float = Field(gt=0, le=60)
    output_limit_bytes: int = Field(ge=1, le=SIZE_LIMIT_BYTES)
    commands: list[Command]

    def form_of(self, argv: list[str]) -> Form:
        """The listed form that an argument list has.

        Raises:
            DeniedError: the program or its arguments are not listed.
        """
        forms = [
            form for entry in self.commands if entry.program == argv[0] for form in entry.forms
        ]
        if not forms:
            raise DeniedError("shell: the program is not on the list")
        for form in forms:
            if form.fits(argv[1:]):
                return form
        raise DeniedError("shell: the program is not allowed with these arguments")


class FilePolicy(_Strict):
    """What may be done with files of the sandbox folder."""

    operations: list[Literal["read", "write", "list"]]
    size_limit_bytes: int = Field(ge=1, le=16 * SIZE_LIMIT_BYTES)
    total_limit_bytes: int = Field(ge=1)
    entries_limit: int = Field(ge=1, le=100_000)


class BrowserPolicy(_Strict):
    """How allow-listed hosts may be fetched."""

    size_limit_bytes: int = Field(ge=1, le=SIZE_LIMIT_BYTES)
    time_out_seconds: float = Field(gt=0, le=60)


class Policy(_Strict):
    """The whole file; a tool whose section is absent is denied."""

    version: Literal[1]
    shell: ShellPolicy | None = None
    file: FilePolicy | None = None
    browser: BrowserPolicy | None = None


class PolicyFile:
    """A policy file, parsed again whenever its bytes have changed.

    Args:
        path: the YAML file; it lies outside the sandbox, so no tool can write it.
    """

    def __init__(self, path: Path = POLICY_FILE) -> None:
        """Nothing is read before the first use."""
        self._path = path
        self._lock = threading.Lock()
        self._bytes: bytes | None = None
        self._policy: Policy | None = None

    def current(self) -> Policy:
        """The policy as the file stands now.

        Raises:
            DeniedError: there is no valid policy, so nothing is allowed.
        """
        try:
            data = self._path.read_bytes()
        except OSError as problem:
            raise DeniedError("there is no readable tool policy: every action is denied") from (
                problem
            )
        with self._lock:
            if data != self._bytes:
                self._bytes, self._policy = data, _parse_or_none(data)
            if self._policy is None:
                raise DeniedError("the tool policy is not valid: every action is denied")
            return self._policy


def _parse_or_none(data: bytes) -> Policy | None:
    try:
        return parse(data)
    except ValueError:
        return None


def parse(data: bytes) -> Policy:
    """A policy from the bytes of its file.

    Raises:
        ValueError: not YAML, a key that is unknown, missing or there twice, a wrong value.
    """
    try:
        value = yaml.load(data, Loader=_UniqueKeys)  # noqa: S506 - a SafeLoader
        return Policy.model_validate(value)
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_input=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from problem
    except (yaml.YAMLError, RecursionError) as problem:
        raise ValueError(f"not YAML: {problem}") from problem


class _UniqueKeys(yaml.SafeLoader):
    """YAML keeps the last of two equal keys: a policy that says two things says neither."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - yaml's signature
        keys = [str(key.value) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", node.start_mark
                )
        return super().construct_mapping(node, deep=deep)
