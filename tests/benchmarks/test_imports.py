"""The names that benchmark scripts import from kgenre and from each other exist, also in code that no test runs."""

import ast
import importlib
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_backend("jax")
SCRIPTS = sorted(Path(__file__).parents[2].joinpath("benchmarks").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_imported_names_exist(script, benchmarks):
    own = {other.stem for other in SCRIPTS}
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or (node.module == "networks_torch" and not find_spec("torch")):
            continue
        if node.module in own:
            module = benchmarks(node.module)
            assert all(hasattr(module, name.name) for name in node.names), ast.unparse(node)
        elif (node.module or "").split(".")[0] == "kgenre":
            module = importlib.import_module(node.module)
            for name in node.names:
                if not hasattr(module, name.name):
                    importlib.import_module(f"{node.module}.{name.name}")
