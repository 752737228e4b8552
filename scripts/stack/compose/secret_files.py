"""File secrets of a run: one file each, also where the engine is on another machine."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

from common.cli import ScriptError
from stack.compose.containers import PROJECT_LABEL
from stack.compose.engine import ask

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from stack.compose.engine import Engine

SECRETS_FOLDER = "secrets"
# The folder around it is 0700; inside a container another user must read the file.
_MODE = 0o444
_INSIDE = "/state"
_REMOVE_SECONDS = 20


def write_secret_files(values: Mapping[str, str], private: Path) -> Path:
    """Write `<private>/secrets/<NAME>` for each secret; the folder.

    `private` is the run's folder in memory. Without one it is its state folder, on a disk:
    the engine mounts files, and no file that a container can read is encrypted.
    """
    folder = private / SECRETS_FOLDER
    folder.mkdir(mode=0o755)
    for name, value in values.items():
        path = folder / name
        path.write_text(value, "utf-8")
        path.chmod(_MODE)
    return folder


class RemoteSecrets:
    """The same folder at the same path of the engine's own machine.

    A container that is never started mounts the parent folder; the files are put through it.
    """

    def __init__(self, engine: Engine, image: str, project: str) -> None:
        """Use an image that the engine has; nothing of it runs for `copy`."""
        self._engine, self._image = engine, image
        self._labels = {PROJECT_LABEL: project}
        self._state: Path | None = None

    def copy(self, folder: Path) -> None:
        """Put the secret files there.

        Raises:
            ScriptError: the engine refuses; says what to do by hand.
        """
        self._state = folder.parent
        try:
            identity = self._container(["true"])
            data = _tar(folder, f"{self._state.name}/{folder.name}")
            ask(lambda: self._engine.api.put_archive(identity, _INSIDE, data))
            ask(lambda: self._engine.api.remove_container(identity, v=True, force=True))
        except ScriptError as problem:
            raise ScriptError(
                f"can't copy the secret files to the engine at {self._engine.endpoint.url}: "
                f"{problem}: copy {folder} to the same path there, or use a local engine"
            ) from problem

    def remove(self) -> str | None:
        """Remove what `copy` put there; a line where that was not possible."""
        if self._state is None:
            return None
        place = f"{_INSIDE}/{self._state.name}"
        try:
            identity = self._container(["rm", "-rf", place])
            ask(lambda: self._engine.api.start(identity))
            answer = ask(lambda: self._engine.api.wait(identity, timeout=_REMOVE_SECONDS))
            ask(lambda: self._engine.api.remove_container(identity, v=True, force=True))
        except ScriptError as problem:
            return f"left over: {self._state} on the engine's machine: {problem}"
        if answer["StatusCode"]:
            return f"left over: {self._state} on the engine's machine: no `rm` in {self._image}"
        self._state = None
        return None

    def _container(self, command: list[str]) -> str:
        assert self._state is not None  # noqa: S101 - set by `copy`
        bind = {str(self._state.parent): {"bind": _INSIDE, "mode": "rw"}}
        settings = self._engine.api.create_host_config(binds=bind, network_mode="none")
        made = ask(
            lambda: self._engine.api.create_container(
                self._image,
                command[1:],
                entrypoint=command[:1],
                user="0:0",
                labels=self._labels,
                host_config=settings,
                healthcheck={"test": ["NONE"]},
            )
        )
        return str(made["Id"])


def _tar(folder: Path, name: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for part, mode in ((name.split("/", maxsplit=1)[0], 0o700), (name, 0o755)):
            entry = tarfile.TarInfo(part)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            archive.addfile(entry)
        for path in sorted(folder.iterdir()):
            data = path.read_bytes()
            entry = tarfile.TarInfo(f"{name}/{path.name}")
            entry.size, entry.mode = len(data), _MODE
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
