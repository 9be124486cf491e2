"""`pytest --real-data=DIR`: real images and published tables that the repository does not carry.

A plugin of its own, named in pyproject.toml, because pytest must know an option before it looks
for conftest files. Where no tests are named, pytest takes the DIR of `--real-data DIR` for the
place of its settings: write `--real-data=DIR`, or give scripts/test.sh the option.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

DEFAULT = Path(__file__).resolve().parents[2] / "shared" / "data"

# Folder of DIR -> what to put there, and where it comes from.
PARTS = {
    "DeepPCB": "PCBData/group12300 and PCBData/group77000 of github.com/tangsanli5201/DeepPCB",
    "magnetic_tile": "60 images with masks of MT_Free and 16 of each defect "
    "of github.com/abin24/Magnetic-tile-defect-datasets",
    "mmad": "dataset/MMAD/domain_knowledge.json and all_result (as published_results) "
    "of github.com/jam-cc/MMAD and test_MPDD_format.json of github.com/Yanhui-Lee/IAD-R1",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--real-data",
        metavar="DIR",
        type=Path,
        help=f"folder with {', '.join(PARTS)} (default: ../shared/data where it is)",
    )


def pytest_configure(config: pytest.Config) -> None:
    folder = config.getoption("--real-data")
    if folder is not None and not folder.is_dir():
        raise pytest.UsageError(
            f"--real-data: expected a folder with {', '.join(PARTS)}, found none at {folder}"
        )


def real_data_folder(config: pytest.Config) -> Path:
    """The folder asked for, or the default one."""
    return Path(config.getoption("--real-data") or DEFAULT).resolve()


@pytest.fixture
def real_data(request: pytest.FixtureRequest) -> Callable[[str], Path]:
    """Part -> its folder, read where it is and never copied; where it is not, the test skips."""

    def find(part: str) -> Path:
        folder = real_data_folder(request.config) / part
        if not folder.is_dir():
            pytest.skip(
                f"needs {folder}: put {PARTS[part]} into DIR/{part} "
                "and run pytest --real-data=DIR (data/README.md has the licences)"
            )
        return folder

    return find
