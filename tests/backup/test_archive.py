"""The format: every byte is checked, the same content is the same tar, keys are told apart (G4)."""

from __future__ import annotations

import os
import subprocess
from shutil import which
from typing import TYPE_CHECKING

import pytest
from backup_cases import KEY, Shop, make_uploads
from hypothesis import given
from hypothesis import strategies as st

from backup.archive import Archive
from backup.encryption import CHUNK_BYTES, HEADER_BYTES, EncryptedSource, EncryptingWriter, read_key
from backup.errors import DamagedError
from backup.restore import verify_archive, verify_restored
from common.cli import ConfigurationError, ScriptError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.name == "nt", reason="backups need POSIX")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A system."""
    return Shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def plain(shop: Shop) -> Path:
    """A backup of it."""
    return shop.back_up().path


@pytest.fixture(scope="module")
def encrypted(shop: Shop) -> Path:
    """An encrypted one."""
    return shop.back_up(KEY).path


def verified(path: Path, key: bytes | None = None) -> None:
    """Verify it in full, without the scratch restore."""
    with Archive.open(path, key) as archive:
        verify_archive(archive)


@pytest.mark.parametrize("key", [None, KEY])
def test_a_good_archive_passes(key: bytes | None, plain: Path, encrypted: Path) -> None:
    path = plain if key is None else encrypted
    verified(path, key)
    with Archive.open(path, key) as archive:
        verify_restored(archive)


@pytest.mark.parametrize("key", [None, KEY])
def test_one_flipped_bit_anywhere_is_found(
    key: bytes | None, plain: Path, encrypted: Path, tmp_path: Path
) -> None:
    """Every byte of the ends, and samples of the middle: no section is without."""
    data = (plain if key is None else encrypted).read_bytes()
    ends = {*range(120), *range(len(data) - 120, len(data))}
    bad = tmp_path / "bad"
    for place in sorted(ends | {*range(0, len(data), max(1, len(data) // 120))}):
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        bad.write_bytes(changed)
        with pytest.raises(ScriptError) as problem:
            verified(bad, key)
        assert "\n" not in str(problem.value), place
        with pytest.raises(ScriptError), Archive.open(bad, key) as archive:
            archive.check_bytes()


@pytest.mark.parametrize("key", [None, KEY])
def test_every_cut_and_every_addition_is_found(
    key: bytes | None, plain: Path, encrypted: Path, tmp_path: Path
) -> None:
    data = (plain if key is None else encrypted).read_bytes()
    bad = tmp_path / "bad"
    lengths = {*range(60), *range(len(data) - 60, len(data)), *range(0, len(data), 211)}
    for length in lengths:
        bad.write_bytes(data[:length])
        with pytest.raises(ScriptError):
            verified(bad, key)
    for more in (b"\0", b"x" * 600, data):
        bad.write_bytes(data + more)
        with pytest.raises(ScriptError):
            verified(bad, key)


def test_the_same_content_is_the_same_tar(shop: Shop, tmp_path: Path) -> None:
    first, second = shop.back_up().manifest, shop.back_up(KEY).manifest
    assert first.tar_sha256 == second.tar_sha256
    other = Shop(tmp_path)
    assert other.back_up().manifest.store("uploads").digest == first.store("uploads").digest
    (other.uploads / "nothing").write_text("something")
    assert other.back_up().manifest.store("uploads").digest != first.store("uploads").digest


@pytest.mark.skipif(not (which("zstd") and which("tar")), reason="needs zstd and tar")
def test_zstd_and_tar_open_it_without_our_code(shop: Shop, plain: Path, tmp_path: Path) -> None:
    tar = subprocess.run(["zstd", "-dc", str(plain)], capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", str(tmp_path)], input=tar, check=True)
    wanted = (shop.uploads / "a" / "b" / "one.txt").read_bytes()
    assert (tmp_path / "uploads" / "a" / "b" / "one.txt").read_bytes() == wanted


def test_an_encrypted_archive_shows_nothing(encrypted: Path) -> None:
    data = encrypted.read_bytes()
    assert not any(word in data for word in (b"uploads", b"backup_manifest", b"\x28\xb5\x2f\xfd"))


def test_a_wrong_key_is_told_from_damage(encrypted: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="got another one"):
        verified(encrypted, KEY[::-1])
    with pytest.raises(ConfigurationError, match="--encrypt-key"):
        verified(encrypted)
    data = bytearray(encrypted.read_bytes())
    data[HEADER_BYTES + 5] ^= 1
    (tmp_path / "bad").write_bytes(data)
    with pytest.raises(DamagedError, match="the key is the right one"):
        verified(tmp_path / "bad", KEY)


def test_another_file_is_no_archive(tmp_path: Path) -> None:
    for content in (b"", b"x", b"x" * 1000):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(DamagedError):
            verified(tmp_path / "x")
    (tmp_path / "link").symlink_to(tmp_path / "x")
    for path in (tmp_path, tmp_path / "missing", tmp_path / "link"):
        with pytest.raises(UsageError):
            verified(path)


class Memory:
    """An archive in memory."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = data

    @property
    def size(self) -> int:
        return len(self.data)

    @size.setter
    def size(self, _: int) -> None:
        raise AssertionError

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)

    def read_at(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]


def sealed(content: bytes) -> bytes:
    """Encrypted content."""
    target = Memory()
    writer = EncryptingWriter(target, KEY)
    writer.write(content)
    writer.close()
    return target.data


def opened(data: bytes) -> bytes:
    """Decrypted content."""
    source = EncryptedSource(Memory(data), KEY)
    return source.read_at(0, source.size + 1)


@pytest.mark.parametrize("length", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1])
def test_any_length_comes_out_as_it_went_in(length: int) -> None:
    content = bytes(index % 251 for index in range(length))
    assert opened(sealed(content)) == content


CHUNKS = sealed(bytes(CHUNK_BYTES * 3) + b"end")
STEP = CHUNK_BYTES + 16
HEAD, BODY = CHUNKS[:HEADER_BYTES], [CHUNKS[HEADER_BYTES:][n * STEP :][:STEP] for n in range(4)]
REARRANGED = {
    "the last one dropped": BODY[:3],
    "the first one dropped": BODY[1:],
    "two swapped": [BODY[1], BODY[0], *BODY[2:]],
    "one doubled": [BODY[0], *BODY],
    "the last one only": BODY[3:],
    "none": [],
    "one of another archive": [
        BODY[0],
        sealed(bytes(CHUNK_BYTES * 3))[HEADER_BYTES:][:STEP],
        *BODY[2:],
    ],
}


@pytest.mark.parametrize("name", REARRANGED)
def test_chunks_can_t_be_dropped_moved_doubled_or_mixed(name: str) -> None:
    assert len(opened(HEAD + b"".join(BODY))) == CHUNK_BYTES * 3 + 3
    with pytest.raises(DamagedError):
        opened(HEAD + b"".join(REARRANGED[name]))


@given(st.integers(0, HEADER_BYTES + 40), st.integers(0, 7))
def test_no_bit_of_an_encrypted_file_may_change(place: int, bit: int) -> None:
    data = bytearray(sealed(b"content of some length"))
    data[place % len(data)] ^= 1 << bit
    with pytest.raises((DamagedError, ConfigurationError)):
        opened(bytes(data))


def test_two_archives_never_share_a_key_and_a_nonce() -> None:
    assert sealed(b"same")[:HEADER_BYTES] != sealed(b"same")[:HEADER_BYTES]
    assert sealed(b"same")[HEADER_BYTES:] != sealed(b"same")[HEADER_BYTES:]


def test_a_key_is_long_and_its_owner_s(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(KEY)
    path.chmod(0o640)
    with pytest.raises(ConfigurationError, match="mode 0600, got 0640"):
        read_key(path)
    path.chmod(0o600)
    assert read_key(path) == KEY
    path.write_bytes(KEY[:31])
    with pytest.raises(ConfigurationError, match="at least 32 random bytes, got 31"):
        read_key(path)
    for other in (tmp_path / "missing", tmp_path):
        with pytest.raises(ConfigurationError, match="--encrypt-key"):
            read_key(other)


def test_every_entry_comes_back_with_its_mode(shop: Shop, plain: Path, tmp_path: Path) -> None:
    from backup.restore import restore_into
    from backup.snapshot import entries_of

    (shop.uploads / "a" / "run.sh").chmod(0o750)
    with Archive.open(plain) as archive:
        restore_into(archive, tmp_path / "into", archive.manifest.stores)
    found, _ = entries_of(tmp_path / "into" / "uploads", "uploads")
    wanted, _ = entries_of(make_uploads(tmp_path / "same"), "uploads")
    assert found == wanted
    assert (tmp_path / "into/orders/orders.db").stat().st_mode & 0o777 == 0o600
