"""Why an action is denied: a word for programs, a sentence for people."""

from __future__ import annotations


class DeniedError(Exception):
    """The policy or the sandbox refuses an action; both texts are safe to show a caller."""

    def __init__(self, reason: str, message: str) -> None:
        """Say why.

        Args:
            reason: one word, such as "program_not_listed"; it stands in logs and metrics.
            message: what was expected; nothing of the caller's own, no path, no internals.
        """
        super().__init__(f"{reason}: {message}")
        self.reason = reason
