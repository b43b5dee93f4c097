import importlib
from pathlib import Path

import pytest


@pytest.fixture
def benchmarks(monkeypatch):
    """Imports one of the scripts."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module
