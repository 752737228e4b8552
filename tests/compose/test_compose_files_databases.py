"""The databases as compose.yaml starts them: passwords asked for, shown nowhere, nothing lost."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from compose.reference_image import REFERENCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.docker
PROJECT = f"hc-databases-{os.getpid()}"
PASSWORDS = {"CLIENT_TOKEN": "client-1", "DATABASE_ADMIN_PASSWORD": "admin~4"}
PASSWORDS |= {"DATABASE_PASSWORD": "data.2", "QUEUE_PASSWORD": "queue_3"}


class Databases:
    """PostgreSQL and Redis of a project of their own; no port is published."""

    def __init__(self, secrets_folder: Path) -> None:
        """See the class."""
        self._environ = {**os.environ, "SECRETS_FOLDER": str(secrets_folder)}
        self._environ |= {"RESTART_POLICY": "no"}

    def compose(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        files = ("--project-name", PROJECT, "--file", "compose.yaml", "--profile", "ci")
        return subprocess.run(
            ["docker", "compose", *files, *arguments],
            cwd=REFERENCE,
            env=self._environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def redis(self, *command: str, password: str = PASSWORDS["QUEUE_PASSWORD"]) -> str:
        done = self.compose(
            "exec", "-T", "--env", f"REDISCLI_AUTH={password}", "redis", "redis-cli", *command
        )
        return (done.stdout + done.stderr).strip()

    def postgres(self, query: str, password: str) -> subprocess.CompletedProcess[str]:
        address = f"host=127.0.0.1 user=postgres dbname=proof password={password}"
        return self.compose("exec", "-T", "postgres", "psql", address, "-XAtc", query)

    def up(self) -> subprocess.CompletedProcess[str]:
        return self.compose("up", "--detach", "--wait", "postgres", "redis")


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    folder = tmp_path_factory.mktemp("secrets")
    for name, value in PASSWORDS.items():
        (folder / name).write_text(f"{value}\n")
        (folder / name).chmod(0o444)
    made = Databases(folder)
    started = made.up()
    try:
        assert started.returncode == 0, started.stderr
        yield made
    finally:
        made.compose("down", "--volumes", "--timeout", "5")


def test_no_password_is_in_an_argument_a_variable_or_the_settings(databases: Databases) -> None:
    ids = databases.compose("ps", "--all", "--quiet").stdout.split()
    shown = subprocess.run(
        ["docker", "inspect", *ids], capture_output=True, text=True, check=True
    ).stdout
    look = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'"
    for name in ("postgres", "redis"):
        shown += databases.compose("exec", "-T", name, "sh", "-c", look).stdout
    assert "redis-server" in shown
    assert not [value for value in PASSWORDS.values() if value in shown]


def test_strangers_and_wrong_passwords_are_refused(databases: Databases) -> None:
    assert databases.redis("ping") == "PONG"
    assert "NOAUTH" in databases.redis("ping", password="")
    assert "WRONGPASS" in databases.redis("ping", password="wrong")
    assert databases.postgres("SELECT 7", PASSWORDS["DATABASE_ADMIN_PASSWORD"]).stdout == "7\n"
    refused = databases.postgres("SELECT 7", "wrong")
    assert "password authentication failed" in refused.stderr
    assert databases.postgres("SHOW password_encryption", "admin~4").stdout == "scram-sha-256\n"


def test_what_redis_acknowledged_survives_kill_9(databases: Databases) -> None:
    """`appendfsync always`: an answer follows its write (design.md: never lost)."""
    assert databases.redis("CONFIG", "GET", "appendfsync").endswith("always")
    assert databases.redis("CONFIG", "GET", "maxmemory-policy").endswith("noeviction")
    identity = databases.redis("XADD", "jobs:stream:high", "*", "job", "1")
    assert databases.compose("kill", "--signal", "KILL", "redis").returncode == 0
    assert databases.up().returncode == 0
    assert databases.redis("XRANGE", "jobs:stream:high", "-", "+").split()[0] == identity


@pytest.mark.usefixtures("databases")  # its project is taken down afterwards
def test_a_password_that_could_break_the_settings_ends_redis_with_one_line(tmp_path: Path) -> None:
    bad = tmp_path / "QUEUE_PASSWORD"
    bad.write_text('x"\nappendonly no\n')
    bad.chmod(0o444)
    for name in PASSWORDS:
        if not (tmp_path / name).exists():
            (tmp_path / name).write_text("x")
    other = Databases(tmp_path)
    done = other.compose("run", "--rm", "--no-deps", "-T", "redis")
    assert done.returncode == 78
    assert "error: QUEUE_PASSWORD: expected letters, digits" in done.stderr
