"""Compose files: default passwords, open databases, containers that own the machine (K1)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from configuration import variables
from configuration.model import Check, Row
from configuration.settings import is_secret_name, url_passwords

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from configuration.compose_file import ComposeFile
    from configuration.model import Subject

_NONE = "no runtime has a Compose file"
# An option or an assignment of a command, and a variable that only its shell fills.
_OPTION = re.compile(r"(?:--|(?:^|\s)(?=\w+=))([A-Za-z_][\w-]*)[= ](?!-)(\S+)")
_OF_THE_SHELL = re.compile(r"\$\$(?:\{\w+\}|\w+|\([^()]*\))")
_CACHES = frozenset({"redis", "valkey"})
_YES = frozenset({"1", "true", "yes", "on"})
# What an image is, by its name, and where it is told a password (without _FILE).
_DATABASES: Mapping[str, tuple[str, ...]] = {
    "postgres": ("POSTGRES_PASSWORD", "POSTGRESQL_PASSWORD", "POSTGRESQL_POSTGRES_PASSWORD"),
    "timescaledb": ("POSTGRES_PASSWORD",),
    "pgvector": ("POSTGRES_PASSWORD",),
    "postgis": ("POSTGRES_PASSWORD",),
    "mysql": ("MYSQL_ROOT_PASSWORD", "MYSQL_RANDOM_ROOT_PASSWORD"),
    "mariadb": ("MARIADB_ROOT_PASSWORD", "MYSQL_ROOT_PASSWORD", "MARIADB_RANDOM_ROOT_PASSWORD"),
    "mongo": ("MONGO_INITDB_ROOT_PASSWORD", "MONGODB_ROOT_PASSWORD"),
    "redis": ("REDIS_PASSWORD",),
    "valkey": ("VALKEY_PASSWORD",),
    "rabbitmq": ("RABBITMQ_DEFAULT_PASS", "RABBITMQ_PASSWORD"),
    "elasticsearch": ("ELASTIC_PASSWORD", "ELASTICSEARCH_PASSWORD"),
    "influxdb": ("DOCKER_INFLUXDB_INIT_PASSWORD",),
    "mssql": ("MSSQL_SA_PASSWORD", "SA_PASSWORD"),
    "neo4j": ("NEO4J_AUTH",),
    "clickhouse": ("CLICKHOUSE_PASSWORD",),
}
_DATABASE_PORTS = frozenset(
    {"5432", "3306", "33060", "1433", "1521", "27017", "6379", "9200", "9300", "11211", "5672"}
    | {"15672", "9042", "2379", "8086", "7687", "8123", "9000", "26257", "5984", "28015"}
)
_EMPTY_ALLOWED = re.compile(
    r"^(?:MYSQL|MARIADB)_ALLOW_EMPTY(?:_ROOT)?_PASSWORD$|^ALLOW_EMPTY_PASSWORD$"
)
_TRUST = re.compile(r"(?:--auth-host|--auth|-A)[= ]?['\"]?trust\b")
_OPEN_COMMAND = re.compile(
    r"--protected-mode[= ]no\b|--requirepass[= ](?:''|\"\")|--noauth\b|--skip-grant-tables\b"
)
_SETS_PASSWORD = re.compile(r"\brequirepass\b|--aclfile|\baclfile\b|\buser default\b")
_ENGINE_SOCKETS = ("docker.sock", "containerd.sock", "podman.sock", "docker_engine", "crio.sock")
_POWERS = frozenset(
    {"ALL", "SYS_ADMIN", "SYS_PTRACE", "SYS_MODULE", "DAC_READ_SEARCH", "NET_ADMIN", "BPF"}
)
_HOST_SPACES = ("pid", "ipc", "uts", "userns_mode", "cgroup")


def literal_secrets(subject: Subject) -> Iterator[Row]:
    """No secret stands in the Compose file itself."""
    for place, name, raw in _told(subject):
        written = "".join(part for part in variables.parts(raw) if isinstance(part, str)).strip()
        literal = is_secret_name(name) and bool(written)
        in_url = any(True for _ in _literal_passwords(subject, name, raw))
        problem = "a secret stands in the file: read it from a file secret (`secrets:`)"
        yield Row(place, problem if literal or in_url else "")


def default_secrets(subject: Subject) -> Iterator[Row]:
    """No secret has a default value that everybody knows."""
    for place, name, raw in _told(subject):
        for found in variables.references(raw):
            if not (is_secret_name(name) or is_secret_name(found.name) or "://" in raw):
                continue
            default = found.operator.endswith("-") and variables.fill(found.word, {})
            secret = is_secret_name(name) or is_secret_name(found.name)
            problem = f"${{{found.name}}} has a default: make it required (`:?`) or a file secret"
            yield Row(place, problem if default and secret else "")


def trusted_connections(subject: Subject) -> Iterator[Row]:
    """No database lets somebody in without a password."""
    compose = subject.compose
    if compose is None:
        return
    for service in compose.services:
        told = _environment(compose, service)
        place = f"{compose.path.name}: services.{service}"
        command = " ".join(text for _, text in compose.texts(service))
        if kind := _kind(compose, service):
            yield Row(f"{place} ({kind})", _open(kind, told, command))
        elif any(_EMPTY_ALLOWED.match(name) for name in told):
            yield Row(place, _open("", told, command))


def published_databases(subject: Subject) -> Iterator[Row]:
    """No database can be reached from other machines."""
    compose = subject.compose
    for service in compose.services if compose else ():
        assert compose is not None  # noqa: S101 - there are services
        kind, ports = _kind(compose, service), [*compose.ports(service)]
        place = f"{compose.path.name}: services.{service}"
        if kind and not ports:
            yield Row(f"{place} ({kind})")
        for port in ports:
            targets = {port.target} & _DATABASE_PORTS
            if not (kind or targets):
                continue
            problem = (
                f"port {port.target} of a database is published on "
                f"{port.host or 'every address'}: publish it on 127.0.0.1, or not at all"
            )
            yield Row(f"{place}.ports ({port.target})", "" if port.on_loopback else problem)


def privileges(subject: Subject) -> Iterator[Row]:
    """No container has the rights of the machine."""
    for place, item, compose in _services(subject):
        wide = [*_wide(item, compose)]
        yield Row(place, f"{wide[0]}: take it away" if wide else "")


def engine_sockets(subject: Subject) -> Iterator[Row]:
    """No container holds the socket of the engine, which is root on the machine."""
    for place, _, compose in _services(subject):
        name = place.rpartition(".")[2]
        held = any(socket in mount for mount in compose.mounts(name) for socket in _ENGINE_SOCKETS)
        problem = "it mounts the engine's socket, which is root on this machine: take it away"
        yield Row(place, problem if held else "")


def host_network(subject: Subject) -> Iterator[Row]:
    """No container sits in the network of the machine."""
    for place, item, compose in _services(subject):
        shared = compose.fill(item.get("network_mode", "")) == "host"
        yield Row(place, "it has network_mode: host: give it a network" if shared else "")


def _services(subject: Subject) -> Iterator[tuple[str, Mapping[str, Any], ComposeFile]]:
    if subject.compose:
        for name, item in subject.compose.services.items():
            yield f"{subject.compose.path.name}: services.{name}", item, subject.compose


def _told(subject: Subject) -> Iterator[tuple[str, str, str]]:
    """(place, name, text) of every variable that has a text in the file."""
    compose = subject.compose
    for service in compose.services if compose else ():
        assert compose is not None  # noqa: S101 - there are services
        for item in compose.variables_of(service):
            if item.raw is not None:
                place = f"{compose.path.name}: services.{service}.{item.section}.{item.name}"
                yield place, item.name, item.raw
        for key, text in _raw_texts(compose.services[service]):
            for name, raw in _OPTION.findall(_OF_THE_SHELL.sub("", text)):
                known = name.replace("-", "_")
                if is_secret_name(known):
                    yield f"{compose.path.name}: services.{service}.{key}", known, raw


def _raw_texts(item: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Commands as they are written, where a list holds options one by one."""
    for key in ("command", "entrypoint"):
        value = item.get(key)
        words = value if isinstance(value, list) else [value] if value else []
        if all("\n" not in str(word) for word in words):  # a script is no list of options
            yield key, " ".join(map(str, words))


def _literal_passwords(subject: Subject, name: str, raw: str) -> Iterator[str]:
    """Passwords that stand in a URL, and not behind a variable."""
    from configuration.settings import make_setting

    assert subject.compose is not None  # noqa: S101 - it told us
    item = make_setting(name, raw, values=subject.compose.values, place="", source="compose")
    for password in url_passwords(item):
        if any(part for part in variables.parts(password.raw) if isinstance(part, str)):
            yield password.name


def _environment(compose: ComposeFile, service: str) -> dict[str, str]:
    return {
        item.name: compose.values.get(item.name, "") if item.raw is None else compose.fill(item.raw)
        for item in compose.variables_of(service)
        if item.section == "environment"
    }


def _kind(compose: ComposeFile, service: str) -> str:
    """Which database an image is, by the last part of its name; "" where it is none."""
    image = compose.fill(compose.services[service].get("image", ""))
    name = image.rpartition("/")[2].partition("@")[0].partition(":")[0].lower()
    return next(
        (kind for kind in _DATABASES if re.search(rf"(?:^|-){kind}(?:$|-server|-stack|ql)", name)),
        "",
    )


def _open(kind: str, told: Mapping[str, str], command: str) -> str:
    """How a database lets somebody in without a password; "" where it does not."""
    if ways := [*_open_ways(told, command)]:
        return ways[0]
    names = _DATABASES.get(kind, ())
    given = any(told.get(name) or told.get(f"{name}_FILE") for name in names)
    if not names or given or _SETS_PASSWORD.search(command):
        return ""
    return f"it is told no password: set {'requirepass' if kind in _CACHES else f'{names[0]}_FILE'}"


def _open_ways(told: Mapping[str, str], command: str) -> Iterator[str]:
    if told.get("POSTGRES_HOST_AUTH_METHOD", "").lower() == "trust":
        yield "POSTGRES_HOST_AUTH_METHOD is trust: remove it, and set a password"
    if _TRUST.search(f"{told.get('POSTGRES_INITDB_ARGS', '')} {command}"):
        yield "the database is made with --auth=trust: use scram-sha-256"
    for name, value in told.items():
        if _EMPTY_ALLOWED.match(name) and value.lower() in _YES:
            yield f"{name} allows an empty password: remove it, and set a password"
    if told.get("xpack.security.enabled", "").lower() == "false":
        yield "xpack.security.enabled is false: switch it on"
    if told.get("NEO4J_AUTH", "").lower() == "none":
        yield "NEO4J_AUTH is none: set user and password"
    if found := _OPEN_COMMAND.search(command):
        option = re.split(r"[= ]", found[0])[0]
        yield f"its command has {option}: remove it, and set a password"


def _wide(item: Mapping[str, Any], compose: ComposeFile) -> Iterator[str]:
    if compose.fill(item.get("privileged", "")) == "true":
        yield "it is privileged"
    added = {compose.fill(name).upper().removeprefix("CAP_") for name in item.get("cap_add") or ()}
    for power in sorted(added & _POWERS):
        yield f"it has the capability {power}"
    for key in _HOST_SPACES:
        if compose.fill(item.get(key, "")) == "host":
            yield f"it has {key}: host"
    for option in item.get("security_opt") or ():
        if "unconfined" in compose.fill(option) or "label:disable" in compose.fill(option):
            yield "a security profile is switched off"
    for mount in compose.mounts(compose_name(item, compose)):
        if mount.rstrip("/") in {"", "/etc", "/root", "/proc", "/sys", "/var/lib/docker"} and mount:
            yield f"it mounts {mount} of the machine"


def compose_name(item: Mapping[str, Any], compose: ComposeFile) -> str:
    """The name of a service of the file."""
    return next(name for name, known in compose.services.items() if known is item)


CHECKS = (
    Check("compose-literals", "K1", literal_secrets, _NONE),
    Check(
        "compose-defaults",
        "K1",
        default_secrets,
        "no Compose file fills a secret from a variable",
    ),
    Check(
        "compose-trusted-connections", "K1", trusted_connections, "no Compose file has a database"
    ),
    Check(
        "compose-published-databases", "K1", published_databases, "no Compose file has a database"
    ),
    Check("compose-privileges", "K1", privileges, _NONE),
    Check("compose-engine-sockets", "K1", engine_sockets, _NONE),
    Check("compose-host-network", "K1", host_network, _NONE),
)
