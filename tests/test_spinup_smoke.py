"""scripts/spinup_smoke.py (H1, H2) against the fake system."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import spinup_smoke
from fakes.system import stack_value, write_value

from common.cli import ConfigurationError, Exit, UsageError
from stack.environment import environment_folder

if TYPE_CHECKING:
    from pathlib import Path

# A lock whose one package comes as a small pure wheel; hashes as PyPI states them.
LOCK = """\
six==1.17.0 \\
    --hash=sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274
"""


class Smoke:
    """Runs the script's main on a fake system that has a lock and modules to import."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.output = folder, folder / "out"
        self.value = stack_value()
        self.process: dict[str, Any] = self.value["runtimes"]["process"]
        self.process |= {"requirements": "requirements.txt", "imports": ["six", "json"]}
        (folder / "requirements.txt").write_text(LOCK)

    def __call__(self, *arguments: str) -> int:
        stack = write_value(self.folder, self.value)
        return spinup_smoke.main(
            ["--stack", str(stack), "--output-dir", str(self.output), *arguments]
        )

    @property
    def evidence(self) -> Path:
        return max(self.output.iterdir()) / "evidence"

    @property
    def transcript(self) -> dict[str, Any]:
        return dict(json.loads((self.evidence / "boot_transcript.json").read_text()))

    def failed_phase(self) -> str:
        (name,) = [row["name"] for row in self.transcript["steps"] if row["outcome"] == "failed"]
        return str(name)


@pytest.fixture
def smoke(tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Smoke:
    monkeypatch.setenv("PROOF_PACK_CACHE_DIR", str(shared_cache))
    return Smoke(tmp_path)


def test_a_working_system_boots_and_everything_of_h2_is_written(smoke: Smoke) -> None:
    """H1, H2."""
    assert smoke() == Exit.PASSED
    assert smoke.transcript["counts"]["packages_verified"] == 1
    assert smoke.transcript["counts"]["golden_passed"] == 1
    assert all(row["duration_seconds"] >= 0 for row in smoke.transcript["steps"])
    names = {path.name for path in smoke.evidence.iterdir()}
    assert names >= {"boot_transcript.json", "boot_env.txt", "container_metadata.json"}
    metadata = json.loads((smoke.evidence / "container_metadata.json").read_text())
    assert metadata["packages"] == {"six": "1.17.0"}
    assert len(metadata["lock"]["sha256"]) == 64


def test_the_first_failing_phase_stops_it_and_is_named(smoke: Smoke) -> None:
    """H1."""
    smoke.process["imports"] = ["no_such_module"]
    assert smoke() == Exit.FAILED
    assert smoke.failed_phase() == "import"
    assert "no_such_module" in smoke.transcript["error"]
    later = [row["outcome"] for row in smoke.transcript["steps"][4:7]]
    assert later == ["skipped", "skipped", "skipped"]


def test_a_wrong_golden_answer_fails(smoke: Smoke) -> None:
    smoke.value["golden"][0]["expect"]["json"] = {"/service": "somebody else"}
    assert smoke() == Exit.FAILED
    assert smoke.failed_phase() == "golden requests"
    assert "expected 'somebody else', got 'front'" in smoke.transcript["error"]


def test_a_stack_without_golden_requests_is_inconclusive(smoke: Smoke) -> None:
    """A smoke that asked nothing proves nothing."""
    smoke.value["golden"] = []
    assert smoke() == Exit.INCONCLUSIVE
    assert smoke.transcript["verdict"] == "inconclusive"


def test_a_stack_without_a_lock_is_inconclusive(smoke: Smoke) -> None:
    del smoke.process["requirements"]
    smoke.process["imports"] = ["json"]
    assert smoke() == Exit.INCONCLUSIVE
    outcomes = {row["id"]: row["outcome"] for row in smoke.transcript["criteria"]}
    assert outcomes["lock-verified"] == "inconclusive"


def test_a_stack_without_imports_is_inconclusive(smoke: Smoke) -> None:
    del smoke.process["imports"]
    assert smoke() == Exit.INCONCLUSIVE


def test_a_failed_job_fails_the_smoke(smoke: Smoke) -> None:
    smoke.process["services"]["jobs"]["environment"]["FAULT"] = "fail_jobs"
    assert smoke() == Exit.FAILED
    outcomes = {row["id"]: row["outcome"] for row in smoke.transcript["criteria"]}
    assert outcomes["jobs-not-completed"] == "failed"


def test_a_lost_result_fails_the_smoke(smoke: Smoke) -> None:
    smoke.process["services"]["jobs"]["environment"]["FAULT"] = "lose_results"
    assert smoke() == Exit.FAILED


@pytest.mark.parametrize("change", ["edit", "remove", "extra"])
def test_an_installed_file_that_differs_from_the_lock_fails(smoke: Smoke, change: str) -> None:
    """H1: verify the dependency lock."""
    assert smoke() == Exit.PASSED
    folder = environment_folder(smoke.folder / "requirements.txt")
    (module,) = [*folder.glob("lib/python*/site-packages/six.py"), *folder.glob("Lib/**/six.py")]
    before = module.read_bytes()
    planted = module.parent / "planted-9.9.dist-info"
    try:
        if change == "edit":
            module.write_bytes(before + b"\n# planted\n")
        elif change == "remove":
            module.unlink()
        else:
            planted.mkdir()
            (planted / "METADATA").write_text(
                "Metadata-Version: 2.1\nName: planted\nVersion: 9.9\n"
            )
        assert smoke() == Exit.FAILED
        assert smoke.failed_phase() == "verify lock"
    finally:
        module.write_bytes(before)
        (planted / "METADATA").unlink(missing_ok=True)
        if planted.exists():
            planted.rmdir()


def test_a_lock_without_hashes_fails_before_anything_is_built(smoke: Smoke) -> None:
    (smoke.folder / "requirements.txt").write_text("six==1.17.0\n")
    assert smoke() == Exit.FAILED
    assert smoke.failed_phase() == "validate environment"
    assert "--hash=sha256" in smoke.transcript["error"]


def test_a_hash_that_does_not_fit_fails_the_build(smoke: Smoke) -> None:
    (smoke.folder / "requirements.txt").write_text(LOCK.replace("4721f391", "00000000"))
    assert smoke() == Exit.FAILED
    assert smoke.failed_phase() == "build"


def test_a_taken_port_is_found_by_the_first_phase(smoke: Smoke) -> None:
    import socket

    port = int(smoke.value["services"][1]["url"].rsplit(":", 1)[1])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert smoke() == Exit.FAILED
    assert smoke.failed_phase() == "validate environment"
    assert f"port {port} of jobs is taken" in smoke.transcript["error"]


def test_bad_input_is_64_or_78(smoke: Smoke) -> None:
    with pytest.raises(UsageError):
        smoke("--jobs", "0")
    with pytest.raises(UsageError):
        smoke("--targets", "moon")
    with pytest.raises(ConfigurationError):
        smoke("--runtime", "moon")
    with pytest.raises(ConfigurationError):
        smoke("--key", str(smoke.folder / "none.pem"))
