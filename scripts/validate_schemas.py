# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "jsonschema",
#     "psutil",
#     "pyyaml",
#     "requests",
#     "rfc8785",
#     "urllib3",
# ]
# ///
"""Check every schema against JSON Schema 2020-12, every data file against its schema, and every
stack file and the gates against the contract that is locked beside it (G7).

Writes nothing. Exit codes: 0 all fit, 1 one does not.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.cli import ConfigurationError, Exit, ScriptError, make_parser, run
from common.options import ROOT

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

# Which schema a data file has to fit: patterns below the checkout.
DATA = (
    ("scripts/gates/*.yaml", "gate"),
    ("scripts/rules/licences.yaml", "licences"),
    ("scripts/rules/mutation.yaml", "mutation"),
    ("scripts/rules/secret_words.yaml", "secret_words"),
    ("scripts/rules/waivers.yaml", "waivers"),
    ("compose/**/stack.yaml", "stack"),
    ("compose/**/security/*.yaml", "security_corpus"),
    ("compose/**/contract.lock.yaml", "contract"),
)
# A keyword below which the keys are names of somebody, not keywords.
_NAMES = {"properties", "$defs", "patternProperties"}
EXAMPLES = ("nox -s schema", "python scripts/validate_schemas.py --root /path/to/checkout")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, EXAMPLES)
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout (default: this one)")
    return parser.parse_args(argv)


def check_schema(path: Path) -> list[str]:
    """What is wrong with one schema.

    Beside the standard: its `$id` is its file name, and each `$ref` leads somewhere.
    """
    from common.documents import read_json

    try:
        schema = read_json(path).value
    except ConfigurationError as problem:
        return [str(problem)]
    if not isinstance(schema, dict):
        return [f"{path}: expected an object, got {type(schema).__name__}"]
    return [f"{path}: {problem}" for problem in _schema_problems(schema, path)]


def _schema_problems(schema: dict[str, Any], path: Path) -> Iterator[str]:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    dialect = Draft202012Validator.META_SCHEMA["$id"]
    if schema.get("$schema") != dialect:
        yield f"expected the $schema {dialect}, got {schema.get('$schema')}"
    if schema.get("$id") != path.name:
        yield f"expected the $id {path.name}, got {schema.get('$id')}"
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as problem:
        where = "/".join(map(str, problem.absolute_path)) or "top level"
        yield f"no JSON Schema: {where}: {problem.message}"
        return
    yield from _references(schema, schema, path)


def _references(part: object, whole: dict[str, Any], path: Path) -> Iterator[str]:
    if isinstance(part, list):
        for item in part:
            yield from _references(item, whole, path)
    if not isinstance(part, dict):
        return
    if isinstance(part.get("$ref"), str) and not _leads_somewhere(part["$ref"], whole, path):
        yield f"expected $ref {part['$ref']} to lead to a schema, got nothing"
    for key, value in part.items():
        members = value.values() if key in _NAMES and isinstance(value, dict) else [value]
        for member in members:
            yield from _references(member, whole, path)


def _leads_somewhere(reference: str, whole: dict[str, Any], path: Path) -> bool:
    file, _, fragment = reference.partition("#")
    target: Any = whole
    if file:
        sibling = path.with_name(file)
        if not sibling.is_file():
            return False
        target = json.loads(sibling.read_text("utf-8"))
    for step in fragment.strip("/").split("/") if fragment else ():
        target = target.get(step) if isinstance(target, dict) else None
    return isinstance(target, (dict, bool))


def check_data(root: Path) -> tuple[int, list[str]]:
    """How many data files there are, and what is wrong with them."""
    from common.documents import read_yaml
    from common.schema import check

    count, problems = 0, []
    for pattern, name in DATA:
        paths = sorted(root.glob(pattern))
        count += len(paths)
        if not paths:
            problems.append(f"{root / pattern}: expected at least one file, got none")
        for path in paths:
            try:
                check(read_yaml(path), name)
            except ConfigurationError as problem:
                problems.append(str(problem))
    return count, problems


def check_contracts(root: Path) -> list[str]:
    """What is wrong with the locked contracts; a stack file without one is."""
    from gating.contract import check_contract, lock_path_of
    from stack.load import load_stack

    problems = []
    for path in sorted(root.glob("compose/**/stack.yaml")):
        try:
            stack = load_stack(path, {})
            check_contract(stack, lock_path_of(stack))
        except ScriptError as problem:
            problems.append(str(problem))
    return problems


def main(argv: Sequence[str] | None = None) -> Exit:
    """Check all of them, say each problem in one line."""
    root = parse(argv).root
    schemas = sorted((root / "schemas").glob("*.json"))
    problems = [line for path in schemas for line in check_schema(path)]
    if not schemas:
        problems.append(f"{root / 'schemas'}: expected schemas, got none")
    count, wrong = check_data(root)
    problems += wrong or check_contracts(root)
    print(
        *problems, f"{len(schemas)} schemas, {count} data files, {len(problems)} problems", sep="\n"
    )
    return Exit.FAILED if problems else Exit.PASSED


if __name__ == "__main__":
    run(main)
