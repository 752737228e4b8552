"""scripts/fetch_wheels.py: only what the lock names gets in, whole or not at all (issue 3, H1)."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
from types import SimpleNamespace
from typing import IO, TYPE_CHECKING

import fetch_wheels
import pytest

from common.cli import ConfigurationError, ScriptError
from common.streams import buffered
from images import wheel_program
from images.pip_settings import certificates, pip_environment
from images.wheel_download import _lines, _meaning
from images.wheels import MARKER, Locks, complete, fill, read_locks

if TYPE_CHECKING:
    from pathlib import Path

BASE = {"image": "python:3.13-slim", "id": "sha256:1"}
ALPHA, BETA = "alpha-1.0-py3-none-any.whl", "Beta_Two-2.0-py3-none-any.whl"
CONTENTS = {ALPHA: b"alpha's wheel", BETA: b"beta's wheel"}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def locks(tmp_path: Path) -> Locks:
    lock = tmp_path / "requirements.txt"
    lock.write_text(
        f"alpha==1.0 \\\n    --hash=sha256:{sha256(CONTENTS[ALPHA])}\n    # via beta-two\n"
        f"beta-two==2.0 \\\n    --hash=sha256:{sha256(CONTENTS[BETA])}\n"
        f"gamma==3.0 ; sys_platform == 'win32' \\\n    --hash=sha256:{'0' * 64}\n"
    )
    return read_locks([lock])


def archive(contents: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> IO[bytes]:
    """What `docker cp CONTAINER:/proof-pack/wheels -` gives."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as file:
        folder = tarfile.TarInfo("wheels")
        folder.type = tarfile.DIRTYPE
        file.addfile(folder)
        for name, content in contents.items():
            member = tarfile.TarInfo(f"wheels/{name}")
            member.type, member.size = kind, len(content) if kind == tarfile.REGTYPE else 0
            member.linkname = "/etc/passwd"
            file.addfile(member, io.BytesIO(content))
    target.seek(0)
    return target


def filled(tmp_path: Path, locks: Locks, contents: dict[str, bytes] | None = None) -> Path:
    folder = tmp_path / "wheels"
    fill(folder, archive(contents or CONTENTS), locks, BASE, tmp_path / ".wheels.partial")
    return folder


def test_a_filled_folder_is_complete_and_holds_what_the_lock_names(
    tmp_path: Path, locks: Locks
) -> None:
    folder = filled(tmp_path, locks)
    found = complete(folder, locks, BASE)
    assert found
    assert found.files == {name: sha256(content) for name, content in CONTENTS.items()}
    assert found.size_bytes == sum(map(len, CONTENTS.values()))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["requirements.txt", "wheels"]


def test_a_tampered_wheel_is_refused_and_leaves_the_old_folder(
    tmp_path: Path, locks: Locks
) -> None:
    folder = filled(tmp_path, locks)
    before = sorted(folder.iterdir())
    with pytest.raises(ScriptError, match=r"alpha-1.0.*expected a hash of the lock, got sha256"):
        filled(tmp_path, locks, CONTENTS | {ALPHA: b"alpha's wheel, and more"})
    assert sorted(folder.iterdir()) == before
    assert not (tmp_path / ".wheels.partial").exists()


def test_a_good_hash_under_another_packages_name_is_refused(tmp_path: Path, locks: Locks) -> None:
    swapped = {ALPHA: CONTENTS[BETA], BETA: CONTENTS[ALPHA]}
    with pytest.raises(ScriptError, match=r"expected beta-two 2.0 for this hash"):
        filled(tmp_path, locks, swapped)


def test_a_missing_wheel_is_named(tmp_path: Path, locks: Locks) -> None:
    with pytest.raises(ScriptError, match="got none of beta-two"):
        filled(tmp_path, locks, {ALPHA: CONTENTS[ALPHA]})


@pytest.mark.parametrize(
    "name", ["../escape.whl", "notes.txt", "beta-1.0.tar.gz", ".pth-1-a-b.whl"]
)
def test_anything_but_a_wheel_is_refused(tmp_path: Path, locks: Locks, name: str) -> None:
    with pytest.raises(ScriptError, match="expected wheels only"):
        filled(tmp_path, locks, CONTENTS | {name: b"x"})
    assert not (tmp_path.parent / "escape.whl").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_pipes_are_refused(tmp_path: Path, locks: Locks, kind: bytes) -> None:
    with pytest.raises(ScriptError, match=r"expected wheels only|broke off"):
        fill(tmp_path / "wheels", archive({ALPHA: b""}, kind), locks, BASE, tmp_path / ".part")


@pytest.mark.parametrize("length", [0, 1030, 1800])
def test_a_cut_stream_leaves_no_folder(tmp_path: Path, locks: Locks, length: int) -> None:
    data = archive(CONTENTS).read()[:length]
    with pytest.raises(ScriptError, match=r"broke off|got none of"):
        fill(tmp_path / "wheels", io.BytesIO(data), locks, BASE, tmp_path / ".part")
    assert not (tmp_path / "wheels").exists()


def test_a_killed_run_does_not_look_complete(tmp_path: Path, locks: Locks) -> None:
    part = tmp_path / ".wheels.partial"
    part.mkdir()
    (part / ALPHA).write_bytes(CONTENTS[ALPHA])
    assert complete(part, locks, BASE) is None
    assert complete(filled(tmp_path, locks), locks, BASE)


@pytest.mark.parametrize("damage", ["byte", "missing", "extra", "marker", "lock", "base"])
def test_a_changed_folder_is_not_complete(tmp_path: Path, locks: Locks, damage: str) -> None:
    folder = filled(tmp_path, locks)
    base = dict(BASE)
    if damage == "byte":
        (folder / ALPHA).write_bytes(b"alpha's wheel!")
    elif damage == "missing":
        (folder / ALPHA).unlink()
    elif damage == "extra":
        (folder / "stale-1.0-py3-none-any.whl").write_bytes(b"")
    elif damage == "marker":
        (folder / MARKER).write_text('{"files": []}')
    elif damage == "lock":
        locks = Locks({"requirements.txt": b"other"}, locks.pins, locks.always)
    else:
        base["id"] = "sha256:2"
    assert complete(folder, locks, base) is None


def test_stale_wheels_are_gone_after_a_new_fill(tmp_path: Path, locks: Locks) -> None:
    folder = filled(tmp_path, locks)
    (folder / "stale-1.0-py3-none-any.whl").write_bytes(b"")
    filled(tmp_path, locks)
    assert sorted(path.name for path in folder.iterdir()) == sorted([*CONTENTS, MARKER])


def test_locks_that_disagree_and_entries_without_a_hash_are_refused(tmp_path: Path) -> None:
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_text(f"alpha==1.0 --hash=sha256:{'1' * 64}\n")
    second.write_text(f"alpha==1.1 --hash=sha256:{'2' * 64}\n")
    with pytest.raises(
        ConfigurationError, match=r"expected alpha 1.0 as in the other lock, got 1.1"
    ):
        read_locks([first, second])
    second.write_text("beta==1.0\n")
    with pytest.raises(ConfigurationError, match="expected `name==version --hash"):
        read_locks([second])


def test_the_reference_systems_locks_agree() -> None:
    locks = read_locks([fetch_wheels.REFERENCE / name for name in fetch_wheels.LOCKS])
    assert {"fastapi", "psycopg", "redis", "ruff"} <= locks.always


def test_a_folder_that_is_not_ours_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").write_text("years of work")
    with pytest.raises(ConfigurationError, match="expected a folder of wheels"):
        fetch_wheels.main(["--output-dir", str(tmp_path)])
    assert (tmp_path / "thesis.doc").exists()


def test_no_engine_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(ScriptError, match="no Docker engine answers"):
        fetch_wheels.main(["--output-dir", str(tmp_path / "wheels")])


def test_the_default_image_is_the_dockerfiles_and_is_pinned() -> None:
    name, _, tag = fetch_wheels.default_image().partition(":")
    assert name == "python"
    assert tag.count(".") == 2


def test_pips_files_and_variables_go_along_and_folders_do_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "pip.conf"
    file.write_text(
        "[global]\nindex-url = https://file.example/simple\nno-index = true\n"
        "extra_index_url = file:///srv/simple https://more.example/simple\n"
        "[download]\ntimeout = 7\n"
    )
    environ = {
        "PIP_CONFIG_FILE": str(file),
        "PIP_INDEX_URL": "https://variable.example/simple",
        "PIP_FIND_LINKS": "/srv/wheels",
        "https_proxy": "http://proxy.example:3128",
        "CLIENT_TOKEN": "never",
    }
    assert pip_environment(environ, tmp_path) == {
        "PIP_INDEX_URL": "https://variable.example/simple",
        "PIP_EXTRA_INDEX_URL": "https://more.example/simple",
        "PIP_TIMEOUT": "7",
        "https_proxy": "http://proxy.example:3128",
    }
    assert capsys.readouterr().err.count("left out") == 2


def test_a_broken_configuration_file_is_said_and_sets_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "pip.conf"
    file.write_text("index-url = https://no.section\n")
    assert pip_environment({"PIP_CONFIG_FILE": str(file)}, tmp_path) == {}
    assert "can't be read as pip's configuration" in capsys.readouterr().err


def test_the_users_certificates_go_along(tmp_path: Path) -> None:
    bundle, file = tmp_path / "ca.pem", tmp_path / "pip.conf"
    bundle.write_bytes(b"PEM")
    file.write_text(f"[global]\ncert = {bundle}\n")
    none = {"PIP_CONFIG_FILE": os.devnull}
    assert certificates(none | {"PIP_CERT": str(bundle)}, tmp_path) == b"PEM"
    assert certificates({"PIP_CONFIG_FILE": str(file)}, tmp_path) == b"PEM"
    assert certificates(none | {"PIP_CERT": str(tmp_path / "none")}, tmp_path) is None
    assert certificates(none, tmp_path) is None


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM", "another hash than the lock"),
        ("SSLError [SSL: CERTIFICATE_VERIFY_FAILED]", "set PIP_CERT"),
        (
            "NewConnectionError('refused')\nNo matching distribution found for x==1",
            "can't be reached",
        ),
        ("ERROR: No matching distribution found for x==1", "has no wheel of x==1"),
        ("ERROR: something new", "pip ended with 1 and said: ERROR: something new"),
    ],
)
def test_pips_trouble_is_one_line_that_says_what_to_do(said: str, meaning: str) -> None:
    message = _meaning(said.splitlines(), 1)
    assert meaning in message
    assert "\n" not in message


def test_lines_and_streams_survive_any_chunking() -> None:
    assert list(_lines([b"one\ntw", b"o\nthree"])) == ["one", "two", "three"]
    assert buffered([b"", b"ab", b"", b"cde"]).read() == b"abcde"


def test_the_marker_is_the_last_file_written(tmp_path: Path, locks: Locks) -> None:
    marker = json.loads((filled(tmp_path, locks) / MARKER).read_text())
    assert set(marker) == {"base", "files", "requirements"}


def test_the_settings_are_gone_before_pip_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They hold the index's password; pip gets them as variables."""
    told = {"environment": {"PIP_INDEX_URL": "https://u:p@index.example"}, "requirements": ["r"]}
    (tmp_path / "settings.json").write_text(json.dumps(told))

    def pip(_command: list[str], *, env: dict[str, str], check: bool) -> SimpleNamespace:
        assert env["PIP_INDEX_URL"] == "https://u:p@index.example"
        assert not (tmp_path / "settings.json").exists()
        return SimpleNamespace(returncode=int(check))

    monkeypatch.setattr(subprocess, "run", pip)
    assert wheel_program.main(tmp_path) == 0
