"""scripts/fuzz_endpoints.py: wrong answers are found, and what was not reached is said."""

from __future__ import annotations

import json
import random
import re
from typing import TYPE_CHECKING, Any

import fuzz_endpoints
import pytest
from fakes.attacked import HERE, attacked_value, write_attacked
from hypothesis import given
from hypothesis import strategies as st

from common.cli import ConfigurationError, Exit
from security.openapi import Document, Maker

if TYPE_CHECKING:
    from pathlib import Path


class Ran:
    """A run of the script, and what it sealed."""

    def __init__(self, stack_file: Path, *options: str) -> None:
        output = stack_file.parent / "out"
        where = ["--stack", str(stack_file), "--output-dir", str(output)]
        self.code = fuzz_endpoints.main([*(options or ("--requests", "12")), *where])
        (bundle,) = output.iterdir()
        (path,) = bundle.glob("evidence/gate3-summary-*.json")
        self.summary: dict[str, Any] = json.loads(path.read_text())
        self.figures = self.summary["measured"].get("fuzzing", {})
        self.failed = {row["id"] for row in self.summary["criteria"] if row["outcome"] == "failed"}
        rows = bundle / "evidence/fuzzing_results.json"
        found = json.loads(rows.read_text())["operations"] if rows.exists() else []
        self.rows = {row["operation"]: row for row in found}


def fuzzed(folder: Path, off: str = "", fault: str = "", **fuzz: Any) -> Ran:
    value = attacked_value(off, fault)
    value["security"]["fuzz"] |= {
        "bodies": {"front POST /read": {"path": "good.txt"}, **fuzz.pop("bodies", {})},
        **fuzz,
    }
    value["security"]["fuzz"]["parameters"] = {
        "made": {
            "service": "front",
            "method": "POST",
            "path": "/write",
            "as": "client",
            "body": {"path": "good.txt", "content": "good"},
            "pointer": "/written",
        }
    }
    value["security"]["fuzz"]["bodies"]["front POST /read"]["made"] = "{made}"
    return Ran(write_attacked(folder, value=value))


def test_a_system_without_faults_passes_and_every_operation_is_reached(tmp_path: Path) -> None:
    ran = fuzzed(tmp_path)
    assert ran.code == Exit.PASSED
    assert ran.figures["operations"] == 3
    assert ran.figures["not_reached"] == []
    assert ran.figures["fewest_requests"] == 12
    assert ran.rows["front POST /state"]["unauthenticated"] == 401
    assert ran.rows["front POST /state"]["caller"] == "client"
    assert ran.figures["known_values"]["found"] == 0


@pytest.mark.parametrize(
    ("off", "fault", "criterion"),
    [
        ("token", "", "operations-open"),
        ("errors", "", "fuzzing-leaks"),
        ("", "failing", "fuzzing-errors-5xx"),
        ("", "broken", "operations-not-reached"),
        ("logs", "", "fuzzing-values-in-logs"),
    ],
)
def test_each_fault_is_found(tmp_path: Path, off: str, fault: str, criterion: str) -> None:
    ran = fuzzed(tmp_path, off, fault)
    assert ran.code == Exit.FAILED
    assert criterion in ran.failed


def test_a_service_without_a_document_fails(tmp_path: Path) -> None:
    """What operations there are can't be known: nothing is proven."""
    ran = fuzzed(tmp_path, fault="undocumented")
    assert ran.code == Exit.FAILED
    assert "front publishes no OpenAPI document at /openapi.json" in ran.summary["error"]


def test_an_operation_that_is_declared_open_is_open_only_if_the_stack_file_says_so(
    tmp_path: Path,
) -> None:
    ran = fuzzed(tmp_path, public=[])
    assert ran.failed == {"operations-open"}
    assert "without a token it answered 200" in ran.rows["front GET /healthz"]["problems"][0]


def test_the_same_seed_sends_the_same_requests() -> None:
    value = json.loads((HERE / "attacked_openapi.json").read_text("utf-8"))
    document, schema = Document("a", value), value["components"]["schemas"]["Id"]

    def values(seed: int) -> list[Any]:
        maker = Maker(document, random.Random(seed))  # noqa: S311
        return [maker.broken(maker.good(schema)) for _ in range(50)]

    assert values(1) == values(1)
    assert values(1) != values(2)


@given(seed=st.integers(0, 10_000))
def test_a_good_value_fits_its_schema(seed: int) -> None:
    from jsonschema import Draft202012Validator

    schema: dict[str, Any] = {
        "type": "object",
        "required": ["id", "kind", "number", "many", "maybe"],
        "properties": {
            "id": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
            "kind": {"enum": ["a", "b"]},
            "number": {"type": "integer", "minimum": 3, "maximum": 5},
            "many": {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 2},
            "maybe": {"anyOf": [{"type": "string", "minLength": 1}, {"type": "null"}]},
            "more": {"const": 7},
        },
    }
    maker = Maker(Document("a", {"paths": {}}), random.Random(seed))  # noqa: S311
    assert Draft202012Validator(schema).is_valid(maker.good(schema))


def test_a_stack_without_the_section_is_refused(tmp_path: Path) -> None:
    value = attacked_value()
    del value["security"]
    where = ["--stack", str(write_attacked(tmp_path, value=value))]
    with pytest.raises(ConfigurationError, match="expected the section security"):
        fuzz_endpoints.main([*where, "--output-dir", str(tmp_path / "out")])


def test_few_requests_make_a_rehearsal(tmp_path: Path) -> None:
    assert fuzz_endpoints.parse([]).requests == fuzz_endpoints.REQUESTS
    ran = fuzzed(tmp_path)
    reasons = " ".join(ran.summary["eligible"]["reasons"])
    assert "shortened: 12 requests an operation, expected 60" in reasons
    assert re.search(r"not judged: [^;]*\bcases\b", reasons)
