"""sign_transcript.py: sign, verify, keygen (H2)."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest
import sign_transcript

from common.cli import ConfigurationError, Exit, UsageError
from common.folders import CONFIGURATION_VARIABLE

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["p256", "ed25519"])
def signed(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """A signed transcript and the signer's public key."""
    stem, transcript = tmp_path / "release.key", tmp_path / "boot_transcript.json"
    transcript.write_text('{"verdict": "passed"}\n')
    assert run("keygen", "--type", request.param, "--output", stem) == Exit.PASSED
    assert run("sign", transcript, "--key", f"{stem}.pem") == Exit.PASSED
    return transcript, tmp_path / "release.key.pub"


def run(*argv: str | Path) -> Exit:
    return sign_transcript.main([str(word) for word in argv])


def test_signature_fits(signed: tuple[Path, Path]) -> None:
    transcript, public = signed
    assert run("verify", transcript, "--key", public) == Exit.PASSED


@pytest.mark.parametrize("position", [0, 9, -1])
def test_any_changed_byte_is_refused(
    position: int, signed: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    transcript, public = signed
    data = bytearray(transcript.read_bytes())
    data[position] ^= 1
    transcript.write_bytes(bytes(data))
    assert run("verify", transcript, "--key", public) == Exit.FAILED
    assert "REFUSED" in capsys.readouterr().out


@pytest.mark.parametrize("change", ["longer", "shorter", "empty", "crlf"])
def test_any_other_change_is_refused(change: str, signed: tuple[Path, Path]) -> None:
    transcript, public = signed
    data = transcript.read_bytes()
    changed = {
        "longer": data + b"\n",
        "shorter": data[:-1],
        "empty": b"",
        "crlf": data.replace(b"\n", b"\r\n"),
    }
    transcript.write_bytes(changed[change])
    assert run("verify", transcript, "--key", public) == Exit.FAILED


def test_another_key_is_refused(signed: tuple[Path, Path], tmp_path: Path) -> None:
    transcript, _ = signed
    for name in ("p256", "ed25519"):
        run("keygen", "--type", name, "--output", tmp_path / name)
        assert run("verify", transcript, "--key", tmp_path / f"{name}.pub") == Exit.FAILED


@pytest.mark.parametrize("signature", [b"", b"x", b"\0" * 64])
def test_another_signature_is_refused(
    signature: bytes, signed: tuple[Path, Path], tmp_path: Path
) -> None:
    transcript, public = signed
    (tmp_path / "other.sig").write_bytes(signature)
    options = ("--key", public, "--signature", tmp_path / "other.sig")
    assert run("verify", transcript, *options) == Exit.FAILED


def test_a_missing_signature_is_a_usage_error(signed: tuple[Path, Path]) -> None:
    transcript, public = signed
    transcript.with_name(transcript.name + ".sig").unlink()
    with pytest.raises(UsageError, match="expected a readable file"):
        run("verify", transcript, "--key", public)


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
def test_printed_openssl_command_accepts_it(
    signed: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    transcript, public = signed
    run("sign", transcript, "--key", public.with_suffix(".pem"))
    line = capsys.readouterr().out.splitlines()[-1].partition(": ")[2]
    command = [str(public) if word == "KEY.pub" else word for word in shlex.split(line)]
    done = subprocess.run(command, cwd=transcript.parent, capture_output=True, check=False)
    assert done.returncode == 0, done
    transcript.write_text("changed")
    done = subprocess.run(command, cwd=transcript.parent, capture_output=True, check=False)
    assert done.returncode != 0


def test_own_key_signs_where_none_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(CONFIGURATION_VARIABLE, str(tmp_path / "configuration"))
    (tmp_path / "file").write_text("x")
    assert run("sign", tmp_path / "file") == Exit.PASSED
    assert "self-signed" in capsys.readouterr().out
    public = tmp_path / "configuration" / "signing-key.pub"
    assert run("verify", tmp_path / "file", "--key", public) == Exit.PASSED


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX modes")
def test_a_made_private_key_is_its_owners_only(tmp_path: Path) -> None:
    run("keygen", "--output", tmp_path / "key")
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600


def test_keygen_replaces_nothing(tmp_path: Path) -> None:
    run("keygen", "--output", tmp_path / "key")
    with pytest.raises(UsageError, match="exists already"):
        run("keygen", "--output", tmp_path / "key")
    with pytest.raises(UsageError, match="can't write"):
        run("keygen", "--output", tmp_path / "none" / "key")


@pytest.mark.parametrize(
    "argv",
    [[], ["sign"], ["keygen", "--type", "rsa"], ["verify", "file"], ["unknown"]],
)
def test_bad_arguments_are_usage_errors(argv: list[str]) -> None:
    with pytest.raises(UsageError):
        sign_transcript.main(argv)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    run("keygen", "--output", tmp_path / "key")
    with pytest.raises(UsageError, match="none: expected a readable file"):
        run("sign", tmp_path / "none", "--key", tmp_path / "key.pem")
    with pytest.raises(UsageError, match="expected a regular file, got a folder"):
        run("sign", tmp_path, "--key", tmp_path / "key.pem")
    with pytest.raises(ConfigurationError, match="private key"):
        run("sign", tmp_path / "key.pub", "--key", tmp_path / "none.pem")
    with pytest.raises(ConfigurationError, match="public key"):
        run("verify", tmp_path / "key.pub", "--key", tmp_path / "none.pub")
