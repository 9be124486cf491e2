"""The policy that ships with the project, loaded once for all that inspect with it."""

from __future__ import annotations

import pytest
from commands import REPOSITORY


@pytest.fixture(scope="session")
def inspector():
    from anomalyr1 import Inspector

    return Inspector.from_pretrained(
        REPOSITORY / "data/tiny-policy", segmenter="box", max_new_tokens=96
    )
