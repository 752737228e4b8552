"""Images and containers of a summary are held against each other and the attestation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from bundles import (
    IMAGE,
    SUMMARY,
    container,
    in_containers,
    make_bundle,
    make_key,
    read_payload,
    rebuild_manifest,
    seal_again,
    sign_manifest,
)

from common.cli import ConfigurationError
from evidence import consistency, criteria
from evidence.consistency import ClaimError
from evidence.container_claims import container_lies, figure_lies, metadata_lies
from evidence.criteria import load_criteria, unseen
from evidence.public_key import load_public_key
from evidence.verify import verify_bundle
from stack.compose.containers import render_ps

if TYPE_CHECKING:
    from pathlib import Path

    from bundles import KeyPair

ROWS = (container("front"), container("jobs", restarts=2), container("db", oom_killed=True))


@pytest.fixture
def key(tmp_path: Path) -> KeyPair:
    return make_key(tmp_path / "keys")


def refusals(bundle: Path, key: KeyPair) -> list[str]:
    return verify_bundle(bundle, load_public_key(key.public)).refusals


def change(bundle: Path, **values: Any) -> None:
    """Replace top-level values of the summary."""
    path = bundle / "evidence" / SUMMARY
    text = json.dumps(json.loads(path.read_bytes()) | values, indent=2, sort_keys=True)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def test_images_are_subjects_of_the_attestation(tmp_path: Path, key: KeyPair) -> None:
    """Design, "Evidence": subjects: manifest, git commit, image digests."""
    bundle = make_bundle(tmp_path / "runs", key.signer, **in_containers(*ROWS))
    assert {
        "name": f"image {IMAGE['reference']}",
        "digest": {"sha256": IMAGE["id"].removeprefix("sha256:")},
    } in read_payload(bundle)["subject"]
    assert refusals(bundle, key) == []


def test_a_summary_that_names_other_images_than_its_attestation_is_refused(
    tmp_path: Path, key: KeyPair
) -> None:
    """Manifest and signature are made again, the attestation only gets the new digests."""
    bundle = make_bundle(tmp_path / "runs", key.signer, **in_containers(container("a")))
    other = {**IMAGE, "id": f"sha256:{'e' * 64}"}
    change(bundle, images=[other], containers=[container("a", image_id=other["id"])])
    seal_again(bundle, key.signer)
    (line,) = refusals(bundle, key)
    assert line.startswith("attestation.sigstore.json: subject[3].digest.sha256: expected")


def test_a_summary_that_hides_an_image_is_refused(tmp_path: Path, key: KeyPair) -> None:
    bundle = make_bundle(tmp_path / "runs", key.signer, **in_containers(container("a")))
    change(bundle, images=[], containers=[], counts={}, runtime="process")
    rebuild_manifest(bundle)
    sign_manifest(bundle, key.signer)
    assert any(
        line.startswith("attestation.sigstore.json: subject") for line in refusals(bundle, key)
    )


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ({"images": []}, "to run an image of `images`"),
        ({"images": "none"}, "images: expected a list"),
        ({"images": [{"reference": "x", "id": "sha256:short"}]}, "id: expected a text like sha256"),
        ({"images": [{"id": IMAGE["id"]}]}, "reference: expected str"),
        ({"containers": ["x"]}, "containers: expected a list of objects"),
        (in_containers(container("a", exit_code=0)), "no exit code of a container that runs"),
        ({"figures": {"one": 2}}, "expected what stands at '/figures/one', 2, got 1"),
        ({"counts": {}}, "counts.containers: expected 3, got None"),
        (in_containers(*ROWS, containers=2), "counts.containers: expected 3, got 2"),
        (
            in_containers(*ROWS, container_restarts=0),
            "counts.container_restarts: expected 2, got 0",
        ),
        (in_containers(*ROWS, oom_kills=0), "counts.oom_kills: expected 1, got 0"),
        (
            in_containers(container("a", state="exited", exit_code=1), containers_down=0),
            "counts.containers_down: expected 1, got 0",
        ),
        (
            in_containers(container("a", health="unhealthy"), containers_down=0),
            "counts.containers_down: expected 1, got 0",
        ),
    ],
)
def test_containers_that_contradict_the_summary_are_refused(
    tmp_path: Path, key: KeyPair, broken: dict[str, Any], says: str
) -> None:
    """Even when its own signer seals it again."""
    bundle = make_bundle(tmp_path / "runs", key.signer, **in_containers(*ROWS))
    change(bundle, **broken)
    seal_again(bundle, key.signer)
    assert any(says in line for line in refusals(bundle, key)), refusals(bundle, key)


OTHER = {"reference": "example/other:1", "id": f"sha256:{'e' * 64}"}
LIES: dict[str, tuple[dict[str, Any], str]] = {
    "compose without containers": (in_containers() | {"images": []}, "containers: expected some"),
    "compose without images": (
        in_containers(*ROWS) | {"images": []},
        "expected",
    ),
    "containers of processes": (
        in_containers(*ROWS) | {"runtime": "process"},
        "containers: expected none on the runtime 'process'",
    ),
    "images of somebody else's system": (
        in_containers() | {"runtime": "external"},
        "images: expected none on the runtime 'external'",
    ),
    "a task that still runs": (
        in_containers(container("a", task=True)),
        "a task that exited with code 0",
    ),
    "a task that failed": (
        in_containers(container("a", task=True, state="exited", exit_code=1)),
        "a task that exited with code 0",
    ),
    "a service that is a task": (
        in_containers(container("a", task=True, state="exited", exit_code=0))
        | {"services": [{"name": "a"}]},
        "a service that is no task",
    ),
    "an exit code of what runs": (
        in_containers(container("a", exit_code=0)),
        "no exit code of a container that runs",
    ),
    "less than no restarts": (
        in_containers(container("a", restarts=-1), container("b", restarts=1)),
        "a whole number of restarts",
    ),
    "a kill that is no yes or no": (
        in_containers(container("a", oom_killed=0)),
        "`oom_killed` to be true or false",
    ),
    "a task that is no yes or no": (
        in_containers(container("a", task=0)),
        "`task` to be true or false",
    ),
    "a reference of another image": (
        in_containers(container("a", image="example/other:1")),
        "containers: expected an image of `images`",
    ),
    "one reference of two images": (
        in_containers(container("a"), container("b", image_id=OTHER["id"]))
        | {"images": [IMAGE, IMAGE | {"id": OTHER["id"]}]},
        "images: expected each reference once",
    ),
    "an image that did not run": (
        in_containers(container("a")) | {"images": [IMAGE, OTHER]},
        "images: expected images that a container runs",
    ),
    "figures without containers": (
        {"counts": {"containers_down": 0}},
        "counts.containers_down: expected no figure without containers",
    ),
    "a figure that is no number": (
        in_containers(container("a")) | {"counts": {"containers": True, "containers_down": 0}},
        "counts.containers: expected a number",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_about_containers_is_a_contradiction(lie: str) -> None:
    """P9: the sealer and the verifier read the same claims."""
    changes, says = LIES[lie]
    honest = {"verdict": "passed", "criteria": [], **in_containers(container("a"))}
    assert container_lies(honest) == []
    found = container_lies({"verdict": "passed", "criteria": [], **changes})
    assert any(says in line for line in found), found


def test_a_run_that_failed_before_its_containers_owes_none() -> None:
    counts = {"containers": 0, "containers_down": None}
    summary = {"verdict": "failed", "runtime": "compose", "counts": counts}
    assert container_lies(summary | {"containers": [], "images": []}) == []


@pytest.mark.parametrize("restarts", [None, "0", True, -0.5])
def test_restarts_that_are_no_number_count_as_one(restarts: object) -> None:
    summary: dict[str, Any] = {"containers": [container("a", restarts=restarts)], "images": [IMAGE]}
    summary |= {"counts": {"containers": 1, "containers_down": 0, "oom_kills": 0}}
    summary["counts"] |= {"container_restarts": 0}
    assert consistency._containers(summary) == ["counts.container_restarts: expected 1, got 0"]


@pytest.mark.parametrize(
    ("metric", "observed"),
    [
        ("/counts/lost", 0),
        ("/counts/absent", 3),
        ("/counts/lost", None),
        ("/counts/one", True),
        ("/items/1", 7),
        ("/criteria/0/observed", 3),
        ("counts.lost", 3),
        (None, None),
    ],
)
def test_a_criterion_that_observed_something_else_is_refused(
    metric: object, observed: object
) -> None:
    summary: dict[str, Any] = {"counts": {"lost": 3, "one": 1}, "items": [7]}
    row = {"id": "x", "metric": metric, "observed": observed}
    (line,) = figure_lies(summary | {"criteria": [row]})
    assert line.startswith("'x': expected ")


@pytest.mark.parametrize(
    ("metric", "observed"),
    [("/a~1b/0", 7), ("/none", None), ("/text", "t"), ("/yes", "True")],
)
def test_a_criterion_that_observed_its_figure_is_believed(metric: str, observed: object) -> None:
    summary: dict[str, Any] = {"a/b": [7], "text": "t", "yes": True}
    row = {"id": "x", "metric": metric, "observed": observed}
    assert figure_lies(summary | {"criteria": [row]}) == []


def test_criteria_of_containers_are_owed_by_containers_only() -> None:
    ids = {"containers-seen", "containers-up", "no-restarts", "no-memory-kills"}
    for gate in ("proof_pack", "smoke"):
        assert ids <= {item.id for item in load_criteria(gate, "compose")}
        assert not ids & {item.id for item in load_criteria(gate, "process")}
        assert not ids & {*unseen(gate, "process")}


def test_what_a_runtime_can_not_see_stays_a_reservation() -> None:
    assert unseen("proof_pack", "external") == ("nothing-left",)
    assert unseen("proof_pack", "compose") == ()


@pytest.mark.parametrize("key", ["not_for", "only_for"])
def test_a_criterion_for_a_runtime_that_there_is_not_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setattr(criteria, "GATE_FOLDER", tmp_path)
    (tmp_path / "odd.yaml").write_text(
        "version: 1\nname: odd\nevidence: x.json\ncriteria:\n"
        f"  - {{id: x, metric: /x, unit: u, why: w, equals: 0, {key}: [swarms]}}\n"
    )
    with pytest.raises(ConfigurationError, match=rf"criteria\.0\.{key}: expected a runtime"):
        load_criteria("odd")


def test_docker_ps_shows_how_each_container_fared() -> None:
    rows = [
        *ROWS,
        container("task", state="exited", exit_code=0, task=True, ports=["0.0.0.0:1->1/tcp"]),
    ]
    lines = render_ps(rows).splitlines()
    head = ["NAME", "IMAGE", "ID", "STATE", "HEALTH", "RESTARTS", "MEMORY", "CPU", "PORTS"]
    assert lines[0].split() == head
    assert "running, killed for memory" in lines[3]
    assert lines[4].endswith("0.0.0.0:1->1/tcp")
    assert "exited (0)" in lines[4]


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ({"images": [{"reference": "a:1", "id": f"sha256:{'c' * 64}"}]}, []),
        ({"images": []}, ["images: expected 'a:1' with sha256:cccc"]),
        ({}, ["images: expected 'a:1' with sha256:cccc"]),
        (
            {"images": [{"reference": "a:1", "id": f"sha256:{'d' * 64}"}]},
            ["images: "],
        ),
        (
            {"images": [{"reference": "b:1", "id": f"sha256:{'c' * 64}"}]},
            ["images: "],
        ),
    ],
)
def test_what_ran_is_what_was_built(metadata: dict[str, Any], says: list[str]) -> None:
    found = metadata_lies(metadata, [("a:1", "c" * 64)])
    assert len(found) == len(says)
    assert all(line.startswith(start) for line, start in zip(found, says, strict=True))


@pytest.mark.parametrize("metadata", [[], None, "x", {"images": "x"}, {"images": [1]}])
def test_metadata_of_another_shape_is_refused(metadata: object) -> None:
    with pytest.raises(ClaimError, match="expected"):
        metadata_lies(metadata, [("a:1", "c" * 64)])
