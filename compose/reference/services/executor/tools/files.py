"""The file tool: read, write and list in the sandbox, within its limits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from services.executor.policy.denied import DeniedError

if TYPE_CHECKING:
    from services.executor.policy.data import FileLimits
    from services.executor.tools.sandbox import Sandbox


class ArgumentsError(Exception):
    """The arguments don't belong together, whatever the policy says."""


def run(
    limits: FileLimits, sandbox: Sandbox, operation: str, path: str, content: str | None
) -> str:
    """Do one operation and say what came of it.

    Args:
        limits: how much the sandbox takes; the policy has allowed the operation before.
        sandbox: the only folder there is.
        operation: "read", "write" or "list".
        path: relative to the sandbox, parts separated by "/"; "." is the sandbox.
        content: the new text, for "write" only.

    Raises:
        ArgumentsError: "write" without content, or content without "write".
        DeniedError: the sandbox refuses the path, or it is full.
        NotThereError: nothing is there to read or list.
    """
    if (operation == "write") != (content is not None):
        raise ArgumentsError("content: expected with the operation write, and only there")
    if operation == "read":
        data = sandbox.read(path, limits.size_limit_bytes)
        return data.decode("utf-8", "replace").replace("\0", "\ufffd")
    if operation == "list":
        entries = sandbox.list(path, limits.entries_limit)
        return json.dumps(
            [{"name": e.name, "kind": e.kind, "size_bytes": e.size_bytes} for e in entries]
        )
    return _write(limits, sandbox, path, (content or "").encode("utf-8"))


def _write(limits: FileLimits, sandbox: Sandbox, path: str, data: bytes) -> str:
    if len(data) > limits.size_limit_bytes:
        raise DeniedError(
            "too_large", f"expected at most {limits.size_limit_bytes} bytes, got {len(data)}"
        )
    with sandbox.writing:
        entries, used_bytes = sandbox.usage()
        if entries >= limits.entries_limit or used_bytes + len(data) > limits.total_limit_bytes:
            raise DeniedError("sandbox_full", "the sandbox is full: nothing more is written")
        sandbox.write(path, data)
    return f"wrote {len(data)} bytes"
