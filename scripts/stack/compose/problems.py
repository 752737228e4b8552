"""What Compose says when it fails, as one line that says what to do."""

from __future__ import annotations

import re

from common.cli import ConfigurationError, ScriptError

BUILD_LINES = 15
_LONGEST = 400
_PLAIN = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_CANT_PULL = "can't pull the image {a}: check its name, the network and `docker login`"
# Words that the engine or Compose uses, and what they mean; the first that fits counts.
_MEANINGS: tuple[tuple[str, str], ...] = (
    (
        r"no space left on device",
        "the disk of the Docker engine is full: free space (docker system df)",
    ),
    (
        r"permission denied while trying to connect|connect: permission denied",
        "no permission to use the Docker engine: join the group docker, or set DOCKER_HOST",
    ),
    (
        r"Cannot connect to the Docker daemon at (\S+?)\.? ",
        "no Docker engine answers at {a}: start it, or set DOCKER_HOST",
    ),
    (
        r"error during connect: ([^\n]+)",
        "the Docker engine does not answer ({a}): look at its log",
    ),
    (
        r"Bind for \S*?:(\d+) failed: port is already allocated",
        "port {a} is taken by another container: stop it (docker ps), or publish another port",
    ),
    (
        r"listen tcp\d? \S*?:(\d+): bind: address already in use",
        "port {a} is taken by another process: stop it, or publish another port",
    ),
    (
        r"bind source path does not exist: ([^\n]+)",
        "expected the file or folder {a}, got nothing: make it, or correct the Compose file",
    ),
    (r"pull access denied for (\S+?),", _CANT_PULL),
    (r"manifest for (\S+) not found", _CANT_PULL),
    (r"(\S+): manifest unknown", _CANT_PULL),
    (r"failed to resolve reference \"([^\"]+)\"", _CANT_PULL),
    (r"No such image: (\S+)", _CANT_PULL),
    (
        r"(dial tcp[^\n]*(?:no such host|i/o timeout|connection refused))",
        "can't pull an image, the registry can't be reached ({a}): check the network",
    ),
)


def explain(what: str, said: str, code: int, file: str) -> ScriptError:
    """The error for a Compose command that failed.

    Args:
        what: the command, such as up.
        said: its output, already redacted.
        code: its exit code.
        file: the name of the Compose file.
    """
    text = _PLAIN.sub("", said)
    for pattern, meaning in _MEANINGS:
        if found := re.search(pattern, text, re.IGNORECASE):
            named = found[1] if found.groups() else ""
            return ScriptError(meaning.format(a=named[:200]))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    last = lines[-1][:_LONGEST] if lines else f"exit code {code}, and it said nothing"
    if what == "config":
        return ConfigurationError(f"{file}: {_without_noise(lines) or last}: correct that line")
    if what == "build":
        tail = " | ".join(lines[-BUILD_LINES:])
        return ScriptError(f"the build of {file} failed: {tail[-2000:]}")
    return ScriptError(f"docker compose {what} failed: {last}")


def _without_noise(lines: list[str]) -> str:
    """Compose's own words without its log prefixes and warnings."""
    told = [line for line in lines if "level=warning" not in line and "WARN[" not in line]
    return " ".join(told)[:_LONGEST]
