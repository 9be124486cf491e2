"""Fixtures of the data tests; real data is read where it is and never copied."""

from __future__ import annotations

from pathlib import Path

import pytest

REAL_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def real_data() -> Path:
    if not REAL_DATA.is_dir():
        pytest.skip(f"needs the real images at {REAL_DATA}")
    return REAL_DATA
