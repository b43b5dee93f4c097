import csv
import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with films/, quirks/ and raw_formats/."""
    folder = os.environ.get("KGENRE_FILMS")
    if not folder:
        pytest.skip("KGENRE_FILMS is not set to a folder with films/, quirks/ and raw_formats/")
    return Path(folder)


@pytest.fixture
def write_csv(tmp_path):
    """Write rows to a CSV file in tmp_path and return its path."""

    def write(name, rows, **options):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding=options.pop("encoding", "utf-8"), newline="") as file:
            csv.writer(file, **options).writerows(rows)
        return path

    return write
