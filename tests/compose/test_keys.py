"""Keys in containers: each service reads its own and everybody's public ones, no other (G3a)."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from compose.reference_image import REFERENCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.docker, pytest.mark.stack]
SIX = ("gateway", "model-router", "memory-engine", "sessions", "executor", "control-plane")
SECRETS = ("CLIENT_TOKEN", "DATABASE_ADMIN_PASSWORD", "DATABASE_PASSWORD", "QUEUE_PASSWORD")
LOOK = """
import json, os
def found(folder):
    for at, folders, names in os.walk(folder):
        yield from (os.path.join(at, name) for name in names)
def tried(path, mode):
    try:
        open(path, mode).close()
        return True
    except OSError:
        return False
files = sorted(found("/keys"))
print(json.dumps({
    "uid": os.getuid(), "groups": sorted({os.getgid(), *os.getgroups()}),
    "read": [path for path in files if tried(path, "rb")],
    "written": [path for path in files if tried(path, "ab")],
    "made": [at for at, _, _ in os.walk("/keys") if tried(at + "/made", "xb")],
    "state": [at for at in os.listdir("/state") if tried("/state/" + at + "/made", "xb")],
}))
"""


class System:
    """The reference system's compose file under a project of its own."""

    def __init__(self, secrets: Path) -> None:
        """Use secrets of this folder."""
        self._environ = {**os.environ, "SECRETS_FOLDER": str(secrets), "RESTART_POLICY": "no"}
        self._project = f"keys-test-{os.getpid()}"

    def compose(self, *arguments: str) -> str:
        """One compose command; its output."""
        done = subprocess.run(
            ["docker", "compose", "--file", "compose.yaml", "--project-name", self._project,
             "--profile", "ci", *arguments],
            cwd=REFERENCE, env=self._environ, capture_output=True, text=True, check=False,
            timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, (arguments, done.stderr[-3000:])
        return done.stdout

    def run(self, service: str, *command: str) -> str:
        """A command in a container as this service has it."""
        return self.compose("run", "--rm", "--no-deps", "--no-TTY", service, *command)

    def look(self, service: str) -> Any:
        """What a service can read and write of keys and state."""
        return json.loads(self.run(service, "python", "-c", LOOK))


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Keys as `prepare` makes them; the servers that it waits for run beside it."""
    folder = tmp_path_factory.mktemp("secrets")
    for name in SECRETS:
        (folder / name).write_text(f"{name.lower()}-0123456789abcdef0123456789abcdef")
        (folder / name).chmod(0o444)
    found = System(folder)
    try:
        found.compose("up", "--build", "--detach", "prepare")  # not an older image
        found.compose("wait", "prepare")
        yield found
    finally:
        found.compose("down", "--volumes", "--timeout", "1")


@pytest.mark.parametrize("service", SIX)
def test_a_service_reads_its_own_private_key_only_and_writes_none(
    system: System, service: str
) -> None:
    seen = system.look(service)
    own = [f"/keys/private/{service}/signing.pem"]
    if service == "control-plane":
        own.insert(0, "/keys/private/control-plane/audit.pem")
    assert seen["read"] == own + sorted(f"/keys/public/{name}.json" for name in SIX)
    assert (seen["written"], seen["made"]) == ([], [])
    assert seen["state"] == [service]
    assert seen["uid"] == 10010 + SIX.index(service)
    assert seen["groups"] == [seen["uid"]]


def test_the_targets_and_tools_see_no_key_at_all(system: System) -> None:
    for service in ("targets",):
        seen = system.look(service)
        assert (seen["read"], seen["written"], seen["made"], seen["state"]) == ([], [], [], [])


def test_keys_rotate_without_anybody_being_told(system: System) -> None:
    """The command of docs/service-tokens.md, and what it leaves to read."""
    rotate = ("python", "-m", "services.rotate_keys")
    before = system.run("prepare", *rotate, "--list")
    told = system.run("prepare", *rotate, "--all", "--overlap", "60")
    assert told.count("signs with") == len(SIX)
    after = system.run("prepare", *rotate, "--list")
    assert (before.count("no end"), after.count("no end"), after.count("s left")) == (6, 6, 6)
    seen = system.look("gateway")
    assert "/keys/private/gateway/signing.pem" in seen["read"]


def test_a_service_can_not_rotate_keys(system: System) -> None:
    command = ("python", "-m", "services.rotate_keys", "gateway")
    with pytest.raises(AssertionError, match="run it as the keys' owner"):
        system.run("gateway", *command)
