"""Reports: SARIF by schema, and no secret of a corpus in any form of output."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from secret_tree import write_tree

from common.schema import check_value
from secret_scan.findings import Finding, ScanResult, Unread
from secret_scan.fingerprint import FingerprintKey
from secret_scan.output import FORMATS, as_sarif, rendered
from secret_scan.rules import load_rules
from secret_scan.scan import scan

RULES = load_rules()
KEY = FingerprintKey(b"k" * 32)
# The unpacked dev corpus: PROOF_PACK_SECRETS_CORPUS names the folder of labels.json and tree/.
CORPUS = os.environ.get("PROOF_PACK_SECRETS_CORPUS")
needs_corpus = pytest.mark.skipif(not CORPUS, reason="needs PROOF_PACK_SECRETS_CORPUS")
# The whole schema of the standard, for those who have it.
SARIF_SCHEMA = os.environ.get("PROOF_PACK_SARIF_SCHEMA")


def result_of(findings: list[Finding], unread: list[Unread]) -> ScanResult:
    """A result with these."""
    counts = dict.fromkeys(
        ("allowed_inline", "excluded", "git_object_folders", "links", "members", "objects"), 0
    )
    return ScanResult(
        tuple(findings), tuple(unread), {**counts, "files": 1, "bytes": 1}, "re2", "0" * 64, KEY.id
    )


PATHS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).map(
    lambda text: "a/" + text
)
FINDINGS = st.builds(
    Finding,
    path=PATHS,
    line=st.integers(1, 10**6),
    end_line=st.integers(1, 10**6),
    column=st.none() | st.integers(1, 10**6),
    rule=st.sampled_from([rule.id for rule in RULES.rules]),
    length=st.integers(0, 10**4),
    fingerprint=st.just("0" * 32),
)


@given(
    st.lists(FINDINGS, max_size=5), st.lists(st.builds(Unread, PATHS, st.just("why")), max_size=3)
)
def test_sarif_fits_its_schema_whatever_files_are_called(
    findings: list[Finding], unread: list[Unread]
) -> None:
    document = as_sarif(result_of(findings, unread), RULES)
    check_value(document, "sarif", "SARIF")
    assert len(document["runs"][0]["results"]) == len(findings)
    assert "snippet" not in json.dumps(document)


@pytest.mark.skipif(not SARIF_SCHEMA, reason="needs PROOF_PACK_SARIF_SCHEMA")
def test_sarif_fits_the_schema_of_the_standard(tmp_path: Path) -> None:
    import jsonschema

    assert SARIF_SCHEMA is not None
    write_tree(tmp_path)
    (tmp_path / "x.7z").write_bytes(b"7z\xbc\xaf\x27\x1c")
    document = as_sarif(scan([tmp_path], engine="re2", key=KEY, workers=1), RULES)
    jsonschema.validate(document, json.loads(Path(SARIF_SCHEMA).read_text("utf-8")))


def test_a_fingerprint_of_a_place_does_not_know_the_line() -> None:
    one, other = (
        Finding("a", line, line, 1, "x", 1, "0" * 32) for line in (1, 2)
    )  # fmt: skip
    prints = [
        row["partialFingerprints"]
        for row in as_sarif(result_of([one, other], []), RULES)["runs"][0]["results"]
    ]
    assert prints[0] == prints[1] != {}


def test_names_of_files_do_not_draw_on_the_terminal() -> None:
    finding = Finding("a\x1b[2J\nFAKE", 1, 1, 1, "github-token", 1, "0" * 32)
    text = rendered(result_of([finding], []), "text", RULES)
    assert "\x1b" not in text
    assert text.count("\n") == 1


@settings(max_examples=10)
@given(st.integers(0, 10**9))
def test_no_form_of_output_holds_a_made_secret(tmp_path_factory: Any, seed: int) -> None:
    folder = tmp_path_factory.mktemp("tree")
    secrets = write_tree(folder, seed)
    result = scan([folder], engine="re2", key=KEY, workers=1)
    assert len(result.findings) > 150
    for form in FORMATS:
        said = rendered(result, form, RULES)
        assert [secret for secret in secrets if secret in said] == []


def corpus_scan(engine: str) -> tuple[ScanResult, dict[str, Any]]:
    """The scan of the corpus, and its labels."""
    folder = Path(str(CORPUS))
    labels: dict[str, Any] = json.loads((folder / "labels.json").read_text("utf-8"))
    return scan([folder / "tree"], engine=engine, key=KEY), labels


@needs_corpus
@pytest.mark.parametrize("engine", ["re2", "hyperscan"])
def test_no_form_of_output_holds_a_secret_of_the_corpus(engine: str) -> None:
    if importlib.util.find_spec(engine) is None:
        pytest.skip(f"needs the package {engine}")
    result, labels = corpus_scan(engine)
    secrets = {
        bytes.fromhex(one["value_hex"]).decode("utf-8", "replace")
        for case in labels["cases"]
        for one in case["secrets"]
    }
    assert len(secrets) > 300
    for form in FORMATS:
        said = rendered(result, form, RULES)
        shown = json.dumps(said)  # as it stands, and escaped
        assert [one for one in secrets if one in said or json.dumps(one)[1:-1] in shown] == []


@needs_corpus
def test_recall_and_precision_on_the_corpus_are_what_is_promised() -> None:
    """Recall by secret (a line of tolerance), precision by file, each 0.95 at least."""
    result, labels = corpus_scan("re2")
    found: dict[str, list[Finding]] = {}
    for finding in result.findings:
        found.setdefault(finding.path, []).append(finding)
    hits = misses = false_alarms = 0
    for case in labels["cases"]:
        here = found.get(case["path"], [])
        whole = case["path"].endswith(".gz")
        near = [[_touches(one, secret) or whole for secret in case["secrets"]] for one in here]
        got = [any(row[at] for row in near) for at in range(len(case["secrets"]))]
        hits += sum(got)
        misses += len(got) - sum(got)
        false_alarms += any(not any(row) for row in near)
    assert hits / (hits + misses) >= 0.95
    assert hits / (hits + false_alarms) >= 0.95


def _touches(finding: Finding, secret: dict[str, int]) -> bool:
    return finding.line - 1 <= secret["end"] and finding.end_line + 1 >= secret["start"]
