"""A verified bundle, changed in one way at a time: verification says no, and says why."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from bundles import KeyPair, make_bundle, make_key, rebuild_manifest, sign_manifest

from evidence.manifest import MANIFEST, SIGNATURE
from evidence.public_key import PublicKey, load_public_key
from evidence.verify import verify_bundle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Signed:
    """A bundle, and the key that it was signed with."""

    bundle: Path
    pair: KeyPair
    key: PublicKey

    def refusals(self) -> list[str]:
        """What speaks against the bundle."""
        return verify_bundle(self.bundle, self.key).refusals


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Signed:
    folder = tmp_path_factory.mktemp("original")
    pair = make_key(folder)
    return Signed(make_bundle(folder / "runs", pair.signer), pair, load_public_key(pair.public))


@pytest.fixture
def copy(original: Signed, tmp_path: Path) -> Signed:
    bundle = tmp_path / original.bundle.name
    shutil.copytree(original.bundle, bundle)
    signed = Signed(bundle, original.pair, original.key)
    assert signed.refusals() == []
    return signed


@pytest.mark.parametrize("name", ["extra.txt", "logs/extra.txt", "new/extra.txt"])
def test_adding_a_file_anywhere_is_refused(copy: Signed, name: str) -> None:
    path = copy.bundle / "evidence" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")
    assert any("extra" in line for line in copy.refusals())


def test_removing_any_one_file_is_refused(original: Signed, tmp_path: Path) -> None:
    files = [path for path in original.bundle.rglob("*") if path.is_file()]
    assert len(files) > 8
    for number, path in enumerate(files):
        bundle = tmp_path / str(number)
        shutil.copytree(original.bundle, bundle)
        (bundle / path.relative_to(original.bundle)).unlink()
        assert verify_bundle(bundle, original.key).refusals, path.name


def test_swapping_the_content_of_two_files_is_refused(copy: Signed) -> None:
    one, two = (copy.bundle / "evidence" / name for name in ("executor_logs.txt", "empty.txt"))
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    assert len([line for line in copy.refusals() if "changed" in line]) == 2


LINES: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "reversed": lambda lines: lines[::-1],
    "first two swapped": lambda lines: [lines[1], lines[0], *lines[2:]],
    "one twice": lambda lines: sorted([*lines, lines[0]]),
    "one left out": lambda lines: lines[1:],
}


@pytest.mark.parametrize("name", LINES)
def test_the_lines_of_a_manifest_have_one_order(copy: Signed, name: str) -> None:
    """Signed again by the right key: what is refused is the manifest itself."""
    path = copy.bundle / MANIFEST
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(LINES[name](lines)))
    sign_manifest(copy.bundle, copy.pair.signer)
    refused = copy.refusals()
    assert not any(line.startswith("signature") for line in refused)
    assert refused


def test_a_new_manifest_of_the_same_files_changes_nothing(copy: Signed) -> None:
    before = (copy.bundle / MANIFEST).read_bytes()
    rebuild_manifest(copy.bundle)
    assert (copy.bundle / MANIFEST).read_bytes() == before
    assert copy.refusals() == []


def test_another_folder_name_and_place_change_nothing(copy: Signed, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "from-the-founder"
    shutil.copytree(copy.bundle, moved)
    assert verify_bundle(moved, copy.key).refusals == []


def test_a_refusal_stays_when_more_is_broken(copy: Signed) -> None:
    """A second fault never hides the first."""
    (copy.bundle / "evidence/executor_logs.txt").write_bytes(b"other")
    before = copy.refusals()
    (copy.bundle / SIGNATURE).write_bytes(b"")
    assert set(before) < set(copy.refusals())
