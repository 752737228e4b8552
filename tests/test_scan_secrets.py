"""scan_secrets.py: what it finds, what it says of it, how it ends (H4, G3d)."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from made_secrets import Maker
from scan_secrets import main
from secret_tree import write_packed, write_tree

from common.cli import ConfigurationError, Exit, UsageError
from common.schema import check_value

ROOT = Path(__file__).resolve().parents[1]
TOKEN = Maker("token").fill("ghp_{an:36}")


def scanned(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, Any]:
    """Exit code and JSON document of a scan."""
    code = main([*map(str, arguments), "--json", "--engine", "re2"])
    document = json.loads(capsys.readouterr().out)
    check_value(document, "secret_scan", "the result")
    return code, document


def rules_of(document: Any) -> list[str]:
    """The rules of its findings."""
    return [finding["rule"] for finding in document["findings"]]


def test_a_clean_file_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("nothing to see\n")
    code, document = scanned(capsys, tmp_path / "a.txt")
    assert (code, document["verdict"]) == (Exit.PASSED, "passed")
    assert document["counts"]["files"] == 1


def test_a_secret_fails_with_its_place_and_without_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.env").write_text(f"one\ntwo\n  token={TOKEN}\n")
    code, document = scanned(capsys, tmp_path)
    (finding,) = document["findings"]
    assert code == Exit.FAILED
    assert finding["path"] == "a.env"
    assert (finding["line"], finding["column"], finding["length"]) == (3, 9, 40)
    assert finding["rule"] == "github-token"
    assert TOKEN not in json.dumps(document)


def test_nothing_to_read_is_inconclusive(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A check that passes on nothing is the field's best-known defect."""
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / "empty"), "--engine", "re2"]) == Exit.INCONCLUSIVE
    assert "nothing was read" in capsys.readouterr().out


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
def test_what_can_not_be_read_is_listed_and_inconclusive(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("fine\n")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "b.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(50))
    (tmp_path / "c.gz").write_bytes(b"\x1f\x8b\x08\x00garbage that is no deflate stream")
    code, document = scanned(capsys, tmp_path)
    assert (code, document["verdict"]) == (Exit.INCONCLUSIVE, "inconclusive")
    assert [one["path"] for one in document["unread"]] == ["b.7z", "c.gz", "pipe"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_a_file_of_somebody_else_is_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("fine\n")
    (tmp_path / "a.txt").chmod(0)
    code, document = scanned(capsys, tmp_path)
    assert code == Exit.INCONCLUSIVE
    assert document["unread"][0]["reason"] == "permission denied"


def test_findings_outweigh_what_was_not_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.env").write_text(TOKEN)
    (tmp_path / "b.zst").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(50))
    code, document = scanned(capsys, tmp_path)
    assert code == Exit.FAILED
    assert len(document["unread"]) == 1


def test_links_are_counted_and_not_followed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "outside.env").write_text(TOKEN)
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a.txt").write_text("fine\n")
    (tree / "link").symlink_to("../outside.env")
    (tree / "loop").symlink_to(".")
    code, document = scanned(capsys, tree)
    assert (code, document["counts"]["links"]) == (Exit.PASSED, 2)


def test_a_socket_is_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("fine\n")
    before = Path.cwd()
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(tmp_path)  # the path of a socket has to be short
        try:
            server.bind("s")
        finally:
            os.chdir(before)
        code, document = scanned(capsys, tmp_path)
    assert code == Exit.INCONCLUSIVE
    assert "a socket" in document["unread"][0]["reason"]


def test_every_wrapping_is_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_packed(tmp_path, f"token={TOKEN}\n")
    code, document = scanned(capsys, tmp_path)
    assert code == Exit.FAILED
    assert {one["path"] for one in document["findings"]} == {
        *("wide.txt", "encoded.yaml", "dump.hex", "app.log.gz", "site.zip!in/side.env"),
        *("all.tar.gz!a/side.env", "nested.zip!inner.tar!deep.env"),
    }
    assert set(rules_of(document)) == {"github-token"}
    assert len({one["fingerprint"] for one in document["findings"]}) == 1
    decoded = {one["path"]: one["decoded"] for one in document["findings"]}
    assert (decoded["encoded.yaml"], decoded["dump.hex"]) == ("base64", "hex")


def test_stdin_is_a_path(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(f"x\n{TOKEN}\n".encode()))
    monkeypatch.setattr(sys, "stdin", stream)
    code, document = scanned(capsys, "-")
    assert code == Exit.FAILED
    assert (document["findings"][0]["path"], document["findings"][0]["line"]) == ("stdin", 2)


@pytest.mark.parametrize(
    "comment",
    ["# gitleaks:allow", "# pragma: allowlist secret", "<!-- pragma: allowlist secret -->"],
)
def test_an_allow_comment_counts_unless_it_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], comment: str
) -> None:
    (tmp_path / "a.env").write_text(f"token={TOKEN} {comment}\n")
    code, document = scanned(capsys, tmp_path)
    assert (code, document["counts"]["allowed_inline"]) == (Exit.PASSED, 1)
    code, document = scanned(capsys, tmp_path, "--no-inline-allow")
    assert (code, document["counts"]["allowed_inline"]) == (Exit.FAILED, 0)


def test_a_comment_for_the_next_line_allows_that_line_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mark = "# pragma: allowlist nextline secret"
    (tmp_path / "a.env").write_text(f"{mark}\nA={TOKEN}\nB={TOKEN[:-1]}x\n")
    code, document = scanned(capsys, tmp_path)
    assert code == Exit.FAILED
    assert [one["line"] for one in document["findings"]] == [3]


def test_a_baseline_takes_what_is_known_wherever_it_moves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a.env").write_text(f"token={TOKEN}\n")
    known = tmp_path / "known.json"
    make = ("--write-baseline", known, "--reason", "data", "--expires", "2999-01-01")
    assert scanned(capsys, tree, *make)[0] == Exit.FAILED
    assert TOKEN not in known.read_text()
    (tree / "a.env").write_text(f"moved\nby\nlines\ntoken={TOKEN}\n")
    code, document = scanned(capsys, tree, "--baseline", known)
    assert (code, document["baseline"]["known"]) == (Exit.PASSED, 1)
    other = Maker("other").fill("ghp_{an:36}")
    (tree / "a.env").write_text(f"token={TOKEN} {other}\n")
    code, document = scanned(capsys, tree, "--baseline", known)
    assert (code, len(document["findings"])) == (Exit.FAILED, 1)


def baseline_file(path: Path, **changes: Any) -> Path:
    """A baseline with one entry that fits nothing."""
    entry = {"rule": "github-token", "path": "gone.env", "fingerprint": "0" * 32}
    entry |= {"reason": "data", "expires": "2999-01-01"} | changes
    entry = {key: value for key, value in entry.items() if value is not None}
    key_id = entry.pop("key_id", "0" * 16)
    path.write_text(
        json.dumps({"schema": "secret_baseline/1", "key_id": key_id, "entries": [entry]})
    )
    return path


def key_file(path: Path, text: str = "k" * 40, mode: int = 0o600) -> Path:
    """A file with a key for fingerprints."""
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_stale_and_an_expired_entry_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = key_file(tmp_path / "key")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a.env").write_text(f"token={TOKEN}\n")
    known = tmp_path / "known.json"
    yesterday = (datetime.now(UTC).date() - timedelta(days=1)).isoformat()
    scanned(
        capsys, tree, "--fingerprint-key", key,
        *("--write-baseline", known, "--reason", "data", "--expires", yesterday),
    )  # fmt: skip
    code, document = scanned(capsys, tree, "--fingerprint-key", key, "--baseline", known)
    assert code == Exit.FAILED, "an expired entry does not count"
    assert len(document["baseline"]["expired"]) == 1
    stale = baseline_file(tmp_path / "stale.json", key_id=document["key_id"])
    (tree / "a.env").write_text("fine\n")
    code, document = scanned(capsys, tree, "--fingerprint-key", key, "--baseline", stale)
    assert (code, len(document["baseline"]["stale"])) == (Exit.PASSED, 1)


@pytest.mark.parametrize("missing", ["reason", "expires", "fingerprint"])
def test_a_baseline_entry_needs_reason_and_expiry(tmp_path: Path, missing: str) -> None:
    known = baseline_file(tmp_path / "known.json", **{missing: None})
    with pytest.raises(ConfigurationError, match=f"expected the key '{missing}'"):
        main([str(tmp_path), "--baseline", str(known)])


def test_a_baseline_of_another_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("fine\n")
    with pytest.raises(ConfigurationError, match="expected a baseline of the key"):
        main([str(tmp_path), "--engine", "re2", "--baseline", str(baseline_file(tmp_path / "b"))])


def test_the_key_is_made_once_and_for_the_user_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.env").write_text(TOKEN)
    first, second = (scanned(capsys, tmp_path / "a.env")[1] for _ in range(2))
    assert first["findings"] == second["findings"]
    key = Path(os.environ["PROOF_PACK_CONFIG_DIR"]) / "secret-scan.key"
    assert key.stat().st_mode & 0o777 == 0o600
    key.unlink()
    third = scanned(capsys, tmp_path / "a.env")[1]
    assert third["findings"][0]["fingerprint"] != first["findings"][0]["fingerprint"]


@pytest.mark.skipif(os.name != "posix", reason="needs modes")
def test_a_key_that_others_read_or_that_is_short_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="expected mode 0600"):
        main([str(tmp_path), "--fingerprint-key", str(key_file(tmp_path / "k", mode=0o644))])
    with pytest.raises(ConfigurationError, match="expected a key of 32 bytes"):
        main([str(tmp_path), "--fingerprint-key", str(key_file(tmp_path / "s", "short"))])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--format", "xml"],
        ["--write-baseline", "x"],
        ["nowhere"],
        ["--workers", "0"],
        [".", "--write-baseline", "x", "--reason", "r", "--expires", "tomorrow"],
    ],
)
def test_bad_arguments_are_usage_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("fine\n")
    with pytest.raises(UsageError):
        main(arguments)


def test_history_outside_of_a_repository_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a git repository"):
        main([str(tmp_path), "--history"])


def test_output_goes_to_a_file_and_the_last_line_to_stdout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.env").write_text(TOKEN)
    report = tmp_path / "report.sarif"
    main([str(tmp_path / "a.env"), "--format", "sarif", "--output", str(report), "--engine", "re2"])
    assert json.loads(report.read_text())["version"] == "2.1.0"
    assert capsys.readouterr().out.startswith("FAILED: 1 findings in 1 files")


def test_a_name_of_a_file_that_holds_a_secret_is_masked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / f"{TOKEN}.env").write_text(f"token={TOKEN}\n")
    (tmp_path / f"{TOKEN}.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(50))
    _, document = scanned(capsys, tmp_path)
    assert document["findings"][0]["path"] == "[masked].env"
    assert TOKEN not in json.dumps(document)


def test_two_workers_find_what_one_finds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(6):
        folder = tmp_path / str(number)
        folder.mkdir()
        write_tree(folder, number)
        (folder / "large.txt").write_text("padding\n" * 150_000)
    one, two = (scanned(capsys, tmp_path, "--workers", number)[1] for number in ("1", "2"))
    assert one == two
    assert len(one["findings"]) > 600


@pytest.mark.parametrize("form", ["text", "json", "sarif"])
def test_no_output_holds_a_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    secrets = write_tree(tmp_path / "tree", 7)
    known = tmp_path / "known.json"
    more = ["--write-baseline", str(known), "--reason", "r", "--expires", "2999-01-01"]
    main([str(tmp_path / "tree"), "--format", form, "--engine", "re2", *more])
    said = "".join(capsys.readouterr()) + known.read_text()
    assert said.count("\n") > 100
    assert [secret for secret in secrets if secret in said] == []


def test_a_bad_rule_file_exits_78_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("[[rules]]\nid = 'x'\nregex = '(?<=a)b'\n")
    command = [sys.executable, str(ROOT / "scripts/scan_secrets.py"), ".", "--config", "r.toml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == Exit.CONFIGURATION
    assert done.stderr.count("\n") == 1
    assert "r.toml:3: expected an expression of RE2" in done.stderr


def test_this_product_is_clean_under_its_own_rules(capsys: pytest.CaptureFixture[str]) -> None:
    """G3d: a hard-coded secret fails the build."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split("\0")
    paths = [str(ROOT / name) for name in listed if name and (ROOT / name).is_file()]
    if not paths:
        pytest.skip("needs a git checkout")
    known = str(ROOT / "scripts/rules/secrets_of_this_checkout.toml")
    _, document = scanned(capsys, *paths, "--config", known)
    assert [(one["path"], one["line"], one["rule"]) for one in document["findings"]] == []
    assert document["unread"] == []


def test_what_this_checkout_knows_hides_no_other_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other people's packages are passed over; another value in a test is found."""
    named = ("tests/a.env", "compose/reference/security/a.yaml", "scripts/.nox/a.env", ".nox/a.env")
    for name in named:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"token={TOKEN}\n")
    known = str(ROOT / "scripts/rules/secrets_of_this_checkout.toml")
    code, document = scanned(capsys, tmp_path, "--config", known)
    assert code == Exit.FAILED
    assert {finding["path"] for finding in document["findings"]} == {*named[:3]}
