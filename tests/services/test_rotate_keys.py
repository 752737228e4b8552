"""Keys: made, rotated, revoked, broken, and what running services make of it (G3a)."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from service_tokens import sign

from services import rotate_keys
from services.kit import rotation
from services.kit.keyring import PublicKeys, SigningKey, read_key_set, read_private_key
from services.kit.keys import audit_key_path, key_set_path, signing_key_path
from services.kit.nonces import NonceStore
from services.kit.settings import SYSTEM_SERVICES, SettingsError
from services.kit.tokens import Target, TokenRefusedError, TokenVerifier

if TYPE_CHECKING:
    from collections.abc import Callable

GET = Target("GET", "/")


class Clock:
    """Moved by the tests only."""

    def __init__(self) -> None:
        """Start at some time."""
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(rotation, "time", SimpleNamespace(time=found, sleep=lambda _seconds: None))
    return found


@pytest.fixture
def keys(state_folder: Path) -> Path:
    return state_folder / "keys"


@pytest.fixture
def verifier(keys: Path, state_folder: Path, clock: Clock) -> TokenVerifier:
    """A verifier that started before anything of the test happened."""
    nonces = NonceStore(state_folder / "nonces", "sessions", clock=clock)
    return TokenVerifier("sessions", PublicKeys(keys, clock), nonces, clock=clock)


World = tuple[Path, Clock, TokenVerifier]


@pytest.fixture
def world(keys: Path, clock: Clock, verifier: TokenVerifier) -> World:
    return keys, clock, verifier


def run(keys: Path, *arguments: str) -> int:
    return rotate_keys.main(arguments, {"KEYS_FOLDER": str(keys)})


def kids(keys: Path, service: str = "gateway") -> list[str]:
    return [key.kid for key in read_key_set(key_set_path(keys, service)).keys]


def token(keys: Path, clock: Clock, caller: str = "gateway") -> str:
    return sign(keys, caller, "sessions", "GET", "/", clock=clock)


def accepted(verifier: TokenVerifier, token: str) -> bool:
    try:
        return verifier.verify(token, GET) == "gateway"
    except TokenRefusedError as problem:
        if str(problem).startswith("kid: expected a key that is in use"):
            return False
        raise


# --- rotation ------------------------------------------------------------------------------


def test_old_and_new_are_accepted_in_the_overlap_and_only_the_new_after_it(
    keys: Path, clock: Clock, verifier: TokenVerifier
) -> None:
    signer = SigningKey(keys, "gateway")
    old = signer.current()[0]
    before, late = token(keys, clock), token(keys, clock)
    assert run(keys, "gateway", "--overlap", "10") == 0
    assert signer.current()[0] == kids(keys)[0] != old == kids(keys)[1]
    assert accepted(verifier, before)
    assert accepted(verifier, token(keys, clock))
    clock.now += 10
    assert not accepted(verifier, late)
    assert accepted(verifier, token(keys, clock))
    clock.now -= 10
    assert not accepted(verifier, late), "a key that ended stays ended when the clock is set back"


def test_a_key_that_ended_is_dropped_by_the_next_rotation(keys: Path, clock: Clock) -> None:
    run(keys, "gateway", "--overlap", "10")
    assert len(kids(keys)) == 2
    clock.now += 11
    run(keys, "gateway", "--overlap", "10")
    assert len(kids(keys)) == 2
    run(keys, "gateway", "--overlap", "86400")
    ends = [key.until for key in read_key_set(key_set_path(keys, "gateway")).keys]
    assert ends == [None, clock.now + 86_400, clock.now + 10], "an end never moves further away"


@pytest.mark.usefixtures("clock")
def test_all_rotates_the_six_and_the_audit_key_stays(keys: Path) -> None:
    before = {service: kids(keys, service) for service in SYSTEM_SERVICES}
    audit = audit_key_path(keys).read_bytes()
    assert run(keys, "--all") == 0
    for service in SYSTEM_SERVICES:
        assert kids(keys, service)[1:] == before[service], service
        public = read_private_key(signing_key_path(keys, service)).public_key()
        assert read_key_set(key_set_path(keys, service)).keys[0].key == public
    assert audit_key_path(keys).read_bytes() == audit


def test_the_new_key_is_published_before_it_is_used(
    keys: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a service would be refused until everybody has seen its key."""
    seen = []

    def look(_seconds: float) -> None:
        signing = SigningKey(keys, "gateway").current()[0]
        seen.append((kids(keys).index(signing), len(kids(keys))))

    monkeypatch.setattr(rotation, "time", SimpleNamespace(time=clock, sleep=look))
    run(keys, "gateway")
    assert seen == [(0, 2)]
    ended = read_key_set(key_set_path(keys, "gateway")).keys[1].until
    assert ended == clock.now + rotation.OVERLAP_SECONDS


@pytest.mark.parametrize(
    ("stop_at", "moment"),
    [
        (name, when)
        for name in ("_publish", "_sign_with", "_settle")
        for when in ("before", "after")
    ],
)
def test_a_rotation_killed_at_any_point_leaves_a_service_that_is_believed(
    world: World, monkeypatch: pytest.MonkeyPatch, stop_at: str, moment: str
) -> None:
    keys, clock, verifier = world

    class KilledError(BaseException):
        pass

    work: Callable[..., Any] = getattr(rotation, stop_at)

    def killed(*arguments: Any, **named: Any) -> None:
        if moment == "after":
            work(*arguments, **named)
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(rotation, stop_at, killed)
        with pytest.raises(KilledError):
            rotation.rotate(keys, ["gateway"], 10)
    clock.now += 3600
    assert accepted(verifier, token(keys, clock))
    rotation.make_keys(keys)
    signing = SigningKey(keys, "gateway").current()[0]
    found = read_key_set(key_set_path(keys, "gateway"))
    assert [key.kid for key in found.keys if key.until is None] == [signing]
    assert accepted(verifier, token(keys, clock))


# --- revocation ----------------------------------------------------------------------------


def test_a_revoked_key_is_refused_at_once_and_never_comes_back(
    keys: Path, clock: Clock, verifier: TokenVerifier, capsys: pytest.CaptureFixture[str]
) -> None:
    stolen, former = token(keys, clock), signing_key_path(keys, "gateway").read_bytes()
    revoked = kids(keys)[0]
    assert run(keys, "--revoke", revoked) == 0
    assert f"gateway: {revoked} is refused" in capsys.readouterr().out
    assert not accepted(verifier, stolen)
    assert accepted(verifier, token(keys, clock))
    signing_key_path(keys, "gateway").write_bytes(former)
    rotation.make_keys(keys)
    assert revoked not in kids(keys)
    assert signing_key_path(keys, "gateway").read_bytes() != former
    assert run(keys, "--revoke", revoked) == 0, "again: nothing is wrong with that"
    assert run(keys, "--list") == 0
    assert f"gateway: {revoked}  revoked" in capsys.readouterr().out


@pytest.mark.usefixtures("clock")
def test_a_key_in_its_overlap_is_revoked_without_a_new_one(keys: Path) -> None:
    run(keys, "gateway")
    current, old = kids(keys)
    assert run(keys, "--revoke", old) == 0
    assert kids(keys) == [current]


def test_an_unknown_key_is_named(keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(keys, "--revoke", "A" * 43) == 78
    assert capsys.readouterr().err.startswith("error: no service has a key 'AAA")


# --- files ---------------------------------------------------------------------------------


def _x_of_another(content: bytes) -> bytes:
    value = json.loads(content)
    value["keys"][0]["x"] = "A" * 43
    return json.dumps(value).encode()


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _content: b"",
    "half": lambda content: content[: len(content) // 2],
    "no JSON": lambda _content: b"\xff\x00",
    "a list": lambda _content: b"[]",
    "deep": lambda _content: b"[" * 60_000,
    "huge": lambda content: content + b" " * 70_000,
    "a key under another's id": _x_of_another,
    "a secret key": lambda content: content.replace(b'"x"', b'"d"'),
    "another algorithm": lambda content: content.replace(b"EdDSA", b"HS256"),
    "an odd end": lambda content: content.replace(b'"use"', b'"until": 1e999, "use"'),
    "a huge end": lambda content: content.replace(b'"use"', b'"until": %d, "use"' % (10**400)),
}  # fmt: skip


@pytest.mark.parametrize("damage", BROKEN)
@pytest.mark.parametrize("replaced", [True, False])
def test_a_broken_public_file_takes_nobody_down_and_is_made_anew(
    keys: Path, clock: Clock, verifier: TokenVerifier, damage: str, *, replaced: bool
) -> None:
    path = key_set_path(keys, "gateway")
    broken = BROKEN[damage](path.read_bytes())
    if replaced:
        (path.parent / "other").write_bytes(broken)
        (path.parent / "other").replace(path)
    else:
        path.write_bytes(broken)
    ticks = iter(range(1000, 100_000, 10))
    verifier._keys._ticks = lambda: next(ticks)
    assert accepted(verifier, token(keys, clock)), "the last good keys are used"
    with pytest.raises(SettingsError, match=r"services\.prepare"):
        PublicKeys(keys)
    rotation.make_keys(keys)
    assert PublicKeys(keys).find(kids(keys)[0])
    assert accepted(verifier, token(keys, clock))


@pytest.mark.parametrize("damage", ["removed", "empty", "half", "no Ed25519"])
def test_a_broken_private_key_keeps_the_last_one_in_use(keys: Path, damage: str) -> None:
    path = signing_key_path(keys, "gateway")
    signer = SigningKey(keys, "gateway")
    kid, content = signer.current()[0], path.read_bytes()
    if damage == "removed":
        path.unlink()
    else:
        ec = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
        path.write_bytes({"empty": b"", "half": content[:60], "no Ed25519": ec}[damage])
    assert signer.current()[0] == kid
    with pytest.raises(SettingsError, match=r"services\.prepare"):
        SigningKey(keys, "gateway")
    rotation.make_keys(keys)
    assert signer.current()[0] == kids(keys)[0] != kid


def test_files_are_looked_at_again_for_an_unknown_key_but_not_by_everybody_who_makes_one_up(
    keys: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = Clock()
    found = PublicKeys(keys, clock, ticks)
    looks = []
    monkeypatch.setattr(PublicKeys, "_look", lambda self: looks.append(self._ticks()))
    for _ in range(100):
        assert found.find("A" * 43) is None
    assert looks == []
    ticks.now += 0.2
    found.find(kids(keys)[0])
    assert looks == []
    found.find("A" * 43)
    assert looks == [ticks.now]


@pytest.mark.usefixtures("clock")
@pytest.mark.skipif(os.name != "posix", reason="file modes are a POSIX matter")
@pytest.mark.parametrize(("folder_mode", "wanted"), [(0o700, 0o600), (0o750, 0o640)])
def test_a_private_key_is_as_open_as_its_folder(keys: Path, folder_mode: int, wanted: int) -> None:
    """In containers the folder's group is the service; elsewhere nobody but the owner."""
    path = signing_key_path(keys, "gateway")
    path.parent.chmod(folder_mode)
    old = os.umask(0o077)
    try:
        run(keys, "gateway")
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == wanted
    assert path.stat().st_gid == path.parent.stat().st_gid
    assert stat.S_IMODE(key_set_path(keys, "gateway").stat().st_mode) == 0o644
    assert [item.name for item in path.parent.iterdir() if item.name.endswith(".part")] == []


def test_bundles_that_were_signed_before_there_was_an_audit_key_stay_good(
    keys: Path, tmp_path: Path
) -> None:
    former = tmp_path / "keys/control-plane.pem"
    former.parent.mkdir()
    former.write_bytes(signing_key_path(keys, "control-plane").read_bytes())
    rotation.make_keys(former.parent)
    assert audit_key_path(former.parent).read_bytes() == former.read_bytes()


# --- the command ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("stranger",),
        ("--all", "gateway"),
        ("--all", "--list"),
        ("--all", "--overlap", "4"),
        ("--all", "--overlap", "nan"),
        ("--all", "--overlap", "1e9"),
        ("--unknown",),
    ],
)
def test_bad_arguments_are_64_and_change_nothing(keys: Path, arguments: tuple[str, ...]) -> None:
    before = {path: path.read_bytes() for path in keys.rglob("*") if path.is_file()}
    assert run(keys, *arguments) == 64
    assert {path: path.read_bytes() for path in keys.rglob("*") if path.is_file()} == before


def test_unprepared_keys_are_one_line_and_78(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "--all") == 78
    assert "services.prepare" in capsys.readouterr().err
    assert rotate_keys.main(["--list"], {}) == 78


def test_two_rotations_at_once_take_turns(keys: Path) -> None:
    """Each of them, and each old key, is in the set afterwards."""
    before = kids(keys)
    environ = {**os.environ, "KEYS_FOLDER": str(keys)}
    environ["PYTHONPATH"] = str(rotate_keys.__file__).rpartition("/services/")[0]
    command = [sys.executable, "-m", "services.rotate_keys", "gateway"]
    running = [subprocess.Popen(command, env=environ) for _ in range(2)]
    assert [process.wait(60) for process in running] == [0, 0]
    assert len(kids(keys)) == 3
    assert kids(keys)[2:] == before
