"""stack.memory, stack.secret_place, stack.sealed_values: no secret of a run is on a disk (G3d)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fakes.system import write_stack
from hypothesis import given
from hypothesis import strategies as st

from common.cli import ConfigurationError
from stack import records, sealed_values
from stack.compose import create as create_compose
from stack.load import load_stack
from stack.memory import VARIABLE, memory_folder, memory_type
from stack.process import create
from stack.secret_place import find_place, make_place, plan_place, remove_place
from stack.secret_values import SECRETS_FILE, keep_secrets, read_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator

VALUE = "0f5b-a-secret-of-this-very-run-c1"
MOUNTS = """\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
23 22 0:20 / /dev/shm rw,nosuid - tmpfs tmpfs rw
24 22 8:2 / /dev/shm/disk rw - ext4 /dev/sdb1 rw
25 22 0:21 / /with\\040space rw - ramfs ramfs rw
26 25 8:3 / /with\\040space rw - xfs /dev/sdc1 rw
"""
on_linux = pytest.mark.skipif(
    sys.platform != "linux" or memory_folder({}) is None, reason="needs a memory file system"
)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Memory is switched off, as on macOS: by a folder that is on a disk."""
    folder = Path(tempfile.mkdtemp(dir=Path(__file__).parent))
    assert memory_type(folder) is None
    monkeypatch.setenv(VARIABLE, str(folder))
    yield tmp_path
    folder.rmdir()


def files_with(folder: Path, value: str) -> list[Path]:
    """Every file below a folder that holds the value."""
    return [
        path for path in folder.rglob("*") if path.is_file() and value.encode() in path.read_bytes()
    ]


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/dev/shm/x", "tmpfs"),  # noqa: S108
        ("/dev/shm/disk/x", None),  # noqa: S108
        ("/dev/shmx", None),  # noqa: S108
        ("/home/x", None),
        ("/with space/x", None),  # a disk was mounted over it
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="mounts of Linux")
def test_the_innermost_last_mount_decides(tmp_path: Path, path: str, wanted: str | None) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert memory_type(Path(path), mounts) == wanted
    assert memory_type(Path(path), tmp_path / "none") is None


@on_linux
def test_a_link_out_of_memory_is_a_disk() -> None:
    root = memory_folder({})
    assert root
    link = root / f"link-of-{os.getpid()}"
    link.symlink_to(Path(__file__).parent)
    try:
        assert memory_type(link) is None
    finally:
        link.unlink()


@on_linux
def test_secrets_are_in_memory_and_nowhere_else(tmp_path: Path) -> None:
    record = records.new_record(tmp_path / "stack.yaml")
    keep_secrets({"KEY": VALUE}, record)
    place = Path(record.secrets)
    assert memory_type(place) in {"tmpfs", "ramfs"}
    assert place.stat().st_mode & 0o777 == 0o700
    assert (place / SECRETS_FILE).stat().st_mode & 0o777 == 0o600
    assert read_secrets(Path(record.state)) == {"KEY": VALUE}
    assert files_with(tmp_path, VALUE) == []
    record.remove_folders()
    assert not os.path.lexists(place)
    assert not os.path.lexists(record.state)
    assert read_secrets(Path(record.state)) == {}


def test_without_memory_they_are_sealed_on_the_disk(disk: Path) -> None:
    record = records.new_record(disk / "stack.yaml")
    assert record.secrets == ""
    keep_secrets({"KEY": VALUE}, record)
    assert read_secrets(Path(record.state)) == {"KEY": VALUE}
    assert files_with(disk, VALUE) == []
    key = disk / "config" / sealed_values.KEY_FILE
    assert os.name == "nt" or key.stat().st_mode & 0o777 == 0o600


def test_another_key_opens_nothing(disk: Path) -> None:
    record = records.new_record(disk / "stack.yaml")
    keep_secrets({"KEY": VALUE}, record)
    (disk / "config" / sealed_values.KEY_FILE).unlink()
    with pytest.raises(ConfigurationError, match="does not open it"):
        read_secrets(Path(record.state))


@pytest.mark.parametrize("part", ["nonce", "sealed"])
def test_a_changed_document_does_not_open(part: str) -> None:
    value = json.loads(sealed_values.seal_values({"KEY": VALUE}))
    first = "B" if value[part][0] == "A" else "A"
    value[part] = first + value[part][1:]
    with pytest.raises(ConfigurationError, match="does not open it"):
        sealed_values.open_values(json.dumps(value).encode(), "it")


@pytest.mark.parametrize("change", [{"more": VALUE}, {"format": "other/1"}, {"sealed": "AAAA"}])
def test_a_document_with_anything_beside_is_not_sealed(change: dict[str, str]) -> None:
    value = json.loads(sealed_values.seal_values({"KEY": VALUE}))
    assert sealed_values.is_sealed(value)
    assert not sealed_values.is_sealed(value | change)
    with pytest.raises(ConfigurationError, match="expected a document of proof-pack-sealed/1"):
        sealed_values.open_values(json.dumps(value | change).encode(), "it")


@given(values=st.dictionaries(st.text(min_size=1), st.text()))
def test_what_is_sealed_is_opened_again(values: dict[str, str]) -> None:
    """Also when the same values are sealed twice: never to the same bytes."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROOF_PACK_CONFIG_DIR", folder)
        first, second = (sealed_values.seal_values(values) for _ in range(2))
        assert first != second
        assert sealed_values.open_values(first, "it") == values


@on_linux
def test_the_secrets_of_a_killed_run_are_swept_by_its_record(tmp_path: Path) -> None:
    record = records.new_record(tmp_path / "stack.yaml")
    keep_secrets({"KEY": VALUE}, record)
    record.harness_birth = "another"
    record.save()
    assert f"removed the secrets of run {record.marker}" in records.sweep()
    assert not os.path.lexists(record.secrets)


@on_linux
def test_secrets_without_a_record_are_swept_and_those_of_another_cache_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between two lines: the name says whose cache it was."""
    code = "import os; print(os.getpid())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    gone = said.stdout.strip()
    place = plan_place(tmp_path / "cache" / "state" / f"{gone}-0123456789ab")
    assert place
    make_place(place)
    monkeypatch.setenv("PROOF_PACK_CACHE_DIR", str(tmp_path / "other"))
    assert records.sweep() == []
    monkeypatch.setenv("PROOF_PACK_CACHE_DIR", str(tmp_path / "cache"))
    assert records.sweep() == [f"removed the secrets of run {gone}-0123456789ab"]
    assert not place.exists()


@on_linux
def test_a_kill_dash_nine_leaves_secrets_that_the_next_command_removes() -> None:
    code = (
        "import os, signal; from pathlib import Path; from stack import records;"
        "from stack.secret_values import keep_secrets;"
        "record = records.new_record(Path('stack.yaml'));"
        f"keep_secrets({{'KEY': {VALUE!r}}}, record);"
        "print(record.secrets, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    scripts = Path(records.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(scripts)},
        capture_output=True,
        text=True,
        check=False,
    )
    place = Path(done.stdout.strip())
    assert files_with(place, VALUE)
    assert any("removed the secrets" in line for line in records.sweep())
    assert not place.exists()


@on_linux
def test_a_folder_that_somebody_else_made_first_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stack.records.secrets.token_hex", lambda _: "0123456789ab")
    state = tmp_path / "cache" / "state" / f"{os.getpid()}-0123456789ab"
    place = plan_place(state)
    assert place
    place.mkdir()
    place.chmod(0o755)
    try:
        with pytest.raises(ConfigurationError, match="can't keep the secrets of a run"):
            records.new_record(tmp_path / "stack.yaml")
        assert find_place(state) is None
        assert not remove_place(place)
        assert place.exists()
        assert not state.exists()
    finally:
        place.rmdir()


@on_linux
@pytest.mark.parametrize("runtime", ["process", "compose"])
def test_a_runtime_keeps_no_secret_below_its_state_folder(tmp_path: Path, runtime: str) -> None:
    path = write_stack(tmp_path)
    environ: dict[str, str] = {**os.environ, "FAKE_KEY": VALUE}
    made: Any = create(load_stack(path, {}), environ) if runtime == "process" else None
    if made is None:
        from fakes.compose import fake_values, write_compose_stack

        write_compose_stack(tmp_path, *fake_values())
        made = create_compose(load_stack(path, {}), environ)
    place = Path(made.record.secrets)
    assert files_with(place, VALUE)
    assert files_with(tmp_path, VALUE) == []
    made.close()
    assert not place.exists()


def test_a_runtime_closes_without_memory_too(disk: Path) -> None:
    made = create(load_stack(write_stack(disk), {}), {**os.environ, "FAKE_KEY": VALUE})
    assert files_with(disk, VALUE) == []
    made.close()
    assert not made.state.exists()
