"""The reference system, started for real on its own ports, once for each test that asks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stack.load import load_stack
from stack.process import ProcessRuntime, create

if TYPE_CHECKING:
    from collections.abc import Iterator

REFERENCE = Path(__file__).resolve().parents[2] / "compose/reference/stack.yaml"


@pytest.fixture
def reference(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProcessRuntime]:
    """A started reference system; stopped and closed afterwards."""
    monkeypatch.setenv("PROOF_PACK_CACHE_DIR", str(shared_cache))
    runtime = create(load_stack(REFERENCE, {}), {})
    try:
        runtime.prepare()
        runtime.start()
        yield runtime
    finally:
        runtime.stop()
        runtime.close()
