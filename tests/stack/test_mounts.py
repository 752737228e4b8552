"""stack.compose.mounts: where a container's path is here, and that nothing else is taken for it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from stack.compose.mounts import mounted_at

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def engine(mounts: list[dict[str, str]], *, local: bool = True) -> Any:
    """As much of an engine as is asked."""
    found = {"Mounts": mounts}
    api = SimpleNamespace(inspect_container=lambda _identity: found)
    return SimpleNamespace(endpoint=SimpleNamespace(local=local), api=api)


def test_the_deepest_mount_has_the_path(tmp_path: Path) -> None:
    for name in ("outer", "inner/below"):
        (tmp_path / name).mkdir(parents=True)
    mounts = [
        {"Destination": "/state", "Source": str(tmp_path / "outer")},
        {"Destination": "/state/inner", "Source": str(tmp_path / "inner")},
    ]
    found = mounted_at(engine(mounts), "id", "/state/inner/below")
    assert found == str(tmp_path / "inner/below")
    assert mounted_at(engine(mounts), "id", "/state/new") == str(tmp_path / "outer/new")


def test_what_is_no_mount_or_not_here_can_not_be_seen(tmp_path: Path) -> None:
    mounts = [{"Destination": "/state", "Source": str(tmp_path)}]
    assert mounted_at(engine(mounts), "id", "/statement") is None
    assert mounted_at(engine(mounts), "id", "/etc/passwd") is None
    assert mounted_at(engine(mounts, local=False), "id", "/state") is None
    gone = [{"Destination": "/state", "Source": str(tmp_path / "none/at/all")}]
    assert mounted_at(engine(gone), "id", "/state/a") is None


def test_a_folder_that_only_root_may_enter_is_not_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docker's own folder, for whoever is in its group: no traceback."""

    def refuse(path: Path) -> bool:
        raise PermissionError(13, "permission denied", str(path))

    mounts = [{"Destination": "/state", "Source": str(tmp_path)}]
    with monkeypatch.context() as patched:
        patched.setattr(type(tmp_path), "is_dir", refuse)
        assert mounted_at(engine(mounts), "id", "/state/a") is None
