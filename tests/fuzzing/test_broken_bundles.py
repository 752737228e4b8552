"""Any byte of a bundle may be anything: it is refused, in words, and never verifies."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from bundles import make_bundle, make_key
from fuzzing.mutations import broken, refusal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.cli import ScriptError
from evidence import attestation
from evidence.claims import read_claims
from evidence.public_key import load_public_key
from evidence.verify import verify_bundle

if TYPE_CHECKING:
    from pathlib import Path

    from evidence.public_key import PublicKey

few = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
FILES = (
    "sha256_manifest.txt",
    "sha256_manifest.txt.sig",
    "attestation.sigstore.json",
    "VERIFY.md",
    "evidence/run_summary.json",
    "evidence/trace.jsonl",
    "evidence/e2e_trace.log",
    "evidence/executor_logs.txt",
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzzing")
    return make_bundle(folder / "runs", make_key(folder, "key").signer)


@pytest.fixture(scope="module")
def key(bundle: Path) -> PublicKey:
    return load_public_key(bundle.parent.parent / "key.pub")


@pytest.mark.parametrize("name", FILES)
@few
@given(data=st.data())
def test_a_broken_file_never_verifies(
    bundle: Path, key: PublicKey, tmp_path: Path, name: str, data: st.DataObject
) -> None:
    target = tmp_path / bundle.name
    if not target.exists():
        shutil.copytree(bundle, target)
    good = (bundle / name).read_bytes()
    bad = data.draw(broken(good))
    (target / name).write_bytes(bad)
    result = verify_bundle(target, key)
    assert result.authentic == (bad == good)
    assert all("\n" not in line and line.isascii() for line in result.refusals)


@few
@given(data=st.data())
def test_a_broken_key_is_refused_in_one_line(
    bundle: Path, tmp_path: Path, data: st.DataObject
) -> None:
    good = (bundle.parent.parent / "key.pub").read_bytes()
    path = tmp_path / "broken.pub"
    path.write_bytes(data.draw(broken(good)))
    if said := refusal(lambda: load_public_key(path)):
        assert "\n" not in said
        return
    # White space around the base64 changes no key; any other key must not accept it.
    found = load_public_key(path)
    same = found.keyid == load_public_key(bundle.parent.parent / "key.pub").keyid
    assert verify_bundle(bundle, found).authentic == same


@few
@given(data=st.data())
def test_a_broken_attestation_is_refused_in_words(
    bundle: Path, key: PublicKey, data: st.DataObject
) -> None:
    good = (bundle / attestation.ATTESTATION).read_bytes()
    bad = data.draw(broken(good))
    assert bool(refusal(lambda: attestation.read_statement(bad, key))) == (bad != good)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
PARTS = (
    *("run_id", "verdict", "exit_code", "started_utc", "ended_utc", "eligible", "commit"),
    *("stack", "trace", "key", "criteria", "steps", "golden", "interrupted", "error", "jobs"),
)


@settings(max_examples=200)
@given(st.dictionaries(st.sampled_from(PARTS), JSON) | JSON)
def test_a_made_up_summary_makes_no_claim(summary: object) -> None:
    with pytest.raises(ScriptError):
        read_claims(summary)
