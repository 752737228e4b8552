"""A small tree with secrets of every rule, made up when a test runs; labels beside it."""

from __future__ import annotations

import base64
import gzip
import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import yaml
from made_secrets import Maker

EXAMPLES_FILE = Path(__file__).with_name("secret_scan") / "rule_examples.yaml"
# Short made-up parts ("{d:3}") stand in other texts as well.
_SHORTEST_SECRET = 12


def examples() -> dict[str, Any]:
    """The examples of each rule."""
    loaded: dict[str, Any] = yaml.load(EXAMPLES_FILE.read_text("utf-8"), yaml.BaseLoader)  # noqa: S506 - BaseLoader makes texts only
    return loaded


def write_tree(folder: Path, seed: int = 1) -> set[str]:
    """Write a file for each rule, and some packed and encoded ones; returns what is secret."""
    maker, texts = Maker(seed), {}
    for rule, one in examples().items():
        name = one.get("path", f"{rule}/deploy.conf")
        lines = [f"# {rule}", *(maker.fill(template) for template in one["yes"]), "done", ""]
        texts[name] = "\n".join(lines)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(texts[name], "utf-8")
    token = maker.fill("token=ghp_{an:36}\n")
    write_packed(folder, token)
    return {text for text in maker.made if len(text) >= _SHORTEST_SECRET}


def write_packed(folder: Path, text: str) -> None:
    """The same text in every wrapping that is read."""
    data = text.encode()
    (folder / "wide.txt").write_bytes(text.encode("utf-16"))
    (folder / "encoded.yaml").write_text(f"data: {base64.b64encode(data).decode()}\n")
    (folder / "dump.hex").write_text(data.hex())
    (folder / "app.log.gz").write_bytes(gzip.compress(data))
    (folder / "site.zip").write_bytes(zipped({"in/side.env": data}))
    (folder / "all.tar.gz").write_bytes(gzip.compress(tarred({"a/side.env": data})))
    nested = zipped({"inner.tar": tarred({"deep.env": data})})
    (folder / "nested.zip").write_bytes(nested)


def zipped(files: dict[str, bytes]) -> bytes:
    """A zip of these files."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return memory.getvalue()


def tarred(files: dict[str, bytes], kind: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of these files."""
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w", format=kind) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return memory.getvalue()
