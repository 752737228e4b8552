"""File modes (K1): as the stack file asks for them, on this machine and inside containers."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from common.cli import ConfigurationError, ScriptError
from configuration.checks.modes import judge
from configuration.live import Live
from stack.compose.modes import modes_in
from stack.file_modes import FileMode

if TYPE_CHECKING:
    from fakes.configuration import Configured

    from stack.compose.engine import Engine

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX modes")


def ask_for(configured: Configured, *items: dict[str, Any]) -> None:
    configured.value["file_modes"] = [{"why": "a test", **item} for item in items]


@pytest.mark.parametrize(
    ("mode", "wanted", "good"),
    [
        (0o444, {"mode": "444"}, True),
        (0o644, {"mode": "444"}, False),
        (0o400, {"mode": "444"}, False),
        (0o600, {"mode": "0600"}, True),
        (0o640, {"mode": "600"}, False),
        (0o4755, {"at_most": "755"}, False),
        (0o400, {"at_most": "600"}, True),
        (0o604, {"at_most": "600"}, False),
    ],
)
def test_a_mode_is_judged(mode: int, wanted: dict[str, str], good: bool) -> None:  # noqa: FBT001
    rule = FileMode("x", wanted.get("mode", ""), wanted.get("at_most", ""), "why")
    assert (judge(mode, rule) == "") is good


def test_a_policy_that_can_be_written_is_found_and_444_is_not(configured: Configured) -> None:
    policies = configured.folder / "policies"
    policies.mkdir()
    for name in ("one.rego", "two.rego"):
        (policies / name).write_text("x")
        (policies / name).chmod(0o444)
    ask_for(configured, {"path": "{here}/policies/*.rego", "mode": "444"})
    assert configured.outcome("file-modes") == "passed"
    (policies / "two.rego").chmod(0o664)
    said = configured.problems("file-modes")
    assert said == "{here}/policies/*.rego (two.rego): expected mode 444, got 664: chmod 444"


def test_a_file_that_is_not_there_fails_closed(configured: Configured) -> None:
    ask_for(configured, {"path": "{here}/none", "mode": "444"})
    assert "expected a file, got none" in configured.problems("file-modes")


def test_a_link_hides_no_mode(configured: Configured) -> None:
    (configured.folder / "real").write_text("x")
    (configured.folder / "real").chmod(0o444)
    (configured.folder / "link").symlink_to(configured.folder / "real")
    ask_for(configured, {"path": "{here}/link", "mode": "444"})
    assert "got a link" in configured.problems("file-modes")


def test_the_state_is_looked_at_where_it_is(configured: Configured) -> None:
    state = configured.folder / "state [1]"  # no pattern, though it looks like one
    state.mkdir()
    (state / "a.db").write_text("x")
    (state / "a.db").chmod(0o600)
    ask_for(configured, {"path": "{state}/*.db", "mode": "600"})
    found = configured.result("file-modes")
    assert (found.outcome, found.reason) == ("skipped", "the system does not run")
    assert configured.outcome("file-modes", state=state) == "passed"
    (state / "a.db").chmod(0o644)
    assert "got 644" in configured.problems("file-modes", state=state)


def test_a_rule_of_another_runtime_is_not_looked_at(configured: Configured) -> None:
    configured.compose()
    ask_for(configured, {"path": "{here}/none", "mode": "444", "only_for": ["compose"]})
    assert configured.outcome("file-modes") == "failed"
    configured.value["runtimes"]["process"] = {
        "services": {"front": {"command": ["x"]}, "jobs": {"command": ["x"]}}
    }
    ask_for(configured, {"path": "{here}/none", "mode": "444", "only_for": ["process"]})
    path = configured.folder / "stack.yaml"
    configured.subject()
    from configuration.gather import gather
    from configuration.registry import CHECKS
    from configuration.validation import run_checks

    modes = [check for check in CHECKS if check.name == "file-modes"]
    (found,) = run_checks(gather(path, environ={}, runtime="compose"), checks=modes)
    assert found.outcome == "skipped"


@pytest.mark.parametrize(
    "item",
    [
        {"path": "{here}/x", "mode": "9"},
        {"path": "{here}/x", "mode": 444},
        {"path": "{here}/x"},
        {"path": "{here}/x", "mode": "444", "at_most": "444"},
        {"path": "{elsewhere}/x", "mode": "444"},
        {"path": "front:/x", "mode": "444"},
        {"path": "{here}/x", "mode": "444", "only_for": ["swarm"]},
    ],
)
def test_a_section_that_makes_no_sense_is_refused(
    configured: Configured, item: dict[str, Any]
) -> None:
    ask_for(configured, item)
    with pytest.raises(ConfigurationError, match="file_modes"):
        configured.subject()


class FakeApi:
    """An engine whose container has one folder of policies, as `docker cp` gives it."""

    def get_archive(self, _container: str, path: str) -> tuple[list[bytes], dict[str, Any]]:
        """The folder as a tar, and the mode as Go writes it."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name, mode in (("p/v1/a.rego", 0o444), ("p/v1/b.rego", 0o644), ("p/x", 0o777)):
                entry = tarfile.TarInfo(name)
                entry.mode = mode
                archive.addfile(entry)
        link = 1 << 27 if path.endswith("link") else 0
        return [buffer.getvalue()], {"mode": link | 0o640}


class FakeEngine:
    """Has that interface and nothing else."""

    api = FakeApi()


def test_modes_inside_a_container_are_read_without_a_program_in_it() -> None:
    engine = cast("Engine", FakeEngine())
    assert modes_in(engine, "c", "/p/one.db") == {"/p/one.db": 0o640}
    assert modes_in(engine, "c", "/p/*/*.rego") == {"v1/a.rego": 0o444, "v1/b.rego": 0o644}
    with pytest.raises(ScriptError, match="got none"):
        modes_in(engine, "c", "/p/*.rego")
    with pytest.raises(ScriptError, match="got a link"):
        modes_in(engine, "c", "/p/link")


class FakeLive(Live):
    """Its containers are not there."""

    def _containers(self) -> dict[str, str]:
        return {"front": "c"}


def test_a_rule_inside_a_container_needs_it_and_is_judged(configured: Configured) -> None:
    configured.compose()
    ask_for(configured, {"path": "front:/p/*/*.rego", "mode": "444"})
    found = configured.result("file-modes")
    assert (found.outcome, found.reason) == (
        "skipped",
        "the system does not run in containers now",
    )
    live = FakeLive((), {}, {}, engine=cast("Engine", FakeEngine()))
    said = configured.problems("file-modes", live=live)
    assert said == "front:/p/*/*.rego (v1/b.rego): expected mode 444, got 644: chmod 444"
    ask_for(configured, {"path": "jobs:/p/x", "mode": "444"})
    said = configured.problems("file-modes", live=live)
    assert "expected a container of jobs (front), got none" in said


def test_the_reference_system_asks_for_its_state_to_be_private() -> None:
    """K1: state database 600."""
    from stack.load import load_stack

    here = Path(__file__).resolve().parents[2] / "compose/reference/stack.yaml"
    rules = {rule.path: rule.mode for rule in load_stack(here, {}).file_modes}
    assert rules["{state}/*.db*"] == "600"
