"""Paths in commands that are shown for a user to run."""

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from kgenre.quoted_path import quoted_path

pytestmark = pytest.mark.backend_free


@pytest.mark.parametrize(
    "path", ["runs/lstm/version_0", "my runs/it's", "моя папка/модель № 1", "a&b", "runs[1]", r"C:\runs\lstm"]
)
def test_shell_parses_the_quoted_path(path):
    assert quoted_path(Path(path)) == (path if set(path).isdisjoint(" &'[") else f'"{path}"')
    if "\\" not in path:
        assert shlex.split(f"kgenre test --ckpt_path {quoted_path(Path(path))}")[-1] == path


@pytest.mark.parametrize("path", ["a/$HOME", "it's $(pwd)", "a`b`", 'the "best" one', "films!/x", "a{1,2}"])
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_shell_expands_nothing_in_the_quoted_path(path, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    command = [shell, "-c", f"printf %s {quoted_path(path)}"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == path
