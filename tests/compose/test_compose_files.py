"""compose.yaml and its override: valid in every profile, hardened, nothing else published (H3)."""

from __future__ import annotations

import json
import os
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from common.hashing import sha256_file

REFERENCE = Path(__file__).resolve().parents[2] / "compose/reference"
SIX = ("gateway", "model-router", "memory-engine", "sessions", "executor", "control-plane")
SYSTEM = frozenset({"gateway", "model-router", "memory-engine", "sessions", "executor"})
SYSTEM |= {"control-plane", "targets", "prepare", "postgres", "redis"}
PROFILES = {
    "dev": SYSTEM | {"prometheus"},
    "ci": SYSTEM | {"prometheus"},
    "prod": SYSTEM | {"prometheus"},
    "security": SYSTEM | {"security"},
    "integration": SYSTEM | {"integration"},
    "static": {"static"},
    "monitoring": {"prometheus", "grafana"},
}
TOKEN, ADMIN = "CLIENT_TOKEN", "DATABASE_ADMIN_PASSWORD"
DATABASE, QUEUE = "DATABASE_PASSWORD", "QUEUE_PASSWORD"
ALLOWED_SECRETS: dict[str, set[str]] = {
    "postgres": {ADMIN},
    "redis": {QUEUE},
    "prepare": {ADMIN, DATABASE, QUEUE},
    "memory-engine": {TOKEN, DATABASE},
    "model-router": {TOKEN, DATABASE},
    "sessions": {DATABASE},
    "control-plane": {TOKEN, DATABASE, QUEUE},
    "executor": {TOKEN, QUEUE},
    "gateway": {TOKEN},
    "security": {TOKEN},
    "integration": {TOKEN},
}
PORTS = {str(port) for port in range(7000, 7070, 10)}


@cache
def resolved(profile: str, *files: str, **environment: str) -> Any:
    """What Compose makes of the files; it needs no engine for that."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    given = [part for name in files or ("compose.yaml",) for part in ("--file", name)]
    done = subprocess.run(
        ["docker", "compose", *given, "--profile", profile, "config", "--format", "json"],
        cwd=REFERENCE,
        env=kept | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_the_label_of_the_image_is_the_lock_of_this_tree() -> None:
    """The build refuses another one: a relock corrects compose.yaml, too."""
    text = (REFERENCE / "compose.yaml").read_text("utf-8")
    (named,) = re.findall(r"^ +LOCK_SHA256: ([0-9a-f]{64})$", text, re.MULTILINE)
    assert named == sha256_file(REFERENCE / "requirements.txt")


@pytest.mark.docker
@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_valid_and_has_its_services(profile: str) -> None:
    assert set(resolved(profile)["services"]) == PROFILES[profile]


@pytest.mark.docker
def test_the_override_is_valid_and_serves_the_checkouts_code() -> None:
    services = resolved("dev", "compose.yaml", "compose.override.yaml")["services"]
    assert set(services) == PROFILES["dev"]
    for name in SYSTEM - {"postgres", "redis"}:
        mounts = {item["target"] for item in services[name]["volumes"]}
        assert {"/app/services", "/app/policies"} <= mounts
        assert ("/keys/public" in mounts) is (name != "targets")
        assert services[name]["image"].endswith("-development")


@pytest.mark.docker
@pytest.mark.parametrize("profile", PROFILES)
def test_every_container_is_hardened_and_limited(profile: str) -> None:
    for name, service in resolved(profile)["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}, name
        options = service["logging"]["options"]
        assert options == {"max-size": "50m", "max-file": "3"}, name
        assert not {"privileged", "cap_add", "devices", "pid", "ipc"} & set(service), name


@pytest.mark.docker
@pytest.mark.parametrize("profile", PROFILES)
def test_dependencies_are_gated_on_health_or_completion(profile: str) -> None:
    services = resolved(profile)["services"]
    for name, service in services.items():
        for other, gate in (service.get("depends_on") or {}).items():
            wanted = "completed_successfully" if other == "prepare" else "healthy"
            assert gate["condition"] == f"service_{wanted}", name
    for name in SYSTEM & set(services) - {"postgres", "redis", "prepare"}:
        assert "prepare" in services[name]["depends_on"], name


@pytest.mark.docker
def test_only_the_contracts_ports_are_published_and_on_this_machine_only() -> None:
    services = resolved("ci")["services"]
    published = [port for item in services.values() for port in item.get("ports", [])]
    assert {port["published"] for port in published} == PORTS
    assert {port["host_ip"] for port in published} == {"127.0.0.1"}
    assert all(port["published"] == str(port["target"]) for port in published)


@pytest.mark.docker
def test_another_publish_address_is_taken_from_the_environment() -> None:
    services = resolved("ci", PUBLISH_ADDRESS="192.0.2.1")["services"]
    published = [port for item in services.values() for port in item.get("ports", [])]
    assert {port["host_ip"] for port in published} == {"192.0.2.1"}


@pytest.mark.docker
def test_databases_are_on_the_inner_network_only() -> None:
    told = resolved("ci")
    assert told["networks"]["back"]["internal"] is True
    for name in ("postgres", "redis", "prepare", "prometheus"):
        assert set(told["services"][name]["networks"]) == {"back"}, name
    assert "front" in told["services"]["executor"]["networks"]


@pytest.mark.docker
def test_secrets_are_files_of_the_named_folder_and_in_no_variable() -> None:
    told = resolved("ci", SECRETS_FOLDER="/run/of/a/test")
    assert {name: item["file"] for name, item in told["secrets"].items()} == {
        name: f"/run/of/a/test/{name}" for name in (TOKEN, ADMIN, DATABASE, QUEUE)
    }
    secret = re.compile(r"(TOKEN|PASSWORD|SECRET)$")
    for name, service in told["services"].items():
        assert not [key for key in service.get("environment") or {} if secret.search(key)], name


@pytest.mark.docker
@pytest.mark.parametrize("profile", PROFILES)
def test_a_container_has_the_secrets_that_it_needs_and_no_other(profile: str) -> None:
    """Nor a variable that names one: what is told and what is mounted go together."""
    for name, service in resolved(profile)["services"].items():
        mounted = {item["source"] for item in service.get("secrets") or []}
        assert mounted == ALLOWED_SECRETS.get(name, set()), name
        variables = (service.get("environment") or {}).values()
        named = {Path(text).name for text in variables if "/run/secrets/" in str(text)}
        assert named <= mounted, name


@pytest.mark.docker
def test_services_share_one_image_that_prepare_builds() -> None:
    services = resolved("ci")["services"]
    ours = {name: services[name] for name in SYSTEM - {"postgres", "redis"}}
    assert len({service["image"] for service in ours.values()}) == 1
    assert [name for name, service in ours.items() if "build" in service] == ["prepare"]


def mounts(service: dict[str, Any], below: str) -> dict[str, tuple[str, bool]]:
    """What is mounted where below a folder, and whether it can be written."""
    return {
        item["target"]: (item["source"], not item.get("read_only", False))
        for item in service.get("volumes") or []
        if item["target"].startswith(below)
    }


@pytest.mark.docker
@pytest.mark.parametrize("profile", ["dev", "ci", "prod", "security", "integration"])
def test_a_service_has_its_own_private_key_and_only_prepare_writes_keys(profile: str) -> None:
    """G3a: who has another's key speaks in its name."""
    services = resolved(profile)["services"]
    for name, service in services.items():
        wanted = {"/keys/public": ("public-keys", name == "prepare")}
        wanted |= {
            f"/keys/private/{other}": (f"{other}-key", name == "prepare")
            for other in SIX
            if name in {other, "prepare"}
        }
        assert mounts(service, "/keys") == (wanted if name in {*SIX, "prepare"} else {}), name


@pytest.mark.docker
@pytest.mark.parametrize("profile", ["dev", "ci", "prod", "security", "integration"])
def test_a_service_has_a_user_and_a_state_folder_of_its_own(profile: str) -> None:
    """Nobody else can write what it remembers of used tokens."""
    services = resolved(profile)["services"]
    for name, service in services.items():
        folder, wanted = f"/state/{name}", {f"/state/{name}": (f"{name}-state", True)}
        assert mounts(service, "/state") == (wanted if name in SIX else {}), name
        if name in SIX:
            assert service["environment"]["STATE_FOLDER"] == folder
    users = {name: services[name]["user"] for name in (*SIX, "targets")}
    assert users["gateway"] == "10010:10010"
    assert len(set(users.values())) == len(users)
    own = {service.get("user") for name, service in services.items() if name not in users}
    assert not own & set(users.values())


@pytest.mark.docker
def test_only_prepare_writes_policies_and_only_the_executor_reads_them() -> None:
    """G3b: whoever decides can't change what it decides by."""
    found = {
        name: item.get("read_only", False)
        for name, service in resolved("ci")["services"].items()
        for item in service.get("volumes", [])
        if item["target"] == "/policies"
    }
    assert found == {"prepare": False, "executor": True}


@pytest.mark.docker
def test_default_images_are_official_and_pinned() -> None:
    services = resolved("monitoring")["services"] | resolved("ci")["services"]
    images = {services[name]["image"] for name in ("postgres", "redis", "prometheus", "grafana")}
    assert {image.split(":")[0] for image in images} == {
        "postgres",
        "redis",
        "prom/prometheus",
        "grafana/grafana",
    }
    assert all(re.search(r":v?\d+\.\d+", image) for image in images)


@pytest.mark.docker
def test_images_and_the_build_network_come_from_the_environment() -> None:
    given = {f"{name}_IMAGE": f"own/{name.lower()}:1" for name in ("POSTGRES", "REDIS", "PYTHON")}
    services = resolved("ci", **given, BUILD_NETWORK="none", WHEELS_ONLY="1")["services"]
    assert services["postgres"]["image"] == "own/postgres:1"
    assert services["redis"]["image"] == "own/redis:1"
    build = services["prepare"]["build"]
    assert (build["network"], build["args"]["WHEELS_ONLY"]) == ("none", "1")
    assert build["args"]["PYTHON_IMAGE"] == "own/python:1"


@pytest.mark.docker
def test_nothing_hides_a_crash_from_a_proof() -> None:
    """RESTART_POLICY=no is what the stack file sets; production heals itself."""
    for policy in ("no", "unless-stopped"):
        given = {} if policy == "unless-stopped" else {"RESTART_POLICY": policy}
        services = resolved("ci", **given)["services"]
        assert {services[name]["restart"] for name in SYSTEM - {"prepare"}} == {policy}


def test_no_key_is_used_that_engine_20_10_refuses() -> None:
    """Field experience: start_interval is a hard error there."""
    for name in ("compose.yaml", "compose.override.yaml"):
        text = re.sub(r"#.*", "", (REFERENCE / name).read_text("utf-8"))
        assert "start_interval" not in text
    assert not (REFERENCE / "Dockerfile").read_text("utf-8").startswith("# syntax")
