"""What the engine knows of a project's containers; nothing without the project's label is seen."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from common.cli import ScriptError
from stack.compose.engine import Engine, ask, connect, engine_trouble
from stack.compose.usage import read_usage
from stack.log_views import NO_LOG

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"
NUMBER_LABEL = "com.docker.compose.container-number"
ONE_OFF_LABEL = "com.docker.compose.oneoff"
NOT_STATED = "none"
UNHEALTHY = "unhealthy"
_AT_ONCE = 8


@dataclass(frozen=True)
class Listed:
    """A container as `docker ps -a` lists it."""

    id: str
    service: str
    state: str
    status: str

    @property
    def running(self) -> bool:
        """Whether it runs now."""
        return self.state == "running"

    @property
    def unhealthy(self) -> bool:
        """Whether its own health check has failed for good."""
        return "(unhealthy)" in self.status

    @property
    def over(self) -> bool:
        """Whether it has ended, or ends again and again."""
        return self.state in {"exited", "dead", "restarting", "removing"}


@dataclass(frozen=True)
class Container:
    """One container, for the summary: what ran, and how it fared.

    `task`: it ended with exit code 0 and is no service of the stack file. `usage`: see
    `read_usage`.
    """

    service: str
    name: str
    id: str
    image: str
    image_id: str
    state: str
    health: str
    restarts: int
    oom_killed: bool
    exit_code: int | None
    task: bool
    ports: tuple[str, ...]
    usage: Mapping[str, Any] | None

    def as_json(self) -> dict[str, Any]:
        """The row of the summary's `containers`."""
        return asdict(self) | {"ports": list(self.ports)}


def list_project(engine: Engine, project: str) -> list[Listed]:
    """The containers of a project, each with its Compose service; one request.

    Raises:
        ScriptError: the engine is gone.
    """
    rows = ask(lambda: engine.api.containers(all=True, filters=_label(project)))
    return [
        Listed(row["Id"], _service(row["Labels"]), row["State"], row["Status"])
        for row in sorted(rows, key=lambda row: _order(row["Labels"]))
        if row["Labels"].get(ONE_OFF_LABEL, "False") != "True"
    ]


def _label(project: str) -> dict[str, str]:
    return {"label": f"{PROJECT_LABEL}={project}"}


def _service(labels: Mapping[str, str]) -> str:
    """The Compose service; further copies of it carry their number."""
    number = labels.get(NUMBER_LABEL, "1")
    return labels.get(SERVICE_LABEL, "unknown") + ("" if number == "1" else f"-{number}")


def _order(labels: Mapping[str, str]) -> tuple[str, str]:
    return labels.get(SERVICE_LABEL, ""), labels.get(NUMBER_LABEL, "").zfill(6)


def inspect(engine: Engine, identity: str) -> dict[str, Any]:
    """Everything that the engine knows of a container.

    Raises:
        ScriptError: it is gone, or the engine is.
    """
    found: dict[str, Any] = ask(lambda: engine.api.inspect_container(identity))
    return found


def look_at_all(
    engine: Engine,
    listed: Sequence[Listed],
    services: set[str],
    restarts: Mapping[str, int],
    oom: set[str],
) -> tuple[Container, ...]:
    """The containers of a project as they are now.

    Args:
        engine: the engine.
        listed: what `list_project` found.
        services: Compose services that have to run to the end.
        restarts: restarts that the events show, by container id.
        oom: ids of containers that an event of the kernel's memory killer names.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = [*pool.map(lambda item: inspect(engine, item.id), listed)]
        usage = [*pool.map(lambda item: read_usage(engine, item.id), listed)]
    return tuple(
        _container(
            item,
            value,
            restarts.get(item.id, 0),
            killed=item.id in oom,
            may_end=item.service not in services,
            usage=used,
        )
        for item, value, used in zip(listed, found, usage, strict=True)
    )


def _container(
    item: Listed,
    value: Mapping[str, Any],
    restarts: int,
    *,
    killed: bool,
    may_end: bool,
    usage: Mapping[str, Any] | None,
) -> Container:
    state = value["State"]
    running = state["Status"] in {"running", "paused"}
    return Container(
        service=item.service,
        name=value["Name"].lstrip("/"),
        id=value["Id"],
        image=value["Config"]["Image"],
        image_id=value["Image"],
        state=state["Status"],
        # The engine calls whatever has ended unhealthy, a task that did its work too.
        health=(state.get("Health") or {}).get("Status", NOT_STATED) if running else NOT_STATED,
        restarts=max(restarts, value.get("RestartCount", 0)),
        oom_killed=killed or bool(state.get("OOMKilled")),
        exit_code=None if running else state.get("ExitCode"),
        task=may_end and state["Status"] == "exited" and state.get("ExitCode") == 0,
        ports=_ports(value),
        usage=usage,
    )


def _ports(value: Mapping[str, Any]) -> tuple[str, ...]:
    published = (value.get("NetworkSettings") or {}).get("Ports") or {}
    return tuple(
        f"{entry['HostIp']}:{entry['HostPort']}->{inner}"
        for inner, entries in sorted(published.items())
        for entry in entries or ()
    )


def last_line(engine: Engine, identity: str, clean: Callable[[str], str]) -> str:
    """The last line that a container wrote, redacted; empty where there is none."""
    try:
        data: bytes = engine.api.logs(identity, tail=20)
    except Exception:  # noqa: BLE001 - a log that can't be read must not hide the trouble itself
        return ""
    lines = [line for line in clean(data.decode("utf-8", "replace")).splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else ""


def keep_logs(
    engine: Engine, listed: Sequence[Listed], folder: Path
) -> tuple[dict[str, Path], list[str]]:
    """Write each container's whole log to `<folder>/<service>.log`, block by block.

    Returns:
        Compose service to its file (a log that the engine does not give says so in it),
        and a line for each that could not be written whole.
    """
    paths = {item.service: folder / f"{item.service}.log" for item in listed}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        said = [*pool.map(lambda item: _keep_log(engine, item, paths[item.service]), listed)]
    kept = {name: path for name, path in paths.items() if path.is_file()}
    return kept, [line for line in said if line]


def _keep_log(engine: Engine, item: Listed, path: Path) -> str | None:
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    try:
        with path.open("wb") as output:
            try:
                for block in engine.api.logs(item.id, stream=True, follow=False):
                    output.write(block)
            except (DockerException, RequestException) as problem:
                output.write(f"{NO_LOG}{engine_trouble(problem)}]\n".encode())
    except OSError as problem:
        reason = (problem.strerror or str(problem)).lower()
        return f"the log of {item.service} can't be kept: {reason}: free space"
    return None


def is_down(row: Mapping[str, Any]) -> bool:
    """Whether a container of the summary should run and be well, and is not."""
    if row["health"] == UNHEALTHY:
        return True
    return row["state"] != "running" and not row["task"]


def render_ps(containers: Sequence[Mapping[str, Any]]) -> str:
    """docker_ps.txt: the rows of the summary's `containers` as a table (P7)."""
    head = ("NAME", "IMAGE", "ID", "STATE", "HEALTH", "RESTARTS", "MEMORY", "CPU", "PORTS")
    rows = [head]
    for item in containers:
        state = item["state"] if item["exit_code"] is None else f"exited ({item['exit_code']})"
        state += ", killed for memory" if item["oom_killed"] else ""
        ports = ", ".join(item["ports"])
        shown = (item["name"], item["image"], item["id"][:12], state, item["health"])
        rows.append((*shown, str(item["restarts"]), *_used(item["usage"]), ports))
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = (
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "".join(line.rstrip() + "\n" for line in lines)


def _used(usage: Mapping[str, Any] | None) -> tuple[str, str]:
    if usage is None:
        return "-", "-"
    used, limit = (usage[name] / (1 << 20) for name in ("memory_bytes", "memory_limit_bytes"))
    return f"{used:.1f} of {limit:.0f} MiB", f"{usage['cpu_seconds']:.2f} s"


def owner_of_port(engine: Engine, port: int) -> str | None:
    """The container that publishes a port, for people; None where none does."""
    try:
        rows = ask(lambda: engine.api.containers(filters={"publish": str(port)}))
    except ScriptError:
        return None
    return f"the container {rows[0]['Names'][0].lstrip('/')}" if rows else None


def container_of(environ: Mapping[str, str], project: str, location: str) -> str:
    """The container that the host of a store's URL means; empty where there is none.

    Raises:
        ScriptError: no engine answers.
    """
    engine = connect(environ)
    try:
        host = urlsplit(location).hostname or ""
        known = {item.service: item.id for item in list_project(engine, project)}
        return known.get(host, "")
    finally:
        engine.close()
