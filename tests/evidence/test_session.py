"""evidence.session: what can't be sealed is one clear line, and nothing that verifies is left."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import run_proof_pack
from bundles import IMAGE, container
from fakes.system import write_stack

from evidence import session
from evidence.run_folder import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path


ROWS: dict[str, Any] = {"images": [], "containers": [container("a")]}


def test_a_summary_that_contradicts_itself_is_one_line_and_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P2: no traceback, the exit code of artifacts that were not written."""
    monkeypatch.setattr(
        session, "_note_containers", lambda _seen, recorder: recorder.facts.update(ROWS)
    )
    stack = write_stack(tmp_path)
    output = tmp_path / "out"
    quick = ["--poll-seconds", "0.1", "--timeout-seconds", "3", "--jobs", "2"]
    with pytest.raises(ArtifactError, match=r"no evidence is written: .*containers: exp") as caught:
        run_proof_pack.main(["--stack", str(stack), "--output-dir", str(output), *quick])
    assert caught.value.code == run_proof_pack.NOT_WRITTEN
    assert "\n" not in str(caught.value)
    assert list(output.iterdir()) == []


def noted(**observed: Any) -> dict[str, Any]:
    written: dict[str, str] = {}
    folder = SimpleNamespace(write_text=written.__setitem__)
    recorder: Any = SimpleNamespace(facts={"counts": {}}, folder=folder)
    session._note_containers(observed, recorder)
    assert bool(written) == bool(observed["containers"])
    return dict(recorder.facts)


def test_without_containers_nothing_was_counted() -> None:
    """design.md, "Verdicts": nothing measured is inconclusive, never 0 and passed."""
    facts = noted(containers=[], images=[IMAGE])
    names = ("containers", "containers_down", "container_restarts", "oom_kills")
    assert facts["counts"] == dict.fromkeys(names) | {"containers": 0}
    assert facts["images"] == []


def test_only_images_that_ran_are_evidence() -> None:
    built = IMAGE | {"reference": "example/unused:1"}
    facts = noted(containers=[container("a", restarts=2)], images=[IMAGE, built])
    assert facts["images"] == [IMAGE]
    assert facts["counts"]["container_restarts"] == 2
