"""Bring together what the checks look at: the stack file, env files, Compose file, secrets."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from common.cli import ConfigurationError
from common.documents import read_yaml
from configuration.compose_file import ComposeFile, read_compose_file, written
from configuration.env_files import read_env_file
from configuration.model import Subject
from configuration.settings import Setting, make_setting, url_passwords
from stack.load import is_url, load_stack
from stack.placeholders import fill
from stack.secret_values import make_secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from configuration.live import Live
    from stack.model import Stack

MADE, SECRET_FILE = "made", "secret-file"
# Stands for the folder that a run makes for its secret files.
SECRETS_FOLDER = "{secrets}"
_LARGEST_SECRET_BYTES = 1 << 20
_SUFFIXES = frozenset(
    {".yaml", ".yml", ".json", ".toml", ".ini", ".cfg", ".conf", ".env", ".properties"}
)
_NOT_ENTERED = frozenset({".git", ".venv", "node_modules", "__pycache__"})


def gather(
    stack_file: Path,
    *,
    environ: Mapping[str, str],
    env_files: Sequence[Path] = (),
    runtime: str | None = None,
    state: Path | None = None,
    live: Live | None = None,
) -> Subject:
    """Everything that can be known without starting the system.

    Raises:
        ConfigurationError: the stack file, an env file or the Compose file can't be read, or
            the stack file has no such runtime.
    """
    named = [read_env_file(path) for path in env_files]
    known = dict(environ)
    for file in named:
        known = {**file.values(known), **known}  # what is exported wins, as with Compose
    stack, broken = _load(stack_file, known)
    if runtime not in {None, *stack.runtimes}:
        raise ConfigurationError(
            f"{stack.file}: expected a runtime of the stack file "
            f"({', '.join(stack.runtimes)}), got {runtime!r}"
        )
    runtimes = (runtime,) if runtime else stack.runtimes
    compose = _compose(stack, known) if "compose" in runtimes else None
    taken_in = [read_env_file(path) for path in (compose.env_files() if compose else ())]
    subject = Subject(
        stack=stack,
        runtimes=runtimes,
        environ=known,
        env_files=(*named, *taken_in),
        compose=compose,
        files=tuple(_files(stack, compose)),
        broken_urls=broken,
        state=state,
        live=live,
        posix=os.name == "posix",
    )
    return replace(subject, settings=tuple(_settings(subject, environ)))


def _load(path: Path, environ: Mapping[str, str]) -> tuple[Stack, dict[str, str]]:
    """The stack as if every variable were right, so that all that is wrong can be listed."""
    value = read_yaml(path).value
    value = value if isinstance(value, dict) else {}
    required = [name for name in value.get("required_env") or () if isinstance(name, str)]
    complete = {**environ, **{name: "set" for name in required if not environ.get(name)}}
    broken = {}
    for item in value.get("services") or ():
        name = item.get("url_env") if isinstance(item, dict) else None
        if name and environ.get(name) and not is_url(environ[name]):
            broken[str(name)] = str(item.get("name"))
            del complete[name]
    return load_stack(path, complete), broken


def _compose(stack: Stack, environ: Mapping[str, str]) -> ComposeFile | None:
    if stack.compose is None:
        return None
    places = {"here": stack.here, "state": "{state}", "secrets": SECRETS_FOLDER}
    told = {name: fill(text, places) for name, text in stack.compose.environment.items()}
    beside = stack.compose.file.parent / ".env"
    values = {**environ, **told}
    if beside.is_file():
        values = {**read_env_file(beside).values(values), **values}
    return read_compose_file(stack.compose.file, values)


def _settings(subject: Subject, environ: Mapping[str, str]) -> Iterator[Setting]:
    found = [*_own_secrets(subject, environ), *_of_env_files(subject)]
    values = {**subject.environ, **{item.name: item.value for item in found}}
    if "process" in subject.runtimes and subject.stack.process:
        found += _of_process(subject, values)
    if subject.compose:
        found += _of_compose(subject, subject.compose)
        found += _secret_files(subject.compose)
    for item in found:
        yield item
        yield from url_passwords(item)


def _own_secrets(subject: Subject, environ: Mapping[str, str]) -> Iterator[Setting]:
    """The stack's secrets as a run would have them: given, else made; and what it requires."""
    live = subject.live.secrets if subject.live else {}
    for name in subject.stack.secrets:
        given = live.get(name) or subject.environ.get(name)
        source = "environment" if environ.get(name) or name in live else "env-file"
        value = given or make_secret()
        place = f"{name} ({'given' if given else 'made for a run'})"
        yield Setting(name, place, value, value, name, source if given else MADE, secret=True)
    for name in subject.stack.required_env:
        text = subject.environ.get(name, "")
        if text and name not in subject.stack.secrets:
            place = f"{name} (required)"
            yield make_setting(name, text, values={}, place=place, source="environment")


def _of_env_files(subject: Subject) -> Iterator[Setting]:
    named = frozenset(subject.stack.secrets)
    for file in subject.env_files:
        filled = file.values(subject.environ)
        for entry in file.entries:
            item = make_setting(
                entry.name,
                entry.raw,
                values={**subject.environ, **filled},
                place=f"{subject.place_of(file.path)}:{entry.line}: {entry.name}",
                source="env-file",
                named=named,
            )
            value = entry.raw if entry.literal else item.value
            yield replace(item, value=value, path=str(file.path))


def _of_process(subject: Subject, values: Mapping[str, str]) -> Iterator[Setting]:
    plan = subject.stack.process
    if plan is None:
        return
    shared = {"": plan.environment}
    own = {name: entry.environment for name, entry in plan.services.items()}
    for service, variables_ in {**shared, **own}.items():
        where = f"services.{service}.environment" if service else "environment"
        for name, raw in variables_.items():
            place = f"{subject.stack.file.name}: runtimes.process.{where}.{name}"
            yield make_setting(
                name, raw, values=values, place=place, source="stack", service=service
            )


def _of_compose(subject: Subject, compose: ComposeFile) -> Iterator[Setting]:
    named = frozenset(subject.stack.secrets)
    for service in compose.services:
        for item in compose.variables_of(service):
            raw = f"${{{item.name}}}" if item.raw is None else item.raw
            place = f"{compose.path.name}: services.{service}.{item.section}.{item.name}"
            yield make_setting(
                item.name,
                raw,
                values=compose.values,
                place=place,
                source="compose",
                named=named,
                service=service,
            )


def _secret_files(compose: ComposeFile) -> Iterator[Setting]:
    for name, entry in compose.secrets.items():
        place = f"{compose.path.name}: secrets.{name}"
        if variable := entry.get("environment"):
            raw = f"${{{written(variable)}}}"
            yield replace(
                make_setting(name, raw, values=compose.values, place=place, source="compose"),
                secret=True,
            )
        text = compose.fill(entry.get("file", ""))
        if not text or text.startswith(SECRETS_FOLDER):
            continue  # made by a run: it is among the stack's own secrets
        path = compose.path.parent / text
        value = _content(path)
        yield Setting(name, place, value, value, name, SECRET_FILE, secret=True, path=str(path))


def _content(path: Path) -> str:
    """The text of a secret file; "" where there is none, or it is no text."""
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_SECRET_BYTES).decode("utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError):
        return ""


def _files(stack: Stack, compose: ComposeFile | None) -> Iterator[Path]:
    """Configuration files that the Compose file mounts or names, below the stack's folder."""
    if compose is None:
        return
    named = [mount for name in compose.services for mount in compose.mounts(name)]
    named += [compose.fill(item.get("file", "")) for item in compose.configs.values()]
    for text in dict.fromkeys(named):
        if not text.startswith((".", "/", "~")) and not (compose.path.parent / text).is_file():
            continue  # a volume
        path = (compose.path.parent / Path(text).expanduser()).resolve()
        if path == stack.file or not text:
            continue  # its own schema and placeholders hold it
        if path.is_file() and path.suffix in _SUFFIXES:
            yield path
        # A folder of the machine, such as /etc, is not the stack's to answer for.
        elif path.is_dir() and path.is_relative_to(compose.path.parent.resolve()):
            yield from _below(path)


def _below(folder: Path) -> Iterator[Path]:
    for name, folders, files in os.walk(folder):
        folders[:] = sorted(set(folders) - _NOT_ENTERED)
        yield from (Path(name, file) for file in sorted(files) if Path(file).suffix in _SUFFIXES)
