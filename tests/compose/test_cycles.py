"""Ten cycles of build, start and stop leave the engine as it was (issue 3, G1)."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, Any

import pytest
from fakes.runtimes import PYTHON_IMAGE, Opened

from stack.compose.engine import connect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# In the room of the reference system: it looks at all that the engine has.
pytestmark = [pytest.mark.docker, pytest.mark.stack]
CYCLES = 10


@pytest.fixture
def image() -> Iterator[str]:
    """The name of an image that only this test builds."""
    name = f"proof-pack-tests/cycles:{secrets.token_hex(6)}"
    yield name
    engine = connect(os.environ)
    engine.api.remove_image(name, force=True)
    engine.close()


def everything() -> dict[str, set[str]]:
    """The ids of all that the engine has, whoever made it."""
    engine = connect(os.environ)
    try:
        return {
            "containers": {item["Id"] for item in engine.api.containers(all=True)},
            "networks": {item["Id"] for item in engine.api.networks()},
            "volumes": {item["Name"] for item in engine.api.volumes()["Volumes"] or ()},
            "images": {item["Id"] for item in engine.api.images(all=True)},
        }
    finally:
        engine.close()


def test_ten_cycles_leave_no_container_network_volume_or_image(tmp_path: Path, image: str) -> None:
    """The image is built in every cycle, and is the same one each time."""

    def build_it(_stack: dict[str, Any], compose: dict[str, Any]) -> None:
        (tmp_path / "Dockerfile").write_text(f"FROM {PYTHON_IMAGE}\nENV BUILT=here\n")
        compose["volumes"] = {"named": {}}
        service = compose["services"]["jobs"]
        service |= {"build": {"context": "."}, "image": image}
        service["volumes"] += ["named:/named", "/anonymous"]

    opened = Opened(tmp_path)
    opened(build_it).prepare()
    opened.close()
    before = everything()
    for _ in range(CYCLES):
        runtime = opened(build_it)
        runtime.prepare()
        runtime.start()
        assert everything()["volumes"] > before["volumes"], "nothing to leave: proves nothing"
        assert list(runtime.stop()) == []
        runtime.close()
    assert everything() == before
