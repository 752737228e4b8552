"""scripts/check_secrets.py: a secret in each of the five places is found, and none is skipped."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import check_secrets
import pytest
from fakes.attacked import attacked_value, write_attacked
from made_secrets import Maker

from common.cli import ConfigurationError, Exit
from gating.git import checkout_files
from secret_scan.scan import scan
from security import secret_places
from security.answers import Answers
from security.wire import Answer, Exchange
from stack.load import load_stack
from stack.log_views import NO_LOG

if TYPE_CHECKING:
    from pathlib import Path

    from evidence.recorder import Recorder

TOKEN = Maker("check secrets").fill("ghp_{an:36}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for the system: the tests' own caches and keys stand beside it."""
    path = tmp_path / "system"
    path.mkdir()
    return path


def git(folder: Path, *arguments: str) -> None:
    """Run git as somebody."""
    known = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(folder), *known, *arguments], check=True, capture_output=True)


def commit(folder: Path) -> None:
    """Commit everything; the output folder is ignored."""
    (folder / ".gitignore").write_text("out/\nignored.env\n")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "all")


class Ran:
    """A run of the script, and what it sealed."""

    def __init__(self, stack_file: Path) -> None:
        output = stack_file.parent / "out"
        self.code = check_secrets.main(["--stack", str(stack_file), "--output-dir", str(output)])
        (self.bundle,) = output.iterdir()
        (path,) = self.bundle.glob("evidence/gate3-summary-*.json")
        self.summary: dict[str, Any] = json.loads(path.read_text())
        self.figures = self.summary["measured"]["secrets"]
        self.failed = {row["id"] for row in self.summary["criteria"] if row["outcome"] == "failed"}

    @property
    def sealed(self) -> bytes:
        """Everything that was sealed."""
        return b"".join(path.read_bytes() for path in self.bundle.rglob("*") if path.is_file())


def test_a_system_without_secrets_passes_and_everything_was_read(folder: Path) -> None:
    """G3d, H4: also the bundle as it is in the end, with what was written after the scan."""
    path = write_attacked(folder)
    commit(folder)
    (folder / "ignored.env").write_text(f"token={TOKEN}\n")  # git never takes it
    ran = Ran(path)
    assert ran.code == Exit.PASSED
    assert ran.figures["not_read"] == 0
    assert all(row["bytes"] for row in ran.figures["places"].values())
    assert ran.figures["places"]["history"]["objects"] >= 3
    assert ran.figures["known_values"]["logs"] >= 2
    assert scan([ran.bundle]).findings == ()


@pytest.mark.parametrize("place", ["checkout", "history", "logs", "answers"])
def test_a_secret_in_each_place_fails_its_own_criterion(folder: Path, place: str) -> None:
    fault = {"logs": "noting", "answers": "telling"}.get(place, "")
    path = write_attacked(folder, fault=fault)
    if place == "history":
        (folder / "old.env").write_text(f"token={TOKEN}\n")
        commit(folder)
        (folder / "old.env").unlink()
    commit(folder)
    if place == "checkout":  # nobody has added it yet
        (folder / "new.env").write_text(f"token={TOKEN}\n")
    ran = Ran(path)
    assert ran.code == Exit.FAILED
    assert ran.failed == {f"secrets-in-{place}"}
    assert f"{place}: " in ran.summary["error"]
    assert TOKEN.encode() not in ran.sealed


def test_a_secret_that_a_comment_allows_is_said_and_counts_for_no_release(folder: Path) -> None:
    path = write_attacked(folder)
    (folder / "a.env").write_text(f"token={TOKEN}  # gitleaks:allow\n")
    commit(folder)
    ran = Ran(path)
    said = "2 secrets are allowed by comments, or known by a baseline"  # the file, its history
    assert ran.code == Exit.PASSED
    assert said in json.dumps(ran.summary["eligible"]["reasons"])
    assert said in json.dumps(ran.summary["steps"])
    assert "1 more are allowed" in (ran.bundle / "evidence/report.html").read_text()


def test_without_a_repository_the_history_is_not_read(folder: Path) -> None:
    ran = Ran(write_attacked(folder))
    assert (ran.code, ran.failed) == (Exit.INCONCLUSIVE, set())
    assert ran.figures["not_read"] is None
    assert ran.figures["places"]["history"]["read"] is False
    assert ran.figures["places"]["checkout"]["read"] is True


def test_what_the_stack_file_knows_is_passed_over(folder: Path) -> None:
    """Rules and a baseline of its own; a broken one is refused before anything starts."""
    value = attacked_value()
    value["security"]["secret_scan"] = {"rules": "rules.toml"}
    (folder / "rules.toml").write_text(
        '[extend]\nuseDefault = true\n[[allowlists]]\npaths = ["^known/"]\n'
    )
    path = write_attacked(folder, value=value)
    (folder / "known").mkdir()
    (folder / "known/a.env").write_text(f"token={TOKEN}\n")
    commit(folder)
    ran = Ran(path)
    assert ran.code == Exit.PASSED
    assert ran.figures["places"]["checkout"]["excluded"] == 1
    (folder / "rules.toml").write_text("[[rules]]\n")
    with pytest.raises(ConfigurationError, match=r"rules\.toml"):
        check_secrets.main(["--stack", str(path), "--output-dir", str(folder / "out")])


def test_a_stack_that_says_nothing_of_its_security_is_refused(folder: Path) -> None:
    value = attacked_value()
    del value["security"]
    path = write_attacked(folder, value=value)
    with pytest.raises(ConfigurationError, match="section security"):
        check_secrets.main(["--stack", str(path), "--output-dir", str(folder / "out")])


def recorder_of(folder: Path, **facts: Any) -> Recorder:
    """As much of a recorder as the places need."""
    evidence = folder / "evidence"
    evidence.mkdir()
    made = SimpleNamespace(
        shared={}, envelope={"a": 1}, facts=facts, folder=SimpleNamespace(evidence=evidence)
    )
    return cast("Recorder", made)


@pytest.mark.parametrize("where", ["file", "facts"])
def test_a_secret_in_the_evidence_is_found(folder: Path, where: str) -> None:
    stack = load_stack(write_attacked(folder), {})
    recorder = recorder_of(folder, note=f"token={TOKEN}" if where == "facts" else "")
    if where == "file":
        (recorder.folder.evidence / "a.json").write_text(f'{{"token": "{TOKEN}"}}')
    found = secret_places.figures(secret_places.look_at_evidence(recorder, stack))
    assert found["places"]["evidence"]["found"] == 1


def test_a_log_that_nobody_can_see_is_unread(folder: Path) -> None:
    stack = load_stack(write_attacked(folder), {})
    seen = folder / "seen.log"
    seen.write_text("started\n")
    services = [SimpleNamespace(name="seen"), SimpleNamespace(name="unseen")]
    runtime: Any = SimpleNamespace(
        services=services,
        stack=stack,
        log_path={"seen": seen, "unseen": None}.get,
        more_logs=dict,
    )
    found = secret_places.look_at_logs(recorder_of(folder), runtime, "secrets")
    row = secret_places.figures(found)["places"]["logs"]
    assert (row["read"], row["unread"], row["files"]) == (False, 1, 1)


def test_an_allowance_of_the_checkout_hides_nothing_elsewhere(folder: Path) -> None:
    """Paths and comments are for files that people write: whoever is logged may say the words."""
    value = attacked_value()
    value["security"]["secret_scan"] = {"rules": "rules.toml"}
    (folder / "rules.toml").write_text(
        '[extend]\nuseDefault = true\n[[allowlists]]\npaths = ["front"]\n'
    )
    stack = load_stack(write_attacked(folder, value=value), {})
    (folder / "front.log").write_text(f"token={TOKEN}\n")
    (folder / "other.log").write_text(f"token={TOKEN} gitleaks:allow\n")
    logs = {name: folder / f"{name}.log" for name in ("front", "other")}
    runtime: Any = SimpleNamespace(
        services=[SimpleNamespace(name=name) for name in logs],
        stack=stack,
        log_path=logs.get,
        more_logs=dict,
    )
    found = secret_places.look_at_logs(recorder_of(folder), runtime, "secrets")
    row = secret_places.figures(found)["places"]["logs"]
    assert (row["found"], row["excluded"], row["read"]) == (1, 1, False)


def test_a_log_that_the_engine_did_not_give_whole_is_unread(folder: Path) -> None:
    stack = load_stack(write_attacked(folder), {})
    (folder / "front.log").write_text(f"started\n{NO_LOG}gone]\n")
    runtime: Any = SimpleNamespace(
        services=[SimpleNamespace(name="front")],
        stack=stack,
        log_path=lambda _name: folder / "front.log",
        more_logs=dict,
    )
    found = secret_places.look_at_logs(recorder_of(folder), runtime, "secrets")
    assert secret_places.figures(found)["places"]["logs"]["read"] is False


def test_a_file_that_goes_away_meanwhile_is_no_end_of_the_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = load_stack(write_attacked(folder), {})
    commit(folder)
    listed = [[folder / "gone", folder / "stack.yaml"], [folder / "stack.yaml"]]
    monkeypatch.setattr(secret_places, "checkout_files", lambda _here: (folder, listed.pop(0)))
    (looked,) = secret_places.look_at_checkout(recorder_of(folder), stack)
    assert looked.result.counts["files"] == 1


def exchange_of(text: str | bytes) -> Exchange:
    """One answer."""
    return Exchange((Answer(200, (), text.encode() if isinstance(text, str) else text),))


@pytest.mark.parametrize(
    "first", [b"\0binary", "ÿþ".encode("latin-1") + "a".encode("utf-16-le"), b"a"]
)
def test_each_answer_is_judged_by_its_own_bytes(first: bytes) -> None:
    """One that is binary, or of another encoding, says nothing of the next."""
    answers = Answers()
    secret = Maker("password").fill("{an:24}")
    answers.add("front", exchange_of(first))
    answers.add("front", exchange_of(f'{{"password": "{secret}"}}'))
    answers.add("front", exchange_of(gzip.compress(f"token={TOKEN}".encode())))
    (result,) = answers.scanned(lambda stream: scan([], stdin=stream))
    assert {one.path for one in result.findings} == {"answers of front!2", "answers of front!3"}


def test_answers_are_kept_once_and_what_is_too_much_is_unread() -> None:
    answers = Answers(largest_bytes=4000)
    for text in ("a" * 2000, "a" * 2000, "b" * 2000, "c"):
        answers.add("front", exchange_of(text))
    (result,) = answers.scanned(lambda stream: scan([], stdin=stream))
    assert [one.reason for one in result.unread] == ["1 answers beyond 4000 bytes"]
    assert result.counts["members"] == 2
    assert answers.scanned(lambda stream: scan([], stdin=stream)) == []


def test_a_secret_in_an_answer_is_named_by_its_service() -> None:
    answers = Answers()
    answers.add("front", exchange_of(f"token={TOKEN}"))
    (result,) = answers.scanned(lambda stream: scan([], stdin=stream))
    assert [one.path for one in result.findings] == ["answers of front!1"]
    assert not Answers().scanned(lambda stream: scan([], stdin=io.BytesIO(stream.read())))


def test_the_files_of_a_checkout_are_what_git_has_or_would_take(folder: Path) -> None:
    assert checkout_files(folder) is None
    for name in ("a", "b", "ignored.env", "ä\n"):
        (folder / name).write_text(name)
    (folder / "link").symlink_to("a")
    commit(folder)
    (folder / "b").unlink()
    (folder / "new").write_text("new")
    root, files = checkout_files(folder) or (folder, [])
    assert root.resolve() == folder.resolve()
    assert [path.name for path in files] == [".gitignore", "a", "new", "ä\n"]
