"""What the images of a project are: digests, base, lock (H2)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from common.cli import ScriptError
from stack.compose.engine import ask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stack.compose.engine import Engine
    from stack.compose.file import Composed

BASE_LABEL = "org.opencontainers.image.base.name"
LOCK_LABEL = "io.proof-pack.lock-sha256"
RUN_SECONDS = 120
_POLL_SECONDS = 0.05


def missing_images(engine: Engine, composed: Composed) -> dict[str, str]:
    """Compose service to image, where the engine does not have it."""
    wanted = {name: composed.image_of(name) for name in composed.services}
    return {name: image for name, image in wanted.items() if find_image(engine, image) is None}


def find_image(engine: Engine, image: str) -> dict[str, Any] | None:
    """What the engine knows of an image; None where it has none of that name."""
    from docker.errors import ImageNotFound

    try:
        found: dict[str, Any] = engine.api.inspect_image(image)
    except ImageNotFound:
        return None
    except Exception as problem:
        from stack.compose.engine import engine_trouble

        raise engine_trouble(problem) from problem
    return found


def describe_images(engine: Engine, composed: Composed) -> list[dict[str, Any]]:
    """One row for each image: reference, digests, base, size, and the services that run it.

    Raises:
        ScriptError: an image is not there (any more).
    """
    users: dict[str, list[str]] = {}
    for name in sorted(composed.services):
        users.setdefault(composed.image_of(name), []).append(name)
    return [_describe(engine, image, names) for image, names in sorted(users.items())]


def _describe(engine: Engine, image: str, services: list[str]) -> dict[str, Any]:
    value = find_image(engine, image)
    if value is None:
        raise ScriptError(f"the image {image} of {services[0]} is not there: build or pull it")
    labels: Mapping[str, str] = (value.get("Config") or {}).get("Labels") or {}
    base = labels.get(BASE_LABEL)
    found = find_image(engine, base) if base else None
    return {
        "reference": image,
        "id": value["Id"],
        "repo_digests": sorted(value.get("RepoDigests") or ()),
        "created": value.get("Created") or "",
        "size_bytes": value["Size"],
        "base": {"reference": base, "id": found["Id"] if found else None} if base else None,
        "lock_sha256": labels.get(LOCK_LABEL),
        "services": services,
    }


def run_once(engine: Engine, image: str, command: list[str], labels: Mapping[str, str]) -> str:
    """Run a command in a fresh container of an image, without a network; its output.

    Args:
        engine: the engine.
        image: its reference.
        command: replaces the image's own entry point.
        labels: so that whatever is left can be found.

    Raises:
        ScriptError: it failed or did not end; with its last line.
    """
    settings = ask(
        lambda: engine.api.create_host_config(network_mode="none", log_config={"type": "json-file"})
    )
    identity = ask(
        lambda: engine.api.create_container(
            image,
            command[1:],
            entrypoint=command[:1],
            labels=dict(labels),
            host_config=settings,
            healthcheck={"test": ["NONE"]},
        )
    )["Id"]
    try:
        try:
            ask(lambda: engine.api.start(identity))
        except ScriptError as problem:
            raise ScriptError(f"can't run {command[0]} in {image}: {problem}") from problem
        code = _wait(engine, identity)
        output: bytes = ask(lambda: engine.api.logs(identity, stdout=True, stderr=False))
        trouble: bytes = ask(lambda: engine.api.logs(identity, stdout=False, stderr=True))
    finally:
        ask(lambda: engine.api.remove_container(identity, v=True, force=True))
    if code:
        said = (trouble or output).decode("utf-8", "replace").strip().splitlines()[-1:]
        raise ScriptError(f"{command[0]} in {image} exited {code}: {''.join(said)[:300]}")
    return output.decode("utf-8", "replace")


def _wait(engine: Engine, identity: str) -> int:
    deadline = time.monotonic() + RUN_SECONDS
    while time.monotonic() < deadline:
        state = ask(lambda: engine.api.inspect_container(identity))["State"]
        if state["Status"] in {"exited", "dead"}:
            return int(state["ExitCode"])
        time.sleep(_POLL_SECONDS)
    raise ScriptError(f"a command in an image did not end within {RUN_SECONDS} s")
