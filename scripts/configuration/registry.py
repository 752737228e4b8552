"""Every check, in the order in which they are shown."""

from __future__ import annotations

from configuration.checks import at_rest, compose, modes, origins, secrets, tls, variables

CHECKS = (
    *variables.CHECKS,
    *secrets.CHECKS,
    *modes.CHECKS,
    *origins.CHECKS,
    *tls.CHECKS,
    *compose.CHECKS,
    *at_rest.CHECKS,
)
