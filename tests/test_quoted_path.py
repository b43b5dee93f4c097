"""Paths in commands that are shown for a user to run."""

import shlex
from pathlib import Path

import pytest

from kgenre.quoted_path import quoted_path

pytestmark = pytest.mark.backend_free


@pytest.mark.parametrize(
    "path", ["runs/lstm/version_0", "my runs/it's", "моя папка/модель № 1", "a&b", r"C:\runs\lstm"]
)
def test_shell_parses_the_quoted_path(path):
    assert quoted_path(Path(path)) == (path if set(path).isdisjoint(" &'") else f'"{path}"')
    if "\\" not in path:
        assert shlex.split(f"kgenre test --ckpt_path {quoted_path(Path(path))}")[-1] == path
