"""What every test gets: folders of its own instead of the user's."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Kinds of tests (H8) that have a folder of their own; whatever stands in it has its mark.
KINDS = ("fuzzing", "metamorphic", "properties", "system")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test with the kind whose folder it stands in."""
    for item in items:
        for kind in {*KINDS} & {*item.path.parts}:
            item.add_marker(getattr(pytest.mark, kind))


def _same_examples_every_time() -> None:
    # The environment of the security tools has no hypothesis, and no test that needs it.
    with contextlib.suppress(ModuleNotFoundError):
        from hypothesis import settings

        settings.register_profile("same", derandomize=True, deadline=None, print_blob=True)
        settings.register_profile("quick", settings.get_profile("same"), max_examples=20)
        settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


def pytest_configure() -> None:
    """PROOF_PACK_REQUIRE names what no test may be skipped for want of: programs, packages."""
    for name in os.environ.get("PROOF_PACK_REQUIRE", "").split():
        if shutil.which(name) is None and importlib.util.find_spec(name) is None:
            raise pytest.UsageError(f"PROOF_PACK_REQUIRE: expected {name}, got none")
    _same_examples_every_time()
    # In the background of a shell script Ctrl-C is ignored, and by every child as well.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test touches the user's cache, key or URL variables, nor leaves secrets in memory."""
    from stack.secret_place import places_of, remove_place

    monkeypatch.setenv("PROOF_PACK_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PROOF_PACK_CONFIG_DIR", str(tmp_path / "config"))
    for name in ("CONTROL_PLANE_URL", "MEMORY_SERVICE_URL", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    yield
    for _, place in places_of(tmp_path / "cache" / "state"):
        remove_place(place)


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that lives as long as the test run: the reference system's packages stay in it."""
    return tmp_path_factory.mktemp("cache")
