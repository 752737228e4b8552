"""Run folders: a free id for everybody, nothing half-made that looks complete."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from evidence.partials import OWNER, sealing_path
from evidence.redact import Redactor
from evidence.run_folder import ArtifactError, RunFolder, sweep_partials

NOW = datetime(2026, 11, 20, 23, 45, 12, tzinfo=UTC)
SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
MAKE_ONE = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from evidence.run_folder import RunFolder
folder = RunFolder.create(Path(sys.argv[1]), datetime(2026, 11, 20, 23, 45, 12, tzinfo=UTC))
print(folder.run_id, flush=True)
sys.stdin.read()
"""


def start_owner(output: Path) -> tuple[subprocess.Popen[str], str]:
    """Another process that holds a partial until its stdin is closed."""
    owner = subprocess.Popen(
        [sys.executable, "-c", MAKE_ONE, str(output)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(SCRIPTS)},
    )
    assert owner.stdout is not None
    return owner, owner.stdout.readline().strip()


def end(owner: subprocess.Popen[str]) -> None:
    owner.kill()
    owner.communicate()


def test_id_is_utc_time(tmp_path: Path) -> None:
    east = NOW.astimezone(timezone(timedelta(hours=9)))
    assert RunFolder.create(tmp_path / "a" / "b", east).run_id == "20261120-234512"


def test_partial_is_hidden_and_owned(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, NOW)
    assert folder.evidence == tmp_path / ".20261120-234512.partial" / "evidence"
    assert folder.evidence.is_dir()
    assert json.loads((folder.partial / OWNER).read_text())["pid"] == os.getpid()
    assert sorted(path.name for path in tmp_path.iterdir()) == [folder.partial.name]


def test_runs_in_one_second_get_ids_of_their_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: RunFolder.create(tmp_path, NOW), range(24)))
    ids = {folder.run_id for folder in folders}
    assert ids == {"20261120-234512", *(f"20261120-234512-{number}" for number in range(2, 25))}


def test_processes_in_one_second_get_ids_of_their_own(tmp_path: Path) -> None:
    owners = [start_owner(tmp_path) for _ in range(3)]
    for owner, _ in owners:
        end(owner)
    assert len({run_id for _, run_id in owners}) == 3


def test_a_sealed_name_is_not_taken_again(tmp_path: Path) -> None:
    (tmp_path / "20261120-234512").mkdir()
    assert RunFolder.create(tmp_path, NOW).run_id == "20261120-234512-2"


def test_an_output_that_is_a_file_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match=r"can't write .*file.*: give a folder"):
        RunFolder.create(tmp_path / "file", NOW)


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX modes")
def test_an_unwritable_output_is_one_clear_line(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        # Root passes over modes, but not over a file system without write support.
        target = Path("/proc/proof")
    else:
        tmp_path.chmod(0o500)
        target = tmp_path / "output"
    with pytest.raises(ArtifactError, match=r"can't write .*: give a folder"):
        RunFolder.create(target, NOW)


def test_texts_and_json_are_redacted(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, NOW, Redactor(["opensesame"]))
    folder.write_text("logs/a.txt", "say opensesame\r\n")
    folder.write_json("b.json", {"z": "opensesame", "a": [1, "ä"]})
    assert (folder.evidence / "logs/a.txt").read_bytes() == b"say [redacted:secret]\r\n"
    assert (folder.evidence / "b.json").read_bytes() == (
        b'{\n  "a": [\n    1,\n    "\\u00e4"\n  ],\n  "z": "[redacted:secret]"\n}\n'
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"x": object()}])
def test_what_is_no_json_is_refused(value: object, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="expected a JSON value"):
        RunFolder.create(tmp_path, NOW).write_json("a.json", value)


@pytest.mark.parametrize("name", ["../a", "/a", "a//b", "a/../b", "", ".", "two words", "ä"])
def test_names_outside_evidence_are_refused(name: str, tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, NOW)
    with pytest.raises(ArtifactError, match="expected a plain name"):
        folder.write_text(name, "x")


def test_discard_leaves_nothing(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, NOW)
    folder.write_text("a.txt", "x")
    folder.discard()
    folder.discard()
    assert list(tmp_path.iterdir()) == []


def test_sweep_removes_a_dead_owners_partial_only(tmp_path: Path) -> None:
    mine = RunFolder.create(tmp_path, NOW)
    (tmp_path / "20200101-000000").mkdir()
    (tmp_path / ".hidden").touch()
    owner, run_id = start_owner(tmp_path)
    assert sweep_partials(tmp_path) == []
    end(owner)
    assert sweep_partials(tmp_path) == [tmp_path / f".{run_id}.partial"]
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {mine.partial.name, "20200101-000000", ".hidden"}


def test_sweep_knows_a_reused_process_id(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, NOW)
    record = folder.partial / OWNER
    owner = json.loads(record.read_text())
    record.write_text(json.dumps(owner | {"created_ms": owner["created_ms"] - 60_000}))
    assert sweep_partials(tmp_path) == [folder.partial]


def test_sweep_leaves_another_hosts_partial(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, NOW)
    record = folder.partial / OWNER
    record.write_text(json.dumps({"pid": 999_999, "created_ms": 1, "host": "elsewhere"}))
    assert sweep_partials(tmp_path) == []


def test_sweep_leaves_a_folder_that_is_being_renamed(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, NOW)
    (folder.partial / OWNER).replace(sealing_path(tmp_path, folder.run_id))
    assert sweep_partials(tmp_path) == []


@pytest.mark.parametrize("content", [None, "", "{}", "[1]", '{"pid": "x"}'])
def test_sweep_removes_what_has_no_owner(content: str | None, tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, NOW)
    (folder.partial / OWNER).unlink()
    if content is not None:
        (folder.partial / OWNER).write_text(content)
    assert sweep_partials(tmp_path) == [folder.partial]


def test_sweep_removes_staging_and_records_of_the_dead(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, NOW)
    host = json.loads((folder.partial / OWNER).read_text())["host"]
    (tmp_path / f".ab-999999-1-{host}.staging").mkdir()
    dead = json.dumps({"pid": 999_999, "created_ms": 1, "host": host})
    sealing_path(tmp_path, "20200101-000000").write_text(dead)
    assert len(sweep_partials(tmp_path)) == 2


def test_sweep_does_not_follow_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    output = tmp_path / "output"
    output.mkdir()
    try:
        (output / ".20200101-000000.partial").symlink_to(outside)
    except OSError:
        pytest.skip("needs symbolic links")
    sweep_partials(output)
    assert (outside / "kept").exists()


def test_sweep_of_a_missing_folder_is_nothing(tmp_path: Path) -> None:
    assert sweep_partials(tmp_path / "none") == []


def test_log_tail_is_the_last_lines_redacted(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, NOW, Redactor(["opensesame"]))
    log = tmp_path / "service.log"
    log.write_bytes(b"".join(b"line %d opensesame\n" % number for number in range(50_000)))
    text = folder.copy_log("service_logs.txt", log, 100).read_text("utf-8")
    assert text.splitlines()[0] == "line 49900 [redacted:secret]"
    assert len(text.splitlines()) == 100


def test_log_tail_hides_a_key_that_begins_above_it(tmp_path: Path) -> None:
    body = "".join(f"MHcCAQEE{number:04}\n" for number in range(60))
    key = f"-----BEGIN PRIVATE KEY-----\n{body}-----END PRIVATE KEY-----\n"
    log = tmp_path / "service.log"
    log.write_text(key + "ready\n" * 10)
    folder = RunFolder.create(tmp_path, NOW)
    text = folder.copy_log("service_logs.txt", log, 30).read_text("utf-8")
    assert "MHcCAQEE" not in text
    assert text.endswith("ready\n")


@pytest.mark.parametrize("data", [b"", b"no newline", b"\xff\xfe\x00bytes\n", b"\n" * 7])
def test_log_tail_takes_any_bytes(data: bytes, tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    log.write_bytes(data)
    copy = RunFolder.create(tmp_path, NOW).copy_log("service_logs.txt", log, 5)
    assert len(copy.read_text("utf-8").splitlines()) <= 5


def test_log_tail_leaves_out_one_endless_line(tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    log.write_bytes(b"x" * (9 << 20))
    copy = RunFolder.create(tmp_path, NOW).copy_log("service_logs.txt", log, 5)
    assert "longer than 8 MiB" in copy.read_text("utf-8")


def test_a_missing_log_is_said(tmp_path: Path) -> None:
    copy = RunFolder.create(tmp_path, NOW).copy_log("a_logs.txt", tmp_path / "none.log")
    assert copy.read_text("utf-8").startswith("[no log: 'none.log': ")
