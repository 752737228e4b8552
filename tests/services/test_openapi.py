"""The six OpenAPI descriptions hold: no 5xx, answers as described, and no door left open."""

from __future__ import annotations

import importlib
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jwt
import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import load_all_checks  # type: ignore[attr-defined]

from services.kit.keys import load_private_key, read_private_key
from services.kit.settings import SYSTEM_SERVICES, Settings
from services.kit.tokens import TokenSigner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import FastAPI

    from tests.services.conftest import SettingsFor
