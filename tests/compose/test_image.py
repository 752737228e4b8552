"""The reference image: the same content twice, no network, no secret, nothing to write (H3)."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import compare_images
import fetch_wheels
import pytest
from compose.reference_image import CANARY, PYTHON_IMAGE, REFERENCE, build, docker, run_hardened

from common.cli import Exit
from common.hashing import sha256_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.docker
SERVICES = ("gateway", "model_router", "memory_engine", "sessions", "executor", "control_plane")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The production image, built anew with no network and the wheels of the lock."""
    environ = pytest.MonkeyPatch()
    environ.setenv("PROOF_PACK_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
    assert fetch_wheels.main(["--image", PYTHON_IMAGE]) == Exit.PASSED
    environ.undo()
    tag = f"hc-image-test:{os.getpid()}"
    done = build(tag, "--no-cache")
    assert done.returncode == 0, done.stderr[-3000:]
    yield tag
    docker("image", "rm", "--force", tag)


def test_two_builds_without_a_network_have_the_same_content(image: str) -> None:
    again = f"{image}-again"
    done = build(again, "--no-cache")
    try:
        assert done.returncode == 0, done.stderr[-3000:]
        assert compare_images.main([image, again]) == Exit.PASSED
    finally:
        docker("image", "rm", "--force", again)


def test_one_changed_file_is_a_different_image(image: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {image}\nCOPY tools.yaml /app/policies/\n")
    (tmp_path / "tools.yaml").write_text("anything: allowed\n")
    changed = f"{image}-changed"
    try:
        assert docker("build", "--tag", changed, str(tmp_path)).returncode == 0
        assert compare_images.main([image, changed]) == Exit.FAILED
    finally:
        docker("image", "rm", "--force", changed)


def test_no_layer_setting_or_history_holds_what_the_build_was_told(image: str) -> None:
    """Index credentials are build arguments: none of the image's parts keeps them."""
    history = docker("history", "--no-trunc", image).stdout
    inspected = docker("image", "inspect", image).stdout
    assert "LOCK_SHA256" in history
    assert CANARY not in history + inspected
    script = (
        "import os,sys\nfor at, _, names in os.walk('/', onerror=None):\n"
        " if at.startswith(('/proc', '/sys', '/dev')): continue\n"
        " for name in names:\n"
        "  p = os.path.join(at, name)\n"
        "  if os.path.isfile(p) and sys.argv[1].encode() in open(p, 'rb').read(): print(p)\n"
        "  if 'history' in name and name.startswith('.'): print(p)\n"
    )
    found = docker(
        "run", "--rm", "--user", "0:0", "--network", "none", image, "python", "-c", script, CANARY
    )
    assert (found.returncode, found.stdout) == (0, ""), found.stderr


def test_it_runs_as_nobody_and_can_write_nothing(image: str) -> None:
    probe = (
        "import os, sys\nassert os.getuid() == os.getgid() == 10001\n"
        "for folder in ('/', '/app', '/venv', '/app/policies', '/usr/bin'):\n"
        "    assert not os.access(folder, os.W_OK), folder\n"
        "assert not any(os.access(f'/venv/bin/{n}', os.F_OK) for n in ('pip', 'pip3'))\n"
    )
    for options in ((), ("--read-only",)):
        done = docker("run", "--rm", "--network", "none", *options, image, "python", "-c", probe)
        assert done.returncode == 0, done.stderr


def test_every_service_imports_without_writing(image: str) -> None:
    done = run_hardened(
        image,
        "python",
        "-W",
        "error::ImportWarning",
        "-c",
        "; ".join(f"import services.{name}.app" for name in SERVICES),
    )
    assert done.returncode == 0, done.stderr


def test_bytecode_is_there_and_belongs_to_its_source(image: str) -> None:
    """The file system is read-only: without it every start would compile everything."""
    probe = (
        "import importlib.util, pathlib, sys\n"
        "for root in ('/app/services', '/venv/lib'):\n"
        "    for path in pathlib.Path(root).rglob('*.py'):\n"
        "        if '__pycache__' in path.parts: continue\n"
        "        compiled = pathlib.Path(importlib.util.cache_from_source(str(path)))\n"
        "        if not compiled.exists(): print('none', path); continue\n"
        "        data = compiled.read_bytes()\n"
        "        assert data[4] == 1, path  # hash-based, unchecked: no time in it\n"
        "        assert data[8:16] == importlib.util.source_hash(path.read_bytes()), path\n"
    )
    done = run_hardened(image, "python", "-c", probe)
    assert done.returncode == 0, done.stderr
    # Sources that don't compile are test data of packages; ours always do.
    assert "none /app" not in done.stdout


def test_labels_name_the_base_and_the_lock(image: str) -> None:
    labels = json.loads(docker("image", "inspect", "-f", "{{json .Config.Labels}}", image).stdout)
    assert labels["org.opencontainers.image.base.name"] == PYTHON_IMAGE
    assert labels["io.proof-pack.lock-sha256"] == sha256_file(REFERENCE / "requirements.txt")


def test_the_health_check_tells_a_ready_service_from_another(image: str) -> None:
    name = image.replace(":", "-")
    environment = ("--env", "CLIENT_TOKEN=t", "--env", "STATE_FOLDER=/tmp")
    started = docker(
        "run",
        "--detach",
        "--name",
        name,
        "--init",
        *environment,
        "--network",
        "none",
        image,
        "python",
        "-m",
        "services",
        "targets",
    )
    try:
        assert started.returncode == 0, started.stderr
        check = (
            "exec",
            name,
            "sh",
            "-c",
            docker(
                "image", "inspect", "-f", "{{index .Config.Healthcheck.Test 1}}", image
            ).stdout.strip(),
        )
        waited = docker(
            "exec",
            name,
            "sh",
            "-c",
            "for i in $(seq 100); do python -m services.health targets && exit; sleep 0.1; done",
        )
        assert waited.returncode == 0
        assert docker(*check).returncode == 0
        assert docker("exec", name, "python", "-m", "services.health", "gateway").returncode == 1
    finally:
        docker("rm", "--force", "--volumes", name)


def test_a_lock_that_is_not_the_labels_fails_the_build(image: str) -> None:
    done = build(f"{image}-wrong", arguments={"LOCK_SHA256": "0" * 64})
    assert done.returncode != 0
    assert "the lock changed: expected LOCK_SHA256=" in done.stderr


def test_a_tampered_wheel_fails_the_build(image: str, tmp_path: Path) -> None:
    context = tmp_path / "context"
    shutil.copytree(REFERENCE, context, ignore=shutil.ignore_patterns("secrets", "__pycache__"))
    victim = next((context / "wheels").glob("h11-*.whl"))
    victim.write_bytes(victim.read_bytes() + b"\0")
    done = build(f"{image}-tampered", context=context)
    assert done.returncode != 0
    assert "HASHES" in done.stderr


def test_a_missing_wheel_fails_the_build_although_an_index_is_named(
    image: str, tmp_path: Path
) -> None:
    context = tmp_path / "context"
    shutil.copytree(REFERENCE, context, ignore=shutil.ignore_patterns("secrets", "__pycache__"))
    next((context / "wheels").glob("h11-*.whl")).unlink()
    done = build(f"{image}-missing", context=context)
    assert done.returncode != 0
    assert "No matching distribution found for h11" in done.stderr


def test_a_base_image_without_python_fails_the_build(image: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    base = f"{image}-base"
    try:
        assert docker("build", "--tag", base, str(tmp_path)).returncode == 0
        done = build(f"{image}-none", arguments={"PYTHON_IMAGE": base})
        assert done.returncode != 0
        assert "/bin/sh" in done.stderr
    finally:
        docker("image", "rm", "--force", base)
