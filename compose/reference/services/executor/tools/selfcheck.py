"""Tries every layer of the sandbox, because a layer that is only believed in is none (G3c).

One program makes a list of attacks and says which got through: once with no layer, as the
control, once with each layer alone, and once with all that work. A layer is active if it
stops an attack that gets through without it. What this finds is what `/v1/sandbox` answers,
and programs are started with the layers that were found active.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from services.executor.policy.data import SearchPath, ShellLimits
from services.executor.tools import kernel, seccomp
from services.executor.tools.profile import (
    LANDLOCK,
    LAYERS,
    LIMITS,
    NETWORK_NAMESPACE,
    NO_NEW_PRIVILEGES,
    SECCOMP,
    SYSTEM_FILES,
    Profile,
)
from services.executor.tools.sandbox import HAS_OPENAT, Sandbox
from services.executor.tools.shell import HAS_LAUNCHER, run_program

if TYPE_CHECKING:
    from collections.abc import Mapping

ATTACKS_FILE = Path(__file__).with_name("attacks.py")
STOPPED, THROUGH = "stopped", "got through"
CONTROL_SECONDS = 10.0
# What each layer is there for (attacks.py); it may stop more than that.
MUST_STOP = MappingProxyType(
    {
        NO_NEW_PRIVILEGES: frozenset({"gain_privileges"}),
        LIMITS: frozenset({"write_file", "take_memory", "open_many_files"}),
        SECCOMP: frozenset({"open_socket", "connect", "start_process", "signal_parent"}),
        LANDLOCK: frozenset({"read_outside", "write_file"}),
        NETWORK_NAMESPACE: frozenset({"connect"}),
    }
)


@dataclass(frozen=True)
class Layer:
    """Whether a layer holds, and how we know."""

    name: str
    active: bool
    stops: tuple[str, ...]
    detail: str


@dataclass(frozen=True)
class SandboxReport:
    """What was tried: the layers, and each attack without and with all that are active."""

    layers: tuple[Layer, ...]
    without: Mapping[str, str]
    together: Mapping[str, str]

    @property
    def active(self) -> frozenset[str]:
        """The layers that programs are started with."""
        return frozenset(layer.name for layer in self.layers if layer.active) & set(LAYERS)

    @property
    def holds(self) -> bool:
        """Whether anything was tried, and nothing got through all layers together."""
        return bool(self.together) and THROUGH not in self.together.values()


@cache
def try_layers() -> SandboxReport:
    """Start programs that attack, and see what comes of it: once a process, about a second."""
    if not HAS_LAUNCHER or not HAS_OPENAT:
        why = "this system has no such layer"
        missing = tuple(Layer(name, active=False, stops=(), detail=why) for name in LAYERS)
        return SandboxReport((*missing, _paths()), {}, {})
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(socket.create_server(("127.0.0.1", 0))) as door,
    ):
        check = _Check(Path(folder).resolve(), door.getsockname()[1], _limits())
        with ThreadPoolExecutor(max_workers=2) as pool:
            without = pool.submit(check.attack, frozenset[str]())
            alone = {name: pool.submit(check.attack, frozenset({name})) for name in LAYERS}
            control = without.result()
            layers = tuple(_layer(name, control, tried.result()) for name, tried in alone.items())
        active = frozenset(layer.name for layer in layers if layer.active)
        return SandboxReport((*layers, _paths()), control[0], check.attack(active)[0])


class _Check:
    """A sandbox of its own, a secret beside it, and a door to knock at."""

    def __init__(self, folder: Path, port: int, limits: ShellLimits) -> None:
        self._sandbox = Sandbox(folder / "sandbox")
        self._secret = folder / "secret.txt"
        self._secret.write_text("secret", encoding="ascii")
        self._port = port
        self._limits = limits

    def attack(self, layers: frozenset[str]) -> tuple[dict[str, str], str]:
        """What got through, and why there is no answer where there is none."""
        if SECCOMP in layers and seccomp.machine() is None:
            return {}, "no list of system calls for this machine"
        readable = (*SYSTEM_FILES, *python_files())
        profile = Profile(layers, self._limits, readable)
        argv = [sys.executable, "-I", "-S", str(ATTACKS_FILE), str(self._secret), str(self._port)]
        result = run_program(profile, self._sandbox, argv)
        try:
            found = json.loads(result.output.splitlines()[-1])
        except (ValueError, IndexError):
            return {}, " ".join(result.output.split())[:200] or f"exit code {result.exit_code}"
        return {name: THROUGH if got else STOPPED for name, got in found.items()}, ""


def _limits() -> ShellLimits:
    """The limits that programs have by default, and time enough on a busy machine."""
    nowhere = SearchPath(posix=["/usr/bin"], windows=["C:\\Windows\\System32"])
    return ShellLimits(path=nowhere, time_out_seconds=CONTROL_SECONDS, output_limit_bytes=65_536)


def python_files() -> tuple[str, ...]:
    """What this Python is made of: the attacking program has to be able to start."""
    base = Path(sys.base_prefix).resolve()
    return (str(base), str(ATTACKS_FILE), str(Path(sys.executable).parent), sys.prefix)


def _layer(
    name: str, control: tuple[dict[str, str], str], tried: tuple[dict[str, str], str]
) -> Layer:
    """Active is what stops all that it is there for; `stops` is what it alone stopped."""
    before, after = control[0], tried[0]
    if not before or not after:
        return Layer(name, active=False, stops=(), detail=control[1] or tried[1])
    stops = tuple(
        attack for attack in before
        if before[attack] == THROUGH and after.get(attack) == STOPPED
    )  # fmt: skip
    through = sorted(attack for attack in MUST_STOP[name] if after.get(attack) != STOPPED)
    if through:
        return Layer(name, active=False, stops=stops, detail=f"got through: {', '.join(through)}")
    unproven = sorted(MUST_STOP[name] - set(stops))
    detail = f"stopped without it, too: {', '.join(unproven)}" if unproven else ""
    return Layer(name, active=True, stops=stops, detail=detail)


def _paths() -> Layer:
    """The kernel's own refusal of links: tried on one, beside an open that follows it."""
    if not kernel.has_openat2():
        detail = (
            "no openat2: each part of a path is opened with O_NOFOLLOW"
            if HAS_OPENAT
            else ("no openat: each part of a path is checked, then opened by name")
        )
        return Layer("openat2", active=False, stops=(), detail=detail)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "secret.txt").write_text("secret", encoding="ascii")
        (folder / "link").symlink_to("secret.txt")
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.close(os.open("link", os.O_RDONLY, dir_fd=handle))
            try:
                os.close(kernel.open_beneath("link", os.O_RDONLY, dir_fd=handle))
            except OSError:
                return Layer("openat2", active=True, stops=("symbolic link",), detail="")
        finally:
            os.close(handle)
    return Layer("openat2", active=False, stops=(), detail="it followed a link")


def process_facts() -> dict[str, str]:
    """What the kernel says of the executor itself: what its container gave and took."""
    facts = {"user": str(os.geteuid()) if hasattr(os, "geteuid") else "", "root_file_system": ""}
    if hasattr(os, "statvfs"):
        read_only = os.statvfs("/").f_flag & os.ST_RDONLY
        facts["root_file_system"] = "read-only" if read_only else "writable"
    try:
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
    except OSError:
        return facts
    wanted = {"CapEff": "capabilities", "NoNewPrivs": "no_new_privileges", "Seccomp": "seccomp"}
    for line in lines:
        name, _, value = line.partition(":")
        if name in wanted:
            facts[wanted[name]] = value.strip()
    return facts
