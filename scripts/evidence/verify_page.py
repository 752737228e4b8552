"""VERIFY.md: the commands for one bundle. It is not signed, so the verifier writes it again."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from evidence.attestation import PREDICATE_TYPE

if TYPE_CHECKING:
    from evidence.claims import Claims
    from evidence.keys import SigningKey
    from evidence.public_key import PublicKey

VERIFY_PAGE = "VERIFY.md"
_TEMPLATE = Path(__file__).resolve().parent / "templates" / "VERIFY.md.j2"
_FIELD = re.compile(r"\{\{ ([a-z_]+) \}\}")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|!&])")


def signature_command(
    algorithm: str, name: str = "sha256_manifest.txt", public: str = "KEY.pub"
) -> str:
    """The openssl command that checks `<name>.sig` for this type of key."""
    if algorithm == "ed25519":
        return (
            f"openssl pkeyutl -verify -pubin -inkey {public} -rawin -in {name} -sigfile {name}.sig"
        )
    return f"openssl dgst -sha256 -verify {public} -signature {name}.sig {name}"


def verification_commands(bundle: Path, key: SigningKey) -> list[str]:
    """The two commands for one bundle, with real paths: they run as they are printed."""
    folder = shlex.quote(str(bundle))
    public = shlex.quote(str(key.public_path.absolute() if key.public_path else "KEY.pub"))
    manifest = f"{folder}/sha256_manifest.txt"
    return [
        signature_command(key.public.algorithm, manifest, public),
        "(cd " + folder + "/evidence && { find . ! -type d ! -type f; "
        "find . -type f -exec sha256sum {} +; }) | LC_ALL=C sort | diff - " + manifest,
    ]


def variables(claims: Claims, key: PublicKey, summary_name: str) -> dict[str, str]:
    """What the template fills in; nothing in it can carry Markdown of others."""
    headline = " ".join(claims.headline.split())
    return {
        "run_id": claims.run_id,
        "headline": _MARKDOWN.sub(r"\\\1", headline),
        "summary_name": summary_name,
        "keyid": key.keyid,
        "signature_command": signature_command(key.algorithm),
        "predicate_type": PREDICATE_TYPE,
        "commit_option": f" --commit {claims.clean_commit}" if claims.clean_commit else "",
    }


def render(claims: Claims, key: PublicKey, summary_name: str) -> bytes:
    """The bytes of VERIFY.md.

    The template has fields only, filled in here rather than by jinja2, whose import
    would cost the verifier more than hashing a bundle; a test holds both to one result.
    """
    values = variables(claims, key, summary_name)
    template = _TEMPLATE.read_bytes().decode("utf-8")
    text = _FIELD.sub(lambda match: values[match[1]], template)
    return text.encode("utf-8", "backslashreplace")
