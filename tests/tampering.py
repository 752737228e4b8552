"""The steps of the tamper cases: `tests/evidence/tamper/<case>/case.yaml` names them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import bundles

from evidence.attestation import ATTESTATION
from evidence.manifest import MANIFEST

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bundles import KeyPair


SUMMARY = "evidence/run_summary.json"


class Tampering:
    """Does to a bundle what a case says.

    Args:
        bundle: the sealed folder.
        keys: by name: signer, other, ed25519.
        other_bundle: a second one of the same signer.
    """

    def __init__(self, bundle: Path, keys: dict[str, KeyPair], other_bundle: Path) -> None:
        """Take the bundle as it is."""
        self.bundle = bundle
        self.keys = keys
        self.other_bundle = other_bundle

    def do(self, step: dict[str, Any]) -> None:
        """One step: a single key, the name of a method below, with its arguments."""
        ((name, arguments),) = step.items()
        method: Callable[..., None] = getattr(self, f"do_{name}")
        method(**arguments)

    def do_flip_byte(self, file: str) -> None:
        path = self.bundle / file
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(bytes(data))

    def do_replace(self, file: str, old: str, new: str) -> None:
        path = self.bundle / file
        data = path.read_bytes()
        assert old.encode() in data, f"the case is broken: no {old!r} in {file}"
        path.write_bytes(data.replace(old.encode(), new.encode(), 1))

    def do_replace_all(self, file: str, old: str, new: str) -> None:
        path = self.bundle / file
        path.write_bytes(path.read_bytes().replace(old.encode(), new.encode()))

    def do_set(self, file: str, values: dict[str, Any]) -> None:
        """Set values in a JSON file; `a/0/b` is the key b of the first item of a."""
        document = json.loads((self.bundle / file).read_bytes())
        for path, value in values.items():
            where: Any = document
            *parents, last = (int(part) if part.isdigit() else part for part in path.split("/"))
            for part in parents:
                where = where[part]
            where[last] = value
        text = json.dumps(document, indent=2, sort_keys=True, allow_nan=False)
        (self.bundle / file).write_text(text + "\n", encoding="utf-8", newline="\n")

    def do_last_event(self, values: dict[str, Any] | None = None) -> None:
        """Change the trace's last event, or drop it; the summary names the new head."""
        path = self.bundle / "evidence" / "trace.jsonl"
        lines = path.read_bytes().splitlines(keepends=True)
        last = json.loads(lines.pop())
        if values is not None:
            lines.append(json.dumps(last | values).encode() + b"\n")
        path.write_bytes(b"".join(lines))
        head = hashlib.sha256(lines[-1]).hexdigest()
        self.do_set(SUMMARY, {"trace/head": head, "trace/count": len(lines)})

    def do_encode(self, file: str, encoding: str) -> None:
        path = self.bundle / file
        path.write_bytes(path.read_text("utf-8").encode(encoding))

    def do_reformat(self, file: str) -> None:
        path = self.bundle / file
        path.write_text(json.dumps(json.loads(path.read_bytes())), encoding="utf-8")

    def do_zeros(self, file: str, size_bytes: int) -> None:
        with (self.bundle / file).open("wb") as stream:
            stream.truncate(size_bytes)

    def do_append(self, file: str, text: str) -> None:
        with (self.bundle / file).open("ab") as stream:
            stream.write(text.encode())

    def do_write(self, file: str, text: str) -> None:
        path = self.bundle / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())

    def do_drop_line(self, file: str, number: int) -> None:
        path = self.bundle / file
        lines = path.read_bytes().splitlines(keepends=True)
        del lines[number]
        path.write_bytes(b"".join(lines))

    def do_repeat_line(self, file: str, number: int) -> None:
        path = self.bundle / file
        lines = path.read_bytes().splitlines(keepends=True)
        lines.insert(number, lines[number])
        path.write_bytes(b"".join(lines))

    def do_add_sorted_line(self, line: str) -> None:
        path = self.bundle / MANIFEST
        lines = [*path.read_bytes().splitlines(keepends=True), line.encode() + b"\n"]
        path.write_bytes(b"".join(sorted(lines)))

    def do_swap_lines(self, file: str, first: int, second: int) -> None:
        path = self.bundle / file
        lines = path.read_bytes().splitlines(keepends=True)
        lines[first], lines[second] = lines[second], lines[first]
        path.write_bytes(b"".join(lines))

    def do_remove(self, file: str) -> None:
        path = self.bundle / file
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()

    def do_rename(self, file: str, to: str) -> None:
        (self.bundle / file).rename(self.bundle / to)

    def do_folder(self, file: str) -> None:
        (self.bundle / file).mkdir()

    def do_link(self, file: str) -> None:
        path = self.bundle / file
        outside = self.bundle.parent / "outside"
        path.rename(outside)
        path.symlink_to(outside)

    def do_fifo(self, file: str) -> None:
        path = self.bundle / file
        path.unlink(missing_ok=True)
        os.mkfifo(path)

    def do_take(self, file: str) -> None:
        shutil.copyfile(self.other_bundle / file, self.bundle / file)

    def do_sign(self, key: str) -> None:
        bundles.sign_manifest(self.bundle, self.keys[key].signer)

    def do_attest(self, key: str, predicate: dict[str, Any] | None = None) -> None:
        bundles.attest_again(self.bundle, self.keys[key].signer, predicate)

    def do_seal(self, key: str) -> None:
        bundles.seal_again(self.bundle, self.keys[key].signer)

    def do_swap_attestation(self) -> None:
        shutil.copyfile(self.other_bundle / ATTESTATION, self.bundle / ATTESTATION)
