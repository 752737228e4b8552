"""What must hold around a project: names, ports, secret files, and who answered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from common.cli import ConfigurationError, Exit, ScriptError
from stack import ports
from stack.compose.containers import (
    PROJECT_LABEL,
    SERVICE_LABEL,
    inspect,
    list_project,
    owner_of_port,
)
from stack.compose.engine import ask, find_endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stack.compose.engine import Engine
    from stack.compose.file import Composed
    from stack.model import Service, Stack
    from stack.runtime import Started


def at_engine_host(stack: Stack, environ: Mapping[str, str]) -> Stack:
    """The stack with its services where the engine publishes them.

    A URL variable of the user wins; so does a URL that names another machine already.
    """
    endpoint = find_endpoint(environ)
    if endpoint.local:
        return stack
    local = ports.local_ports(stack.services)
    moved = tuple(
        replace(item, url=_at(item.url, endpoint.host))
        if item.name in local and not item.overridden
        else item
        for item in stack.services
    )
    return replace(stack, services=moved)


def _at(url: str, host: str) -> str:
    parts = urlsplit(url)
    shown = f"[{host}]" if ":" in host else host
    return urlunsplit(parts._replace(netloc=f"{shown}:{parts.port}" if parts.port else shown))


def check_names(composed: Composed, names: Mapping[str, str], file: str) -> None:
    """Refuse a stack file whose services the Compose file does not have.

    Raises:
        ConfigurationError: names the first one and what there is.
    """
    for service, name in names.items():
        if name not in composed.services:
            known = ", ".join(composed.services)
            raise ConfigurationError(
                f"{file}: expected a service for {service} ({known}), got no {name!r}: "
                "name it under runtimes.compose.services, or add its profile"
            )


def check_secret_files(composed: Composed, file: str) -> None:
    """Refuse a Compose file whose secret files are not there.

    Raises:
        ConfigurationError: names the secret and where its file was looked for.
    """
    for name, path in composed.secret_files().items():
        if not Path(path).is_file():
            raise ConfigurationError(
                f"{file}: the secret {name}: expected the file {path}, got none: name it under "
                "`secrets` of the stack file and take its folder from {secrets}, or make it"
            )


def require_free_ports(engine: Engine, composed: Composed, services: Sequence[Service]) -> None:
    """Refuse to start where a port is taken, by name of the container or process that has it.

    Raises:
        ScriptError: exit code 1; nothing was started.
    """
    wanted = ports.local_ports(services)
    numbers = set(wanted.values())
    wanted |= {name: port for name, port in composed.published().items() if port not in numbers}
    for name, port in wanted.items():
        if not ports.port_is_free(port) and (owner := owner_of_port(engine, port)):
            raise ScriptError(
                f"port {port} of {name} is taken by {owner}, nothing was started: stop it",
                Exit.FAILED,
            )
    ports.require_free(wanted)


def check_published(
    engine: Engine,
    project: str,
    services: Mapping[str, Service],
    names: Mapping[str, str],
    started: Sequence[Started],
) -> None:
    """Refuse an answer that did not come from the service's own container.

    Raises:
        ScriptError: the container does not publish the port that answered.
    """
    if not engine.endpoint.local:
        return
    known = {item.service: item.id for item in list_project(engine, project)}
    for name in (item.name for item in started if item.healthy):
        found = inspect(engine, known[names[name]])
        published = (found["NetworkSettings"]["Ports"] or {}).values()
        bound = {int(one["HostPort"]) for entries in published for one in entries or ()}
        port = ports.local_ports([services[name]]).get(name)
        if found["HostConfig"]["NetworkMode"] != "host" and port and port not in bound:
            got = ", ".join(map(str, sorted(bound))) or "none"
            raise ScriptError(
                f"expected the container of {name} to publish port {port}, got {got}: "
                "what answered there is something else"
            )


def check_images(engine: Engine, project: str, images: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a container of another image than the one that was built, pulled and looked into.

    Raises:
        ScriptError: a tag was moved meanwhile: names the service and both images.
    """
    expected = {name: str(row["id"]) for row in images for name in row["services"]}
    filters = {"label": f"{PROJECT_LABEL}={project}"}
    for row in ask(lambda: engine.api.containers(all=True, filters=filters)):
        name = row["Labels"].get(SERVICE_LABEL)
        wanted = expected.get(name)
        if wanted and (got := inspect(engine, row["Id"])["Image"]) != wanted:
            raise ScriptError(
                f"{name}: expected the image {wanted}, got {got}: its tag was moved while the "
                "system was started: start again"
            )
