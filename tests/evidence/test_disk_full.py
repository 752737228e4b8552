"""A full disk or a kill while sealing: nothing is left that verifies."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bundles import finish, make_bundle, make_key, open_run

from evidence.run_folder import ArtifactError, sweep_partials
from evidence.verify import verify_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bundles import KeyPair

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def key(tmp_path: Path) -> KeyPair:
    return make_key(tmp_path / "keys")


def test_a_disk_with_just_enough_space_is_enough(key: KeyPair, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, 64 << 12):
        bundle = make_bundle(disk / "runs", key.signer)
        assert verify_bundle(bundle, key.signer.public).authentic


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[None]:
    """A file system of its own with little space; skips where it can't be mounted."""
    folder.mkdir()
    mount = shutil.which("mount")
    if sys.platform != "linux" or not mount or os.geteuid() != 0:
        pytest.skip("needs root on Linux to mount a small disk")
    command = [mount, "-t", "tmpfs", "-o", f"size={size_bytes}", "proof", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        yield
    finally:
        # Lazily: a test that fails may leave a file open, but never a mount.
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("free_pages", range(7))
def test_a_full_disk_leaves_nothing_that_verifies(
    free_pages: int, key: KeyPair, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, 64 << 12):
        output = disk / "runs"
        folder = open_run(output)
        used = 64 - os.statvfs(disk).f_bfree
        folder.write_bytes("filler", b"x" * ((64 - used - free_pages) << 12))
        with pytest.raises(ArtifactError, match="no space left"):
            finish(folder, key.signer)
        folder.discard()
        assert list(output.iterdir()) == []


LIMITED = """
import resource, sys
from pathlib import Path
import bundles
from common.cli import ScriptError
from evidence.keys import load_signer
folder = bundles.open_run(Path(sys.argv[1]))
for number in range(300):
    folder.write_bytes(f"logs/file-{number}", b"x")
resource.setrlimit(resource.RLIMIT_FSIZE, (16384, 16384))
try:
    bundles.finish(folder, load_signer(sys.argv[2]))
except ScriptError as problem:
    print(problem)
    raise SystemExit(4)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs resource limits")
def test_a_manifest_that_does_not_fit_leaves_nothing(key: KeyPair, tmp_path: Path) -> None:
    output = tmp_path / "runs"
    private = str(key.public.with_suffix(".pem"))
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(output), private],
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'scripts'}{os.pathsep}{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4, done.stderr
    assert "can't seal" in done.stdout
    assert list(output.iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
import bundles
from evidence import seal
from evidence.keys import load_signer
folder = bundles.open_run(Path(sys.argv[1]))
def stop(*_): os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[3] == "sync":
    seal._sync = stop
elif sys.argv[3] == "rename":
    type(folder.partial).rename = stop
bundles.finish(folder, load_signer(sys.argv[2]))
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.parametrize("moment", ["sync", "rename"])
def test_a_kill_while_sealing_leaves_nothing_after_the_next_run(
    moment: str, key: KeyPair, tmp_path: Path
) -> None:
    output = tmp_path / "runs"
    private = str(key.public.with_suffix(".pem"))
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(output), private, moment],
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'scripts'}{os.pathsep}{ROOT / 'tests'}"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == -9
    for left in output.glob(".*.partial"):
        assert not verify_bundle(left, key.signer.public).authentic
    assert sweep_partials(output)
    assert list(output.iterdir()) == []
