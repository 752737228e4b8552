"""What a program is started with: which layers, and their parameters, for the launcher."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.executor.tools import seccomp

if TYPE_CHECKING:
    from services.executor.policy.data import ShellLimits

NO_NEW_PRIVILEGES, LIMITS, SECCOMP = "no_new_privileges", "limits", "seccomp"
LANDLOCK, NETWORK_NAMESPACE = "landlock", "network_namespace"
# Each can be there or not; the self-check finds out (selfcheck.py).
LAYERS = (NO_NEW_PRIVILEGES, LIMITS, SECCOMP, LANDLOCK, NETWORK_NAMESPACE)
# Where programs and their libraries are; no state, no key, no secret is below.
SYSTEM_FILES = ("/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache")
_NEW_USER, _NEW_IPC, _NEW_NETWORK = 0x10000000, 0x08000000, 0x40000000


@dataclass(frozen=True)
class Profile:
    """The layers that are in force for one start.

    `readable` is what Landlock lets a program read and run, beside listing its folder;
    `keep_environment` exists for the tests that show why it is False.
    """

    layers: frozenset[str]
    limits: ShellLimits
    readable: tuple[str, ...] = SYSTEM_FILES
    keep_environment: bool = False

    def text(self, folder: int) -> str:
        """The launcher's first argument; `folder` is the descriptor of the working folder."""
        readable = [*self.readable, *self.limits.path.posix]
        return json.dumps(
            {
                "folder": folder,
                "limits": self._limits() if LIMITS in self.layers else {},
                "namespaces": self._namespaces() if NETWORK_NAMESPACE in self.layers else 0,
                # Landlock and seccomp ask for it of everybody but root: it is no loss.
                "no_new_privileges": bool(self.layers & {NO_NEW_PRIVILEGES, LANDLOCK, SECCOMP}),
                "landlock": readable if LANDLOCK in self.layers else None,
                "seccomp": self._filter() if SECCOMP in self.layers else "",
                "network": self.limits.network,
                "keep_environment": self.keep_environment,
            }
        )

    def _limits(self) -> dict[str, int]:
        limits = self.limits
        return {
            "RLIMIT_CPU": limits.cpu_seconds,
            "RLIMIT_FSIZE": limits.file_size_bytes,
            "RLIMIT_CORE": 0,
            "RLIMIT_NOFILE": limits.open_files,
            # macOS refuses or ignores these two; Linux is where the executor is deployed.
            **(_linux_limits(limits) if os.uname().sysname == "Linux" else {}),
        }

    def _namespaces(self) -> int:
        if self.limits.network:
            return _NEW_IPC | (0 if os.geteuid() == 0 else _NEW_USER)
        return _NEW_NETWORK | _NEW_IPC | (0 if os.geteuid() == 0 else _NEW_USER)

    def _filter(self) -> str:
        machine = seccomp.machine()
        if machine is None:
            return ""
        return base64.b64encode(seccomp.build_filter(machine, network=self.limits.network)).decode(
            "ascii"
        )


def _linux_limits(limits: ShellLimits) -> dict[str, int]:
    return {"RLIMIT_AS": limits.memory_bytes, "RLIMIT_NPROC": limits.processes}
