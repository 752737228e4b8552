"""Ask the stack file's golden requests from inside the network: `python -m checks.golden FILE`.

The same requests as the smoke's, on the way that the services use among themselves:
by container name, past no published port.
"""

from __future__ import annotations

import json
import os
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml

SECRETS_FOLDER = Path("/run/secrets")
TIMEOUT_SECONDS = 30.0


def url_of(service: str) -> str:
    """Where a service answers: `<SERVICE>_URL`, as the services themselves are told."""
    return os.environ[f"{service.upper().replace('-', '_')}_URL"]


def with_secrets(text: str) -> str:
    """The text with each `{secret:NAME}` replaced by the content of its file."""
    return re.sub(
        r"\{secret:([A-Z][A-Z0-9_]*)\}",
        lambda found: (SECRETS_FOLDER / found[1]).read_text("utf-8").strip(),
        text,
    )


def ask(golden: dict[str, Any]) -> tuple[int, str]:
    """Send one request; its status and body, whatever the status is."""
    body = golden.get("body")
    request = urllib.request.Request(  # noqa: S310 - http URLs of our own environment
        url_of(golden["service"]) + golden["path"],
        data=None if body is None else json.dumps(body).encode(),
        method=golden.get("method", "GET"),
        headers={"Content-Type": "application/json"},
    )
    for name, value in golden.get("headers", {}).items():
        request.add_header(name, with_secrets(value))
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - as above
            return answer.status, answer.read().decode("utf-8")
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read().decode("utf-8")


def difference(expect: dict[str, Any], status: int, text: str) -> str | None:
    """What is not as expected, or None."""
    if status != expect["status"]:
        return f"expected status {expect['status']}, got {status}"
    for part in expect.get("contains", []):
        if part not in text:
            return f"expected {part!r} in the answer, got none"
    for pointer, wanted in expect.get("json", {}).items():
        got = at(json.loads(text), pointer)
        if got != wanted:
            return f"{pointer}: expected {wanted!r}, got {got!r}"
    return None


def at(value: Any, pointer: str) -> Any:  # noqa: ANN401 - the JSON edge
    """The value under a JSON Pointer, or None (RFC 6901)."""
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        try:
            value = value[int(key) if isinstance(value, list) else key]
        except (KeyError, IndexError, TypeError, ValueError):
            return None
    return value


def problem_of(golden: dict[str, Any]) -> str | None:
    """What is wrong with one answer; no answer at all is wrong, too."""
    try:
        return difference(golden["expect"], *ask(golden))
    except (OSError, KeyError, ValueError) as problem:
        return f"{type(problem).__name__}: {problem}"


def main(argv: list[str]) -> int:
    """Ask them all; 1 where an answer differs, 2 where there is none to ask."""
    stack = yaml.safe_load(Path(argv[0]).read_text("utf-8"))
    requests = stack.get("golden", [])
    problems = [problem_of(golden) for golden in requests]
    for golden, problem in zip(requests, problems, strict=True):
        print(f"{'FAILED' if problem else 'passed'}  {golden['name']}  {problem or ''}".rstrip())
    if not requests:
        print(f"inconclusive: {argv[0]} has no golden requests")
        return 2
    return 1 if any(problems) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
