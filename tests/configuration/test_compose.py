"""Compose files (K1): every check with a broken and a good case."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fakes.configuration import STRONG

from common.cli import ConfigurationError
from configuration.compose_file import read_compose_file
from configuration.gather import gather

if TYPE_CHECKING:
    from fakes.configuration import Configured

REFERENCE = Path(__file__).resolve().parents[2] / "compose/reference/stack.yaml"
BROKEN: list[tuple[str, dict[str, Any], str]] = [
    ("compose-literals", {"environment": {"DB_PASSWORD": "hunter2"}}, "stands in the file"),
    ("compose-literals", {"environment": ["API_TOKEN=hunter2"]}, "stands in the file"),
    ("compose-literals", {"command": "app --db-password=hunter2 -v"}, "stands in the file"),
    ("compose-literals", {"command": "DB_PASSWORD=hunter2 app"}, "stands in the file"),
    ("compose-literals", {"environment": {"DB_PASSWORD": "pre${X}"}}, "stands in the file"),
    ("compose-literals", {"environment": {"URL": "amqp://me:hunter2@mq/"}}, "in the file"),
    ("compose-literals", {"build": {"args": {"NPM_TOKEN": "hunter2"}}}, "stands in the"),
    ("compose-literals", {"command": ["redis-server", "--requirepass", "hunter2"]}, "file"),
    ("compose-defaults", {"environment": {"DB_PASSWORD": "${P:-hunter2}"}}, "${P} has a"),
    ("compose-defaults", {"environment": {"X": "${API_KEY-hunter2}"}}, "${API_KEY} has"),
    ("compose-defaults", {"environment": {"U": "amqp://a:${PASSWORD:-x}@b"}}, "has a de"),
    ("compose-trusted-connections", {"image": "postgres:17",
     "environment": {"POSTGRES_HOST_AUTH_METHOD": "trust"}}, "is trust"),
    ("compose-trusted-connections", {"image": "postgres",
     "environment": {"POSTGRES_PASSWORD_FILE": "/x", "POSTGRES_INITDB_ARGS": "-A trust"}}, "scram"),
    ("compose-trusted-connections", {"image": "registry.local:5000/team/mysql:8@sha256:12",
     "environment": {"MYSQL_ALLOW_EMPTY_PASSWORD": "yes"}}, "allows an empty"),
    ("compose-trusted-connections", {"image": "bitnami/redis",
     "environment": {"ALLOW_EMPTY_PASSWORD": "yes"}}, "allows an empty"),
    ("compose-trusted-connections", {"image": "redis:8"}, "told no password: set requirepass"),
    ("compose-trusted-connections", {"image": "redis:8",
     "command": "redis-server --protected-mode no"}, "--protected-mode"),
    ("compose-trusted-connections", {"image": "mongo:8"}, "MONGO_INITDB_ROOT_PASSWORD_FILE"),
    ("compose-trusted-connections", {"image": "neo4j", "environment": ["NEO4J_AUTH=none"]}, "none"),
    ("compose-trusted-connections", {"image": "elastic/elasticsearch:9",
     "environment": ["xpack.security.enabled=false"]}, "xpack.security"),
    ("compose-published-databases", {"image": "postgres", "ports": ["5432:5432"]}, "every address"),
    ("compose-published-databases", {"image": "own", "ports": ["10.1.2.3:1:6379/tcp"]}, "10.1.2.3"),
    ("compose-published-databases", {"image": "mysql", "ports": [{"target": 3306,
     "published": "3306", "host_ip": "192.168.1.2"}]}, "192.168.1.2"),
    ("compose-published-databases", {"image": "redis", "ports": ["6379"]}, "every address"),
    ("compose-published-databases", {"image": "redis", "ports": ["${ADDRESS}:1:6379"]}, "10.0.0.1"),
    ("compose-privileges", {"privileged": True}, "it is privileged"),
    ("compose-privileges", {"cap_add": ["CAP_SYS_ADMIN"]}, "the capability SYS_ADMIN"),
    ("compose-privileges", {"cap_add": ["ALL"]}, "the capability ALL"),
    ("compose-privileges", {"pid": "host"}, "pid: host"),
    ("compose-privileges", {"security_opt": ["seccomp:unconfined"]}, "security profile"),
    ("compose-privileges", {"volumes": ["/:/host:ro"]}, "it mounts / of the machine"),
    ("compose-engine-sockets", {"volumes": ["/var/run/docker.sock:/x:ro"]}, "root"),
    ("compose-engine-sockets", {"volumes": [{"type": "bind", "source": "/run/podman/podman.sock",
     "target": "/x"}]}, "engine's socket"),
    ("compose-host-network", {"network_mode": "host"}, "network_mode: host"),
]  # fmt: skip
GOOD: list[tuple[str, dict[str, Any]]] = [
    ("compose-literals", {"environment": {"DB_PASSWORD_FILE": "/run/secrets/x", "X": "y"}}),
    ("compose-literals", {"environment": {"DB_PASSWORD": "${P}", "U": "amqp://a:${P}@b/"}}),
    ("compose-literals", {"command": "app --token-file /x --password --verbose"}),
    ("compose-literals", {"command": "P=$$(cat /x) app --password $$P --token=$$(cat /x)"}),
    ("compose-literals", {"environment": {"DB_PASSWORD": ""}}),
    ("compose-defaults", {"environment": {"DB_PASSWORD": "${P:?set it}", "A": "${B:-c}"}}),
    ("compose-defaults", {"environment": {"DB_PASSWORD": "${P:-}"}}),
    ("compose-trusted-connections", {"image": "postgres:17", "environment": {
        "POSTGRES_PASSWORD_FILE": "/run/secrets/x",
        "POSTGRES_INITDB_ARGS": "--auth-host=scram-sha-256 --auth-local=trust"}}),
    ("compose-trusted-connections", {"image": "redis", "command": "x --requirepass $$P"}),
    ("compose-trusted-connections", {"image": "mysql", "environment": ["SA_PASSWORD=x",
        "MYSQL_ROOT_PASSWORD=${P}"]}),
    ("compose-published-databases", {"image": "postgres", "ports": ["127.0.0.1:5432:5432"]}),
    ("compose-published-databases", {"image": "redis", "ports": ["[::1]:6379:6379"]}),
    ("compose-published-databases", {"image": "postgres"}),
    ("compose-privileges", {"cap_add": ["NET_BIND_SERVICE"], "volumes": ["./x:/etc", "d:/root"]}),
    ("compose-engine-sockets", {"volumes": ["./docker:/x", "data:/docker"]}),
    ("compose-host-network", {"network_mode": "none"}),
]  # fmt: skip


@pytest.mark.parametrize(("check", "service", "why"), BROKEN)
def test_a_broken_service_is_found(
    configured: Configured, check: str, service: dict[str, Any], why: str
) -> None:
    configured.compose({"db": {"image": "app", **service}})
    configured.environ = {"P": STRONG, "ADDRESS": "10.0.0.1", "PASSWORD": STRONG}
    said = configured.problems(check)
    assert why in said
    assert "services.db" in said
    assert "hunter2" not in said


@pytest.mark.parametrize(("check", "service"), GOOD)
def test_a_good_service_passes(configured: Configured, check: str, service: dict[str, Any]) -> None:
    configured.compose({"db": {"image": "app", **service}})
    configured.environ = {"P": STRONG}
    found = configured.result(check)
    # An option whose value the shell fills in is not even looked at.
    assert (found.outcome, found.problems) in {("passed", ()), ("skipped", ())}
    assert found.outcome == "passed" or "command" in service


@pytest.mark.parametrize("check", sorted({row[0] for row in BROKEN}))
def test_without_a_compose_file_a_check_is_skipped(configured: Configured, check: str) -> None:
    assert configured.outcome(check) == "skipped"


def test_anchors_merges_tags_and_included_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(
        "x-a: &a {environment: &e {ONE: '1'}}\n"
        "x-b: &b {network_mode: host}\n"
        "include: [more.yaml]\n"
        "services:\n"
        "  one: {<<: [*a, *b], ports: !override ['1:1']}\n"
        "  two: {environment: {<<: *e, TWO: '2'}, extends: {file: '${BASE}', service: x}}\n"
    )
    (tmp_path / "more.yaml").write_text("services: {three: {privileged: true}}\n")
    (tmp_path / "base.yaml").write_text("services: {x: {cap_add: [ALL]}}\n")
    found = read_compose_file(tmp_path / "compose.yaml", {"BASE": "base.yaml"})
    assert set(found.services) == {"one", "two", "three", "x"}
    assert found.services["one"]["network_mode"] == "host"
    assert [item.name for item in found.variables_of("two")] == ["ONE", "TWO"]


@pytest.mark.parametrize(
    "text", ["services: {}\n", "[1]\n", "services: {a: [}\n", "include: [x.yaml]\n"]
)
def test_a_file_that_can_not_be_read_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "compose.yaml").write_text(text)
    with pytest.raises(ConfigurationError):
        read_compose_file(tmp_path / "compose.yaml", {})


def test_an_env_file_that_compose_takes_in_is_read(configured: Configured) -> None:
    configured.compose({"db": {"image": "app", "env_file": ["./db.env", {"path": "none.env"}]}})
    (configured.folder / "db.env").write_text("DB_PASSWORD=short\n")
    assert "db.env:1: DB_PASSWORD" in configured.problems("secret-length")


def test_the_reference_system_takes_its_secrets_from_files_only() -> None:
    """Every service of compose.yaml, whatever its profile."""
    subject = gather(REFERENCE, environ={}, runtime="compose")
    assert subject.compose
    assert len(subject.compose.services) > 12
    assert not [item for item in subject.secrets if item.source in {"compose", "env-file"}]
