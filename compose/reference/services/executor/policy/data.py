"""`tools.yaml`: the rules that Rego judges with, and the limits that the tools keep to."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

LARGEST_BYTES = 1 << 20
LONGEST_TEXT = 1000


# Printable ASCII, but what means something else between brackets. ("-" first or last, or in
# a range: one that goes backwards doesn't compile.)
Signs = Annotated[str, Field(pattern=r"^[ !#-Z_`a-z{-~]{1,200}\z")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Text(_Strict):
    """An argument: its first sign, and those after it."""

    first: Signs
    then: Signs
    longest: int = Field(ge=1, le=LONGEST_TEXT)


class Form(_Strict):
    """One way in which a command may be called: exactly one of the four keys."""

    exactly: list[str] | None = None
    each: Text | None = None
    at_most: int = Field(default=1, ge=1, le=64)
    file: Literal[True] | None = None
    folder: Literal[True] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Form:
        kinds = (self.exactly, self.each, self.file, self.folder)
        if sum(kind is not None for kind in kinds) != 1:
            raise ValueError("expected exactly one of exactly, each, file, folder")
        return self


class Command(_Strict):
    """One program and the forms in which it may be called."""

    program: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,31}\z")
    forms: list[Form] = Field(min_length=1)


class ShellRules(_Strict):
    """Which programs run."""

    commands: list[Command]


class FileRules(_Strict):
    """What may be done with files of the sandbox folder."""

    operations: list[Literal["read", "write", "list"]]


class BrowserRules(_Strict):
    """How the allowed hosts may be asked."""

    schemes: list[Literal["http", "https"]]


class Rules(_Strict):
    """What Rego sees as data.rules; a tool whose section is absent is denied."""

    shell: ShellRules | None = None
    file: FileRules | None = None
    browser: BrowserRules | None = None


class SearchPath(_Strict):
    """Where programs are looked up, by kind of system."""

    posix: list[str] = Field(min_length=1)
    windows: list[str] = Field(min_length=1)


class ShellLimits(_Strict):
    """What a program may use up; `network` gives it the executor's own."""

    path: SearchPath
    time_out_seconds: float = Field(gt=0, le=60)
    output_limit_bytes: int = Field(ge=1, le=LARGEST_BYTES)
    network: bool = False
    cpu_seconds: int = Field(default=5, ge=1, le=60)
    memory_bytes: int = Field(default=1 << 28, ge=1 << 24, le=1 << 30)
    open_files: int = Field(default=32, ge=8, le=256)
    processes: int = Field(default=0, ge=0, le=64)
    file_size_bytes: int = Field(default=0, ge=0, le=LARGEST_BYTES)


class FileLimits(_Strict):
    """How much the sandbox folder takes."""

    size_limit_bytes: int = Field(ge=1, le=16 * LARGEST_BYTES)
    total_limit_bytes: int = Field(ge=1)
    entries_limit: int = Field(ge=1, le=100_000)


class BrowserLimits(_Strict):
    """How much of a page is taken, and how long it may take."""

    size_limit_bytes: int = Field(ge=1, le=LARGEST_BYTES)
    time_out_seconds: float = Field(gt=0, le=60)


class Limits(_Strict):
    """What each tool keeps to once its action is allowed."""

    shell: ShellLimits
    file: FileLimits
    browser: BrowserLimits


class PolicyData(_Strict):
    """The whole file."""

    version: Literal[1]
    rules: Rules
    limits: Limits


def parse(data: bytes) -> PolicyData:
    """The data from the bytes of its file.

    Raises:
        ValueError: not YAML, a key that is unknown, missing or there twice, a wrong value.
    """
    try:
        value = yaml.load(data, Loader=_UniqueKeys)  # noqa: S506 - a SafeLoader
        return PolicyData.model_validate(value)
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
