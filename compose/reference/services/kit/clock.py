"""The time as it stands in databases and answers."""

from datetime import UTC, datetime


def utc_now() -> str:
    """Now, RFC 3339 in UTC with milliseconds: texts that sort as their times do."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
