"""scripts/compare_images.py: the same content is the same, one bit less is not (issue 3)."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import compare_images
import pytest

from common.cli import Exit, ScriptError
from images.content import SETTINGS, ImageContent, differences, read_entries, read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

USER = {"User": "10001:10001", "Env": ["PATH=/bin"]}


def member(name: str, content: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    for field, value in fields.items():
        setattr(entry, field, value)
    return entry, content


def image(
    *members: tuple[tarfile.TarInfo, bytes], settings: Mapping[str, Any] | None = None
) -> ImageContent:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry, content in members:
            archive.addfile(entry, io.BytesIO(content))
    target.seek(0)
    told = dict.fromkeys(SETTINGS) | dict(USER if settings is None else settings)
    return ImageContent("an image", "sha256:1", read_entries(target), told)


PLAIN = image(member("app", type=tarfile.DIRTYPE, mode=0o755), member("app/x", b"1", mode=0o644))


def test_another_order_and_other_times_are_the_same_content() -> None:
    other = image(
        member("app/x", b"1", mode=0o644, mtime=9),
        member("app", type=tarfile.DIRTYPE, mode=0o755, mtime=9),
    )
    assert differences(PLAIN, other) == []
    assert PLAIN.digest() == other.digest()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (member("app/x", b"2", mode=0o644), "sha256"),
        (member("app/x", b"12", mode=0o644), "size_bytes"),
        (member("app/x", b"1", mode=0o4644), "mode"),
        (member("app/x", b"1", mode=0o644, uid=1), "uid"),
        (member("app/x", b"1", mode=0o644, gid=1), "gid"),
        (member("app/x", mode=0o644, type=tarfile.SYMTYPE, linkname="y"), "kind"),
        (member("app/x", mode=0o644, type=tarfile.CHRTYPE, devmajor=1), "device"),
        (
            member(
                "app/x", b"1", mode=0o644, pax_headers={"SCHILY.xattr.security.capability": "x"}
            ),
            "attributes",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_any_change_of_a_file_is_found(changed: tuple[tarfile.TarInfo, bytes], said: str) -> None:
    other = image(member("app", type=tarfile.DIRTYPE, mode=0o755), changed)
    (line,) = differences(PLAIN, other)
    assert line.startswith("app/x: ")
    assert said in line
    assert PLAIN.digest() != other.digest()


def test_a_link_that_leads_elsewhere_is_found() -> None:
    first, second = (image(member("x", type=tarfile.SYMTYPE, linkname=to)) for to in ("a", "b"))
    assert differences(first, second) == ["x: target a and b"]


def test_a_file_in_only_one_is_found_from_either_side() -> None:
    empty = replace(image(), reference="the empty one")
    assert differences(PLAIN, empty) == ["app: only in an image", "app/x: only in an image"]
    assert len(differences(empty, PLAIN)) == 2


@pytest.mark.parametrize("name", SETTINGS)
def test_any_other_setting_is_found(name: str) -> None:
    other = replace(PLAIN, settings={**PLAIN.settings, name: "other"})
    (line,) = differences(PLAIN, other)
    assert line.startswith(f"settings {name}: ")
    assert PLAIN.digest() != other.digest()


def test_composes_own_labels_do_not_count_and_every_other_does() -> None:
    """Compose writes the project into each image: two runs would never be the same."""
    runs = [{"Labels": {"com.docker.compose.project": name, "lock": "1"}} for name in "ab"]
    assert read_settings(runs[0]) == read_settings(runs[1])
    assert read_settings(runs[0])["Labels"] == {"lock": "1"}
    assert read_settings({"Labels": {"lock": "2"}}) != read_settings(runs[0])
    assert read_settings({})["Labels"] is None


def test_nothing_compared_is_inconclusive() -> None:
    empty = image(member("etc/hosts"), settings={})
    assert compare_images.judge(empty, empty, []) == Exit.INCONCLUSIVE
    assert compare_images.judge(PLAIN, PLAIN, []) == Exit.PASSED
    assert compare_images.judge(PLAIN, empty, ["x"]) == Exit.FAILED


def test_a_cut_export_and_a_path_twice_are_refused() -> None:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for entry, content in (member("x", b"1" * 900), member("x", b"2")):
            archive.addfile(entry, io.BytesIO(content))
    with pytest.raises(ScriptError, match="got 'x' twice"):
        read_entries(io.BytesIO(target.getvalue()))
    with pytest.raises(ScriptError, match="broke off"):
        read_entries(io.BytesIO(target.getvalue()[:700]))


def test_the_json_names_the_first_differences(capsys: pytest.CaptureFixture[str]) -> None:
    empty = image(settings={})
    found = differences(PLAIN, empty)
    facts = compare_images.facts(PLAIN, empty, found, found[:1], Exit.FAILED)
    told = json.loads(json.dumps(facts))
    assert (told["verdict"], told["differences"]) == ("failed", len(found))
    assert told["first_differences"] == found[:1]
    compare_images.show(PLAIN, empty, found, found[:1], Exit.FAILED)
    assert f"and {len(found) - 1} more" in capsys.readouterr().out


def test_no_engine_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(ScriptError, match="no Docker engine answers"):
        compare_images.main(["a", "b"])
