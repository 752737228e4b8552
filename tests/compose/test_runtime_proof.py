"""A proof on containers: what its bundle holds, and what its criteria refuse."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any

import pytest
import run_proof_pack
import verify_evidence
from docker.errors import ImageNotFound
from fakes.compose import PYTHON_IMAGE, fake_values, write_compose_stack
from fakes.runtimes import Opened

from common.cli import Exit, ScriptError
from evidence.verify import verify_bundle
from stack.compose.engine import connect
from stack.compose.images import run_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Change = Callable[[dict[str, Any], dict[str, Any]], object]

pytestmark = pytest.mark.docker


def prove(folder: Path, change: Change | None = None, **faults: str) -> tuple[int, Path]:
    """The exit code and the bundle of a proof of the fake system."""
    stack, compose = fake_values(**faults)
    if change:
        change(stack, compose)
    path = write_compose_stack(folder, stack, compose)
    output = folder / "out"
    options = ["--stack", str(path), "--output-dir", str(output), "--poll-seconds", "0.1"]
    code = run_proof_pack.main(options)
    (bundle,) = output.iterdir()
    return code, bundle


def summary_of(bundle: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((bundle / "evidence/run_summary.json").read_text())
    return value


def test_a_bundle_holds_what_ran(tmp_path: Path) -> None:
    """P7, H2: docker_ps.txt, logs, image digests in summary and attestation."""
    code, bundle = prove(tmp_path)
    assert code == Exit.PASSED
    evidence = bundle / "evidence"
    table = (evidence / "docker_ps.txt").read_text().splitlines()
    assert [line.split()[1:2] for line in table] == [["IMAGE"], [PYTHON_IMAGE], [PYTHON_IMAGE]]
    assert "jobs took" in (evidence / "jobs_logs.txt").read_text()
    metadata = json.loads((evidence / "container_metadata.json").read_text())
    assert metadata["kind"] == "compose"
    summary = summary_of(bundle)
    assert summary["images"] == [
        {"reference": PYTHON_IMAGE, "id": metadata["images"][0]["id"]},
    ]
    assert {row["image_id"] for row in summary["containers"]} == {metadata["images"][0]["id"]}
    assert summary["counts"]["containers"] == 2
    key = tmp_path / "config" / "signing-key.pub"
    assert verify_evidence.main([str(bundle), "--key", str(key)]) == Exit.PASSED


def test_no_secret_of_the_run_is_in_its_evidence(tmp_path: Path) -> None:
    """P7: the fake system writes its token into its log."""
    token = "a-token-of-this-very-test-and-no-other"
    stack, compose = fake_values()
    path = write_compose_stack(tmp_path, stack, compose)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAKE_KEY", token)
        options = ["--stack", str(path), "--output-dir", str(tmp_path / "out")]
        assert run_proof_pack.main([*options, "--poll-seconds", "0.1"]) == Exit.PASSED
    files = [item for item in (tmp_path / "out").rglob("*") if item.is_file()]
    assert files
    assert not [item for item in files if token.encode() in item.read_bytes()]


def test_a_crash_that_was_healed_fails_the_proof(tmp_path: Path) -> None:
    """Restarts count, however healthy the container is at the end."""

    def restarting(_stack: dict[str, Any], compose: dict[str, Any]) -> None:
        compose["services"]["front"]["restart"] = "always"
        compose["services"]["front"]["depends_on"] = {}

    code, bundle = prove(tmp_path, restarting, jobs="wait_for_crash", front="crash_once")
    found = {row["id"]: row["outcome"] for row in summary_of(bundle)["criteria"]}
    assert code != Exit.PASSED
    assert found["no-restarts"] == "failed"


def test_a_start_that_fails_is_sealed_with_its_containers(tmp_path: Path) -> None:
    """The bundle of a failed run is evidence too."""
    code, bundle = prove(tmp_path, jobs="exit")
    summary = summary_of(bundle)
    assert code == run_proof_pack.START_FAILED
    assert summary["error"].startswith("jobs ended with exit code 3")
    assert "planted" in (bundle / "evidence/jobs_logs.txt").read_text()
    rows = {row["service"]: row["exit_code"] for row in summary["containers"]}
    assert rows["jobs"] == 3


def test_a_result_that_is_not_in_the_store_is_found(tmp_path: Path) -> None:
    """P6."""
    code, _ = prove(tmp_path, jobs="lose_results")
    assert code == run_proof_pack.NOT_STORED


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    opener = Opened(tmp_path)
    yield opener
    opener.close()
    engine = connect(os.environ)
    with contextlib.suppress(ImageNotFound):
        engine.api.remove_image("hb-test/locked:1", force=True)
    engine.close()


def with_lock(folder: Path, lock: str, dockerfile: str) -> Change:
    """A change that builds an image and names a lock for it."""

    def change(stack: dict[str, Any], compose: dict[str, Any]) -> None:
        (folder / "requirements.txt").write_text(lock)
        (folder / "install.py").write_text(INSTALL)
        (folder / "Dockerfile").write_text(f"FROM {PYTHON_IMAGE}\n{dockerfile}")
        build = {"context": ".", "network": "none"}
        compose["services"]["jobs"] |= {"build": build, "image": "hb-test/locked:1"}
        stack["runtimes"]["compose"]["python"] = {
            "service": "jobs",
            "command": "/venv/bin/python",
            "requirements": "requirements.txt",
            "imports": ["hb_good"],
        }

    return change


# A package that was installed by hand: one module, and a RECORD with its hash.
INSTALL = """
import base64, hashlib, pathlib
site = next(pathlib.Path('/venv/lib').glob('python3*')) / 'site-packages'
(site / 'hb_good.py').write_text('value = 1')
info = site / 'hb_good-1.0.dist-info'
info.mkdir()
(info / 'METADATA').write_text('Metadata-Version: 2.1\\nName: hb-good\\nVersion: 1.0\\n')
digest = hashlib.sha256((site / 'hb_good.py').read_bytes()).digest()
text = base64.urlsafe_b64encode(digest).decode().rstrip('=')
(info / 'RECORD').write_text(f'hb_good.py,sha256={text},9')
"""
GOOD = (
    "RUN python3 -m venv --without-pip /venv\n"
    "COPY install.py /install.py\n"
    "RUN python3 /install.py\n"
)
LOCK = f"hb-good==1.0 --hash=sha256:{'0' * 64}\n"


def test_an_image_is_held_against_its_lock(opened: Opened, tmp_path: Path) -> None:
    """H1: versions, and every file against its record, inside the image."""
    runtime = opened(with_lock(tmp_path, LOCK, GOOD))
    runtime.prepare()
    assert runtime.verify_lock() == {"packages": 1, "files": 1}
    assert runtime.import_modules() == 1


@pytest.mark.parametrize(
    ("lock", "more", "says"),
    [
        (LOCK.replace("1.0", "2.0"), "", r"hb-good: expected 2\.0, got 1\.0"),
        (
            LOCK.replace("hb-good", "other"),
            "",
            r"hb-good is installed but not in requirements\.txt",
        ),
        (
            LOCK,
            "RUN echo 2 > $(echo /venv/lib/python3*/site-packages)/hb_good.py\n",
            r"hb_good\.py was changed after it was installed",
        ),
        (LOCK, "RUN rm /venv/lib/python3*/site-packages/hb_good.py\n", r"hb_good\.py is missing"),
        (
            LOCK,
            f"LABEL io.proof-pack.lock-sha256={'0' * 64}\n",
            r"expected the lock \w+ \(requirements\.txt\), got one built from 0000",
        ),
        (LOCK, "RUN rm /venv/bin/python\n", "can't run /venv/bin/python in hb-test/locked:1"),
    ],
)
def test_an_image_that_differs_from_its_lock_is_refused(
    opened: Opened, tmp_path: Path, lock: str, more: str, says: str
) -> None:
    runtime = opened(with_lock(tmp_path, lock, GOOD + more))
    runtime.prepare()
    with pytest.raises(ScriptError, match=says):
        runtime.verify_lock()


def test_a_module_that_does_not_import_is_named(opened: Opened, tmp_path: Path) -> None:
    def change(stack: dict[str, Any], compose: dict[str, Any]) -> None:
        with_lock(tmp_path, LOCK, GOOD)(stack, compose)
        stack["runtimes"]["compose"]["python"]["imports"] = ["no_such_module"]

    runtime = opened(change)
    runtime.prepare()
    with pytest.raises(ScriptError, match="No module named 'no_such_module'"):
        runtime.import_modules()


def test_a_command_in_an_image_leaves_no_container(opened: Opened) -> None:
    runtime = opened()
    runtime.prepare()
    with pytest.raises(ScriptError, match="exited 7"):
        run_once(runtime.engine, PYTHON_IMAGE, ["sh", "-c", "exit 7"], {"hb-test": "once"})
    left = runtime.engine.api.containers(all=True, filters={"label": "hb-test=once"})
    assert left == []


def test_images_are_in_the_attestation(tmp_path: Path) -> None:
    """Design, "Evidence": subjects are manifest, commit and image digests."""
    from bundles import read_payload

    from evidence.public_key import load_public_key

    _, bundle = prove(tmp_path)
    subjects = {row["name"]: row["digest"] for row in read_payload(bundle)["subject"]}
    image = summary_of(bundle)["images"][0]
    digest = image["id"].removeprefix("sha256:")
    assert subjects[f"image {image['reference']}"] == {"sha256": digest}
    key = load_public_key(tmp_path / "config" / "signing-key.pub")
    found = verify_bundle(bundle, key)
    assert found.claims
    assert found.claims.images == ((image["reference"], digest),)


def test_a_running_project_is_proven_as_it_is(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P8: nothing is started or stopped; the store of the running project is asked."""
    runtime = opened()
    runtime.prepare()
    runtime.start()
    for service in runtime.services:
        monkeypatch.setenv(str(service.url_env), service.url)
    options = ["--stack", str(runtime.stack.file), "--output-dir", str(tmp_path / "out")]
    assert run_proof_pack.main([*options, "--poll-seconds", "0.1"]) == Exit.PASSED
    assert [*runtime.stop()] == []
