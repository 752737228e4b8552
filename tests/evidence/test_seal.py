"""Sealing: a bundle that openssl, sort and diff accept, or nothing at all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bundles
import pytest
from bundles import SUMMARY, fake_summary, finish, make_bundle, make_key, open_run

from evidence.run_folder import ArtifactError
from evidence.seal import seal
from evidence.trace import Trace
from evidence.verify import verify_bundle
from evidence.verify_page import verification_commands

if TYPE_CHECKING:
    from bundles import KeyPair

    from evidence.public_key import Algorithm

ROOT = Path(__file__).resolve().parents[2]
has_tools = pytest.mark.skipif(
    not all(map(shutil.which, ("openssl", "sha256sum", "bash"))), reason="needs openssl, coreutils"
)
ALGORITHMS: tuple[Algorithm, ...] = ("ecdsa-p256", "ed25519")


@pytest.fixture(params=ALGORITHMS)
def key(request: pytest.FixtureRequest, tmp_path: Path) -> KeyPair:
    return make_key(tmp_path / "keys", "it's a key", request.param)


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_sealed_bundle_is_complete_and_authentic(key: KeyPair, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "runs", key.signer)
    assert sorted(path.name for path in bundle.iterdir()) == [
        "VERIFY.md",
        "attestation.sigstore.json",
        "evidence",
        "sha256_manifest.txt",
        "sha256_manifest.txt.sig",
    ]
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [bundle.name]
    assert verify_bundle(bundle, key.signer.public).refusals == []


@has_tools
def test_printed_commands_accept_the_bundle_as_they_stand(key: KeyPair, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "it's here", key.signer)
    for command in verification_commands(bundle, key.signer):
        done = shell(command, tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), done


@has_tools
def test_commands_of_the_verify_page_accept_the_bundle(key: KeyPair, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "runs", key.signer)
    page = (bundle / "VERIFY.md").read_text("utf-8")
    shutil.copyfile(key.public, tmp_path / "KEY.pub")
    lines = [line.strip().replace("KEY.pub", "../../KEY.pub") for line in page.splitlines()]
    fingerprint, signature, files = (
        next(line for line in lines if line.startswith(start))
        for start in ("openssl pkey ", ("openssl dgst", "openssl pkeyutl"), "(cd evidence")
    )
    assert shell(fingerprint, bundle).stdout.startswith(key.signer.keyid)
    assert shell(signature, bundle).returncode == 0
    assert shell(files, bundle).stdout == ""
    (bundle / "evidence" / "extra").touch()
    assert shell(files, bundle).returncode != 0
    (bundle / "sha256_manifest.txt").write_bytes(b"")
    assert shell(signature, bundle).returncode != 0


def test_verify_page_is_what_jinja2_makes_of_its_template(key: KeyPair, tmp_path: Path) -> None:
    import jinja2

    from evidence.claims import read_claims
    from evidence.verify_page import variables

    bundle = make_bundle(tmp_path / "runs", key.signer)
    claims = read_claims(json.loads((bundle / "evidence" / SUMMARY).read_bytes()))
    loader = jinja2.FileSystemLoader(ROOT / "scripts" / "evidence" / "templates")
    environment = jinja2.Environment(  # noqa: S701 - Markdown, not HTML
        loader=loader, undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    text = environment.get_template("VERIFY.md.j2").render(
        variables(claims, key.signer.public, SUMMARY)
    )
    assert text == (bundle / "VERIFY.md").read_text("utf-8")


@pytest.mark.parametrize("verdict", ["failed", "inconclusive"])
def test_a_run_that_did_not_pass_is_sealed_and_says_so(
    verdict: str, key: KeyPair, tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path, key.signer, verdict=verdict, interrupted=True)
    result = verify_bundle(bundle, key.signer.public)
    assert result.authentic
    assert result.claims is not None
    assert result.claims.headline.startswith(f"{verdict.upper()}, NOT eligible")
    assert bundles.read_payload(bundle)["predicate"]["result"] == "FAILED"


BROKEN: dict[str, dict[str, Any]] = {
    "another run id": {"run_id": "20200101-000000"},
    "another key": {"key": {"keyid": "c" * 64}},
    "another trace": {"trace": {"head": "c" * 64, "count": 5}},
    "no trace": {"trace": None},
    "passed on nothing": {"criteria": []},
    "passed on a failure": {"criteria": [bundles.criterion("completed", "failed")]},
    "passed though interrupted": {"interrupted": True},
    "passed with an error": {"error": "something broke"},
    "an unknown verdict": {"verdict": "ok"},
    "a verdict that is true": {"verdict": True},
    "no time": {"ended_utc": "yesterday"},
    "an impossible time": {"ended_utc": "2026-13-45T00:00:00Z"},
    "no eligibility": {"eligible": {"value": "yes", "reasons": []}},
    "a short commit": {"commit": {"sha": "abc", "dirty": False}},
    "a broken contract": {"contract_sha256": "x"},
    "an outcome that its figures do not give": {
        "criteria": [bundles.criterion("completed", "passed") | {"observed": 0}]
    },
    "another kind of key": {"key": {"kind": "self-signed"}},
    "no kind of key": {"key": {"kind": "trusted"}},
    "an end before its start": {"started_utc": "2999-01-01T00:00:00Z"},
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_summary_that_does_not_hold_is_not_sealed(
    name: str, key: KeyPair, tmp_path: Path
) -> None:
    with pytest.raises(ArtifactError, match=r"can't seal .*expected"):
        make_bundle(tmp_path / "runs", key.signer, **BROKEN[name])
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_missing_summary_is_not_sealed(key: KeyPair, tmp_path: Path) -> None:
    folder = open_run(tmp_path / "runs")
    with Trace(folder) as trace:
        trace.add("seen")
    summary = fake_summary(folder, trace, key.signer)
    with pytest.raises(ArtifactError, match="expected a readable file"):
        seal(folder, summary=summary, summary_name=SUMMARY, key=key.signer)
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.parametrize(
    "last", [{"verdict": "failed", "exit_code": 0}, {"verdict": "passed", "exit_code": 3}, {}]
)
def test_a_trace_with_another_end_is_not_sealed(
    last: dict[str, Any], key: KeyPair, tmp_path: Path
) -> None:
    folder = open_run(tmp_path / "runs")
    with Trace(folder) as trace:
        trace.add("verdict", **last)
    summary = fake_summary(folder, trace, key.signer)
    folder.write_json(SUMMARY, summary)
    with pytest.raises(ArtifactError, match="last line: expected the event"):
        seal(folder, summary=summary, summary_name=SUMMARY, key=key.signer)
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_a_link_in_evidence_is_not_sealed(key: KeyPair, tmp_path: Path) -> None:
    folder = open_run(tmp_path / "runs")
    (folder.evidence / "link").symlink_to("/etc/passwd")
    with pytest.raises(ArtifactError, match="'link': expected a regular file"):
        finish(folder, key.signer)
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_name_taken_meanwhile_is_not_replaced(key: KeyPair, tmp_path: Path) -> None:
    folder = open_run(tmp_path / "runs")
    folder.final.mkdir()
    with pytest.raises(ArtifactError, match="expected a free name"):
        finish(folder, key.signer)
    assert list((tmp_path / "runs").iterdir()) == [folder.final]
    assert list(folder.final.iterdir()) == []


def test_ctrl_c_while_sealing_leaves_nothing(key: KeyPair, tmp_path: Path) -> None:
    folder = open_run(tmp_path / "runs")

    def interrupted(_data: bytes) -> bytes:
        raise KeyboardInterrupt

    object.__setattr__(key.signer, "_sign", interrupted)
    with pytest.raises(KeyboardInterrupt):
        finish(folder, key.signer)
    assert list((tmp_path / "runs").iterdir()) == []


def test_thousands_of_files_are_sealed_and_verified(key: KeyPair, tmp_path: Path) -> None:
    folder = open_run(tmp_path)
    for number in range(2000):
        (folder.evidence / "logs" / f"{number:05}").write_bytes(b"%d" % number)
    bundle = finish(folder, key.signer)
    assert verify_bundle(bundle, key.signer.public).refusals == []
