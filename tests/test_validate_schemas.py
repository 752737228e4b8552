"""validate_schemas.py: a broken schema or data file is found, and nothing passes on nothing."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import validate_schemas

from common.cli import Exit
from common.options import ROOT

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The schemas and data files of this checkout."""
    shutil.copytree(ROOT / "schemas", tmp_path / "schemas")
    named = ("compose/**/compose*.yaml", "compose/**/requirements.txt", "compose/**/Dockerfile")
    for pattern in (*(pattern for pattern, _ in validate_schemas.DATA), *named):
        for path in ROOT.glob(pattern):
            target = tmp_path / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    return tmp_path


def test_the_schemas_and_data_files_of_this_checkout_fit(checkout: Path) -> None:
    assert validate_schemas.main(["--root", str(checkout)]) == Exit.PASSED


def test_a_changed_contract_without_a_new_version_is_named(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """G7: the boot contract changes only with its version."""
    (path,) = checkout.glob("compose/reference/stack.yaml")
    path.write_text(path.read_text("utf-8").replace("description: Six", "description: 6"), "utf-8")
    assert validate_schemas.main(["--root", str(checkout)]) == Exit.FAILED
    assert "the contract has changed without a higher version" in capsys.readouterr().out


def test_a_stack_without_a_locked_contract_is_named(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = checkout / "compose/other"
    shutil.copytree(checkout / "compose/reference", other)
    (other / "contract.lock.yaml").unlink()
    assert validate_schemas.main(["--root", str(checkout)]) == Exit.FAILED
    assert f"{other / 'contract.lock.yaml'}: expected a contract lock" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"type": "objekt"}, "no JSON Schema"),
        ({"$id": "other.schema.json"}, "expected the $id gate.schema.json"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "expected the $schema"),
        ({"allOf": [{"$ref": "#/$defs/none"}]}, "expected $ref #/$defs/none to lead"),
        ({"allOf": [{"$ref": "none.schema.json"}]}, "expected $ref none.schema.json to lead"),
    ],
)
def test_a_broken_schema_is_named(
    checkout: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], says: str
) -> None:
    path = checkout / "schemas/gate.schema.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | change))
    assert validate_schemas.main(["--root", str(checkout)]) == Exit.FAILED
    out = capsys.readouterr().out
    assert f"{path}: " in out
    assert says in out


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1, "a": 2}'])
def test_what_is_no_schema_at_all_is_named(
    checkout: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    path = checkout / "schemas/broken.schema.json"
    path.write_text(text)
    assert validate_schemas.main(["--root", str(checkout)]) == Exit.FAILED
    assert str(path) in capsys.readouterr().out


@pytest.mark.parametrize(("pattern", "_schema"), validate_schemas.DATA)
def test_a_broken_data_file_is_named(
    checkout: Path, capsys: pytest.CaptureFixture[str], pattern: str, _schema: str
) -> None:
    path = min(checkout.glob(pattern))
    path.write_text(f"colour: red\n{path.read_text('utf-8')}")
    assert validate_schemas.main(["--root", str(checkout)]) == Exit.FAILED
    assert f"{path}:1: top level: unknown key 'colour'" in capsys.readouterr().out


def test_no_schema_and_no_data_file_is_no_pass(tmp_path: Path) -> None:
    assert validate_schemas.main(["--root", str(tmp_path)]) == Exit.FAILED
