"""Hash every file of a folder: as many processes for small files as pay, threads for large ones."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import stat
import struct
import sys
import threading
from typing import TYPE_CHECKING

from common.cli import ScriptError
from common.hashing import BLOCK_BYTES, open_unfollowed, sha256_file
from evidence.files import shown, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from typing import Self

_FORK_FILES = 256
_CHUNK_FILES = 64
_TOKEN = struct.Struct("<H")
_MOST_TOKENS = 30_000  # all of them fit into one pipe
# Minutes of reading: a sparse file of any length costs whoever adds it nothing.
LIMIT_BYTES = 256 << 30
_DIGEST_BYTES = 32
_NO_DIGEST = bytes(_DIGEST_BYTES)
# A copy of this costs less than a new one: OpenSSL looks the algorithm up only once.
_EMPTY = hashlib.sha256()


class TreeHashing:
    """The digests of a folder in the making; start it early, `finish` it late.

    As a context it ends the second process where an error keeps it from being finished.

    For files of a few KiB the interpreter lock costs more than a second thread gains, so
    a forked process works on them at once, while the caller still loads its modules. Both
    take chunks from one pipe until none is left. Large files hash in threads, without the
    lock. What the other process does not answer for, a kill for one, is hashed again here.
    """

    def __init__(self, root: str) -> None:
        """List `root` and start hashing it.

        Raises:
            OSError: `root` can't be listed.
        """
        self.root = root
        self.files, self.problems = walk(root)
        self._chunk = max(_CHUNK_FILES, -(-len(self.files) // _MOST_TOKENS))
        self._tokens, self._answers, self._child = -1, -1, 0
        # On macOS a fork without exec is not safe, and Windows has none.
        fork = sys.platform == "linux" and (os.cpu_count() or 1) > 1
        if fork and len(self.files) >= _FORK_FILES:
            self._fork()

    def __enter__(self) -> Self:
        """Use as a context; leaving it closes it."""
        return self

    def __exit__(self, *_problem: object) -> None:
        """End what `finish` did not."""
        self.close()

    def close(self) -> None:
        """End the second process, where there still is one; after `finish` it does nothing."""
        child, self._child = self._child, 0
        if child:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        for handle in (self._answers, self._tokens):
            if handle >= 0:
                os.close(handle)
        self._answers, self._tokens = -1, -1

    def finish(
        self, named: Callable[[], Collection[str]] | None = None
    ) -> tuple[dict[str, str], list[str]]:
        """Hash what is left.

        Args:
            named: the paths that are expected. Asked only where there are large files:
                one that is not expected is refused without being read.

        Returns:
            The hex digest by path, and one line for each file that is not to be there or
            could not be hashed.
        """
        digests: dict[str, str] = {}
        for paths in self._chunks():
            _hash_small(self.root, paths, digests)
        if self._child:
            self._collect(digests)
        rest = [path for path in self.files if path not in digests]
        problems = [*self.problems]
        rest = _worth_reading(self.root, rest, named, problems) if rest else rest
        count = min(len(rest), os.cpu_count() or 2)
        _in_threads(_hash_rest, [(self.root, rest, digests, problems)] * count)
        return digests, problems

    def _chunks(self) -> Iterator[Sequence[str]]:
        if not self._child and self._tokens < 0:
            yield self.files
            return
        # Both processes read here: a token goes to one of them, and none to anyone at the end.
        while token := os.read(self._tokens, _TOKEN.size):
            start = _TOKEN.unpack(token)[0] * self._chunk
            yield self.files[start : start + self._chunk]

    def _fork(self) -> None:
        self._tokens, tokens = os.pipe()
        count = -(-len(self.files) // self._chunk)
        os.write(tokens, b"".join(map(_TOKEN.pack, range(count))))
        os.close(tokens)
        self._answers, answers = os.pipe()
        self._child = os.fork()
        if self._child == 0:
            status = 1
            try:
                os.close(self._answers)
                self._answer(answers)
                status = 0
            finally:
                os._exit(status)
        os.close(answers)

    def _answer(self, answers: int) -> None:
        """In the child: hash chunks, and write path number and digest of each file at the end."""
        numbers = {path: number for number, path in enumerate(self.files)}
        data = bytearray()
        for paths in self._chunks():
            for path in paths:
                digest = _hash_at_once(f"{self.root}/{path}")
                data += numbers[path].to_bytes(8, "little") + (digest or _NO_DIGEST)
        with os.fdopen(answers, "wb") as stream:
            stream.write(data)

    def _collect(self, digests: dict[str, str]) -> None:
        with os.fdopen(self._answers, "rb") as stream:
            self._answers = -1
            data = stream.read()
        os.close(self._tokens)
        child, self._child, self._tokens = self._child, 0, -1
        os.waitpid(child, 0)
        row = 8 + _DIGEST_BYTES
        for start in range(0, len(data) - row + 1, row):
            digest = data[start + 8 : start + row]
            if digest != _NO_DIGEST:
                digests[self.files[int.from_bytes(data[start : start + 8], "little")]] = (
                    digest.hex()
                )


def hash_tree(root: str) -> tuple[dict[str, str], list[str]]:
    """The hex digest of every file below `root`, and a line for each that has none.

    Raises:
        OSError: `root` can't be listed.
    """
    return TreeHashing(root).finish()


def _hash_small(root: str, paths: Sequence[str], digests: dict[str, str]) -> None:
    """Hash what is small, regular and readable; everything else is left out."""
    for path in paths:
        digest = _hash_at_once(f"{root}/{path}")
        if digest is not None:
            digests[path] = digest.hex()


def _hash_at_once(path: str) -> bytes | None:
    try:
        handle = open_unfollowed(path)
    except OSError:
        return None
    try:
        status = os.fstat(handle)
        size = status.st_size
        if size > BLOCK_BYTES or not stat.S_ISREG(status.st_mode):
            return None
        # One byte more than expected: a file that grew meanwhile is not hashed in part.
        data = os.read(handle, size + 1)
    except OSError:
        return None
    finally:
        os.close(handle)
    if len(data) != size:
        return None
    digest = _EMPTY.copy()
    digest.update(data)
    return digest.digest()


def _worth_reading(
    root: str,
    paths: list[str],
    named: Callable[[], Collection[str]] | None,
    problems: list[str],
) -> list[str]:
    """The large files that are expected, unless they are too large together."""
    if named is not None:
        wanted = named()
        extra = [path for path in paths if path not in wanted]
        problems += [f"expected no such file, got {shown(path)}: extra" for path in sorted(extra)]
        paths = [path for path in paths if path in wanted]
    size_bytes = 0
    for path in paths:
        with contextlib.suppress(OSError):  # it is opened, and then named, later
            size_bytes += os.lstat(f"{root}/{path}").st_size
    if size_bytes <= LIMIT_BYTES:
        return paths
    problems.append(
        f"expected at most {LIMIT_BYTES} bytes in large files, got {size_bytes}: not read"
    )
    return []


def _hash_rest(root: str, queue: list[str], digests: dict[str, str], problems: list[str]) -> None:
    while True:
        try:
            path = queue.pop()
        except IndexError:
            return
        try:
            digests[path] = sha256_file(f"{root}/{path}")
        except OSError as problem:
            reason = (problem.strerror or str(problem)).lower()
            problems.append(f"{shown(path)}: expected a readable file, got: {reason}")
        except ScriptError as problem:
            problems.append(f"{shown(path)}: {problem}")


def _in_threads(work: Callable[..., None], arguments: Sequence[tuple[object, ...]]) -> None:
    # list.pop and append and dict assignment are atomic: the work needs no lock.
    others = [threading.Thread(target=work, args=each) for each in arguments[1:]]
    for other in others:
        other.start()
    for each in arguments[:1]:
        work(*each)
    for other in others:
        other.join()
