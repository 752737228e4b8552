"""Download the locked wheels in a container of the base image, so that tags and markers fit it."""

from __future__ import annotations

import io
import json
import re
import tarfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.cli import ScriptError
from common.progress import Progress
from images.task_containers import remove_orphans, task_labels
from stack.compose.engine import engine_trouble

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence

    from docker.models.containers import Container

    from stack.compose.engine import Engine

PROGRAM = Path(__file__).with_name("wheel_program.py")
FOLDER = "/proof-pack"
TIMEOUT_SECONDS = 900
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")
# What pip says, and what it means; the first that fits counts.
_MEANINGS: tuple[tuple[str, str], ...] = (
    (
        r"DO NOT MATCH THE HASHES",
        "a package has another hash than the lock: never delete the hash, find out who changed it",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED",
        "the index's certificate isn't trusted: set PIP_CERT to your CA bundle",
    ),
    (
        r"NewConnectionError|Name or service not known|ProxyError|ConnectTimeout|Max retries",
        "the package index can't be reached: check network, PIP_INDEX_URL and HTTPS_PROXY",
    ),
    (
        r"from versions: none\)[\s\S]*No matching distribution found for (?P<name>\S+)",
        "the index can't be reached, or knows no {name} at all: check PIP_INDEX_URL, HTTPS_PROXY",
    ),
    (
        r"No matching distribution found for (?P<name>\S+)",
        "the index has no wheel of {name} for this Python: choose another PYTHON_IMAGE, or relock",
    ),
    (r"No module named pip", "the base image has no pip: choose another PYTHON_IMAGE"),
)


def ensure_image(engine: Engine, reference: str) -> str:
    """The id of the base image, pulled where it is missing.

    Raises:
        ScriptError: there is no such image, or no registry to ask.
    """
    from docker.errors import DockerException, ImageNotFound

    try:
        try:
            image = engine.client.images.get(reference)
        except ImageNotFound:
            image = engine.client.images.pull(reference)
    except (DockerException, OSError) as problem:
        text = " ".join(str(getattr(problem, "explanation", None) or problem).split())
        raise ScriptError(
            f"can't pull the image {reference}: {text[:200]}: set PYTHON_IMAGE to one you have"
        ) from None
    return str((image[0] if isinstance(image, list) else image).id)


def download(
    engine: Engine,
    image: str,
    *,
    requirements: Mapping[str, bytes],
    settings: Mapping[str, str],
    certificates: bytes | None,
    expected: int,
) -> Generator[bytes]:
    """The tar stream of the downloaded wheels, as `docker cp` gives it.

    The container is there until the stream is read to its end, or closed.

    Args:
        engine: where the container runs.
        image: the base image.
        requirements: file name and content of each lock.
        settings: variables for pip; they go in as a file, so that `docker inspect` shows none.
        certificates: a PEM bundle, or None for the image's own.
        expected: how many wheels, for the progress display.

    Raises:
        ScriptError: pip failed, with what it says; nothing is left behind.
    """
    from docker.errors import DockerException

    container: Container | None = None
    try:
        remove_orphans(engine)
        container = engine.client.containers.create(
            image,
            ["python3", f"{FOLDER}/{PROGRAM.name}"],
            entrypoint=[],
            user="0:0",
            network_mode="host",  # a proxy or mirror on this machine is reached, too
            labels=task_labels("fetch-wheels"),
            environment={"PYTHONUNBUFFERED": "1"},
        )
        container.put_archive("/", _inputs(requirements, settings, certificates))
        _run(container, expected)
        yield from archive_of(engine, str(container.id), f"{FOLDER}/wheels")
    except (DockerException, OSError) as problem:
        raise engine_trouble(problem) from None
    finally:
        if container is not None:
            container.remove(force=True, v=True)


def archive_of(engine: Engine, container: str, path: str) -> Generator[bytes]:
    """The tar stream of a path in a container; closed as soon as nobody reads it.

    The engine holds the container's lock as long as the stream is open, and everybody who
    lists containers waits for it: the SDK's own `get_archive` can't be closed (seen
    2026-11-21 with engine 20.10: 15 minutes, for all clients).

    Raises:
        OSError: no such container or path, or no engine.
    """
    url = f"{engine.api.base_url}/v{engine.api.api_version}/containers/{container}/archive"
    with engine.api.get(
        url, params={"path": path}, stream=True, timeout=engine.api.timeout
    ) as answer:
        answer.raise_for_status()
        yield from answer.iter_content(1 << 20)


def _run(container: Container, expected: int) -> None:
    container.start()
    timer = threading.Timer(TIMEOUT_SECONDS, container.kill)
    timer.daemon = True
    timer.start()
    lines: list[str] = []
    saved = 0
    try:
        with Progress("wheels", expected) as progress:
            for raw in _lines(container.logs(stream=True, follow=True)):
                line = _CREDENTIALS.sub("***@", raw)
                lines = [*lines[-40:], line]
                saved += line.startswith("Saved ")
                progress.update(saved)
        code = int(container.wait(timeout=60)["StatusCode"])
    finally:
        timer.cancel()
    if code:
        raise ScriptError(_meaning(lines, code))


def _lines(chunks: Iterable[bytes]) -> Iterable[str]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.decode("utf-8", "replace").strip()
    if rest:
        yield rest.decode("utf-8", "replace").strip()


def _meaning(lines: Sequence[str], code: int) -> str:
    text = "\n".join(lines)
    for pattern, meaning in _MEANINGS:
        if found := re.search(pattern, text):
            return f"can't download the wheels: {meaning.format(**found.groupdict())}"
    said = next((line for line in reversed(lines) if "error" in line.lower()), "nothing")
    return f"can't download the wheels: pip ended with {code} and said: {said[:300]}"


def _inputs(
    requirements: Mapping[str, bytes], settings: Mapping[str, str], certificates: bytes | None
) -> bytes:
    """What goes into the container before it starts, as a tar."""
    told: dict[str, Any] = {"environment": dict(settings), "requirements": list(requirements)}
    files = {PROGRAM.name: PROGRAM.read_bytes(), "settings.json": json.dumps(told).encode()}
    files |= requirements
    if certificates:
        files["certificates.pem"] = certificates
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{FOLDER.lstrip('/')}/{name}")
            member.size, member.mode = len(content), 0o600
            archive.addfile(member, io.BytesIO(content))
    return target.getvalue()
