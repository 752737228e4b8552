"""Before a start: check the Compose file, build and pull images, look into them (H1, H2)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from common import log
from common.cli import ConfigurationError, ScriptError
from common.hashing import sha256_file
from stack.compose.containers import PROJECT_LABEL
from stack.compose.file import Composed
from stack.compose.images import LOCK_LABEL, describe_images, find_image, missing_images, run_once
from stack.environment import locked_versions
from stack.installed import probe_source, verify_reported

if TYPE_CHECKING:
    from stack.compose.command import Compose
    from stack.compose.engine import Engine
    from stack.compose.file import ComposePython, ComposeRuntimeFile

BUILD_SECONDS = 3600
PULL_SECONDS = 1800
_REBUILD = "build the image again (docker compose build --no-cache)"


@dataclass
class ComposeBuild:
    """What a project is made from.

    Args:
        plan: the `runtimes.compose` section.
        compose: runs the commands.
        engine: has the images.
        project: its label goes on every container that looks into an image.
        stack: the name of the stack: images are built in the project of this name.
    """

    plan: ComposeRuntimeFile
    compose: Compose
    engine: Engine
    project: str
    stack: str

    def read(self) -> Composed:
        """The Compose file with variables and profiles applied: typos are found here.

        Raises:
            ConfigurationError: no such file, or Compose does not accept it.
        """
        import yaml

        if not self.plan.file.is_file():
            raise ConfigurationError(f"expected the Compose file {self.plan.file}, got none")
        text = self.compose.read("config")
        # libyaml, where PyYAML was built with it, is ten times faster.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        composed = Composed(yaml.load(text, loader))  # noqa: S506 - both loaders are safe ones
        if not composed.services:
            chosen = ", ".join(self.plan.profiles) or "none"
            raise ConfigurationError(
                f"{self.plan.file}: expected services in the profiles ({chosen}), got none"
            )
        return composed

    def build(self, composed: Composed) -> None:
        """Build what the Compose file builds, and pull what is missing.

        Raises:
            ScriptError: with the last lines of the build, or the image that can't be had.
        """
        built = [name for name, item in composed.services.items() if item.get("build")]
        for name in composed.services:
            composed.image_of(name)
        if self.plan.build and built:
            log.say(f"building the images of {self.plan.file.name}")
            # Compose labels an image with its project. Under the run's own name, which is
            # new each time, the same content would be another image and the last one left.
            stable = replace(self.compose, project=self.stack)
            stable.run("build", *built, seconds=BUILD_SECONDS)
        missing = missing_images(self.engine, composed)
        if not missing:
            return
        for name, image in missing.items():
            if name in built:
                raise ScriptError(
                    f"the image {image} of {name} is not there and `build: false` is set: build it"
                )
        wanted = ", ".join(sorted(set(missing.values())))
        log.say(f"pulling {wanted}")
        try:
            self.compose.run("pull", "--quiet", *missing, seconds=PULL_SECONDS)
        except ScriptError as problem:  # the engine does not always say which image it was
            raise type(problem)(f"pulling {wanted}: {problem}") from problem

    def images(self, composed: Composed) -> list[dict[str, Any]]:
        """A row for each image that the project runs."""
        return describe_images(self.engine, composed)

    def metadata(self, images: list[dict[str, Any]]) -> dict[str, Any]:
        """container_metadata.json: engine, images with digests, lock, packages (H2)."""
        python = self.plan.python
        lock = python and {
            "file": python.requirements.name,
            "sha256": sha256_file(python.requirements),
        }
        engine, version = self.engine.version(), self.compose.program.version
        return {
            "kind": "compose",
            "engine": engine,
            "compose": version,
            "images": images,
            "lock": lock,
            "packages": locked_versions(python.requirements) if python else {},
            "summary": f"{len(images)} images, engine {engine}, compose {version}",
        }

    def verify_lock(self, composed: Composed) -> dict[str, int] | None:
        """Hold the packages inside the image against the lock, file by file.

        Raises:
            ScriptError: the image was built from another lock, or a package differs.
        """
        python = self.plan.python
        if python is None:
            return None
        image = composed.image_of(python.service)
        labels = ((find_image(self.engine, image) or {}).get("Config") or {}).get("Labels") or {}
        wanted = sha256_file(python.requirements)
        if labels.get(LOCK_LABEL, wanted) != wanted:
            raise ScriptError(
                f"{image}: expected the lock {wanted[:16]} ({python.requirements.name}), "
                f"got one built from {labels[LOCK_LABEL][:16]}: {_REBUILD}"
            )
        report = self._run(python, image, probe_source())
        found = verify_reported(python.requirements, report, f"{image}: {_REBUILD}")
        return {"packages": found.packages, "files": found.files}

    def import_modules(self, composed: Composed) -> int:
        """Import the modules that the stack file names in a fresh container of the image."""
        python = self.plan.python
        if python is None or not python.imports:
            return 0
        source = f"import {', '.join(python.imports)}"
        self._run(python, composed.image_of(python.service), source)
        return len(python.imports)

    def _run(self, python: ComposePython, image: str, source: str) -> str:
        labels = {PROJECT_LABEL: self.project}
        return run_once(self.engine, image, [python.command, "-c", source], labels)
