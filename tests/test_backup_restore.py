"""backup_restore.py: what each command says, leaves and exits with (G4)."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import backup_restore
import pytest
import yaml
from backup_cases import KEY, Shop, add_order, count_orders, make_database

from backup.switch import NOTE
from common.cli import ConfigurationError, Exit, ScriptError, UsageError
from common.schema import check_value

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(os.name == "nt", reason="backups need POSIX")


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A system."""
    return Shop(tmp_path)


@pytest.fixture
def key(tmp_path: Path) -> str:
    """A key file."""
    (tmp_path / "key").write_bytes(KEY)
    (tmp_path / "key").chmod(0o600)
    return str(tmp_path / "key")


def backed_up(shop: Shop, capsys: pytest.CaptureFixture[str], *words: str) -> Path:
    """Run `backup`; where the archive is."""
    capsys.readouterr()
    line = shop.options("backup", "--destination", str(shop.backups), "--json", *words)
    assert backup_restore.main(line) == Exit.PASSED
    value = json.loads(capsys.readouterr().out)
    check_value(value["manifest"], "backup_manifest", "the manifest")
    return Path(value["path"])


def hidden(folder: Path) -> list[str]:
    """Drafts and notes that something left."""
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_backup_verifies_and_restores_what_was_there(
    shop: Shop, key: str, capsys: pytest.CaptureFixture[str], *, encrypted: bool
) -> None:
    words = ["--encrypt-key", key] if encrypted else []
    path = backed_up(shop, capsys, *words)
    assert path.stat().st_mode & 0o777 == 0o600
    assert hidden(shop.backups) == []
    assert backup_restore.main(["verify", str(path), *words]) == Exit.PASSED
    make_database(shop.root / "new.db", rows=3).replace(shop.orders)
    (shop.uploads / "nothing").write_text("changed")
    line = shop.options("restore", str(path), "--replace", *words)
    assert backup_restore.main(line) == Exit.PASSED
    assert count_orders(shop.orders) == 50
    assert (shop.uploads / "nothing").read_text() == ""
    aside = shop.state / f"orders.db.before-{path.name[5:20]}"
    assert count_orders(aside / "orders.db") == 3
    assert hidden(shop.state) == []


def test_a_stale_log_never_stays_beside_a_restored_database(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log of another time, replayed into a restored file, corrupts it."""
    path = backed_up(shop, capsys)
    database = sqlite3.connect(shop.orders)
    database.execute("PRAGMA wal_autocheckpoint=0")
    for number in range(51, 90):
        add_order(database, number)
        database.commit()
    wal = Path(f"{shop.orders}-wal").read_bytes()
    database.close()
    shop.orders.unlink()
    Path(f"{shop.orders}-wal").write_bytes(wal)
    with pytest.raises(ScriptError, match=r"expected nothing at its place, got .*orders\.db-wal"):
        backup_restore.main(shop.options("restore", str(path), "--store", "orders"))
    line = shop.options("restore", str(path), "--replace", "--store", "orders")
    assert backup_restore.main(line) == Exit.PASSED
    assert not Path(f"{shop.orders}-wal").exists()
    assert count_orders(shop.orders) == 50
    saved = shop.state / f"orders.db.before-{path.name[5:20]}" / "orders.db-wal"
    assert saved.read_bytes() == wal


def test_nothing_is_written_before_the_archive_was_read_in_full(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    path = backed_up(shop, capsys)
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 4
    path.write_bytes(data)
    before = {item: item.stat().st_mtime_ns for item in shop.state.rglob("*")}
    for words in (["--replace"], ["--replace", "--store", "uploads"]):
        with pytest.raises(ScriptError):
            backup_restore.main(shop.options("restore", str(path), *words))
    with pytest.raises(ScriptError):
        backup_restore.main(
            ["restore", str(path), "--stack", str(shop.stack), "--into", str(shop.root / "into")]
        )
    assert {item: item.stat().st_mtime_ns for item in shop.state.rglob("*")} == before
    assert not (shop.root / "into").exists()
    assert backup_restore.main(["list", "--destination", str(shop.backups)]) == Exit.FAILED
    assert "damaged" in capsys.readouterr().out


def test_a_system_that_runs_is_not_restored_under(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    import subprocess
    import sys

    path = backed_up(shop, capsys)
    held = shop.uploads / "nothing"
    program = "import sys; f = open(sys.argv[1]); print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", program]
    for place, name in ((held, "uploads"), (shop.orders, "orders")):
        with subprocess.Popen(
            [*command, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as other:
            assert other.stdout is not None
            other.stdout.readline()
            with pytest.raises(ScriptError, match=f"{name} is in use: process {other.pid}"):
                backup_restore.main(shop.options("restore", str(path), "--replace"))
            other.communicate()
    assert backup_restore.main(shop.options("restore", str(path), "--replace")) == Exit.PASSED


def test_another_system_and_a_newer_schema_are_refused(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    path = backed_up(shop, capsys)
    value = yaml.safe_load(shop.stack.read_text())
    shop.stack.write_text(yaml.safe_dump({**value, "name": "another"}))
    line = shop.options("restore", str(path), "--replace")
    with pytest.raises(ScriptError, match="expected a backup of another, got one of shop"):
        backup_restore.main(line)
    assert backup_restore.main([*line, "--system", "shop"]) == Exit.PASSED
    shop.stack.write_text(yaml.safe_dump(value))
    make_database(shop.root / "old.db", user_version=2).replace(shop.orders)
    with pytest.raises(ScriptError, match=r"at most the schema version 2 of .*, got a backup of 3"):
        backup_restore.main(line)
    shop.orders.unlink()
    assert backup_restore.main(line) == Exit.PASSED


def test_a_database_of_other_software_is_not_replaced(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    path = backed_up(shop, capsys)
    database = sqlite3.connect(shop.orders)
    database.execute("PRAGMA application_id=99")
    database.close()
    with pytest.raises(ScriptError, match="expected the application id 99"):
        backup_restore.main(shop.options("restore", str(path), "--replace"))


def test_a_kind_without_an_adapter_is_refused_before_anything_is_written(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    value = yaml.safe_load(shop.stack.read_text())
    value["stores"]["cache"] = {"process": {"kind": "redis", "location": "redis://x/0"}}
    shop.stack.write_text(yaml.safe_dump(value))
    line = shop.options("backup", "--destination", str(shop.backups))
    with pytest.raises(
        ConfigurationError, match="expected the kind sqlite or directory"
    ) as problem:
        backup_restore.main(line)
    assert "\n" not in str(problem.value)
    assert not shop.backups.exists()
    assert backed_up(shop, capsys, "--store", "orders").exists()


def test_a_store_of_a_system_elsewhere_has_its_place_on_the_command_line(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["backup", "--stack", str(shop.stack), "--destination", str(shop.backups)]
    with pytest.raises(ConfigurationError, match="give --state FOLDER, or --location orders=PATH"):
        backup_restore.main(line)
    places = [f"--location=orders={shop.orders}", f"--location=uploads={shop.uploads}"]
    assert backup_restore.main([*line, *places]) == Exit.PASSED
    for wrong in ("orders", "=x", "orders=", "nothing=x"):
        with pytest.raises(UsageError):
            backup_restore.main([*line, *places[1:], "--location", wrong])
    with pytest.raises(ConfigurationError, match="expected places apart"):
        backup_restore.main([*line, places[0], f"--location=uploads={shop.state}"])
    capsys.readouterr()


def test_a_scratch_restore_appears_whole_in_a_new_or_empty_folder(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    path = backed_up(shop, capsys)
    line = ["restore", str(path), "--stack", str(shop.stack), "--into"]
    (shop.root / "empty").mkdir()
    for name in ("new", "empty"):
        assert backup_restore.main([*line, str(shop.root / name)]) == Exit.PASSED
        assert count_orders(shop.root / name / "orders" / "orders.db") == 50
        with pytest.raises(UsageError, match="a new or an empty folder"):
            backup_restore.main([*line, str(shop.root / name)])
    with pytest.raises(UsageError, match="leave out"):
        backup_restore.main([*line, str(shop.root / "x"), "--replace"])
    assert hidden(shop.root) == []


def test_list_says_the_state_of_each_and_calls_none_good_that_it_did_not_read(
    shop: Shop, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["list", "--destination", str(shop.backups), "--json"]
    shop.backups.mkdir()
    assert backup_restore.main(line) == Exit.INCONCLUSIVE
    good, locked = backed_up(shop, capsys), backed_up(shop, capsys, "--encrypt-key", key)
    (shop.backups / ".20260101-000000.partial").mkdir()
    (shop.backups / "notes.txt").write_text("x")
    (shop.backups / "shop-20260101-000001.tar.zst").write_bytes(good.read_bytes())
    (shop.backups / "shop-20260101-000002.tar.zst").write_bytes(good.read_bytes()[:-1])

    def states(*words: str) -> dict[str, str]:
        capsys.readouterr()
        states.code = backup_restore.main([*line, *words])  # type: ignore[attr-defined]
        rows = json.loads(capsys.readouterr().out)["backups"]
        return {row["file"]: row["state"] for row in rows}

    renamed, cut = "shop-20260101-000001.tar.zst", "shop-20260101-000002.tar.zst"
    wanted = {renamed: "damaged", cut: "damaged", good.name: "good", locked.name: "locked"}
    assert states() == wanted
    assert states("--encrypt-key", key)[locked.name] == "good"
    quick = states("--quick")
    assert quick[good.name] == "unchecked"
    for name in (renamed, cut):
        (shop.backups / name).unlink()
    assert states("--encrypt-key", key) == {good.name: "good", locked.name: "good"}
    assert backup_restore.main([*line, "--encrypt-key", key]) == Exit.PASSED
    assert backup_restore.main(line) == Exit.INCONCLUSIVE
    capsys.readouterr()


def test_prune_removes_only_good_ones_that_no_rule_keeps(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [backed_up(shop, capsys) for _ in range(4)]
    data = bytearray(paths[3].read_bytes())
    data[40] ^= 1
    paths[3].write_bytes(data)
    line = ["prune", "--destination", str(shop.backups), "--keep-last", "1"]
    assert backup_restore.main([*line, "--dry-run"]) == Exit.FAILED
    assert all(path.exists() for path in paths)
    assert "would remove 2, kept 1, damaged 1" in capsys.readouterr().out
    assert backup_restore.main(line) == Exit.FAILED
    # The newest is damaged: it counts for nothing, and the newest good one stays.
    assert [path.exists() for path in paths] == [False, False, True, True]
    with pytest.raises(UsageError, match="expected a rule"):
        backup_restore.main(line[:3])


def test_prune_touches_nothing_while_an_encrypted_one_can_t_be_read(
    shop: Shop, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [backed_up(shop, capsys, "--encrypt-key", key) for _ in range(2)]
    line = ["prune", "--destination", str(shop.backups), "--keep-last", "1"]
    with pytest.raises(UsageError, match="encrypted"):
        backup_restore.main(line)
    assert backup_restore.main([*line, "--encrypt-key", key]) == Exit.PASSED
    assert [path.exists() for path in paths] == [False, True]


VERIFIED: dict[str, tuple[Callable[[bytes], bytes], int]] = {
    "good": (lambda data: data, 0),
    "cut": (lambda data: data[:-1], 1),
    "flipped": (lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:], 1),
}


@pytest.mark.parametrize("name", VERIFIED)
def test_verify_exits_by_what_it_found(
    name: str, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    path = backed_up(shop, capsys)
    change, code = VERIFIED[name]
    path.write_bytes(change(path.read_bytes()))
    assert backup_restore.main(["verify", str(path), "--json"]) == code
    value: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert value["verdict"] == ("failed" if code else "passed")
    if code:
        with pytest.raises(ScriptError) as problem:
            backup_restore.main(["verify", str(path)])
        assert problem.value.code == code
    with pytest.raises(UsageError):
        backup_restore.main(["verify", str(path.with_name("missing"))])


def test_a_killed_restore_is_noticed_and_goes_on(
    shop: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken off at each of its renames: the next restore ends it, the real old ones are kept."""
    path = backed_up(shop, capsys)
    real = Path.rename
    for stop in range(1, 12):
        make_database(shop.root / "new.db", rows=stop).replace(shop.orders)
        count = 0

        def breaking(self: Path, target: Path, stop: int = stop) -> Path:
            nonlocal count
            count += 1
            if count == stop:
                raise KeyboardInterrupt
            return real(self, target)

        line = shop.options("restore", str(path), "--replace")
        monkeypatch.setattr(Path, "rename", breaking)
        try:
            broken = backup_restore.main(line) != Exit.PASSED
        except KeyboardInterrupt:
            broken = True
        monkeypatch.setattr(Path, "rename", real)
        if not broken:
            assert stop > 4
            break
        assert (shop.state / NOTE).exists()
        with pytest.raises(ScriptError, match="restore again first"):
            shop.back_up()
        # Not `--replace`: the killed one had it.
        assert backup_restore.main(shop.options("restore", str(path))) == Exit.PASSED
        assert count_orders(shop.orders) == 50
        assert hidden(shop.state) == []
        asides = [*shop.state.glob("orders.db.before-*/orders.db")]
        assert stop in [count_orders(aside) for aside in asides]
    else:
        pytest.fail("a restore takes fewer renames than that")


def test_an_unwritable_place_is_one_line(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    (shop.root / "file").write_text("x")
    for place in (shop.root / "file", shop.root / "file" / "below"):
        with pytest.raises(ScriptError) as problem:
            backup_restore.main(shop.options("backup", "--destination", str(place)))
        assert "\n" not in str(problem.value)
    path = backed_up(shop, capsys)
    os.rename(shop.state, shop.root / "gone")  # noqa: PTH104 - Path.rename is what tests break
    (shop.root / "state").write_text("a file")
    with pytest.raises(ScriptError):
        backup_restore.main(shop.options("restore", str(path)))
