"""`nox -s wheels` against a real engine: quick when complete, one clear line for each trouble."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import IO, TYPE_CHECKING

import fetch_wheels
import pytest
from compose.reference_image import PYTHON_IMAGE, docker

from common.cli import Exit, ScriptError
from images.task_containers import HOST_LABEL, PROCESS_LABEL, task_labels

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.docker
OURS = f"label=io.proof-pack.pid={os.getpid()}"


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """A small part of the real lock: one pure package with its hashes."""
    text = (fetch_wheels.REFERENCE / "requirements.txt").read_text()
    start = text.index("h11==")
    entry = text[start : text.index("# via", start)]
    path = tmp_path / "requirements.txt"
    path.write_text(entry)
    return path


def fetch(tmp_path: Path, lock: Path, *options: str) -> Exit:
    folder = tmp_path / "wheels"
    return fetch_wheels.main(
        [
            "--output-dir",
            str(folder),
            "--requirements",
            str(lock),
            "--image",
            PYTHON_IMAGE,
            *options,
        ]
    )


@pytest.fixture(autouse=True)
def no_container_left() -> Iterator[None]:
    """Whatever happened, the container of this process is gone."""
    yield
    assert not docker("ps", "--all", "--quiet", "--filter", OURS).stdout


def test_it_downloads_once_and_then_finds_it_complete(
    tmp_path: Path, lock: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = []
    for _ in range(2):
        assert fetch(tmp_path, lock, "--json") == Exit.PASSED
        told.append(json.loads(capsys.readouterr().out))
    assert [facts["fetched"] for facts in told] == [True, False]
    assert told[0]["files"] == told[1]["files"]
    assert [name.split("-")[0] for name in told[0]["files"]] == ["h11"]


@pytest.mark.parametrize("retries", ["0", "1"])  # pip says something else each time
def test_an_unreachable_index_is_one_line(
    tmp_path: Path, lock: Path, monkeypatch: pytest.MonkeyPatch, retries: str
) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:canary-password@127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", retries)
    with pytest.raises(ScriptError, match="index can't be reached") as caught:
        fetch(tmp_path, lock)
    assert "canary" not in str(caught.value)
    assert not (tmp_path / "wheels").exists()


def test_a_package_with_another_hash_is_refused(tmp_path: Path, lock: Path) -> None:
    name = lock.read_text().split("\\")[0]
    lock.write_text(f"{name} --hash=sha256:{'0' * 64}\n")
    with pytest.raises(ScriptError, match="another hash than the lock"):
        fetch(tmp_path, lock)
    assert not (tmp_path / "wheels").exists()


def test_an_image_that_is_nowhere_is_one_line(tmp_path: Path, lock: Path) -> None:
    with pytest.raises(ScriptError, match=r"can't pull the image 127\.0\.0\.1:9/none:1"):
        fetch(tmp_path, lock, "--image", "127.0.0.1:9/none:1")


def test_a_download_that_nobody_reads_to_its_end_locks_nobody_out(
    tmp_path: Path, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine holds the container's lock as long as the stream is open (2026-11-21)."""

    def fill(_folder: Path, stream: IO[bytes], *_rest: object) -> None:
        assert stream.read(1)
        raise ScriptError("the disk is full")

    monkeypatch.setattr("images.wheels.fill", fill)
    with pytest.raises(ScriptError, match="the disk is full") as kept:
        fetch(tmp_path, lock)
    assert kept.tb, "the error stays alive, and with it the frames of the reader"
    assert not docker("ps", "--all", "--quiet", "--filter", OURS).stdout


def test_the_container_of_a_killed_run_is_removed_and_no_other(tmp_path: Path, lock: Path) -> None:
    """It holds the user and password of the index."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    gone = {**task_labels("fetch-wheels"), PROCESS_LABEL: str(ended.pid)}
    cases = {
        "orphan": gone,
        "elsewhere": gone | {HOST_LABEL: "another.example"},
        "running": gone | {PROCESS_LABEL: str(os.getppid())},
    }
    made = {
        name: docker("create", *(f"--label={k}={v}" for k, v in labels.items()), PYTHON_IMAGE)
        for name, labels in cases.items()
    }
    ids = {name: done.stdout.strip() for name, done in made.items()}
    try:
        assert fetch(tmp_path, lock) == Exit.PASSED
        left = docker("ps", "--all", "--quiet", "--no-trunc").stdout.split()
        assert {name for name, one in ids.items() if one in left} == {"elsewhere", "running"}
    finally:
        for one in ids.values():
            docker("rm", "--force", one)
