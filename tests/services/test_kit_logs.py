"""A trouble that lasts is said once, not at every try; no password of a server is ever said."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from services.kit.logs import JsonFormatter, Trouble
from services.kit.settings import Settings

if TYPE_CHECKING:
    import pytest


def test_a_lasting_trouble_is_said_when_it_begins_changes_and_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "services")
    trouble = Trouble("queue not readable", "queue is readable again")
    trouble.over()
    for reason in ("refused", "refused", "refused", "password"):
        trouble.on(reason)
    trouble.over()
    trouble.over()
    trouble.on("refused")
    said = [(record.message, vars(record)["fields"].get("reason")) for record in caplog.records]
    assert said == [
        ("queue not readable", "refused"),
        ("queue not readable", "password"),
        ("queue is readable again", None),
        ("queue not readable", "refused"),
    ]


def test_no_password_of_a_server_is_written() -> None:
    """G3d: neither as it is nor as it stands in a URL."""
    environ = {
        "STATE_FOLDER": "state",
        "CLIENT_TOKEN": "the-token",
        "DATABASE_URL": "postgresql+psycopg://proof@postgres/proof",
        "DATABASE_PASSWORD": "pass/word@1",
        "QUEUE_URL": "redis://redis/0",
        "QUEUE_PASSWORD": "other%word",
    }
    settings = Settings.from_environment("executor", environ)
    formatter = JsonFormatter("executor", settings.secrets)
    text = f"{settings.database_url} {settings.queue_url} pass/word@1 other%word the-token"
    line = formatter.format(logging.makeLogRecord({"msg": text}))
    assert line.count("[redacted]") == 5
    assert "word" not in line.replace("[redacted]", "")
