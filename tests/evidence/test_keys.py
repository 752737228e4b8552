"""Keys: what signs, what is refused, and the user's own key on first use."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from bundles import make_key
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from common.cli import ConfigurationError, ScriptError, UsageError
from common.folders import CONFIGURATION_VARIABLE
from evidence.key_store import PRIVATE_NAME, PUBLIC_NAME, make_pair
from evidence.keys import PASSWORD_ENV, load_signer
from evidence.public_key import Algorithm, load_public_key

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
ALGORITHMS: tuple[Algorithm, ...] = ("ecdsa-p256", "ed25519")
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX modes")
Private = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


@pytest.fixture(autouse=True)
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "configuration"
    monkeypatch.setenv(CONFIGURATION_VARIABLE, str(folder))
    return folder


def write_private(path: Path, key: Private, password: bytes | None = None) -> Path:
    encryption = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    )
    return path


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("scheme", ["", "file2:"])
def test_signature_is_raw_and_fits(scheme: str, algorithm: Algorithm, tmp_path: Path) -> None:
    pair = make_key(tmp_path, "key", algorithm)
    signer = load_signer(scheme + str(pair.public.with_suffix(".pem")))
    signature = signer.sign(b"data")
    public = load_public_key(pair.public)
    assert public.accepts(signature, b"data")
    assert not public.accepts(signature, b"Data")
    assert not public.accepts(b"", b"data")
    assert not public.accepts(signature[:-1], b"data")
    assert (signer.kind, signer.keyid) == ("provided", public.keyid)
    assert signer.public_pem == pair.public.read_bytes()
    if algorithm == "ed25519":
        assert len(signature) == 64
    else:
        decode_dss_signature(signature)


def test_own_key_is_made_once_and_kept(configuration: Path) -> None:
    first, second = load_signer(None), load_signer(None)
    assert first.keyid == second.keyid
    assert first.kind == "self-signed"
    assert first.public_path == configuration / PUBLIC_NAME
    assert first.public_key_file == PUBLIC_NAME
    assert load_public_key(configuration / PUBLIC_NAME).keyid == first.keyid


@pytest.mark.parametrize("scheme", ["", "file2:"])
@pytest.mark.parametrize("lost", ["", PRIVATE_NAME, PUBLIC_NAME])
def test_own_key_that_is_named_stays_self_signed(
    lost: str, scheme: str, configuration: Path, tmp_path: Path
) -> None:
    """A run counts for a release only where somebody else vouches for its key."""
    keyid = load_signer(None).keyid
    copy = tmp_path / "release-key.pem"
    copy.write_bytes((configuration / PRIVATE_NAME).read_bytes())
    if lost:
        (configuration / lost).unlink()
    signer = load_signer(f"{scheme}{copy}")
    assert (signer.keyid, signer.kind) == (keyid, "self-signed")


def test_a_named_key_makes_no_own_one(configuration: Path, tmp_path: Path) -> None:
    signer = make_key(tmp_path).signer
    assert signer.kind == "provided"
    assert not configuration.exists()


def test_a_broken_own_key_does_not_stop_a_named_one(configuration: Path, tmp_path: Path) -> None:
    load_signer(None)
    for name in (PRIVATE_NAME, PUBLIC_NAME):
        (configuration / name).write_bytes(b"broken")
    assert make_key(tmp_path).signer.kind == "provided"


def test_both_twins_of_an_ecdsa_signature_fit_and_nothing_around_them(tmp_path: Path) -> None:
    """Decided in `PublicKey.accepts`: honest signers write either s."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    signer = make_key(tmp_path).signer
    signature = signer.sign(b"data")
    r, s = decode_dss_signature(signature)
    assert signer.public.accepts(encode_dss_signature(r, order - s), b"data")
    assert not signer.public.accepts(encode_dss_signature(r, order + s), b"data")
    assert not signer.public.accepts(signature + b"\0", b"data")


@posix
def test_own_key_is_readable_by_its_owner_only(configuration: Path) -> None:
    before = os.umask(0)
    try:
        load_signer(None)
    finally:
        os.umask(before)
    assert stat.S_IMODE((configuration / PRIVATE_NAME).stat().st_mode) == 0o600


def test_first_use_by_many_processes_makes_one_key(configuration: Path) -> None:
    code = "from evidence.keys import load_signer; print(load_signer(None).keyid)"
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment
        )
        for _ in range(4)
    ]
    keyids = {process.communicate()[0].strip() for process in processes}
    assert keyids == {load_signer(None).keyid}
    names = {path.name for path in configuration.iterdir()}
    assert {PRIVATE_NAME, PUBLIC_NAME} <= names <= {PRIVATE_NAME, PUBLIC_NAME, "signing-key.lock"}


def test_a_lost_public_half_is_written_again(configuration: Path) -> None:
    keyid = load_signer(None).keyid
    (configuration / PUBLIC_NAME).unlink()
    assert load_signer(None).keyid == keyid
    assert load_public_key(configuration / PUBLIC_NAME).keyid == keyid


@posix
def test_own_key_that_others_can_read_is_refused(configuration: Path) -> None:
    load_signer(None)
    (configuration / PRIVATE_NAME).chmod(0o644)
    with pytest.raises(ConfigurationError, match="expected mode 0600, got 0644"):
        load_signer(None)


@pytest.mark.parametrize("content", [b"", b"hello", b"-----BEGIN PRIVATE KEY-----\n"])
def test_a_broken_own_key_is_refused_and_kept(content: bytes, configuration: Path) -> None:
    load_signer(None)
    path = configuration / PRIVATE_NAME
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="expected a PEM private key"):
        load_signer(None)
    assert path.read_bytes() == content


def test_an_unwritable_configuration_folder_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(CONFIGURATION_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(
        ConfigurationError, match=f"can't keep a signing key .*{CONFIGURATION_VARIABLE}"
    ):
        load_signer(None)


OTHERS: dict[str, tuple[str, Private]] = {
    "P-384": ("secp384r1", ec.generate_private_key(ec.SECP384R1())),
    "K-256": ("secp256k1", ec.generate_private_key(ec.SECP256K1())),
    "RSA": ("RSA", rsa.generate_private_key(65537, 2048)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_key_types_that_cosign_cannot_verify_are_refused(name: str, tmp_path: Path) -> None:
    words, key = OTHERS[name]
    path = write_private(tmp_path / "key.pem", key)
    for uri in (str(path), f"file2:{path}"):
        with pytest.raises(ConfigurationError, match=f"expected an ECDSA P-256.*got .*{words}"):
            load_signer(uri)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (tmp_path / "key.pub").write_bytes(public)
    with pytest.raises(ConfigurationError, match=f"expected an ECDSA P-256.*got .*{words}"):
        load_public_key(tmp_path / "key.pub")


def test_an_encrypted_key_wants_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_private(tmp_path / "key.pem", ec.generate_private_key(ec.SECP256R1()), b"open")
    with pytest.raises(ConfigurationError, match=f"is encrypted: set {PASSWORD_ENV}"):
        load_signer(str(path))
    monkeypatch.setenv(PASSWORD_ENV, "wrong")
    with pytest.raises(ConfigurationError, match="expected a PEM private key"):
        load_signer(str(path))
    monkeypatch.setenv(PASSWORD_ENV, "open")
    assert load_signer(str(path)).sign(b"data")


def test_halves_of_two_keys_are_refused(tmp_path: Path) -> None:
    one, two = make_key(tmp_path, "one"), make_key(tmp_path, "two")
    for scheme in ("", "file2:"):
        with pytest.raises(ConfigurationError, match="expected the private key of"):
            load_signer(scheme + str(one.public.with_suffix(".pem")), two.public)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("none.pem", "private key none.pem: expected a readable file"),
        ("file2:none.pem", "private key none.pem: expected a readable file"),
        ("ftp:key", "unknown key scheme 'ftp': expected a PEM file or one of file2, awskms"),
        ("file:key", "unknown key scheme 'file'"),
        ("gnupg:ABCD", "gnupg: signatures can't be checked with openssl or cosign"),
        ("azurekms:v/k", "give --public-key KEY.pub"),
        ("hsm:2", "give --public-key KEY.pub"),
    ],
)
def test_a_key_that_cannot_be_had_is_one_clear_line(
    uri: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError) as caught:
        load_signer(uri)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


EXTRAS = {
    "awskms:alias/key": "boto3",
    "gcpkms:projects/p/key": "google.cloud",
    "azurekms://v.example/keys/k/1": "azure.identity",
    "hv:key/1": "hvac",
    "hsm:2?label=token": "PyKCS11",
}


@pytest.mark.parametrize("uri", EXTRAS)
def test_a_missing_client_library_is_named_with_its_extra(uri: str, tmp_path: Path) -> None:
    top = EXTRAS[uri].partition(".")[0]
    try:
        __import__(EXTRAS[uri])
    except ImportError:
        pass
    else:
        pytest.skip(f"{top} is installed here")
    with pytest.raises(ConfigurationError) as caught:
        load_signer(uri, make_key(tmp_path).public)
    assert "pip install 'securesystemslib[" in str(caught.value)


def test_a_signature_of_another_key_is_not_used(tmp_path: Path) -> None:
    one, two = make_key(tmp_path, "one"), make_key(tmp_path, "two")
    object.__setattr__(one.signer, "_sign", two.signer.sign)
    with pytest.raises(ScriptError, match="got one of another key"):
        one.signer.sign(b"data")


def test_a_private_key_is_no_public_key(tmp_path: Path) -> None:
    pair = make_key(tmp_path)
    with pytest.raises(ConfigurationError, match="expected a public key, got a private one"):
        load_public_key(pair.public.with_suffix(".pem"))


@pytest.mark.parametrize("content", [b"", b"hello", b"-----BEGIN PUBLIC KEY-----\nAAAA\n"])
def test_what_is_no_public_key_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "key.pub").write_bytes(content)
    with pytest.raises(ConfigurationError, match="expected a PEM public key"):
        load_public_key(tmp_path / "key.pub")


def test_no_key_is_ever_replaced(tmp_path: Path) -> None:
    make_pair(tmp_path / "key", "ecdsa-p256")
    before = (tmp_path / "key.pem").read_bytes()
    with pytest.raises(UsageError, match="exists already"):
        make_pair(tmp_path / "key", "ed25519")
    assert (tmp_path / "key.pem").read_bytes() == before


def test_a_key_does_not_show_itself(tmp_path: Path) -> None:
    pair = make_key(tmp_path)
    assert "_sign" not in repr(pair.signer)
