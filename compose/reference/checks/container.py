"""Check from inside that a container is hardened: `python -m checks.container`.

Run as the `security` service, which is hardened as the six services are. Each check
breaks its rule on purpose, or reads what the kernel says; exit 1 where one succeeds.
"""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SECRETS_FOLDER = Path("/run/secrets")
# What compose.yaml gives this service; its tests hold the table of all the others.
ALLOWED_SECRETS = frozenset({"CLIENT_TOKEN"})
KEYS_FOLDER = Path("/keys")
PROCESS_STATUS = Path("/proc/self/status")
CODE_FOLDERS = ("/", "/app", "/venv", "/usr/bin", "/keys")
TIMEOUT_SECONDS = 5.0


def runs_as_nobody_in_particular() -> str | None:
    """Neither root nor root's group."""
    ids = (os.getuid(), os.getgid(), *os.getgroups())
    return f"expected no id 0, got {ids}" if 0 in ids else None


def has_no_capability() -> str | None:
    """No capability now, and none to be had: the bounding set is empty."""
    status = process_status()
    found = {name: status.get(name) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")}
    wrong = {name: value for name, value in found.items() if value is None or int(value, 16)}
    return f"expected no capability, got {wrong}" if wrong else None


def gains_no_privilege() -> str | None:
    """A set-uid program gives nothing, and system calls are filtered."""
    status = process_status()
    got = (status.get("NoNewPrivs"), status.get("Seccomp"))
    return None if got == ("1", "2") else f"expected NoNewPrivs 1 and Seccomp 2, got {got}"


def file_system_is_read_only() -> str | None:
    """Code and keys can't be written, not even by their owner."""
    for folder in CODE_FOLDERS:
        try:
            probe = os.open(f"{folder}/written", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as problem:
            if problem.errno in {errno.EROFS, errno.EACCES}:
                continue
            return f"{folder}: expected a read-only file system, got {problem}"
        os.close(probe)
        return f"{folder}: expected a read-only file system, and wrote to it"
    return None


def temporary_folder_runs_nothing() -> str | None:
    """What is written to /tmp can't be executed."""
    program = Path("/tmp/program")  # noqa: S108 - the folder under test
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o700)
    try:
        subprocess.run([str(program)], check=False, timeout=TIMEOUT_SECONDS)
    except PermissionError:
        return None
    finally:
        program.unlink()
    return "expected /tmp to be mounted noexec, and a program in it ran"


def secrets_are_files_only() -> str | None:
    """Every secret is there, is read-only, and is in no variable."""
    files = sorted(SECRETS_FOLDER.glob("*"))
    if not files:
        return f"expected secrets in {SECRETS_FOLDER}, got none"
    for file in files:
        value = file.read_text("utf-8").strip()
        if any(value in text for text in os.environ.values()):
            return f"{file.name}: expected a secret in its file only, got it in a variable"
        if os.access(file, os.W_OK):
            return f"{file.name}: expected a read-only secret, got a writable one"
    return None


def sees_its_own_secrets_only() -> str | None:
    """The secrets that it is allowed, all of them and no other, and nobody's private key."""
    found = {path.name for path in SECRETS_FOLDER.iterdir()}
    if found != ALLOWED_SECRETS:
        return f"expected the secrets {sorted(ALLOWED_SECRETS)}, got {sorted(found)}"
    keys = sorted(path.name for path in KEYS_FOLDER.rglob("*") if not path.is_dir())
    return f"expected no keys, got {', '.join(keys)}" if keys else None


def queue_wants_its_password() -> str | None:
    """Redis answers a stranger on the same network with a refusal."""
    with socket.create_connection(("redis", 6379), TIMEOUT_SECONDS) as connection:
        connection.sendall(b"PING\r\n")
        answer = connection.recv(200)
    return None if answer.startswith(b"-NOAUTH") else f"expected -NOAUTH, got {answer[:40]!r}"


def database_wants_its_password() -> str | None:
    """PostgreSQL asks a stranger on the same network for a SCRAM proof."""
    import psycopg

    try:
        psycopg.connect("host=postgres user=proof dbname=proof password=wrong").close()
    except psycopg.OperationalError as problem:
        refused = "password authentication failed" in str(problem)
        return None if refused else f"expected a refused password, got {problem}"
    return "expected a refused password, and a wrong one got in"


def code_has_no_known_weakness() -> str | None:
    """Bandit finds nothing of medium severity and confidence in the code of the image."""
    command = [sys.executable, "-m", "bandit", "-q", "-r", "/app", "-ll", "-ii", "-f", "txt"]
    command += [
        "--skip",
        "B506",
    ]  # yaml.load with a SafeLoader of ours: ruff's S506 stands at the line
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    return None if done.returncode == 0 else (done.stdout + done.stderr).strip()[-2000:]


CHECKS: tuple[Callable[[], str | None], ...] = (
    runs_as_nobody_in_particular,
    has_no_capability,
    gains_no_privilege,
    file_system_is_read_only,
    temporary_folder_runs_nothing,
    secrets_are_files_only,
    sees_its_own_secrets_only,
    queue_wants_its_password,
    database_wants_its_password,
    code_has_no_known_weakness,
)


def process_status() -> dict[str, str]:
    """The kernel's own account of this process."""
    lines = PROCESS_STATUS.read_text("ascii").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def outcome(check: Callable[[], str | None]) -> str | None:
    """What is wrong, or None; a check that can't be made has failed."""
    try:
        return check()
    except Exception as problem:  # noqa: BLE001 - fails closed, whatever it was
        return f"{type(problem).__name__}: {problem}"


def main() -> int:
    """Run every check and print a line for each."""
    failures = 0
    for check in CHECKS:
        problem = outcome(check)
        failures += problem is not None
        print(f"{'FAILED' if problem else 'passed'}  {check.__name__}  {problem or ''}".rstrip())
    print(f"{len(CHECKS) - failures} of {len(CHECKS)} checks passed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
