"""The folder of a soak: what a crash leaves, and who may go on with it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from common.cli import ConfigurationError, ScriptError
from soak.clock import Moment
from soak.folder import ENDED, Header, SoakFolder, remove_ended, resumable, soaks
from soak.spans import Piece

if TYPE_CHECKING:
    from pathlib import Path

HEADER = Header(
    run_id="20261121-120000",
    stack="fake",
    stack_sha256="aa",
    contract_sha256="cc",
    commit_sha="1234",
    commit_dirty=False,
    runtime="process",
    seconds=100.0,
    speed=1.0,
    engine="aiohttp",
)
START = Moment("boot", 1000.0, 5000.0)
PIECE = Piece(1, 0.0, 30.0, "boot", {"front": "1@a"}, {"front": "1@a"})


def made(output: Path) -> SoakFolder:
    return SoakFolder.create(output, HEADER, START)


def interrupted(output: Path) -> Path:
    """A soak whose harness is gone after 30 seconds."""
    folder = made(output)
    folder.write_piece(PIECE)
    folder.close()
    return folder.path


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    interrupted(tmp_path)
    folder = SoakFolder.resume(tmp_path, HEADER.run_id, replace(HEADER, run_id="another"))
    assert (folder.header, folder.start) == (HEADER, START)
    assert folder.pieces() == [PIECE]
    assert folder.remaining_seconds() == 70
    folder.close()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"stack_sha256": "bb"}, "stack sha256: expected aa, got bb"),
        ({"contract_sha256": "dd"}, "contract sha256: expected cc, got dd"),
        ({"commit_sha": "5678"}, "commit sha: expected 1234, got 5678"),
        ({"commit_dirty": True}, "commit dirty: expected False, got True"),
        ({"runtime": "compose"}, "runtime: expected process, got compose"),
        ({"seconds": 50.0}, "seconds: expected 100.0, got 50.0"),
        ({"speed": 2.0}, "speed: expected 1.0, got 2.0"),
    ],
)
def test_another_soak_is_not_gone_on_with(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    interrupted(tmp_path)
    with pytest.raises(ConfigurationError, match=said):
        SoakFolder.resume(tmp_path, HEADER.run_id, replace(HEADER, **change))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["20261121-130000", "..", "../x", "", "a/b"])
def test_a_soak_that_is_not_there_is_refused_with_what_is(tmp_path: Path, name: str) -> None:
    interrupted(tmp_path)
    with pytest.raises(ConfigurationError, match=rf"there: {HEADER.run_id}"):
        SoakFolder.resume(tmp_path, name, HEADER)


def test_a_soak_that_runs_is_not_resumed(tmp_path: Path) -> None:
    folder = made(tmp_path)
    with pytest.raises(ConfigurationError, match="in use by another process"):
        SoakFolder.resume(tmp_path, HEADER.run_id, HEADER)
    folder.close()


def test_a_broken_piece_is_refused_in_one_line(tmp_path: Path) -> None:
    path = interrupted(tmp_path)
    (path / "pieces" / "piece-001.json").write_text('{"number": 1}')
    with pytest.raises(ScriptError, match="no file of a soak"):
        SoakFolder.resume(tmp_path, HEADER.run_id, HEADER)


def test_a_soak_that_failed_is_not_gone_on_with(tmp_path: Path) -> None:
    folder = made(tmp_path)
    folder.write_piece(replace(PIECE, ended="stopped"))
    folder.close()
    with pytest.raises(ConfigurationError, match="stopped because something failed"):
        SoakFolder.resume(tmp_path, HEADER.run_id, HEADER)


def test_a_killed_piece_ends_with_its_last_sample(tmp_path: Path) -> None:
    folder = made(tmp_path)
    folder.write_piece(PIECE)
    folder.settle({1: 33.5})
    assert folder.pieces()[0].end_seconds == 33.5
    folder.settle({1: 12.0})
    assert folder.pieces()[0].end_seconds == 33.5
    folder.close()


def test_a_piece_that_ended_keeps_its_end(tmp_path: Path) -> None:
    folder = made(tmp_path)
    folder.write_piece(replace(PIECE, ended="interrupted"))
    folder.settle({1: 33.5})
    assert folder.pieces()[0].end_seconds == 30
    folder.close()


def test_a_half_written_file_is_no_file(tmp_path: Path) -> None:
    folder = made(tmp_path)
    folder.write_piece(PIECE)
    (folder.path / "pieces" / "piece-001.json.partial").write_text("{")
    (folder.path / "minutes" / "minute-00001.json.partial").write_text("{")
    assert folder.pieces() == [PIECE]
    assert [name for name, _ in folder.files()] == ["pieces/piece-001.json", "soak.json"]
    folder.close()


def test_a_minute_that_breaks_its_schema_is_not_written(tmp_path: Path) -> None:
    folder = made(tmp_path)
    with pytest.raises(ConfigurationError, match="minute 1"):
        folder.write_minute(1, {"minute": 1})
    assert folder.minutes == []
    folder.close()


def test_a_soak_that_is_over_is_removed_once_its_evidence_is_sealed(tmp_path: Path) -> None:
    folder = made(tmp_path)
    folder.mark_ended("20261121-130000")
    folder.close()
    remove_ended(tmp_path)
    assert (folder.path / ENDED).is_file()  # no bundle yet
    (tmp_path / "20261121-130000").mkdir()
    remove_ended(tmp_path)
    assert not soaks(tmp_path).exists()


def test_a_soak_that_is_over_is_not_resumed(tmp_path: Path) -> None:
    folder = made(tmp_path)
    folder.mark_ended("20261121-130000")
    folder.close()
    assert resumable(tmp_path) == []


def test_an_interrupted_soak_is_kept(tmp_path: Path) -> None:
    path = interrupted(tmp_path)
    remove_ended(tmp_path)
    assert path.is_dir()


def test_a_later_boot_is_placed_by_the_wall_clock() -> None:
    assert START.seconds_until(Moment("boot", 1060.0, 9999.0)) == 60
    assert START.seconds_until(Moment("other", 3.0, 5100.0)) == 100
