"""Files of users, broken: one line that names the file, and never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzzing.mutations import broken, refusal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.cli import ScriptError
from common.documents import parse_json, read_yaml
from evidence import criteria
from evidence.manifest import ManifestError, parse
from evidence.trace import TraceError, check_trace_bytes
from stack.load import load_stack

few = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
ROOT = Path(__file__).resolve().parents[2]


@few
@given(data=st.data())
def test_a_broken_stack_file_is_named(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "stack.yaml"
    good = (ROOT / "compose/reference/stack.yaml").read_bytes()
    path.write_bytes(data.draw(broken(good)))
    said = refusal(lambda: load_stack(path, {}))
    assert not said or str(path) in said or "circle" in said


@few
@given(data=st.data())
def test_a_broken_gate_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    good = (ROOT / "scripts/gates/proof_pack.yaml").read_bytes()
    monkeypatch.setattr(criteria, "GATE_FOLDER", tmp_path)
    (tmp_path / "broken.yaml").write_bytes(data.draw(broken(good)))
    if said := refusal(lambda: criteria.load_criteria("broken")):
        assert "broken.yaml" in said
        return
    # A change that stays within the schema: nothing passes on nothing all the same.
    outcomes = {one.outcome for one in criteria.judge(criteria.load_criteria("broken"), {})}
    assert outcomes <= {criteria.INCONCLUSIVE}


@few
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8")))
def test_any_bytes_are_yaml_or_a_line_that_says_why_not(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(data)
    said = refusal(lambda: read_yaml(path))
    assert not said or str(path) in said


@given(st.binary(max_size=80) | st.text(max_size=80))
def test_any_bytes_are_json_or_a_line_that_says_why_not(data: bytes | str) -> None:
    said = refusal(lambda: parse_json(data, "x.json"))
    assert not said or said.startswith("x.json")


@given(st.binary(max_size=200))
def test_any_bytes_are_no_manifest(data: bytes) -> None:
    with pytest.raises(ManifestError):
        parse(data)


@given(st.binary(max_size=200), st.text(max_size=5), st.integers(-1, 3))
def test_any_bytes_are_no_trace(data: bytes, head: str, count: int) -> None:
    with pytest.raises(TraceError):
        check_trace_bytes(data, head, count)


@pytest.mark.parametrize("depth", [500, 100_000])
@pytest.mark.parametrize("text", ["[", '{"a":', "- "])
def test_deep_nesting_is_refused_before_it_ends_the_process(
    tmp_path: Path, text: str, depth: int
) -> None:
    path = tmp_path / "deep.yaml"
    path.write_text(text * min(depth, 2_000))
    with pytest.raises(ScriptError):
        read_yaml(path)
    with pytest.raises(ScriptError):
        parse_json(text * depth, "deep.json")
