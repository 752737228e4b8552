"""Load a stack file: schema first, then what a schema can't say."""

from __future__ import annotations

import os
import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from common.cli import ConfigurationError
from common.documents import Document, JsonPath, read_yaml
from common.hashing import sha256_bytes
from common.schema import check
from security.section import read_security, security_problems
from stack.compose.file import read_section
from stack.file_modes import PLACEHOLDERS, file_mode_problems, read_file_modes
from stack.model import (
    Golden,
    ProcessRuntimeFile,
    Service,
    ServiceProcess,
    Stack,
    Store,
    Target,
    Workload,
)
from stack.packer import QUERY_NAMES, REPOSITORY_NAMES, read_packer
from stack.placeholders import unknown_placeholders
from traffic.section import read_traffic, traffic_problems

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

LAUNCH_NAMES = frozenset({"python", "state", "here"})
COMPOSE_NAMES = frozenset({"here", "state", "secrets"})
JOB_NAMES = frozenset({"index", "strategy", "priority", "target_url", "target_name"})


def load_stack(path: Path, environ: Mapping[str, str] = os.environ) -> Stack:
    """Read, check and convert a stack file.

    Args:
        path: the YAML file.
        environ: where `url_env` overrides (P8) and `required_env` are looked up.

    Raises:
        ConfigurationError: one line with file, line, path in the file, expected and got.
    """
    document = read_yaml(path)
    check(document, "stack")
    _check_references(document)
    _check_placeholders(document)
    _check_traffic(document)
    _check_file_modes(document)
    _check_security(document)
    value = document.value
    stack = Stack(
        file=path.resolve(),
        sha256=sha256_bytes(path.read_bytes()),
        name=value["name"],
        description=value.get("description", ""),
        services=tuple(_service(item, environ) for item in value["services"]),
        runtimes=tuple(value["runtimes"]),
        process=_process(value["runtimes"].get("process"), path.resolve().parent),
        compose=read_section(value["runtimes"].get("compose"), path.resolve().parent),
        secrets=tuple(value.get("secrets", ())),
        required_env=tuple(value.get("required_env", ())),
        stores=_stores(value.get("stores", {})),
        workload=_workload(value["workload"]),
        golden=tuple(_golden(item) for item in value.get("golden", ())),
        pack=read_packer(value.get("pack")),
        traffic=read_traffic(value.get("traffic", ())),
        file_modes=read_file_modes(value.get("file_modes", ())),
        security=read_security(value.get("security")),
    )
    missing = [name for name in stack.required_env if not environ.get(name)]
    if missing:
        raise ConfigurationError(
            f"{path}: the environment variable {missing[0]} is required and not set: export it"
        )
    return stack


def start_order(services: Iterable[Service]) -> tuple[tuple[str, ...], ...]:
    """Services in waves: each wave needs only services of the waves before it.

    Raises:
        ConfigurationError: the dependencies form a circle.
    """
    waiting = {service.name: set(service.depends_on) for service in services}
    waves: list[tuple[str, ...]] = []
    while waiting:
        wave = tuple(name for name, needs in waiting.items() if not needs & waiting.keys())
        if not wave:
            raise ConfigurationError(
                f"the dependencies of {', '.join(sorted(waiting))} form a circle: remove one"
            )
        waves.append(wave)
        for name in wave:
            del waiting[name]
    return tuple(waves)


def _refuse(document: Document, where: JsonPath, message: str) -> NoReturn:
    dotted = ".".join(map(str, where))
    raise ConfigurationError(f"{document.path}:{document.line_of(where)}: {dotted}: {message}")


def _check_references(document: Document) -> None:
    value = document.value
    names = [item["name"] for item in value["services"]]
    for index, name in enumerate(names):
        if name in names[:index]:
            message = f"the service {name!r} stands twice: expected once"
            _refuse(document, ("services", index), message)
    for index, item in enumerate(value["services"]):
        where: JsonPath = ("services", index)
        for need in item.get("depends_on", ()):
            _known(document, (*where, "depends_on"), need, names)
        _check_port(document, (*where, "url"), item["url"])
    try:
        start_order(_service(item, {}) for item in value["services"])
    except ConfigurationError as problem:
        _refuse(document, ("services",), str(problem))
    _check_runtimes(document, names)
    workload = value["workload"]
    _known(document, ("workload", "service"), workload["service"], names)
    verify = workload["verify"]
    store_names = list(value.get("stores", {}))
    _known(document, ("workload", "verify", "store"), verify["store"]["store"], store_names)
    if memory := verify.get("memory"):
        _known(document, ("workload", "verify", "memory"), memory["service"], names)
    for index, item in enumerate(value.get("golden", ())):
        _known(document, ("golden", index, "service"), item["service"], names)
    _check_pack(document, names)


def _check_pack(document: Document, names: list[str]) -> None:
    if pack := document.value.get("pack"):
        _known(document, ("pack", "service"), pack["service"], names)


def _check_traffic(document: Document) -> None:
    value = document.value
    services = [item["name"] for item in value["services"]]
    problems = traffic_problems(value.get("traffic", ()), services, value.get("secrets", ()))
    for where, message in problems:
        _refuse(document, where, message)


def _check_file_modes(document: Document) -> None:
    value = document.value
    for where, message in file_mode_problems(value.get("file_modes", ()), [*value["runtimes"]]):
        _refuse(document, where, message)


def _check_security(document: Document) -> None:
    value = document.value
    services = [item["name"] for item in value["services"]]
    secrets = value.get("secrets", ())
    for where, message in security_problems(value.get("security"), services, secrets):
        _refuse(document, where, message)


def _check_runtimes(document: Document, names: list[str]) -> None:
    value = document.value
    process = value["runtimes"].get("process", {"services": {}})
    for name in process["services"]:
        _known(document, ("runtimes", "process", "services", name), name, names)
    if "process" in value["runtimes"] and (lost := sorted(set(names) - set(process["services"]))):
        where = ("runtimes", "process", "services")
        _refuse(document, where, f"expected a command for every service, got none for {lost[0]!r}")
    for name in value["runtimes"].get("compose", {}).get("services", {}):
        _known(document, ("runtimes", "compose", "services", name), name, names)
    for store, places in value.get("stores", {}).items():
        for runtime in places:
            _known(document, ("stores", store, runtime), runtime, [*value["runtimes"]])


def _known(document: Document, where: JsonPath, name: str, known: list[str]) -> None:
    if name not in known:
        _refuse(document, where, f"expected one of {', '.join(known) or 'none'}, got {name!r}")


def _check_port(document: Document, where: JsonPath, url: str) -> None:
    if not is_url(url):
        _refuse(document, where, f"expected a URL with a port from 1 to 65535, got {url!r}")


def is_url(url: str) -> bool:
    """An http or https URL with a host that can be looked up and a port from 1 to 65535."""
    try:
        parts = urlsplit(url)
        parts.hostname.encode("idna") if parts.hostname else None
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _check_placeholders(document: Document) -> None:
    value = document.value
    secrets = {f"secret:{name}" for name in value.get("secrets", ())}
    for section, names in (
        (("runtimes", "process"), LAUNCH_NAMES | secrets),
        (("runtimes", "compose"), COMPOSE_NAMES),
        (("stores",), LAUNCH_NAMES),
        (("workload", "headers"), secrets),
        (("workload", "submit", "body"), JOB_NAMES),
        (("workload", "poll", "path"), frozenset({"job_id"})),
        (("workload", "verify", "memory", "path"), frozenset({"job_id"})),
        (("golden",), secrets),
        (("pack", "headers"), secrets),
        (("pack", "query"), QUERY_NAMES),
        (("pack", "repository"), REPOSITORY_NAMES),
        (("file_modes",), PLACEHOLDERS),
    ):
        part: Any = value
        for key in section:
            part = part.get(key, {}) if isinstance(part, dict) else {}
        for where, unknown in unknown_placeholders(part, names, section):
            expected = ", ".join(f"{{{name}}}" for name in sorted(names)) or "none"
            _refuse(document, where, f"unknown placeholder {{{unknown}}}: expected {expected}")
    query = value["workload"]["verify"]["store"]["query"]
    if not re.search(r":job_id\b", query):
        where = ("workload", "verify", "store", "query")
        _refuse(document, where, f"expected the parameter :job_id in the query, got {query!r}")


def _service(item: Mapping[str, Any], environ: Mapping[str, str]) -> Service:
    known = {entry.name for entry in fields(Service)}
    values = {key: value for key, value in item.items() if key in known}
    values["depends_on"] = tuple(item.get("depends_on", ()))
    override = environ.get(item.get("url_env", "")) if item.get("url_env") else None
    if override:
        if not is_url(override):
            raise ConfigurationError(
                f"{item['url_env']}: expected an http or https URL, got {override!r}"
            )
        values["url"] = override
        values["overridden"] = True
    values["url"] = values["url"].rstrip("/")
    return Service(**values)


def _process(item: Mapping[str, Any] | None, here: Path) -> ProcessRuntimeFile | None:
    if item is None:
        return None
    return ProcessRuntimeFile(
        services={
            name: ServiceProcess(
                tuple(entry["command"]), entry.get("environment", {}), entry.get("folder")
            )
            for name, entry in item["services"].items()
        },
        requirements=here / item["requirements"] if "requirements" in item else None,
        environment=item.get("environment", {}),
        prepare=tuple(tuple(command) for command in item.get("prepare", ())),
        imports=tuple(item.get("imports", ())),
    )


def _stores(value: Mapping[str, Any]) -> dict[str, dict[str, Store]]:
    return {
        name: {
            runtime: Store(name, entry["kind"], entry["location"])
            for runtime, entry in runtimes.items()
        }
        for name, runtimes in value.items()
    }


def _workload(value: Mapping[str, Any]) -> Workload:
    submit, poll, verify = value["submit"], value["poll"], value["verify"]
    memory = verify.get("memory", {})
    return Workload(
        service=value["service"],
        headers=value.get("headers", {}),
        submit_method=submit.get("method", "POST"),
        submit_path=submit["path"],
        submit_body=submit["body"],
        job_id=submit["job_id"],
        idempotency_header=submit.get("idempotency_header"),
        poll_path=poll["path"],
        poll_status=poll["status"],
        poll_digest=poll.get("digest"),
        poll_error=poll.get("error"),
        completed=tuple(poll["completed"]),
        failed=tuple(poll["failed"]),
        strategies=tuple(value["strategies"]),
        priorities=tuple(value["priorities"]),
        targets={
            name: tuple(Target(item["name"], item["url"]) for item in items)
            for name, items in value["targets"].items()
        },
        store=verify["store"]["store"],
        store_query=verify["store"]["query"],
        store_compare=verify["store"]["compare"],
        memory_service=memory.get("service"),
        memory_path=memory.get("path"),
        memory_digest=memory.get("digest"),
    )


def _golden(item: Mapping[str, Any]) -> Golden:
    expect = item["expect"]
    return Golden(
        name=item["name"],
        service=item["service"],
        method=item.get("method", "GET"),
        path=item["path"],
        headers=item.get("headers", {}),
        body=item.get("body"),
        expect_status=expect["status"],
        expect_json=expect.get("json", {}),
        expect_contains=tuple(expect.get("contains", ())),
    )
