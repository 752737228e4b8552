# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "docker",
#     "rfc8785",
# ]
# ///
"""Prove that two images have the same content: every file, and what their containers start with.

Compares path, kind, mode, owner, size, SHA-256, link target and extended attributes of the
flattened file systems, and the settings; not the times, which say when it was built.
Exit 0 the same, 1 different, 2 nothing to compare.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from common.cli import Exit, make_parser, positive_int, run

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from images.content import ImageContent

EXAMPLES = (
    "python scripts/compare_images.py proof-pack/reference:local registry.example/reference:1",
    "python scripts/compare_images.py --json first second",
)
EXPORT_SECONDS = 600


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, EXAMPLES)
    parser.add_argument("first", metavar="IMAGE_A")
    parser.add_argument("second", metavar="IMAGE_B")
    parser.add_argument(
        "--show", type=positive_int, default=20, metavar="N", help="differences to list (20)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> Exit:
    """Compare and say so."""
    options = parse(argv)
    from images.content import differences, read_image
    from stack.compose.engine import connect

    engine = connect(os.environ, EXPORT_SECONDS)
    try:
        first, second = (read_image(engine, name) for name in (options.first, options.second))
    finally:
        engine.close()
    found = differences(first, second)
    verdict = judge(first, second, found)
    shown = found[: options.show]
    if options.json:
        print(json.dumps(facts(first, second, found, shown, verdict), indent=2, sort_keys=True))
    else:
        show(first, second, found, shown, verdict)
    return verdict


def judge(first: ImageContent, second: ImageContent, found: Sequence[str]) -> Exit:
    """Two empty file systems are the same, but nothing was compared."""
    files = first.size_bytes() + second.size_bytes()  # the engine adds a few empty ones itself
    if found:
        return Exit.FAILED
    return Exit.PASSED if files else Exit.INCONCLUSIVE


def facts(
    first: ImageContent,
    second: ImageContent,
    found: Sequence[str],
    shown: Sequence[str],
    verdict: Exit,
) -> dict[str, object]:
    """The result for a machine."""
    return {
        "verdict": verdict.name.lower(),
        "images": [described(image) for image in (first, second)],
        "differences": len(found),
        "first_differences": list(shown),
    }


def described(image: ImageContent) -> dict[str, object]:
    """One image in figures."""
    return {
        "reference": image.reference,
        "id": image.image_id,
        "content_sha256": image.digest(),
        "entries": len(image.entries),
        "size_bytes": image.size_bytes(),
    }


def show(
    first: ImageContent,
    second: ImageContent,
    found: Sequence[str],
    shown: Sequence[str],
    verdict: Exit,
) -> None:
    """The result for people."""
    for image in (first, second):
        size = f"{len(image.entries)} entries, {image.size_bytes() / 1e6:.1f} MB"
        print(f"{image.reference}: {size}, content sha256 {image.digest()}")
    for line in shown:
        print(f"  {line}")
    if len(found) > len(shown):
        print(f"  and {len(found) - len(shown)} more (--show N)")
    texts = {Exit.PASSED: "the same content", Exit.FAILED: f"{len(found)} differences"}
    print(texts.get(verdict, "inconclusive: neither image holds a file"))


if __name__ == "__main__":
    run(main)
