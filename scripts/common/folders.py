"""Where Proof Pack keeps things on a user's machine: configuration and cache."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION_VARIABLE = "PROOF_PACK_CONFIG_DIR"


def configuration_folder() -> Path:
    """The user's configuration folder (signing key); PROOF_PACK_CONFIG_DIR overrides it."""
    return _folder(CONFIGURATION_VARIABLE, "user_config_path")


def cache_folder() -> Path:
    """The user's cache folder (virtual environments, run records, state of running stacks).

    PROOF_PACK_CACHE_DIR overrides it.
    """
    return _folder("PROOF_PACK_CACHE_DIR", "user_cache_path")


def _folder(variable: str, function: str) -> Path:
    if override := os.environ.get(variable):
        return Path(override).absolute()
    import platformdirs

    return Path(getattr(platformdirs, function)("proof-pack", appauthor=False))
