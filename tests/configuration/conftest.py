"""A configuration in a folder of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.configuration import Configured

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def configured(tmp_path: Path) -> Configured:
    return Configured(tmp_path)
