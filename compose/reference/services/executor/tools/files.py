"""The file tool: read, write and list in the sandbox, as far as the policy goes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from services.executor.tools.policy import DeniedError

if TYPE_CHECKING:
    from services.executor.tools.policy import FilePolicy
    from services.executor.tools.sandbox import Sandbox


class ArgumentsError(Exception):
    """The arguments don't belong together, whatever the policy says."""


def run(
    policy: FilePolicy, sandbox: Sandbox, operation: str, path: str, content: str | None
) -> str:
    """Do one operation and say what came of it.

    Args:
        policy: the file section of the tool policy.
        sandbox: the only folder there is.
        operation: "read", "write" or "list".
        path: relative to the sandbox, parts separated by "/"; "." is the sandbox.
        content: the new text, for "write" only.

    Raises:
        ArgumentsError: "write" without content, or content without "write".
        DeniedError: the policy or the sandbox refuses it.
        NotThereError: nothing is there to read or list.
    """
    if (operation == "write") != (content is not None):
        raise ArgumentsError("content: expected with the operation write, and only there")
    if operation not in policy.operations:
        raise DeniedError("file: the operation is not on the list")
    if operation == "read":
        data = sandbox.read(path, policy.size_limit_bytes)
        return data.decode("utf-8", "replace").replace("\0", "\ufffd")
    if operation == "list":
        entries = sandbox.list(path, policy.entries_limit)
        return json.dumps(
            [{"name": e.name, "kind": e.kind, "size_bytes": e.size_bytes} for e in entries]
        )
    return _write(policy, sandbox, path, (content or "").encode("utf-8"))


def _write(policy: FilePolicy, sandbox: Sandbox, path: str, data: bytes) -> str:
    if len(data) > policy.size_limit_bytes:
        raise DeniedError(
            f"file: expected at most {policy.size_limit_bytes} bytes, got {len(data)}"
        )
    with sandbox.writing:
        entries, used_bytes = sandbox.usage()
        if entries >= policy.entries_limit or used_bytes + len(data) > policy.total_limit_bytes:
            raise DeniedError("file: the sandbox is full")
        sandbox.write(path, data)
    return f"wrote {len(data)} bytes"
