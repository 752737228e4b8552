"""The Docker engine: which one, is it there, and one clear line where it is not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from common.cli import ConfigurationError, ScriptError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from docker import DockerClient
    from docker.tls import TLSConfig

# What chooses an engine.
CHOOSING = (
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "DOCKER_TLS",
    "DOCKER_TLS_VERIFY",
    "DOCKER_CERT_PATH",
    "DOCKER_CONFIG",
)
CALL_SECONDS = 60
_CONTEXT_SECONDS = 20
_DEFAULT_URL = (
    "npipe:////./pipe/docker_engine" if os.name == "nt" else "unix:///var/run/docker.sock"
)
_START_IT = "start it (Docker Desktop, or `systemctl start docker`), or set DOCKER_HOST"


@dataclass(frozen=True)
class Endpoint:
    """Where an engine answers; `tls_folder` holds ca.pem, cert.pem and key.pem."""

    url: str
    tls_folder: str | None = None
    verify: bool = True

    @property
    def local(self) -> bool:
        """Whether the engine sees this machine's files and ports."""
        return urlsplit(self.url).scheme in {"unix", "npipe", "http+unix"}

    @property
    def host(self) -> str:
        """The host that published ports are on."""
        return "127.0.0.1" if self.local else urlsplit(self.url).hostname or "127.0.0.1"

    def as_variables(self) -> dict[str, str]:
        """Variables that mean this engine, whatever context is the current one later."""
        if self.tls_folder is None:
            return {"DOCKER_HOST": self.url}
        tls = {"DOCKER_TLS": "1"} | ({"DOCKER_TLS_VERIFY": "1"} if self.verify else {})
        return {"DOCKER_HOST": self.url, "DOCKER_CERT_PATH": self.tls_folder, **tls}


@dataclass
class Engine:
    """A connected engine."""

    client: DockerClient
    endpoint: Endpoint
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def api(self) -> Any:  # noqa: ANN401 - the SDK's low-level client has no useful types
        """The low-level client: one call, one request."""
        return self.client.api

    def version(self) -> str:
        """The engine's version."""
        return str(self.client.version()["Version"])

    def close(self) -> None:
        """Close the connections."""
        self.client.close()


def chosen(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that choose the engine, as they are set."""
    return {name: environ[name] for name in CHOOSING if environ.get(name)}


def find_endpoint(environ: Mapping[str, str]) -> Endpoint:
    """The engine that the docker command would use: DOCKER_HOST, else the context.

    Raises:
        ConfigurationError: no such context, or docker is not installed to ask for it.
    """
    if url := environ.get("DOCKER_HOST"):
        verify = bool(environ.get("DOCKER_TLS_VERIFY"))
        if not (verify or environ.get("DOCKER_TLS")):
            return Endpoint(url, None, verify=False)
        folder = environ.get("DOCKER_CERT_PATH") or str(Path.home() / ".docker")
        return Endpoint(url, folder, verify)
    name = environ.get("DOCKER_CONTEXT") or _configured_context(environ)
    if name in {"", "default"}:
        return Endpoint(_DEFAULT_URL)
    return _context_endpoint(name, environ)


def _configured_context(environ: Mapping[str, str]) -> str:
    folder = environ.get("DOCKER_CONFIG") or str(Path.home() / ".docker")
    try:
        value = json.loads((Path(folder) / "config.json").read_text("utf-8"))
        return str(value.get("currentContext") or "")
    except (OSError, ValueError, AttributeError):
        return ""


def _context_endpoint(name: str, environ: Mapping[str, str]) -> Endpoint:
    program = shutil.which("docker", path=environ.get("PATH"))
    if program is None:
        raise ConfigurationError(
            f"docker is not installed, so the context {name} can't be read: set DOCKER_HOST"
        )
    done = subprocess.run(
        [program, "context", "inspect", name],
        capture_output=True,
        text=True,
        check=False,
        env=dict(environ),
        timeout=_CONTEXT_SECONDS,
    )
    try:
        value = json.loads(done.stdout)[0]
        found = value["Endpoints"]["docker"]
        tls = Path(value.get("Storage", {}).get("TLSPath") or "none") / "docker"
        folder = str(tls) if tls.is_dir() else None
        return Endpoint(str(found["Host"]), folder, not found.get("SkipTLSVerify", False))
    except (ValueError, LookupError, TypeError):
        said = done.stderr.strip().splitlines()[-1:] or ["no answer"]
        raise ConfigurationError(
            f"can't read the Docker context {name!r}: {said[0][:200]}: "
            "choose one of `docker context ls`, or unset DOCKER_CONTEXT"
        ) from None


def connect(environ: Mapping[str, str], timeout_seconds: int = CALL_SECONDS) -> Engine:
    """A client of the engine that `environ` chooses, after it has answered.

    Raises:
        ScriptError: no engine answers there, or this user may not talk to it.
    """
    import docker
    from docker.errors import DockerException

    endpoint = find_endpoint(environ)
    if endpoint.url.startswith("ssh://"):
        raise ConfigurationError(
            f"{endpoint.url}: expected an engine at unix, npipe or tcp: forward it with "
            "`ssh -NL /tmp/engine.sock:/var/run/docker.sock HOST` and set "
            "DOCKER_HOST=unix:///tmp/engine.sock"
        )
    try:
        client = docker.DockerClient(
            base_url=endpoint.url, version="auto", timeout=timeout_seconds, tls=_tls(endpoint)
        )
    except (DockerException, OSError, ValueError) as problem:
        raise ScriptError(_why_not(endpoint, problem)) from None
    return Engine(client, endpoint, chosen(environ))


def _tls(endpoint: Endpoint) -> TLSConfig | bool:
    from docker.tls import TLSConfig

    if endpoint.tls_folder is None:
        return False
    folder = Path(endpoint.tls_folder)
    certificate = (str(folder / "cert.pem"), str(folder / "key.pem"))
    return TLSConfig(
        client_cert=certificate if (folder / "cert.pem").is_file() else None,
        ca_cert=str(folder / "ca.pem") if endpoint.verify else None,
        verify=endpoint.verify,
    )


def _why_not(endpoint: Endpoint, problem: Exception) -> str:
    """One line for an engine that can't be used."""
    text = " ".join(str(problem).split())
    if "PermissionError" in text or "Permission denied" in text:
        return (
            f"no permission to use the Docker engine at {endpoint.url}: add this user to the "
            "group docker and log in again, or set DOCKER_HOST to an engine of yours"
        )
    host = urlsplit(endpoint.url).hostname
    if "Invalid bind address" in text or "Invalid URL" in text:
        return (
            f"expected DOCKER_HOST like unix:///var/run/docker.sock or tcp://HOST:2376, got "
            f"{endpoint.url}: correct it, or unset it"
        )
    if "NameResolution" in text or "Name or service not known" in text:
        return f"the host {host} of the Docker engine at {endpoint.url} is not known: correct it"
    if any(word in text for word in ("FileNotFoundError", "No such file", "refused", "Refused")):
        return f"no Docker engine answers at {endpoint.url}: {_START_IT}"
    if "timed out" in text.lower():
        return f"the Docker engine at {endpoint.url} does not answer in time: {_START_IT}"
    return f"can't use the Docker engine at {endpoint.url}: {text[:200]}: {_START_IT}"


def engine_trouble(problem: Exception) -> ScriptError:
    """What the engine answered, or that it is gone, as one line."""
    text = " ".join(str(getattr(problem, "explanation", None) or problem).split())
    if "no space left" in text.lower():
        return ScriptError("the disk of the Docker engine is full: free space (docker system df)")
    if getattr(problem, "explanation", None):
        return ScriptError(f"the Docker engine refused: {text[:300]}")
    return ScriptError(f"the Docker engine does not answer: {text[:200]}: look at its log")


def ask(call: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever the engine answers
    """Make one request of the engine.

    Raises:
        ScriptError: it refused, or it is gone.
    """
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    try:
        return call()
    except (DockerException, RequestException, OSError) as problem:
        raise engine_trouble(problem) from problem
