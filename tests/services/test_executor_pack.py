"""`POST /v1/packs` at its edge: who may, how much, one at a time, not for ever (H5)."""

from __future__ import annotations

import asyncio
import io
import tarfile
from typing import TYPE_CHECKING

import pytest
from fastapi.testclient import TestClient

from services.executor.app import build
from services.executor.pack import BODY_LIMIT_BYTES, PATH, routes
from services.executor.pack import index as index_module

if TYPE_CHECKING:
    from collections.abc import Iterator

    from service_protocols import SettingsFor

QUERY = {"name": "repo", "tokenizer": "proof-pack-4k", "budget": "1000"}


@pytest.fixture
def client(settings_for: SettingsFor, client_headers: dict[str, str]) -> Iterator[TestClient]:
    """A client of the executor that holds the client token."""
    with TestClient(build(settings_for("executor")), headers=client_headers) as client:
        yield client


def a_tar() -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        entry = tarfile.TarInfo("README.md")
        entry.size = 500
        archive.addfile(entry, io.BytesIO(b"word\n" * 100))
    return target.getvalue()


def test_a_pack_is_made_twice_alike(client: TestClient) -> None:
    answers = [client.post(PATH, params=QUERY, content=a_tar()) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].content == answers[1].content


def test_without_a_token_nothing_is_packed(client: TestClient) -> None:
    answer = client.post(PATH, params=QUERY, content=a_tar(), headers={"Authorization": ""})
    assert answer.status_code == 401


def test_another_upload_than_a_tar_is_the_callers_mistake(client: TestClient) -> None:
    answer = client.post(PATH, params=QUERY, content=b"no tar" * 200)
    assert answer.status_code == 422
    assert "expected an uncompressed tar" in answer.text


def test_a_body_beyond_64_mebibytes_is_refused(client: TestClient) -> None:
    assert BODY_LIMIT_BYTES == 64 << 20
    declared = {"Content-Length": str(BODY_LIMIT_BYTES + 1)}
    assert client.post(PATH, params=QUERY, content=b"x", headers=declared).status_code == 413


def test_too_many_chunks_are_the_callers_mistake(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "CHUNK_LIMIT", 1)
    answer = client.post(PATH, params=QUERY, content=a_tar())
    assert answer.status_code == 422
    assert "budget: expected at most 1 chunks" in answer.text


def test_a_pack_that_takes_too_long_ends(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "PACK_SECONDS", -1.0)
    assert client.post(PATH, params=QUERY, content=a_tar()).status_code == 503


def test_one_pack_is_made_at_a_time(client: TestClient) -> None:
    turn = asyncio.Lock()
    turn._locked = True  # type: ignore[attr-defined]
    client.app.state.pack_turn = turn  # type: ignore[attr-defined]
    answer = client.post(PATH, params=QUERY, content=a_tar())
    assert answer.status_code == 503
    assert "another pack is being made" in answer.text
