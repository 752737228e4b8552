"""Credentials at rest (G3d, K1): in memory or encrypted, else found with their path."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from cryptography.fernet import Fernet
from fakes.configuration import OTHER, STRONG

from configuration.encrypted import encrypted_form
from configuration.live import Live
from stack.memory import memory_folder
from stack.sealed_values import seal_values

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fakes.configuration import Configured

    from stack.compose.engine import Engine

on_linux = pytest.mark.skipif(
    sys.platform != "linux" or memory_folder({}) is None, reason="needs a memory file system"
)
VAULT = b"$ANSIBLE_VAULT;1.1;AES256\n" + b"3061633165393766" * 10 + b"\n"
SOPS_VALUE = "ENC[AES256_GCM,data:YWJj,iv:YWJj,tag:YWJj,type:str]"
AGE = b"age-encryption.org/v1\n-> X25519 abc\nabc\n--- " + b"A" * 43 + b"\n\x01\x02"
ARMOUR = b"-----BEGIN PGP MESSAGE-----\n\nhF4DAAAA\n=abcd\n-----END PGP MESSAGE-----\n"


@pytest.fixture
def in_memory() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(dir=memory_folder({})))
    yield folder
    shutil.rmtree(folder)


def live(
    state: Path, secrets: dict[str, str], place: Path | None = None, engine: object = None
) -> Live:
    return Live((), secrets, {}, state, place, cast("Engine", engine))


def test_a_secret_in_an_env_file_on_a_disk_is_found_with_its_path(configured: Configured) -> None:
    assert configured.outcome("credentials-on-disk") == "skipped"
    configured.env_file(f"LOG_LEVEL=info\nDB_PASSWORD={OTHER}\nURL=amqp://u:{STRONG}@127.0.0.1/\n")
    said = configured.problems("credentials-on-disk")
    assert "settings.env:2: DB_PASSWORD: a secret is on a disk in plain text" in said
    assert "settings.env:3: URL (password in the URL)" in said
    assert "LOG_LEVEL" not in said


def test_a_line_that_only_names_a_variable_holds_nothing(configured: Configured) -> None:
    configured.environ = {"GIVEN": OTHER}
    configured.env_file("DB_PASSWORD=${GIVEN}\n")
    assert configured.outcome("credentials-on-disk") == "passed"


def test_an_encrypted_value_in_an_env_file_is_fine(configured: Configured) -> None:
    token = Fernet(Fernet.generate_key()).encrypt(b"hunter2").decode()
    configured.env_file(f"DB_PASSWORD={token}\nAPI_TOKEN={SOPS_VALUE}\n")
    assert configured.outcome("credentials-on-disk") == "passed"
    configured.env_file(f"DB_PASSWORD={token[:-9]}\n", "other.env")
    assert configured.outcome("credentials-on-disk") == "failed"


@on_linux
def test_a_secret_file_in_memory_is_fine_and_one_on_a_disk_is_not(
    configured: Configured, in_memory: Path
) -> None:
    (in_memory / "db").write_text(OTHER)
    configured.compose(secrets={"DB": {"file": str(in_memory / "db")}})
    assert configured.outcome("credentials-on-disk") == "passed"
    (configured.folder / "db").write_text(OTHER)
    configured.compose(secrets={"DB": {"file": "./db"}})
    assert "secrets.DB: a secret is on a disk" in configured.problems("credentials-on-disk")


@on_linux
def test_what_a_run_keeps_is_made_and_looked_at(configured: Configured) -> None:
    found = configured.result("credentials-of-a-run")
    assert found.outcome == "passed"
    assert any("secrets.json (FAKE_KEY; tmpfs)" in row.place for row in found.rows)
    assert not [*(configured.folder / "cache" / "state").iterdir()]
    assert not [*(configured.folder / "cache" / "runs").iterdir()]


def test_a_run_that_keeps_plain_text_on_a_disk_is_found(
    configured: Configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it was: secrets.json in the state folder."""

    def as_it_was(values: dict[str, str], record: object) -> None:
        folder = Path(record.state)  # type: ignore[attr-defined]
        (folder / "secrets.json").write_text(json.dumps(values))

    monkeypatch.setattr("stack.secret_values.keep_secrets", as_it_was)
    said = configured.problems("credentials-of-a-run")
    assert "secrets.json (FAKE_KEY; on a disk): a secret is on a disk" in said


def test_without_memory_a_run_is_sealed_but_its_files_for_containers_are_not(
    configured: Configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Honest: no file that a container reads is encrypted, so this fails there."""
    monkeypatch.setattr("stack.secret_place.memory_folder", lambda _=None: None)
    assert configured.outcome("credentials-of-a-run") == "passed"
    configured.compose()
    said = configured.problems("credentials-of-a-run")
    assert "secrets/FAKE_KEY (FAKE_KEY; on a disk)" in said


def test_a_secret_anywhere_in_the_state_of_a_running_system_is_found(
    configured: Configured,
) -> None:
    state = configured.folder / "state"
    (state / "deep").mkdir(parents=True)
    (state / "fine.log").write_text("nothing\n" * 3)
    running = live(state, {"KEY": OTHER})
    assert configured.outcome("credentials-of-the-system", live=running, state=state) == "passed"
    # Across the border of two blocks, and in base64.
    (state / "deep/a.db").write_bytes(b"x" * ((1 << 20) - 20) + OTHER.encode())
    (state / "b.json").write_bytes(base64.b64encode(f"{OTHER}:x".encode()))
    said = configured.problems("credentials-of-the-system", live=running, state=state)
    assert "deep/a.db (KEY; on a disk)" in said
    assert "b.json (KEY; on a disk)" in said
    assert "fine.log" not in said


def test_a_state_without_files_has_not_passed(configured: Configured) -> None:
    state = configured.folder / "state"
    state.mkdir()
    found = configured.result(
        "credentials-of-the-system", live=live(state, {"KEY": OTHER}), state=state
    )
    assert (found.outcome, found.reason) == ("skipped", "there is no file")


class FakeApi:
    """An engine whose one container was told a secret as a variable."""

    def __init__(self, told: str) -> None:
        self._told = told

    def containers(self, **_: object) -> list[dict[str, object]]:
        labels = {"com.docker.compose.service": "db", "com.docker.compose.project": "p"}
        return [{"Id": "1", "Labels": labels, "State": "running", "Status": "Up"}]

    def inspect_container(self, _identity: str) -> dict[str, object]:
        return {"Config": {"Env": [f"X={self._told}"]}}


class FakeEngine:
    """Has that interface and nothing else."""

    def __init__(self, told: str) -> None:
        self.api = FakeApi(told)


@pytest.mark.parametrize(("told", "outcome"), [(OTHER, "failed"), ("/run/secrets/x", "passed")])
def test_the_settings_of_running_containers_are_read(
    configured: Configured, told: str, outcome: str
) -> None:
    state = configured.folder / "state"
    state.mkdir()
    (state / "x.log").write_text("x")
    running = live(state, {"KEY": OTHER}, engine=FakeEngine(told))
    found = configured.result("credentials-of-the-system", live=running, state=state)
    assert found.outcome == outcome
    if found.problems:
        assert found.problems[0].place == "container of db"


def test_a_secret_as_a_variable_of_a_container_is_found(configured: Configured) -> None:
    configured.compose({"db": {"image": "x", "environment": {"DB_PASSWORD": "${P}"}}})
    configured.environ = {"P": OTHER}
    said = configured.problems("environment-of-containers")
    assert "services.db.environment.DB_PASSWORD: the engine writes" in said
    assert "DB_PASSWORD_FILE" in said
    configured.compose({"db": {"image": "x", "environment": {"DB_PASSWORD_FILE": "/run/x"}}})
    assert configured.outcome("environment-of-containers") == "skipped"
    configured.compose({"db": {"image": "x", "environment": {"DB_PASSWORD": SOPS_VALUE}}})
    assert configured.outcome("environment-of-containers") == "passed"


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
def test_a_private_key_that_others_may_read_is_found(configured: Configured) -> None:
    state = configured.folder / "state"
    state.mkdir()
    key = state / "service.pem"
    assert configured.outcome("key-file-modes", state=state) == "skipped"
    key.write_text("-----BEGIN " + "PRIVATE KEY-----\nabc\n")
    key.chmod(0o600)
    assert configured.outcome("key-file-modes", state=state) == "passed"
    key.chmod(0o604)
    assert "{state}/service.pem: others may read a private key (mode 604)" in configured.problems(
        "key-file-modes", state=state
    )


def sops(**leaves: str) -> bytes:
    return json.dumps({**leaves, "sops": {"mac": SOPS_VALUE, "version": "3.9"}}).encode()


FORMS = [
    (AGE, "age"),
    (b"-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n-----END AGE ENCRYPTED FILE-----\n", "age"),
    (ARMOUR, "OpenPGP"),
    (b"\x8c\x0d\x04\x09\x03\x02" + bytes(range(128, 228)), "OpenPGP"),
    (VAULT, "Ansible Vault"),
    (Fernet(Fernet.generate_key()).encrypt(b"x"), "Fernet"),
    (sops(password=SOPS_VALUE, region="eu"), "sops"),
    (f"db:\n  password: {SOPS_VALUE}\nsops:\n  mac: {SOPS_VALUE}\n".encode(), "sops"),
    # A first line is not enough.
    (b"age-encryption.org/v1\npassword=hunter2\n", ""),
    (b"$ANSIBLE_VAULT;1.1;AES256\npassword: hunter2\n", ""),
    (ARMOUR + b"password=hunter2\n", ""),
    (b"-----BEGIN PGP MESSAGE-----\npassword: hunter2!\n-----END PGP MESSAGE-----\n", ""),
    (sops(password="hunter2", other=SOPS_VALUE), ""),
    (sops(), ""),
    (json.dumps({"password": SOPS_VALUE}).encode(), ""),
    (b"gAAAAA" + b"A" * 94, ""),
    (b'{"format": "proof-pack-sealed/1", "nonce": "", "sealed": "hunter2"}', ""),
    (b"hunter2", ""),
    (b"", ""),
    (b"\xff\xfe\x00password" * 20, ""),
]


# Not by content: a token is another one in each worker.
@pytest.mark.parametrize(("data", "form"), FORMS, ids=[str(at) for at in range(len(FORMS))])
def test_an_encrypted_form_is_recognised_as_a_whole(data: bytes, form: str) -> None:
    assert encrypted_form(data) == form


def test_our_own_form_is_recognised(tmp_path: Path) -> None:
    del tmp_path  # the key goes into the test's own configuration folder
    assert encrypted_form(seal_values({"A": OTHER})) == "sealed by Proof Pack"


@pytest.mark.skipif(not shutil.which("gpg"), reason="needs gpg")
def test_what_gpg_itself_writes_is_recognised(tmp_path: Path) -> None:
    for armour in ([], ["--armor"]):
        done = subprocess.run(
            ["gpg", "--homedir", str(tmp_path), "--batch", "--passphrase", "x", *armour,
             "--pinentry-mode", "loopback", "--symmetric", "--output", "-"],
            input=b"password=hunter2\n" * 20, capture_output=True, check=False,
        )  # fmt: skip
        if done.returncode:
            pytest.skip("gpg can't encrypt here")
        assert encrypted_form(done.stdout) == "OpenPGP"
